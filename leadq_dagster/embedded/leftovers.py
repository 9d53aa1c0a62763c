"""The processes of one data folder's server: the living one, and what a killed one left behind."""

import hashlib
import itertools
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from leadq_dagster.domain.errors import PermanentError
from leadq_dagster.embedded.processes import (
    PROC,
    ProcessStamp,
    are_gone,
    command_line,
    send,
    wait_until,
)

STOP_SECONDS = 30.0
KILL_SECONDS = 10.0


def cluster_name(data: Path) -> str:
    """The name of the server of this data folder, in its settings and in its processes' titles."""
    return "leadq-" + hashlib.sha256(os.fsencode(data)).hexdigest()[:16]


def postmaster_of(data: Path) -> ProcessStamp | None:
    """The living server process of this data, by the server's own record."""
    first = _record(data)[:1]
    stamp = ProcessStamp.of(int(first[0])) if first and first[0].isdigit() else None
    return stamp if stamp and _belongs_to(stamp.pid, data) else None


def is_ready(data: Path) -> bool:
    """Whether the server of this data says that it accepts connections; asking makes no line in its log."""
    return [line.strip() for line in _record(data)[7:8]] == ["ready"]


def clear_leftovers(data: Path) -> None:
    """End what still runs on this data after its starter or its server died, and remove the record of it.

    Only the holder of the home's lock may ask for this. Raises PermanentError if something will not end.
    """
    if postmaster := postmaster_of(data):
        send(postmaster, signal.SIGINT)
        wait_until(lambda: not postmaster.is_alive(), STOP_SECONDS)
    # Children of a killed server may work on for long, and as long as one lives no server can start.
    left = list(_family(data))
    for stamp in left:
        send(stamp, signal.SIGKILL)
    if not wait_until(lambda: are_gone(left), KILL_SECONDS):
        numbers = ", ".join(str(stamp.pid) for stamp in left)
        raise PermanentError(f"processes {numbers} of an earlier server on {data} do not end")
    # Its process number may by now be somebody else's, to whom PostgreSQL would give way.
    (data / "postmaster.pid").unlink(missing_ok=True)


def _record(data: Path) -> list[str]:
    try:
        return (data / "postmaster.pid").read_text().splitlines()
    except OSError:
        return []


def _family(data: Path) -> Iterator[ProcessStamp]:
    for entry in PROC.iterdir():
        if entry.name.isdigit() and _belongs_to(int(entry.name), data):
            stamp = ProcessStamp.of(int(entry.name))
            if stamp is not None:
                yield stamp


def _belongs_to(pid: int, data: Path) -> bool:
    arguments = command_line(pid)
    if not arguments:
        return False
    # A child that was forked this instant still has the server's arguments instead of a title.
    is_server = ("-D", str(data)) in itertools.pairwise(arguments)
    return is_server or arguments[0].startswith(f"postgres: {cluster_name(data)}: ")
