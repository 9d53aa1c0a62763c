"""The queue rule: examples of each branch, and laws over all facts there can be."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadq_dagster.domain.facts import Requirement, SourceUser, UserFacts, normalise
from leadq_dagster.domain.queue_rule import (
    COUNTED_ID_DOCUMENT_REASON,
    NEVER_COUNTED_TYPES,
    QueueType,
    Reason,
    decide_queue,
    is_counted,
)

SIGNED = SourceUser(1, is_enabled=True, status="active", has_signature=True)
UNSIGNED = replace(SIGNED, has_signature=False)
PAPERS = Requirement("proof_of_address", "pending", "", claim_is_cancelled=False)
ID = replace(PAPERS, type="id_document")

words = st.sampled_from(["", "active", "cancelled", "pending", "approved", "rejected", "withdrawn", "odd"])
types = st.sampled_from([*sorted(NEVER_COUNTED_TYPES), "id_document", "proof_of_address", "odd", ""])
reasons = st.sampled_from(["", COUNTED_ID_DOCUMENT_REASON, "extra", "base requirement for claim"])
requirements = st.builds(Requirement, types, words, reasons, st.booleans())
users = st.builds(SourceUser, st.integers(1, 2**63 - 1), st.booleans(), words, st.booleans())
facts = st.builds(
    UserFacts, users, st.integers(0, 3), st.integers(0, 3), st.lists(requirements, max_size=5).map(tuple)
)
enabled_and_signed = facts.map(lambda fact: replace(fact, user=SIGNED))


@pytest.mark.parametrize(
    ("known", "queue", "reason"),
    [
        (UserFacts(UNSIGNED), QueueType.UNSIGNED_USERS, Reason.NO_SIGNATURE),
        (UserFacts(UNSIGNED, 2, 1), QueueType.UNSIGNED_USERS, Reason.NO_SIGNATURE),
        (UserFacts(UNSIGNED, 1, 0, (PAPERS,)), QueueType.UNSIGNED_USERS, Reason.NO_SIGNATURE),
        (UserFacts(UNSIGNED, 2, 2), None, Reason.ALL_CLAIMS_CANCELLED),
        (UserFacts(SIGNED, 2, 2, (PAPERS,)), None, Reason.ALL_CLAIMS_CANCELLED),
        (UserFacts(replace(UNSIGNED, is_enabled=False)), None, Reason.USER_DISABLED),
        (UserFacts(replace(UNSIGNED, status="cancelled")), None, Reason.USER_CANCELLED),
        (UserFacts(SIGNED), None, Reason.NOTHING_OUTSTANDING),
        (UserFacts(SIGNED, 1, 0, (PAPERS,)), QueueType.OUTSTANDING_REQUESTS, Reason.PENDING_REQUIREMENTS),
        (UserFacts(SIGNED, 1, 0, (replace(PAPERS, status="approved"),)), None, Reason.NOTHING_OUTSTANDING),
        (UserFacts(SIGNED, 2, 1, (replace(PAPERS, claim_is_cancelled=True),)),
         None, Reason.NOTHING_OUTSTANDING),
        (UserFacts(SIGNED, 1, 0, (ID,)), None, Reason.NOTHING_OUTSTANDING),
        (UserFacts(SIGNED, 1, 0, (replace(ID, reason=COUNTED_ID_DOCUMENT_REASON),)),
         QueueType.OUTSTANDING_REQUESTS, Reason.PENDING_REQUIREMENTS),
    ],
)  # fmt: skip
def test_each_kind_of_user_belongs_where_the_firm_says(
    known: UserFacts, queue: QueueType | None, reason: Reason
) -> None:
    """P5, P9, P10: the documented rule, line by line."""
    decision = decide_queue(known)
    assert (decision.queue, decision.reason) == (queue, reason)


@pytest.mark.parametrize("kind", sorted(NEVER_COUNTED_TYPES))
def test_paperwork_of_the_firms_own_is_never_counted(kind: str) -> None:
    """P5: whatever reason it carries."""
    for reason in ("", COUNTED_ID_DOCUMENT_REASON):
        assert not is_counted(replace(PAPERS, type=kind, reason=reason))


@given(facts)
def test_every_user_belongs_somewhere_for_a_reason(known: UserFacts) -> None:
    """P5: the rule is total, and a reason belongs to one answer."""
    decision = decide_queue(known)
    expected = {
        Reason.NO_SIGNATURE: QueueType.UNSIGNED_USERS,
        Reason.PENDING_REQUIREMENTS: QueueType.OUTSTANDING_REQUESTS,
    }
    assert decision.queue == expected.get(decision.reason)
    assert decide_queue(known) == decision


@given(facts)
def test_a_disabled_or_cancelled_user_is_never_called(known: UserFacts) -> None:
    """P10: nothing else about them matters."""
    for user in (replace(known.user, is_enabled=False), replace(known.user, status="cancelled")):
        assert decide_queue(replace(known, user=user)).queue is None


@given(facts)
def test_only_a_missing_signature_makes_an_unsigned_user(known: UserFacts) -> None:
    """P5: the two queues exclude each other by the signature alone."""
    queue = decide_queue(known).queue
    assert queue != (QueueType.UNSIGNED_USERS if known.user.has_signature else QueueType.OUTSTANDING_REQUESTS)


@given(facts, requirements)
def test_what_is_not_counted_changes_nothing(known: UserFacts, extra: Requirement) -> None:
    """P5: nor does what is not pending."""
    more = decide_queue(replace(known, requirements=(*known.requirements, extra)))
    if not is_counted(extra) or extra.status != "pending":
        assert more == decide_queue(known)


@given(facts, st.lists(requirements, max_size=3))
def test_one_more_requirement_never_takes_a_user_out_of_a_queue(
    known: UserFacts, extra: list[Requirement]
) -> None:
    """P5: monotone, so that a page read in parts cannot lose anybody."""
    before = decide_queue(known).queue
    after = decide_queue(replace(known, requirements=(*known.requirements, *extra))).queue
    assert after == before or before is None


@given(enabled_and_signed)
def test_a_signed_user_is_called_exactly_for_a_counted_pending_requirement(known: UserFacts) -> None:
    """P5, P9: unless every claim is cancelled."""
    has_one = any(is_counted(item) and item.status == "pending" for item in known.requirements)
    over = 0 < known.claims_total == known.claims_cancelled
    expected = QueueType.OUTSTANDING_REQUESTS if has_one and not over else None
    assert decide_queue(known).queue == expected


@given(facts, st.randoms())
def test_the_order_of_requirements_does_not_matter(known: UserFacts, random: Random) -> None:
    """P6: servers return them in any order."""
    shuffled = list(known.requirements)
    random.shuffle(shuffled)
    assert decide_queue(replace(known, requirements=tuple(shuffled))) == decide_queue(known)


@given(st.none() | st.text())
def test_a_normalised_status_is_normal_already(status: str | None) -> None:
    """P12: statuses come in any case, with blanks, or not at all."""
    once = normalise(status)
    assert once == once.strip() == normalise(once)
    assert once == normalise(f"  {status or ''}\n")


def test_statuses_are_compared_without_case_and_blanks() -> None:
    """P12: as MariaDB does, and PostgreSQL does not."""
    assert normalise(" Cancelled ") == normalise("CANCELLED") == "cancelled"
    assert normalise(None) == normalise("  ") == ""
