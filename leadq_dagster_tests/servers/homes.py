"""A folder for the servers of one test run, gone after it, and swept by a later run where it was killed."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "leadq-tests-"
SWEEP_AFTER_SECONDS = 60


@contextmanager
def throwaway_home() -> Iterator[Path]:
    """A new folder below the system's temporary folder, held by a lock until it is removed.

    It lies there and not in the project, because the servers' user may be unable to enter the project.
    """
    sweep_abandoned_homes()
    home = Path(tempfile.mkdtemp(prefix=PREFIX))
    if os.geteuid() == 0:
        home.chmod(0o711)
    lock = os.open(home, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield home
    finally:
        os.close(lock)
        shutil.rmtree(home, ignore_errors=True)


def sweep_abandoned_homes() -> None:
    """Remove the homes of runs that were killed: ours, unlocked, and too old to be just being made."""
    for home in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            if _is_abandoned(home):
                shutil.rmtree(home, ignore_errors=True)
        except FileNotFoundError:
            continue


def _is_abandoned(home: Path) -> bool:
    status = home.lstat()
    if status.st_uid != os.geteuid() or time.time() - status.st_mtime < SWEEP_AFTER_SECONDS:
        return False
    lock = os.open(home, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True
