"""Agents: tokens of which only a hash is kept, what they do, and when they were last heard of."""

from datetime import datetime, timedelta

import pytest
from psycopg import Connection
from psycopg.rows import TupleRow

from leadq_dagster.domain.errors import PermanentError
from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster.store import agents, assignments
from leadq_dagster.store.agents import Agent, AgentStatus, Identity, Role, token_hash
from leadq_dagster.store.assignments import Asker, EndReason
from leadq_dagster.store.connection import Store, open_store
from leadq_dagster_tests.store.converted import LATER, add_agents
from leadq_dagster_tests.store.leads import LEASE, add_lead, claim, hold, raise_lead
from leadq_dagster_tests.store.rows import TEN, rows

SECOND = timedelta(seconds=1)
DOING = "SELECT id, status, status_since, last_seen_at FROM agents ORDER BY id"
SESSIONS = "SELECT agent_id, started_at, last_heartbeat_at, ended_at FROM agent_sessions ORDER BY id"


def doing(plain: Connection[TupleRow], agent: int) -> tuple[str, datetime, datetime | None]:
    [row] = [rest for number, *rest in rows(plain, DOING) if number == agent]
    return row[0], row[1], row[2]


def set_status(store: Store, agent: int, status: str, now: datetime = TEN) -> None:
    with store.transaction() as cursor:
        agents.set_status(cursor, agent, AgentStatus(status), now)


def see(store: Store, agent: int, now: datetime) -> None:
    with store.transaction() as cursor:
        agents.mark_seen(cursor, [agent], now)


def test_a_token_finds_its_agent_and_the_store_keeps_only_its_hash(
    store: Store, plain: Connection[TupleRow]
) -> None:
    """P40: the hash is as long whatever the token, and another token is nobody's."""
    every = list(QueueType)
    with store.transaction() as cursor:
        agent = agents.add(cursor, "Ada", Role.SUPERVISOR, every, token_hash("s3cret"))
        known, unknown = token_hash("s3cret"), token_hash("s3cret ")
        ada = Identity(agent, "Ada", Role.SUPERVISOR, True)
        assert agents.by_tokens(cursor, [unknown, known, known]) == {known: ada}
        assert agents.lock(cursor, [agent, 404]) == {
            agent: Agent(agent, True, AgentStatus.OFFLINE, tuple(every))
        }
    assert b"s3cret" not in rows(plain, "SELECT token_hash FROM agents")[0][0]
    assert len(token_hash("")) == len(token_hash("s3cret" * 100)) == 32


def test_a_token_is_one_agents(store: Store) -> None:
    """P23, P40: and the refusal does not say whose."""
    with store.transaction() as cursor:
        agents.add(cursor, "Ada", Role.AGENT, [], token_hash("one"))
    with pytest.raises(PermanentError) as refusal, store.transaction() as cursor:
        agents.add(cursor, "Bea", Role.AGENT, [], token_hash("one"))
    assert str(refusal.value).endswith("refused, because one agent per token (agents)")


def test_agents_are_locked_for_the_transaction_and_in_the_order_of_their_ids(
    store: Store, store_url: str, plain: Connection[TupleRow]
) -> None:
    """P15, P20: two requests of one agent take turns, wherever they are served."""
    add_agents(plain)
    with open_store(store_url) as other, store.transaction() as cursor:
        assert list(agents.lock(cursor, [3, 1, 3, 2])) == [1, 2, 3]
        with other.transaction() as beside:
            free = beside.execute("SELECT id FROM agents FOR NO KEY UPDATE SKIP LOCKED").fetchall()
            refers = beside.execute("SELECT id FROM agents ORDER BY id FOR KEY SHARE SKIP LOCKED").fetchall()
    assert free == []
    assert refers == [(1,), (2,), (3,)], "others may write rows that refer to the agent"


@pytest.mark.parametrize(
    ("was", "without_a_lead", "with_one"),
    [
        ("available", "available", "on_call"),
        ("on_call", "available", "on_call"),
        ("offline", "available", "on_call"),
        ("break", "break", "on_call"),
    ],
)
def test_who_is_heard_of_is_on_a_call_exactly_while_holding_a_lead(
    store: Store, plain: Connection[TupleRow], was: str, without_a_lead: str, with_one: str
) -> None:
    """P26: routing goes by this; a break is ended by the agent, or by taking a lead."""
    add_agents(plain)
    add_lead(store, plain, 7)
    hold(store, 2)
    set_status(store, 1, was)
    set_status(store, 2, was)
    see(store, 1, LATER - LEASE)
    see(store, 2, TEN + SECOND)
    since = {True: TEN}
    assert doing(plain, 1) == (without_a_lead, since.get(was == without_a_lead, LATER - LEASE), LATER - LEASE)
    assert doing(plain, 2) == (with_one, since.get(was == with_one, TEN + SECOND), TEN + SECOND)


@pytest.mark.parametrize("was", ["available", "on_call", "offline", "break"])
@pytest.mark.parametrize("is_promised", [False, True], ids=["lead", "promised call"])
def test_who_is_given_a_lead_is_on_a_call_from_then_on(
    store: Store, plain: Connection[TupleRow], was: str, is_promised: bool
) -> None:
    """P26: and nobody else is touched."""
    add_agents(plain)
    add_lead(store, plain, 7)
    if is_promised:
        raise_lead(plain, 7)
    for agent in (1, 2):
        set_status(store, agent, was)
    beside, given_at = doing(plain, 1), TEN + SECOND
    with store.transaction() as cursor:
        if is_promised:
            asker, queues = Asker(2, "take"), list(QueueType)
            assert assignments.claim_raised(cursor, asker, queues, given_at, given_at + LEASE)
        else:
            assert claim(cursor, [2], given_at)
    assert doing(plain, 1) == beside
    assert doing(plain, 2) == ("on_call", TEN if was == "on_call" else given_at, given_at)


def test_who_held_a_lead_is_available_once_it_is_given_back_or_its_lease_has_run_out(
    store: Store, plain: Connection[TupleRow]
) -> None:
    """P19, P26: the lease ends at its instant, whether or not anybody has returned the lead yet."""
    add_agents(plain)
    add_lead(store, plain, 7)
    held = hold(store, 1)
    see(store, 1, TEN + LEASE - SECOND)
    assert doing(plain, 1)[0] == "on_call"
    see(store, 1, TEN + LEASE)
    assert doing(plain, 1)[:2] == ("available", TEN + LEASE)
    with store.transaction() as cursor:
        assignments.give_back(cursor, {held.id: TEN}, EndReason.RELEASED, TEN)
        agents.mark_seen(cursor, [1], LATER)
    assert doing(plain, 1) == ("available", TEN + LEASE, LATER)


def test_nobody_else_is_touched(store: Store, plain: Connection[TupleRow]) -> None:
    """P23: also by an empty list, and by an id that nobody has."""
    add_agents(plain)
    before = rows(plain, DOING)
    with store.transaction() as cursor:
        agents.mark_seen(cursor, [], LATER)
        agents.mark_seen(cursor, [404], LATER)
        agents.set_status(cursor, 3, AgentStatus.BREAK, LATER)
    assert rows(plain, DOING)[:2] == before[:2]


def test_a_session_lasts_from_the_first_sign_to_going_offline(
    store: Store, plain: Connection[TupleRow]
) -> None:
    """P26: one at a time; the next is another one."""
    add_agents(plain)
    for hours, status in enumerate(["available", "break", "available", "offline", "offline", "available"]):
        set_status(store, 1, status, TEN + hours * timedelta(hours=1))
    at = [TEN + hours * timedelta(hours=1) for hours in range(6)]
    assert rows(plain, SESSIONS) == [(1, at[0], at[2], at[3]), (1, at[5], at[5], None)]
    assert doing(plain, 1) == ("available", at[5], at[5])


def test_a_beat_that_comes_late_does_not_set_the_session_back(
    store: Store, plain: Connection[TupleRow]
) -> None:
    """P26: two requests of one agent may overtake each other."""
    add_agents(plain)
    set_status(store, 1, "available", LATER)
    with store.transaction() as cursor:
        agents.beat(cursor, 1, TEN, is_online=True)
    assert rows(plain, SESSIONS) == [(1, LATER, LATER, None)]
    set_status(store, 1, "offline", TEN)
    assert rows(plain, SESSIONS) == [(1, LATER, LATER, LATER)]


def test_who_is_silent_and_holds_nothing_goes_offline(store: Store, plain: Connection[TupleRow]) -> None:
    """P19, P26: not who was heard of at that very instant, not who has a lead, not who is offline already."""
    plain.execute("INSERT INTO agents (id, name) SELECT n, 'an agent' FROM generate_series(1, 6) AS n")
    add_lead(store, plain, 7)
    for agent, status in enumerate(["available", "break", "available", "on_call", "offline"], start=1):
        set_status(store, agent, status, TEN)
    plain.execute("UPDATE agents SET status = 'available' WHERE id = 6")
    see(store, 3, TEN + SECOND)
    hold(store, 4)
    with store.transaction() as cursor:
        assert sorted(agents.silence(cursor, TEN + SECOND, LATER)) == [1, 2, 6]
        assert agents.silence(cursor, TEN + SECOND, LATER) == []
    states = [status for _, status, *_ in rows(plain, DOING)]
    assert states == ["offline", "offline", "available", "on_call", "offline", "offline"]
    assert [(agent, ended) for agent, *_, ended in rows(plain, SESSIONS) if ended] == [(1, LATER), (2, LATER)]
    assert doing(plain, 1) == ("offline", LATER, TEN), "when the agent was heard of stays"


def test_who_is_asking_at_this_moment_is_not_silent(
    store: Store, store_url: str, plain: Connection[TupleRow]
) -> None:
    """P26: an agent whose request is being served is passed over, and not waited for."""
    add_agents(plain)
    set_status(store, 1, "available")
    with open_store(store_url) as other, other.transaction() as asking:
        agents.lock(asking, [1])
        with store.transaction() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '5s'")
            assert agents.silence(cursor, LATER, LATER) == []
