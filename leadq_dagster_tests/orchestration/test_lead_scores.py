"""`daily_aging` and the check on its asset, in Dagster."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from dagster import (
    AssetCheckEvaluation,
    AssetCheckSeverity,
    AssetKey,
    BackfillPolicy,
    DagsterEventType,
    DagsterInstance,
    Definitions,
    ExecuteInProcessResult,
    RunRequest,
)

from leadq_dagster.definitions import build_definitions
from leadq_dagster.orchestration import jobs
from leadq_dagster.orchestration.lead_scores import LEAD_SCORES, SCORES_MATCH_THEIR_EVENTS
from leadq_dagster.orchestration.retries import Retries
from leadq_dagster.orchestration.switch import SWITCHED_OFF
from leadq_dagster.settings import load_settings
from leadq_dagster.store.connection import open_store
from leadq_dagster_tests.orchestration.conftest import metadata_by_partition, rows, run_range
from leadq_dagster_tests.orchestration.test_catch_up import Daemon
from leadq_dagster_tests.orchestration.test_conversion_gaps import closed_port, is_loud
from leadq_dagster_tests.orchestration.test_schedules import tick
from leadq_dagster_tests.store.rows import UNSIGNED, know, move

KEY = AssetKey(LEAD_SCORES)
ENTERED_AT = datetime(2025, 6, 2, tzinfo=UTC)
DAY = timedelta(days=1)
SCORES = "SELECT user_id, current_score FROM user_call_scores ORDER BY user_id"


@pytest.fixture
def waiting(store_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """User 1 has been in the queue since the 2nd of June, user 2 since the 5th; there is no replica."""
    monkeypatch.setenv("DATABASE_URL", store_url)
    monkeypatch.setenv("REPLICA_DATABASE_URL", f"mysql://reader:secret@127.0.0.1:{closed_port()}/firm")
    with open_store(store_url) as store:
        know(store, [1, 2])
        move(store, [1], UNSIGNED, ENTERED_AT)
        move(store, [2], UNSIGNED, ENTERED_AT + 3 * DAY)
    return store_url


@pytest.fixture
def scoring(waiting: str) -> Definitions:
    return build_definitions(load_settings(), Retries(tries_max=2, first_wait_seconds=0.0))


def run_day(scoring: Definitions, instance: DagsterInstance, day: str) -> ExecuteInProcessResult:
    job = scoring.resolve_job_def(jobs.DAILY_AGING)
    return job.execute_in_process(instance=instance, partition_key=day, raise_on_error=False)


def check(scoring: Definitions, instance: DagsterInstance) -> ExecuteInProcessResult:
    job = scoring.resolve_job_def(jobs.SCORES_CHECK)
    return job.execute_in_process(instance=instance, raise_on_error=False)


def evaluation(result: ExecuteInProcessResult) -> tuple[AssetCheckEvaluation, dict[str, Any]]:
    assert result.success
    (found,) = result.get_asset_check_evaluations()
    return found, {name: value.value for name, value in found.metadata.items()}


def test_a_day_ages_every_live_stay_to_its_end_and_shows_the_tally(
    scoring: Definitions, instance: DagsterInstance, waiting: str
) -> None:
    """P14, P25: to the end of the partition; nothing is asked of the source."""
    assert run_day(scoring, instance, "2025-06-08").success
    assert rows(waiting, SCORES) == [(1, 5), (2, 0)]
    shown = metadata_by_partition(instance, LEAD_SCORES)["2025-06-08"]
    assert (shown["seen"], shown["aged"], shown["unchanged"], shown["left"]) == (2, 1, 1, 0)
    assert (shown["aged_by"], shown["days_of_run"]) == (5, 1)
    assert shown["aged_to"] == datetime(2025, 6, 9, tzinfo=UTC).timestamp()
    assert shown["milliseconds"] >= 0


def test_the_day_before_the_week_is_full_ages_nobody(
    scoring: Definitions, instance: DagsterInstance, waiting: str
) -> None:
    """P25."""
    assert run_day(scoring, instance, "2025-06-07").success
    assert rows(waiting, SCORES) == [(1, 0), (2, 0)]


def test_days_run_twice_late_or_backwards_end_in_the_same_scores(
    scoring: Definitions, instance: DagsterInstance, waiting: str
) -> None:
    """P25, P6."""
    for day in ("2025-06-12", "2025-06-08", "2025-06-12", "2025-06-03"):
        assert run_day(scoring, instance, day).success
        assert rows(waiting, SCORES) == [(1, 5), (2, 5)]
    assert rows(waiting, "SELECT count(*) FROM score_events") == [(2,)]


def test_a_range_of_days_is_one_ageing_to_its_end(
    scoring: Definitions, instance: DagsterInstance, waiting: str
) -> None:
    """P25, P6: after weeks of downtime."""
    assert run_range(scoring, instance, jobs.DAILY_AGING, "2025-06-02", "2025-06-22").success
    assert rows(waiting, SCORES) == [(1, 15), (2, 10)]
    assert rows(waiting, "SELECT count(*) FROM score_events") == [(2,)]
    shown = metadata_by_partition(instance, LEAD_SCORES)
    assert len(shown) == 21
    assert {(item["days_of_run"], item["seen"], item["aged"]) for item in shown.values()} == {(21, 2, 2)}


def test_a_range_is_one_run_and_lineage_begins_with_who_enters_the_queues(scoring: Definitions) -> None:
    node = scoring.resolve_asset_graph().get(KEY)
    assert node.backfill_policy == BackfillPolicy.single_run()
    assert node.parent_keys == {AssetKey("new_users"), AssetKey("new_requirements")}


def test_a_store_that_is_down_is_tried_again_and_fails_loudly(
    waiting: str, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P8, P36."""
    monkeypatch.setenv("DATABASE_URL", f"postgresql://leadq:secret@127.0.0.1:{closed_port()}/leadq")
    result = run_day(build_definitions(load_settings(), Retries(2, 0.0)), instance, "2025-06-08")
    assert not result.success
    restarted = [event for event in result.all_events if event.event_type is DagsterEventType.STEP_RESTARTED]
    assert len(restarted) == 2
    assert instance.get_materialized_partitions(KEY) == set()


def test_switched_off_it_does_nothing_and_says_so(
    waiting: str, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P41: job, check, schedules and catch-up."""
    monkeypatch.setenv("SMART_DISCOVERY_ENABLED", "false")
    off = build_definitions(load_settings())
    assert run_day(off, instance, "2025-06-08").success
    assert rows(waiting, SCORES) == [(1, 0), (2, 0)]
    assert instance.get_materialized_partitions(KEY) == set()
    (observation,) = instance.fetch_observations(KEY, limit=10).records
    assert observation.asset_observation is not None
    assert observation.asset_observation.description == SWITCHED_OFF
    is_loud(check(off, instance), retries=0)
    for schedule in ("daily_aging_daily", "scores_check_daily"):
        assert tick(instance, datetime(2025, 6, 9, 2, 30, tzinfo=UTC), schedule) == ([], SWITCHED_OFF)
    assert off.resolve_asset_graph().get(KEY).automation_condition is None


def test_the_schedules_run_once_for_the_day_that_ended_last_and_check_it_after(
    instance: DagsterInstance,
) -> None:
    """P36."""
    two = datetime(2025, 6, 9, 2, tzinfo=UTC)
    (request,), _ = tick(instance, two, "daily_aging_daily")
    assert (request.partition_key, request.run_key) == ("2025-06-08", "2025-06-08")
    (looking,), _ = tick(instance, two + timedelta(minutes=30), "scores_check_daily")
    assert isinstance(looking, RunRequest)
    assert looking.partition_key is None


@pytest.fixture
def daemon(instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Daemon:
    monkeypatch.setenv("LEADQ_CATCH_UP_HOURS", "120")
    return Daemon(instance, LEAD_SCORES)


MISSED = ["2025-06-04", "2025-06-05", "2025-06-06", "2025-06-07"]


def test_missed_days_are_asked_for_as_one_range(daemon: Daemon) -> None:
    """P6: of the last days, at the first look; the newest is the schedule's until a quarter past its hour."""
    assert daemon.look(ENTERED_AT + 7 * DAY + timedelta(hours=1)) == MISSED
    daemon.done(*MISSED)
    assert daemon.look(ENTERED_AT + 7 * DAY + timedelta(hours=2, minutes=14)) == []
    assert daemon.look(ENTERED_AT + 7 * DAY + timedelta(hours=2, minutes=15)) == ["2025-06-08"]


def test_a_day_that_keeps_failing_is_asked_for_once_an_hour(daemon: Daemon) -> None:
    """P8."""
    daemon.done(*MISSED)
    night = ENTERED_AT + 7 * DAY
    looks = [night + timedelta(minutes=10 * number) for number in range(36)]
    asked = [at for at in looks if daemon.look(at) == ["2025-06-08"]]
    assert [(at.hour, at.minute) for at in asked] == [(2, 20), (3, 20), (4, 20), (5, 20)]


def test_a_tick_of_the_day_before_does_not_ask_for_the_new_day_before_its_schedule(daemon: Daemon) -> None:
    """A daemon that was down over midnight."""
    daemon.done("2025-06-03", *MISSED)
    assert daemon.look(ENTERED_AT + 7 * DAY - timedelta(hours=2)) == []
    assert daemon.look(ENTERED_AT + 7 * DAY + timedelta(minutes=1)) == []


def test_the_check_passes_over_scores_that_are_what_their_events_make(
    scoring: Definitions, instance: DagsterInstance, waiting: str
) -> None:
    """P25."""
    assert run_day(scoring, instance, "2025-06-15").success
    found, told = evaluation(check(scoring, instance))
    assert found.passed
    assert (found.asset_key, found.check_name) == (KEY, SCORES_MATCH_THEIR_EVENTS)
    assert (told["checked"], told["wrong"]) == (2, 0)


def test_the_check_finds_a_planted_score_and_names_the_user(
    scoring: Definitions, instance: DagsterInstance, waiting: str
) -> None:
    """P25, P35: and passes again once it is put right."""
    plant = "UPDATE user_call_scores SET outcome_penalty_score = %s WHERE user_id = 2"
    with psycopg.connect(waiting, autocommit=True) as somebody:
        somebody.execute(plant, [7])
        found, told = evaluation(check(scoring, instance))
        assert not found.passed
        assert found.severity is AssetCheckSeverity.ERROR
        assert (told["checked"], told["wrong"]) == (2, 1)
        assert "| 2 | " in told["wrong_scores"]
        assert "the events add up to 0" in told["wrong_scores"]
        assert told["wrong_scores"].endswith("1 of 1")
        somebody.execute(plant, [0])
    assert evaluation(check(scoring, instance))[0].passed


@pytest.mark.parametrize("table", ["score_events", "call_queue"])
def test_a_check_that_cannot_read_is_no_answer(
    scoring: Definitions, instance: DagsterInstance, waiting: str, table: str
) -> None:
    """P35: could not check is not nothing found."""
    with psycopg.connect(waiting) as somebody:
        somebody.execute(f"ALTER TABLE {table} RENAME TO away".encode())
    is_loud(check(scoring, instance), retries=0)


def test_a_check_without_a_store_is_tried_again_and_is_no_answer(
    waiting: str, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P35."""
    monkeypatch.setenv("DATABASE_URL", f"postgresql://leadq:secret@127.0.0.1:{closed_port()}/leadq")
    is_loud(check(build_definitions(load_settings(), Retries(1, 0.0)), instance), retries=1)
