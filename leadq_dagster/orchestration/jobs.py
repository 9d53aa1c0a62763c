"""The jobs that assets run in: names that schedules, operators and the README rely on."""

from dagster import AssetsDefinition, define_asset_job
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

# What define_asset_job returns; Dagster does not export the type.
AssetJob = UnresolvedAssetJobDefinition

NEW_USERS_DISCOVERY = "new_users_discovery"


def new_users_discovery(new_users: AssetsDefinition) -> AssetJob:
    """The job of the asset `new_users`."""
    return define_asset_job(
        NEW_USERS_DISCOVERY,
        selection=[new_users],
        description="Finds the users created or changed at the source in an hour; queues the unsigned ones.",
    )
