"""Ids in IN lists of bounded length."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")

# From 1,000 values on MariaDB turns an IN list into a join with a temporary table, whose plan is the
# statistics' to choose, and PostgreSQL takes at most 65,535 parameters. Longer lists were no clear gain.
IN_LIST_MAX = 900


def chunks(items: Sequence[Item], rows_max: int) -> Iterator[Sequence[Item]]:
    """`items` in order, in pieces of at most `rows_max` and of what an IN list may hold."""
    size = min(rows_max, IN_LIST_MAX)
    for start in range(0, len(items), size):
        yield items[start : start + size]
