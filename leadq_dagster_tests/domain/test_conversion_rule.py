"""The conversion rule: examples of each line of it, and laws over all facts there can be."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadq_dagster.domain.conversion_rule import Conversion, ConversionType, decide_conversion
from leadq_dagster.domain.facts import Requirement, SourceUser, UserFacts
from leadq_dagster.domain.queue_rule import (
    COUNTED_ID_DOCUMENT_REASON,
    NEVER_COUNTED_TYPES,
    QueueType,
    decide_queue,
    is_counted,
)

TEN = datetime(2026, 3, 4, 10, tzinfo=UTC)
ELEVEN = TEN + timedelta(hours=1)
SIGNED = SourceUser(1, is_enabled=True, status="active", has_signature=True, updated_at=TEN)
UNSIGNED = replace(SIGNED, has_signature=False)
APPROVED = Requirement("proof_of_address", "approved", "", claim_is_cancelled=False, updated_at=TEN)
PENDING = replace(APPROVED, status="pending")
REJECTED = replace(APPROVED, status="rejected")
WITHDRAWN = replace(APPROVED, status="withdrawn")
SIGNATURE, REQUIREMENTS = QueueType.UNSIGNED_USERS, QueueType.OUTSTANDING_REQUESTS
COMPLETED = Conversion(ConversionType.REQUIREMENTS_COMPLETED, TEN)

words = st.sampled_from(["", "active", "cancelled", "pending", "approved", "rejected", "withdrawn", "odd"])
types = st.sampled_from([*sorted(NEVER_COUNTED_TYPES), "id_document", "proof_of_address", "odd", ""])
reasons = st.sampled_from(["", COUNTED_ID_DOCUMENT_REASON, "extra"])
times = st.none() | st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))
requirements = st.builds(Requirement, types, words, reasons, st.booleans(), times)
users = st.builds(SourceUser, st.integers(1, 2**63 - 1), st.booleans(), words, st.booleans(), times, times)
facts = st.builds(
    UserFacts, users, st.integers(0, 3), st.integers(0, 3), st.lists(requirements, max_size=5).map(tuple)
)
queues = st.sampled_from(QueueType)


@pytest.mark.parametrize(
    ("queue", "known", "conversion"),
    [
        (SIGNATURE, UserFacts(UNSIGNED), None),
        (SIGNATURE, UserFacts(SIGNED), Conversion(ConversionType.SIGNATURE_OBTAINED, TEN)),
        (SIGNATURE, UserFacts(SIGNED, 1, 0, (PENDING,)), Conversion(ConversionType.SIGNATURE_OBTAINED, TEN)),
        (SIGNATURE, UserFacts(replace(SIGNED, updated_at=None)),
         Conversion(ConversionType.SIGNATURE_OBTAINED, None)),
        (SIGNATURE, UserFacts(UNSIGNED, 1, 0, (APPROVED,)), None),
        (REQUIREMENTS, UserFacts(SIGNED), None),
        (REQUIREMENTS, UserFacts(SIGNED, 1, 0, (APPROVED,)), COMPLETED),
        (REQUIREMENTS, UserFacts(SIGNED, 1, 0, (APPROVED, PENDING)), None),
        (REQUIREMENTS, UserFacts(SIGNED, 1, 0, (APPROVED, REJECTED, WITHDRAWN)), COMPLETED),
        (REQUIREMENTS, UserFacts(SIGNED, 1, 0, (REJECTED,)), None),
        (REQUIREMENTS, UserFacts(SIGNED, 1, 0, (WITHDRAWN, REJECTED)), None),
        (REQUIREMENTS, UserFacts(SIGNED, 1, 0, (APPROVED, replace(PENDING, type="cfa"))), COMPLETED),
        (REQUIREMENTS, UserFacts(SIGNED, 1, 0, (replace(APPROVED, type="cfa"),)), None),
        (REQUIREMENTS, UserFacts(SIGNED, 1, 0, (replace(APPROVED, type="id_document"),)), None),
        (REQUIREMENTS, UserFacts(SIGNED, 2, 1, (replace(APPROVED, claim_is_cancelled=True),)), None),
        (REQUIREMENTS, UserFacts(SIGNED, 2, 1, (APPROVED, replace(PENDING, claim_is_cancelled=True))),
         COMPLETED),
    ],
)  # fmt: skip
def test_each_line_of_the_rule(queue: QueueType, known: UserFacts, conversion: Conversion | None) -> None:
    """P2, P3: the documented rule; a signature is one of its own, whatever else the user still owes."""
    assert decide_conversion(queue, known) == conversion


def test_requirements_were_completed_when_the_last_of_them_was_approved() -> None:
    """P13: credit goes by that time; what was rejected later, or never dated, is not it."""
    undated, last = replace(APPROVED, updated_at=None), replace(APPROVED, updated_at=ELEVEN)
    rejected = replace(REJECTED, updated_at=ELEVEN + timedelta(hours=1))
    decided = decide_conversion(REQUIREMENTS, UserFacts(SIGNED, 1, 0, (last, undated, APPROVED, rejected)))
    assert decided == Conversion(ConversionType.REQUIREMENTS_COMPLETED, ELEVEN)
    decided = decide_conversion(REQUIREMENTS, UserFacts(SIGNED, 1, 0, (undated,)))
    assert decided == Conversion(ConversionType.REQUIREMENTS_COMPLETED, None)


@given(queues, facts, st.booleans(), words, st.integers(0, 3))
def test_disabling_and_cancelling_make_no_conversion_and_take_none_away(
    queue: QueueType, known: UserFacts, is_enabled: bool, status: str, cancelled: int
) -> None:
    """P2: a user's flag, status and count of cancelled claims are no fact of success."""
    user = replace(known.user, is_enabled=is_enabled, status=status)
    other = replace(known, user=user, claims_total=3, claims_cancelled=cancelled)
    assert decide_conversion(queue, other) == decide_conversion(queue, known)


@given(queues, facts)
def test_cancelling_every_claim_makes_no_conversion(queue: QueueType, known: UserFacts) -> None:
    """P2: requirements end with their claims, and nobody has completed anything by it."""
    ended = tuple(replace(item, claim_is_cancelled=True) for item in known.requirements)
    if decide_conversion(queue, known) is None:
        assert decide_conversion(queue, replace(known, requirements=ended)) is None


@given(facts, st.sampled_from(["rejected", "withdrawn", "cancelled", ""]))
def test_without_an_approval_nothing_was_completed(known: UserFacts, status: str) -> None:
    """P2: all rejected or withdrawn is a departure."""
    ended = tuple(replace(item, status=status) for item in known.requirements)
    assert decide_conversion(REQUIREMENTS, replace(known, requirements=ended)) is None


@given(queues, facts, requirements)
def test_a_requirement_of_an_uncounted_kind_says_nothing(
    queue: QueueType, known: UserFacts, extra: Requirement
) -> None:
    """P2, P5: neither its approval nor its being pending."""
    more = replace(known, requirements=(*known.requirements, extra))
    if not is_counted(extra):
        assert decide_conversion(queue, more) == decide_conversion(queue, known)


@given(facts)
def test_only_the_signature_makes_a_signature_conversion(known: UserFacts) -> None:
    """P2: nothing that became of requirements does."""
    converted = decide_conversion(SIGNATURE, known)
    assert (converted is not None) == known.user.has_signature
    assert converted == decide_conversion(SIGNATURE, replace(known, requirements=()))


@given(queues, facts)
def test_who_belongs_in_the_queue_has_not_converted_out_of_it(queue: QueueType, known: UserFacts) -> None:
    """P5: the two rules never contradict each other, so nobody converts and stays."""
    if decide_queue(known).queue is queue:
        assert decide_conversion(queue, known) is None


@given(queues, facts)
def test_the_order_of_requirements_does_not_matter(queue: QueueType, known: UserFacts) -> None:
    """P6: servers return them in any order."""
    turned = replace(known, requirements=known.requirements[::-1])
    assert decide_conversion(queue, turned) == decide_conversion(queue, known)
