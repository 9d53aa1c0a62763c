"""Conversions as a table for people to read in Dagster: ids and times, nobody's data."""

from collections.abc import Sequence

from dagster import MarkdownMetadataValue, MetadataValue

from leadq_dagster.stages.recovery import MissingConversion

ROWS_MAX = 100
HEAD = "| user | stay | conversion | converted at (UTC) | partition |\n|---|---|---|---|---|"


def as_table(conversions: Sequence[MissingConversion]) -> MarkdownMetadataValue:
    """The first hundred as a Markdown table, and how many there are in all."""
    rows = [_row(conversion) for conversion in conversions[:ROWS_MAX]]
    return MetadataValue.md("\n".join([HEAD, *rows, "", f"{len(rows)} of {len(conversions)}"]))


def _row(item: MissingConversion) -> str:
    at = f"{item.converted_at:%Y-%m-%d %H:%M:%S}" if item.converted_at else "not told"
    cells = (item.user_id, item.stay_id, item.conversion_type.value, at, item.partition_key or "")
    return f"| {' | '.join(map(str, cells))} |"
