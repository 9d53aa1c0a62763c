"""The queue rule: in which queue a user belongs. The only copy; every path asks it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from leadq_dagster.domain.facts import Requirement, UserFacts

CANCELLED = "cancelled"
PENDING = "pending"

# Paperwork that the firm itself prepares, or that the signature already covers: nobody is called for it.
NEVER_COUNTED_TYPES = frozenset(
    {"signature", "vehicle_registration", "cfa", "solicitor_letter_of_authority", "letter_of_authority"}
)
ID_DOCUMENT = "id_document"
COUNTED_ID_DOCUMENT_REASON = "base requirement for claim."


class QueueType(StrEnum):
    """The queues there are; a user is in one of them or in none."""

    UNSIGNED_USERS = "unsigned_users"
    OUTSTANDING_REQUESTS = "outstanding_requests"


# By name: quicker than the enumeration's own look-up, of which a batch of the desk makes hundreds.
QUEUES: Final = {queue.value: queue for queue in QueueType}


class Reason(StrEnum):
    """Why a user is in a queue or in none; written on the stay and in the audit line.

    The last four are not the rule's: an agent's outcome takes a user out, a promised call brings one in.
    """

    NO_SIGNATURE = "no_signature"
    PENDING_REQUIREMENTS = "pending_requirements"
    USER_DISABLED = "user_disabled"
    USER_CANCELLED = "user_cancelled"
    ALL_CLAIMS_CANCELLED = "all_claims_cancelled"
    NOTHING_OUTSTANDING = "nothing_outstanding"
    NO_CLAIM = "no_claim"
    DO_NOT_CONTACT = "do_not_contact"
    PROMISED_CALL = "promised_call"
    PROMISE_ENDED = "promise_ended"


# Who owes nothing any more is still called back as promised; who may not be called is not.
KEEPS_A_PROMISE = frozenset({Reason.NOTHING_OUTSTANDING, Reason.ALL_CLAIMS_CANCELLED})


@dataclass(frozen=True)
class QueueDecision:
    """The queue a user belongs in (None: in none) and why."""

    queue: QueueType | None
    reason: Reason


def is_counted(requirement: Requirement) -> bool:
    """Whether agents call about a requirement of this kind, whatever its status."""
    if requirement.claim_is_cancelled or requirement.type in NEVER_COUNTED_TYPES:
        return False
    return requirement.type != ID_DOCUMENT or requirement.reason == COUNTED_ID_DOCUMENT_REASON


def decide_queue(facts: UserFacts) -> QueueDecision:
    """In which queue a user with these facts belongs now.

    Total: every combination of facts has an answer. A user whom the source does not show has no
    facts and must not be judged by a guess at them: on doubt nothing is decided.
    """
    user = facts.user
    if not user.is_enabled:
        return QueueDecision(None, Reason.USER_DISABLED)
    if user.status == CANCELLED:
        return QueueDecision(None, Reason.USER_CANCELLED)
    if facts.claims_total > 0 and facts.claims_total == facts.claims_cancelled:
        return QueueDecision(None, Reason.ALL_CLAIMS_CANCELLED)
    if not user.has_signature:
        return QueueDecision(QueueType.UNSIGNED_USERS, Reason.NO_SIGNATURE)
    if any(is_counted(item) and item.status == PENDING for item in facts.requirements):
        return QueueDecision(QueueType.OUTSTANDING_REQUESTS, Reason.PENDING_REQUIREMENTS)
    return QueueDecision(None, Reason.NOTHING_OUTSTANDING)
