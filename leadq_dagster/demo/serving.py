"""Keeps the demo alive: the firm goes on, and Dagster's UI and daemon run until somebody stops them."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from leadq_dagster.demo.ending import end
from leadq_dagster.domain.errors import PermanentError, RefusedError
from leadq_dagster.embedded.ports import LOOPBACK, is_free
from leadq_dagster.firm.application import Application
from leadq_dagster.shipped import shipped

UI_PORTS = range(3000, 3100)
START_SECONDS = 120
STOP_SECONDS = 20
POLL_SECONDS = 0.5
# Measured: they make a year of hourly partitions in one run seven times as fast.
DAGSTER_SPEED = {"DAGSTER_EVENT_BATCH_SIZE": "1000", "DAGSTER_EMIT_PARTITION_SUBSET_IN_PLANNED_EVENTS": "1"}


def make_dagster_home(home: Path) -> None:
    """Make the folder of Dagster's files below `home` and name it in the environment."""
    folder = home.absolute() / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(shipped("dagster.yaml"), folder)
    os.environ.update(DAGSTER_SPEED, DAGSTER_HOME=str(folder))


def begin_partitions(start: datetime) -> None:
    """Let the hourly partitions begin with the firm, so that none is missing before it."""
    os.environ["LEADQ_PARTITIONS_START"] = start.isoformat()


def choose_ui_port(port: int | None) -> int:
    """The port asked for, or the first free one from 3000 on. Raises RefusedError when there is none."""
    for candidate in [port] if port else UI_PORTS:
        if is_free(candidate):
            return candidate
    wanted = f"port {port} is" if port else f"ports {UI_PORTS.start} to {UI_PORTS.stop - 1} are"
    raise RefusedError(f"{wanted} in use: name another with --port")


@contextmanager
def living(application: Application) -> Iterator[None]:
    """The firm goes on with the real clock as long as the block runs."""
    stop = threading.Event()
    firm = threading.Thread(target=application.run_live, args=(stop, lambda: datetime.now(UTC)), name="firm")
    firm.start()
    try:
        yield
    finally:
        stop.set()
        firm.join()


@contextmanager
def dagster_running(home: Path, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Dagster's UI, daemon and code server as one process tree that ends with the block.

    Raises PermanentError when the UI does not answer within two minutes; the log says why.
    """
    log = home / "dagster.log"
    # Interrupted when this process is gone, however it ended: Dagster would outlive it otherwise.
    command = ["setpriv", "--pdeathsig", "INT", sys.executable, "-m", "dagster", "dev"]
    command += ["-w", str(shipped("workspace.yaml")), "-h", LOOPBACK, "-p", str(port)]
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
        try:
            _wait_for_ui(process, port, log)
            yield process
        finally:
            end(process, signal.SIGINT, STOP_SECONDS)


@contextmanager
def interruptible() -> Iterator[None]:
    """Within the block SIGINT and SIGTERM both end the program as Ctrl-C does.

    SIGINT too: a shell starts background programs with it ignored, and so would be all that they start.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait_for_ui(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    pause = threading.Event()
    for _ in range(int(START_SECONDS / POLL_SECONDS)):
        if process.poll() is not None:
            break
        if _answers(port):
            return
        pause.wait(POLL_SECONDS)
    raise PermanentError(f"Dagster's UI did not start: the reason is at the end of {log}")


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/server_info", timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False
