"""The queue against the rule, stay by stay and user by user: what was wrong is right, no more has moved."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from leadq_dagster.domain import queue_rule
from leadq_dagster.domain.errors import PermanentError, TransientError
from leadq_dagster.domain.provenance import Provenance, Source
from leadq_dagster.domain.queue_rule import QueueDecision, QueueType, Reason
from leadq_dagster.domain.reconciliation_tally import StayTally, UserTally
from leadq_dagster.firm import schema
from leadq_dagster.stages import reconciliation
from leadq_dagster.stages.everybody import EverybodyReport, admit_everybody
from leadq_dagster.stages.reconciliation import (
    Reconciliation,
    StaysReport,
    find_contradictions,
    lower_raised_stays,
    reconcile_stays,
)
from leadq_dagster.store.queue import Move, clock, move_users
from leadq_dagster_tests.replica.rows import add as add_rows
from leadq_dagster_tests.replica.rows import add_users, claim
from leadq_dagster_tests.stages.checking import (
    add_queued,
    add_requirement,
    change_requirements,
    kinds,
    ledger,
    pass_the_door,
    signed,
    unsigned,
)
from leadq_dagster_tests.stages.discovering import NOON, Discovery, at, change_user
from leadq_dagster_tests.stages.failing import Countdown, CutStore, KilledError, When
from leadq_dagster_tests.stages.stored import broken_promises, change, dump, nothing_changes, queues, reasons
from leadq_dagster_tests.stages.test_two_at_once import WatchedReplica

UNSIGNED, OUTSTANDING = "unsigned_users", "outstanding_requests"
# Ten and eleven have had their turn; what changes from eleven on is left to the jobs.
WORKED_UNTIL = NOON - timedelta(hours=1)
PAST_DOUBLES = 2**53 + 1
SUPPRESS = "UPDATE user_call_scores SET is_active = false, suppressed_reason = 'do_not_contact'"


def work(on: Discovery, **differing: Any) -> Reconciliation:
    made = Reconciliation(
        replica=on.replica,
        store=on.store,
        provenance=Provenance("call_queue", on.run_id, Source.RECONCILIATION),
        now=on.clock,
        worked_until=WORKED_UNTIL,
        batch_rows=3,
    )
    return replace(made, **differing)


def stays(on: Discovery, **differing: Any) -> StayTally:
    return reconcile_stays(work(on, **differing)).tally


def everybody(on: Discovery, **differing: Any) -> UserTally:
    return admit_everybody(work(on, **differing)).tally


def assign(on: Discovery, user_id: int, agent_id: int = 1) -> None:
    """The user's stay is with an agent, as the desk leaves it."""
    change(
        on.store_url,
        f"""
        INSERT INTO agents (id, name) VALUES ({agent_id}, 'an agent') ON CONFLICT DO NOTHING;
        UPDATE call_queue
        SET status = 'assigned', assigned_to_agent_id = {agent_id}, assigned_at = now(),
            lease_expires_at = now() + interval '5 minutes', lease_token = lease_token + 1
        WHERE user_id = {user_id} AND status = 'pending';
        INSERT INTO assignments (
            call_queue_id, agent_id, request_id, lease_token, priority_score, assigned_at, lease_expires_at
        )
        SELECT id, {agent_id}, 'a request', lease_token, priority_score, assigned_at, lease_expires_at
        FROM call_queue WHERE user_id = {user_id} AND status = 'assigned';
        """,
    )


def promise(on: Discovery, user_id: int, *, opens: bool) -> None:
    """A call is promised to a known user and raises their stay, or opens one for it."""
    with on.store.transaction() as cursor:
        if opens:
            decision = QueueDecision(QueueType.OUTSTANDING_REQUESTS, Reason.PROMISED_CALL)
            moves = [Move(user_id, decision)]
            move_users(cursor, moves, Provenance("a_test", None), NOON, seen_at=clock(cursor))
        cursor.execute(
            b"WITH promised AS (INSERT INTO callbacks (user_id, queue_type, due_at, call_after)"
            b" VALUES (%(user_id)s, 'outstanding_requests', %(now)s, %(now)s) RETURNING id)"
            b" UPDATE call_queue SET callback_id = promised.id, priority_score = -1000,"
            b" available_from = %(now)s FROM promised WHERE user_id = %(user_id)s AND status <> 'left'",
            {"user_id": user_id, "now": NOON},
        )


def close_callback(on: Discovery, user_id: int) -> None:
    change(
        on.store_url,
        "UPDATE callbacks SET status = 'cancelled', closed_at = now(), closed_reason = 'a test'"
        f" WHERE user_id = {user_id}",
    )


def behind_the_store_s_back(on: Discovery, statement: str) -> None:
    """A change that no constraint or trigger sees."""
    change(on.store_url, f"SET session_replication_role = replica; {statement}")


def live(on: Discovery) -> dict[int, tuple[str, int]]:
    """Queue and priority of every live stay."""
    rows = dump(on.store_url)["call_queue"]
    return {
        row["user_id"]: (row["queue_type"], row["priority_score"]) for row in rows if row["status"] != "left"
    }


@pytest.fixture
def drifted(discovery: Discovery) -> Discovery:
    """Eight in queues, and five of them belong elsewhere since long ago, which no hour has noticed."""
    add_queued(discovery, *(unsigned(n) for n in range(1, 7)))
    for user_id in (7, PAST_DOUBLES):
        add_requirement(discovery, user_id)
    add_queued(discovery, signed(7), signed(PAST_DOUBLES))
    source = discovery.source.engine
    change_user(source, 2, is_enabled=0)
    change_user(source, 3, current_signature_file_id="f", updated_at=at("09:10"))
    change_user(source, 4, current_signature_file_id="f", updated_at=at("09:20"))
    add_requirement(discovery, 4)
    add_rows(source, schema.claims, claim(50, 5, "Cancelled"))
    change_requirements(discovery, PAST_DOUBLES, status="approved", updated_at=at("09:40"))
    return discovery


def test_every_stay_is_where_the_rule_says_with_the_conversions_that_were_due(drifted: Discovery) -> None:
    """P1, P2, P5, P10, P12, P14: across pages; who is right is not touched."""
    right = [row for row in dump(drifted.store_url)["call_queue"] if row["user_id"] in (1, 6, 7)]
    tally = stays(drifted)
    assert queues(drifted.store_url) == {
        **{1: UNSIGNED, 2: None, 3: None, 4: OUTSTANDING, 5: None, 6: UNSIGNED, 7: OUTSTANDING},
        PAST_DOUBLES: None,
    }
    assert tally == StayTally(
        seen=8,
        right=3,
        moved={
            "user_disabled": 1,
            "nothing_outstanding": 2,
            "pending_requirements": 1,
            "all_claims_cancelled": 1,
        },
        converted=3,
    )
    assert {(row["user_id"], row["conversion_type"], row["source"]) for row in ledger(drifted.store_url)} == {
        (3, "signature_obtained", "reconciliation"),
        (4, "signature_obtained", "reconciliation"),
        (PAST_DOUBLES, "requirements_completed", "reconciliation"),
    }
    assert [row for row in dump(drifted.store_url)["call_queue"] if row["user_id"] in (1, 6, 7)] == right
    lines = [row for row in dump(drifted.store_url)["queue_transitions"] if row["actor"] == "call_queue"]
    assert {(row["user_id"], row["dagster_run_id"]) for row in lines} == {
        (n, "run-1") for n in (2, 3, 4, 5, PAST_DOUBLES)
    }
    assert broken_promises(drifted.store_url) == []


def test_twice_is_the_same_as_once(drifted: Discovery) -> None:
    """P8."""
    stays(drifted)
    nothing_changes(drifted.store_url, lambda: stays(drifted))
    assert stays(drifted) == StayTally(seen=4, right=4)


def test_a_rule_change_re_evaluates_everybody_who_is_queued(
    discovery: Discovery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P11: nobody changed at the source, so no hour would look at them."""
    for user_id in range(1, 6):
        add_requirement(discovery, user_id, type="proof_of_address" if user_id < 4 else "id_photo")
    add_queued(discovery, *(signed(n) for n in range(1, 6)))
    never = queue_rule.NEVER_COUNTED_TYPES | {"proof_of_address"}
    monkeypatch.setattr(queue_rule, "NEVER_COUNTED_TYPES", never)
    assert stays(discovery).moved == {"nothing_outstanding": 3}
    assert queues(discovery.store_url) == {1: None, 2: None, 3: None, 4: OUTSTANDING, 5: OUTSTANDING}
    monkeypatch.undo()
    assert everybody(discovery) == UserTally(seen=5, settled=2, entered=3, queued=3)
    assert set(queues(discovery.store_url).values()) == {OUTSTANDING}
    assert kinds(discovery.store_url) == []


def test_what_changed_since_the_hourly_jobs_had_their_turn_is_left_to_them(discovery: Discovery) -> None:
    """P6: the hour's own check detects the conversion and counts it; to find it first would be no drift."""
    add_queued(discovery, *(unsigned(n) for n in range(1, 5)), signed(5))
    add_requirement(discovery, 5)
    add_queued(discovery, signed(6))
    source = discovery.source.engine
    change_user(source, 1, current_signature_file_id="f", updated_at=at("10:59"))
    change_user(source, 2, current_signature_file_id="f", updated_at=at("11:00"))
    add_rows(source, schema.claims, claim(30, 3, "cancelled") | {"updated_at": at("11:30")})
    add_rows(source, schema.claims, claim(40, 4, "cancelled") | {"created_at": at("10:30")})
    add_users(source, unsigned(7, created_at=at("11:10")), unsigned(8, created_at=at("10:10")))
    assert stays(discovery) == StayTally(
        seen=4, right=0, moved={"nothing_outstanding": 1, "all_claims_cancelled": 1}, early=2, converted=1
    )
    assert kinds(discovery.store_url) == [(1, "signature_obtained")]
    tally = everybody(discovery)
    assert (tally.stored, tally.entered, tally.early) == (1, 1, 1)
    assert 7 not in queues(discovery.store_url)
    assert queues(discovery.store_url)[8] == UNSIGNED


def test_who_is_not_found_at_the_source_stays_and_is_counted(discovery: Discovery) -> None:
    """P4: on a replica that is being built again nobody is there, and nobody leaves."""
    add_queued(discovery, *(unsigned(n) for n in range(5)))
    with discovery.source.engine.begin() as connection:
        connection.execute(schema.users.delete())
    before = live(discovery)
    assert stays(discovery) == StayTally(seen=5, undecided=5)
    assert live(discovery) == before


def test_an_assigned_stay_is_not_touched_and_not_asked_about(drifted: Discovery) -> None:
    """P16: not even when its user has signed; the agent's outcome and the next reconciliation see to it."""
    assign(drifted, 3)
    before = [row for row in dump(drifted.store_url)["call_queue"] if row["user_id"] == 3]
    tally = stays(drifted)
    assert (tally.spared, sum(tally.moved.values())) == (1, 4)
    assert [row for row in dump(drifted.store_url)["call_queue"] if row["user_id"] == 3] == before
    assert (3, "signature_obtained") not in kinds(drifted.store_url)


def meanwhile(on: Discovery, do: Callable[[], object]) -> WatchedReplica:
    """A replica during whose answer something happens in the store."""
    return WatchedReplica(on.replica, do)


def test_one_taken_by_an_agent_while_the_source_is_asked_is_spared(discovery: Discovery) -> None:
    """P16."""
    add_queued(discovery, unsigned(1))
    change_user(discovery.source.engine, 1, is_enabled=0)
    replica = meanwhile(discovery, lambda: assign(discovery, 1))
    assert stays(discovery, replica=replica) == StayTally(seen=1, spared=1)
    assert queues(discovery.store_url) == {1: UNSIGNED}


def test_one_moved_by_later_knowledge_while_the_source_is_asked_stays_there(discovery: Discovery) -> None:
    """P3, P5: we judged by the row before the signature."""
    add_queued(discovery, unsigned(1))
    add_requirement(discovery, 1)
    change_user(discovery.source.engine, 1, is_enabled=0)

    def overtake() -> None:
        change_user(discovery.source.engine, 1, is_enabled=1, current_signature_file_id="f")
        pass_the_door(discovery, *discovery.replica.read_facts(discovery.replica.read_users([1])))

    assert stays(discovery, replica=meanwhile(discovery, overtake)) == StayTally(seen=1, overtaken=1)
    assert queues(discovery.store_url) == {1: OUTSTANDING}


def test_who_is_in_the_right_place_is_never_locked(drifted: Discovery) -> None:
    """P16, P17: the desk passes over what is locked, so a locked page would look like an empty queue."""
    with (
        closing(psycopg.connect(drifted.store_url)) as holder,
        psycopg.connect(drifted.store_url) as desk,
    ):
        seen: list[list[int]] = []

        def look() -> None:
            rows = desk.execute(
                "SELECT user_id FROM call_queue WHERE status = 'pending' ORDER BY user_id"
                " FOR NO KEY UPDATE SKIP LOCKED"
            ).fetchall()
            seen.append([user_id for (user_id,) in rows])
            desk.rollback()

        # Somebody holds the right ones for good: a reconciliation that wanted them would wait and fail.
        holder.execute("SELECT FROM call_queue WHERE user_id IN (1, 6, 7) FOR UPDATE")
        holder.execute("SELECT FROM user_call_scores WHERE user_id IN (1, 6, 7) FOR UPDATE")
        assert sum(stays(drifted).moved.values()) == 5
        holder.rollback()
        look()
    assert seen == [[1, 4, 6, 7]]


def test_a_promise_is_kept_and_who_owes_something_again_is_adopted(discovery: Discovery) -> None:
    """P29: nobody is taken out of a promised call because nothing is owed; who belongs there goes on as a
    lead."""
    add_queued(discovery, signed(1), signed(2), signed(3))
    for user_id in (1, 2, 3):
        promise(discovery, user_id, opens=True)
    add_requirement(discovery, 2)
    change_user(discovery.source.engine, 3, is_enabled=0)
    assert stays(discovery) == StayTally(seen=3, right=1, adopted=1, moved={"user_disabled": 1})
    assert reasons(discovery.store_url) == {1: "promised_call", 2: "pending_requirements"}
    assert live(discovery) == {1: (OUTSTANDING, -1000), 2: (OUTSTANDING, -1000)}


def test_a_stay_whose_callback_is_closed_goes_back_to_its_own_place(discovery: Discovery) -> None:
    """P27: it is not served for ever; one that was there for the call alone ends, or is a lead's by now."""
    add_requirement(discovery, 1)
    add_requirement(discovery, 4)
    add_queued(discovery, *(signed(n) for n in range(1, 6)))
    promise(discovery, 1, opens=False)
    promise(discovery, 4, opens=False)
    for user_id in (2, 3, 5):
        promise(discovery, user_id, opens=True)
    add_requirement(discovery, 3)
    change(discovery.store_url, "UPDATE user_call_scores SET outcome_penalty_score = 7 WHERE user_id = 1")
    for user_id in (1, 2, 3):
        close_callback(discovery, user_id)
    assert lower_raised_stays(discovery.store) == 3
    assert live(discovery)[1] == (OUTSTANDING, 7)
    assert live(discovery)[4] == live(discovery)[5] == (OUTSTANDING, -1000)
    assert stays(discovery) == StayTally(seen=5, right=3, adopted=1, moved={"promise_ended": 1})
    assert queues(discovery.store_url)[2] is None
    assert reasons(discovery.store_url)[3] == "pending_requirements"
    assert kinds(discovery.store_url) == []
    nothing_changes(discovery.store_url, lambda: (lower_raised_stays(discovery.store), stays(discovery)))


def test_a_raised_stay_that_is_with_an_agent_is_not_lowered(discovery: Discovery) -> None:
    """P16: the agent is on the phone; what comes of it ends the stay's raising."""
    add_queued(discovery, signed(1))
    promise(discovery, 1, opens=True)
    assign(discovery, 1)
    close_callback(discovery, 1)
    nothing_changes(discovery.store_url, lambda: lower_raised_stays(discovery.store))


PLANTED = {
    "user_and_stay_disagree": "UPDATE user_call_scores SET current_queue_type = NULL WHERE user_id = 1",
    "assignment_open_without_its_stay": "UPDATE call_queue SET status = 'pending' WHERE user_id = 2",
    "stay_assigned_without_open_assignment": (
        "UPDATE assignments SET ended_at = now(), end_reason = 'released'"
    ),
}


@pytest.mark.parametrize("kind", PLANTED)
def test_what_the_store_should_make_impossible_is_found_and_named(discovery: Discovery, kind: str) -> None:
    """P35, P15: planted behind the constraints' back."""
    add_queued(discovery, *(unsigned(n) for n in range(1, 5)))
    assign(discovery, 2)
    assert find_contradictions(discovery.store) == []
    behind_the_store_s_back(discovery, PLANTED[kind])
    (found,) = find_contradictions(discovery.store)
    assert (found.kind, found.rows, list(found.user_ids)) == (kind, 1, [1 if kind.startswith("user") else 2])


def test_a_user_said_to_be_queued_without_a_stay_is_found_too(discovery: Discovery) -> None:
    """P35: the reverse of the same."""
    add_queued(discovery, *(unsigned(n) for n in range(1, 15)))
    behind_the_store_s_back(
        discovery, "UPDATE call_queue SET status = 'left', left_at = now(), left_reason = 'a test'"
    )
    (found,) = find_contradictions(discovery.store)
    assert (found.kind, found.rows, list(found.user_ids)) == ("user_and_stay_disagree", 14, [*range(1, 11)])


def test_everybody_who_no_hour_finds_is_found(discovery: Discovery) -> None:
    """P7, P9, P10, P22: undated, from before the first partition, committed late, won back unseen."""
    undated = {"created_at": None, "updated_at": None}
    add_queued(discovery, unsigned(1), signed(2), signed(3, status="cancelled"), unsigned(4))
    source = discovery.source.engine
    add_requirement(discovery, 2)
    change_user(source, 3, status="active", current_signature_file_id=None)
    add_users(
        source,
        unsigned(5, **undated),
        signed(6, **undated),
        unsigned(7, created_at=datetime(1999, 1, 1), updated_at=None),
        unsigned(8, is_enabled=0),
        unsigned(PAST_DOUBLES),
    )
    assert everybody(discovery) == UserTally(seen=9, settled=2, refused=1, stored=4, entered=2, queued=5)
    assert queues(discovery.store_url) == {
        **{1: UNSIGNED, 2: OUTSTANDING, 3: UNSIGNED, 4: UNSIGNED, 5: UNSIGNED, 6: None, 7: UNSIGNED},
        PAST_DOUBLES: UNSIGNED,
    }
    assert broken_promises(discovery.store_url) == []
    nothing_changes(discovery.store_url, lambda: everybody(discovery))
    assert everybody(discovery) == UserTally(seen=9, settled=7, right=1, refused=1)


def test_a_suppressed_user_stays_suppressed(discovery: Discovery) -> None:
    """P22: whatever the source says, and however often everybody is looked at."""
    add_queued(discovery, signed(1), signed(2))
    change(discovery.store_url, f"{SUPPRESS} WHERE user_id = 1")
    change_user(discovery.source.engine, 1, current_signature_file_id=None)
    change_user(discovery.source.engine, 2, current_signature_file_id=None)
    assert everybody(discovery) == UserTally(seen=2, settled=1, entered=1, queued=1)
    assert queues(discovery.store_url) == {1: None, 2: UNSIGNED}


def test_one_suppressed_while_the_source_is_asked_does_not_enter(discovery: Discovery) -> None:
    """P22."""
    add_queued(discovery, signed(1))
    change_user(discovery.source.engine, 1, current_signature_file_id=None)
    replica = meanwhile(discovery, lambda: change(discovery.store_url, SUPPRESS))
    assert everybody(discovery, replica=replica) == UserTally(seen=1, overtaken=1)
    assert queues(discovery.store_url) == {1: None}


def test_a_reconciliation_cut_off_midway_goes_on_where_it_was(drifted: Discovery) -> None:
    """P8: from a user's id on, and what was done before stays done."""
    whole = stays(drifted)
    assert whole.seen == 8
    assert reconcile_stays(work(drifted), after_user_id=4) == StaysReport(StayTally(2, right=2), 7)
    assert reconcile_stays(work(drifted), after_user_id=7) == StaysReport(StayTally(), 7)
    assert admit_everybody(work(drifted), after_user_id=4).tally.seen == 4
    assert admit_everybody(work(drifted), after_user_id=PAST_DOUBLES) == EverybodyReport(
        UserTally(), PAST_DOUBLES
    )


@pytest.mark.parametrize("when", ["after the statement", "after the commit"])
def test_killed_at_any_step_it_raises_and_another_one_ends_in_the_same_state(
    drifted: Discovery, when: When
) -> None:
    """P6, P8: never a partial success; the state is that of one that ran through."""
    add_users(drifted.source.engine, unsigned(8, created_at=None), unsigned(9))
    at_step, ends = 1, 0
    while True:
        countdown = Countdown(at_step)
        store = CutStore(drifted.store, drifted.store_url, when, countdown)
        try:
            reconcile_stays(work(drifted, store=store))
            admit_everybody(work(drifted, store=store))
        except (TransientError, KilledError):
            ends += 1
        else:
            if not countdown.is_over:
                break
        at_step += 1
    assert ends > 10
    assert broken_promises(drifted.store_url) == []
    nothing_changes(drifted.store_url, lambda: (stays(drifted), everybody(drifted)))
    assert len(kinds(drifted.store_url)) == 3


def test_progress_tells_how_much_there_is(drifted: Discovery) -> None:
    """P8."""
    told: list[tuple[int, int]] = []
    reconcile_stays(work(drifted), progress=lambda done, total: told.append((done, total)))
    assert told == [(3, 8), (6, 8), (8, 8)]


def test_a_source_that_cannot_be_asked_is_no_answer(drifted: Discovery) -> None:
    """P4, P35: nothing is moved, and it is not said that nothing was wrong."""
    add_users(drifted.source.engine, unsigned(9))
    schema.claims.drop(drifted.source.engine)
    before = live(drifted)
    with pytest.raises(PermanentError):
        stays(drifted)
    with pytest.raises(PermanentError):
        everybody(drifted)
    assert live(drifted) == before


def test_a_tally_that_does_not_balance_is_refused() -> None:
    """P14."""
    with pytest.raises(PermanentError, match="does not balance"):
        StayTally(seen=3, right=1, moved={"user_disabled": 1})
    with pytest.raises(PermanentError, match="does not balance"):
        UserTally(seen=1)
    both = StayTally(2, moved={"a": 1}, spared=1) + StayTally(2, moved={"a": 1, "b": 1})
    assert (both.seen, both.moved) == (4, {"a": 2, "b": 1})


def test_more_movers_than_are_locked_at_a_time_all_move(
    discovery: Discovery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P8: in one page, several transactions."""
    monkeypatch.setattr(reconciliation, "MOVES_MAX", 2)
    add_queued(discovery, *(unsigned(n) for n in range(7)))
    with discovery.source.engine.begin() as connection:
        connection.execute(schema.users.update().values(is_enabled=0))
    assert stays(discovery, batch_rows=100) == StayTally(seen=7, moved={"user_disabled": 7})
    assert live(discovery) == {}
