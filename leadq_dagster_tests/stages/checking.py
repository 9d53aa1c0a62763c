"""The conversion checks as the tests call them, and what else happens to the users they look at."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import dict_row

from leadq_dagster.domain.facts import UserFacts
from leadq_dagster.domain.provenance import Provenance, Source
from leadq_dagster.domain.queue_rule import QueueDecision, QueueType, Reason, decide_queue
from leadq_dagster.domain.windows import Window
from leadq_dagster.firm import schema
from leadq_dagster.replica.engine import Replica
from leadq_dagster.stages.admission import DiscoveryReport
from leadq_dagster.stages.conversions import ConversionReport, check_conversions
from leadq_dagster.stages.new_requirements import discover_new_requirements
from leadq_dagster.store.connection import Store
from leadq_dagster.store.queue import Move, clock, move_users
from leadq_dagster.store.scores import make_known
from leadq_dagster_tests.replica.rows import LONG_AGO, TEN, WINDOW, add, add_users, claim, requirement, user
from leadq_dagster_tests.stages.discovering import OVERLAP, Discovery

SIGNATURE, REQUIREMENTS = QueueType.UNSIGNED_USERS, QueueType.OUTSTANDING_REQUESTS
ASSETS = {SIGNATURE: "signature_conversions", REQUIREMENTS: "requirement_conversions"}
RECENT_ACTIVITY = timedelta(hours=48)
SIGNED = {"current_signature_file_id": "f"}
NOWHERE = QueueDecision(None, Reason.NOTHING_OUTSTANDING)


def check(
    on: Discovery,
    checked: QueueType = SIGNATURE,
    window: Window = WINDOW,
    *,
    store: Store | None = None,
    replica: Replica | None = None,
) -> ConversionReport:
    """Check one queue over `window` now."""
    return check_conversions(
        checked,
        window,
        replica=replica or on.replica,
        store=store or on.store,
        provenance=Provenance(ASSETS[checked], on.run_id),
        now=on.clock.now,
        overlap=OVERLAP,
        recent_activity=RECENT_ACTIVITY,
        batch_rows=3,
    )


def discover(on: Discovery, window: Window = WINDOW, overlap: timedelta = OVERLAP) -> DiscoveryReport:
    """Discover new requirements over `window` now."""
    return discover_new_requirements(
        window,
        replica=on.replica,
        store=on.store,
        provenance=Provenance("new_requirements", on.run_id),
        now=on.clock.now,
        overlap=overlap,
    )


def add_queued(on: Discovery, *rows: dict[str, Any]) -> None:
    """Users at the source, known to the store and in the queue where they belong by what the source says."""
    add_users(on.source.engine, *rows)
    users = on.replica.read_users([row["id"] for row in rows])
    pass_the_door(on, *on.replica.read_facts(users))


def add_requirement(on: Discovery, user_id: int, key: str = "a", **columns: Any) -> None:
    """A claim of the user with a requirement, both of long ago unless said otherwise."""
    long_ago = {"created_at": LONG_AGO, "updated_at": LONG_AGO}
    number = user_id * 100 + ord(key)
    add(on.source.engine, schema.claims, claim(number, user_id) | long_ago)
    row = requirement(f"{user_id}-{key}", number, **(long_ago | columns))
    add(on.source.engine, schema.claim_requirements, row)


def change_requirements(on: Discovery, user_id: int, **columns: Any) -> None:
    """Update every requirement of one user at the source."""
    requirements = schema.claim_requirements
    with on.source.engine.begin() as connection:
        connection.execute(
            requirements.update().where(requirements.c.id.like(f"{user_id}-%")).values(**columns)
        )


def pass_the_door(on: Discovery, *facts: UserFacts) -> None:
    """Make users known and put them where these facts say."""
    moves = [Move(each.user.user_id, decide_queue(each), None, each) for each in facts]
    with on.store.transaction() as cursor:
        make_known(cursor, [each.user for each in facts], on.clock.now)
        move_users(cursor, moves, Provenance("a_test", None), on.clock.now, seen_at=clock(cursor))


def remove(on: Discovery, user_id: int, by: Source) -> None:
    """Somebody closes the user's stay and knows nothing of the source."""
    with on.store.transaction() as cursor:
        moves = [Move(user_id, NOWHERE)]
        move_users(cursor, moves, Provenance("somebody", None, by), on.clock.now, seen_at=clock(cursor))


def call(on: Discovery, user_id: int, agent: int = 1, at: datetime = TEN, talk: int = 90) -> None:
    """A call that an agent had with the user; `at` is naive UTC like the source's times."""
    with psycopg.connect(on.store_url) as connection:
        connection.execute(
            "INSERT INTO agents (id, name) VALUES (%s, 'an agent') ON CONFLICT DO NOTHING", [agent]
        )
        connection.execute(
            "INSERT INTO call_sessions (id, user_id, agent_id, started_at, talk_time_seconds, direction, "
            "status) VALUES (%s, %s, %s, %s, %s, 'outbound', 'completed')",
            [f"{user_id}-{agent}-{at}", user_id, agent, at.replace(tzinfo=UTC), talk],
        )


def ledger(store_url: str, user_id: int | None = None) -> list[dict[str, Any]]:
    """The conversions, of one user or all, in the order in which they were recorded."""
    with psycopg.connect(store_url, row_factory=dict_row) as connection:
        found = connection.execute("SELECT * FROM conversions ORDER BY id").fetchall()
    return [row for row in found if user_id in (None, row["user_id"])]


def kinds(store_url: str, user_id: int | None = None) -> list[tuple[int, str]]:
    """Who converted to what, in the order in which it was recorded."""
    return [(row["user_id"], row["conversion_type"]) for row in ledger(store_url, user_id)]


def unsigned(user_id: int, **columns: Any) -> dict[str, Any]:
    return user(user_id, **columns)


def signed(user_id: int, **columns: Any) -> dict[str, Any]:
    return user(user_id, **(SIGNED | columns))
