"""Callbacks in Dagster: the sensor `due_callbacks` looks each minute, the job `route_callbacks` routes."""

from hashlib import sha256

from dagster import (
    DefaultSensorStatus,
    JobDefinition,
    OpExecutionContext,
    ResourceParam,
    RunRequest,
    SensorDefinition,
    SensorEvaluationContext,
    SkipReason,
    job,
    op,
    sensor,
)

from leadq_dagster.desk.routing import Look, first_due
from leadq_dagster.opening import Databases, desk_terms
from leadq_dagster.orchestration.retries import Retries, mapped_failures

ROUTE_CALLBACKS = "route_callbacks"
DUE_CALLBACKS = "due_callbacks"
INTERVAL_SECONDS = 60
# With connecting (10 s) below the 60 s after which Dagster gives a tick up and begins another beside it.
LOOK_SECONDS = 20
# Somebody is waiting: it goes before other runs, and one that hangs is ended, so that the next goes on.
RUN_TAGS = {"dagster/max_runtime": "300", "dagster/priority": "10"}


def route_callbacks_job(retries: Retries) -> JobDefinition:
    """The job `route_callbacks`. Running it twice, or twice at once, does what running it once does."""

    @op(
        description="Brings promised calls that are near or overdue to the front, each for whom it should be."
    )
    def route_due_callbacks(context: OpExecutionContext, databases: ResourceParam[Databases]) -> None:
        with mapped_failures(context, retries), databases.open_desk() as desk:
            routed = desk.route_callbacks()
        context.add_output_metadata(vars(routed))

    @job(name=ROUTE_CALLBACKS, description="Routes the promised calls that are near or overdue.")
    def route_callbacks() -> None:
        route_due_callbacks()

    return route_callbacks


def due_callbacks_sensor() -> SensorDefinition:
    """Launches the job when there is something to route, and only then; a store that is down fails it."""

    @sensor(
        name=DUE_CALLBACKS,
        job_name=ROUTE_CALLBACKS,
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=DefaultSensorStatus.RUNNING,
        description="Looks for promised calls that are near, overdue, or reserved for an agent who has gone.",
    )
    def due_callbacks(
        _context: SensorEvaluationContext, databases: ResourceParam[Databases]
    ) -> RunRequest | SkipReason:
        with databases.open_store(timeout_seconds_max=LOOK_SECONDS) as store:
            look = first_due(store, desk_terms(databases.settings))
        if look is None:
            return SkipReason("no promised call is to be routed")
        return RunRequest(run_key=run_key_of(look), tags=RUN_TAGS)

    return due_callbacks


def run_key_of(look: Look) -> str:
    """Dagster runs a key once: two ticks that see the same within a minute ask for one run.

    Not the minute alone: a clock that is set back would repeat it, and nothing would be routed for as long.
    """
    ids = ",".join(str(callback.id) for callback in look.callbacks)
    return f"{look.now:%Y-%m-%dT%H:%M}/{sha256(ids.encode()).hexdigest()[:16]}"
