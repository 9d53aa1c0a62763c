"""Trying again: only what another try can heal, with pauses of chance, and not for long.

Time is the test's: nothing is waited for.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import tenacity

from leadq_dagster.desk.retrying import RETRIED_FOR_SECONDS, retried
from leadq_dagster.domain.errors import ConflictError, PermanentError, RefusedError, TransientError

PAUSE_SECONDS_MAX = 0.5


@dataclass
class Time:
    """What a retrying loop takes for the time: a pause ends at once, and is kept."""

    now: float = 1_000.0
    pauses: list[float] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@dataclass
class Work:
    """Raises the error so many times before it answers; each try takes its time."""

    error: Exception
    failures: float
    time: Time
    seconds: float = 0.0
    tries: int = 0

    def __call__(self) -> str:
        self.tries += 1
        self.time.now += self.seconds
        if self.tries <= self.failures:
            raise self.error
        return "done"


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr(tenacity, "time", time)
    monkeypatch.setattr(tenacity.nap, "time", time)
    return time


@pytest.fixture
def in_vain(time: Time) -> Callable[[], list[float]]:
    """The pauses of work that fails for ever."""

    def pauses() -> list[float]:
        time.pauses = []
        with pytest.raises(TransientError):
            retried(Work(TransientError("cut"), float("inf"), time))
        return time.pauses

    return pauses


@pytest.mark.parametrize("failures", [0, 1, 5])
def test_what_another_try_may_heal_is_tried_until_it_works(time: Time, failures: int) -> None:
    """P19, P26: a cut connection is nothing that an agent hears of."""
    work = Work(TransientError("cut"), failures, time)
    assert retried(work) == "done"
    assert (work.tries, len(time.pauses)) == (failures + 1, failures)


@pytest.mark.parametrize(
    "error",
    [RefusedError("no"), ConflictError("late"), PermanentError("broken"), ValueError("odd"), OSError("gone")],
    ids=lambda error: type(error).__name__,
)
def test_what_no_other_try_heals_is_tried_once(time: Time, error: Exception) -> None:
    """P23: and is told as it is."""
    work = Work(error, 1, time)
    with pytest.raises(type(error)) as raised:
        retried(work)
    assert raised.value is error
    assert (work.tries, time.pauses) == (1, [])


def test_pauses_are_of_chance_so_that_two_who_collided_do_not_collide_again(
    in_vain: Callable[[], list[float]],
) -> None:
    """P15: after a deadlock both try again, and not at the same time."""
    first, second = in_vain(), in_vain()
    assert len(set(first + second)) == len(first) + len(second)


def test_pauses_begin_short_and_are_never_long(in_vain: Callable[[], list[float]]) -> None:
    """P21: an agent waits for them."""
    pauses = [in_vain() for _ in range(20)]
    assert all(each[0] <= 0.02 and each[1] <= 0.04 for each in pauses)
    assert all(0 <= pause <= PAUSE_SECONDS_MAX for each in pauses for pause in each)
    assert max(map(max, pauses)) > PAUSE_SECONDS_MAX / 2  # nor are they so short that a store is stormed


@pytest.mark.parametrize("seconds", [0.0, 1.0, 60.0])
def test_it_is_given_up_in_time_and_the_last_error_told(time: Time, seconds: float) -> None:
    """P21: no try begins after that, whatever a try takes."""
    began, error = time.now, TransientError("cut")
    work = Work(error, float("inf"), time, seconds)
    with pytest.raises(TransientError) as raised:
        retried(work)
    assert raised.value is error
    latest = RETRIED_FOR_SECONDS + PAUSE_SECONDS_MAX + seconds
    assert RETRIED_FOR_SECONDS <= time.now - began <= latest
    assert work.tries == (1 if seconds > RETRIED_FOR_SECONDS else len(time.pauses) + 1)


def test_who_asks_waits_for_seconds() -> None:
    """P21: less than a client's usual patience."""
    assert 1 <= RETRIED_FOR_SECONDS <= 10
