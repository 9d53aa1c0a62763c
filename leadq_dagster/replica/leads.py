"""Leads as the desk validates them: a batch of users with their facts and contacts, by one statement."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from datetime import tzinfo

from sqlalchemy import and_, bindparam, select

from leadq_dagster.domain.facts import Requirement, SourceUser, UserFacts
from leadq_dagster.domain.lead import Contact, SourceLead
from leadq_dagster.replica.facts import REQUIREMENT_COLUMNS, is_cancelled, source_requirement
from leadq_dagster.replica.in_lists import chunks
from leadq_dagster.replica.pages import AnyRow
from leadq_dagster.replica.session import Session
from leadq_dagster.replica.tables import claim_requirements, claims, users, users_with_contact
from leadq_dagster.replica.users import source_user

_user = users_with_contact.c
_USER_COLUMNS = [_user[each.name] for each in users.c]
_CONTACT_COLUMNS = [_user[each.name] for each in fields(Contact)]
_CONTACT_AT = len(_USER_COLUMNS)
_CLAIM_AT = _CONTACT_AT + len(_CONTACT_COLUMNS)

# One row for each requirement, each claim without one and each user without a claim. The signature is asked
# about in the join because the requirements of users without one are never looked at; what is a signature
# beyond that is for Python to say, since databases compare blanks differently.
_LEADS = (
    select(
        *_USER_COLUMNS,
        *_CONTACT_COLUMNS,
        claims.c.id,
        claims.c.status,
        claim_requirements.c.claim_id,
        *REQUIREMENT_COLUMNS,
    )
    .select_from(users_with_contact)
    .outerjoin(claims, claims.c.user_id == _user.id)
    .outerjoin(
        claim_requirements,
        and_(claim_requirements.c.claim_id == claims.c.id, _user.current_signature_file_id.is_not(None)),
    )
    .where(_user.id.in_(bindparam("user_ids", expanding=True)))
)


def read_leads(session: Session, user_ids: Sequence[int], batch_rows: int, zone: tzinfo) -> list[SourceLead]:
    """The leads with these ids, each once, in the order asked for; who is not at the replica is absent.

    One statement for each chunk, so user, claims and requirements are of one moment. The facts are
    those of `read_facts`, the requirements in any order, as there.
    """
    asked = list(dict.fromkeys(user_ids))
    found: dict[int, SourceLead] = {}
    for chunk in chunks(asked, batch_rows):
        found |= _gather(_rows_of(session, chunk), zone)
    return [found[user_id] for user_id in asked if user_id in found]


def _rows_of(session: Session, user_ids: Sequence[int]) -> Sequence[AnyRow]:
    return session.read(lambda connection: connection.execute(_LEADS, {"user_ids": user_ids}).all())


@dataclass
class _Gathered:
    user: SourceUser
    contact: Contact
    claim_is_cancelled: dict[int, bool] = field(default_factory=dict)
    requirements: list[Requirement] = field(default_factory=list)

    def lead(self) -> SourceLead:
        claims_total, claims_cancelled = len(self.claim_is_cancelled), sum(self.claim_is_cancelled.values())
        facts = UserFacts(self.user, claims_total, claims_cancelled, tuple(self.requirements))
        return SourceLead(facts, self.contact)


def _gather(rows: Iterable[AnyRow], zone: tzinfo) -> dict[int, SourceLead]:
    # By position: with attributes of rows this takes half as long again, and the desk waits for it.
    leads: dict[int, _Gathered] = {}
    for row in rows:
        gathered = leads.get(row[0])
        if gathered is None:
            user, contact = source_user(row[:_CONTACT_AT], zone), Contact(*row[_CONTACT_AT:_CLAIM_AT])
            gathered = leads[row[0]] = _Gathered(user, contact)
        claim_id, claim_status, of_claim, *requirement = row[_CLAIM_AT:]
        if claim_id is None:
            continue
        gathered.claim_is_cancelled[claim_id] = is_cancelled(claim_status)
        if of_claim is not None and gathered.user.has_signature:
            gathered.requirements.append(source_requirement(requirement, claim_status, zone))
    return {user_id: gathered.lead() for user_id, gathered in leads.items()}
