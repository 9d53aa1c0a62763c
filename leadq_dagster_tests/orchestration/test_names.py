"""Names that others rely on, written here once more: scripts, alerts, links and permissions go by them.

Literals on purpose. Whoever changes one of them changes it for everybody outside, too.
"""

from typing import Any

import pytest
from dagster import AssetCheckKey, AssetKey, Definitions, JobDefinition, TimeWindowPartitionsDefinition

from leadq_dagster.definitions import build_definitions
from leadq_dagster.settings import load_settings

# Job, its asset, its schedule and when that runs (UTC), its partitions.
OF_ASSETS = [
    ("new_users_discovery", "new_users", "new_users_discovery_hourly", "0 * * * *", "hourly"),
    (
        "new_requirements_discovery",
        "new_requirements",
        "new_requirements_discovery_hourly",
        "15 * * * *",
        "hourly",
    ),
    (
        "check_unsigned_conversions",
        "signature_conversions",
        "check_unsigned_conversions_hourly",
        "30 * * * *",
        "hourly",
    ),
    (
        "check_requirements_conversions",
        "requirement_conversions",
        "check_requirements_conversions_hourly",
        "45 * * * *",
        "hourly",
    ),
    ("daily_aging", "lead_scores", "daily_aging_daily", "0 2 * * *", "daily"),
    ("queue_reconciliation", "call_queue", "queue_reconciliation_hourly", "50 * * * *", "none"),
    ("conversion_recovery", "recovered_conversions", "conversion_recovery_daily", "30 4 * * *", "daily"),
]
# Job and its sensor, which looks every minute.
OF_SENSORS = [("route_callbacks", "due_callbacks"), ("release_expired_leases", "release_expired_leases")]
# Job, the checks that it makes, its schedule and when that runs.
OF_CHECKS = [
    (
        "conversion_gaps_check",
        {("signature_conversions", "conversion_gaps"), ("requirement_conversions", "conversion_gaps")},
        "conversion_gaps_check_hourly",
        "55 * * * *",
    ),
    (
        "scores_check",
        {("lead_scores", "scores_match_their_events")},
        "scores_check_daily",
        "30 2 * * *",
    ),
    (
        "callback_health_check",
        {("call_queue", "callback_health")},
        "callback_health_check_hourly",
        "10 * * * *",
    ),
]
OTHER_CHECKS = {("call_queue", "queue_drift")}
HOUSEKEEPING = ("dagster_housekeeping", "dagster_housekeeping_daily", "10 3 * * *")
SENSORS = {
    "due_callbacks",
    "release_expired_leases",
    "missing_conversions",
    "catch_up_new_users",
    "catch_up_new_requirements",
    "catch_up_signature_conversions",
    "catch_up_requirement_conversions",
    "catch_up_lead_scores",
}
SOURCE_TABLES = {("replica", "users"), ("replica", "claims"), ("replica", "claim_requirements")}
FREQUENCIES = {"hourly": "0 * * * *", "daily": "0 0 * * *"}


@pytest.fixture(scope="module")
def definitions() -> Definitions:
    """What Dagster knows by default."""
    return build_definitions(load_settings())


def job_named(definitions: Definitions, name: str) -> JobDefinition:
    return definitions.resolve_job_def(name)


def scheduled(definitions: Definitions, schedule: str) -> tuple[Any, str | None, str]:
    """When the schedule runs, by which clocks, and which job."""
    found = definitions.resolve_schedule_def(schedule)
    return found.cron_schedule, found.execution_timezone, found.job_name


def checks(keys: set[AssetCheckKey]) -> set[tuple[str, str]]:
    return {(key.asset_key.to_user_string(), key.name) for key in keys}


@pytest.mark.parametrize(("job", "asset", "schedule", "cron", "partitions"), OF_ASSETS)
def test_a_job_its_asset_its_schedule_and_its_partitions_have_their_names(
    definitions: Definitions, job: str, asset: str, schedule: str, cron: str, partitions: str
) -> None:
    """P36: a name that is gone is a job that does not run."""
    found = job_named(definitions, job)
    assert found.asset_layer.executable_asset_keys == {AssetKey([asset])}
    assert scheduled(definitions, schedule) == (cron, "UTC", job)
    spans = found.partitions_def
    if partitions == "none":
        assert spans is None
        return
    assert isinstance(spans, TimeWindowPartitionsDefinition)
    assert (spans.cron_schedule, spans.timezone) == (FREQUENCIES[partitions], "UTC")


@pytest.mark.parametrize(("job", "sensor"), OF_SENSORS)
def test_a_job_that_a_sensor_launches_and_the_sensor_have_their_names(
    definitions: Definitions, job: str, sensor: str
) -> None:
    """P36."""
    assert job_named(definitions, job).name == job
    found = definitions.resolve_sensor_def(sensor)
    assert (found.job_name, found.minimum_interval_seconds) == (job, 60)


@pytest.mark.parametrize(("job", "made", "schedule", "cron"), OF_CHECKS)
def test_a_job_of_checks_its_checks_and_its_schedule_have_their_names(
    definitions: Definitions, job: str, made: set[tuple[str, str]], schedule: str, cron: str
) -> None:
    """P35, P36."""
    assert checks(set(job_named(definitions, job).asset_layer.asset_graph.asset_check_keys)) == made
    assert scheduled(definitions, schedule) == (cron, "UTC", job)


def test_housekeeping_has_its_names(definitions: Definitions) -> None:
    job, schedule, cron = HOUSEKEEPING
    assert scheduled(definitions, schedule) == (cron, "UTC", job_named(definitions, job).name)


def test_there_are_these_assets_and_checks_and_no_others(definitions: Definitions) -> None:
    """P36: what is added is added to the lists above."""
    graph = definitions.resolve_asset_graph()
    assert {tuple(key.path) for key in graph.external_asset_keys} == SOURCE_TABLES
    assert {tuple(key.path) for key in graph.materializable_asset_keys} == {(row[1],) for row in OF_ASSETS}
    made = set.union(*(row[1] for row in OF_CHECKS)) | OTHER_CHECKS
    assert checks(set(graph.asset_check_keys)) == made


def test_there_are_these_jobs_schedules_and_sensors_and_no_others(definitions: Definitions) -> None:
    """P36."""
    everything = definitions.get_repository_def()
    jobs = {job.name for job in everything.get_all_jobs() if not job.name.startswith("__")}
    rows = (*OF_ASSETS, *OF_SENSORS, *OF_CHECKS, HOUSEKEEPING)
    assert jobs == {row[0] for row in rows}
    schedules = {row[2] for row in (*OF_ASSETS, *OF_CHECKS)} | {HOUSEKEEPING[1]}
    assert {schedule.name for schedule in everything.schedule_defs} == schedules
    assert {sensor.name for sensor in everything.sensor_defs} == SENSORS
