"""`release_expired_leases`: leads whose lease is over go back to the queue within a minute or two.

The sensor looks and asks for a run only where there is something to do: a run leaves 31 kB in Dagster's
storage. It works whether discovery is switched on or not: leases are the desk's.
"""

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

from leadq_dagster.opening import Databases, desk_terms
from leadq_dagster.orchestration.jobs import RELEASE_EXPIRED_LEASES
from leadq_dagster.orchestration.retries import Retries, mapped_failures
from leadq_dagster.store import leases
from leadq_dagster.store.leases import Due

INTERVAL_SECONDS = 60
# With connecting (10 s) below the 60 s after which Dagster gives a tick up and begins another beside it.
LOOK_SECONDS = 20
RUN_TAGS = {"dagster/max_runtime": "300"}
NOTHING_DUE = "no lease is over and no agent has gone silent"


def release_expired_leases_job(retries: Retries) -> JobDefinition:
    """The job: what one look at the leases did is its op's metadata. Twice at once is the same as once."""

    @op(description="Returns leads whose lease is over to the queue; puts silent agents offline.")
    def return_expired_leads(context: OpExecutionContext, databases: ResourceParam[Databases]) -> None:
        with mapped_failures(context, retries), databases.open_desk() as desk:
            expired = desk.expire()
        context.add_output_metadata(
            {"leads_returned": expired.leads_returned, "agents_offline": expired.agents_offline}
        )

    @job(name=RELEASE_EXPIRED_LEASES, description="Returns leads that agents have kept past their lease.")
    def release_expired_leases() -> None:
        return_expired_leads()

    return release_expired_leases


def expired_leases_sensor() -> SensorDefinition:
    """Looks every minute; a store that cannot be asked fails the tick, and is never a skip."""

    @sensor(
        name=RELEASE_EXPIRED_LEASES,
        job_name=RELEASE_EXPIRED_LEASES,
        default_status=DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=INTERVAL_SECONDS,
        description="Asks for release_expired_leases where a lease is over or an agent has gone silent.",
    )
    def look_at_leases(
        _context: SensorEvaluationContext, databases: ResourceParam[Databases]
    ) -> RunRequest | SkipReason:
        silence = desk_terms(databases.settings).agent_silence
        with (
            databases.open_store(timeout_seconds_max=LOOK_SECONDS) as store,
            store.transaction() as cursor,
        ):
            due = leases.look(cursor, silence)
        if due.first_lease_end is None and not due.is_any_agent_silent:
            return SkipReason(NOTHING_DUE)
        return RunRequest(run_key=run_key_of(due), tags=RUN_TAGS)

    return look_at_leases


def run_key_of(due: Due) -> str:
    """Dagster runs a key once: two ticks of one minute that see the same ask for one run.

    With the minute, so that what a failed run left is asked for again; and not the minute alone, which a
    clock that is set back would repeat.
    """
    ended = f"{due.first_lease_end:%Y-%m-%dT%H:%M:%S}" if due.first_lease_end else "silence"
    return f"{due.at:%Y-%m-%dT%H:%M}/{ended}"
