"""Why a user is, or is not, where they are: one answer for the command line and for HTTP."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from leadq_dagster.desk.gate import Gate, belongs
from leadq_dagster.desk.standing_sentence import at, sentence_of
from leadq_dagster.domain.errors import ForbiddenError, NotFoundError
from leadq_dagster.domain.lead import SourceLead
from leadq_dagster.domain.queue_rule import QueueType, Reason, decide_queue
from leadq_dagster.domain.score_history import ScoredStay, derive, problems_of
from leadq_dagster.domain.score_rules import ScoreRules
from leadq_dagster.store import assignments, explanations, score_events
from leadq_dagster.store.agents import Identity, Role
from leadq_dagster.store.connection import Store
from leadq_dagster.store.explanations import History, KnownUser


class Answer(StrEnum):
    """Whether the source said anything about the user."""

    ANSWERED = "answered"
    DOES_NOT_HAVE = "does_not_have_the_user"
    NOT_ASKED = "could_not_be_asked"


@dataclass(frozen=True)
class SourceView:
    """What the queue rule says of the source's facts, now. `differs`: the user is elsewhere than it says.

    Without an answer nothing is known, and nothing differs: both are None.
    """

    answer: Answer
    queue: QueueType | None = None
    reason: str | None = None
    differs: bool | None = None


@dataclass(frozen=True)
class ScoreLine:
    """One event of the score: what happened, what it added, and the score then.

    `by_the_rules` is what the rules of that version add for it, None where they are not known any more.
    """

    happened_at: datetime
    what: str
    outcome_change: int
    attempt_change: int
    age_change: int
    score: int
    rules_version: int
    by_the_rules: int | None


@dataclass(frozen=True)
class ScoreView:
    """The score of the user's last stay, line by line; `problems` says where store and events disagree."""

    stay_id: int
    score: int
    lines: tuple[ScoreLine, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Explanation:
    """Why a known user is where they are, as of an instant. Ids and times, nobody's data.

    `says` is the standing as a sentence. `score` is None before the first stay.
    """

    user_id: int
    as_of: datetime
    says: str
    user: KnownUser
    source: SourceView
    score: ScoreView | None
    history: History


def explain(
    user_id: int,
    *,
    store: Store,
    gate: Gate,
    rules: ScoreRules,
    asker: Identity | None = None,
    now: datetime | None = None,
) -> Explanation:
    """Everything that explains where this user is.

    `asker` None is an operator; an agent may ask about users who are or were theirs to call, a supervisor
    about all. Raises ForbiddenError for an agent who may not, NotFoundError for a user who is not known, with
    a sentence on whether the source has them.
    """
    if asker is not None and asker.role is not Role.SUPERVISOR:
        _demand_assignment(store, user_id, asker.agent_id)
    leads = gate.ask([user_id])
    with store.transaction() as cursor:
        moment, _ = assignments.clock(cursor, now)
        known = explanations.standing(cursor, user_id, moment, rules.not_called_from)
        scored = score_events.scored_stay(cursor, user_id)
        history = explanations.history(cursor, user_id)
    source = _source_view(user_id, leads, known)
    if known is None:
        raise NotFoundError(f"user {user_id} is not known to leadq; {_why_unknown(source)}")
    says = sentence_of(known, history, rules.not_called_from)
    score = _score_view(scored) if scored else None
    return Explanation(user_id, moment, says, known, source, score, history)


def plain(value: Any) -> Any:
    """An explanation as JSON has it: objects, lists, and instants of UTC as text."""
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value


def _demand_assignment(store: Store, user_id: int, agent_id: int) -> None:
    with store.transaction() as cursor:
        if not explanations.was_assigned(cursor, user_id, agent_id):
            raise ForbiddenError(f"user {user_id} is not, and never was, yours to call")


def _source_view(user_id: int, leads: Mapping[int, SourceLead] | None, known: KnownUser | None) -> SourceView:
    if leads is None:
        return SourceView(Answer.NOT_ASKED)
    lead = leads.get(user_id)
    if lead is None:
        return SourceView(Answer.DOES_NOT_HAVE)
    decision = decide_queue(lead.facts)
    differs = _differs(known, lead) if known else None
    return SourceView(Answer.ANSWERED, decision.queue, decision.reason, differs)


def _differs(known: KnownUser, lead: SourceLead) -> bool:
    """Whether the rule would move the user; it never moves who is suppressed."""
    if not known.is_active:
        return False
    if known.queue is None:
        return decide_queue(lead.facts).queue is not None
    return not belongs(lead, known.queue, known.queue_reason or "")


def _why_unknown(source: SourceView) -> str:
    if source.answer is Answer.NOT_ASKED:
        return "the source could not be asked whether it has them"
    if source.answer is Answer.DOES_NOT_HAVE:
        return "the source does not have them either"
    if source.reason == Reason.USER_DISABLED:
        return "the source has them, disabled: only enabled users become known"
    return f"the source has them ({source.reason}): the discovery of the hour makes them known"


def _score_view(scored: ScoredStay) -> ScoreView:
    lines, score = [], 0
    for event, change in zip(scored.events, derive(scored.entered_at, scored.events), strict=True):
        score += event.change.total
        lines.append(
            ScoreLine(
                event.happened_at,
                f"call {event.attempt}: {event.outcome}" if event.outcome else f"aged to {at(event.aged_to)}",
                event.change.outcome,
                event.change.attempts,
                event.change.age,
                score,
                event.rules_version,
                change.total if change else None,
            )
        )
    return ScoreView(scored.stay_id, scored.score, tuple(lines), tuple(problems_of(scored)))
