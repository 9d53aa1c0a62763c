"""Promised calls in a test: who is here, what was promised, where it stands."""

from datetime import datetime, timedelta
from typing import Any

from leadq_dagster.desk.callback_terms import CallbackRequest, CallbackState, CancelReason, PromiseRequest
from leadq_dagster.desk.terms import Taken
from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster.store.agents import AgentStatus
from leadq_dagster_tests.desk.at_work import AtWork

MINUTE = timedelta(minutes=1)


def here(work: AtWork, *queues: QueueType) -> int:
    """A new agent, available from now on: each one a second less idle than the one before."""
    agent = work.agent(*queues)
    work.clock.advance(seconds=1)
    work.desk.set_status(agent, AgentStatus.AVAILABLE)
    return agent


def promised(work: AtWork, user_id: int, minutes: float, preferred: int | None = None) -> int:
    """A call promised to the user in so many minutes; written down by an agent who is on a break."""
    clerk = work.agent()
    work.desk.set_status(clerk, AgentStatus.BREAK)
    due_at = work.clock.now + minutes * MINUTE
    request = PromiseRequest(clerk, work.request_id(), user_id, due_at, preferred)
    return work.desk.promise_callback(request).callback_id


def taken_as_promised(work: AtWork, agent: int) -> tuple[int, Taken]:
    """A user's promised call in the hand of the agent for whom it was reserved."""
    work.lead(1)
    callback = promised(work, 1, 1, agent)
    work.desk.route_callbacks()
    work.clock.advance(minutes=1)
    taken = work.taken(agent)
    assert taken.assignment.callback_id == callback
    return callback, taken


def accept(work: AtWork, agent_id: int, callback_id: int) -> CallbackState:
    return work.desk.accept_callback(CallbackRequest(agent_id, work.request_id(), callback_id))


def snooze(
    work: AtWork, agent_id: int, callback_id: int, minutes: int = 5, *, is_supervisor: bool = False
) -> CallbackState:
    request = CallbackRequest(agent_id, work.request_id(), callback_id, is_supervisor)
    return work.desk.snooze_callback(request, minutes)


def cancel(work: AtWork, agent_id: int, callback_id: int, *, is_supervisor: bool = False) -> CallbackState:
    request = CallbackRequest(agent_id, work.request_id(), callback_id, is_supervisor)
    return work.desk.cancel_callback(request, CancelReason.AGREED_OTHERWISE)


def raised(work: AtWork, callback_id: int) -> tuple[Any, ...] | None:
    """Priority, agent, time and queue of the live stay that this callback has raised."""
    rows = work.rows(
        "SELECT priority_score, reserved_for_agent_id, available_from, queue_type FROM call_queue"
        " WHERE callback_id = %s AND status <> 'left'",
        callback_id,
    )
    return rows[0] if rows else None


def reserved_for(work: AtWork, callback_id: int) -> int | None:
    """The agent for whom the callback waits in front; it must wait there."""
    found = raised(work, callback_id)
    assert found is not None
    agent: int | None = found[1]
    return agent


def standing(work: AtWork, callback_id: int) -> tuple[str, str | None]:
    """The callback's status, and why it is closed if it is."""
    [row] = work.rows("SELECT status, closed_reason FROM callbacks WHERE id = %s", callback_id)
    return row[0], row[1]


def decisions(work: AtWork, callback_id: int) -> list[tuple[str, int | None]]:
    """What was decided about it, and who was told."""
    statement = "SELECT decision, agent_id FROM callback_notifications WHERE callback_id = %s ORDER BY id"
    return [(decision, agent) for decision, agent in work.rows(statement, callback_id)]


def stay_of(work: AtWork, user_id: int) -> tuple[str, int, datetime, int | None] | None:
    """Queue reason, priority, time and callback of the user's live stay."""
    rows = work.rows(
        "SELECT queue_reason, priority_score, available_from, callback_id FROM call_queue"
        " WHERE user_id = %s AND status <> 'left'",
        user_id,
    )
    return rows[0] if rows else None  # type: ignore[return-value]
