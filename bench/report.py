"""What a benchmark says: a name, a number, a remark."""

from typing import NamedTuple


class Row(NamedTuple):
    """One line of the report."""

    what: str
    result: str
    remark: str
