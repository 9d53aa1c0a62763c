"""Until when a user is on the phone for a stay that ended during the call."""

from pathlib import Path

from leadq_dagster.store.migration_file import run_sql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run_sql(Path(__file__).with_suffix(".sql"))
