"""Every known user is in one class, the classes sum up, and the class of one is that of the counts."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from itertools import chain
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg import ClientCursor, Cursor, connect
from psycopg.rows import TupleRow

from leadq_dagster.desk.desk import AssignmentDesk
from leadq_dagster.desk.standing_sentence import sentence_of
from leadq_dagster.desk.terms import CallingHours, DeskTerms, NoWork, TakeRequest
from leadq_dagster.store import explanations, levels, standings
from leadq_dagster.store.explanations import SQL
from leadq_dagster.store.queue import Move
from leadq_dagster.store.scores import make_known
from leadq_dagster.store.standings import Standings
from leadq_dagster_tests.desk.at_work import TEN, AtWork
from leadq_dagster_tests.store.converted import judged, signed
from leadq_dagster_tests.store.rows import NOWHERE, OUTSTANDING, UNSIGNED, moved, source_user

LIMIT = 200
# Each class with what its sentence says.
CLASSES = {
    "waiting": "waiting in",
    "cooling": "cooling until",
    "promised": "for promised call",
    "too_high": "nobody is called from 200 on",
    "assigned": "assigned to agent",
    "suppressed": "suppressed because of do_not_contact",
    "converted": "converted at",
    "not_needed": "not needed: ",
}


@dataclass(frozen=True)
class Person:
    """What a user went through, and how their live stay is, if the last step left them one."""

    steps: tuple[str, ...]
    is_suppressed: bool
    is_assigned: bool
    is_raised: bool
    score: int
    callable_in: timedelta

    @property
    def expected(self) -> str:
        """The class, told from what happened and not from what is stored."""
        stay, converted = None, False
        for step in self.steps:
            if step == "sign" and stay == "unsigned":
                stay, converted = None, True
            elif step == "leave" and stay:
                stay, converted = None, False
            elif step in ("unsigned", "owing") and stay is None:
                stay, converted = step, False
        if stay is None:
            return "suppressed" if self.is_suppressed else "converted" if converted else "not_needed"
        if self.is_assigned:
            return "assigned"
        if self.is_raised:
            return "promised"
        if self.score >= LIMIT:
            return "too_high"
        return "cooling" if self.callable_in > timedelta(0) else "waiting"

    @property
    def is_queued(self) -> bool:
        return self.expected not in ("suppressed", "converted", "not_needed")


# Stays that ended, one after the other, and perhaps one that has not.
ENDED = st.lists(
    st.sampled_from([("unsigned", "sign"), ("unsigned", "leave"), ("owing", "leave")]), max_size=3
)
LAST = st.sampled_from([(), ("unsigned",), ("owing",)])
people = st.builds(
    Person,
    steps=st.builds(lambda ended, last: (*chain(*ended), *last), ENDED, LAST),
    is_suppressed=st.booleans(),
    is_assigned=st.booleans(),
    is_raised=st.booleans(),
    score=st.sampled_from([0, 7, LIMIT - 1, LIMIT, LIMIT + 1]),
    callable_in=st.sampled_from([-1, 0, 1]).map(lambda microseconds: timedelta(microseconds=microseconds)),
)


# Seldom met, and the difference between the last stay and any.
CONVERTED_BEFORE = Person(
    ("unsigned", "sign", "owing", "leave"),
    is_suppressed=False, is_assigned=False, is_raised=False, score=0, callable_in=timedelta(0),
)  # fmt: skip


def live_through(cursor: Cursor[TupleRow], user_id: int, person: Person) -> None:
    """Bring the user to where the person is: through the door, and the rest as the desk writes it."""
    make_known(cursor, [source_user(user_id)], TEN)
    for number, step in enumerate(person.steps):
        now = TEN - timedelta(days=7 - number)
        if step == "sign":
            if _queue_of(cursor, user_id) == "unsigned_users":
                moved(cursor, [judged(signed(user_id))], TEN)
        elif step == "leave" or _queue_of(cursor, user_id) is None:
            decision = {"unsigned": UNSIGNED, "owing": OUTSTANDING, "leave": NOWHERE}[step]
            moved(cursor, [Move(user_id, decision)], now)
    if person.is_queued:
        _arrange(cursor, user_id, person)
    elif person.is_suppressed:
        suppress = "UPDATE user_call_scores SET is_active = false, suppressed_reason = 'do_not_contact'"
        cursor.execute(f"{suppress} WHERE user_id = %s".encode(), [user_id])


def _queue_of(cursor: Cursor[TupleRow], user_id: int) -> str | None:
    query = b"SELECT current_queue_type FROM user_call_scores WHERE user_id = %s"
    [(queue,)] = cursor.execute(query, [user_id]).fetchall()
    return str(queue) if queue else None


def _arrange(cursor: Cursor[TupleRow], user_id: int, person: Person) -> None:
    live = "WHERE user_id = %(user)s AND status <> 'left'"
    parameters: dict[str, Any] = {
        "user": user_id,
        "score": person.score,
        "from": TEN + person.callable_in,
        "now": TEN,
    }
    cursor.execute(
        f"UPDATE call_queue SET priority_score = %(score)s, available_from = %(from)s {live}".encode(),
        parameters,
    )
    if person.is_raised:
        cursor.execute(
            b"WITH promised AS (INSERT INTO callbacks (user_id, queue_type, due_at, call_after)"
            b" VALUES (%(user)s, 'unsigned_users', %(now)s, %(now)s) RETURNING id)"
            b" UPDATE call_queue SET callback_id = promised.id, priority_score = -1000 FROM promised "
            + live.encode(),
            parameters,
        )
    if person.is_assigned:
        cursor.execute(b"INSERT INTO agents (id, name) VALUES (%(user)s, 'somebody')", parameters)
        cursor.execute(
            b"UPDATE call_queue SET status = 'assigned', assigned_to_agent_id = %(user)s,"
            b" assigned_at = %(now)s, lease_expires_at = %(now)s, lease_token = lease_token + 1 "
            + live.encode(),
            parameters,
        )


def counts(counted: Standings) -> dict[str, int]:
    return {name: getattr(counted, name) for name in CLASSES if getattr(counted, name)}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(world=st.lists(people, min_size=1, max_size=12))
@example([CONVERTED_BEFORE])
def test_each_known_user_is_in_one_class_and_the_classes_sum_to_all(
    work: AtWork, world: list[Person]
) -> None:
    """P24: whatever they went through; one by one as together; each class has its sentence."""
    with work.store.transaction(keep=False) as cursor:
        for user_id, person in enumerate(world, start=1):
            live_through(cursor, user_id, person)
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        counted = standings.count(cursor, TEN, LIMIT)
        found = {
            user_id: explanations.standing(cursor, user_id, TEN, LIMIT)
            for user_id in range(1, len(world) + 1)
        }
        for user_id, known in found.items():
            assert known is not None
            assert known.standing == world[user_id - 1].expected
            sentence = sentence_of(known, explanations.history(cursor, user_id), LIMIT)
            assert CLASSES[known.standing] in sentence
    assert counts(counted) == Counter(person.expected for person in world)
    assert sum(counts(counted).values()) == counted.known == len(world)
    cooling = [TEN + person.callable_in for person in world if person.expected == "cooling"]
    assert counted.cooling_until == min(cooling, default=None)


def test_the_generated_worlds_have_every_class() -> None:
    """Else the test above would show nothing about the class that is missing."""
    seen: Counter[str] = Counter()

    @settings(max_examples=60, derandomize=True, database=None)
    @given(world=st.lists(people, min_size=1, max_size=12))
    def count(world: list[Person]) -> None:
        seen.update(person.expected for person in world)

    count()
    assert seen.keys() == set(CLASSES)


def test_asking_for_one_reads_one(work: AtWork) -> None:
    """P24: the definition is inlined into the question, as a view would be; nobody else is looked at."""
    with connect(work.store_url) as connection:
        parameters = {"user_id": 1, "now": TEN, "not_called_from": LIMIT}
        statement = ClientCursor(connection).mogrify(SQL["select_standing"], parameters)
        lines = connection.execute(b"EXPLAIN " + statement.encode()).fetchall()
    plan = "\n".join(line for (line,) in lines)
    assert "Function Scan" not in plan
    assert "Seq Scan" not in plan
    assert "user_call_scores_pkey" in plan


def test_out_of_hours_is_a_reason_of_no_work(work: AtWork) -> None:
    """P24: somebody waits, and the counts say so; within the hours they are handed out."""
    agent = work.agent()
    work.lead(1)
    evening = DeskTerms(calling_hours=CallingHours(time(18), time(20)))
    clock: list[datetime] = [TEN]
    with AssignmentDesk(work.store, work.replica, evening, now=lambda: clock[0]) as desk:
        answer = desk.take(TakeRequest(agent, "one"))
        assert isinstance(answer, NoWork)
        assert answer.reason == "out_of_hours"
        assert (answer.standings.waiting, answer.standings.known) == (1, 1)
        clock[0] = TEN + timedelta(hours=8)
        assert not isinstance(desk.take(TakeRequest(agent, "two")), NoWork)


def test_the_levels_are_counted_as_everybody_is_whatever_the_connection_is_for(work: AtWork) -> None:
    """P24: by a look at all, and with time for it: among three million the desk's own plans do not end."""
    work.lead(1)
    with work.store.transaction() as cursor:
        assert levels.count(cursor, TEN, LIMIT).of_all.known == 1
        for name, setting in (("statement_timeout", "1min"), ("enable_hashjoin", "on")):
            assert cursor.execute(f"SHOW {name}".encode()).fetchall() == [(setting,)]
    with work.store.transaction() as cursor:
        assert cursor.execute(b"SHOW enable_hashjoin").fetchall() == [("off",)]
