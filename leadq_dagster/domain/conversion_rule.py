"""The conversion rule: does what the source shows make a stay a success, and since when. The only copy."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from leadq_dagster.domain.facts import UserFacts
from leadq_dagster.domain.queue_rule import PENDING, QueueType, is_counted
from leadq_dagster.domain.windows import floor_to_hour

APPROVED = "approved"


class ConversionType(StrEnum):
    """What a stay can end in; each queue has its own."""

    SIGNATURE_OBTAINED = "signature_obtained"
    REQUIREMENTS_COMPLETED = "requirements_completed"


@dataclass(frozen=True)
class Conversion:
    """A success that the source shows.

    `converted_at` is the source's time of the change, aware UTC; None where the source has none.
    """

    type: ConversionType
    converted_at: datetime | None


def decide_conversion(queue: QueueType, facts: UserFacts) -> Conversion | None:
    """The conversion of a stay in this queue whose user now has these facts; None if there is none.

    Only these facts make one: who is disabled, cancelled or opted out has converted just if they signed, or
    had requirements approved with none left pending. A requirement of a cancelled claim or of a kind that
    nobody is called about says nothing; withdrawn and rejected ones alone are a departure.
    """
    if queue is QueueType.UNSIGNED_USERS:
        if not facts.user.has_signature:
            return None
        return Conversion(ConversionType.SIGNATURE_OBTAINED, facts.user.updated_at)
    counted = [item for item in facts.requirements if is_counted(item)]
    approved = [item for item in counted if item.status == APPROVED]
    if not approved or any(item.status == PENDING for item in counted):
        return None
    times = [item.updated_at for item in approved if item.updated_at]
    return Conversion(ConversionType.REQUIREMENTS_COMPLETED, max(times, default=None))


def has_passed_through(signed_at: datetime, facts: UserFacts) -> bool:
    """Whether who signed also supplied all that they owed before anybody looked again.

    They belonged in `outstanding_requests` from the signature to the last approval and were never seen there.
    An approval of an earlier hour than the signature's was no reason to call them: there was none owing.
    """
    completed = decide_conversion(QueueType.OUTSTANDING_REQUESTS, facts)
    if completed is None or completed.converted_at is None:
        return False
    return completed.converted_at >= floor_to_hour(signed_at)
