"""The demo from nothing to a running system: each step with its progress on the terminal."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from dagster import DagsterInstance
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from leadq_dagster.databases import EMBEDDED_STORE
from leadq_dagster.demo.address import announced
from leadq_dagster.demo.audit import Audit
from leadq_dagster.demo.colleagues import Colleague, at_work, promise_calls
from leadq_dagster.demo.databases import application_engine, demo_databases
from leadq_dagster.demo.desk import Staff, demo_staff, desk_running, next_users, work_one_lead
from leadq_dagster.demo.history import live_until, open_firm
from leadq_dagster.demo.hourly_jobs import STAGES, JobTally, missed_rounds, run_round
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
    console.print("starting")
    # Now, so that a busy port is told before minutes of work.
    port = None if wishes.once else choose_ui_port(wishes.port)
    with interruptible(), demo_databases(wishes.home) as server:
        now = datetime.now(UTC)
        application, summary = prepare(server, wishes, console, now)
        with open_store(server.url(EMBEDDED_STORE)) as store:
            staff, promised = demo_staff(store), next_users(store)
        if wishes.once:
            with desk_running(wishes.home) as desk:
                summary = replace(summary, desk=work_one_lead(desk, staff.agent.token))
        _show(summary, as_json=wishes.as_json)
        if not summary.agrees_with_the_truth:
            raise PermanentError("the store does not agree with the firm's truth")
        if port is not None:
            _serve(application, wishes.home, port, staff, promised, console)
    return summary


def prepare(
    server: EmbeddedPostgres, wishes: Wishes, console: Console, now: datetime
) -> tuple[Application, Summary]:
    """Live through the firm's history up to `now`, the jobs running on the way; what came of it."""
    make_dagster_home(wishes.home)
    _migrate(server.url(EMBEDDED_STORE), console)
    application = open_firm(application_engine(server), now, wishes.weeks)
    start = application.firm.recipe.start
    begin_partitions(start)
    summary = _run_hours(server, application, Window(start, floor_to_hour(now)), console)
    live_until(application, now)
    return application, summary


def _migrate(url: str, console: Console) -> None:
    gained = migrations.upgrade(url)
    console.print(f"store: migrations run: {', '.join(gained) or 'none, it is up to date'}")
    if differences := migrations.check(url):
        raise PermanentError("the store's schema differs from its migrations:\n" + "\n".join(differences))


def _run_hours(
    server: EmbeddedPostgres, application: Application, complete: Window, console: Console
) -> Summary:
    """The jobs over every complete hour that they have not run: each round as soon as the firm got there."""
    tallies = {stage.name: JobTally() for stage in STAGES}
    with (
        DagsterInstance.get() as instance,
        open_store(server.url(EMBEDDED_STORE)) as store,
        _progress(console) as progress,
    ):
        rounds, audit, started = (
            missed_rounds(instance, complete),
            Audit(store, application.truth),
            time.monotonic(),
        )
        bar = progress.add_task("hourly jobs, hours", total=sum(one.hours for one in rounds))
        for one in rounds:
            live_until(application, one.window.end)
            run_round(instance, one, tallies)
            audit.look()
            progress.advance(bar, one.hours)
        seconds = time.monotonic() - started
        return summarise(audit, rounds, complete, seconds=seconds, tallies=tallies)


def _serve(
    application: Application,
    home: Path,
    port: int,
    staff: Staff,
    promised: Sequence[int],
    console: Console,
) -> None:
    console.print("starting Dagster and the desk")
    with living(application), desk_running(home) as desk, dagster_running(home, port) as dagster:
        ui = f"http://{LOOPBACK}:{port}"
        promise_calls(desk, staff.supervisor.token, promised, staff.agent.agent_id)
        colleagues = [
            Colleague(each.agent_id, each.token, desk, Random(each.agent_id)) for each in staff.colleagues
        ]
        with announced(home, ui), at_work(colleagues):
            _say_where(ui, desk, staff, console)
            try:
                dagster.wait()
            except KeyboardInterrupt:
                console.print("stopping")
                return
    raise PermanentError(f"Dagster stopped by itself: the reason is at the end of {home / 'dagster.log'}")


def _say_where(ui: str, desk: str, staff: Staff, console: Console) -> None:
    # Whole lines, however narrow the terminal: a wrapped address cannot be clicked.
    lines = (
        f"\nThe firm goes on living, and Dagster runs at [bold]{ui}[/bold]. Look at:",
        f"  lineage      {ui}/locations/leadq/asset-groups/discovery/lineage",
        f"  conversions  {ui}/locations/leadq/asset-groups/conversions/lineage",
        f"  partitions   {ui}/assets/new_users?view=partitions",
        f"  schedules    {ui}/automation",
        f"The desk is at [bold]{desk}/desk[/bold]. Sign in with the token of",
        f"  an agent      {staff.agent.token}",
        f"  a supervisor  {staff.supervisor.token}",
        "Three simulated colleagues work there too. Say that you are available: calls that you promised",
        "are due in five minutes, and reach you by the sensor",
        f"  callbacks    {ui}/locations/leadq/sensors/due_callbacks",
        "Stop with Ctrl-C.",
    )
    for line in lines:
        console.print(line, soft_wrap=True)


def _show(summary: Summary, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(summary.as_json()))  # noqa: T201  the one object on standard output
    else:
        Console().print(summary.as_table())


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console)
