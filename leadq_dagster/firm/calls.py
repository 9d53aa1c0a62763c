"""Calls as they happen out there: who answers, how long they talk, and when the records of it arrive.

It also knows whose a success is, by a statement of its own that it shares with nobody.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

RING_SECONDS = 20
EARNING_TALK_SECONDS = 31
EARNING_DAYS = timedelta(days=30)
LATE_RECORD = 0.15
LATE_TALK = 0.20
NO_AGENT = 0.03
LATE_MAX_SECONDS = 30 * 3600

# Talk in seconds, from and to, with how often: nobody there, put down at once, on the edge, a conversation.
TALKS = (((0, 0), 0.25), ((1, 29), 0.20), ((30, 31), 0.10), ((32, 1800), 0.45))


@dataclass(frozen=True, slots=True)
class Call:
    """One call. `recorded_at` is when its record arrives, `talk_told_at` (no earlier) when the talk time is.

    All instants are aware; `agent_id` is None where the record does not say who called.
    """

    call_id: str
    agent_id: int | None
    user_id: int
    started_at: datetime
    ended_at: datetime
    talk_seconds: int
    recorded_at: datetime
    talk_told_at: datetime


def place_call(rng: Random, number: int, agent_id: int, user_id: int, started_at: datetime) -> Call:
    """An agent's call to this person; `number` tells one call from another."""
    (shortest, longest), _ = rng.choices(TALKS, [share for _, share in TALKS])[0]
    talk_seconds = rng.randint(shortest, longest)
    ended_at = started_at + timedelta(seconds=RING_SECONDS + talk_seconds)
    recorded_at = _maybe_late(rng, ended_at, LATE_RECORD)
    return Call(
        f"call-{number:06}",
        None if rng.random() < NO_AGENT else agent_id,
        user_id,
        started_at,
        ended_at,
        talk_seconds,
        recorded_at,
        _maybe_late(rng, recorded_at, LATE_TALK),
    )


def whose(
    calls: Iterable[tuple[int | None, datetime, int | None]], at: datetime
) -> tuple[int | None, set[int]]:
    """Whose success at the instant `at` it is, by calls (agent, start, talk in seconds) to the person.

    Of the agents who talked for more than half a minute in a call that began before it, but not
    more than thirty days before, the latest earned it, and the others had their part.
    """
    earning = [
        (started_at, agent_id)
        for agent_id, started_at, talk_seconds in calls
        if agent_id is not None
        and talk_seconds is not None
        and talk_seconds >= EARNING_TALK_SECONDS
        and at - EARNING_DAYS <= started_at < at
    ]
    if not earning:
        return None, set()
    _, latest = max(earning)
    return latest, {agent_id for _, agent_id in earning} - {latest}


def _maybe_late(rng: Random, moment: datetime, share: float) -> datetime:
    is_late = rng.random() < share
    return moment + timedelta(seconds=rng.randint(60, LATE_MAX_SECONDS)) if is_late else moment
