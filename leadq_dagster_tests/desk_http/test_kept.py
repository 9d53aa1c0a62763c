"""Answers that are asked for once in a while: what everybody is told meanwhile."""

from threading import Event, Thread

import pytest

from leadq_dagster.desk.http.service import Kept
from leadq_dagster.domain.errors import PermanentError, TransientError


class Asked:
    """Answers with the number of times it was asked, or fails."""

    def __init__(self) -> None:
        self.times = 0
        self.failure: Exception | None = None
        self.began, self.go_on = Event(), Event()
        self.go_on.set()

    def __call__(self) -> int:
        self.times += 1
        self.began.set()
        assert self.go_on.wait(30)
        if self.failure:
            raise self.failure
        return self.times


def test_an_answer_lasts_its_seconds() -> None:
    asked, moment = Asked(), 100.0
    kept = Kept(asked, 5.0, lambda: moment)
    assert [kept(), kept()] == [1, 1]
    moment = 104.9
    assert kept() == 1
    moment = 105.0
    assert kept() == 2


@pytest.mark.parametrize("kind", [TransientError, PermanentError])
def test_a_failure_lasts_a_moment(kind: type[Exception]) -> None:
    """P35: told to everybody who waited, not tried again by each of them, and not for long."""
    asked, moment = Asked(), 0.0
    kept = Kept(asked, 5.0, lambda: moment)
    asked.failure = kind("takes too long")
    for _ in range(3):
        with pytest.raises(kind, match="takes too long"):
            kept()
    assert asked.times == 1
    moment, asked.failure = 1.0, None
    assert kept() == 2


def test_while_one_asks_the_others_are_told_the_last_answer() -> None:
    asked, moment = Asked(), 0.0
    kept = Kept(asked, 5.0, lambda: moment)
    assert kept() == 1
    moment = 5.0
    asked.began.clear()
    asked.go_on.clear()
    asking = Thread(target=kept, daemon=True)
    asking.start()
    assert asked.began.wait(30)
    assert kept() == 1
    asked.go_on.set()
    asking.join(30)
    assert [kept(), asked.times] == [2, 2]
