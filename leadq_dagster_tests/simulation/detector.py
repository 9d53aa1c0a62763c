"""A second detector in a process of its own: it prepares a run, says so, and begins when it is told to."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import IO, Self, cast

from leadq_dagster.domain.windows import Window
from leadq_dagster.replica.engine import open_replica
from leadq_dagster.store.connection import open_store
from leadq_dagster_tests.simulation.hourly import Hourly, Job
from leadq_dagster_tests.stages.discovering import Clock

READY, GO, DONE = "ready", "go", "done"


@dataclass(frozen=True)
class Order:
    """One run, as it is told to the other process: instants in ISO form."""

    job: Job
    start: str
    end: str
    now: str
    serial: int
    batch_rows: int
    recent_activity_seconds: float


@dataclass
class Detector:
    """The other process, started when it is first needed."""

    source_url: str
    store_url: str
    _process: "subprocess.Popen[str] | None" = field(default=None, init=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process:
            self._process.kill()
            self._process.communicate()

    def prepare(self, hourly: Hourly, job: Job, window: Window) -> Callable[[], None]:
        """Let the process open what this run needs; calling the result begins it and waits for its end."""
        process = self._process = self._process or self._start()
        seconds = hourly.recent_activity.total_seconds()
        bounds = (window.start.isoformat(), window.end.isoformat(), hourly.clock.now.isoformat())
        order = Order(job, *bounds, next(hourly.serial), hourly.batch_rows, seconds)
        _tell(process, json.dumps(asdict(order)))
        _expect(process, READY)

        def begin() -> None:
            _tell(process, GO)
            _expect(process, DONE)

        return begin

    def _start(self) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", __name__]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        # On its standard input: they hold passwords, and command lines are public.
        _tell(process, json.dumps([self.source_url, self.store_url]))
        return process


def _tell(process: "subprocess.Popen[str]", line: str) -> None:
    stream = cast(IO[str], process.stdin)
    stream.write(f"{line}\n")
    stream.flush()


def _expect(process: "subprocess.Popen[str]", word: str) -> None:
    stream = cast(IO[str], process.stdout)
    line = stream.readline().strip()
    assert line == word, f"the other detector said: {line}\n{stream.read()}"


def main() -> None:
    """Run what standard input orders, each on its go, until it ends."""
    source_url, store_url = json.loads(sys.stdin.readline())
    for line in sys.stdin:
        order = Order(**json.loads(line))
        clock = Clock(datetime.fromisoformat(order.now))
        window = Window(datetime.fromisoformat(order.start), datetime.fromisoformat(order.end))
        recent_activity = timedelta(seconds=order.recent_activity_seconds)
        with (
            open_replica(source_url, now=clock, batch_rows=order.batch_rows) as replica,
            open_store(store_url, pool_size=2) as store,
        ):
            replica.observed_until()
            hourly = Hourly(replica, store, clock, order.batch_rows, recent_activity, count(order.serial))
            _say(READY)
            assert sys.stdin.readline().strip() == GO
            hourly.run(order.job, window)
        _say(DONE)


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
