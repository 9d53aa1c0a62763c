"""What a migration of this project does: it runs the SQL file beside it."""

from pathlib import Path

from alembic import op


def run_sql(path: Path) -> None:
    """Run every statement of the file in the migration's own transaction.

    Handed to the driver as it stands: SQLAlchemy would read `:name` as a parameter, and a statement
    splitter would have to understand function bodies.
    """
    connection = op.get_bind().connection.driver_connection
    assert connection is not None
    connection.cursor().execute(path.read_text(encoding="utf-8"))
