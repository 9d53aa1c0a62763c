"""Rows as they really are: the whole way from the source's column to the store's, on the real drivers."""

from datetime import UTC, datetime
from typing import Any

import psycopg

from leadq_dagster.firm import schema
from leadq_dagster_tests.replica.rows import TEN, add, add_users, claim, requirement, user
from leadq_dagster_tests.stages.discovering import Discovery, hour
from leadq_dagster_tests.stages.stored import queues

UNSIGNED, OUTSTANDING = "unsigned_users", "outstanding_requests"
PAST_DOUBLES = 2**53 + 1


def created_ats(store_url: str) -> dict[int, datetime | None]:
    with psycopg.connect(store_url) as connection:
        return dict(connection.execute("SELECT user_id, created_at FROM user_call_scores").fetchall())


def test_odd_users_are_stored_as_who_they_are(discovery: Discovery) -> None:
    """P12: ids next to each other that no double can tell apart, blank signatures, any case, any name, 2."""
    now: dict[str, Any] = {"created_at": TEN, "updated_at": TEN}
    add_users(
        discovery.source.engine,
        user(PAST_DOUBLES, **now, current_signature_file_id=""),
        user(PAST_DOUBLES + 1, **now, current_signature_file_id="  ", status=None),
        user(PAST_DOUBLES + 2, **now, current_signature_file_id="f", status="ACTIVE"),
        user(2**63 - 1, **now, first_name="🦊 Zoë 𠮷野", last_name="O'Hara \\ %s :name", email_address=None),
        user(5, **now, status=" CanCelled "),
        user(6, **now, is_enabled=2),
        user(7, **now, is_enabled=0, first_name="😀"),
        user(8, **now, status="cáncelled"),
    )
    discovery.run()
    assert queues(discovery.store_url) == {
        PAST_DOUBLES: UNSIGNED,
        PAST_DOUBLES + 1: UNSIGNED,
        PAST_DOUBLES + 2: None,
        2**63 - 1: UNSIGNED,
        5: None,
        6: UNSIGNED,
        8: UNSIGNED,
    }


def test_odd_claims_and_requirements_are_read_as_what_they_mean(discovery: Discovery) -> None:
    """P12: statuses, types and reasons in any spelling, with ids as long as the users'."""
    signed = {"created_at": TEN, "current_signature_file_id": "f"}
    people = [PAST_DOUBLES + n for n in range(6)]
    add_users(discovery.source.engine, *(user(n, **signed) for n in people))
    add(
        discovery.source.engine,
        schema.claims,
        *(claim(2**62 + n, n, "CANCELLED " if n == people[5] else None) for n in people),
    )
    spelled: list[dict[str, Any]] = [
        {"status": "PENDING "},
        {
            "status": " Pending",
            "type": " ID_Document",
            "claim_requirement_reason": "BASE requirement for claim.",
        },
        {"type": "ID_DOCUMENT", "claim_requirement_reason": None},
        {"type": "Vehicle_Registration "},
        {"status": None},
        {},
    ]
    items = [requirement(f"r{n}", 2**62 + n, **told) for n, told in zip(people, spelled, strict=True)]
    add(discovery.source.engine, schema.claim_requirements, *items)
    discovery.run()
    assert [queues(discovery.store_url)[n] for n in people] == [
        OUTSTANDING,
        OUTSTANDING,
        None,
        None,
        None,
        None,
    ]


def test_users_without_one_date_are_found_by_the_other(discovery: Discovery) -> None:
    """P7, P12: and what the source does not tell is NULL at the store; no date at all is in no hour."""
    add_users(
        discovery.source.engine,
        user(1, created_at=None, updated_at=TEN),
        user(2, created_at=TEN, updated_at=None),
        user(3, created_at=None, updated_at=None),
    )
    discovery.run()
    assert created_ats(discovery.store_url) == {1: None, 2: TEN.replace(tzinfo=UTC)}


def test_zero_dates_are_no_dates(on_mariadb: Discovery) -> None:
    """P12: PyMySQL hands them out as text; the store must hold NULL, not a date of its own making."""
    add_users(on_mariadb.source.engine, user(1, updated_at=TEN), user(2, created_at=TEN), user(3))
    zero = "0000-00-00 00:00:00"
    with on_mariadb.source.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE users SET created_at = '{zero}' WHERE id IN (1, 3)")
        connection.exec_driver_sql(f"UPDATE users SET updated_at = '{zero}' WHERE id IN (2, 3)")
    on_mariadb.run()
    on_mariadb.run(hour(9))
    assert created_ats(on_mariadb.store_url) == {1: None, 2: TEN.replace(tzinfo=UTC)}


def test_a_source_that_other_programs_made_is_read_as_well(on_mariadb: Discovery) -> None:
    """P12: whole seconds, a BIT flag, an unsigned id, a latin1 status, columns that leadq never heard of."""
    with on_mariadb.source.engine.begin() as connection:
        for statement in (
            "ALTER TABLE users MODIFY id BIGINT UNSIGNED NOT NULL, MODIFY is_enabled BIT(1)",
            "ALTER TABLE users MODIFY created_at DATETIME, MODIFY updated_at TIMESTAMP NULL",
            "ALTER TABLE users MODIFY status VARCHAR(50) CHARACTER SET latin1, ADD secret BLOB",
            "INSERT INTO users (id, is_enabled, status, created_at, secret) VALUES"
            f" ({PAST_DOUBLES}, b'1', 'Neu', '2026-03-04 10:00:00', x'ff'),"
            " (2, b'0', 'Neu', '2026-03-04 10:59:59', NULL), (3, NULL, 'Neu', '2026-03-04 10:59:59', NULL)",
        ):
            connection.exec_driver_sql(statement)
    report = on_mariadb.run()
    assert queues(on_mariadb.store_url) == {PAST_DOUBLES: UNSIGNED}
    assert dict(report.total.refused) == {"user_disabled": 2}
