"""How a user stands, as a sentence."""

from datetime import UTC, datetime

from leadq_dagster.store.explanations import History, KnownUser


def at(instant: datetime | None) -> str:
    """An instant as people read it, in UTC to the second."""
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if instant else "never"


def sentence_of(known: KnownUser, history: History, not_called_from: int) -> str:
    """Why the user is in the class that the standings count them in. Raises ValueError for a new class."""
    match known.standing:
        case "waiting":
            return (
                f"waiting in {known.queue} ({known.queue_reason}), callable since {at(known.available_from)}"
            )
        case "cooling":
            return f"in {known.queue} ({known.queue_reason}), cooling until {at(known.available_from)}"
        case "promised":
            agent = known.reserved_for_agent_id
            whose = f"reserved for agent {agent}" if agent else "for whoever is there"
            when = at(known.callback_call_after)
            return f"in front of {known.queue} for promised call {known.callback_id} at {when}, {whose}"
        case "too_high":
            score = known.priority_score
            return (
                f"in {known.queue}, not called: score {score}, and nobody is called from {not_called_from} on"
            )
        case "assigned":
            return (
                f"assigned to agent {known.agent_id} until {at(known.lease_expires_at)}, from {known.queue}"
            )
        case "suppressed":
            return f"suppressed because of {known.suppressed_reason}: never queued again"
        case "converted":
            agent = known.credited_agent_id
            whose = f"agent {agent}" if agent else "nobody"
            return f"converted at {at(known.converted_at)} ({known.converted_by}), credited to {whose}"
        case "not_needed":
            return _not_needed(history)
        case other:
            raise ValueError(f"no such standing: {other}")


def _not_needed(history: History) -> str:
    if not history.transitions:
        return "not needed: the queue rule never found a reason to call"
    last = history.transitions[0]
    return f"not needed: {last.reason} since {at(last.happened_at)}, by {last.actor}"
