from datetime import UTC, datetime, timedelta

import pytest
from dagster import (
    DagsterInstance,
    DefaultSensorStatus,
    Definitions,
    RunRequest,
    build_sensor_context,
)

from leadq_dagster.definitions import build_definitions
from leadq_dagster.domain.windows import Window
from leadq_dagster.orchestration import jobs
from leadq_dagster.orchestration.missing_conversions import MISSING_CONVERSIONS
from leadq_dagster.orchestration.switch import SWITCHED_OFF
from leadq_dagster.settings import load_settings
from leadq_dagster_tests.orchestration.conftest import HOUR, NINE, Source, ledger, run_hours

pytestmark = pytest.mark.parametrize("replica_db", ["postgresql"], indirect=True)
YESTERDAY = Window.hour_of(datetime.now(UTC) - timedelta(days=1)).start


def look(definitions: Definitions, instance: DagsterInstance) -> tuple[list[RunRequest], str | None]:
    """What the sensor asks for, and why nothing if nothing."""
    context = build_sensor_context(instance=instance, repository_def=definitions.get_repository_def())
    data = definitions.resolve_sensor_def(MISSING_CONVERSIONS).evaluate_tick(context)
    return list(data.run_requests or []), data.skip_message


def check(definitions: Definitions, instance: DagsterInstance) -> str:
    """Run the check; the run's id."""
    job = definitions.resolve_job_def(jobs.CONVERSION_GAPS_CHECK)
    return job.execute_in_process(instance=instance, raise_on_error=False).run_id


@pytest.fixture
def gaps(source: Source, definitions: Definitions, instance: DagsterInstance) -> Source:
    """Three signatures in two neighbouring hours and one far from them, and one approval, all unnoticed."""
    for user_id in (1, 2, 3, 4):
        source.sign_up(user_id, NINE)
    source.sign_up(5, NINE, signature="file-5")
    source.ask_for_proof(5, NINE)
    assert run_hours(definitions, instance, jobs.NEW_USERS_DISCOVERY, NINE).success
    source.sign(1, YESTERDAY)
    source.sign(2, YESTERDAY + HOUR)
    source.sign(3, YESTERDAY + HOUR)
    source.sign(4, YESTERDAY - 5 * HOUR)
    source.approve(5, YESTERDAY)
    return source


def test_it_asks_once_per_check_for_each_unbroken_range_and_running_them_heals_the_gaps(
    gaps: Source, definitions: Definitions, instance: DagsterInstance, store_url: str
) -> None:
    """P6, P35."""
    run_id = check(definitions, instance)

    requests, _ = look(definitions, instance)

    keys = [Window.hour_of(YESTERDAY + n * HOUR).partition_key for n in (-5, 0, 1)]
    signatures, requirements = jobs.CHECK_UNSIGNED_CONVERSIONS, jobs.CHECK_REQUIREMENTS_CONVERSIONS
    assert [(request.job_name, asked_for(request)) for request in requests] == [
        (signatures, (keys[0], keys[0])),
        (signatures, (keys[1], keys[2])),
        (requirements, (keys[1], keys[1])),
    ]
    run_keys = [request.run_key for request in requests]
    assert len(set(run_keys)) == 3
    assert all(run_id in str(run_key) for run_key in run_keys)
    assert [request.run_key for request in look(definitions, instance)[0]] == run_keys

    for request in requests:
        job = definitions.resolve_job_def(str(request.job_name))
        assert job.execute_in_process(instance=instance, tags=dict(request.tags)).success
    assert [row[0] for row in ledger(store_url)] == [1, 2, 3, 4, 5]
    check(definitions, instance)
    assert look(definitions, instance) == ([], "the latest check found nothing that is missing")


def asked_for(request: RunRequest) -> tuple[str, str]:
    first, last = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
    return request.tags[first], request.tags[last]


def test_hours_before_the_first_partition_are_left_to_the_recovery(
    gaps: Source,
    definitions: Definitions,
    instance: DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Dagster would refuse a run of a partition that there is not."""
    check(definitions, instance)
    monkeypatch.setenv("LEADQ_PARTITIONS_START", YESTERDAY.isoformat())
    requests, _ = look(build_definitions(load_settings()), instance)
    assert len(requests) == 2


def test_without_a_result_it_asks_for_nothing_and_says_so(
    gaps: Source, definitions: Definitions, instance: DagsterInstance
) -> None:
    """P35: never checked, or not able to check, is not "nothing is missing"."""
    requests, skipped = look(definitions, instance)
    assert requests == []
    assert "signature_conversions: the latest check has no result" in str(skipped)

    gaps.beat(NINE)
    check(definitions, instance)
    assert look(definitions, instance) == ([], skipped)


def test_switched_off_it_asks_for_nothing_and_says_so(
    gaps: Source, definitions: Definitions, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P41."""
    check(definitions, instance)
    monkeypatch.setenv("SMART_DISCOVERY_ENABLED", "false")
    assert look(build_definitions(load_settings()), instance) == ([], SWITCHED_OFF)


def test_it_is_stopped_until_somebody_starts_it(definitions: Definitions) -> None:
    """The one switch."""
    sensor = definitions.resolve_sensor_def(MISSING_CONVERSIONS)
    assert sensor.default_status is DefaultSensorStatus.STOPPED
