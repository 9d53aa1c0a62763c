"""The agents: who they are, what they do, and when they were last heard of."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Final, NamedTuple

from psycopg import Cursor
from psycopg.rows import TupleRow

from leadq_dagster.domain.queue_rule import QUEUES, QueueType
from leadq_dagster.named_sql import queries
from leadq_dagster.store.connection import Later

SQL = queries("agents")


class AgentStatus(StrEnum):
    """What an agent is doing."""

    AVAILABLE = "available"
    ON_CALL = "on_call"
    BREAK = "break"
    OFFLINE = "offline"


STATUSES: Final = {status.value: status for status in AgentStatus}


class Role(StrEnum):
    """What a token allows: an agent acts as itself, a supervisor also looks at everything."""

    AGENT = "agent"
    SUPERVISOR = "supervisor"


class Agent(NamedTuple):
    """An agent, locked for this transaction; `queues` are those they serve, the preferred one first."""

    id: int
    is_active: bool
    status: AgentStatus
    queues: tuple[QueueType, ...]


@dataclass(frozen=True)
class Identity:
    """Whom a token belongs to."""

    agent_id: int
    name: str
    role: Role
    is_active: bool


def token_hash(token: str) -> bytes:
    """What is stored of a token: its SHA-256. A token is 32 random bytes, so no salt is needed."""
    return sha256(token.encode()).digest()


def locking(cursor: Cursor[TupleRow], agent_ids: Iterable[int]) -> Later[dict[int, Agent]]:
    """These agents, locked until the transaction ends, in the order of their ids; unknown ones are absent."""
    return Later(cursor, SQL["lock_agents"], {"agent_ids": sorted(set(agent_ids))}, _agents)


def lock(cursor: Cursor[TupleRow], agent_ids: Iterable[int]) -> dict[int, Agent]:
    """The same, waited for."""
    return locking(cursor, agent_ids)()


def _agents(rows: Cursor[TupleRow]) -> dict[int, Agent]:
    return {
        agent_id: Agent(agent_id, is_active, STATUSES[status], tuple([QUEUES[name] for name in allowed]))
        for agent_id, is_active, status, allowed in rows.fetchall()
    }


def add(
    cursor: Cursor[TupleRow], name: str, role: Role, queues: Sequence[QueueType], hashed_token: bytes
) -> int:
    """Make an agent; their id."""
    parameters = {"name": name, "role": role, "allowed_queues": list(queues), "token_hash": hashed_token}
    row = cursor.execute(SQL["insert_agent"], parameters).fetchone()
    assert row is not None
    agent_id: int = row[0]
    return agent_id


def by_tokens(cursor: Cursor[TupleRow], hashed_tokens: Sequence[bytes]) -> dict[bytes, Identity]:
    """Whose tokens have these hashes, by hash; nobody's are absent."""
    rows = cursor.execute(SQL["select_by_tokens"], {"token_hashes": list(hashed_tokens)})
    return {
        hashed: Identity(agent_id, name, Role(role), is_active)
        for hashed, agent_id, name, role, is_active in rows
    }


def mark_seen(cursor: Cursor[TupleRow], agent_ids: Sequence[int], now: datetime) -> None:
    """These agents have been heard of; those who hold a lead are on a call, the others are no longer."""
    cursor.execute(SQL["mark_seen"], {"agent_ids": list(agent_ids), "now": now})


def set_status(cursor: Cursor[TupleRow], agent_id: int, status: AgentStatus, now: datetime) -> None:
    """The agent does this now; going offline ends their session, anything else begins or goes on with one."""
    cursor.execute(SQL["set_status"], {"agent_id": agent_id, "status": status, "now": now})
    if status is AgentStatus.OFFLINE:
        cursor.execute(SQL["end_sessions"], {"agent_ids": [agent_id], "now": now})
    else:
        cursor.execute(SQL["beat_session"], {"agent_id": agent_id, "now": now})


def beat(cursor: Cursor[TupleRow], agent_id: int, now: datetime, *, is_online: bool) -> None:
    """The agent is there; while online their session goes on."""
    cursor.execute(SQL["mark_there"], {"agent_id": agent_id, "now": now})
    if is_online:
        cursor.execute(SQL["beat_session"], {"agent_id": agent_id, "now": now})


def silence(cursor: Cursor[TupleRow], heard_since: datetime, now: datetime) -> list[int]:
    """Put offline whoever was not heard of since and holds nothing; their ids."""
    rows = cursor.execute(SQL["silence_agents"], {"heard_since": heard_since, "now": now})
    silent = [agent_id for (agent_id,) in rows]
    if silent:
        cursor.execute(SQL["end_sessions"], {"agent_ids": silent, "now": now})
    return silent
