"""The demo's audit finds what is planted: a conversion that never was, at another time, or lacking."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from leadq_dagster.demo.audit import Audit
from leadq_dagster.domain.windows import Window
from leadq_dagster.firm.transaction import Change, UserState
from leadq_dagster.firm.truth import Truth
from leadq_dagster.store.connection import open_store
from leadq_dagster_tests.servers.databases import ReplicaDatabase
from leadq_dagster_tests.stages.checking import SIGNATURE, SIGNED, add_queued, check, unsigned
from leadq_dagster_tests.stages.discovering import Discovery, at, beat, change_user, discovering

SIGNED_AT = at("10:20").replace(tzinfo=UTC)
DAY = Window(datetime(2026, 3, 4, tzinfo=UTC), datetime(2026, 3, 5, tzinfo=UTC))
pytestmark = pytest.mark.parametrize("replica_db", ["postgresql"], indirect=True)


@dataclass
class Watched:
    on: Discovery
    audit: Audit


def truth_of(*signed: int) -> Truth:
    """A firm in which users 1 to 3 are, and these have signed at 10:20."""
    truth = Truth()
    for user_id in (1, 2, 3):
        state = UserState(user_id, is_enabled=True, is_cancelled=False, is_signed=user_id in signed)
        row = {"id": user_id, "updated_at": at("10:20")}
        truth.see([Change("users", user_id, True, row, state, SIGNED_AT, SIGNED_AT)])
    return truth


@pytest.fixture
def watched(replica_db: ReplicaDatabase, store_url: str) -> Iterator[Watched]:
    """Users 1 and 2 have signed, 3 waits; the check has found both."""
    with discovering(replica_db, store_url) as on, open_store(store_url) as store:
        audit = Audit(store, truth_of(1, 2))
        beat(on.source.engine, on.clock.now)
        add_queued(on, *(unsigned(n) for n in (1, 2, 3)))
        for n in (1, 2):
            change_user(on.source.engine, n, **SIGNED, updated_at=at("10:20"))
        assert check(on, SIGNATURE).total.detected == 2
        yield Watched(on, audit)


def test_what_is_as_the_truth_has_it_is_counted_once(watched: Watched) -> None:
    watched.audit.look()
    watched.audit.look()
    assert watched.audit.recorded == {"signature_obtained": 2}
    assert watched.audit.unexpected == 0
    assert watched.audit.missing([DAY], set()) == 0


def test_a_conversion_that_never_was_or_was_at_another_time_is_unexpected(watched: Watched) -> None:
    """P35."""
    watched.audit.truth = truth_of(1)
    with psycopg.connect(watched.on.store_url) as connection:
        connection.execute(
            "UPDATE conversions SET converted_at = converted_at - interval '1 s' WHERE user_id = 1"
        )
    watched.audit.look()
    assert watched.audit.unexpected == 2


def test_a_conversion_that_is_lacking_is_missing_where_it_was_to_be_found(watched: Watched) -> None:
    """P35: not of another day, and not of whom something has changed since."""
    watched.audit.truth = truth_of(1, 2, 3)
    assert watched.audit.missing([DAY], set()) == 1
    assert watched.audit.missing([DAY], {3}) == 0
    day_before = Window(DAY.start - timedelta(days=1), DAY.start)
    assert watched.audit.missing([day_before], set()) == 0
