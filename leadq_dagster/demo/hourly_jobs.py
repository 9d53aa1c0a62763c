"""The demo's main work: the four hourly jobs over every complete hour of the firm's history, by Dagster."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from dagster import AssetKey, AssetMaterialization, DagsterInstance

from leadq_dagster.domain.errors import PermanentError
from leadq_dagster.domain.windows import Window, join_touching
from leadq_dagster.orchestration.conversions import REQUIREMENT_CONVERSIONS, SIGNATURE_CONVERSIONS
from leadq_dagster.orchestration.discovery import NEW_REQUIREMENTS, NEW_USERS
from leadq_dagster.orchestration.hourly import HourlyStage

STAGES = (NEW_USERS, NEW_REQUIREMENTS, SIGNATURE_CONVERSIONS, REQUIREMENT_CONVERSIONS)
SINGLE_HOURS = 6
RANGE_LENGTH = timedelta(days=4)
RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
OF_THE_RUN = {"hours_of_run", "milliseconds", "replica_queries", "observed_until"}


@dataclass(frozen=True)
class Round:
    """A span of hours, and what of it each job has still to run, in the order in which the jobs go."""

    window: Window
    work: Sequence[tuple[HourlyStage, Window]]

    @property
    def hours(self) -> int:
        """Partitions to run."""
        return sum(1 for _, window in self.work for _ in window.hours())


@dataclass
class JobTally:
    """What the runs of one job came to: their numbers added up, and the reasons among them."""

    runs: int = 0
    hours: int = 0
    replica_queries: int = 0
    numbers: Counter[str] = field(default_factory=Counter)
    reasons: dict[str, Counter[str]] = field(default_factory=dict)

    def add(self, hours: Sequence[AssetMaterialization]) -> None:
        """Add one run by what its hours show."""
        self.runs += 1
        self.hours += len(hours)
        self.replica_queries += int(str(hours[0].metadata["replica_queries"].value))
        for hour in hours:
            for name, shown in hour.metadata.items():
                if isinstance(shown.value, int) and name not in OF_THE_RUN:
                    self.numbers[name] += shown.value
                elif isinstance(shown.value, Mapping):
                    self.reasons.setdefault(name, Counter()).update(shown.value)

    def as_json(self) -> dict[str, Any]:
        """One object; reasons are objects in it."""
        reasons = {name: dict(counts) for name, counts in self.reasons.items()}
        of_runs = {"runs": self.runs, "hours": self.hours, "replica_queries": self.replica_queries}
        return {**of_runs, **self.numbers, **reasons}


def missed_rounds(instance: DagsterInstance, complete: Window) -> list[Round]:
    """All that the four jobs have not run of this window."""
    missed = {}
    for stage in STAGES:
        done = instance.get_materialized_partitions(AssetKey(stage.name))
        missed[stage.name] = [hour for hour in complete.hours() if hour.partition_key not in done]
    return in_rounds(missed)


def in_rounds(missed: Mapping[str, Iterable[Window]]) -> list[Round]:
    """The missed hours of each asset, in rounds: the older ones by ranges, the last six one by one."""
    hours = sorted(set[Window]().union(*missed.values()))
    older = [part for span in join_touching(hours[:-SINGLE_HOURS]) for part in span.split(RANGE_LENGTH)]
    return [
        Round(window, [(stage, part) for stage in STAGES for part in _within(window, missed[stage.name])])
        for window in (*older, *hours[-SINGLE_HOURS:])
    ]


def run_round(instance: DagsterInstance, one: Round, tallies: Mapping[str, JobTally]) -> None:
    """Run the jobs over their parts of the round. Raises PermanentError when a run fails."""
    # Dagster reads the settings when this is imported; the demo has set them by now.
    from leadq_dagster.definitions import defs

    for stage, window in one.work:
        job = defs.resolve_job_def(stage.job_name)
        keys = [hour.partition_key for hour in window.hours()]
        if len(keys) == 1:
            result = job.execute_in_process(QUIET, instance, partition_key=keys[0], raise_on_error=False)
        else:
            tags = {RANGE_START_TAG: keys[0], RANGE_END_TAG: keys[-1]}
            result = job.execute_in_process(QUIET, instance, tags=tags, raise_on_error=False)
        if not result.success:
            raise PermanentError(f"{stage.job_name} failed over {window}: see run {result.run_id}")
        events = result.get_asset_materialization_events()
        tallies[stage.name].add([event.step_materialization_data.materialization for event in events])


def _within(window: Window, hours: Iterable[Window]) -> list[Window]:
    return join_touching(hour for hour in hours if hour.start in window)
