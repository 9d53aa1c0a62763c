"""Dates as a MySQL server sends them are what PyMySQL makes of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymysql.converters import convert_datetime

from leadq_dagster.replica.mysql_dates import date_or_text


@given(st.datetimes(), st.integers(0, 6))
def test_every_date_of_every_precision(moment: object, digits: int) -> None:
    whole, _, fraction = f"{moment:%Y-%m-%d %H:%M:%S.%f}".rpartition(".")
    year, _, rest = whole.partition("-")
    text = f"{year:0>4}-{rest}" + (f".{fraction[:digits]}" if digits else "")
    assert date_or_text(text) == convert_datetime(text)


@pytest.mark.parametrize(
    "text",
    ["0000-00-00 00:00:00", "0000-00-00 00:00:00.000000", "2026-00-00 00:00:00", "2026-03-00 10:00:00"],
)
def test_what_is_no_date_stays_text(text: str) -> None:
    """P12."""
    assert date_or_text(text) == convert_datetime(text) == text
