"""How all known users stand: whatever the world, each in one class."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import timedelta

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg import Connection
from psycopg.rows import TupleRow

from leadq_dagster.domain.queue_rule import QueueDecision, QueueType, Reason
from leadq_dagster.store import standings
from leadq_dagster.store.connection import Store
from leadq_dagster.store.standings import Standings
from leadq_dagster_tests.store.converted import add_agents, judge, signed
from leadq_dagster_tests.store.leads import NOT_CALLED_FROM, add_lead, hold, place, raise_lead
from leadq_dagster_tests.store.rows import NOWHERE, TEN, UNSIGNED, know, move

HOUR = timedelta(hours=1)
STEPS = (
    "enter", "leave", "sign", "owe", "suppress", "cool", "cool longer", "too high", "too high and cooling",
    "raise", "hold", "raise and hold",
)  # fmt: skip
PROMISED = QueueDecision(QueueType.OUTSTANDING_REQUESTS, Reason.PROMISED_CALL)


@dataclass
class User:
    """What the test knows of a user: by the documents, in which class they stand."""

    user_id: int
    is_queued: bool = False
    has_converted: bool = False
    stands: str = "not_needed"

    def live(self, store: Store, plain: Connection[TupleRow], step: str) -> None:
        """Take one step that is open to them; others are passed over."""
        if self.stands in ("suppressed", "assigned", "promised"):
            return
        if not self.is_queued:
            if step == "suppress":
                plain.execute(
                    "UPDATE user_call_scores SET is_active = false, suppressed_reason = 'no_claim' "
                    "WHERE user_id = %s",
                    [self.user_id],
                )
                self.stands = "suppressed"
            elif step in ("enter", "owe"):
                move(store, [self.user_id], UNSIGNED if step == "enter" else PROMISED, TEN)
                place(plain, self.user_id, 0, TEN)
                self.is_queued, self.has_converted, self.stands = True, step == "owe", "waiting"
            return
        if step == "leave":
            move(store, [self.user_id], NOWHERE, TEN)
            self.is_queued, self.stands = False, "not_needed"
        elif step == "sign" and not self.has_converted:
            judge(store, signed(self.user_id), now=TEN)
            self.is_queued, self.stands = False, "converted"
        elif step in ("cool", "cool longer"):
            place(plain, self.user_id, 1, TEN + (1 if step == "cool" else 2) * HOUR)
            self.stands = "cooling"
        elif step.startswith("too high"):
            place(plain, self.user_id, 200, TEN + HOUR * step.endswith("cooling"))
            self.stands = "too_high"
        elif step.startswith("raise"):
            raise_lead(plain, self.user_id)
            self.stands = "promised"
        if step.endswith("hold"):
            plain.execute(
                "UPDATE call_queue SET status = 'assigned', assigned_to_agent_id = %s, assigned_at = %s, "
                "lease_expires_at = %s, lease_token = 1 WHERE user_id = %s AND status <> 'left'",
                [self.user_id, TEN, TEN, self.user_id],
            )
            self.stands = "assigned"


def count(store: Store) -> Standings:
    with store.transaction() as cursor:
        return standings.count(cursor, TEN, NOT_CALLED_FROM)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.sampled_from(STEPS), max_size=5), max_size=12))
@example([["enter", "sign", "enter", "leave"]])
@example([["enter", "leave", "enter", "sign"]])
def test_each_known_user_stands_in_exactly_one_class(
    store: Store, plain: Connection[TupleRow], lives: Sequence[Sequence[str]]
) -> None:
    """P24: by whatever way they came there, and the counts sum to all."""
    before = count(store)
    users = []
    for steps in lives:
        [(number,)] = plain.execute("SELECT count(*) + 1 FROM user_call_scores").fetchall()
        user = User(number)
        plain.execute("INSERT INTO agents (id, name) VALUES (%s, 'an agent')", [number])
        know(store, [number])
        for step in steps:
            user.live(store, plain, step)
        users.append(user)
    after = count(store)
    names = {field.name for field in fields(Standings)} - {"counted_at", "cooling_until", "known"}
    grown = {name: getattr(after, name) - getattr(before, name) for name in names}
    assert {name: number for name, number in grown.items() if number} == Counter(
        user.stands for user in users
    )
    assert sum(getattr(after, name) for name in names) == after.known == before.known + len(users)


def test_cooling_says_until_when_the_first_of_them_cools(store: Store, plain: Connection[TupleRow]) -> None:
    """P18, P24: not one who is raised, held or too high; None when nobody cools."""
    add_agents(plain)
    assert count(store) == Standings(TEN, 0, 0, 0, 0, 0, 0, 0, 0, 0, None)
    for user_id, hours in ((1, 3), (2, 2), (3, 1), (4, 1), (5, 0)):
        add_lead(store, plain, user_id, available_from=TEN + hours * HOUR)
    place(plain, 3, 200, TEN + HOUR)
    raise_lead(plain, 4)
    assert hold(store).user_id == 5
    counted = asdict(count(store))
    assert counted["cooling_until"] == TEN + 2 * HOUR
    assert {name: counted[name] for name in ("cooling", "too_high", "promised", "assigned", "waiting")} == {
        "cooling": 2, "too_high": 1, "promised": 1, "assigned": 1, "waiting": 0
    }  # fmt: skip
