"""What the queue rule is told of a user."""

from collections.abc import Sequence

import pytest
import sqlalchemy as sa

from leadq_dagster.domain.facts import Requirement, UserFacts
from leadq_dagster.domain.queue_rule import Reason, decide_queue
from leadq_dagster.firm import schema
from leadq_dagster.replica import in_lists
from leadq_dagster.replica.engine import Replica, open_replica
from leadq_dagster_tests.replica.rows import add, add_users, claim, requirement, user
from leadq_dagster_tests.servers.databases import ReplicaDatabase

BIG = 2**53 + 1


def facts_of(replica: Replica, user_ids: Sequence[int]) -> list[UserFacts]:
    return replica.read_facts(replica.read_users(user_ids))


def test_claims_are_counted_and_spellings_of_cancelled_are_one(
    replica_db: ReplicaDatabase, replica: Replica
) -> None:
    """P12: MariaDB compares cáncelled as equal to cancelled; leadq and PostgreSQL do not."""
    add_users(replica_db.engine, *(user(n) for n in range(1, 6)))
    statuses = ["cancelled", "CANCELLED", " Cancelled ", "cáncelled", "open", None, ""]
    add(replica_db.engine, schema.claims, *(claim(n, 2, status) for n, status in enumerate(statuses)))
    add(replica_db.engine, schema.claims, claim(100, 3, "Cancelled"), claim(101, 99, "cancelled"))
    counted = [
        (each.user.user_id, each.claims_total, each.claims_cancelled)
        for each in facts_of(replica, range(1, 6))
    ]
    assert counted == [(1, 0, 0), (2, 7, 3), (3, 1, 1), (4, 0, 0), (5, 0, 0)]


def test_requirements_come_with_what_matters_of_their_claim(
    replica_db: ReplicaDatabase, replica: Replica
) -> None:
    """P12: texts normalised; those of other users' claims and of no claim are not mixed in."""
    add_users(replica_db.engine, *(user(BIG + n, current_signature_file_id="f") for n in range(2)))
    add(
        replica_db.engine,
        schema.claims,
        claim(2**60, BIG),
        claim(2**60 + 1, BIG, "cancelled "),
        claim(2**60 + 2, BIG + 1, None),
    )
    reason = "Base Requirement for claim. "
    add(
        replica_db.engine,
        schema.claim_requirements,
        requirement("a", 2**60, type="ID_Document", status=" Pending", claim_requirement_reason=reason),
        requirement("b", 2**60 + 1, status="APPROVED"),
        requirement("c", 2**60 + 2, type=None, status=None),
        requirement("d", 2**60 + 3),
    )
    first, second = facts_of(replica, [BIG, BIG + 1])
    assert set(first.requirements) == {
        Requirement("id_document", "pending", "base requirement for claim.", claim_is_cancelled=False),
        Requirement("proof_of_address", "approved", "", claim_is_cancelled=True),
    }
    assert second.requirements == (Requirement("", "", "", claim_is_cancelled=False),)


def test_the_rule_decides_alike_from_what_either_database_tells(
    replica_db: ReplicaDatabase, replica: Replica
) -> None:
    """P5, P9."""
    add_users(
        replica_db.engine,
        user(1),
        user(2, current_signature_file_id="f"),
        user(3, current_signature_file_id="f"),
        user(4),
        user(5, current_signature_file_id=" ", status="Cancelled"),
        user(6, is_enabled=0),
    )
    add(replica_db.engine, schema.claims, claim(2, 2), claim(3, 3), claim(4, 4, "Cancelled"))
    add(
        replica_db.engine,
        schema.claim_requirements,
        requirement("2", 2, status="PENDING"),
        requirement("3", 3, type="CFA"),
    )
    assert [decide_queue(each).reason for each in facts_of(replica, range(1, 7))] == [
        Reason.NO_SIGNATURE,
        Reason.PENDING_REQUIREMENTS,
        Reason.NOTHING_OUTSTANDING,
        Reason.ALL_CLAIMS_CANCELLED,
        Reason.USER_CANCELLED,
        Reason.USER_DISABLED,
    ]


def test_requirements_of_unsigned_users_are_not_asked_for(
    replica_db: ReplicaDatabase, replica: Replica
) -> None:
    add_users(replica_db.engine, user(1), user(2), user(3, current_signature_file_id="f"))
    users = replica.read_users([1, 2, 3])
    before = replica.queries
    replica.read_facts(users[:2])
    assert replica.queries - before == 1
    replica.read_facts(users)
    assert replica.queries - before == 3


@pytest.mark.parametrize(("list_max", "statements"), [(2, 8), (3, 6), (100, 2)])
def test_long_lists_are_asked_for_in_bounded_pieces(
    replica_db: ReplicaDatabase, monkeypatch: pytest.MonkeyPatch, list_max: int, statements: int
) -> None:
    """The answers are the same for every bound: two statements a piece, in the users' order."""
    monkeypatch.setattr(in_lists, "IN_LIST_MAX", list_max)
    order = [5, 1, 7, 2, 6, 3, 4]
    add_users(replica_db.engine, *(user(n, current_signature_file_id="f") for n in order))
    add(replica_db.engine, schema.claims, *(claim(10 * n + k, n) for n in order for k in range(n)))
    add(replica_db.engine, schema.claim_requirements, *(requirement(str(n), 10 * n) for n in order))
    with open_replica(replica_db.url) as replica:
        users = replica.read_users(order)
        before = replica.queries
        facts = replica.read_facts(users)
        assert replica.queries - before == statements
    assert [(each.user.user_id, each.claims_total, len(each.requirements)) for each in facts] == [
        (n, n, 1) for n in order
    ]


def test_claims_and_requirements_are_of_one_moment(replica_db: ReplicaDatabase) -> None:
    """P4: a claim cancelled between the two statements is seen as before that in both."""
    add_users(replica_db.engine, user(1, current_signature_file_id="f"))
    add(replica_db.engine, schema.claims, claim(1, 1))
    add(replica_db.engine, schema.claim_requirements, requirement("a", 1))
    with open_replica(replica_db.url) as replica:
        users = replica.read_users([1])
        after_the_claims = interrupt_before(replica, "claim_requirements", replica_db)
        facts = replica.read_facts(users)[0]
        assert after_the_claims == ["cancelled"]
        assert (facts.claims_cancelled, facts.requirements[0].claim_is_cancelled) == (0, False)
        facts = replica.read_facts(users)[0]
        assert (facts.claims_cancelled, facts.requirements[0].claim_is_cancelled) == (1, True)


def interrupt_before(replica: Replica, table: str, database: ReplicaDatabase) -> list[str]:
    """Have the firm cancel all claims just before the replica is asked about `table` for the first time."""
    happened: list[str] = []

    def cancel(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if table in statement and not happened:
            happened.append("cancelled")
            with database.engine.begin() as firm:
                firm.execute(schema.claims.update().values(status="cancelled"))

    sa.event.listen(replica._session._engine, "before_cursor_execute", cancel)
    return happened
