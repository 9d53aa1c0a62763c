"""Statements by name, from `sql/queries/<noun>.sql`.

A file holds statements, each under a line `-- name: verb_noun`; comment lines after it travel along.
"""

import re
from functools import cache
from typing import LiteralString, cast

from leadq_dagster.shipped import shipped

NAME_LINE = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


@cache
def queries(noun: str) -> dict[str, LiteralString]:
    """The statements of `sql/queries/<noun>.sql` by name, with psycopg's `%(name)s` parameters.

    Raises ValueError for a name that stands twice and FileNotFoundError for a noun without a file.
    """
    text = (shipped("sql") / "queries" / f"{noun}.sql").read_text(encoding="utf-8")
    _, *parts = NAME_LINE.split(text)
    names, bodies = parts[0::2], parts[1::2]
    if len(set(names)) != len(names):
        raise ValueError(f"sql/queries/{noun}.sql names a statement twice")
    # Written by us in a file of the package, so as trustworthy as a literal in the code.
    return {name: cast(LiteralString, body.strip()) for name, body in zip(names, bodies, strict=True)}
