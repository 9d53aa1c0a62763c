"""The demo from nothing to a running system: each step with its progress on the terminal."""

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dagster import DagsterInstance
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from leadq_dagster.databases import EMBEDDED_STORE
from leadq_dagster.demo.databases import application_engine, demo_databases
from leadq_dagster.demo.discovery import in_runs, missed_hours, run_discovery
from leadq_dagster.demo.history import live_until
from leadq_dagster.demo.serving import (
    begin_partitions,
    choose_ui_port,
    dagster_running,
    interruptible,
    living,
    make_dagster_home,
)
from leadq_dagster.demo.summary import Summary, summarise
from leadq_dagster.domain.errors import PermanentError
from leadq_dagster.domain.windows import Window, floor_to_hour
from leadq_dagster.embedded.ports import LOOPBACK
from leadq_dagster.embedded.postgres import EmbeddedPostgres
from leadq_dagster.firm.application import Application
from leadq_dagster.store import migrations
from leadq_dagster.store.connection import open_store


@dataclass(frozen=True)
class Wishes:
    """What the caller of the demo chose."""

    home: Path
    weeks: int
    once: bool
    as_json: bool
    port: int | None


def run_demo(wishes: Wishes) -> Summary:
    """Run the demo; returns after the summary with `once`, else when it is interrupted.

    Everything but the summary goes to standard error. Raises a LeadqError for what the text says.
    """
    console = Console(stderr=True)
    # Now, so that a busy port is told before minutes of work.
    port = None if wishes.once else choose_ui_port(wishes.port)
    with interruptible(), demo_databases(wishes.home) as server:
        application, summary = _prepare(server, wishes, console)
        _show(summary, as_json=wishes.as_json)
        if not summary.agrees_with_the_truth:
            raise PermanentError("the store does not agree with the firm's truth")
        if port is not None:
            _serve(application, wishes.home, port, console)
    return summary


def _prepare(server: EmbeddedPostgres, wishes: Wishes, console: Console) -> tuple[Application, Summary]:
    make_dagster_home(wishes.home)
    _migrate(server.url(EMBEDDED_STORE), console)
    now = datetime.now(UTC)
    with _progress(console) as progress:
        history = progress.add_task("the firm's history, days", total=None)
        application = live_until(
            application_engine(server),
            now,
            wishes.weeks,
            lambda done, total: progress.update(history, completed=done, total=total),
        )
        begin_partitions(application.firm.recipe.start)
        summary = _discover(
            server, application, Window(application.firm.recipe.start, floor_to_hour(now)), progress
        )
    return application, summary


def _migrate(url: str, console: Console) -> None:
    gained = migrations.upgrade(url)
    console.print(f"store: migrations run: {', '.join(gained) or 'none, it is up to date'}")
    if differences := migrations.check(url):
        raise PermanentError("the store's schema differs from its migrations:\n" + "\n".join(differences))


def _discover(
    server: EmbeddedPostgres, application: Application, complete: Window, progress: Progress
) -> Summary:
    with DagsterInstance.get() as instance:
        runs = in_runs(missed_hours(instance, complete))
        hours_run = sum(1 for window in runs for _ in window.hours())
        bar = progress.add_task("new_users_discovery, hours", total=hours_run)
        started = time.monotonic()
        tally = run_discovery(instance, runs, lambda hours: progress.advance(bar, hours))
    with open_store(server.url(EMBEDDED_STORE)) as store:
        return summarise(
            store,
            application.truth,
            runs,
            hours_run=hours_run,
            seconds=time.monotonic() - started,
            tally=tally,
        )


def _serve(application: Application, home: Path, port: int, console: Console) -> None:
    with living(application), dagster_running(home, port) as dagster:
        ui = f"http://{LOOPBACK}:{port}"
        console.print(f"\nThe firm goes on living, and Dagster runs at [bold]{ui}[/bold]. Look at:")
        console.print(f"  lineage     {ui}/locations/leadq/asset-groups/discovery/lineage")
        console.print(f"  partitions  {ui}/assets/new_users?view=partitions")
        console.print(f"  schedules   {ui}/automation")
        console.print("Stop with Ctrl-C.")
        try:
            dagster.wait()
        except KeyboardInterrupt:
            console.print("stopping")
            return
    raise PermanentError(f"Dagster stopped by itself: the reason is at the end of {home / 'dagster.log'}")


def _show(summary: Summary, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(summary.as_json()))  # noqa: T201  the one object on standard output
    else:
        Console().print(summary.as_table())


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console)
