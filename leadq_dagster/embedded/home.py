"""The home folder of an embedded server: its lock, password, log and the record of who runs it."""

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from leadq_dagster.domain.errors import RefusedError
from leadq_dagster.embedded.locks import Locks
from leadq_dagster.embedded.processes import ProcessStamp

LOG_BYTES_MAX = 10 * 1024 * 1024


class AlreadyRunning(RefusedError):
    """Somebody else runs, or is just starting, the server of this home.

    `pid` is the starter's, `port` the server's; None while they are not known yet.
    """

    def __init__(self, home: Path, pid: int | None, port: int | None) -> None:
        who = f"process {pid}" if pid else "another process"
        where = f" on port {port}" if port else ""
        super().__init__(
            f"PostgreSQL in {home} is already run by {who}{where}; use that one or stop it first"
        )
        self.pid = pid
        self.port = port


@dataclass(frozen=True)
class State:
    """The port used last and the process that keeps the server; None once it has closed it."""

    port: int
    starter: ProcessStamp | None


class Home:
    """Names and reads the files of one home; only the holder of its lock writes them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.data = self.folder / "data"
        self.log = self.folder / "postgres.log"
        self._password = self.folder / "password"
        self._state = self.folder / "state.json"
        self._lock = self.folder / "lock"

    def create(self) -> None:
        """Make the folder if it is not there: for root one that the server's user may enter."""
        if not self.folder.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            self.folder.chmod(0o755 if os.geteuid() == 0 else 0o700)

    def lock(self, locks: Locks) -> None:
        """Take the home for this process. Raises AlreadyRunning when somebody else has it."""
        self._lock.touch(0o600)
        if not locks.take(self._lock):
            raise self._already_running()
        self._lock.write_text(str(os.getpid()))

    def lock_data(self, locks: Locks) -> None:
        """Take the data too: a copy of this home, made with its link, would share it."""
        place = self.data.resolve().parent
        if place.exists() and not locks.take(place):
            raise AlreadyRunning(self.folder, None, None)

    def _already_running(self) -> AlreadyRunning:
        text = self._lock.read_text()
        pid = int(text) if text.isdigit() else None
        state = self.state()
        is_known = state is not None and state.starter is not None and state.starter.pid == pid
        return AlreadyRunning(self.folder, pid, state.port if state and is_known else None)

    def password(self) -> str | None:
        """The server's password; None if none was made yet."""
        try:
            return self._password.read_text()
        except FileNotFoundError:
            return None

    def make_password(self) -> str:
        """A new random password, kept in a file that only its owner reads."""
        password = secrets.token_urlsafe(24)
        write_private(self._password, password)
        return password

    def state(self) -> State | None:
        """What the last starter recorded; None if nothing legible."""
        try:
            found = json.loads(self._state.read_text())
            starter = ProcessStamp(**found["starter"]) if found["starter"] else None
            return State(int(found["port"]), starter)
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def record(self, state: State) -> None:
        """Replace the record at once and whole."""
        starter = state.starter
        shown = {"pid": starter.pid, "started": starter.started} if starter else None
        write_private(self._state, json.dumps({"port": state.port, "starter": shown}) + "\n")

    def open_log(self) -> BinaryIO:
        """The server's log, for writing at its end; only its owner reads it."""
        descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        return os.fdopen(descriptor, "ab")

    def log_size(self) -> int:
        """Bytes in the log now."""
        return self.log.stat().st_size if self.log.exists() else 0

    def bound_log(self) -> None:
        """Set a log that has grown large aside, in the place of the one set aside before."""
        if self.log_size() > LOG_BYTES_MAX:
            self.log.replace(self.log.with_suffix(".log.1"))

    def forget(self) -> None:
        """Remove the files of this home except its data and lock."""
        for path in (self._password, self._state, self.log, self.log.with_suffix(".log.1")):
            path.unlink(missing_ok=True)


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner reads, at no moment half or open to others."""
    fresh = path.with_name(f"{path.name}.fresh")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
