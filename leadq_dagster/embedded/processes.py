"""What the kernel says about processes: who is who, who still runs, and how to signal them."""

import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
POLL_SECONDS = 0.02


@dataclass(frozen=True)
class ProcessStamp:
    """One process for good: its number alone is given to another one after its end.

    `started` is in clock ticks since the machine's start.
    """

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> "ProcessStamp | None":
        """The stamp of the process that has this number now; None if there is none or only its zombie."""
        try:
            text = (PROC / str(pid) / "stat").read_text(errors="replace")
        except OSError:
            return None
        # The name in parentheses may itself hold spaces and parentheses.
        fields = text.rpartition(")")[2].split()
        return None if fields[0] in "ZX" else cls(pid, int(fields[19]))

    def is_alive(self) -> bool:
        """Whether this very process still runs."""
        return ProcessStamp.of(self.pid) == self


def command_line(pid: int) -> list[str]:
    """The arguments of a process, or the title it gave itself as the only one; empty when it is gone."""
    try:
        raw = (PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return []
    return [part.decode(errors="replace") for part in raw.rstrip(b"\0 ").split(b"\0")]


def send(stamp: ProcessStamp, number: signal.Signals) -> None:
    """Signal this process, and nobody else who may have got its number."""
    if stamp.is_alive():
        try:
            os.kill(stamp.pid, number)
        except ProcessLookupError:
            return


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Ask until it holds, at most so many seconds; whether it held."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def are_gone(stamps: Iterable[ProcessStamp]) -> bool:
    """Whether none of these processes runs any more."""
    return not any(stamp.is_alive() for stamp in stamps)
