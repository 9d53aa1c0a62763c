"""Changes of the firm's world as statements on its database: few, set-based, the same on either server."""

from collections.abc import Iterable, Sequence
from itertools import islice

import sqlalchemy as sa

from leadq_dagster.firm.schema import claim_requirements, claims, users
from leadq_dagster.firm.transaction import Change, Key, Row, TableName
from leadq_dagster.firm.world import FIRST_MIGRATED_ID

STATEMENT_ROWS_MAX = 5_000
ZERO_DATE = "0000-00-00 00:00:00.000000"
TABLES: dict[TableName, sa.Table] = {
    "users": users,
    "claims": claims,
    "claim_requirements": claim_requirements,
}


def write_changes(connection: sa.Connection, changes: Iterable[Change]) -> None:
    """Write `changes` (in order) within the caller's transaction: each row once, as it ends."""
    inserts, updates = _fold(changes)
    for name, table in TABLES.items():
        made = list(inserts[name].values())
        if connection.dialect.name in ("mysql", "mariadb"):
            made = [_with_zero_date(row) for row in made]
        _in_chunks(connection, table.insert(), made)
        _in_chunks(connection, _update(table), [{"row_id": key, **row} for key, row in updates[name].items()])


def count_rows(connection: sa.Connection) -> dict[TableName, int]:
    """How many rows each of the firm's tables holds."""
    return {
        name: connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
        for name, table in TABLES.items()
    }


def _fold(
    changes: Iterable[Change],
) -> tuple[dict[TableName, dict[Key, Row]], dict[TableName, dict[Key, Row]]]:
    inserts: dict[TableName, dict[Key, Row]] = {name: {} for name in TABLES}
    updates: dict[TableName, dict[Key, Row]] = {name: {} for name in TABLES}
    for change in changes:
        made = inserts[change.table]
        rows = made if change.is_insert or change.key in made else updates[change.table]
        rows.setdefault(change.key, {}).update(change.row)
    return inserts, updates


def _update(table: sa.Table) -> sa.Update:
    return table.update().where(table.c.id == sa.bindparam("row_id"))


def _with_zero_date(row: Row) -> Row:
    """The migrated brand's rows came with zero dates, which only this family of servers can hold."""
    key = row["id"]
    is_migrated = isinstance(key, int) and key >= FIRST_MIGRATED_ID
    return row | {"created_at": ZERO_DATE} if is_migrated and row["created_at"] is None else row


def _in_chunks(connection: sa.Connection, statement: sa.Insert | sa.Update, rows: Sequence[Row]) -> None:
    remaining = iter(rows)
    while chunk := list(islice(remaining, STATEMENT_ROWS_MAX)):
        connection.execute(statement, chunk)
