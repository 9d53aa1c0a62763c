"""How the application writes a state down: the same fact in many spellings, and dates that are missing.

The shares (parts of one) are those of oddities that real applications leave behind in their tables.
"""

from datetime import datetime

from leadq_dagster.firm.catalogue import REJECTION_REASONS
from leadq_dagster.firm.transaction import (
    ClaimState,
    RequirementState,
    Row,
    Transaction,
    UserState,
)

EMPTY_SIGNATURE = 0.15
STATUS_IS_NULL = 0.02
CREATED_AT_IS_NULL = 0.01
UPDATED_AT_IS_NULL = 0.08


def user_columns(tx: Transaction, user: UserState) -> Row:
    """The columns of `users` that say what `user` says."""
    unsigned = "" if tx.chance(EMPTY_SIGNATURE) else None
    return {
        "is_enabled": tx.person.enabled_flag if user.is_enabled else 0,
        "status": _user_status(tx, user),
        "current_signature_file_id": tx.person.signature_file_id if user.is_signed else unsigned,
    }


def _user_status(tx: Transaction, user: UserState) -> str | None:
    if user.is_cancelled:
        return tx.spell("cancelled")
    if tx.chance(STATUS_IS_NULL):
        return None
    return tx.spell("active" if user.is_signed else "new")


def claim_status(tx: Transaction, claim: ClaimState) -> str:
    """The status of `claim` in words."""
    return tx.spell("cancelled" if claim.is_cancelled else tx.rng.choice(("open", "submitted")))


def requirement_columns(tx: Transaction, item: RequirementState) -> Row:
    """The columns of `claim_requirements` that say how far `item` is."""
    rejected = item.status == "rejected"
    return {
        "status": tx.spell(item.status),
        "claim_requirement_rejection_reason": tx.rng.choice(REJECTION_REASONS) if rejected else None,
    }


def first_dates(tx: Transaction) -> dict[str, datetime | None]:
    """Both dates of a row just made; now and then one of them is missing, never both."""
    written_at = tx.written_at
    if tx.chance(CREATED_AT_IS_NULL):
        return {"created_at": None, "updated_at": written_at}
    return {
        "created_at": written_at,
        "updated_at": None if tx.chance(UPDATED_AT_IS_NULL) else written_at,
    }


def no_dates() -> dict[str, datetime | None]:
    """The dates of a row that an old import left without any."""
    return {"created_at": None, "updated_at": None}
