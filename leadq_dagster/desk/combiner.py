"""Requests that wait at the same moment are served together: one transaction for all of them.

A statement for one row costs a round trip, a plan and a flush to disk; for sixty-four it costs little more.
Nobody waits for company: whatever has arrived when the worker is free makes the next batch.
"""

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from threading import Condition, Thread
from typing import Generic, TypeVar

from leadq_dagster.domain.errors import TransientError

Request = TypeVar("Request")
Answer = TypeVar("Answer")

BATCH_MAX = 64
STOPPED = "the desk is closing: ask another one"


class Combiner(Generic[Request, Answer]):
    """A worker thread that serves requests in batches of what has arrived.

    `serve` gets at most `BATCH_MAX` requests, no two with the same `key`, and answers each in order; an
    answer that is an exception is raised to its requester. When `serve` itself raises, all of the batch get
    that.
    """

    def __init__(
        self,
        serve: Callable[[Sequence[Request]], Sequence[Answer | Exception]],
        key: Callable[[Request], Hashable],
        name: str,
    ) -> None:
        self._serve = serve
        self._key = key
        self._waiting: deque[tuple[Request, Future[Answer]]] = deque()
        self._arrived = Condition()
        self._is_stopping = False
        self._worker = Thread(target=self._work, name=name, daemon=True)
        self._worker.start()

    def submit(self, request: Request) -> "Future[Answer]":
        """The answer to come. Raises TransientError when the combiner is closing."""
        future: Future[Answer] = Future()
        with self._arrived:
            if self._is_stopping:
                raise TransientError(STOPPED)
            self._waiting.append((request, future))
            self._arrived.notify()
        return future

    def close(self) -> None:
        """Serve what has arrived, then stop."""
        with self._arrived:
            self._is_stopping = True
            self._arrived.notify()
        self._worker.join()

    def _work(self) -> None:
        while batch := self._next_batch():
            try:
                answers = self._serve([request for request, _ in batch])
            except Exception as error:  # noqa: BLE001  each requester gets it; the worker lives on
                answers = [error] * len(batch)
            for (_, future), answer in zip(batch, answers, strict=True):
                if isinstance(answer, Exception):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)

    def _next_batch(self) -> list[tuple[Request, "Future[Answer]"]]:
        """What has arrived, the first come first; empty when there is nothing and never will be.

        The second request of one key waits for the next batch.
        """
        batch: dict[Hashable, tuple[Request, Future[Answer]]] = {}
        with self._arrived:
            while not batch:
                self._arrived.wait_for(lambda: self._waiting or self._is_stopping)
                if not self._waiting:
                    return []
                left = []
                while self._waiting and len(batch) < BATCH_MAX:
                    item = self._waiting.popleft()
                    if self._key(item[0]) in batch:
                        left.append(item)
                    elif item[1].set_running_or_notify_cancel():
                        batch[self._key(item[0])] = item
                self._waiting.extendleft(reversed(left))
        return list(batch.values())
