"""`leadq agents`: who may work at the desk."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from leadq_dagster.domain.errors import NotFoundError
from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster.opening import Databases
from leadq_dagster.settings import load_settings
from leadq_dagster.store import agents, assignments, enrolment
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
        agent_id, token = enrol(store, name, role, queue or list(QueueType))
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
        with store.transaction() as cursor:
            now, _ = assignments.clock(cursor, None)
            _demand(agent_id, is_known=enrolment.revoke(cursor, agent_id, now))
        typer.echo(f"agent {agent_id} is revoked")


@app.command("new-token")
def new_token(agent_id: AgentId) -> None:
    """Give an agent another token instead of the old one, and access again if it was revoked."""
    with plain_errors(), _store() as store:
        token = renew(store, agent_id)
        typer.echo(f"agent {agent_id}; {KEEP_IT}", err=True)
        typer.echo(token)


def enrol(store: Store, name: str, role: Role, queues: list[QueueType]) -> tuple[int, str]:
    """A new agent's id, and the token of which only a hash is stored."""
    token = _token()
    with store.transaction() as cursor:
        return agents.add(cursor, name, role, queues, agents.token_hash(token)), token


def renew(store: Store, agent_id: int) -> str:
    """Another token for the agent. Raises NotFoundError."""
    token = _token()
    with store.transaction() as cursor:
        now, _ = assignments.clock(cursor, None)
        _demand(agent_id, is_known=enrolment.renew_token(cursor, agent_id, agents.token_hash(token), now))
    return token


def _token() -> str:
    # With a prefix, so that one that was pasted into the wrong place can be searched for.
    return f"leadq_{secrets.token_urlsafe(32)}"


def _demand(agent_id: int, *, is_known: bool) -> None:
    if not is_known:
        raise NotFoundError(f"there is no agent {agent_id}")


@contextmanager
def _store() -> Iterator[Store]:
    with Databases(load_settings()).open_store() as store:
        yield store
