"""Ports of the loopback address: is one free, and which to take."""

import errno
import secrets
import socket
from collections.abc import Iterator

from leadq_dagster.domain.errors import RefusedError

LOOPBACK = "127.0.0.1"
# Below the kernel's range for outgoing connections: one of those could take the port while the server
# restarts, and a client that tries again could even be connected to itself.
FREE_PORTS = range(20_000, 30_000)
TRIES_MAX = 20


class PortBusyError(RefusedError):
    """The port that was asked for is in use; the text names it."""

    def __init__(self, port: int) -> None:
        super().__init__(
            f"port {port} on {LOOPBACK} is used by another program; "
            f"stop that program, choose another port, or choose none to get a free one"
        )
        self.port = port


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of the loopback address now.

    Raises RefusedError for a port that this user can never have.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As PostgreSQL does: connections of a server that has ended are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OverflowError as error:
            raise RefusedError(f"{port} is no port: ports are 1 to 65535") from error
        except PermissionError as error:
            raise RefusedError(f"port {port} is reserved for the system; choose one above 1023") from error
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
    return True


def ports_to_try(chosen: int | None, last: int | None) -> Iterator[int]:
    """Free ports, best first: only the chosen one, else the one used last, else any.

    Raises PortBusyError when the chosen one is not free.
    """
    if chosen is not None:
        if not 0 < chosen <= 65_535:
            raise RefusedError(f"{chosen} is no port: ports are 1 to 65535")
        if not is_free(chosen):
            raise PortBusyError(chosen)
        yield chosen
        return
    if last is not None and is_free(last):
        yield last
    for _ in range(TRIES_MAX):
        candidate = secrets.choice(FREE_PORTS)
        if is_free(candidate):
            yield candidate
