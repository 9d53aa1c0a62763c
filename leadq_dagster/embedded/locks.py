"""Locks that the kernel takes back when their holder dies."""

import fcntl
import os
from pathlib import Path
from typing import Self
from weakref import WeakSet


class Locks:
    """Exclusive locks on files and folders, held until `release` or the end of this process."""

    def __init__(self) -> None:
        self._descriptors: list[int] = []
        _all.add(self)

    def take(self, path: Path) -> bool:
        """Lock an existing file or folder; False if somebody else holds it, this process included."""
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptors.append(descriptor)
        return True

    def release(self) -> None:
        """Let go of all; harmless when repeated."""
        while self._descriptors:
            os.close(self._descriptors.pop())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


_all: WeakSet[Locks] = WeakSet()


def _let_go_in_child() -> None:
    """A forked child shares its parent's locks and would keep them beyond the parent's death."""
    for locks in list(_all):
        locks.release()


os.register_at_fork(after_in_child=_let_go_in_child)
