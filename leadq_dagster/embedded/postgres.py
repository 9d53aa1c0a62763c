"""A private PostgreSQL server on the loopback address: start it, or attach to the one that runs."""

import os
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from leadq_dagster.domain.errors import RefusedError
from leadq_dagster.embedded.binaries import Binaries, binaries_for
from leadq_dagster.embedded.cluster import Cluster, data_major, erase_cluster, make_cluster, place_cluster
from leadq_dagster.embedded.home import AlreadyRunning, Home, State
from leadq_dagster.embedded.keeper import Keeper, StartFailed
from leadq_dagster.embedded.leftovers import clear_leftovers, cluster_name, is_ready
from leadq_dagster.embedded.locks import Locks
from leadq_dagster.embedded.ports import PortBusyError, is_free, ports_to_try
from leadq_dagster.embedded.processes import POLL_SECONDS, ProcessStamp
from leadq_dagster.embedded.server import EmbeddedPostgres, Keeping
from leadq_dagster.embedded.server_settings import server_settings

__all__ = [
    "AlreadyRunning",
    "EmbeddedPostgres",
    "PortBusyError",
    "erase_postgres",
    "running_postgres",
    "start_postgres",
]

ATTACH_SECONDS = 15.0


def start_postgres(
    home: Path, *, port: int | None = None, durable: bool = True, major: int = 18
) -> EmbeddedPostgres:
    """Start the server of this home, making its data at the first time, and return when it answers.

    Without a port it takes the one it had last, or a free one. `durable=False` trades safety against a
    crash of the machine for speed. Raises AlreadyRunning when somebody else runs it, PortBusyError when
    the chosen port is taken, RefusedError for what the text says, PermanentError when it will not start.
    """
    files = Home(home)
    locks = Locks()
    try:
        files.create()
        files.lock(locks)
        return _start(files, locks, port, major, durable=durable)
    except BaseException as error:
        locks.release()
        if isinstance(error, PermissionError):
            raise _not_yours(files, error) from error
        raise


def running_postgres(home: Path) -> EmbeddedPostgres | None:
    """Attach to the server that some process keeps running in this home; None if there is none.

    Waits, up to 15 seconds, for one that is just being started again. Raises RefusedError when the home
    is another user's.
    """
    files = Home(home)
    deadline = time.monotonic() + ATTACH_SECONDS
    try:
        while (state := files.state()) and state.starter and state.starter.is_alive():
            found = EmbeddedPostgres(files, state.port, files.password() or "")
            if found.answers():
                return found
            if time.monotonic() > deadline:
                return None
            time.sleep(POLL_SECONDS)
    except PermissionError as error:
        raise _not_yours(files, error) from error
    return None


def erase_postgres(home: Path) -> None:
    """Remove the server's data and everything else of it, wherever it lies; harmless where there is none.

    Raises AlreadyRunning while it runs.
    """
    files = Home(home)
    if not files.folder.exists():
        return
    with Locks() as locks:
        files.lock(locks)
        files.lock_data(locks)
        erase_cluster(files)
        files.forget()


def _start(home: Home, locks: Locks, port: int | None, major: int, *, durable: bool) -> EmbeddedPostgres:
    cluster = place_cluster(home)
    home.lock_data(locks)
    binaries = binaries_for(cluster.account, major)
    clear_leftovers(cluster.data)
    password = _made(home, cluster, binaries, durable=durable)
    home.bound_log()
    last = home.state()
    for candidate in ports_to_try(port, last.port if last else None):
        command = _command(binaries, cluster, candidate, durable=durable)
        if keeper := _kept(home, cluster, command, candidate):
            server = EmbeddedPostgres(home, candidate, password, Keeping(home, locks, keeper))
            return _confirmed(server, home)
    if port is not None:
        raise PortBusyError(port)
    raise RefusedError("no free port was found for PostgreSQL; choose one")


def _made(home: Home, cluster: Cluster, binaries: Binaries, *, durable: bool) -> str:
    """The password of data that is there now, of the right version."""
    password, found = home.password(), data_major(cluster.data)
    if found is None:
        password = password or home.make_password()
        make_cluster(cluster, binaries, password, durable=durable)
    elif found != binaries.major:
        raise RefusedError(
            f"the data in {cluster.data} was made by PostgreSQL {found}, not {binaries.major}; "
            f"start version {found}, or choose another home"
        )
    if password is None:
        raise RefusedError(f"the password of the data in {cluster.data} is missing from {home.folder}")
    return password


def _command(binaries: Binaries, cluster: Cluster, port: int, *, durable: bool) -> Sequence[str]:
    command = [str(binaries.program("postgres")), "-D", str(cluster.data), "-p", str(port), "-k", ""]
    for name, value in server_settings(cluster_name(cluster.data), durable=durable).items():
        command += ["-c", f"{name}={value}"]
    return command


def _kept(home: Home, cluster: Cluster, command: Sequence[str], port: int) -> Keeper | None:
    """The keeper of a server that is ready; None when somebody else took the port meanwhile."""
    keeper = Keeper(
        cluster.account,
        command,
        home,
        clear_leftovers=partial(clear_leftovers, cluster.data),
        is_ready=partial(is_ready, cluster.data),
    )
    try:
        keeper.start()
    except StartFailed:
        if is_free(port):
            raise
        return None
    except BaseException:
        keeper.stop()
        raise
    return keeper


def _confirmed(server: EmbeddedPostgres, home: Home) -> EmbeddedPostgres:
    """The server, on record, once it has answered with the password at hand."""
    try:
        if not server.answers():
            raise RefusedError(
                f"PostgreSQL does not accept the password in {home.folder}; put the right one back"
            )
        home.record(State(server.port, ProcessStamp.of(os.getpid())))
    except BaseException:
        server.close()
        raise
    return server


def _not_yours(home: Home, error: PermissionError) -> RefusedError:
    return RefusedError(
        f"{error.filename or home.folder} is closed to this user; choose a home folder of your own"
    )
