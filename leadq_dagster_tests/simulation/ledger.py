"""The ledger held against the truth: after every step, and at the end."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from leadq_dagster.firm.calls import whose
from leadq_dagster.firm.truth import Truth
from leadq_dagster.store.connection import Store
from leadq_dagster_tests.simulation.agents import REMOVERS
from leadq_dagster_tests.simulation.hourly import hour_of_run
from leadq_dagster_tests.stages.stored import BROKEN_PROMISES

STAYS = """
SELECT stay.id, stay.user_id, stay.queue_type, stay.entered_at, stay.left_at, stay.left_reason,
    line.actor, coalesce(line.id, 0) AS line_id
FROM call_queue AS stay
LEFT JOIN queue_transitions AS line ON line.left_stay_id = stay.id
ORDER BY stay.id
"""
CONVERSIONS = "SELECT * FROM conversions ORDER BY id"
CALLS = "SELECT user_id, agent_id, started_at, talk_time_seconds FROM call_sessions"
NEVER_QUEUED = """
SELECT user_id FROM user_call_scores
WHERE is_active AND NOT EXISTS (SELECT FROM call_queue WHERE call_queue.user_id = user_call_scores.user_id)
"""
# What the other query leaves out: that leaving a stay is told once, and that conversions are of stays.
MORE_BROKEN_PROMISES = """
SELECT 'a closed stay without exactly one line that tells of leaving it', stay.user_id
FROM call_queue AS stay
LEFT JOIN queue_transitions AS line
    ON line.left_stay_id = stay.id AND line.user_id = stay.user_id
    AND line.from_queue_type = stay.queue_type AND line.happened_at = stay.left_at
WHERE stay.status = 'left'
GROUP BY stay.id, stay.user_id
HAVING count(line.id) <> 1
UNION ALL
SELECT 'a conversion of somebody else''s stay', conversion.user_id
FROM conversions AS conversion
JOIN call_queue AS stay ON stay.id = conversion.call_queue_id
WHERE (stay.user_id, stay.queue_type) <> (conversion.user_id, conversion.previous_queue_type)
"""


@dataclass
class Ledger:
    """What the store says, compared with what the firm showed when it was written."""

    store: Store
    truths: dict[datetime, Truth] = field(default_factory=dict)
    checked_conversions: int = 0
    checked_lines: int = 0

    def see(self, now: datetime, truth: Truth) -> None:
        """What the firm shows at this instant, kept until it has been checked."""
        self.truths[now] = truth.copy()

    def check_step(self) -> None:
        """Always: each new conversion is what the source showed, and nobody was let go without theirs."""
        for promise in (BROKEN_PROMISES, MORE_BROKEN_PROMISES):
            assert self._rows(promise) == []
        stays, recorded = self._rows(STAYS), self._rows(CONVERSIONS)
        of_stay = Counter(row.call_queue_id for row in recorded)
        assert [stay_id for stay_id, number in of_stay.items() if number > 1] == []
        signed = Counter(row.user_id for row in recorded if row.signature_obtained)
        assert [user_id for user_id, number in signed.items() if number > 1] == [], "signed twice"
        for row in recorded:
            if row.id > self.checked_conversions:
                self._check_conversion(row, stays)
        removers = {remover.actor for remover in REMOVERS}
        let_go = [stay for stay in stays if stay.line_id > self.checked_lines and stay.actor not in removers]
        for stay in let_go:
            shown = self._truths_since(stay.left_at)
            if all(truth.success_of(stay.user_id, stay.queue_type) for truth in shown):
                assert of_stay[stay.id] == 1, (
                    f"user {stay.user_id} left {stay.queue_type} without a conversion"
                )
        self.checked_conversions = max((row.id for row in recorded), default=0)
        self.checked_lines = max((stay.line_id for stay in stays), default=0)
        self.truths = {now: truth for now, truth in self.truths.items() if now == max(self.truths)}

    def missing(self) -> set[int]:
        """Users whose last stay in a queue has come to something that the ledger does not have."""
        truth = self.truths[max(self.truths)]
        of_stay = {row.call_queue_id for row in self._rows(CONVERSIONS)}
        last = _last_stays(self._rows(STAYS))
        due = {key: stay_id for key, stay_id in last.items() if truth.success_of(*key)}
        return {user_id for (user_id, _), stay_id in due.items() if stay_id not in of_stay}

    def forgotten(self) -> set[int]:
        """Known users who belong in a queue and have never been in one, though nobody suppressed them."""
        truth = self.truths[max(self.truths)]
        return {user_id for (user_id,) in self._rows(NEVER_QUEUED) if truth.queue_of(user_id)}

    def check_credit(self) -> None:
        """Each conversion is whose the calls say that it is, as far as they are recorded."""
        calls: defaultdict[int, list[tuple[int | None, datetime, int | None]]] = defaultdict(list)
        for user_id, agent_id, started_at, talk_seconds in self._rows(CALLS):
            calls[user_id].append((agent_id, started_at, talk_seconds))
        found = {
            row.id: (row.primary_agent_id, sorted(row.contributing_agents)) for row in self._rows(CONVERSIONS)
        }
        expected = {
            row.id: (primary, sorted(others))
            for row in self._rows(CONVERSIONS)
            for primary, others in [whose(calls[row.user_id], row.converted_at)]
        }
        assert found == expected

    def count(self, counted: Counter[str]) -> None:
        """What there is to see in this ledger at the end."""
        stays, recorded = {stay.id: stay for stay in self._rows(STAYS)}, self._rows(CONVERSIONS)
        of_user = Counter(row.user_id for row in recorded)
        actors = {remover.actor for remover in REMOVERS}
        counted["conversions"] += len(recorded)
        counted["two conversions of one user"] += sum(number > 1 for number in of_user.values())
        counted["both in one step"] += len(recorded) - len(
            {(row.user_id, row.detected_at) for row in recorded}
        )
        counted["credited"] += sum(row.primary_agent_id is not None for row in recorded)
        counted["shared"] += sum(bool(row.contributing_agents) for row in recorded)
        for row in recorded:
            stay = stays[row.call_queue_id]
            if stay.actor in actors:
                counted["closed by a remover before detection"] += 1
                counted[f"closed by {stay.actor}"] += 1
            elif stay.left_reason == "user_disabled" and stay.left_at < row.detected_at:
                counted["closed by disabling"] += 1
            counted["recovered by a sweep"] += row.source == "recovery"

    def _check_conversion(self, row: Any, stays: list[Any]) -> None:
        queue, detected_at = row.previous_queue_type, row.detected_at
        shown = [truth.success_of(row.user_id, queue) for truth in self._truths_since(detected_at)]
        told = {item: min(item.told_at or detected_at, detected_at) for item in shown if item}
        success = next((item for item, at in told.items() if at == row.converted_at), None)
        assert success, f"user {row.user_id} did not convert in {queue} at {row.converted_at}, but: {shown}"
        assert row.conversion_type == success.type
        assert success.happened_at <= row.converted_at or row.converted_at == detected_at
        before = [stay for stay in stays if stay.entered_at <= detected_at]
        last = {_last_stays(known).get((row.user_id, queue)) for known in (before, stays)}
        assert row.call_queue_id in last
        assert (row.signature_obtained, row.requirements_met) == (
            success.type == "signature_obtained",
            success.type == "requirements_completed",
        )
        if row.source == "recovery":
            assert row.partition_key is None
        else:
            assert row.source == "hourly_check"
            assert row.partition_key is not None
            # Where the source has no time, it is the hour in which the user was met.
            if success.told_at:
                assert row.partition_key == hour_of_run(row.dagster_run_id, row.converted_at)

    def _truths_since(self, instant: datetime) -> list[Truth]:
        """What the firm showed then, and after: a slow run reads later things than its own time."""
        assert instant in self.truths
        return [truth for now, truth in self.truths.items() if now >= instant]

    def _rows(self, statement: str) -> list[Any]:
        with self.store.transaction() as cursor:
            return list(cursor.execute(statement).fetchall())


def _last_stays(stays: list[Any]) -> dict[tuple[int, str], int]:
    """The last stay of each user in each queue; the list is in the order of ids."""
    return {(stay.user_id, stay.queue_type): stay.id for stay in stays}
