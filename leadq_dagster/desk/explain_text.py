"""An explanation as text for a terminal."""

from collections.abc import Iterable, Iterator, Sequence

from leadq_dagster.desk.explain import Answer, Explanation, ScoreView, SourceView
from leadq_dagster.desk.standing_sentence import at
from leadq_dagster.store.explanations import (
    ROWS_MAX,
    CallbackLine,
    CallLine,
    ConversionLine,
    KnownUser,
    StayLine,
    TransitionLine,
)


def text_of(explanation: Explanation) -> str:
    """The explanation in lines: the answer first, then what it rests on."""
    user, history = explanation.user, explanation.history
    return "\n".join(
        [
            f"user {explanation.user_id} at {at(explanation.as_of)}: {explanation.says}",
            f"  source: {_source(explanation.source)}",
            f"  {_known(user)}",
            *_score(explanation.score),
            *_section("stays", map(_stay, history.stays)),
            *_section("promised calls", map(_callback, history.callbacks)),
            *_section("calls", map(_call, history.calls)),
            *_section("transitions", map(_transition, history.transitions)),
            *_section("conversions", map(_conversion, history.conversions)),
        ]
    )


def _known(user: KnownUser) -> str:
    signed_up = f"signed up {at(user.signed_up_at)}" if user.signed_up_at else "signed up who knows when"
    calls = "no call yet"
    if user.last_call_at:
        calls = f"{user.total_attempts} calls, the last {at(user.last_call_at)}: {user.last_outcome}"
    return (
        f"{signed_up}, known since {at(user.discovered_at)}; {calls}; not before {at(user.next_call_after)}"
    )


def _source(source: SourceView) -> str:
    if source.answer is Answer.NOT_ASKED:
        return "could not be asked just now"
    if source.answer is Answer.DOES_NOT_HAVE:
        return "does not have this user: on doubt nothing is decided"
    verdict = "the user is elsewhere: a move is due" if source.differs else "no move is due"
    return f"the rule says {source.queue or 'no queue'} ({source.reason}); {verdict}"


def _score(score: ScoreView | None) -> Iterator[str]:
    if score is None:
        yield "score: none before the first stay"
        return
    yield f"score of stay {score.stay_id}: {score.score}"
    yield "  a new stay starts at 0"
    for line in score.lines:
        parts = (
            ("outcome", line.outcome_change),
            ("attempts", line.attempt_change),
            ("age", line.age_change),
        )
        added = ", ".join(f"{name} +{change}" for name, change in parts if change) or "+0"
        yield f"  {at(line.happened_at)}  {line.what}: {added} = {line.score}  (rules {line.rules_version})"
    for problem in score.problems:
        yield f"  WRONG: {problem}"


def _section(title: str, lines: Iterable[str]) -> Sequence[str]:
    found = list(lines)
    if not found:
        return [f"{title}: none"]
    more = f" (the latest {ROWS_MAX})" if len(found) == ROWS_MAX else ""
    return [f"{title}{more}:", *(f"  {line}" for line in found)]


def _stay(stay: StayLine) -> str:
    left = f", left {at(stay.left_at)} ({stay.left_reason})" if stay.left_at else ""
    return (
        f"{stay.id} in {stay.queue} since {at(stay.entered_at)} ({stay.reason}){left}: "
        f"{stay.status}, priority {stay.priority_score}, callable from {at(stay.available_from)}"
    )


def _callback(callback: CallbackLine) -> str:
    whose = {
        "preferred": callback.preferred_agent_id,
        "reserved for": callback.reserved_for_agent_id,
        "accepted by": callback.accepted_by_agent_id,
    }
    agents = "".join(f", {how} agent {agent}" for how, agent in whose.items() if agent)
    closed = f", closed {at(callback.closed_at)} ({callback.closed_reason})" if callback.closed_at else ""
    return (
        f"{callback.id} {callback.status}: promised for {at(callback.due_at)}, "
        f"to be made {at(callback.call_after)}, tried {callback.attempts} times{agents}{closed}"
    )


def _call(call: CallLine) -> str:
    talk = "talk time not told" if call.talk_time_seconds is None else f"{call.talk_time_seconds} s of talk"
    agent = f"agent {call.agent_id}" if call.agent_id else "no agent"
    late = ", reported late: the lead was not moved by it" if call.is_late else ""
    return f"{at(call.started_at)} {call.direction}, {agent}, {talk}: {call.outcome or 'no outcome'}{late}"


def _transition(move: TransitionLine) -> str:
    cause = "".join(
        f", {name} {value}"
        for name, value in (("run", move.run_id), ("partition", move.partition_key))
        if value
    )
    way = f"{move.from_queue or 'no queue'} -> {move.to_queue or 'no queue'}"
    return f"{at(move.happened_at)} {way}: {move.reason}, by {move.actor}{cause}"


def _conversion(conversion: ConversionLine) -> str:
    agent = conversion.primary_agent_id
    helpers = ", ".join(map(str, conversion.contributing_agents))
    return (
        f"{conversion.id} {conversion.type} at {at(conversion.converted_at)} for stay {conversion.stay_id}, "
        f"noticed {at(conversion.detected_at)} by {conversion.source}; "
        f"credited to {f'agent {agent}' if agent else 'nobody'}"
        + (f", with agents {helpers}" if helpers else "")
        + f"; score {conversion.final_score} after {conversion.total_call_attempts} calls"
    )
