"""Agents at work on the store: they call who is queued, and close stays without asking the source."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from psycopg import Cursor
from psycopg.rows import TupleRow

from leadq_dagster.domain.provenance import Provenance, Source
from leadq_dagster.domain.queue_rule import QueueDecision, Reason
from leadq_dagster.firm.calls import Call, place_call
from leadq_dagster.store import queue
from leadq_dagster.store.connection import Store
from leadq_dagster_tests.stages.discovering import Clock

AGENT_IDS = (1, 2, 3, 4)
# Each of them closes a stay on what it was told, before anybody has looked for a conversion.
REMOVERS = (
    Provenance("pre-call validation", None, Source.PRE_CALL_VALIDATION),
    Provenance("call completion", None, Source.OUTCOME),
    Provenance("an operator", None, Source.OPERATOR),
)
OPTED_OUT = 0.05

QUEUED = "SELECT user_id FROM user_call_scores WHERE current_queue_type IS NOT NULL ORDER BY user_id"
ANYBODY = "SELECT user_id FROM user_call_scores ORDER BY user_id"
INSERT_CALL = """
INSERT INTO call_sessions (
    id, agent_id, user_id, direction, status, started_at, ended_at, talk_time_seconds, created_at, updated_at
)
VALUES (%s, %s, %s, 'outbound', 'completed', %s, %s, %s, %s, %s)
"""
TELL_TALK = "UPDATE call_sessions SET talk_time_seconds = %s, updated_at = %s WHERE id = %s"
OPT_OUT = """
UPDATE user_call_scores SET is_active = false, suppressed_reason = 'do_not_contact'
WHERE user_id = ANY(%s) AND current_queue_type IS NULL
"""


@dataclass
class Agents:
    """Agents, and the records of their calls, some of which are still on their way."""

    store: Store
    rng: Random
    clock: Clock
    counted: Counter[str]
    _unrecorded: list[Call] = field(default_factory=list)
    _untold: list[Call] = field(default_factory=list)
    _calls: int = 0

    def sign_on(self) -> None:
        """Become known to the store."""
        with self.store.transaction() as cursor:
            for agent_id in AGENT_IDS:
                cursor.execute(
                    "INSERT INTO agents (id, name) VALUES (%s, %s)", (agent_id, f"agent {agent_id}")
                )

    def call(self, since: datetime, calls: int) -> None:
        """Call queued users between `since` and now, and now and then somebody who is in no queue."""
        queued, anybody = self._ids(QUEUED), self._ids(ANYBODY)
        for _ in range(calls if queued else 0):
            user_id = self.rng.choice(queued if self.rng.random() < 0.85 else anybody)
            seconds = self.rng.randrange(1, int((self.clock.now - since).total_seconds()))
            self._calls += 1
            started_at = since + timedelta(seconds=seconds)
            agent_id = self.rng.choice(AGENT_IDS)
            self._unrecorded.append(place_call(self.rng, self._calls, agent_id, user_id, started_at))

    def deliver(self) -> None:
        """Record what has arrived by now."""
        now = self.clock.now
        arrived = [call for call in self._unrecorded if call.recorded_at <= now]
        self._unrecorded = [call for call in self._unrecorded if call.recorded_at > now]
        told = [call for call in self._untold if call.talk_told_at <= now]
        self._untold = [call for call in self._untold if call.talk_told_at > now]
        self._untold += [call for call in arrived if call.talk_told_at > now]
        with self.store.transaction() as cursor:
            for call in arrived:
                self._insert(cursor, call)
            for call in told:
                cursor.execute(TELL_TALK, (call.talk_seconds, now, call.call_id))
        self.counted["talk times told late"] += len(told)

    def remove(self, user_ids: Sequence[int]) -> set[int]:
        """One of the removers closes the stays of these users, knowing nothing of the source; whose it were.

        Some of the users have opted out for good.
        """
        decision = QueueDecision(None, Reason.NOTHING_OUTSTANDING)
        moves = [queue.Move(user_id, decision) for user_id in user_ids]
        with self.store.transaction() as cursor:
            seen_at = queue.clock(cursor)
            moved = queue.move_users(
                cursor, moves, self.rng.choice(REMOVERS), self.clock.now, seen_at=seen_at
            )
            opted_out = [user_id for user_id in moved.queues if self.rng.random() < OPTED_OUT]
            cursor.execute(OPT_OUT, (opted_out,))
        assert moved.conversions == []
        return set(moved.queues)

    def _insert(self, cursor: Cursor[TupleRow], call: Call) -> None:
        now = self.clock.now
        talk = call.talk_seconds if call.talk_told_at <= now else None
        times = (call.started_at, call.ended_at)
        cursor.execute(INSERT_CALL, (call.call_id, call.agent_id, call.user_id, *times, talk, now, now))

    def _ids(self, statement: str) -> list[int]:
        with self.store.transaction() as cursor:
            return [user_id for (user_id,) in cursor.execute(statement).fetchall()]
