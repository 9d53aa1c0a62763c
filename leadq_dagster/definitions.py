"""The composition root, the only module that Dagster loads: reads the settings once, connects to nothing."""

from dagster import AssetSelection, Definitions, in_process_executor

from leadq_dagster.orchestration.catch_up import catch_up_condition, catch_up_sensor
from leadq_dagster.orchestration.housekeeping import housekeeping_job, housekeeping_schedule
from leadq_dagster.orchestration.jobs import new_users_discovery
from leadq_dagster.orchestration.new_users import new_users_asset
from leadq_dagster.orchestration.partitions import hourly_partitions
from leadq_dagster.orchestration.resources import Databases
from leadq_dagster.orchestration.retries import Retries
from leadq_dagster.orchestration.schedules import last_complete_hour_schedule
from leadq_dagster.orchestration.source_tables import source_tables
from leadq_dagster.settings import Settings, load_settings


def build_definitions(settings: Settings, retries: Retries | None = None) -> Definitions:
    """Everything Dagster shall know, for these settings.

    Steps run inside the run's process: they take seconds, and a process for each would double that.
    """
    retries = retries or Retries()
    enabled = settings.smart_discovery_enabled
    catch_up = catch_up_condition(settings.leadq_catch_up_hours) if enabled else None
    new_users = new_users_asset(hourly_partitions(settings.leadq_partitions_start), catch_up, retries)
    discovery = new_users_discovery(new_users)
    housekeeping = housekeeping_job(retries)
    return Definitions(
        assets=[*source_tables(), new_users],
        jobs=[discovery, housekeeping],
        schedules=[
            last_complete_hour_schedule(
                discovery, minute=0, first_hour=settings.leadq_partitions_start, enabled=enabled
            ),
            housekeeping_schedule(housekeeping),
        ],
        sensors=[catch_up_sensor(AssetSelection.assets(new_users))],
        resources={"databases": Databases(settings)},
        executor=in_process_executor,
    )


defs = build_definitions(load_settings())
