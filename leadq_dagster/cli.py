"""The command line: `leadq --help`."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leadq_dagster import agents_cli
from leadq_dagster.databases import store_url
from leadq_dagster.settings import load_settings
from leadq_dagster.store import migrations
from leadq_dagster.terminal import plain_errors

if TYPE_CHECKING:
    from leadq_dagster.stages.recovery import MissingConversion, SweepReport

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
db = typer.Typer(no_args_is_help=True, help="The store's schema.")
app.add_typer(db, name="db")
app.add_typer(agents_cli.app, name="agents")


@app.callback()
def main() -> None:
    """leadq: find the people to call, hand each to one agent, and count every conversion once."""


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="Exit after the summary.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The summary as one JSON object.")] = False,
    port: Annotated[int | None, typer.Option(help="The UI's port; by default a free one from 3000.")] = None,
    weeks: Annotated[
        int, typer.Option(min=1, max=52, help="Weeks of history at the first start; a later start goes on.")
    ] = 4,
) -> None:
    """Run leadq on a simulated firm: discovery over its history, then Dagster's UI until Ctrl-C."""
    with plain_errors():
        # Dagster takes more than a second to import; the other commands do not need it.
        from leadq_dagster.demo.run import Wishes, run_demo

        home = load_settings().leadq_home.absolute()
        run_demo(Wishes(home=home, weeks=weeks, once=once, as_json=as_json, port=port))


@db.command()
def upgrade() -> None:
    """Bring the store's schema up to date. Safe to repeat and to run several times at once."""
    with plain_errors():
        gained = migrations.upgrade(store_url(load_settings()))
        typer.echo("\n".join(f"ran migration {number}" for number in gained) or "up to date")


@db.command()
def check() -> None:
    """Compare the store's schema with the migrations; name each difference and exit 1 if there is one."""
    with plain_errors():
        differences = migrations.check(store_url(load_settings()))
        typer.echo("\n".join(differences) or "the schema is what the migrations give")
        if differences:
            raise typer.Exit(1)


@app.command()
def doctor() -> None:
    """Look at every part leadq needs, say what is wrong and what to change; exit 1 if leadq cannot work."""
    with plain_errors():
        from leadq_dagster.doctor import examine

        findings = examine(load_settings())
        for finding in findings:
            typer.echo(str(finding))
        if not all(finding.is_well or finding.is_bearable for finding in findings):
            raise typer.Exit(1)


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; default: LEADQ_DESK_HOST.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="Port, 0 for a free one; default: LEADQ_DESK_PORT.")
    ] = None,
    processes: Annotated[int, typer.Option(min=1, max=64, help="So many, side by side.")] = 1,
) -> None:
    """Run the desk's HTTP service, with its page at /desk, until Ctrl-C or SIGTERM."""
    with plain_errors():
        from leadq_dagster.service import serve as serve_desk

        wishes = {"leadq_desk_host": host, "leadq_desk_port": port}
        settings = load_settings().model_copy(
            update={name: wish for name, wish in wishes.items() if wish is not None}
        )
        serve_desk(settings, processes, lambda address: typer.echo(f"the desk is at {address}/desk"))


@app.command("recover-conversions")
def recover_conversions(
    since: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Leave out stays that ended before this day (UTC)."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing, only say who.")] = False,
) -> None:
    """Judge every stay without a conversion by the source; record the conversions due and print each."""
    with plain_errors():
        report = _swept(since.replace(tzinfo=UTC) if since else None, dry_run=dry_run)
        for conversion in report.recorded:
            typer.echo(_line_of(conversion))
        verb = "would record" if dry_run else "recorded"
        typer.echo(
            f"{verb} {len(report.recorded)} conversions; {report.judged} users judged, "
            f"{report.departed} departed without one, {report.undecided} not found at the source"
        )


@app.command()
def explain(
    user_id: Annotated[int, typer.Argument(min=1, max=2**63 - 1, help="As the source has it.")],
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Say where a user is and why, by the store and by the source; exit 1 for one who is not known."""
    with plain_errors():
        import json

        from leadq_dagster.desk.explain import explain as explain_user
        from leadq_dagster.desk.explain import plain
        from leadq_dagster.desk.explain_text import text_of
        from leadq_dagster.opening import Databases

        with Databases(load_settings()).open_desk() as desk:
            found = explain_user(user_id, store=desk.store, gate=desk.gate, rules=desk.terms.rules)
        typer.echo(json.dumps(plain(found)) if as_json else text_of(found))


def _swept(since: datetime | None, *, dry_run: bool) -> "SweepReport":
    from rich.console import Console
    from rich.progress import Progress

    from leadq_dagster.domain.provenance import Provenance, Source
    from leadq_dagster.opening import Databases
    from leadq_dagster.stages.recovery import sweep

    settings = load_settings()
    databases = Databases(settings)
    with (
        databases.open_replica() as replica,
        databases.open_store() as store,
        Progress(console=Console(stderr=True)) as shown,
    ):
        bar = shown.add_task("stays without a conversion", total=None)
        return sweep(
            replica=replica,
            store=store,
            provenance=Provenance("recover-conversions", None, Source.RECOVERY),
            now=datetime.now(UTC),
            batch_rows=settings.discovery_batch_size,
            since=since,
            dry_run=dry_run,
            progress=lambda done, total: shown.update(bar, completed=done, total=total),
        )


def _line_of(item: "MissingConversion") -> str:
    """Who, why, since when and from where."""
    at = f"{item.converted_at:%Y-%m-%d %H:%M:%S} UTC" if item.converted_at else "a time the source lacks"
    return f"user {item.user_id}: {item.conversion_type} at {at}, from {item.queue} (stay {item.stay_id})"


if __name__ == "__main__":
    app(prog_name=Path(sys.argv[0]).name)
