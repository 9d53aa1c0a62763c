"""Dates of MySQL and MariaDB, read by the C code of `datetime` and not by PyMySQL's regular expression.

That took two fifths of the client's time in a read with three dates a row.
"""

from datetime import datetime

from pymysql.constants import FIELD_TYPE
from pymysql.converters import conversions


def date_or_text(text: str) -> datetime | str:
    """The date a server sent, or, as from PyMySQL itself, its text: zero dates and days 0 are no dates."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return text


CONVERSIONS = {**conversions, FIELD_TYPE.DATETIME: date_or_text, FIELD_TYPE.TIMESTAMP: date_or_text}
