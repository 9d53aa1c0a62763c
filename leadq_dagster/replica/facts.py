"""What the queue rule looks at, read for many users at once."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from sqlalchemy import Connection, bindparam, select

from leadq_dagster.domain.facts import Requirement, SourceUser, UserFacts, normalise
from leadq_dagster.domain.queue_rule import CANCELLED
from leadq_dagster.replica.in_lists import chunks
from leadq_dagster.replica.session import Session
from leadq_dagster.replica.tables import claim_requirements, claims
from leadq_dagster.replica.times import to_utc

# What a requirement is made from, besides its claim's status.
REQUIREMENT_COLUMNS = (
    claim_requirements.c.type,
    claim_requirements.c.status,
    claim_requirements.c.claim_requirement_reason,
    claim_requirements.c.updated_at,
)

_OF_THESE_USERS = claims.c.user_id.in_(bindparam("user_ids", expanding=True))

# Row by row, not GROUP BY status: MariaDB's collations put `cancelled` and `cáncelled` into one group
# and name it after either.
_CLAIMS = select(claims.c.user_id, claims.c.status).where(_OF_THESE_USERS)

_REQUIREMENTS = (
    select(claims.c.user_id, claims.c.status, *REQUIREMENT_COLUMNS)
    .join_from(claims, claim_requirements, claim_requirements.c.claim_id == claims.c.id)
    .where(_OF_THESE_USERS)
)


def read_facts(
    session: Session, users: Sequence[SourceUser], batch_rows: int, zone: tzinfo
) -> list[UserFacts]:
    """The facts of these users, in their order.

    Claims and requirements of one chunk come from one snapshot. The users are taken as given: one who
    has changed since they were read has an `updated_at` of then, and is read again with that window.
    """
    return [facts for chunk in chunks(users, batch_rows) for facts in _facts_of(session, chunk, zone)]


def _facts_of(session: Session, users: Sequence[SourceUser], zone: tzinfo) -> list[UserFacts]:
    tables = session.read(lambda connection: _read(connection, users, zone))
    return [
        UserFacts(
            user,
            claims_total=tables.total[user.user_id],
            claims_cancelled=tables.cancelled[user.user_id],
            requirements=tuple(tables.requirements[user.user_id]),
        )
        for user in users
    ]


@dataclass(frozen=True)
class _Read:
    total: Counter[int]
    cancelled: Counter[int]
    requirements: defaultdict[int, list[Requirement]]


def _read(connection: Connection, users: Sequence[SourceUser], zone: tzinfo) -> _Read:
    read = _Read(Counter(), Counter(), defaultdict(list))
    for user_id, status in connection.execute(_CLAIMS, {"user_ids": [user.user_id for user in users]}):
        read.total[user_id] += 1
        read.cancelled[user_id] += is_cancelled(status)
    # The rule never looks at the requirements of a user without a signature, and most users have none.
    signed = [user.user_id for user in users if user.has_signature]
    if signed:
        for user_id, claim_status, *columns in connection.execute(_REQUIREMENTS, {"user_ids": signed}):
            read.requirements[user_id].append(source_requirement(columns, claim_status, zone))
    return read


def source_requirement(columns: Sequence[Any], claim_status: str | None, zone: tzinfo) -> Requirement:
    """The requirement of a row's REQUIREMENT_COLUMNS, in their order, on a claim of that status."""
    kind, status, reason, updated_at = columns
    return Requirement(
        type=normalise(kind),
        status=normalise(status),
        reason=normalise(reason),
        claim_is_cancelled=is_cancelled(claim_status),
        updated_at=to_utc(updated_at, zone),
    )


def is_cancelled(claim_status: str | None) -> bool:
    """Whether a claim of that status is cancelled, however it is spelled."""
    return normalise(claim_status) == CANCELLED
