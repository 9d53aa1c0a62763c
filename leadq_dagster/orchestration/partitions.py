"""The hours of UTC as Dagster's partitions, and the way from a run's partitions to a window."""

from datetime import UTC, datetime
from typing import Protocol

from dagster import HourlyPartitionsDefinition, TimeWindow

from leadq_dagster.domain.windows import Window

# As Window.partition_key writes it.
KEY_FORMAT = "%Y-%m-%d-%H:%M"


class RunOfPartitions(Protocol):
    """What is needed of Dagster's context: the time that its partition, or its range of them, covers."""

    @property
    def partition_time_window(self) -> TimeWindow:
        """From the start of the first partition to the end of the last."""
        ...


def hourly_partitions(start: datetime) -> HourlyPartitionsDefinition:
    """Every complete hour since `start`, a full UTC hour."""
    return HourlyPartitionsDefinition(start_date=start, timezone="UTC", fmt=KEY_FORMAT)


def window_of_run(context: RunOfPartitions) -> Window:
    """The window of a run: an hour for one partition, for a range from its first hour to its last."""
    span = context.partition_time_window
    return Window(span.start.astimezone(UTC), span.end.astimezone(UTC))
