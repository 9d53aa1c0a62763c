"""Requests that wait at the same moment are served together: one transaction for all of them.

A statement for one row costs a round trip, a plan and a flush to disk; for sixty-four it costs little more.
Nobody waits for company: whatever has arrived when the worker is free makes the next batch.
"""

import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Condition, Thread
from typing import Final, Generic, TypeVar

from leadq_dagster.domain.errors import TransientError

Request = TypeVar("Request")
Answer = TypeVar("Answer")

BATCH_MAX = 64
# A store that is down serves a batch in seconds; who waits behind so many has long gone away.
WAITING_MAX = 10_000
# A request that is served again and again keeps its place in front, and is given up after so long.
AGAIN_FOR_SECONDS = 5.0
STOPPED = "the desk is closing: ask another one"
CROWDED = "too many requests are waiting: ask again"
UNSETTLED = "the leads in front are changing all the time: ask again"


class Again:
    """In place of an answer: the request is to be served again, in the next batch."""


AGAIN: Final = Again()


@dataclass(slots=True)
class _Waiting(Generic[Request, Answer]):
    """A request with the answer to come; `give_up_at` from the first time that it was served."""

    request: Request
    future: "Future[Answer]" = field(default_factory=Future)
    give_up_at: float | None = None

    def begin(self) -> bool:
        """Whether somebody still wants the answer."""
        if self.give_up_at is not None:
            return True
        self.give_up_at = time.monotonic() + AGAIN_FOR_SECONDS
        return self.future.set_running_or_notify_cancel()

    def finish(self, answer: Answer | BaseException | Again) -> bool:
        """Whether this was the end of it."""
        if isinstance(answer, Again):
            if self.give_up_at is not None and time.monotonic() < self.give_up_at:
                return False
            self.future.set_exception(TransientError(UNSETTLED))
        elif isinstance(answer, BaseException):
            self.future.set_exception(answer)
        else:
            self.future.set_result(answer)
        return True


class Combiner(Generic[Request, Answer]):
    """A worker thread that serves requests in batches of what has arrived.

    `serve` gets at most `BATCH_MAX` requests, no two with the same `key`, and answers each in order; an
    answer that is an exception is raised to its requester. `AGAIN` is no answer: the others of the batch get
    theirs, and the request is in the next batch. When `serve` itself raises, all of the batch get that.
    `after_batch` is called when all of a batch have their answers.
    """

    def __init__(
        self,
        serve: Callable[[Sequence[Request]], Sequence[Answer | Exception | Again]],
        key: Callable[[Request], Hashable],
        name: str,
        after_batch: Callable[[], None] = lambda: None,
    ) -> None:
        self._serve = serve
        self._key = key
        self._after_batch = after_batch
        self._waiting: deque[_Waiting[Request, Answer]] = deque()
        self._arrived = Condition()
        self._is_stopping = False
        self._worker = Thread(target=self._work, name=name, daemon=True)
        self._worker.start()

    def submit(self, request: Request) -> "Future[Answer]":
        """The answer to come. Raises TransientError when the combiner is closing or overrun."""
        waiting: _Waiting[Request, Answer] = _Waiting(request)
        with self._arrived:
            if self._is_stopping:
                raise TransientError(STOPPED)
            if len(self._waiting) >= WAITING_MAX:
                raise TransientError(CROWDED)
            self._waiting.append(waiting)
            self._arrived.notify()
        return waiting.future

    def close(self) -> None:
        """Serve what has arrived, then stop."""
        with self._arrived:
            self._is_stopping = True
            self._arrived.notify()
        self._worker.join()

    def _work(self) -> None:
        while batch := self._next_batch():
            again = [
                item
                for item, answer in zip(batch, self._answers(batch), strict=True)
                if not item.finish(answer)
            ]
            with self._arrived:
                self._waiting.extendleft(reversed(again))
            self._after_batch()

    def _answers(
        self, batch: Sequence[_Waiting[Request, Answer]]
    ) -> Sequence[Answer | BaseException | Again]:
        """One for each, whatever happens: who waits for an answer that never comes waits for ever."""
        try:
            answers = self._serve([item.request for item in batch])
            if len(answers) != len(batch):
                raise AssertionError(f"{len(answers)} answers to {len(batch)} requests")
        except BaseException as error:  # noqa: BLE001  each requester gets it; the worker lives on
            return [error] * len(batch)
        return answers

    def _next_batch(self) -> list[_Waiting[Request, Answer]]:
        """What has arrived, the first come first; empty when there is nothing and never will be.

        The second request of one key waits for the next batch.
        """
        batch: dict[Hashable, _Waiting[Request, Answer]] = {}
        with self._arrived:
            while not batch:
                self._arrived.wait_for(lambda: self._waiting or self._is_stopping)
                if not self._waiting:
                    return []
                left = []
                while self._waiting and len(batch) < BATCH_MAX:
                    item = self._waiting.popleft()
                    key = self._key(item.request)
                    if key in batch:
                        left.append(item)
                    elif item.begin():
                        batch[key] = item
                self._waiting.extendleft(reversed(left))
        return list(batch.values())
