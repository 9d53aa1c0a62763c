"""What the desk is asked and what it answers, and the terms on which it lends out leads."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from leadq_dagster.domain.lead import Contact
from leadq_dagster.domain.outcomes import Outcome
from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster.domain.score_rules import CURRENT_RULES, ScoreRules
from leadq_dagster.store.assignments import Assignment
from leadq_dagster.store.standings import Standings


def in_utc(instant: datetime | None) -> datetime | None:
    """The same instant by UTC; without a zone as it is, to be refused.

    A clock may be a day away from UTC, and PostgreSQL takes none that is sixteen hours away.
    """
    return instant.astimezone(UTC) if instant is not None and instant.tzinfo is not None else instant


@dataclass(frozen=True)
class CallingHours:
    """When people may be called: from `start` until before `end`, each day, by the clocks of `zone`.

    The whole day where both are the same. Hours over midnight (22:00 to 06:00) are meant as written.
    """

    start: time = time(0)
    end: time = time(0)
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))

    def __contains__(self, instant: object) -> bool:
        if self.start == self.end:
            return True
        assert isinstance(instant, datetime)
        clock = instant.astimezone(self.zone).time()
        if self.start < self.end:
            return self.start <= clock < self.end
        return clock >= self.start or clock < self.end


@dataclass(frozen=True)
class DeskTerms:
    """How long leads are lent, when they come back, and what happens while the source cannot be asked.

    `skip_pause`: how long a returned lead waits, so that it does not come straight back. `source_patience`:
    how long the source is waited for before a call. `hands_out_unvalidated`: whether a lead is handed out,
    and marked, while the source cannot be asked; else the request is refused.
    """

    lease: timedelta = timedelta(minutes=5)
    lease_max: timedelta = timedelta(hours=1)
    skip_pause: timedelta = timedelta(minutes=5)
    source_patience: timedelta = timedelta(seconds=1)
    hands_out_unvalidated: bool = True
    agent_silence: timedelta = timedelta(minutes=2)
    callback_retry: timedelta = timedelta(minutes=15)
    callback_retries_max: int = 1
    promise_reach: timedelta = timedelta(days=90)
    calling_hours: CallingHours = field(default_factory=CallingHours)
    rules: ScoreRules = CURRENT_RULES


@dataclass(frozen=True)
class TakeRequest:
    """An agent asks for the next lead, of this queue or (None) of the queues they serve, in their order."""

    agent_id: int
    request_id: str
    queue: QueueType | None = None


@dataclass(frozen=True)
class Taken:
    """A lead for the agent to call. `contact` is the source's, None where it could not be asked."""

    assignment: Assignment
    contact: Contact | None
    is_validated: bool


@dataclass(frozen=True)
class NoWork:
    """No lead for now, and why: how all known users stand."""

    reason: str
    standings: Standings


@dataclass(frozen=True)
class OutcomeRequest:
    """An agent reports how the call about an assignment went.

    `callback_at` is the agreed time of another call. `call_id` is the dialler's; without one the call is
    named after the assignment. `started_at` None: when the lead was handed out. `talk_time_seconds` None:
    told later.
    """

    agent_id: int
    request_id: str
    assignment_id: int
    lease_token: int
    outcome: Outcome
    callback_at: datetime | None = None
    call_id: str | None = None
    started_at: datetime | None = None
    talk_time_seconds: int | None = None
    notes: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "callback_at", in_utc(self.callback_at))
        object.__setattr__(self, "started_at", in_utc(self.started_at))


@dataclass(frozen=True)
class Recorded:
    """What an outcome did. `lead`: waiting (again, from `next_call_after`) or left; `callback_id` if
    promised."""

    assignment_id: int
    lead: str
    next_call_after: datetime | None
    callback_id: int | None
