"""The databases as a resource of Dagster: opened when a stage needs them, never at load."""

from leadq_dagster.databases import dagster_storage_url, replica_url, store_url
from leadq_dagster.replica import address
from leadq_dagster.replica.engine import Replica, open_replica
from leadq_dagster.settings import Settings
from leadq_dagster.store.connection import Store, open_store


class Databases:
    """Opens the replica and the store of these settings.

    A plain object and not a ConfigurableResource, whose fields Dagster shows in its UI. It opens nothing by
    itself: what fails inside an asset's body can ask for another try, what fails while Dagster sets up
    resources ends the run. A configured URL that cannot be meant raises RefusedError at once.
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

    def open_store(self) -> Store:
        """The store; close it or use it as a context manager."""
        return open_store(
            store_url(self.settings), statement_timeout_seconds=self.settings.leadq_store_timeout_seconds
        )
