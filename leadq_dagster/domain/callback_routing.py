"""For whom a promised call is reserved: pure, asked each minute by who looks and by who routes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from leadq_dagster.domain.queue_rule import QueueType

# Promised calls are put in front so long before their time: a minute's look always meets them in between.
REACH = timedelta(minutes=6)
# What could not be routed is tried again after so long.
FAILED_PAUSE = timedelta(minutes=15)
RAISED_PRIORITY, ACCEPTED_PRIORITY = -1000, -2000


class Decision(StrEnum):
    """What one look decided about a promised call; the last two are an agent's own doing."""

    FOR_ACCEPTER = "reserved_for_accepter"
    FOR_PREFERRED = "reserved_for_preferred"
    FOR_AVAILABLE = "reserved_for_available"
    UNASSIGNED = "left_unassigned"
    CANCELLED = "cancelled"
    FAILED = "failed"
    ACCEPTED = "accepted"
    SNOOZED = "snoozed"


@dataclass(frozen=True)
class Member:
    """An active agent who is not offline. `reserved` are the promised calls that wait for them already."""

    agent_id: int
    is_on_break: bool
    is_heard: bool
    is_holding: bool
    since: datetime
    queues: tuple[QueueType, ...]
    reserved: int = 0

    @property
    def is_free(self) -> bool:
        """Whether the agent could take a call now."""
        return self.is_heard and not self.is_on_break and not self.is_holding

    @property
    def is_here(self) -> bool:
        """Whether the agent is at work; a lead in hand is a sign of life of its own."""
        return not self.is_on_break and (self.is_heard or self.is_holding)


@dataclass(frozen=True)
class LiveStay:
    """The live stay of a callback's user. `callback_id` is the promised call that raised it."""

    id: int
    queue: QueueType
    is_assigned: bool
    callback_id: int | None
    reserved_for_agent_id: int | None


@dataclass(frozen=True)
class DueCallback:
    """A promised call that is near or overdue. `failed_at`: when the latest look failed, if it did."""

    id: int
    user_id: int
    accepted_by_agent_id: int | None
    preferred_agent_id: int | None
    call_after: datetime
    failed_at: datetime | None
    stay: LiveStay | None

    @property
    def is_raised(self) -> bool:
        """Whether it is in front of the queue."""
        return self.stay is not None and self.stay.callback_id == self.id


@dataclass(frozen=True)
class Route:
    """Where a promised call goes: in front of the queue, for an agent or (None) for whoever asks first."""

    callback: DueCallback
    agent_id: int | None
    decision: Decision

    @property
    def priority(self) -> int:
        """The stay's priority by it."""
        return ACCEPTED_PRIORITY if self.decision is Decision.FOR_ACCEPTER else RAISED_PRIORITY


class Crew:
    """Who is at work."""

    def __init__(self, members: Iterable[Member]) -> None:
        self._members = {member.agent_id: member for member in members}

    def serves(self, agent_id: int | None, queue: QueueType) -> Member | None:
        """This agent, if at work and serving the queue; None for one who has gone."""
        member = self._members.get(agent_id) if agent_id is not None else None
        return member if member is not None and member.is_here and queue in member.queues else None

    def longest_idle(self, queue: QueueType) -> Member | None:
        """Of the free agents of this queue, those with the fewest calls waiting, the longest idle."""
        free = [member for member in self._members.values() if member.is_free and queue in member.queues]
        return min(free, key=lambda member: (member.reserved, member.since, member.agent_id), default=None)

    def reserve(self, agent_id: int) -> None:
        """One more promised call waits for this agent."""
        member = self._members[agent_id]
        self._members[agent_id] = replace(member, reserved=member.reserved + 1)


def is_to_be_routed(callback: DueCallback, crew: Crew, now: datetime) -> bool:
    """Whether a look at this one would change anything.

    Nothing is to be done while the user is with an agent, and while another promised call has raised the
    user: this one follows.
    """
    stay = callback.stay
    if stay is not None and (stay.is_assigned or stay.callback_id not in (None, callback.id)):
        return False
    if callback.is_raised:
        assert stay is not None
        return _agent_for(callback, stay, crew, now)[0] != stay.reserved_for_agent_id
    return callback.failed_at is None or callback.failed_at <= now - FAILED_PAUSE


def decide_routes(callbacks: Sequence[DueCallback], crew: Crew, now: datetime) -> list[Route]:
    """The routes of those that change by this look and have a stay; one for each user, the first due.

    Whoever has an agent of their own gets that one; the others are shared out among the free afterwards, one
    to each before anybody gets a second.
    """
    first_of_user: Mapping[int, DueCallback] = {
        callback.user_id: callback for callback in sorted(callbacks, key=_order, reverse=True)
    }
    due = [
        callback
        for callback in sorted(first_of_user.values(), key=_order)
        if callback.stay and is_to_be_routed(callback, crew, now)
    ]
    by_preference = sorted(due, key=lambda callback: not _has_an_own(callback, crew))
    routes = []
    for callback in by_preference:
        assert callback.stay is not None
        agent_id, decision = _agent_for(callback, callback.stay, crew, now)
        if agent_id is not None:
            crew.reserve(agent_id)
        routes.append(Route(callback, agent_id, decision))
    return routes


def _order(callback: DueCallback) -> tuple[datetime, int]:
    return callback.call_after, callback.id


def _has_an_own(callback: DueCallback, crew: Crew) -> bool:
    assert callback.stay is not None
    queue = callback.stay.queue
    preferred = crew.serves(callback.preferred_agent_id, queue)
    return crew.serves(callback.accepted_by_agent_id, queue) is not None or bool(
        preferred and preferred.is_free
    )


def _agent_for(
    callback: DueCallback, stay: LiveStay, crew: Crew, now: datetime
) -> tuple[int | None, Decision]:
    """The accepter; else the preferred agent, if free; else who has it already; else the longest idle.

    Who has it already keeps it until they go, or until it is due while they are busy and somebody else is
    free: whoever was promised a call is waiting for it.
    """
    if accepter := crew.serves(callback.accepted_by_agent_id, stay.queue):
        return accepter.agent_id, Decision.FOR_ACCEPTER
    preferred = crew.serves(callback.preferred_agent_id, stay.queue)
    if preferred and preferred.is_free:
        return preferred.agent_id, Decision.FOR_PREFERRED
    keeper = crew.serves(stay.reserved_for_agent_id, stay.queue) if callback.is_raised else None
    idle = crew.longest_idle(stay.queue)
    if keeper and not (idle and callback.call_after <= now and not keeper.is_free):
        return keeper.agent_id, Decision.FOR_AVAILABLE
    if idle:
        return idle.agent_id, Decision.FOR_AVAILABLE
    return None, Decision.UNASSIGNED
