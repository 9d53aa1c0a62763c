"""Who may work at the desk: agents are made, given tokens, and revoked; never deleted, their calls remain."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg import Cursor
from psycopg.rows import TupleRow

from leadq_dagster.domain.errors import NotFoundError, RefusedError
from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster.named_sql import queries
from leadq_dagster.store import agents, assignments
from leadq_dagster.store.agents import AgentStatus, Role
from leadq_dagster.store.connection import Store

SQL = queries("agents")


@dataclass(frozen=True)
class Enrolled:
    """An agent as operators see them."""

    id: int
    name: str
    role: Role
    is_active: bool
    status: AgentStatus
    status_since: datetime
    last_seen_at: datetime | None
    queues: tuple[QueueType, ...]


def everybody(cursor: Cursor[TupleRow]) -> list[Enrolled]:
    """All agents, those that were revoked too, in the order in which they came."""
    return [
        Enrolled(
            row[0],
            row[1],
            Role(row[2]),
            row[3],
            AgentStatus(row[4]),
            row[5],
            row[6],
            (*map(QueueType, row[7]),),
        )
        for row in cursor.execute(SQL["select_agents"])
    ]


def enrol(store: Store, name: str, role: Role, queues: Sequence[QueueType]) -> tuple[int, str]:
    """A new agent's id, and the token, of which only a hash is stored. Raises RefusedError without a name."""
    if not name.strip():
        raise RefusedError("give the agent a name, as it is to be shown")
    token = _token()
    with store.transaction() as cursor:
        return agents.add(cursor, name, role, queues, agents.token_hash(token)), token


def renew(store: Store, agent_id: int) -> str:
    """Another token for the agent instead of the old one; a revoked agent is active again.

    Raises NotFoundError.
    """
    token = _token()
    with store.transaction() as cursor:
        now, _ = assignments.clock(cursor, None)
        parameters = {"agent_id": agent_id, "token_hash": agents.token_hash(token), "now": now}
        _demand(agent_id, cursor.execute(SQL["set_token"], parameters).fetchone())
    return token


def revoke(store: Store, agent_id: int) -> None:
    """The agent may do nothing any more, from now on. Raises NotFoundError."""
    with store.transaction() as cursor:
        now, _ = assignments.clock(cursor, None)
        _demand(agent_id, cursor.execute(SQL["set_inactive"], {"agent_id": agent_id, "now": now}).fetchone())


def _token() -> str:
    # With a prefix, so that one that was pasted into the wrong place can be searched for.
    return f"leadq_{secrets.token_urlsafe(32)}"


def _demand(agent_id: int, row: TupleRow | None) -> None:
    if row is None:
        raise NotFoundError(f"there is no agent {agent_id}")
