"""Ends a program of the demo together with everything that it started."""

import os
import signal
import subprocess
from contextlib import suppress
from typing import Any


def end(process: "subprocess.Popen[Any]", number: signal.Signals, seconds: float) -> None:
    """Ask a program that leads a session of its own to end; after so many seconds it is ended all the same.

    What it had started and left behind is ended with it: stopped while a run begins, Dagster leaves its
    code server.
    """
    process.send_signal(number)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        pass
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
