"""What the replica's drivers raise, as one of leadq's errors: its kind, and a sentence that is safe to show.

The drivers' own texts stay here. PyMySQL puts values into the statement and servers quote the
statement in their errors, so those texts can hold personal data. What is kept is the error's number
and, where it helps, the name of the table or column that is missing.
"""

import re

from sqlalchemy.exc import DBAPIError, InterfaceError, NoSuchTableError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from leadq_dagster.domain.errors import LeadqError, PermanentError, TransientError
from leadq_dagster.replica.address import VARIABLE


class NoSuchTable(PermanentError):
    """The replica has no table of the name that was asked for."""


class NoRight(PermanentError):
    """The replica's user may not read what was asked for, or may not know that it does not exist."""


_NO_TABLE = "the replica has no table {name}: check the database that {variable} names"
_NO_COLUMN = "a table of the replica has no column {name}: is it the database that {variable} should name?"
_NO_DATABASE = "the replica's server has no database of that name: check the database that {variable} names"
_NO_LOGIN = (
    "the replica refuses this login: check the user, password and host rules that {variable} relies on"
)
_NO_RIGHT = "the replica's user may not read {name}: grant it SELECT there"
_NO_WRITING = "something tried to write to the replica, where leadq only reads"
_NO_ANSWER = "the replica does not answer where {variable} points, or cut the connection"
_NO_TIME = "the replica did not finish a statement in time; if that goes on, see `leadq doctor` for indexes"
_NO_ROOM = "the replica has no connection to spare"
_BUSY = "the replica gave up a statement because of other work there"
_STARTING = "the replica is starting or stopping"
_MISUNDERSTOOD = "the replica does not accept a statement of leadq's"

_Meaning = tuple[type[LeadqError], str]

_LOGIN: _Meaning = (PermanentError, _NO_LOGIN)
_RIGHT: _Meaning = (NoRight, _NO_RIGHT)
_TABLE: _Meaning = (NoSuchTable, _NO_TABLE)
_COLUMN: _Meaning = (PermanentError, _NO_COLUMN)
_DATABASE: _Meaning = (PermanentError, _NO_DATABASE)
_READ_ONLY: _Meaning = (PermanentError, _NO_WRITING)
_UNKNOWN: _Meaning = (PermanentError, _MISUNDERSTOOD)
_UNREACHABLE: _Meaning = (TransientError, _NO_ANSWER)
_SLOW: _Meaning = (TransientError, _NO_TIME)
_FULL: _Meaning = (TransientError, _NO_ROOM)
_CONFLICT: _Meaning = (TransientError, _BUSY)
_CLOSED: _Meaning = (TransientError, _STARTING)

_OF_MYSQL: dict[int, _Meaning] = {
    **dict.fromkeys(
        (1044, 1045, 1129, 1130, 1227, 1251, 1524, 1698, 2054, 2058, 2059, 2061, 3118, 3159, 4151), _LOGIN
    ),
    **dict.fromkeys((1142, 1143, 1370), _RIGHT),
    **dict.fromkeys((1051, 1109, 1146), _TABLE),
    1054: _COLUMN,
    1049: _DATABASE,
    **dict.fromkeys((1290, 1792, 1836), _READ_ONLY),
    **dict.fromkeys((1969, 3024), _SLOW),
    **dict.fromkeys((1040, 1041, 1135, 1203, 1226), _FULL),
    **dict.fromkeys((1020, 1205, 1213, 1317, 1412, 1927), _CONFLICT),
    **dict.fromkeys((1053, 1077, 1079), _CLOSED),
    **dict.fromkeys((1042, 1043, 1080, 1152, 1153, 1154, 1158, 1159, 1160, 1161, 1184), _UNREACHABLE),
}

# SQLSTATE, or its first two characters for a whole class.
_OF_POSTGRES: dict[str, _Meaning] = {
    "28": _LOGIN,
    "42501": _RIGHT,
    "42P01": _TABLE,
    "3F": _TABLE,
    "42703": _COLUMN,
    "3D": _DATABASE,
    "25006": _READ_ONLY,
    "57014": _SLOW,
    "25P04": _SLOW,
    "25P03": _SLOW,
    "53": _FULL,
    "40": _CONFLICT,
    "55P03": _CONFLICT,
    "57": _CLOSED,
    "58": _UNREACHABLE,
    "08": _UNREACHABLE,
}

# While it connects, psycopg knows no SQLSTATE: all there is is the server's text (in English, as a rule).
# The first that fits counts: the texts of fullness name roles and databases too.
_OF_POSTGRES_CONNECTING = (
    ("too many clients", _FULL),
    ("too many connections", _FULL),
    ("remaining connection slots", _FULL),
    ("password authentication failed", _LOGIN),
    ("no password supplied", _LOGIN),
    ("pg_hba.conf", _LOGIN),
    ("permission denied for database", _LOGIN),
    ("invalid connection option", _LOGIN),
    ('role "', _LOGIN),
    ('database "', _DATABASE),
    ("starting up", _CLOSED),
    ("shutting down", _CLOSED),
)

# Only a word right after these is kept, so no value that a server quotes can be mistaken for a name.
_NAMED = re.compile(r"""\b(?:table|relation|column|schema)\s+['"`]?([\w.$`-]+)""", re.IGNORECASE)


def translate(error: Exception) -> LeadqError:
    """The leadq error that says what `error` means for the next try; it holds no driver text."""
    if isinstance(error, PoolTimeoutError):
        return TransientError("all of leadq's connections to the replica are in use")
    if isinstance(error, NoSuchTableError):
        return NoSuchTable(_NO_TABLE.format(name=str(error), variable=VARIABLE))
    if isinstance(error, RuntimeError) and "cryptography" in str(error):
        return PermanentError("the replica's login method needs the Python package cryptography: install it")
    if not isinstance(error, DBAPIError) or error.orig is None:
        return PermanentError(f"reading the replica failed in the driver ({type(error).__name__})")
    code = _code(error.orig)
    kind, text = _meaning(error, code)
    sentence = text.format(name=_name_in(str(error.orig)), variable=VARIABLE)
    return kind(f"{sentence} (error {code})" if code else sentence)


def _meaning(error: DBAPIError, code: int | str | None) -> _Meaning:
    if error.connection_invalidated:
        return _UNREACHABLE
    if isinstance(code, int):
        # Below 1000 and from 2000 to 2999 it is the client that speaks: of the network, not of the statement.
        known = _OF_MYSQL.get(code)
        return known or (_UNREACHABLE if code < 1000 or 2000 <= code < 3000 else _UNKNOWN)
    if code is not None:
        return _OF_POSTGRES.get(code) or _OF_POSTGRES.get(code[:2]) or _UNKNOWN
    texts = (meaning for part, meaning in _OF_POSTGRES_CONNECTING if part in str(error.orig))
    return next(texts, _UNREACHABLE if isinstance(error, OperationalError | InterfaceError) else _UNKNOWN)


def _code(original: BaseException) -> int | str | None:
    """MySQL's error number, PostgreSQL's SQLSTATE, or None where the driver has neither."""
    first = original.args[0] if original.args else None
    if isinstance(first, int):  # PyMySQL knows the SQLSTATE too, which says less than the number
        return first
    state = getattr(original, "sqlstate", None)
    return state if isinstance(state, str) else None


def _name_in(text: str) -> str:
    named = _NAMED.search(text)
    return named.group(1).replace("`", "") if named else "that leadq reads"
