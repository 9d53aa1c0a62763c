"""A network between leadq and a server, which can fall silent: nothing refused, nothing answered."""

import selectors
import socket
import threading
from types import TracebackType
from typing import Self

import sqlalchemy as sa


class Wire:
    """Passes bytes between whoever connects to `url` and the server of `server_url`, until it is cut."""

    def __init__(self, server_url: str) -> None:
        server = sa.make_url(server_url)
        self._server = (server.host, server.port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._ends: dict[socket.socket, socket.socket] = {}
        self._is_whole = threading.Event()
        self._is_whole.set()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        here = server.set(host="127.0.0.1", port=self._listening.getsockname()[1])
        self.url = here.render_as_string(hide_password=False)

    def cut(self) -> None:
        self._is_whole.clear()

    def mend(self) -> None:
        self._is_whole.set()

    def _run(self) -> None:
        with selectors.DefaultSelector() as ready:
            ready.register(self._listening, selectors.EVENT_READ)
            while not self._closing.is_set():
                if not self._is_whole.wait(0.05):
                    continue
                for key, _ in ready.select(0.05):
                    if not self._is_whole.is_set():
                        break
                    self._accept(ready) if key.fileobj is self._listening else self._pass_on(
                        key.fileobj, ready
                    )

    def _accept(self, ready: selectors.BaseSelector) -> None:
        near, far = self._listening.accept()[0], socket.create_connection(self._server)
        self._ends |= {near: far, far: near}
        for end in (near, far):
            ready.register(end, selectors.EVENT_READ)

    def _pass_on(self, end: socket.socket, ready: selectors.BaseSelector) -> None:
        if end not in self._ends:
            return
        other = self._ends[end]
        try:
            sent = end.recv(65536)
            other.sendall(sent)
        except OSError:
            sent = b""
        if not sent:
            for each in (end, other):
                ready.unregister(each)
                del self._ends[each]
                each.close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._thread.join()
        for each in (self._listening, *self._ends):
            each.close()
