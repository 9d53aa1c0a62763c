"""Checks in any order, at once, and cut off at every statement: the same ledger."""

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random

import pytest

from leadq_dagster.domain.conversion_tally import ConversionTally
from leadq_dagster.domain.errors import TransientError
from leadq_dagster.domain.provenance import Source
from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster.domain.windows import Window
from leadq_dagster_tests.servers import databases
from leadq_dagster_tests.servers.running import Servers
from leadq_dagster_tests.stages.checking import (
    REQUIREMENTS,
    SIGNATURE,
    SIGNED,
    add_queued,
    add_requirement,
    call,
    change_requirements,
    check,
    kinds,
    remove,
    signed,
    unsigned,
)
from leadq_dagster_tests.stages.discovering import Discovery, at, change_user, discovering, hour
from leadq_dagster_tests.stages.failing import (
    Countdown,
    CutStore,
    KilledError,
    When,
    all_at_once,
    replica_cut_at,
)
from leadq_dagster_tests.stages.stored import Dump, broken_promises, end_state, queues
from leadq_dagster_tests.stages.test_two_at_once import WatchedReplica, in_step

MORNING = Window(hour(8).start, hour(10).end)
BOTH = (SIGNATURE, REQUIREMENTS)
UNSIGNED, OUTSTANDING = "unsigned_users", "outstanding_requests"
# Who is where, and who converted to what, once the morning has been checked.
QUEUES = dict.fromkeys((1, 2, 4, 6, 7, 8)) | {3: OUTSTANDING, 5: UNSIGNED, 9: OUTSTANDING}
CONVERSIONS = {
    (1, "signature_obtained"),
    (2, "signature_obtained"),
    (3, "signature_obtained"),
    (6, "requirements_completed"),
    (8, "requirements_completed"),
}


def fill(on: Discovery) -> None:
    """A morning of every kind of user: signed (2 after a removal), disabled, completed (8 too), rejected."""
    for n in (3, 6, 7, 8, 9):
        add_requirement(on, n, "a")
    add_queued(on, *(unsigned(n) for n in range(1, 6)), *(signed(n) for n in range(6, 10)))
    call(on, 1, at=at("07:30"))
    call(on, 8, agent=2, at=at("09:30"))
    remove(on, 2, Source.PRE_CALL_VALIDATION)
    remove(on, 8, Source.OUTCOME)
    source = on.source.engine
    for n, minute in ((1, "08:10"), (2, "09:10"), (3, "10:10")):
        change_user(source, n, **SIGNED, updated_at=at(minute))
    change_user(source, 4, is_enabled=0, updated_at=at("08:20"))
    change_requirements(on, 6, status="approved", updated_at=at("09:20"))
    change_requirements(on, 7, status="rejected", updated_at=at("10:20"))
    change_requirements(on, 8, status="approved", updated_at=at("10:30"))
    on.store.close()  # what it holds by now is the template of the copies


@contextmanager
def copied(on: Discovery, servers: Servers) -> Iterator[Discovery]:
    """The same source, and a copy of the store."""
    postgres, template = servers.postgres(), on.store_url.rpartition("/")[2]
    with (
        databases.fresh_postgres_database(postgres, template) as name,
        discovering(on.source, postgres.url(name)) as copy,
    ):
        yield copy


def check_both(on: Discovery, *windows: Window) -> ConversionTally:
    tallies = [check(on, checked, window).total for window in windows for checked in BOTH]
    return sum(tallies, ConversionTally())


def as_it_should_be(on: Discovery) -> Dump:
    """The end state, after a look at who is where and who converted."""
    assert queues(on.store_url) == QUEUES
    assert Counter(kinds(on.store_url)) == Counter(CONVERSIONS)
    return end_state(on.store_url)


def test_range_hour_by_hour_and_shuffled_end_in_the_same_ledger(
    discovery: Discovery, servers: Servers
) -> None:
    """P6, P14: also with hours repeated, and with the two checks in any order."""
    fill(discovery)
    hours = list(MORNING.hours())
    twice = hours * 2
    Random(3).shuffle(twice)
    ends = []
    for windows in ([MORNING], hours, hours[::-1], twice):
        with copied(discovery, servers) as copy:
            total = check_both(copy, *windows)
            assert (total.detected, total.undecided) == (len(CONVERSIONS), 0)
            assert total.departed == {"user_disabled": 1, "nothing_outstanding": 1}
            ends.append(as_it_should_be(copy))
    assert all(end == ends[0] for end in ends)


@pytest.mark.parametrize("queues_checked", [(SIGNATURE, SIGNATURE), (SIGNATURE, REQUIREMENTS)])
def test_two_checks_at_once_are_as_one_after_the_other(
    discovery: Discovery, servers: Servers, queues_checked: Sequence[QueueType]
) -> None:
    """P3: both have judged the same users before either writes."""
    fill(discovery)
    with copied(discovery, servers) as alone:
        check_both(alone, MORNING)
        expected = as_it_should_be(alone)
    meet = in_step(2)
    with copied(discovery, servers) as one, discovering(one.source, one.store_url) as other:
        works = [
            lambda on=on, checked=checked: check(
                on, checked, MORNING, replica=WatchedReplica(on.replica, meet)
            )
            for on, checked in zip((one, other), queues_checked, strict=True)
        ]
        assert all_at_once(*works) == []
        check_both(one, MORNING)
        assert as_it_should_be(one) == expected


@pytest.mark.parametrize("when", ["after the statement", "after the commit"])
@pytest.mark.parametrize("checked", BOTH)
def test_cut_off_at_any_statement_of_the_store_and_run_again_it_ends_the_same(
    on_mariadb: Discovery, servers: Servers, when: When, checked: QueueType
) -> None:
    """P1, P6, P8: for every k, the k-th statement (or commit) is the last; nobody is half-converted."""
    fill(on_mariadb)
    with copied(on_mariadb, servers) as copy:
        check_both(copy, MORNING)
        expected = as_it_should_be(copy)
    for k in itertools.count(1):
        countdown = Countdown(k)
        with copied(on_mariadb, servers) as copy:
            try:
                check(copy, checked, MORNING, store=CutStore(copy.store, copy.store_url, when, countdown))
            except (TransientError, KilledError):
                assert countdown.is_over
            else:
                assert not countdown.is_over
                break
            assert broken_promises(copy.store_url) == []
            assert set(kinds(copy.store_url)) <= CONVERSIONS
            check_both(copy, MORNING)
            assert as_it_should_be(copy) == expected, f"cut {when} number {k}"
    assert k > 8


def test_cut_off_at_any_statement_of_the_replica_it_fails_and_ends_the_same(
    discovery: Discovery, servers: Servers
) -> None:
    """P4, P8: a page that could not be read is not an empty page."""
    fill(discovery)
    with copied(discovery, servers) as copy:
        check_both(copy, MORNING)
        expected = as_it_should_be(copy)
    with copied(discovery, servers) as copy:
        for k in itertools.count(1):
            countdown = Countdown(k)
            with replica_cut_at(discovery.source, countdown):
                try:
                    check_both(copy, MORNING)
                except TransientError:
                    assert broken_promises(copy.store_url) == []
                else:
                    break
        assert not countdown.is_over
        assert k > 12
        assert as_it_should_be(copy) == expected
