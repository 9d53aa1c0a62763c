"""Several discoveries of the same hours at the same time."""

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import timedelta

from leadq_dagster.domain.facts import SourceUser, UserFacts
from leadq_dagster.domain.windows import Window
from leadq_dagster.firm import schema
from leadq_dagster.replica.engine import Replica
from leadq_dagster_tests.replica.rows import add, add_users, claim, requirement, user
from leadq_dagster_tests.stages.discovering import Discovery, at, change_user, discovering, hour
from leadq_dagster_tests.stages.failing import all_at_once
from leadq_dagster_tests.stages.stored import broken_promises, change, completed, dump, queues

MORNING = Window(hour(7).start, hour(10).end)
UNSIGNED, OUTSTANDING = "unsigned_users", "outstanding_requests"
USERS = 60


class WatchedReplica(Replica):
    """Lets a test in between reading what decides and writing what was decided."""

    def __init__(self, replica: Replica, after_facts: Callable[[], object]) -> None:
        super().__init__(replica._session, replica._heartbeat, replica._users, replica._claims)
        self._after_facts = after_facts

    def read_facts(self, users: Sequence[SourceUser]) -> list[UserFacts]:
        facts = super().read_facts(users)
        self._after_facts()
        return facts


def in_step(runners: int) -> Callable[[], None]:
    """Nobody writes before all have read; who is alone at last goes on alone."""
    barrier = threading.Barrier(runners)

    def wait() -> None:
        try:
            barrier.wait(1)
        except threading.BrokenBarrierError:
            barrier.reset()

    return wait


def fill(discovery: Discovery) -> None:
    """Users spread over four hours against the order of their ids; every third is known and is due now."""
    source = discovery.source.engine
    add_users(
        source,
        *(
            user(
                n,
                created_at=at(f"{10 - n % 4:02}:{n % 60:02}"),
                status="cancelled" if n % 3 == 0 else "active",
                current_signature_file_id="f" if n % 2 else None,
            )
            for n in range(USERS)
        ),
    )
    discovery.run(MORNING)
    with source.begin() as connection:
        connection.execute(schema.users.delete().where(schema.users.c.id % 3 > 0))
        connection.execute(schema.users.update().values(status="active"))
    add_users(source, *(user(n + 1000, created_at=at(f"{7 + n % 4:02}:{n % 60:02}")) for n in range(USERS)))


def expected_queues() -> dict[int, str | None]:
    before = {n: None if n % 3 == 0 or n % 2 else UNSIGNED for n in range(USERS)}
    now_due = {n: None if n % 2 else UNSIGNED for n in range(0, USERS, 3)}
    return before | now_due | dict.fromkeys(range(1000, 1000 + USERS), UNSIGNED)


def check(discovery: Discovery) -> None:
    assert queues(discovery.store_url) == expected_queues()
    assert broken_promises(discovery.store_url) == []
    assert completed(discovery.store_url) == [7, 8, 9, 10]
    entered = [line["user_id"] for line in dump(discovery.store_url)["queue_transitions"]]
    assert len(entered) == len(set(entered))


def test_the_same_range_twice_at_once_is_as_once(discovery: Discovery) -> None:
    """P6, P8: page by page both have judged the same users before either stores them."""
    fill(discovery)
    meet = in_step(2)
    with discovering(discovery.source, discovery.store_url, batch_rows=7) as other:
        pair = (discovery, other)
        works = [lambda d=d: d.run(MORNING, replica=WatchedReplica(other.replica, meet)) for d in pair]
        assert all_at_once(*works) == []
    check(discovery)


def test_overlapping_windows_at_once_neither_lock_each_other_out_nor_double(on_mariadb: Discovery) -> None:
    """P6, P8: ranges and single hours that share users, with pages that cut them differently."""
    fill(on_mariadb)
    windows = [
        MORNING,
        hour(10),
        Window(hour(8).start, hour(10).end),
        hour(9),
        Window(hour(7).start, hour(9).end),
    ]
    with ExitStack() as stack:
        works = []
        for batch_rows, window in enumerate(windows, start=5):
            one = stack.enter_context(
                discovering(on_mariadb.source, on_mariadb.store_url, batch_rows=batch_rows)
            )
            works.append(lambda one=one, window=window: one.run(window))
        assert all_at_once(*works) == []
    check(on_mariadb)


SLOWLY = """
CREATE FUNCTION take_time() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_sleep(0.005); RETURN NEW; END $$;
CREATE TRIGGER storing_a_user_takes_time BEFORE INSERT ON user_call_scores
    FOR EACH ROW EXECUTE FUNCTION take_time();
"""


def test_one_page_forwards_and_one_backwards_do_not_deadlock(on_mariadb: Discovery) -> None:
    """P8: one hour has the users by creation, the next by their update, the last of them first.

    The store takes its time over each user, so that the two are at it together.
    """
    people = 100
    tick = timedelta(seconds=1)
    rows = [
        user(n, created_at=at("09:10") + n * tick, updated_at=at("10:50") - n * tick) for n in range(people)
    ]
    add_users(on_mariadb.source.engine, *rows)
    change(on_mariadb.store_url, SLOWLY)
    meet = in_step(2)
    with ExitStack() as stack:
        works = []
        for window in (hour(9), hour(10)):
            one = stack.enter_context(discovering(on_mariadb.source, on_mariadb.store_url, batch_rows=people))
            watched = WatchedReplica(one.replica, meet)
            works.append(
                lambda one=one, window=window, watched=watched: one.run(
                    window, replica=watched, overlap=timedelta()
                )
            )
        assert all_at_once(*works) == []
    assert len(queues(on_mariadb.store_url)) == people
    assert broken_promises(on_mariadb.store_url) == []


def test_a_discovery_that_was_overtaken_does_not_take_its_user_back(discovery: Discovery) -> None:
    """P1, P3: it judged by the row before the signature; who saw the signature has moved the user."""
    source = discovery.source.engine
    add_users(source, user(1, created_at=at("10:10")))
    add(source, schema.claims, claim(10, 1))
    add(source, schema.claim_requirements, requirement("a", 10))

    def overtake() -> None:
        change_user(source, 1, current_signature_file_id="f")
        discovery.run()

    report = discovery.run(replica=WatchedReplica(discovery.replica, overtake))
    assert queues(discovery.store_url) == {1: OUTSTANDING}
    stays = dump(discovery.store_url)["call_queue"]
    assert [(stay["queue_type"], stay["status"]) for stay in stays] == [(OUTSTANDING, "pending")]
    assert (report.total.already_known, report.total.queued) == (1, 0)
