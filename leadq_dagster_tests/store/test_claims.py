"""Claiming leads: exactly the documented order, whatever lies in between, at a cost that does not see it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import Connection
from psycopg.rows import TupleRow

from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster.store import assignments
from leadq_dagster.store.assignments import SQL, Asker, Assignment
from leadq_dagster.store.connection import Store
from leadq_dagster.store.migrations import upgrade
from leadq_dagster_tests.store.converted import LATER, add_agents
from leadq_dagster_tests.store.leads import (
    LEASE,
    NOT_CALLED_FROM,
    add_lead,
    claim,
    hold,
    place,
    raise_lead,
)
from leadq_dagster_tests.store.plans import Plan, explain, fill
from leadq_dagster_tests.store.rows import OUTSTANDING, TEN, UNSIGNED, know, move, rows

HOUR = timedelta(hours=1)
USERS = range(1, 25)


@dataclass(frozen=True)
class Lead:
    """How a stay is placed: `hours` from now until it is available."""

    score: int
    hours: int
    state: str


leads = st.builds(
    Lead,
    st.sampled_from([0, 0, 0, 1, 5, 199, 200]),
    st.sampled_from([-3, -2, -1, 0, 0, 1]),
    st.sampled_from(["free", "free", "free", "free", "free", "raised", "held", "locked"]),
)


@dataclass
class World:
    """Users 1 to 12 in `unsigned_users`, the others in `outstanding_requests`; their stays are 1, 2, 3, …"""

    plain: Connection[TupleRow]
    other: Connection[TupleRow]

    def arrange(self, wanted: Sequence[Lead]) -> None:
        """Place each stay as wanted, some locked by the other connection until its transaction ends."""
        self.other.rollback()
        self.plain.cursor().executemany(
            "UPDATE call_queue SET priority_score = %s, available_from = %s, callback_id = %s, status = %s, "
            "assigned_to_agent_id = %s, assigned_at = %s, lease_expires_at = %s, "
            "lease_token = lease_token + 1 WHERE user_id = %s",
            [
                (
                    lead.score,
                    TEN + lead.hours * HOUR,
                    user_id if lead.state == "raised" else None,
                    "assigned" if lead.state == "held" else "pending",
                    *([100 + user_id, TEN, TEN] if lead.state == "held" else [None, None, None]),
                    user_id,
                )
                for user_id, lead in zip(USERS, wanted, strict=True)
            ],
        )
        locked = [user_id for user_id, lead in zip(USERS, wanted, strict=True) if lead.state == "locked"]
        self.other.execute("SELECT FROM call_queue WHERE user_id = ANY(%s) FOR NO KEY UPDATE", [locked])


@pytest.fixture
def world(store: Store, plain: Connection[TupleRow], store_url: str) -> Iterator[World]:
    know(store, USERS)
    move(store, USERS[:12], UNSIGNED)
    move(store, USERS[12:], OUTSTANDING)
    for user_id in USERS:
        plain.execute("INSERT INTO agents (id, name) VALUES (%s, 'an agent')", [100 + user_id])
        plain.execute(
            "INSERT INTO callbacks (id, user_id, queue_type, due_at, call_after) OVERRIDING SYSTEM VALUE "
            "VALUES (%s, %s, 'unsigned_users', now(), now())",
            [user_id, user_id],
        )
    plain.execute(
        "INSERT INTO agents (id, name) SELECT number, 'an agent' FROM generate_series(1, 30) AS number"
    )
    with psycopg.connect(store_url) as other:
        yield World(plain, other)
        other.rollback()


def in_order(wanted: Sequence[Lead], queue: QueueType, states: set[str]) -> list[int]:
    """The users of this queue as the documents order them: the rule, in Python."""
    ours = USERS[:12] if queue is QueueType.UNSIGNED_USERS else USERS[12:]
    callable_now = [
        (lead.score, lead.hours, user_id)
        for user_id, lead in zip(USERS, wanted, strict=True)
        if user_id in ours and lead.state in states and lead.hours <= 0 and lead.score < NOT_CALLED_FROM
    ]
    return [user_id for _, _, user_id in sorted(callable_now)]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(leads, min_size=len(USERS), max_size=len(USERS)),
    st.sampled_from(QueueType),
    st.permutations(range(1, 31)),
    st.sampled_from([1, 1, 2, 3, 4, 5, 30]),
)
def test_leads_are_claimed_in_the_documented_order(
    world: World, wanted: list[Lead], queue: QueueType, agents: list[int], asking: int
) -> None:
    """P15, P17, P24: by (score, since when, id), to the askers in their order; never one that is cooling, too
    high, promised, held or locked, and never for those one that is free."""
    askers = agents[:asking]
    world.arrange(wanted)
    with world.plain.transaction(force_rollback=True), world.plain.cursor() as cursor:
        peeked = assignments.peek(cursor, queue, TEN, 30, NOT_CALLED_FROM)
        claimed = {item.agent_id: item for item in claim(cursor, askers, TEN, queue)}
        now_held = rows(
            cursor,
            "SELECT assigned_to_agent_id, user_id, lease_expires_at FROM call_queue "
            "WHERE status = 'assigned' AND assigned_to_agent_id <= 30",
        )
    expected = in_order(wanted, queue, {"free"})[: len(askers)]
    assert [claimed[agent].user_id for agent in askers if agent in claimed] == expected
    assert set(claimed) == set(askers[: len(expected)])
    assert sorted(now_held) == sorted((agent, item.user_id, TEN + LEASE) for agent, item in claimed.items())
    assert peeked == in_order(wanted, queue, {"free", "locked"})


def test_of_equal_leads_the_first_id_is_first(store: Store, plain: Connection[TupleRow]) -> None:
    """P17: the order is total."""
    add_agents(plain)
    for user_id in (9, 3, 7):
        add_lead(store, plain, user_id)
    assert [hold(store, agent).user_id for agent in (1, 2, 3)] == [9, 3, 7]


def test_a_lead_is_available_from_the_very_instant(store: Store, plain: Connection[TupleRow]) -> None:
    """P18: not a moment before, and not one after."""
    add_agents(plain)
    add_lead(store, plain, 7, available_from=LATER)
    with store.transaction() as cursor:
        assert claim(cursor, [1], LATER - timedelta(microseconds=1)) == []
        assert [item.user_id for item in claim(cursor, [1], LATER)] == [7]


def test_two_hundred_is_not_called_and_one_hundred_and_ninety_nine_is(
    store: Store, plain: Connection[TupleRow]
) -> None:
    """P24: it stays in the queue."""
    add_agents(plain)
    add_lead(store, plain, 7, score=200)
    add_lead(store, plain, 8, score=199)
    with store.transaction() as cursor:
        assert [item.user_id for item in claim(cursor, [1, 2])] == [8]
    assert rows(plain, "SELECT status FROM call_queue WHERE user_id = 7") == [("pending",)]


def test_what_is_claimed_says_all_that_the_desk_answers(store: Store, plain: Connection[TupleRow]) -> None:
    """P15, P19: the token is the stay's own, and greater than before."""
    add_agents(plain)
    add_lead(store, plain, 7, score=3)
    plain.execute("UPDATE call_queue SET lease_token = 4")
    plain.execute(
        "UPDATE user_call_scores SET total_attempts = 2, last_outcome = 'hung_up', last_call_at = %s", [TEN]
    )
    [(stay,)] = rows(plain, "SELECT id FROM call_queue")
    got = hold(store, 2)
    assert got == Assignment(
        got.id, 2, got.request_id, stay, 7, QueueType.UNSIGNED_USERS, "no_signature", 3, 5, TEN, TEN + LEASE,
        None, None, 2, "hung_up", TEN, None,
    )  # fmt: skip
    columns = "agent_id, call_queue_id, request_id, lease_token, priority_score, ended_at"
    assert rows(plain, f"SELECT {columns} FROM assignments") == [(2, stay, got.request_id, 5, 3, None)]


@pytest.fixture
def three(store: Store, plain: Connection[TupleRow]) -> Store:
    """Users 1, 2 and 3 wait in this order; agents 1, 2 and 3 are there."""
    add_agents(plain)
    for user_id in (1, 2, 3):
        add_lead(store, plain, user_id, score=user_id)
    return store


def raised(store: Store, agent: int, *queues: QueueType) -> int | None:
    """The user whose promised call this agent gets."""
    with store.transaction() as cursor:
        served = queues or tuple(QueueType)
        got = assignments.claim_raised(cursor, Asker(agent, "ask"), served, TEN, TEN + LEASE)
    return got.user_id if got else None


def test_an_accepted_call_comes_before_a_reserved_one_and_that_before_anybodys(
    three: Store, plain: Connection[TupleRow]
) -> None:
    """P26, P17: in the documented order, whatever the ids say."""
    raise_lead(plain, 1)
    raise_lead(plain, 2, agent=1)
    raise_lead(plain, 3, agent=1, score=-2000)
    got = []
    for _ in range(3):
        got.append(raised(three, 1))
        plain.execute(
            "UPDATE call_queue SET status = 'pending', assigned_to_agent_id = NULL, callback_id = NULL, "
            "reserved_for_agent_id = NULL WHERE status = 'assigned'"
        )
    assert got == [3, 2, 1]
    assert raised(three, 1) is None


def test_a_reserved_call_is_nobody_elses(three: Store, plain: Connection[TupleRow]) -> None:
    """P26, P27: and is their own whatever queues they serve."""
    raise_lead(plain, 1, agent=1)
    assert raised(three, 2) is None
    with three.transaction() as cursor:
        assert assignments.raised_for(cursor, [1, 2], TEN) == {1: True}
    assert raised(three, 1, QueueType.OUTSTANDING_REQUESTS) == 1


def test_anybodys_call_is_for_who_serves_its_queue(three: Store, plain: Connection[TupleRow]) -> None:
    """P26: as with leads."""
    raise_lead(plain, 1)
    assert raised(three, 2, QueueType.OUTSTANDING_REQUESTS) is None
    assert raised(three, 2, QueueType.UNSIGNED_USERS) == 1


def test_a_promised_call_is_not_early(three: Store, plain: Connection[TupleRow]) -> None:
    """P28: raised, and to be called in ten minutes: not now."""
    raise_lead(plain, 1, agent=1)
    place(plain, 1, -1000, TEN + timedelta(minutes=10))
    with three.transaction() as cursor:
        assert not assignments.telling_time(cursor, TEN)().is_any_raised
        assert assignments.telling_time(cursor, TEN + timedelta(minutes=10))().is_any_raised
    assert raised(three, 1) is None


def test_a_raised_lead_is_not_claimed_as_a_lead(three: Store, plain: Connection[TupleRow]) -> None:
    """P17: it is served by its promise only, and hides nobody behind it."""
    raise_lead(plain, 1, agent=2)
    assert hold(three, 1).user_id == 2


def of(plain: Connection[TupleRow], agents: int) -> Plan:
    """What it costs to claim a lead each for so many of the agents."""
    parameters = {
        "queue_type": "unsigned_users",
        "not_called_from": NOT_CALLED_FROM,
        "now": TEN,
        "leads_max": agents,
        "lease_expires_at": TEN + LEASE,
        "agent_ids": list(range(1, agents + 1)),
        "request_ids": [str(number) for number in range(agents)],
    }
    return explain(plain, SQL["claim_leads"], parameters)


@pytest.fixture
def agents(database_on_either: str) -> Iterator[Connection[TupleRow]]:
    """A hundred agents to give leads to; on each server version: only 18 can skip through an index."""
    upgrade(database_on_either)
    with psycopg.connect(database_on_either, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO agents (id, name) SELECT number, 'an agent' FROM generate_series(1, 100) AS number"
        )
        yield connection


def test_a_claim_looks_at_the_leads_it_takes_and_not_at_the_backlog(agents: Connection[TupleRow]) -> None:
    """P17: 300 waiting leads or 30,000, a hundred times as many."""
    fill(agents, 300, score=1, available_from=TEN)
    few = [of(agents, size) for size in (1, 64)]
    fill(agents, 29_700, score=2, available_from=TEN - HOUR)
    many = [of(agents, size) for size in (1, 64)]
    for size, before, after in zip((1, 64), few, many, strict=True):
        assert not after.scanned_whole
        assert after.rows <= before.rows <= 8 * size + 8
        assert after.pages <= 1.3 * before.pages + 10


def test_a_claim_does_not_look_at_cooling_leads_in_front(agents: Connection[TupleRow]) -> None:
    """P17, P18: 20,000 better leads that cool, of five scores, cost a look at each score."""
    fill(agents, 20_000, score=10, available_from=TEN)
    before = [of(agents, size) for size in (1, 64)]
    for score in range(5):
        fill(agents, 4_000, score=score, available_from=LATER)
    for size, was, now in zip((1, 64), before, [of(agents, size) for size in (1, 64)], strict=True):
        assert now.rows <= was.rows + 2 * 5, size
        assert now.pages <= was.pages + size * 5 + 8 * 5, size


def test_a_claim_does_not_look_at_raised_leads(agents: Connection[TupleRow]) -> None:
    """P17: they have an index of their own."""
    fill(agents, 1_000, score=1, available_from=TEN)
    before = of(agents, 1)
    agents.execute(
        "INSERT INTO callbacks (user_id, queue_type, due_at, call_after) "
        "SELECT user_id, queue_type, %s, %s FROM call_queue ORDER BY id LIMIT 500",
        [TEN, TEN],
    )
    agents.execute(
        "UPDATE call_queue AS stay SET callback_id = callback.id, priority_score = -1000 "
        "FROM callbacks AS callback WHERE callback.user_id = stay.user_id"
    )
    agents.execute("VACUUM ANALYZE call_queue")
    assert of(agents, 1).rows <= before.rows


def test_each_asker_gets_the_lead_under_their_own_request(store: Store, plain: Connection[TupleRow]) -> None:
    """P20: asking again with the id finds it."""
    add_agents(plain)
    for user_id in (1, 2, 3):
        add_lead(store, plain, user_id)
    with store.transaction() as cursor:
        got = claim(cursor, [3, 1, 2])
    asked = {agent: f"take-{agent}-{TEN.isoformat()}" for agent in (3, 1, 2)}
    assert {item.agent_id: item.request_id for item in got} == asked
    assert dict(rows(plain, "SELECT agent_id, request_id FROM assignments")) == asked
