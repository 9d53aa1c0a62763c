"""What agents do, as they say it themselves: their status, and that they are there."""

from dataclasses import dataclass
from datetime import datetime

from psycopg import Cursor
from psycopg.rows import TupleRow

from leadq_dagster.desk.refusals import refusal_of_agent
from leadq_dagster.store import agents, assignments
from leadq_dagster.store.agents import AgentStatus
from leadq_dagster.store.connection import Store


@dataclass
class Presence:
    """Statuses and heartbeats. Raises NotFoundError for unknown agents, ForbiddenError for inactive ones."""

    store: Store

    def set_status(self, agent_id: int, status: AgentStatus, now: datetime | None = None) -> AgentStatus:
        """The agent does this now. Said twice it is said once."""
        with self.store.transaction() as cursor:
            _demand(cursor, agent_id)
            agents.set_status(cursor, agent_id, status, assignments.clock(cursor, now)[0])
        return status

    def beat(self, agent_id: int, now: datetime | None = None) -> AgentStatus:
        """The agent is there; what they do, as the desk knows it.

        A sign of life changes no status: whom silence has put offline learns it from the answer.
        """
        with self.store.transaction() as cursor:
            status = _demand(cursor, agent_id)
            moment, _ = assignments.clock(cursor, now)
            agents.beat(cursor, agent_id, moment, is_online=status is not AgentStatus.OFFLINE)
        return status


def _demand(cursor: Cursor[TupleRow], agent_id: int) -> AgentStatus:
    agent = agents.lock(cursor, [agent_id]).get(agent_id)
    if refusal := refusal_of_agent(agent_id, agent):
        raise refusal
    assert agent is not None
    return agent.status
