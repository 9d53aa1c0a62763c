"""The jobs that assets and checks run in: names that schedules, operators and the README rely on."""

from dagster import AssetChecksDefinition, AssetsDefinition, AssetSelection, define_asset_job
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

# What define_asset_job returns; Dagster does not export the type.
AssetJob = UnresolvedAssetJobDefinition

NEW_USERS_DISCOVERY = "new_users_discovery"
NEW_REQUIREMENTS_DISCOVERY = "new_requirements_discovery"
CHECK_UNSIGNED_CONVERSIONS = "check_unsigned_conversions"
CHECK_REQUIREMENTS_CONVERSIONS = "check_requirements_conversions"
CONVERSION_GAPS_CHECK = "conversion_gaps_check"
CALLBACK_HEALTH_CHECK = "callback_health_check"
CONVERSION_RECOVERY = "conversion_recovery"
QUEUE_RECONCILIATION = "queue_reconciliation"
RELEASE_EXPIRED_LEASES = "release_expired_leases"
DAILY_AGING = "daily_aging"
SCORES_CHECK = "scores_check"


def asset_job(name: str, asset: AssetsDefinition, description: str) -> AssetJob:
    """The job of this one asset, without its checks: they have a job of their own."""
    selection = AssetSelection.assets(asset).without_checks()
    return define_asset_job(name, selection=selection, description=description)


def checked_asset_job(name: str, asset: AssetsDefinition, description: str) -> AssetJob:
    """The job of this one asset with the checks that its own body answers, and no others on it."""
    own_checks = AssetSelection.checks(*asset.check_keys)
    selection = AssetSelection.assets(asset).without_checks() | own_checks
    return define_asset_job(name, selection=selection, description=description)


def check_job(name: str, checks: AssetChecksDefinition, description: str) -> AssetJob:
    """The job of these checks, without the assets they look at."""
    return define_asset_job(name, selection=AssetSelection.checks(checks), description=description)
