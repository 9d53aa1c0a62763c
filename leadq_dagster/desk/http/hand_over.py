"""Answers of the desk's threads brought to the event loop, a batch at a time.

To wake the loop for each answer takes the interpreter away from the thread that has them, once an answer:
with 64 agents that was a third of all work.
"""

import asyncio
from collections import deque
from concurrent.futures import Future
from typing import Any, TypeVar

Answer = TypeVar("Answer")


class HandOver:
    """Awaits answers that other threads set; `bring` is called by them after each batch."""

    def __init__(self) -> None:
        self._ready: deque[tuple[asyncio.Future[Any], Future[Any]]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def wait_for(self, answer: "Future[Answer]") -> Answer:
        """The answer, once it has been brought. Raises what the answer raises."""
        self._loop = asyncio.get_running_loop()
        brought: asyncio.Future[Answer] = self._loop.create_future()
        answer.add_done_callback(lambda _: self._ready.append((brought, answer)))
        if answer.done():  # faster than we could ask for it: its batch may have been brought already
            self.bring()
        try:
            return await brought
        except asyncio.CancelledError:
            answer.cancel()
            raise

    def bring(self) -> None:
        """What is ready goes to who waits for it; from any thread."""
        if self._ready and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        while self._ready:
            brought, answer = self._ready.popleft()
            if brought.done():
                continue
            if error := answer.exception():
                brought.set_exception(error)
            else:
                brought.set_result(answer.result())
