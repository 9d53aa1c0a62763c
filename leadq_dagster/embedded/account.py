"""As whom the server runs: PostgreSQL refuses root, so root lends it an ordinary account."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from leadq_dagster.domain.errors import RefusedError

LENT_ACCOUNTS = ("postgres", "nobody", "daemon")

# The parent may die before the kernel is told to signal the child about it; the shell then sees a
# stranger as its parent and ends instead of starting what nobody would stop any more.
ONLY_WITH_PARENT = '[ "$PPID" = "$1" ] || exit 1; shift; exec "$@"'


@dataclass(frozen=True)
class Account:
    """An ordinary user of this machine."""

    name: str
    uid: int
    gid: int

    @property
    def is_other(self) -> bool:
        """Whether becoming this user is a change."""
        return self.uid != os.geteuid()

    def spawn(
        self, command: Sequence[str], *, death_signal: str, output: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        """Start a command as this user; it gets `death_signal` when the calling *thread* ends.

        It has no terminal to be interrupted from, no unusual signal settings, and an environment of its own.
        Raises RefusedError where the machine lacks what that needs.
        """
        guarded = ["env", "--default-signal=INT,TERM,QUIT", "setpriv", "--pdeathsig", death_signal]
        guarded += ["sh", "-c", ONLY_WITH_PARENT, "sh", str(os.getpid()), *command]
        if missing := [
            name for name in ("env", "setpriv", "sh") if shutil.which(name, path=os.defpath) is None
        ]:
            raise RefusedError(
                f"embedded PostgreSQL needs Linux with {', '.join(missing)}; name a server instead"
            )
        try:
            return subprocess.Popen(
                guarded,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=_environment(),
                start_new_session=True,
                user=self.uid if self.is_other else None,
                group=self.gid if self.is_other else None,
                extra_groups=[self.gid] if self.is_other else None,
            )
        except PermissionError as error:
            raise RefusedError(
                f"this process may not become the user {self.name} to run PostgreSQL"
            ) from error

    def can(self, test: str, *paths: Path) -> bool:
        """Whether this user passes test(1), say "-x", on all paths: tried as that user, not guessed."""
        with Path(os.devnull).open("wb") as nowhere:
            script = 'for path in "$@"; do test ' + test + ' "$path" || exit 1; done'
            checks = ["sh", "-c", script, "sh", *map(str, paths)]
            return self.spawn(checks, death_signal="KILL", output=nowhere).wait() == 0


def _environment() -> dict[str, str]:
    """No PG* variable of ours may speak to the server."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def choose_account(data: Path) -> Account:
    """As whom to run the server of this data folder, which need not exist yet.

    An ordinary user runs it as itself; root as the folder's owner, else as the first lent account there is.
    Raises RefusedError when there is nobody suitable.
    """
    owner = _owner(data)
    me = os.geteuid()
    if me != 0:
        if owner not in (None, me):
            raise RefusedError(
                f"the data folder {data} belongs to another user; use a home folder of your own"
            )
        return Account(_name(me), me, os.getegid())
    return _lent_account() if owner in (None, 0) else Account(_name(owner), owner, data.stat().st_gid)


def _owner(data: Path) -> int | None:
    try:
        return data.stat().st_uid
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise RefusedError(
            f"the data folder {data} cannot be reached; use a home folder of your own"
        ) from error


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _lent_account() -> Account:
    for name in LENT_ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise RefusedError(f"root cannot run PostgreSQL and none of the users {', '.join(LENT_ACCOUNTS)} exists")
