"""A lead as the desk validates it: the facts of the hourly readers and a contact, by one statement."""

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leadq_dagster.domain.errors import PermanentError
from leadq_dagster.domain.facts import Requirement, SourceUser, UserFacts
from leadq_dagster.domain.lead import Contact, SourceLead
from leadq_dagster.firm import schema
from leadq_dagster.replica import in_lists, tables
from leadq_dagster.replica.engine import Replica, open_replica
from leadq_dagster_tests.replica.rows import LONG_AGO, TEN, add, add_users, claim, requirement, user
from leadq_dagster_tests.servers.databases import ReplicaDatabase

BIG = 2**53 + 1
IDS = [0, 1, 2, BIG, BIG + 1, 2**63 - 1]
UNKNOWN = [99, BIG + 2]
CLAIM_IDS = [1, 2, 3, 4, BIG, BIG + 1, 2**60, 2**63 - 1]
# Sent as text, so that it can be one that only this kind of server holds.
DATES = {
    "mysql": ["0000-00-00 00:00:00", "2026-03-00 10:00:00", "2026-03-04 10:00:00.000001"],
    "postgresql": ["infinity", "-infinity", "0044-03-15 12:00:00 BC", "2026-03-04 10:00:00.000001"],
}
WRITE = {"mysql": "SET SESSION sql_mode = 'ALLOW_INVALID_DATES'", "postgresql": "SELECT 1"}

statuses = st.sampled_from(
    [None, "", "open", "cancelled", " CANCELLED", "Cancelled ", "cáncelled", "Active 🦊"]
)
requirement_statuses = st.sampled_from([None, "", "pending", "PENDING ", "Approved", "rejected", "withdrawn"])
kinds = st.sampled_from([None, "", "CFA", "id_document", " ID_Document", "proof_of_address"])
reasons = st.sampled_from([None, "", "Base requirement for claim. ", "other 🦊"])
signatures = st.sampled_from([None, "", "   ", "0", "f-1"])
names = st.sampled_from([None, "", "Ana", "Zoë 🦊", "O'Neill \\ %s :x", "王"])


def dates(dialect: str) -> st.SearchStrategy[str | None]:
    return st.sampled_from([None, str(LONG_AGO), str(TEN), *DATES[dialect]])


@st.composite
def firms(draw: st.DrawFn, dialect: str) -> dict[str, list[dict[str, Any]]]:
    """Rows of all three tables; some of claims whose user, or requirements whose claim, is not there."""
    when = dates(dialect)
    user_ids = draw(st.lists(st.sampled_from(IDS), unique=True))
    claim_ids = draw(st.lists(st.sampled_from(CLAIM_IDS), unique=True))
    claims_and_none = st.sampled_from([*CLAIM_IDS, 77])
    users = [
        {
            "id": each,
            "is_enabled": draw(st.sampled_from([0, 1, 2])),
            "status": draw(statuses),
            "current_signature_file_id": draw(signatures),
            "created_at": draw(when),
            "updated_at": draw(when),
            "first_name": draw(names),
            "last_name": draw(names),
            "phone_number": draw(st.sampled_from([None, "", "+447700900123"])),
            "email_address": draw(st.sampled_from([None, "ana@example.org"])),
        }
        for each in user_ids
    ]
    claims = [
        {"id": each, "user_id": draw(st.sampled_from([*IDS, *UNKNOWN])), "status": draw(statuses)}
        for each in claim_ids
    ]
    requirements = [
        {
            "id": f"r{n}",
            "claim_id": draw(claims_and_none),
            "type": draw(kinds),
            "status": draw(requirement_statuses),
            "claim_requirement_reason": draw(reasons),
            "updated_at": draw(when),
        }
        for n in range(draw(st.integers(0, 8)))
    ]
    return {"users": users, "claims": claims, "claim_requirements": requirements}


def fill_anew(database: ReplicaDatabase, rows_of: dict[str, list[dict[str, Any]]]) -> None:
    with database.engine.begin() as connection:
        connection.execute(sa.text(WRITE[database.engine.dialect.name]))
        for table, rows in rows_of.items():
            connection.execute(sa.text(f"DELETE FROM {table}"))
            if rows:
                columns = {name: as_text(database, name) for name in rows[0]}
                values = f"({', '.join(columns)}) VALUES ({', '.join(columns.values())})"
                connection.execute(sa.text(f"INSERT INTO {table} {values}"), rows)


def as_text(database: ReplicaDatabase, column: str) -> str:
    is_date = column.endswith("_at") and database.engine.dialect.name == "postgresql"
    return f"CAST(:{column} AS TIMESTAMP)" if is_date else f":{column}"


def comparable(facts: UserFacts) -> tuple[Any, int, int, Counter[Requirement]]:
    """Neither reader promises an order of requirements."""
    return facts.user, facts.claims_total, facts.claims_cancelled, Counter(facts.requirements)


def contacts(leads: Sequence[SourceLead]) -> list[tuple[str | None, ...]]:
    return [
        (
            each.contact.first_name,
            each.contact.last_name,
            each.contact.phone_number,
            each.contact.email_address,
        )
        for each in leads
    ]


def test_the_facts_are_those_of_the_hourly_readers_whatever_the_rows(replica_db: ReplicaDatabase) -> None:
    """P12: NULLs, dates that are none, blank signatures, any spelling, ids no double can hold, orphans."""
    asked = st.lists(st.sampled_from([*IDS, *UNKNOWN]), max_size=12)
    with open_replica(replica_db.url, batch_rows=4, pool_size=1) as replica:

        @settings(
            max_examples=60,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
            database=None,
        )
        @given(rows_of=firms(replica_db.engine.dialect.name), user_ids=asked)
        def check(rows_of: dict[str, list[dict[str, Any]]], user_ids: list[int]) -> None:
            fill_anew(replica_db, rows_of)
            leads = replica.read_leads(user_ids)
            expected = replica.read_facts(replica.read_users(user_ids))
            assert [comparable(each.facts) for each in leads] == [comparable(each) for each in expected]
            row_of = {row["id"]: row for row in rows_of["users"]}
            columns = ("first_name", "last_name", "phone_number", "email_address")
            assert contacts(leads) == [
                tuple(row_of[each.facts.user.user_id][column] for column in columns) for each in leads
            ]

        check()


def test_claims_are_counted_once_however_many_requirements_they_have(
    replica_db: ReplicaDatabase, replica: Replica
) -> None:
    add_users(replica_db.engine, user(BIG, current_signature_file_id="f"), user(BIG + 1), user(3))
    add(
        replica_db.engine,
        schema.claims,
        *(claim(n, BIG) for n in (1, 2)),
        claim(3, BIG, "Cancelled"),
        claim(4, BIG + 1, "cancelled"),
    )
    of_claims = [1, 1, 1, 3, 3, 4, 4]
    add(
        replica_db.engine,
        schema.claim_requirements,
        *(requirement(f"r{n}", each) for n, each in enumerate(of_claims)),
    )
    told = [
        (each.facts.claims_total, each.facts.claims_cancelled, len(each.facts.requirements))
        for each in replica.read_leads([BIG, BIG + 1, 3])
    ]
    assert told == [(3, 1, 5), (1, 1, 0), (0, 0, 0)]


def test_leads_come_once_in_the_order_asked_for(replica_db: ReplicaDatabase, replica: Replica) -> None:
    """P4: one whom the replica does not show is absent, not invented."""
    add_users(replica_db.engine, *(user(n, first_name=f"{n}") for n in range(1, 9)))
    leads = replica.read_leads([8, 3, 99, 1, 3, 5, 8])
    assert [(each.facts.user.user_id, each.contact.first_name) for each in leads] == [
        (8, "8"),
        (3, "3"),
        (1, "1"),
        (5, "5"),
    ]


@pytest.mark.parametrize(("count", "statements"), [(0, 0), (1, 1), (64, 1), (900, 1), (901, 2)])
def test_a_batch_costs_one_statement(replica_db: ReplicaDatabase, count: int, statements: int) -> None:
    """Also of the largest batch that the desk validates; beyond an IN list's bound, one a piece."""
    add_users(replica_db.engine, *(user(n, current_signature_file_id="f") for n in range(901)))
    add(replica_db.engine, schema.claims, *(claim(n, n) for n in range(901)))
    add(replica_db.engine, schema.claim_requirements, *(requirement(str(n), n) for n in range(901)))
    with open_replica(replica_db.url) as replica:
        leads = replica.read_leads(range(count))
        assert replica.queries == statements
    assert [(each.facts.user.user_id, len(each.facts.requirements)) for each in leads] == [
        (n, 1) for n in range(count)
    ]


def test_chunks_tile_the_batch(replica_db: ReplicaDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_lists, "IN_LIST_MAX", 2)
    add_users(replica_db.engine, *(user(n) for n in range(7)))
    with open_replica(replica_db.url) as replica:
        assert [each.facts.user.user_id for each in replica.read_leads([6, 5, 5, 4, 3, 2, 1, 0])] == [
            6,
            5,
            4,
            3,
            2,
            1,
            0,
        ]
        assert replica.queries == 4


ANA = {
    "first_name": "Ana🦊",
    "last_name": "Sanz-Ruiz",
    "phone_number": "+447700900123",
    "email_address": "ana@sanz.example",
}


def test_no_repr_shows_a_personal_datum() -> None:
    """P40."""
    contact = Contact(**ANA)
    lead = SourceLead(facts_of_nobody(), contact)
    shown = f"{contact} {contact!r} {lead} {[lead]!r} {(contact,)!s}"
    assert not [value for value in ANA.values() if value in shown]
    assert contact.phone_number == ANA["phone_number"]


def facts_of_nobody() -> UserFacts:
    return UserFacts(SourceUser(1, is_enabled=True, status="", has_signature=False))


def test_no_log_shows_a_personal_datum_at_any_level(
    replica_db: ReplicaDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    """P40: with SQLAlchemy set to DEBUG, for a slow statement perhaps, it logs each row it reads."""
    add_users(replica_db.engine, user(1, **ANA))
    caplog.set_level(logging.DEBUG, logger="sqlalchemy")
    with open_replica(replica_db.url) as replica:
        assert contacts(replica.read_leads([1])) == [tuple(ANA.values())]
    assert "FROM users" in caplog.text
    assert not [value for value in ANA.values() if value in caplog.text]


def test_no_error_shows_a_personal_datum(replica_db: ReplicaDatabase, replica: Replica) -> None:
    """P40: a column that is missing is named, and nothing of the batch is told."""
    add_users(replica_db.engine, user(123454321, **ANA))
    with replica_db.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE users DROP COLUMN phone_number"))
    with pytest.raises(PermanentError, match="phone_number") as raised:
        replica.read_leads([123454321])
    assert "123454321" not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None


def test_the_tables_that_decisions_are_made_from_have_no_personal_column() -> None:
    """P40: only the desk's read selects from the view of users that has."""
    personal = {"first_name", "last_name", "phone_number", "email_address"}
    for table in (tables.users, tables.claims, tables.claim_requirements):
        assert not personal & set(table.c.keys())
    assert set(tables.users_with_contact.c.keys()) == personal | set(tables.users.c.keys())
