"""`leadq serve`: the desk's HTTP service as one process, or as several on one socket.

Processes share nothing but PostgreSQL, and for the metrics of one service a folder of counters.
"""

import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import ExitStack, contextmanager
from multiprocessing import connection, parent_process
from threading import Thread
from typing import Any

import structlog
import uvicorn
from uvicorn.supervisors import Multiprocess

from leadq_dagster.databases import store_url
from leadq_dagster.desk.garbage import look_seldom
from leadq_dagster.desk.http.app import create_app
from leadq_dagster.desk.http.record import Recording, note_failure
from leadq_dagster.domain.errors import LeadqError, PermanentError, RefusedError
from leadq_dagster.opening import Databases
from leadq_dagster.settings import Settings, load_settings
from leadq_dagster.store import migrations

FINISH_SECONDS = 20
BACKLOG = 2048
COUNTERS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"


def serve(settings: Settings, processes: int, announce: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM, then finish the requests in flight and close the desk.

    `announce` is told the address, once connections to it are accepted. Raises PermanentError when the
    store's schema is not what the migrations give, and RefusedError when the address is not to be had.
    """
    if differences := migrations.check(store_url(settings)):
        raise PermanentError("the store is not as this version of leadq needs it:\n" + "\n".join(differences))
    with _listening(settings.leadq_desk_host, settings.leadq_desk_port) as listener:
        if processes == 1:
            server = uvicorn.Server(_config(app_by_settings()))
            with _stopped_by_signals(server):
                announce(_address(listener))
                server.run(sockets=[listener])
            return
        with tempfile.TemporaryDirectory(prefix="leadq-counters-") as folder:
            os.environ[COUNTERS_FOLDER] = folder
            try:
                config = _config(f"{__name__}:worker_app", workers=processes, factory=True)
                together = _Processes(config, sockets=[listener])
                announce(_address(listener))
                together.run()
            finally:
                del os.environ[COUNTERS_FOLDER]


class _Processes(Multiprocess):
    """uvicorn's own supervisor: it starts another process for one that died or hangs."""

    def terminate_all(self) -> None:
        """Refuse connections from now on: nobody would accept those that wait in this process's socket."""
        for listener in self.sockets:
            listener.close()
        super().terminate_all()


def worker_app() -> Recording:
    """The application of one of several processes; it stops when the process that started it is gone."""
    parent = parent_process()
    if parent is not None:

        def follow() -> None:
            connection.wait([parent.sentinel])
            os.kill(os.getpid(), signal.SIGTERM)

        Thread(target=follow, name="leadq-parent", daemon=True).start()
    try:
        return app_by_settings()
    except LeadqError as error:
        # Another one is started in its place, and again until the databases answer.
        note_failure(error)
        raise SystemExit(1) from None


def app_by_settings() -> Recording:
    """The application on the databases of the settings; it closes them when it stops."""
    settings = load_settings()
    with ExitStack() as stack:
        desk = stack.enter_context(Databases(settings).open_desk())
        opened = stack.pop_all()
    app = create_app(desk, lambda: migrations.check(store_url(settings)), opened.close)
    _configure_logs(app.service.meters.noted)
    look_seldom()
    return app


def _config(app: Any, **options: Any) -> uvicorn.Config:
    """What is the same for every process: uvloop and httptools where they are installed."""
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=FINISH_SECONDS,
        backlog=BACKLOG,
        **options,
    )


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    try:
        (family, *_, address), *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        listener = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        raise RefusedError(
            f"cannot listen on {host} port {port}: {error.strerror};"
            " change LEADQ_DESK_HOST or LEADQ_DESK_PORT"
        ) from None
    with listener:
        listener.set_inheritable(True)
        yield listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def _stopped_by_signals(server: uvicorn.Server) -> Iterator[None]:
    """Before uvicorn listens to signals, and after: then it raises again those that it has obeyed."""

    def stop(_number: int, _frame: object) -> None:
        server.should_exit = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _configure_logs(noted: Callable[[str], None]) -> None:
    """JSON lines on standard error; what is counted of them is counted where they are written down."""

    def count(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        noted(event["event"])
        return event

    structlog.configure(
        processors=[
            count,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.getLogger("uvicorn").handlers = [_ToStructlog(logging.WARNING)]


class _ToStructlog(logging.Handler):
    """What uvicorn says, without the words of exceptions."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger("uvicorn").warning("server", said=record.getMessage())
