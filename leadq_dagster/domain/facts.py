"""What the source says about a user, after normalising; the only input of the queue rule."""

from dataclasses import dataclass, field
from datetime import datetime


def normalise(status: str | None) -> str:
    """A status or type as leadq compares it: trimmed, lower case; NULL is the empty string.

    MariaDB compares `Cancelled`, `cancelled ` and `cancelled` as equal and PostgreSQL does not,
    so leadq compares none of them in SQL.
    """
    return (status or "").strip().lower()


@dataclass(frozen=True)
class SourceUser:
    """One row of the source's `users`: only what a decision needs, no name, phone number or address.

    `created_at` and `updated_at` are aware UTC, or None for NULL and for a zero date.
    """

    user_id: int
    is_enabled: bool
    status: str
    has_signature: bool
    created_at: datetime | None = None
    updated_at: datetime | None = None


@dataclass(frozen=True)
class Requirement:
    """One row of the source's `claim_requirements` with what matters of its claim; texts normalised.

    `updated_at` is aware UTC, or None for NULL and for a zero date.
    """

    type: str
    status: str
    reason: str
    claim_is_cancelled: bool
    updated_at: datetime | None = None


@dataclass(frozen=True)
class UserFacts:
    """All that the queue rule looks at: the user, their claims counted, their requirements."""

    user: SourceUser
    claims_total: int = 0
    claims_cancelled: int = 0
    requirements: tuple[Requirement, ...] = field(default=())
