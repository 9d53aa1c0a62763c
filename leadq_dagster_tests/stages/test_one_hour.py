"""One hour of a source filled by hand: who is known afterwards, who is queued, by which rows."""

from datetime import UTC, timedelta
from typing import Any

import pytest

from leadq_dagster.domain.windows import Window
from leadq_dagster.firm import schema
from leadq_dagster_tests.replica.rows import TEN, WINDOW, add, add_users, claim, requirement, user
from leadq_dagster_tests.stages.discovering import ASSET, NOON, OVERLAP, Discovery, at, change_user, hour
from leadq_dagster_tests.stages.stored import (
    broken_promises,
    change,
    completed,
    dump,
    nothing_changes,
    queues,
    reasons,
)

TICK = timedelta(microseconds=1)
ELEVEN = at("11:00")
UNSIGNED, OUTSTANDING = "unsigned_users", "outstanding_requests"
SIGNED = {"current_signature_file_id": "file-1"}


def fill(discovery: Discovery, rows: list[dict[str, Any]], *claims: dict[str, Any], **items: int) -> None:
    """Users, claims, and a counted pending requirement for each name = claim."""
    add_users(discovery.source.engine, *rows)
    if claims:
        add(discovery.source.engine, schema.claims, *claims)
    if items:
        required = [requirement(key, claim_id) for key, claim_id in items.items()]
        add(discovery.source.engine, schema.claim_requirements, *required)


def test_store_holds_exactly_the_enabled_users_of_the_hour(discovery: Discovery) -> None:
    """P7: created or updated from its first instant to before its end, and nobody of its neighbours."""
    add_users(
        discovery.source.engine,
        user(1, created_at=TEN, updated_at=TEN),
        user(2, created_at=ELEVEN - TICK, updated_at=ELEVEN),
        user(3, updated_at=TEN),
        user(4, updated_at=ELEVEN - TICK),
        user(5, created_at=TEN, is_enabled=0),
        user(6, created_at=TEN - TICK, updated_at=TEN - TICK),
        user(7, created_at=ELEVEN, updated_at=ELEVEN),
        user(8),
        user(9, created_at=at("09:30")),
        user(10, created_at=at("07:00")),
    )
    report = discovery.run()
    assert queues(discovery.store_url) == dict.fromkeys((1, 2, 3, 4), UNSIGNED)
    assert completed(discovery.store_url) == [10]
    (tally,) = report.by_hour.values()
    assert (tally.seen, tally.stored, tally.queued, tally.late) == (5, 4, 4, 0)
    assert dict(tally.refused) == {"user_disabled": 1}


def test_unsigned_user_has_score_zero_one_stay_and_one_line(discovery: Discovery) -> None:
    """P12, P14: each column of the three rows, and nothing in any other table but the hour's record."""
    add_users(discovery.source.engine, user(1, created_at=at("10:20")))
    discovery.run()
    rows = dump(discovery.store_url)
    assert {table for table, held in rows.items() if held} == {
        "user_call_scores", "call_queue", "queue_transitions", "completed_windows", "leadq_migration",
    }  # fmt: skip
    ((score,), (stay,), (line,)) = (rows[t] for t in ("user_call_scores", "call_queue", "queue_transitions"))
    assert score == score | {
        "user_id": 1,
        "current_score": 0,
        "current_queue_type": UNSIGNED,
        "is_active": True,
        "total_attempts": 0,
        "next_call_after": NOON,
        "discovered_at": NOON,
        "created_at": at("10:20").replace(tzinfo=UTC),
    }
    assert stay == stay | {
        "user_id": 1,
        "queue_type": UNSIGNED,
        "priority_score": 0,
        "queue_reason": "no_signature",
        "available_from": NOON,
        "status": "pending",
        "entered_at": NOON,
        "left_at": None,
    }
    assert line == line | {
        "user_id": 1,
        "from_queue_type": None,
        "to_queue_type": UNSIGNED,
        "left_stay_id": None,
        "entered_stay_id": stay["id"],
        "reason": "no_signature",
        "actor": ASSET,
        "dagster_run_id": "run-1",
        "partition_key": "2026-03-04-10:00",
    }


def test_each_user_is_where_the_rule_says(discovery: Discovery) -> None:
    """P5, P9: signed users are known too; claims and requirements decide, and they may be far older."""
    now = {"created_at": TEN}
    rows = [
        user(1, **now),
        user(2, **now, **SIGNED),
        user(3, **now, **SIGNED),
        user(4, **now),
        user(5, **now, status="cancelled"),
        user(6, **now),
        user(7, **now, **SIGNED),
        user(8, **now, **SIGNED, is_enabled=0),
    ]
    claims = [claim(30, 3), claim(40, 4, "cancelled"), claim(41, 4, "cancelled"), claim(60, 6, "cancelled")]
    claims += [claim(61, 6), claim(70, 7, "cancelled"), claim(80, 8)]
    fill(discovery, rows, *claims, a=30, b=40, c=70, d=80)
    discovery.run()
    expected = {1: UNSIGNED, 2: None, 3: OUTSTANDING, 4: None, 5: None, 6: UNSIGNED, 7: None}
    assert queues(discovery.store_url) == expected
    assert reasons(discovery.store_url) == {1: "no_signature", 3: "pending_requirements", 6: "no_signature"}
    assert broken_promises(discovery.store_url) == []


@pytest.mark.parametrize("window", [WINDOW, Window(hour(9).start, WINDOW.end)])
def test_again_nothing_at_all_changes(discovery: Discovery, window: Window) -> None:
    """P6: every column of every table, also when another run, later, does it."""
    rows = [user(n, created_at=TEN + timedelta(minutes=n), **(SIGNED if n % 3 else {})) for n in range(1, 15)]
    fill(discovery, [*rows, user(90, created_at=TEN, is_enabled=0)], claim(20, 2), a=20)
    first = discovery.run(window)
    discovery.run_id = "run-2"
    discovery.clock.now += timedelta(hours=3)
    nothing_changes(discovery.store_url, lambda: discovery.run(window))
    second = discovery.run(window)
    assert (second.total.stored, second.total.queued) == (0, 0)
    assert second.total.already_known == first.total.stored == 14


def test_again_within_a_range_nothing_of_the_hour_changes(discovery: Discovery) -> None:
    """P6: hours run before keep their record and their users; the new ones of the range are added."""
    add_users(discovery.source.engine, user(1, created_at=at("09:59")), user(2, created_at=TEN))
    discovery.run()
    before = dump(discovery.store_url)
    discovery.clock.now += timedelta(hours=1)
    discovery.run(Window(hour(8).start, WINDOW.end))
    after = dump(discovery.store_url)
    for table in ("user_call_scores", "call_queue", "queue_transitions", "completed_windows"):
        assert all(row in after[table] for row in before[table])
    assert queues(discovery.store_url) == {1: UNSIGNED, 2: UNSIGNED}
    assert completed(discovery.store_url) == [8, 9, 10]


def test_an_hour_that_was_never_run_is_left_to_its_own_run(discovery: Discovery) -> None:
    """P6: the overlap reads again only what was read before; the hour's own run then finds its users."""
    add_users(discovery.source.engine, user(8, created_at=at("08:30")), user(9, created_at=at("09:30")))
    discovery.run(hour(8))
    discovery.run(hour(10))
    assert queues(discovery.store_url) == {8: UNSIGNED}
    report = discovery.run(hour(9))
    assert queues(discovery.store_url) == {8: UNSIGNED, 9: UNSIGNED}
    assert report.total.late == 0


def test_an_hour_without_users_is_completed(discovery: Discovery) -> None:
    """P36: that nobody came is an answer, and it is recorded."""
    report = discovery.run()
    assert list(report.by_hour) == [WINDOW]
    assert report.total.seen == 0
    assert completed(discovery.store_url) == [10]


def test_an_hour_of_disabled_users_only_stores_nobody(discovery: Discovery) -> None:
    """P14: pages on which nobody is left still balance."""
    add_users(discovery.source.engine, *(user(n, created_at=TEN, is_enabled=0) for n in range(7)))
    report = discovery.run()
    assert queues(discovery.store_url) == {}
    assert dict(report.total.refused) == {"user_disabled": 7}


def test_a_user_enabled_long_after_creation_is_found_by_the_hour_of_enabling(discovery: Discovery) -> None:
    """P7: refused in the hour of creation, stored in that of the update."""
    add_users(discovery.source.engine, user(1, created_at=at("03:00"), updated_at=None, is_enabled=0))
    discovery.run(hour(3))
    assert queues(discovery.store_url) == {}
    change_user(discovery.source.engine, 1, is_enabled=1, updated_at=at("10:15"))
    discovery.run(hour(10))
    assert queues(discovery.store_url) == {1: UNSIGNED}


def test_a_known_user_who_needs_no_call_is_looked_at_again_when_they_change(discovery: Discovery) -> None:
    """P9: known and in no queue; later touched, with a requirement by then: queued, with their line."""
    fill(discovery, [user(1, created_at=at("09:10"), **SIGNED)], claim(10, 1))
    discovery.run(hour(9))
    assert queues(discovery.store_url) == {1: None}
    add(discovery.source.engine, schema.claim_requirements, requirement("a", 10))
    change_user(discovery.source.engine, 1, updated_at=at("10:15"))
    report = discovery.run(hour(10))
    assert queues(discovery.store_url) == {1: OUTSTANDING}
    assert (report.total.stored, report.total.already_known, report.total.queued) == (0, 1, 1)
    assert broken_promises(discovery.store_url) == []


def test_a_user_in_a_queue_is_left_to_the_conversion_checks(discovery: Discovery) -> None:
    """P1: who signs leaves with a conversion, decided where it is stored; discovery must not move them."""
    fill(discovery, [user(1, created_at=TEN)], claim(10, 1), a=10)
    discovery.run()
    change_user(discovery.source.engine, 1, current_signature_file_id="f", updated_at=at("11:10"))
    nothing_changes_but_windows(discovery, hour(11))


def nothing_changes_but_windows(discovery: Discovery, window: Window) -> None:
    before = dump(discovery.store_url)
    discovery.run(window)
    after = dump(discovery.store_url)
    assert after | {"completed_windows": []} == before | {"completed_windows": []}


def test_a_suppressed_user_is_never_queued_again(discovery: Discovery) -> None:
    """P22: rediscovery of one who must not be called changes nothing."""
    add_users(discovery.source.engine, user(1, created_at=TEN, **SIGNED))
    discovery.run()
    suppress = "UPDATE user_call_scores SET is_active = false, suppressed_reason = 'do_not_contact'"
    change(discovery.store_url, suppress)
    change_user(discovery.source.engine, 1, current_signature_file_id=None, updated_at=at("11:10"))
    nothing_changes_but_windows(discovery, hour(11))


def test_hours_of_a_range_have_their_own_tallies(discovery: Discovery) -> None:
    """P14: each user counts in one hour, that of creation if it is in the range."""
    add_users(
        discovery.source.engine,
        user(1, created_at=at("08:10"), updated_at=at("10:10")),
        user(2, updated_at=at("10:20")),
        user(3, created_at=at("10:30"), is_enabled=0),
    )
    report = discovery.run(Window(hour(8).start, WINDOW.end), overlap=OVERLAP)
    told = {
        hour.partition_key[-5:]: (t.seen, t.stored, dict(t.refused)) for hour, t in report.by_hour.items()
    }
    assert told == {"08:00": (1, 1, {}), "09:00": (0, 0, {}), "10:00": (2, 1, {"user_disabled": 1})}
