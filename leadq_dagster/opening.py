"""Opening what a process needs, by its settings: the databases, and the desk on them. Nothing opens at
load."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from zoneinfo import ZoneInfo

from leadq_dagster.databases import dagster_storage_url, replica_url, store_url
from leadq_dagster.desk.desk import AssignmentDesk
from leadq_dagster.desk.terms import CallingHours, DeskTerms
from leadq_dagster.replica import address
from leadq_dagster.replica.engine import Replica, open_replica
from leadq_dagster.settings import Settings, hours_of
from leadq_dagster.store.connection import Store, open_direct_store, open_store


class Databases:
    """Opens the replica and the store of these settings.

    Dagster's resource too, and so a plain object: the fields of a ConfigurableResource show in its UI. It
    opens nothing by itself: what fails inside an asset's body can ask for another try, what fails while
    Dagster sets up resources ends the run. A configured URL that cannot be meant raises RefusedError at once.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        if settings.replica_database_url is not None:
            address.replica_url(replica_url(settings))
        if settings.database_url is not None:
            store_url(settings)
        if settings.dagster_database_url is not None:
            dagster_storage_url(settings)

    def open_replica(self) -> Replica:
        """The replica, read only; close it or use it as a context manager."""
        settings = self.settings
        return open_replica(
            replica_url(settings),
            statement_timeout_seconds=settings.leadq_replica_timeout_seconds,
            time_zone=settings.leadq_replica_timezone,
            heartbeat_table=settings.leadq_heartbeat_table,
            heartbeat_server_id=settings.leadq_heartbeat_server_id,
            lag_allowance_seconds=settings.leadq_lag_allowance_seconds,
            batch_rows=settings.discovery_batch_size,
        )

    def open_store(self, *, timeout_seconds_max: int | None = None) -> Store:
        """The store; close it or use it as a context manager. A statement may take no longer than that."""
        seconds = self.settings.leadq_store_timeout_seconds
        return open_store(
            store_url(self.settings), statement_timeout_seconds=min(seconds, timeout_seconds_max or seconds)
        )

    @contextmanager
    def open_desk(self) -> Iterator[AssignmentDesk]:
        """The desk, with a store and a replica of its own: it waits for the replica as long as a call may
        wait."""
        settings = self.settings
        seconds = settings.leadq_validation_timeout_seconds
        with (
            open_replica(
                replica_url(settings),
                statement_timeout_seconds=seconds,
                connect_timeout_seconds=seconds,
                time_zone=settings.leadq_replica_timezone,
            ) as replica,
            open_direct_store(store_url(settings)) as store,
            AssignmentDesk(store, replica, desk_terms(settings)) as desk,
        ):
            yield desk


def desk_terms(settings: Settings) -> DeskTerms:
    """The terms that these settings give the desk."""
    start, end = hours_of(settings.leadq_calling_hours)
    return DeskTerms(
        lease=timedelta(seconds=settings.leadq_lease_seconds),
        lease_max=timedelta(seconds=settings.leadq_lease_max_seconds),
        skip_pause=timedelta(seconds=settings.leadq_skip_seconds),
        source_patience=timedelta(seconds=settings.leadq_validation_timeout_seconds),
        hands_out_unvalidated=settings.leadq_unvalidated_leads == "hand_out",
        agent_silence=timedelta(seconds=settings.leadq_agent_silence_seconds),
        callback_retry=timedelta(minutes=settings.leadq_callback_retry_minutes),
        callback_retries_max=settings.leadq_callback_retries_max,
        calling_hours=CallingHours(start, end, ZoneInfo(settings.leadq_calling_timezone)),
    )
