"""Reading what changed in a window page by page, by key, for whatever table."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, or_

from leadq_dagster.replica.session import Session

AnyRow = Row[*tuple[Any, ...]]
AnySelect = Select[*tuple[Any, ...]]


def pages_of(
    session: Session,
    matching: AnySelect,
    moment: ColumnElement[datetime],
    key: ColumnElement[Any],
    rows_max: int,
) -> Iterator[Sequence[AnyRow]]:
    """The rows of `matching`, which selects `moment` and `key`, in their order, in pages; lazily.

    Each page is a transaction of its own: one that spans them all would hold back the replica's clean-up
    and be cut on a long window.
    """
    rows = _read(session, page_of(matching, moment, key, None, rows_max))
    while rows:
        yield rows
        if len(rows) < rows_max:
            return
        last = (rows[-1]._mapping[moment], rows[-1]._mapping[key])
        rows = _read(session, page_of(matching, moment, key, last, rows_max))


def page_of(
    matching: AnySelect,
    moment: ColumnElement[datetime],
    key: ColumnElement[Any],
    after: tuple[datetime, Any] | None,
    rows_max: int,
) -> AnySelect:
    """The first rows of `matching` in the order (`moment`, `key`), or the first after `after`.

    The obvious `(moment, key) > (x, y)` makes MariaDB scan the whole index, and an OFFSET skips a row
    for each one that has left the window since. Here `moment >= x` is a range of the index, and the
    OR only sorts out the rows with exactly the last page's last time.
    """
    if after is not None:
        at, last = after
        matching = matching.where(moment >= at, or_(moment > at, key > last))
    return matching.order_by(moment, key).limit(rows_max)


def _read(session: Session, statement: AnySelect) -> Sequence[AnyRow]:
    return session.read(lambda connection: connection.execute(statement).all())
