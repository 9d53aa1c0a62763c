"""To which hour of a run a conversion belongs."""

from collections.abc import Mapping

from leadq_dagster.domain.conversion_rule import decide_conversion
from leadq_dagster.domain.facts import UserFacts
from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster.domain.windows import Window


def conversion_hours(window: Window, facts: UserFacts, met_in: Window) -> dict[QueueType, Window]:
    """For a stay in each queue, the hour of the window in which its conversion would be counted.

    It is that of the source's time, or the nearest to it; a range may have met the user for another change.
    Where the source has no time, or there is no conversion, it is the hour in which the user was met.
    """
    hours = {}
    for queue in QueueType:
        due = decide_conversion(queue, facts)
        hours[queue] = window.nearest_hour(due.converted_at) if due and due.converted_at else met_in
    return hours


def keys_of(hours: Mapping[QueueType, Window]) -> dict[QueueType, str]:
    """The partitions of these hours."""
    return {queue: hour.partition_key for queue, hour in hours.items()}
