"""Answers of other threads reach who awaits them in the event loop: each its own, nobody waits for ever."""

import asyncio
from concurrent.futures import Future
from threading import Thread

import pytest

from leadq_dagster.desk.http.hand_over import HandOver
from leadq_dagster.domain.errors import TransientError

PATIENCE_SECONDS = 30


def test_a_batch_is_brought_to_all_who_wait_and_to_each_its_own() -> None:
    """P15: answers do not change hands on the way."""

    async def wait_for_all() -> list[int]:
        hand_over, answers = HandOver(), [Future[int]() for _ in range(100)]

        def answer_all() -> None:
            for number, answer in enumerate(answers):
                answer.set_result(number)
            hand_over.bring()

        waiting = [asyncio.ensure_future(hand_over.wait_for(answer)) for answer in answers]
        await asyncio.sleep(0)  # all of them wait
        Thread(target=answer_all).start()
        return await asyncio.wait_for(asyncio.gather(*waiting), PATIENCE_SECONDS)

    assert asyncio.run(wait_for_all()) == list(range(100))


def test_an_answer_that_was_there_before_anybody_waited_is_given() -> None:
    async def wait_late() -> int:
        hand_over, answer = HandOver(), Future[int]()
        answer.set_result(7)
        hand_over.bring()
        return await asyncio.wait_for(hand_over.wait_for(answer), PATIENCE_SECONDS)

    assert asyncio.run(wait_late()) == 7


def test_an_error_is_raised_to_who_waits() -> None:
    async def wait_in_vain() -> None:
        hand_over, answer = HandOver(), Future[int]()
        answer.set_exception(TransientError("closing"))
        await asyncio.wait_for(hand_over.wait_for(answer), PATIENCE_SECONDS)

    with pytest.raises(TransientError, match="closing"):
        asyncio.run(wait_in_vain())


def test_who_stops_waiting_takes_the_request_back_and_keeps_nobody_from_theirs() -> None:
    async def one_of_two() -> tuple[bool, int]:
        hand_over, left, kept = HandOver(), Future[int](), Future[int]()
        leaving = asyncio.ensure_future(hand_over.wait_for(left))
        staying = asyncio.ensure_future(hand_over.wait_for(kept))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.wait([leaving])
        kept.set_result(1)
        hand_over.bring()
        return left.cancelled(), await asyncio.wait_for(staying, PATIENCE_SECONDS)

    assert asyncio.run(one_of_two()) == (True, 1)


def test_an_answer_too_late_for_who_stopped_waiting_is_dropped() -> None:
    async def late() -> int:
        hand_over, left, kept = HandOver(), Future[int](), Future[int]()
        assert left.set_running_or_notify_cancel()  # being served: it cannot be taken back
        leaving = asyncio.ensure_future(hand_over.wait_for(left))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.wait([leaving])
        left.set_result(1)
        kept.set_result(2)
        hand_over.bring()
        return await asyncio.wait_for(hand_over.wait_for(kept), PATIENCE_SECONDS)

    assert asyncio.run(late()) == 2
