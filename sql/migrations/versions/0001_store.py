"""The store: known users, stays, transitions, conversions, calls, callbacks, communications."""

from pathlib import Path

from leadq_dagster.store.migration_file import run_sql

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_sql(Path(__file__).with_suffix(".sql"))
