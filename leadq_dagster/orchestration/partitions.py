"""The hours and days of UTC as Dagster's partitions, and the way from a run's partitions to a window."""

from datetime import UTC, datetime
from typing import Protocol

from dagster import DailyPartitionsDefinition, HourlyPartitionsDefinition, TimeWindow

from leadq_dagster.domain.windows import Window

# As Window.partition_key writes it.
KEY_FORMAT = "%Y-%m-%d-%H:%M"
DAY_FORMAT = "%Y-%m-%d"


class RunOfPartitions(Protocol):
    """What is needed of Dagster's context: the time that its partition, or its range of them, covers."""

    @property
    def partition_time_window(self) -> TimeWindow:
        """From the start of the first partition to the end of the last."""
        ...


def hourly_partitions(start: datetime) -> HourlyPartitionsDefinition:
    """Every complete hour since `start`, a full UTC hour."""
    return HourlyPartitionsDefinition(start_date=start, timezone="UTC", fmt=KEY_FORMAT)


def daily_partitions(start: datetime) -> DailyPartitionsDefinition:
    """Every complete UTC day from that of `start` on."""
    midnight = start.replace(hour=0, minute=0)
    return DailyPartitionsDefinition(start_date=midnight, timezone="UTC", fmt=DAY_FORMAT)


def window_of_run(context: RunOfPartitions) -> Window:
    """The window of a run: an hour for one partition, for a range from its first hour to its last."""
    span = context.partition_time_window
    return Window(span.start.astimezone(UTC), span.end.astimezone(UTC))


def hour_of_key(key: str) -> Window:
    """The hour that this partition key names."""
    return Window.hour_of(datetime.strptime(key, KEY_FORMAT).replace(tzinfo=UTC))


def range_tags(window: Window) -> dict[str, str]:
    """The tags that make one run of the hours of the window."""
    hours = list(window.hours())
    return {
        "dagster/asset_partition_range_start": hours[0].partition_key,
        "dagster/asset_partition_range_end": hours[-1].partition_key,
    }
