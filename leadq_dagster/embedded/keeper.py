"""Keeps one server process running: starts it, starts it again when it dies, stops it on request."""

import logging
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path

from leadq_dagster.domain.errors import LeadqError, PermanentError
from leadq_dagster.embedded.account import Account
from leadq_dagster.embedded.home import Home
from leadq_dagster.embedded.processes import wait_until

READY_SECONDS = 120.0
STOP_SECONDS = 30.0
KILL_SECONDS = 10.0
RESTARTS_MAX = 5
RESTARTS_WITHIN_SECONDS = 60.0
PAUSE_SECONDS = 0.1

logger = logging.getLogger(__name__)


class StartFailed(PermanentError):
    """The server ended or stayed silent instead of becoming ready; the text has its last words."""


class Keeper:
    """One server process and the thread that watches it.

    The thread starts the process itself, because the kernel ties the process's life to the thread that
    started it, and a caller's thread may end long before the program does.
    """

    def __init__(
        self,
        account: Account,
        command: Sequence[str],
        home: Home,
        *,
        clear_leftovers: Callable[[], None],
        is_ready: Callable[[], bool],
    ) -> None:
        self.failure: str | None = None
        self._account = account
        self._command = list(command)
        self._home = home
        self._clear_leftovers = clear_leftovers
        self._is_ready = is_ready
        self._process: subprocess.Popen[bytes] | None = None
        self._closing = False
        self._lock = threading.Lock()
        self._ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._keep, name="leadq-postgres-keeper", daemon=True)

    def start(self) -> None:
        """Start the server and wait until it is ready. Raises StartFailed."""
        self._thread.start()
        self._ready.result()

    def stop(self) -> None:
        """End the server: a fast shutdown, more harshly if it takes too long. Harmless when repeated."""
        with self._lock:
            self._closing = True
            process = self._process
        if process is not None:
            _end(process)
        if self._thread.ident is not None:
            self._thread.join()

    def _keep(self) -> None:
        try:
            self._launch()
        except BaseException as error:  # noqa: BLE001 - the waiting caller gets it, whatever it is
            self._ready.set_exception(error)
            return
        self._ready.set_result(None)
        recent: deque[float] = deque()
        while (code := self._wait()) is not None:
            if not self._may_restart(recent):
                self._give_up(f"PostgreSQL ended {len(recent)} times in {RESTARTS_WITHIN_SECONDS:.0f} s")
                return
            logger.warning("embedded PostgreSQL ended with code %s; starting it again", code)
            self._relaunch(len(recent))

    def _wait(self) -> int | None:
        """The exit code of a server that ended unasked; None when it was to end."""
        process = self._process
        code = process.wait() if process else None
        return None if self._closing else code

    @staticmethod
    def _may_restart(recent: deque[float]) -> bool:
        now = time.monotonic()
        while recent and recent[0] < now - RESTARTS_WITHIN_SECONDS:
            recent.popleft()
        recent.append(now)
        return len(recent) <= RESTARTS_MAX

    def _relaunch(self, attempt: int) -> None:
        """One attempt; if it fails the process has ended, and the caller's loop counts that."""
        time.sleep(PAUSE_SECONDS * (2 ** (attempt - 1) - 1))
        try:
            self._clear_leftovers()
            self._launch()
        except (LeadqError, OSError) as error:
            logger.warning("embedded PostgreSQL did not start: %s", error)

    def _launch(self) -> None:
        log_start = self._home.log_size()
        with self._lock:
            if self._closing:
                return
            with self._home.open_log() as output:
                self._process = self._account.spawn(self._command, death_signal="INT", output=output)
        process = self._process
        wait_until(lambda: process.poll() is not None or self._is_ready(), READY_SECONDS)
        if process.poll() is None and self._is_ready():
            return
        _end(process)
        if not self._closing:
            raise StartFailed(f"PostgreSQL did not start: {_last_words(self._home.log, log_start)}")

    def _give_up(self, text: str) -> None:
        self.failure = f"{text} and is not started again; its log {self._home.log} says why"
        logger.error(self.failure)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    if not wait_until(lambda: process.poll() is not None, STOP_SECONDS):
        process.send_signal(signal.SIGQUIT)
        if not wait_until(lambda: process.poll() is not None, KILL_SECONDS):
            process.kill()


def _last_words(log: Path, start: int) -> str:
    with log.open("rb") as file:
        file.seek(start)
        lines = file.read().decode(errors="replace").splitlines()
    fatal = [line for line in lines if "FATAL" in line or "PANIC" in line]
    return (fatal or lines or [f"nothing in its log {log}"])[-1]
