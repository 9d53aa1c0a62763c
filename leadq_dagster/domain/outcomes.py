"""What an agent may report of a call, and what each report does to the lead: the table of consequences."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class Outcome(StrEnum):
    """What the agent reports. No outcome makes a conversion: only the source does."""

    COMPLETED_FORM = "completed_form"
    GOING_TO_COMPLETE = "going_to_complete"
    MIGHT_COMPLETE = "might_complete"
    CALL_BACK = "call_back"
    NO_ANSWER = "no_answer"
    HUNG_UP = "hung_up"
    MISSED_CALL = "missed_call"
    BAD_NUMBER = "bad_number"
    NOT_INTERESTED = "not_interested"
    NO_CLAIM = "no_claim"
    DO_NOT_CONTACT = "do_not_contact"


@dataclass(frozen=True)
class Consequence:
    """What one outcome does: to the score, to when the lead may be called again, and to the stay.

    `score_change` is added, never set. `cool_down` is the wait before the next call; an agreed time takes its
    place where the outcome may have one (`may_agree`), and must be given where `must_agree`. `leaves`: the
    user is out of the queue for good. `is_conversation`: somebody was spoken to.
    """

    score_change: int = 0
    cool_down: timedelta = timedelta(0)
    may_agree: bool = False
    must_agree: bool = False
    leaves: bool = False
    is_conversation: bool = False


def _hours(hours: int) -> timedelta:
    return timedelta(hours=hours)


CONSEQUENCES = {
    Outcome.COMPLETED_FORM: Consequence(0, _hours(24), is_conversation=True),
    Outcome.GOING_TO_COMPLETE: Consequence(0, _hours(72), may_agree=True, is_conversation=True),
    Outcome.MIGHT_COMPLETE: Consequence(2, _hours(24), may_agree=True, is_conversation=True),
    Outcome.CALL_BACK: Consequence(0, may_agree=True, must_agree=True, is_conversation=True),
    Outcome.NO_ANSWER: Consequence(1, _hours(4)),
    Outcome.HUNG_UP: Consequence(2, _hours(4)),
    Outcome.MISSED_CALL: Consequence(0),
    Outcome.BAD_NUMBER: Consequence(50, _hours(672)),
    Outcome.NOT_INTERESTED: Consequence(100, _hours(672), is_conversation=True),
    Outcome.NO_CLAIM: Consequence(leaves=True, is_conversation=True),
    Outcome.DO_NOT_CONTACT: Consequence(leaves=True, is_conversation=True),
}

# The outcomes of a call that nobody took: a promised call is then not kept yet.
UNANSWERED = frozenset({Outcome.NO_ANSWER, Outcome.MISSED_CALL})
