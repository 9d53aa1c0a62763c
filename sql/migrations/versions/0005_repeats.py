"""How often an agent was told again of a lead in hand: which desk may still take it back."""

from pathlib import Path

from leadq_dagster.store.migration_file import run_sql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run_sql(Path(__file__).with_suffix(".sql"))
