"""The desk: assignments and their leases, answers by request, score events, raised stays, callbacks' life."""

from pathlib import Path

from leadq_dagster.store.migration_file import run_sql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_sql(Path(__file__).with_suffix(".sql"))
