"""The gate: before a lead leaves our hands the source is asked, by the one rule, within a bounded time."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from queue import SimpleQueue
from threading import Thread
from typing import Protocol

from leadq_dagster.desk.log import unanswered
from leadq_dagster.domain.lead import SourceLead
from leadq_dagster.domain.queue_rule import KEEPS_A_PROMISE, QueueType, Reason, decide_queue

Questions = SimpleQueue["tuple[Sequence[int], Future[list[SourceLead]]] | None"]

RETRY_AFTER_SECONDS = 5.0
ANSWERED_WITHIN = timedelta(seconds=1)


class Source(Protocol):
    """What the desk asks of the replica: many users in one question."""

    def read_leads(self, user_ids: Sequence[int]) -> list[SourceLead]:
        """These users as the source shows them; those it does not show are absent."""
        ...


@dataclass
class Gate:
    """Asks the source, and stops asking for a while when it does not answer: every agent would wait for it.

    A question is waited for no longer than `patience`, whatever keeps it: a server that was stopped, a name
    that is not resolved. `unanswered` counts the questions that got no answer in time or were not asked.
    """

    source: Source
    patience: timedelta = ANSWERED_WITHIN
    seconds: Callable[[], float] = time.monotonic
    unanswered: int = 0
    _closed_until: float = field(default=0.0, init=False)
    _overdue: set["Future[list[SourceLead]]"] = field(default_factory=set, init=False, repr=False)
    _idle: list[Questions] = field(default_factory=list, init=False, repr=False)
    _is_closed: bool = field(default=False, init=False, repr=False)

    def ask(self, user_ids: Sequence[int]) -> dict[int, SourceLead] | None:
        """These users by id, those that the source shows; None if it could not be asked."""
        if not user_ids:
            return {}
        # Nobody else is asked while a question is overdue: each would hold a thread and a connection too.
        if self._overdue or self.seconds() < self._closed_until:
            self.unanswered += 1
            return None
        try:
            leads = self._answered(user_ids)
        except Exception as error:  # noqa: BLE001  whatever is wrong with the source, the desk goes on
            unanswered(type(error).__name__)
            self.unanswered += 1
            self._closed_until = self.seconds() + RETRY_AFTER_SECONDS
            return None
        return {lead.facts.user.user_id: lead for lead in leads}

    def _answered(self, user_ids: Sequence[int]) -> list[SourceLead]:
        """What the source answers in time; a thread waits for it, since nothing bounds all that it does."""
        answer: Future[list[SourceLead]] = Future()
        self._asking().put((user_ids, answer))
        try:
            return answer.result(self.patience.total_seconds())
        except TimeoutError:
            self._overdue.add(answer)
            answer.add_done_callback(self._overdue.discard)
            raise

    def _asking(self) -> Questions:
        """Where a thread takes its questions from: an idle one, since to begin one is a fortieth of a batch.

        It is a daemon, since one that hangs must not keep the process from ending.
        """
        with suppress(IndexError):
            return self._idle.pop()
        questions = Questions()
        Thread(target=self._ask_all, args=(questions,), name="leadq-gate", daemon=True).start()
        return questions

    def _ask_all(self, questions: Questions) -> None:
        while question := questions.get():
            self._ask_into(*question, questions)
            # What was answered is people's: it is not kept until the next question.
            del question
            if self._is_closed:
                self.close()

    def _ask_into(
        self, user_ids: Sequence[int], answer: "Future[list[SourceLead]]", questions: Questions
    ) -> None:
        try:
            leads = self.source.read_leads(user_ids)
        except BaseException as error:  # noqa: BLE001  raised to who asked
            self._idle.append(questions)
            answer.set_exception(error)
        else:
            self._idle.append(questions)
            answer.set_result(leads)

    def close(self) -> None:
        """End the threads that have nothing to ask, and the others once they have their answers."""
        self._is_closed = True
        with suppress(IndexError):
            while True:
                self._idle.pop().put(None)


def belongs(lead: SourceLead, queue: QueueType, queue_reason: str) -> bool:
    """Whether a user with these facts is still to be called from this queue.

    A promised call is made even to who owes nothing any more; not to who may not be called.
    """
    decision = decide_queue(lead.facts)
    if decision.queue is queue:
        return True
    return queue_reason == Reason.PROMISED_CALL and decision.reason in KEEPS_A_PROMISE
