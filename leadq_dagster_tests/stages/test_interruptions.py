"""Cut off at every statement, at either database: nothing stays half-done, and nothing claims to be done."""

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from leadq_dagster.domain.errors import TransientError
from leadq_dagster.domain.windows import Window
from leadq_dagster.firm import schema
from leadq_dagster_tests.replica.rows import TEN, add, add_users, claim, requirement, user
from leadq_dagster_tests.servers import databases
from leadq_dagster_tests.servers.running import Servers
from leadq_dagster_tests.stages.discovering import NOON, Discovery, at, discovering, hour
from leadq_dagster_tests.stages.failing import Countdown, CutStore, KilledError, When, replica_cut_at
from leadq_dagster_tests.stages.stored import Dump, broken_promises, completed, dump, end_state, queues

PROJECT = Path(__file__).resolve().parents[2]
TWO_HOURS = Window(hour(9).start, hour(10).end)
UNSIGNED, OUTSTANDING = "unsigned_users", "outstanding_requests"
EXPECTED = {1: UNSIGNED, 2: OUTSTANDING, 3: None, 5: UNSIGNED, 8: UNSIGNED}


def fill(discovery: Discovery) -> None:
    """A completed hour with a row that came late, and two hours of all kinds of users, one to be refused.

    What the store holds by then is the template of the copies, so nobody stays connected to it.
    """
    source = discovery.source.engine
    discovery.run(hour(8))
    discovery.store.close()
    signed = {"current_signature_file_id": "f"}
    add_users(source, user(8, created_at=at("08:30"), updated_at=None), user(1, created_at=at("09:10")))
    add_users(source, user(2, created_at=TEN, **signed), user(3, updated_at=TEN, **signed))
    add_users(source, user(4, created_at=TEN, is_enabled=0), user(5, updated_at=TEN))
    add(source, schema.claims, claim(20, 2))
    add(source, schema.claim_requirements, requirement("a", 20))


@contextmanager
def copied(discovery: Discovery, servers: Servers) -> Iterator[Discovery]:
    """The same source, and a copy of the store."""
    postgres, template = servers.postgres(), discovery.store_url.rpartition("/")[2]
    with (
        databases.fresh_postgres_database(postgres, template) as name,
        discovering(discovery.source, postgres.url(name)) as copy,
    ):
        yield copy


def undisturbed(discovery: Discovery, servers: Servers) -> Dump:
    """The end state where nothing went wrong."""
    with copied(discovery, servers) as copy:
        copy.run(TWO_HOURS)
        assert queues(copy.store_url) == EXPECTED
        return end_state(copy.store_url)


def is_cut_off(discovery: Discovery, countdown: Countdown, when: When) -> bool:
    """Whether there was such a statement; then the discovery failed, and said that trying again helps."""
    cut = CutStore(discovery.store, discovery.store_url, when, countdown)
    try:
        discovery.run(TWO_HOURS, store=cut)
    except (TransientError, KilledError):
        assert countdown.is_over
        return True
    assert not countdown.is_over
    return False


def nobody_is_half_done(store_url: str) -> None:
    """Whoever is known has all that is theirs."""
    assert queues(store_url).items() <= EXPECTED.items()
    assert broken_promises(store_url) == []


@pytest.mark.parametrize("when", ["after the statement", "after the commit"])
def test_cut_off_at_any_statement_of_the_store_and_run_again_it_ends_the_same(
    on_mariadb: Discovery, servers: Servers, when: When
) -> None:
    """P8: for every k, the k-th statement (or commit) is the last one that the server does."""
    fill(on_mariadb)
    expected = undisturbed(on_mariadb, servers)
    # The last commit is that of the hours: whoever is cut off after it has done everything.
    done = [8, 9, 10] if when == "after the commit" else [8]
    ended = [8]
    for k in itertools.count(1):
        with copied(on_mariadb, servers) as copy:
            if not is_cut_off(copy, Countdown(k), when):
                break
            nobody_is_half_done(copy.store_url)
            assert ended == [8], "the statement before was already the last"
            ended = completed(copy.store_url)
            copy.run(TWO_HOURS)
            assert end_state(copy.store_url) == expected, f"cut {when} number {k}"
    assert ended == done
    assert k > (8 if when == "after the commit" else 20)


def test_cut_off_at_any_statement_of_the_replica_and_run_again_it_ends_the_same(
    discovery: Discovery, servers: Servers
) -> None:
    """P8: a page that could not be read is not an empty page; each try gets one statement further."""
    fill(discovery)
    expected = undisturbed(discovery, servers)
    with copied(discovery, servers) as copy:
        for k in itertools.count(1):
            countdown = Countdown(k)
            with replica_cut_at(discovery.source, countdown):
                try:
                    copy.run(TWO_HOURS)
                except TransientError:
                    assert completed(copy.store_url) == [8]
                    nobody_is_half_done(copy.store_url)
                else:
                    break
        assert not countdown.is_over
        assert k > 8
        assert end_state(copy.store_url) == expected


def test_a_failure_in_the_middle_leaves_whole_pages_and_no_completed_hour(on_mariadb: Discovery) -> None:
    """P8: partial is a failure; what the first pages stored stands, each user with all that is theirs."""
    add_users(on_mariadb.source.engine, *(user(n, created_at=TEN) for n in range(9)))

    class StoppedError(Exception):
        pass

    def stop(seen: int) -> None:
        if seen == 6:
            raise StoppedError

    with pytest.raises(StoppedError):
        on_mariadb.run(progress=stop)
    assert [row["user_id"] for row in dump(on_mariadb.store_url)["user_call_scores"]] == list(range(6))
    assert broken_promises(on_mariadb.store_url) == []
    assert completed(on_mariadb.store_url) == []
    report = on_mariadb.run()
    assert (report.total.seen, report.total.stored, report.total.already_known) == (9, 3, 6)


KILLED_IN_THE_MIDDLE = """
import os, signal, sys
from datetime import datetime, timedelta
from leadq_dagster.domain.provenance import Provenance
from leadq_dagster.domain.windows import Window
from leadq_dagster.replica.engine import open_replica
from leadq_dagster.stages.new_users import discover_new_users
from leadq_dagster.store.connection import open_store
now = datetime.fromisoformat(sys.argv[1])
replica = open_replica(os.environ["REPLICA"], now=lambda: now, batch_rows=3)
discover_new_users(
    Window(now - timedelta(hours=2), now - timedelta(hours=1)),
    replica=replica, store=open_store(os.environ["STORE"]), provenance=Provenance("new_users", "killed"),
    now=now, overlap=timedelta(), progress=lambda seen: os.kill(os.getpid(), signal.SIGKILL),
)
"""


def test_a_killed_process_is_finished_by_the_next(on_mariadb: Discovery) -> None:
    """P8: kill -9 between two pages."""
    add_users(on_mariadb.source.engine, *(user(n, created_at=TEN) for n in range(9)))
    environment = os.environ | {"REPLICA": on_mariadb.source.url, "STORE": on_mariadb.store_url}
    command = [sys.executable, "-c", KILLED_IN_THE_MIDDLE, NOON.isoformat()]
    killed = subprocess.run(command, cwd=PROJECT, env=environment, check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert completed(on_mariadb.store_url) == []
    report = on_mariadb.run()
    assert (report.total.stored, report.total.already_known) == (6, 3)
    assert broken_promises(on_mariadb.store_url) == []
