"""`leadq agents`: who may work at the desk."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster.opening import Databases
from leadq_dagster.settings import load_settings
from leadq_dagster.store import enrolment
from leadq_dagster.store.agents import Role
from leadq_dagster.store.connection import Store
from leadq_dagster.terminal import plain_errors

app = typer.Typer(no_args_is_help=True, help="Who may work at the desk, and their tokens.")
AgentId = Annotated[int, typer.Argument(min=1, max=2**63 - 1, help="As `leadq agents list` shows it.")]
KEEP_IT = "its token, shown this once and stored nowhere:"


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="As it is to be shown; two may have the same.")],
    supervisor: Annotated[bool, typer.Option("--supervisor", help="May look at everything.")] = False,
    queue: Annotated[
        list[QueueType] | None,
        typer.Option(help="A queue they serve, the preferred one first; default: all."),
    ] = None,
) -> None:
    """Make an agent and print the token, once."""
    with plain_errors(), _store() as store:
        role = Role.SUPERVISOR if supervisor else Role.AGENT
        agent_id, token = enrolment.enrol(store, name, role, queue or list(QueueType))
        typer.echo(f"agent {agent_id}; {KEEP_IT}", err=True)
        typer.echo(token)


@app.command("list")
def show() -> None:
    """Show all agents."""
    with plain_errors(), _store() as store:
        with store.transaction() as cursor:
            everybody = enrolment.everybody(cursor)
        for agent in everybody:
            seen = f"{agent.last_seen_at:%Y-%m-%d %H:%M} UTC" if agent.last_seen_at else "never"
            status = agent.status if agent.is_active else "revoked"
            queues = ", ".join(agent.queues)
            typer.echo(f"{agent.id}\t{agent.name}\t{agent.role}\t{status}\tseen {seen}\t{queues}")


@app.command("revoke")
def revoke(agent_id: AgentId) -> None:
    """Let an agent do nothing any more, from this moment. What they did remains."""
    with plain_errors(), _store() as store:
        enrolment.revoke(store, agent_id)
        typer.echo(f"agent {agent_id} is revoked")


@app.command("new-token")
def new_token(agent_id: AgentId) -> None:
    """Give an agent another token instead of the old one, and access again if it was revoked."""
    with plain_errors(), _store() as store:
        token = enrolment.renew(store, agent_id)
        typer.echo(f"agent {agent_id}; {KEEP_IT}", err=True)
        typer.echo(token)


@contextmanager
def _store() -> Iterator[Store]:
    with Databases(load_settings()).open_store() as store:
        yield store
