"""The composition root, the only module that Dagster loads: reads the settings once, connects to nothing."""

from dagster import Definitions, in_process_executor

from leadq_dagster.opening import Databases
from leadq_dagster.orchestration import jobs
from leadq_dagster.orchestration.callback_health import callback_health_check
from leadq_dagster.orchestration.callbacks import due_callbacks_sensor, route_callbacks_job
from leadq_dagster.orchestration.catch_up import (
    catch_up_condition,
    catch_up_sensor,
    daily_catch_up_condition,
)
from leadq_dagster.orchestration.conversion_gaps import conversion_gaps_check
from leadq_dagster.orchestration.conversions import REQUIREMENT_CONVERSIONS, SIGNATURE_CONVERSIONS
from leadq_dagster.orchestration.discovery import NEW_REQUIREMENTS, NEW_USERS
from leadq_dagster.orchestration.hourly import hourly_asset
from leadq_dagster.orchestration.housekeeping import housekeeping_job, housekeeping_schedule
from leadq_dagster.orchestration.lead_scores import lead_scores_asset, lead_scores_check
from leadq_dagster.orchestration.leases import expired_leases_sensor, release_expired_leases_job
from leadq_dagster.orchestration.missing_conversions import missing_conversions_sensor
from leadq_dagster.orchestration.partitions import daily_partitions, hourly_partitions
from leadq_dagster.orchestration.reconciliation import CALL_QUEUE, call_queue_asset
from leadq_dagster.orchestration.recovery import recovered_conversions_asset
from leadq_dagster.orchestration.retries import Retries
from leadq_dagster.orchestration.schedules import (
    daily_check_schedule,
    hourly_check_schedule,
    hourly_reconciliation_schedule,
    last_complete_day_schedule,
    last_complete_hour_schedule,
)
from leadq_dagster.orchestration.source_tables import source_tables
from leadq_dagster.settings import Settings, load_settings

HOURLY_STAGES = (NEW_USERS, NEW_REQUIREMENTS, SIGNATURE_CONVERSIONS, REQUIREMENT_CONVERSIONS)


def build_definitions(settings: Settings, retries: Retries | None = None) -> Definitions:
    """Everything Dagster shall know, for these settings.

    Steps run inside the run's process: they take seconds, and a process for each would double that.
    """
    retries = retries or Retries()
    return Definitions.merge(
        _hourly(settings, retries),
        _recovery(settings, retries),
        _callbacks(retries),
        _scores(settings, retries),
        _queue(settings, retries),
        _housekeeping(retries),
        Definitions(
            assets=source_tables(), resources={"databases": Databases(settings)}, executor=in_process_executor
        ),
    )


def _hourly(settings: Settings, retries: Retries) -> Definitions:
    """The four hourly stages, each with its job, schedule and catch-up, and what heals the last two."""
    start, enabled = settings.leadq_partitions_start, settings.smart_discovery_enabled
    hours = hourly_partitions(start)
    assets, stage_jobs, schedules = [], {}, []
    for stage in HOURLY_STAGES:
        catch_up = catch_up_condition(settings.leadq_catch_up_hours, stage.minute) if enabled else None
        asset = hourly_asset(stage, hours, catch_up, retries)
        job = jobs.asset_job(stage.job_name, asset, stage.job_description)
        assets.append(asset)
        stage_jobs[stage.name] = job
        schedules.append(
            last_complete_hour_schedule(job, minute=stage.minute, first_hour=start, enabled=enabled)
        )
    checked = {
        stage.name: stage_jobs[stage.name] for stage in (SIGNATURE_CONVERSIONS, REQUIREMENT_CONVERSIONS)
    }
    healing = missing_conversions_sensor(checked, first_hour=start, enabled=enabled)
    return Definitions(
        assets=assets,
        jobs=list(stage_jobs.values()),
        schedules=schedules,
        sensors=[*map(catch_up_sensor, assets), healing],
    )


def _recovery(settings: Settings, retries: Retries) -> Definitions:
    """The check for gaps in the ledger, and the daily sweep."""
    start, enabled = settings.leadq_partitions_start, settings.smart_discovery_enabled
    gaps = conversion_gaps_check(retries)
    gaps_job = jobs.check_job(
        jobs.CONVERSION_GAPS_CHECK, gaps, "Compares the ledger with the source over the last seven days."
    )
    recovered = recovered_conversions_asset(daily_partitions(start), retries)
    recovery_job = jobs.asset_job(
        jobs.CONVERSION_RECOVERY, recovered, "Judges every stay without a conversion, of any age."
    )
    return Definitions(
        assets=[recovered],
        asset_checks=[gaps],
        jobs=[gaps_job, recovery_job],
        schedules=[
            hourly_check_schedule(gaps_job, minute=55, enabled=enabled),
            last_complete_day_schedule(recovery_job, hour=4, minute=30, first_hour=start, enabled=enabled),
        ],
    )


def _scores(settings: Settings, retries: Retries) -> Definitions:
    """Daily ageing with its catch-up, and the check that every score is what its events make."""
    start, enabled = settings.leadq_partitions_start, settings.smart_discovery_enabled
    catch_up = daily_catch_up_condition(settings.leadq_catch_up_hours, hour=2) if enabled else None
    scores = lead_scores_asset(daily_partitions(start), catch_up, retries)
    check = lead_scores_check(retries)
    ageing_job = jobs.asset_job(
        jobs.DAILY_AGING, scores, "Brings the score of every live stay to the age it has at the day's end."
    )
    scores_job = jobs.check_job(
        jobs.SCORES_CHECK, check, "Recomputes every live score from its recorded events."
    )
    return Definitions(
        assets=[scores],
        asset_checks=[check],
        jobs=[ageing_job, scores_job],
        schedules=[
            last_complete_day_schedule(ageing_job, hour=2, minute=0, first_hour=start, enabled=enabled),
            daily_check_schedule(scores_job, hour=2, minute=30, enabled=enabled),
        ],
        sensors=[catch_up_sensor(scores)],
    )


def _queue(settings: Settings, retries: Retries) -> Definitions:
    """The queue compared with the rule each hour, and leads back from agents who kept them too long."""
    queue = call_queue_asset(retries)
    reconciliation = jobs.checked_asset_job(
        jobs.QUEUE_RECONCILIATION, queue, "Compares every live stay with the rule; moves who is wrong."
    )
    release = release_expired_leases_job(retries)
    # After the last hourly job, whose hour it then takes for done, and before the check on the ledger.
    schedule = hourly_reconciliation_schedule(
        reconciliation, CALL_QUEUE, minute=50, hour_of_everybody=3, enabled=settings.smart_discovery_enabled
    )
    return Definitions(
        assets=[queue],
        jobs=[reconciliation, release],
        schedules=[schedule],
        sensors=[expired_leases_sensor()],
    )


def _callbacks(retries: Retries) -> Definitions:
    """What brings promised calls to the front in time; the switch of discovery does not concern it."""
    health = callback_health_check(retries)
    health_job = jobs.check_job(
        jobs.CALLBACK_HEALTH_CHECK, health, "Looks how the last day's promised calls were kept."
    )
    return Definitions(
        asset_checks=[health],
        jobs=[route_callbacks_job(retries), health_job],
        schedules=[hourly_check_schedule(health_job, minute=10, enabled=True)],
        sensors=[due_callbacks_sensor()],
    )


def _housekeeping(retries: Retries) -> Definitions:
    job = housekeeping_job(retries)
    return Definitions(jobs=[job], schedules=[housekeeping_schedule(job)])


defs = build_definitions(load_settings())
