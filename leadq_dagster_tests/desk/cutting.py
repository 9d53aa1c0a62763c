"""One request to a desk, cut off at each of its statements or commits in turn, and asked again."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psycopg

from leadq_dagster.desk.callback_terms import CallbackState
from leadq_dagster.desk.desk import AssignmentDesk
from leadq_dagster.desk.terms import NoWork, Recorded, Taken
from leadq_dagster.domain.errors import LeadqError, TransientError
from leadq_dagster_tests.desk.at_work import TERMS, AtWork, at_work, fresh_work
from leadq_dagster_tests.servers import databases
from leadq_dagster_tests.servers.running import Servers
from leadq_dagster_tests.stages.failing import Countdown, CutStore, KilledError, When
from leadq_dagster_tests.stages.stored import Dump, end_state

Ask = Callable[[AssignmentDesk], Any]
# Prepares a desk's databases; what is then asked of a desk on them, as often as need be.
Scenario = Callable[[AtWork], Ask]


def cut_off_everywhere(
    scenario: Scenario,
    when: When,
    servers: Servers,
    *,
    has_request_id: bool = True,
    is_as_well: Callable[[Any], bool] = lambda _: False,
) -> int:
    """Assert that a cut anywhere leaves answer and store as if there had been none; how many places there
    were.

    What has no request id is not asked for its answer again: done once, it finds nothing more to do. After
    an answer that `is_as_well` the store may differ.
    """
    with fresh_work(servers) as work:
        ask = scenario(work)
        work.desk.close()
        work.store.close()
        with copied(work, servers) as copy:
            expected, stored = told(ask, copy.desk), state(copy)
        for k in itertools.count(1):
            with copied(work, servers) as copy:
                countdown = Countdown(k)
                cut = CutStore(copy.store, copy.store_url, when, countdown)
                with AssignmentDesk(cut, copy.replica, TERMS, now=copy.clock.tell) as doomed:
                    try:
                        answer = told(ask, doomed)
                    except (TransientError, KilledError):
                        answer = told(ask, copy.desk)
                    if not countdown.is_over:
                        return k - 1
                where = f"cut {when} number {k}"
                if has_request_id:
                    assert answer == told(ask, copy.desk), where
                if is_as_well(answer):
                    continue
                if has_request_id:
                    assert answer == expected, where
                assert state(copy) == stored, where
    raise AssertionError("it never ends")


def told(ask: Ask, desk: AssignmentDesk) -> Any:
    """The answer without numbers that the server gives out as it likes, or the error."""
    try:
        answer = ask(desk)
    except TransientError:
        raise
    except LeadqError as error:
        return type(error).__name__, str(error)
    if isinstance(answer, Taken):
        return replace(answer, assignment=answer.assignment._replace(id=0))
    if isinstance(answer, NoWork):
        return answer.reason
    if isinstance(answer, Recorded):
        return replace(answer, callback_id=bool(answer.callback_id))
    if isinstance(answer, CallbackState):
        return replace(answer, callback_id=0)
    return answer


@contextmanager
def copied(work: AtWork, servers: Servers) -> Iterator[AtWork]:
    """The same source and moment, and a copy of the store."""
    postgres, template = servers.postgres(), work.store_url.rpartition("/")[2]
    with (
        databases.fresh_postgres_database(postgres, template) as name,
        at_work(postgres.url(name), work.source) as copy,
    ):
        copy.clock.now = work.clock.now
        yield copy


def state(work: AtWork) -> Dump:
    """All that was stored, without what is of the moment: standings in the answers, the server's clock, and
    how often the client asked. A callback goes by its user and time: its number is the sequence's."""
    with psycopg.connect(work.store_url) as connection:
        rows = connection.execute("SELECT id, user_id || ' at ' || due_at FROM callbacks").fetchall()
    names: dict[int | None, str | None] = {None: None, **dict(rows)}
    stored = end_state(work.store_url)
    for row in stored["assignments"]:
        del row["repeats"]
    for row in stored["callbacks"]:
        del row["updated_at"]
    for row in stored["desk_answers"]:
        row["answer"] = {name: value for name, value in row["answer"].items() if name != "standings"}
    for row in (kept for kept_rows in stored.values() for kept in kept_rows):
        for place in (row, row.get("answer")):
            if isinstance(place, dict) and "callback_id" in place:
                place["callback_id"] = names[place["callback_id"]]
    return {table: sorted(rows, key=repr) for table, rows in stored.items()}
