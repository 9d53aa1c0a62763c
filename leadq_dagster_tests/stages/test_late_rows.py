"""Rows that become visible after their hour was read: a transaction left open at the source, for real."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from leadq_dagster.domain.windows import HOUR, Window
from leadq_dagster.firm import schema
from leadq_dagster_tests.replica.rows import add_users, user
from leadq_dagster_tests.stages.discovering import Discovery, at, change_user, hour
from leadq_dagster_tests.stages.stored import broken_promises, completed, nothing_changes, queues

UNSIGNED = "unsigned_users"


@contextmanager
def open_transaction(discovery: Discovery, *rows: dict[str, Any]) -> Iterator[None]:
    """The rows are written when the block begins and visible when it ends."""
    with discovery.source.engine.begin() as connection:
        connection.execute(schema.users.insert(), list(rows))
        yield


def test_a_row_committed_late_is_found_by_the_next_hour_and_counted_as_late(discovery: Discovery) -> None:
    """P7: while it is open, a younger row with a higher id is visible already; no watermark is safe."""
    with open_transaction(discovery, user(5, created_at=at("09:59"), updated_at=at("09:59"))):
        add_users(discovery.source.engine, user(6, created_at=at("10:01")))
        assert discovery.run(hour(9)).total.seen == 0
    report = discovery.run(hour(10))
    assert queues(discovery.store_url) == {5: UNSIGNED, 6: UNSIGNED}
    assert (report.total.seen, report.total.stored, report.total.late, report.total.queued) == (2, 2, 1, 2)
    nothing_changes(discovery.store_url, lambda: discovery.run(Window(hour(9).start, hour(10).end)))
    assert discovery.run(hour(10)).total.late == 0


@pytest.mark.parametrize(("hours_later", "found"), [(1, True), (3, True), (4, False)])
def test_a_late_row_is_found_as_far_back_as_the_overlap(
    discovery: Discovery, hours_later: int, found: bool
) -> None:
    """P7: three hours by default; what is later still is left to the reconciliation of everything."""
    with open_transaction(discovery, user(5, created_at=at("05:00"))):
        for number in range(5, 5 + hours_later):
            discovery.run(hour(number))
    discovery.run(hour(5 + hours_later))
    assert queues(discovery.store_url) == ({5: UNSIGNED} if found else {})


def test_an_overlap_that_ends_within_an_hour_reaches_the_row_in_it(discovery: Discovery) -> None:
    """P7: ninety minutes are ninety minutes, and not the one whole hour that fits into them."""
    with open_transaction(discovery, user(5, created_at=at("08:45"))):
        discovery.run(hour(8))
        discovery.run(hour(9))
    report = discovery.run(hour(10), overlap=timedelta(minutes=90))
    assert queues(discovery.store_url) == {5: UNSIGNED}
    assert report.total.late == 1


def test_without_an_overlap_nothing_is_read_again(discovery: Discovery) -> None:
    with open_transaction(discovery, user(5, created_at=at("09:59"))):
        discovery.run(hour(9))
    discovery.run(hour(10), overlap=timedelta())
    assert queues(discovery.store_url) == {}


def test_many_late_rows_cross_the_pages(discovery: Discovery) -> None:
    """P8: more of them than a page holds, among users who are known already."""
    late = [user(n, created_at=at("09:30")) for n in range(0, 20, 2)]
    add_users(discovery.source.engine, *(user(n, created_at=at("09:30")) for n in range(1, 20, 2)))
    with open_transaction(discovery, *late):
        discovery.run(hour(9))
    report = discovery.run(hour(10))
    assert set(queues(discovery.store_url)) == set(range(20))
    assert report.total.late == report.total.seen == 10


def test_enabling_that_was_committed_late_is_found(discovery: Discovery) -> None:
    """P7: the row was there all along; what came late is that it counts."""
    add_users(discovery.source.engine, user(5, is_enabled=0))
    with discovery.source.engine.begin() as connection:
        connection.execute(schema.users.update().values(is_enabled=1, updated_at=at("09:50")))
        discovery.run(hour(9))
    report = discovery.run(hour(10))
    assert queues(discovery.store_url) == {5: UNSIGNED}
    assert report.total.late == 1


def test_a_known_user_won_back_by_a_late_commit_is_queued(discovery: Discovery) -> None:
    """P6, P7: committed in time they would be in the queue, so committed late they are too."""
    cancelled = [user(n, created_at=at("08:10"), status="cancelled") for n in range(7)]
    add_users(discovery.source.engine, *cancelled)
    discovery.run(hour(8))
    with discovery.source.engine.begin() as connection:
        won_back = schema.users.update().where(schema.users.c.id == 4)
        connection.execute(won_back.values(status="active", updated_at=at("09:50")))
        discovery.run(hour(9))
    report = discovery.run(hour(10))
    assert queues(discovery.store_url) == dict.fromkeys(range(7)) | {4: UNSIGNED}
    assert (report.total.seen, report.total.already_known, report.total.queued) == (1, 1, 1)
    assert broken_promises(discovery.store_url) == []
    nothing_changes(discovery.store_url, lambda: discovery.run(hour(10)))


def test_a_row_of_an_hour_nobody_read_is_not_late(discovery: Discovery) -> None:
    """P6: the hour in between was never run; a late row of it is found when it is, and once."""
    with open_transaction(discovery, user(5, created_at=at("08:10")), user(6, created_at=at("09:10"))):
        discovery.run(hour(8))
    assert discovery.run(hour(10)).total.late == 1
    assert queues(discovery.store_url) == {5: UNSIGNED}
    assert discovery.run(hour(9)).total.late == 0
    assert queues(discovery.store_url) == {5: UNSIGNED, 6: UNSIGNED}


def test_half_an_hour_is_not_taken_for_the_hour(discovery: Discovery) -> None:
    """P6, P8: an hour counts as read only when its own run read all of it, not after one half or both."""
    add_users(discovery.source.engine, user(1, created_at=at("09:10")), user(2, created_at=at("09:40")))
    first = Window(hour(9).start, hour(9).start + HOUR / 2)
    discovery.run(first)
    assert queues(discovery.store_url) == {1: UNSIGNED}
    assert completed(discovery.store_url) == []
    discovery.run(hour(10))
    assert queues(discovery.store_url) == {1: UNSIGNED}
    discovery.run(Window(first.end, hour(9).end))
    assert queues(discovery.store_url) == {1: UNSIGNED, 2: UNSIGNED}
    assert completed(discovery.store_url) == [10]


def test_a_window_with_ragged_ends_completes_the_hours_inside_it(discovery: Discovery) -> None:
    """P8: of half past seven to half past ten, the two hours between."""
    discovery.run(Window(hour(7).start + HOUR / 2, hour(10).start + HOUR / 2))
    assert completed(discovery.store_url) == [8, 9]


def test_the_second_half_of_a_completed_hour_counts_nobody_twice(discovery: Discovery) -> None:
    """P14: the overlap ends where the window begins, although the hour around them was completed."""
    with open_transaction(discovery, user(1, created_at=at("09:10")), user(2, created_at=at("09:40"))):
        discovery.run(hour(9))
    report = discovery.run(Window(hour(9).start + HOUR / 2, hour(9).end))
    assert (report.total.seen, report.total.stored, report.total.late) == (2, 2, 1)


def test_a_late_row_that_changed_again_is_found_by_its_new_hour(discovery: Discovery) -> None:
    """P7: the update moved it out of the hour in which it was late."""
    with open_transaction(discovery, user(5, created_at=None, updated_at=at("09:10"))):
        discovery.run(hour(9))
    change_user(discovery.source.engine, 5, updated_at=at("10:10"))
    assert discovery.run(hour(10)).total.late == 0
    assert queues(discovery.store_url) == {5: UNSIGNED}
