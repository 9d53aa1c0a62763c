"""The switch SMART_DISCOVERY_ENABLED: off means that the hourly work does nothing, and says so."""

from collections.abc import Iterator

from dagster import AssetExecutionContext, AssetObservation

SWITCHED_OFF = "SMART_DISCOVERY_ENABLED is false: nothing was read, nothing was written"


def say_switched_off(context: AssetExecutionContext) -> Iterator[AssetObservation]:
    """Leave word in the run's log and among the asset's events, and materialise nothing.

    The partition stays missing, so it is filled once the switch is on again.
    """
    context.log.warning(SWITCHED_OFF)
    yield AssetObservation(context.asset_key, description=SWITCHED_OFF, metadata={"switched_off": True})
