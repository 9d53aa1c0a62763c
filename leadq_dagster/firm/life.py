"""What happens to a person at the firm, one step at a time, and how often.

A step writes what it changes into its transaction and names what follows from it. Shares are parts
of one. Signing, deciding and the like go on for people who are disabled or cancelled, too: the
post does not look at a flag.
"""

from dataclasses import replace
from datetime import timedelta
from functools import partial

from leadq_dagster.firm.catalogue import (
    CLAIM_TYPES,
    LENDERS,
    PAPERWORK,
    REQUESTS,
    SIGNATURE,
    Kind,
    invent_identity,
)
from leadq_dagster.firm.rows import (
    claim_status,
    first_dates,
    no_dates,
    requirement_columns,
    user_columns,
)
from leadq_dagster.firm.transaction import (
    ClaimState,
    RequirementState,
    RequirementStatus,
    Row,
    Transaction,
    UserState,
)

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)

CREATED_DISABLED = 0.05
SIGNED_AT_SIGN_UP = 0.12
SIGNS_LATER = 0.55
CLAIMS_AT_SIGN_UP = (0.08, 0.50, 0.26, 0.11, 0.05)
CLAIM_LATER = 0.10
CLAIMS_MAX = 4
REQUESTS_PER_CLAIM = (0.25, 0.40, 0.25, 0.10)
ASKED_WITH_THE_CLAIM = 0.30
PAPERWORK_PER_CLAIM = 0.25
DECISIONS: tuple[tuple[RequirementStatus, float], ...] = (
    ("pending", 0.15),
    ("approved", 0.62),
    ("rejected", 0.15),
    ("withdrawn", 0.08),
)
APPROVED_WITH_ALL_OTHERS = 0.30
REOPENED = {"approved": 0.06, "rejected": 0.35, "withdrawn": 0.03}
DISABLED_LATER = 0.04
ENABLED_AGAIN = 0.60
USER_CANCELLED = 0.03
USER_REINSTATED = 0.15
CLAIM_CANCELLED = 0.08
ALL_CLAIMS_CANCELLED = 0.03


def sign_up(tx: Transaction) -> None:
    """A person appears, with their claims, and with most of what may become of them later."""
    person = tx.person
    enabled, signed = not tx.chance(CREATED_DISABLED), tx.chance(SIGNED_AT_SIGN_UP)
    user = UserState(person.user_id, is_enabled=enabled, is_cancelled=False, is_signed=signed)
    identity = invent_identity(tx.rng, person.user_id, tx.odd_share)
    row: Row = {
        "id": person.user_id,
        "email_address": identity.email_address,
        "first_name": identity.first_name,
        "last_name": identity.last_name,
        "phone_number": identity.phone_number,
        "introducer": identity.introducer,
        **user_columns(tx, user),
        **(no_dates() if person.is_undated else first_dates(tx)),
    }
    tx.write("users", person.user_id, user, row, is_insert=True)
    claims_count = tx.rng.choices(range(len(CLAIMS_AT_SIGN_UP)), CLAIMS_AT_SIGN_UP)[0]
    for _ in range(claims_count):
        open_claim(tx)
    _let_things_happen(tx)


def _let_things_happen(tx: Transaction) -> None:
    user = tx.person.user
    if not user.is_signed and tx.chance(SIGNS_LATER):
        tx.later(tx.between(3 * MINUTE, 28 * DAY), sign)
    if not user.is_enabled and tx.chance(ENABLED_AGAIN):
        tx.later(tx.between(HOUR, 20 * DAY), enable)
    if user.is_enabled and tx.chance(DISABLED_LATER):
        tx.later(tx.between(HOUR, 25 * DAY), disable)
    if tx.chance(USER_CANCELLED):
        tx.later(tx.between(HOUR, 25 * DAY), cancel_user)
    if tx.chance(ALL_CLAIMS_CANCELLED):
        tx.later(tx.between(HOUR, 25 * DAY), cancel_all_claims)
    if tx.chance(CLAIM_LATER):
        tx.later(tx.between(HOUR, 20 * DAY), open_claim)


def sign(tx: Transaction) -> None:
    """The signature arrives; a request for it is thereby met."""
    _change_user(tx, replace(tx.person.user, is_signed=True))
    for item in list(tx.person.requirements.values()):
        if item.kind is SIGNATURE and item.status == "pending":
            _change_requirement(tx, item, "approved")


def disable(tx: Transaction) -> None:
    """Somebody switches the person off, often for a while only."""
    _change_user(tx, replace(tx.person.user, is_enabled=False))
    if tx.chance(ENABLED_AGAIN):
        tx.later(tx.between(HOUR, 10 * DAY), enable)


def enable(tx: Transaction) -> None:
    """The person is switched on, at last or again."""
    _change_user(tx, replace(tx.person.user, is_enabled=True))


def cancel_user(tx: Transaction) -> None:
    """The person withdraws from everything; some are won back."""
    _change_user(tx, replace(tx.person.user, is_cancelled=True))
    if tx.chance(USER_REINSTATED):
        tx.later(tx.between(HOUR, 10 * DAY), reinstate_user)


def reinstate_user(tx: Transaction) -> None:
    """The person has changed their mind."""
    _change_user(tx, replace(tx.person.user, is_cancelled=False))


def open_claim(tx: Transaction) -> None:
    """A claim begins, with what the firm will ask for on its behalf."""
    if len(tx.person.claims) >= CLAIMS_MAX:
        return
    claim = ClaimState(next(tx.person.claim_ids), tx.person.user_id, is_cancelled=False)
    row: Row = {
        "id": claim.claim_id,
        "user_id": claim.user_id,
        "type": tx.rng.choice(CLAIM_TYPES),
        "lender": tx.rng.choice(LENDERS),
        "status": claim_status(tx, claim),
        **first_dates(tx),
    }
    tx.write("claims", claim.claim_id, claim, row, is_insert=True)
    if tx.chance(CLAIM_CANCELLED):
        tx.later(tx.between(HOUR, 25 * DAY), partial(cancel_claim, claim_id=claim.claim_id))
    _plan_requests(tx, claim)


def _plan_requests(tx: Transaction, claim: ClaimState) -> None:
    if not tx.person.user.is_signed and len(tx.person.claims) == 1:
        ask(tx, claim.claim_id, SIGNATURE)
    if tx.chance(PAPERWORK_PER_CLAIM):
        ask(tx, claim.claim_id, tx.rng.choice(PAPERWORK))
    requests_count = tx.rng.choices(range(len(REQUESTS_PER_CLAIM)), REQUESTS_PER_CLAIM)[0]
    for kind in tx.rng.sample(REQUESTS, requests_count):
        if tx.chance(ASKED_WITH_THE_CLAIM):
            ask(tx, claim.claim_id, kind)
        else:
            step = partial(ask, claim_id=claim.claim_id, kind=kind)
            tx.later(tx.between(10 * MINUTE, 14 * DAY), step)


def cancel_claim(tx: Transaction, claim_id: int) -> None:
    """One claim is given up."""
    claim = tx.person.claims[claim_id]
    if not claim.is_cancelled:
        cancelled = replace(claim, is_cancelled=True)
        row: Row = {"status": claim_status(tx, cancelled), "updated_at": tx.written_at}
        tx.write("claims", claim_id, cancelled, row, is_insert=False)


def cancel_all_claims(tx: Transaction) -> None:
    """Every claim of the person is given up at once."""
    for claim_id in list(tx.person.claims):
        cancel_claim(tx, claim_id)


def ask(tx: Transaction, claim_id: int, kind: Kind) -> None:
    """The firm asks for something; sooner or later somebody decides about what came."""
    item = RequirementState(tx.make_uuid(), claim_id, kind, "pending")
    row: Row = {
        "id": item.requirement_id,
        "claim_id": claim_id,
        "type": tx.spell(kind.type),
        "claim_requirement_reason": None if kind.reason is None else tx.spell(kind.reason),
        **requirement_columns(tx, item),
        **first_dates(tx),
    }
    tx.write("claim_requirements", item.requirement_id, item, row, is_insert=True)
    if kind is not SIGNATURE:
        _expect_decision(tx, item)


def _expect_decision(tx: Transaction, item: RequirementState) -> None:
    step = partial(decide, requirement_id=item.requirement_id)
    tx.later(tx.between(10 * MINUTE, 14 * DAY), step)


def decide(tx: Transaction, requirement_id: str) -> None:
    """Somebody looks at what came in, and sometimes settles everything that is open in the same sitting."""
    item = tx.person.requirements[requirement_id]
    verdict = tx.rng.choices([name for name, _ in DECISIONS], [share for _, share in DECISIONS])[0]
    if item.status != "pending" or verdict == "pending":
        return
    _change_requirement(tx, item, verdict)
    if verdict == "approved" and tx.chance(APPROVED_WITH_ALL_OTHERS):
        for other in list(tx.person.requirements.values()):
            if other.status == "pending" and other.kind is not SIGNATURE:
                _change_requirement(tx, other, "approved")
    if tx.chance(REOPENED[verdict]):
        tx.later(
            tx.between(30 * MINUTE, 7 * DAY),
            partial(reopen, requirement_id=requirement_id),
        )


def reopen(tx: Transaction, requirement_id: str) -> None:
    """What was settled is asked for once more."""
    item = tx.person.requirements[requirement_id]
    _change_requirement(tx, item, "pending")
    _expect_decision(tx, item)


def _change_user(tx: Transaction, user: UserState) -> None:
    row = user_columns(tx, user)
    row["updated_at"] = None if tx.person.is_undated else tx.written_at
    tx.write("users", user.user_id, user, row, is_insert=False)


def _change_requirement(tx: Transaction, item: RequirementState, status: RequirementStatus) -> None:
    changed = replace(item, status=status)
    row = requirement_columns(tx, changed) | {"updated_at": tx.written_at}
    tx.write("claim_requirements", item.requirement_id, changed, row, is_insert=False)
