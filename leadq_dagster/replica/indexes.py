"""Whether the replica has the indexes without which each hour reads whole tables."""

from sqlalchemy import Connection, Inspector, inspect

from leadq_dagster.replica.session import Session

NEEDED = (
    ("users", "created_at"),
    ("users", "updated_at"),
    ("claims", "user_id"),
    ("claims", "created_at"),
    ("claims", "updated_at"),
    ("claim_requirements", "claim_id"),
    ("claim_requirements", "created_at"),
    ("claim_requirements", "updated_at"),
)


def missing_indexes(session: Session) -> list[str]:
    """`table.column` for each needed column that leads no index; an empty list is the good answer.

    Raises PermanentError for a table that is missing altogether.
    """
    return session.read(_missing)


def _missing(connection: Connection) -> list[str]:
    inspector = inspect(connection)
    return [f"{table}.{column}" for table, column in NEEDED if column not in _leading(inspector, table)]


def _leading(inspector: Inspector, table: str) -> set[str | None]:
    """The first columns of a table's indexes; a partial index finds only some rows, so it does not count."""
    leading = {index["column_names"][0] for index in inspector.get_indexes(table) if not _is_partial(index)}
    return leading | set(inspector.get_pk_constraint(table)["constrained_columns"][:1])


def _is_partial(index: object) -> bool:
    options = index.get("dialect_options", {}) if isinstance(index, dict) else {}
    return "postgresql_where" in options
