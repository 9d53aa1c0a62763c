"""Who may work at the desk: agents are made, given tokens, and revoked; never deleted, their calls remain."""

from dataclasses import dataclass
from datetime import datetime

from psycopg import Cursor
from psycopg.rows import TupleRow

from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster.named_sql import queries
from leadq_dagster.store.agents import AgentStatus, Role

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


def revoke(cursor: Cursor[TupleRow], agent_id: int, now: datetime) -> bool:
    """The agent may do nothing any more; False if there is no such agent."""
    return cursor.execute(SQL["set_inactive"], {"agent_id": agent_id, "now": now}).fetchone() is not None


def renew_token(cursor: Cursor[TupleRow], agent_id: int, hashed_token: bytes, now: datetime) -> bool:
    """The agent has this token now and no other, and is active; False if there is no such agent."""
    parameters = {"agent_id": agent_id, "token_hash": hashed_token, "now": now}
    return cursor.execute(SQL["set_token"], parameters).fetchone() is not None
