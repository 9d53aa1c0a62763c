"""Dagster keeps step events and planned checks for ever; this deletes what is stale of them.

All partitions stay as they are. The desk's remembered answers go too, once nobody will ask again.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from dagster import (
    DefaultScheduleStatus,
    JobDefinition,
    OpExecutionContext,
    ResourceParam,
    ScheduleDefinition,
    job,
    op,
)
from psycopg.rows import class_row

from leadq_dagster.databases import CONNECT_TIMEOUT_SECONDS, dagster_storage_url, plain_url
from leadq_dagster.domain.errors import PermanentError, TransientError
from leadq_dagster.named_sql import queries
from leadq_dagster.opening import Databases
from leadq_dagster.orchestration.retries import Retries, mapped_failures
from leadq_dagster.store import answers
from leadq_dagster.store.connection import Store

SQL = queries("dagster_events")
PAGE_ROWS = 5_000
STATEMENT_TIMEOUT = "60s"
# A dialler repeats a request within minutes; a week leaves room for one that was switched off.
ANSWERS_KEPT = timedelta(days=7)


@dataclass(frozen=True)
class Page:
    """What one page of the walk did, and whether there may be more to delete behind it."""

    deleted: int
    last_id: int | None
    goes_on: bool


def delete_old_step_events(url: str, older_than: datetime, page_rows: int = PAGE_ROWS) -> int:
    """Delete the step events before `older_than` (aware) from the Dagster storage at `url`; their number.

    Stops at the first page that is wholly younger. Raises as `_walk` does.
    """
    # Dagster writes naive UTC.
    naive = older_than.astimezone(UTC).replace(tzinfo=None)
    return _walk(url, SQL["delete_old_step_events"], {"older_than": naive, "page_rows": page_rows})


def delete_stale_planned_checks(url: str, page_rows: int = PAGE_ROWS) -> int:
    """Delete what ended runs over ranges left of the checks they carried along; how many rows.

    Raises as `_walk` does.
    """
    return _walk(url, SQL["delete_stale_planned_checks"], {"page_rows": page_rows})


def _walk(url: str, statement: str, parameters: dict[str, Any]) -> int:
    """Run the statement page by page; how many rows it deleted.

    Each page is a transaction of its own, so a run that is killed has lost nothing and begins again. Raises
    TransientError when the database fails on the way and PermanentError when it is not Dagster's.
    """
    deleted, after_id = 0, 0
    try:
        with (
            psycopg.connect(
                plain_url(url), autocommit=True, connect_timeout=CONNECT_TIMEOUT_SECONDS
            ) as connection,
            connection.cursor(row_factory=class_row(Page)) as cursor,
        ):
            cursor.execute("SELECT set_config('statement_timeout', %s, false)", [STATEMENT_TIMEOUT])
            while True:
                page = cursor.execute(statement, {**parameters, "after_id": after_id}).fetchone()
                if page is None or page.last_id is None:
                    return deleted
                deleted, after_id = deleted + page.deleted, page.last_id
                if not page.goes_on:
                    return deleted
    except psycopg.errors.UndefinedTable:
        raise PermanentError("DAGSTER_DATABASE_URL names a database without Dagster's tables") from None
    except psycopg.OperationalError as error:
        raise TransientError(f"Dagster's storage failed: {type(error).__name__}") from None


def delete_old_answers(store: Store, older_than: datetime, page_rows: int = PAGE_ROWS) -> int:
    """Delete the desk's answers given before then, page by page, each for itself; how many."""
    deleted = 0
    while True:
        with store.transaction() as cursor:
            page = answers.forget(cursor, older_than, page_rows)
        deleted += page
        if page < page_rows:
            return deleted


def housekeeping_job(retries: Retries) -> JobDefinition:
    """The job `dagster_housekeeping`."""

    @op(description="Deletes step events older than LEADQ_EVENT_RETENTION_DAYS from Dagster's own storage.")
    def delete_step_events(context: OpExecutionContext, databases: ResourceParam[Databases]) -> None:
        days = databases.settings.leadq_event_retention_days
        older_than = datetime.now(UTC) - timedelta(days=days)
        with mapped_failures(context, retries):
            deleted = delete_old_step_events(dagster_storage_url(databases.settings), older_than)
        context.add_output_metadata({"deleted": deleted, "older_than": older_than.isoformat()})

    @op(description="Deletes what backfills left for each partition and check in Dagster's own storage.")
    def delete_planned_checks(context: OpExecutionContext, databases: ResourceParam[Databases]) -> None:
        with mapped_failures(context, retries):
            deleted = delete_stale_planned_checks(dagster_storage_url(databases.settings))
        context.add_output_metadata({"deleted": deleted})

    @op(description="Deletes what the desk remembers of requests that nobody will repeat any more.")
    def forget_answers(context: OpExecutionContext, databases: ResourceParam[Databases]) -> None:
        older_than = datetime.now(UTC) - ANSWERS_KEPT
        with mapped_failures(context, retries), databases.open_store() as store:
            deleted = delete_old_answers(store, older_than)
        context.add_output_metadata({"deleted": deleted, "older_than": older_than.isoformat()})

    @job(name="dagster_housekeeping", description="Keeps Dagster's storage and the desk's memory bounded.")
    def dagster_housekeeping() -> None:
        delete_step_events()
        delete_planned_checks()
        forget_answers()

    return dagster_housekeeping


def housekeeping_schedule(job: JobDefinition) -> ScheduleDefinition:
    """Daily, in the quiet of the night (UTC)."""
    return ScheduleDefinition(
        name="dagster_housekeeping_daily",
        job=job,
        cron_schedule="10 3 * * *",
        execution_timezone="UTC",
        default_status=DefaultScheduleStatus.RUNNING,
    )
