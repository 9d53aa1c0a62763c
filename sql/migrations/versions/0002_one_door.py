"""Nobody moves a user past the door: a stay opens and closes with its transition, or not at all."""

from pathlib import Path

from leadq_dagster.store.migration_file import run_sql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_sql(Path(__file__).with_suffix(".sql"))
