"""Requests that share a transaction: each gets its own answer, in turn, whatever becomes of the others."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future

import pytest

from leadq_dagster.desk import combiner
from leadq_dagster.desk.combiner import AGAIN, BATCH_MAX, Again, Combiner
from leadq_dagster.domain.errors import RefusedError, TransientError

Answers = Sequence[str | Exception | Again]


class Serving:
    """A combiner whose worker serves the first batch when it is let go; the batches it served."""

    def __init__(self, serve: Callable[[Sequence[str]], Answers]) -> None:
        self.batches: list[list[str]] = []
        self.go = threading.Event()
        self._serve = serve
        self.combiner: Combiner[str, str] = Combiner(self._work, lambda request: request[0], "test")

    def _work(self, requests: Sequence[str]) -> Answers:
        assert self.go.wait(30)
        self.batches.append(list(requests))
        return self._serve(requests)

    def submit(self, *requests: str) -> "list[Future[str]]":
        return [self.combiner.submit(request) for request in requests]

    def begun(self) -> "Future[str]":
        """A first request, which the worker has begun to serve alone: the others gather behind it."""
        first = self.combiner.submit("!first")
        while not first.running():
            threading.Event().wait(0.001)
        return first


Make = Callable[[Callable[[Sequence[str]], Answers]], Serving]


def echo(requests: Sequence[str]) -> Answers:
    return [f"{request} served" for request in requests]


@pytest.fixture
def serving() -> Iterator[Make]:
    made: list[Serving] = []

    def make(serve: Callable[[Sequence[str]], Answers]) -> Serving:
        made.append(Serving(serve))
        return made[-1]

    yield make
    for each in made:
        each.go.set()
        each.combiner.close()


def test_what_gathered_meanwhile_is_one_batch_and_one_key_comes_once_in_it(serving: Make) -> None:
    """P17: in the order of arrival; the second request of one agent is in the next batch, in front."""
    here = serving(echo)
    first = here.begun()
    futures = here.submit("a1", "b1", "a2", "c1", "a3")
    here.go.set()
    assert [each.result(30) for each in (first, *futures)] == [
        f"{name} served" for name in ("!first", "a1", "b1", "a2", "c1", "a3")
    ]
    assert here.batches == [["!first"], ["a1", "b1", "c1"], ["a2"], ["a3"]]


def test_nobody_is_starved_by_an_agent_who_asks_a_thousand_times(serving: Make) -> None:
    """P17: fairness: whoever arrives behind them is in the next batch."""
    here = serving(echo)
    here.begun()
    many = here.submit(*(f"a{n}" for n in range(1000)))
    late = here.submit("z1")
    here.go.set()
    assert late[0].result(30) == "z1 served"
    assert here.batches[1] == ["a0", "z1"]
    assert many[-1].result(30) == "a999 served"


def test_a_batch_has_a_bound_and_the_rest_keeps_its_order(serving: Make) -> None:
    here = serving(echo)
    here.begun()
    names = [f"{chr(200 + n)}" for n in range(2 * BATCH_MAX + 5)]
    futures = here.submit(*names)
    here.go.set()
    assert [each.result(30) for each in futures] == [f"{name} served" for name in names]
    assert [len(batch) for batch in here.batches] == [1, BATCH_MAX, BATCH_MAX, 5]


def test_who_gave_up_waiting_is_not_served(serving: Make) -> None:
    """P20: cancelled before its turn, a request does nothing; cancelled too late, it is served."""
    here = serving(echo)
    first = here.begun()
    a, b = here.submit("a", "b")
    assert a.cancel()
    assert not first.cancel()
    here.go.set()
    assert b.result(30) == "b served"
    assert here.batches == [["!first"], ["b"]]


def test_an_answer_that_is_an_exception_is_raised_to_its_requester_only(serving: Make) -> None:
    here = serving(lambda requests: [RefusedError(r) if r == "a" else r for r in requests])
    here.begun()
    a, b = here.submit("a", "b")
    here.go.set()
    with pytest.raises(RefusedError):
        a.result(30)
    assert b.result(30) == "b"


@pytest.mark.parametrize("broken", [ValueError("?"), SystemExit(1), None])
def test_whatever_breaks_the_service_everybody_is_told_and_the_next_batch_is_served(
    serving: Make, broken: BaseException | None
) -> None:
    """P21: too few answers is broken, too; nobody waits for ever for a worker that is gone."""

    def serve(requests: Sequence[str]) -> Answers:
        if "a" in requests:
            if broken:
                raise broken
            return []
        return list(requests)

    here = serving(serve)
    here.begun()
    a, b = here.submit("a", "b")
    here.go.set()
    for each in (a, b):
        assert isinstance(each.exception(30), type(broken) if broken else AssertionError)
    assert here.submit("c")[0].result(30) == "c"


def test_to_be_served_again_is_to_be_first_in_the_next_batch_and_holds_nobody_up(serving: Make) -> None:
    """P17: the others of the batch have their answers at once."""
    tries: list[str] = []

    def serve(requests: Sequence[str]) -> Answers:
        tries.extend(request for request in requests if request == "a")
        return [AGAIN if request == "a" and len(tries) < 3 else request for request in requests]

    here = serving(serve)
    here.begun()
    a, b, c = here.submit("a", "b", "b2")
    here.go.set()
    assert [each.result(30) for each in (a, b, c)] == ["a", "b", "b2"]
    assert here.batches == [["!first"], ["a", "b"], ["a", "b2"], ["a"]]


def test_who_is_served_again_and_again_is_told_to_try_later(
    serving: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P21: bounded, and an error, never "no work"."""
    monkeypatch.setattr(combiner, "AGAIN_FOR_SECONDS", 0.05)
    here = serving(lambda requests: [AGAIN] * len(requests))
    here.go.set()
    with pytest.raises(TransientError, match="ask again"):
        here.submit("a")[0].result(30)


def test_closing_answers_what_has_arrived_and_refuses_what_comes_after(serving: Make) -> None:
    here = serving(echo)
    here.begun()
    futures = here.submit("a", "b", "a2")
    closing = threading.Thread(target=here.combiner.close)
    closing.start()
    here.go.set()
    closing.join(30)
    assert [each.result(0) for each in futures] == ["a served", "b served", "a2 served"]
    with pytest.raises(TransientError):
        here.submit("c")


def test_a_crowd_is_turned_away(serving: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """P21: a store that is down does not fill the memory."""
    monkeypatch.setattr(combiner, "WAITING_MAX", 3)
    here = serving(echo)
    here.begun()
    here.submit("a", "b", "c")
    with pytest.raises(TransientError):
        here.submit("d")
