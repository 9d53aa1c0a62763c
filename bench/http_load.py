"""Agents over HTTP, in a process of their own: each takes, reports and takes again; or only takes.

Raw sockets on the loop that the service has, too: a client library would take as much of the machine as the
service, and streams twice what this takes.
"""

import asyncio
import json
import sys
import time
from typing import cast

import uvloop

END_OF_HEAD = b"\r\n\r\n"


class Connection(asyncio.Protocol):
    """One kept connection. Who takes only has a new agent each time, of a few who take turns."""

    def __init__(self, number: int, tokens: list[str]) -> None:
        self._number, self._tokens = number, tokens
        self._received = b""
        self._transport: asyncio.WriteTransport
        self._answered: asyncio.Future[bytes]
        self.takes_ms: list[float] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Speak through this one."""
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        """Wait until the answer is whole."""
        self._received += data
        head, end, body = self._received.partition(END_OF_HEAD)
        if not end or len(body) < int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]):
            return
        assert head.startswith(b"HTTP/1.1 200"), self._received
        self._received = b""
        self._answered.set_result(body)

    def connection_lost(self, error: Exception | None) -> None:
        """Who waits is told."""
        if not self._answered.done():
            self._answered.set_exception(error or ConnectionError("the service closed the connection"))

    async def take_and_report_until(self, stop: float) -> None:
        """Take and report until then."""
        while (began := time.perf_counter()) < stop:
            name = f"{self._number}-{time.time_ns()}"
            lead = await self._take(name, self._tokens[0])
            self.takes_ms.append((time.perf_counter() - began) * 1000)
            report = {"request_id": f"{name}-o", "lease_token": lead["lease_token"], "outcome": "no_answer"}
            await self._post(f"/api/assignments/{lead['id']}/outcome", self._tokens[0], report)

    async def take_until(self, stop: float) -> None:
        """Take until then; a lead that the agent still holds from the last turn does not count."""
        held: dict[str, object] = {}
        turn = 0
        while (began := time.perf_counter()) < stop:
            token = self._tokens[turn % len(self._tokens)]
            turn += 1
            lead = await self._take(f"{self._number}-{time.time_ns()}", token)
            if held.get(token) != lead["id"]:
                self.takes_ms.append((time.perf_counter() - began) * 1000)
            held[token] = lead["id"]

    async def _take(self, name: str, token: str) -> dict[str, object]:
        taken = await self._post("/api/queue/next", token, {"request_id": name, "queue": "unsigned_users"})
        return taken["assignment"]

    async def _post(self, path: str, token: str, body: dict[str, object]) -> dict[str, dict[str, object]]:
        payload = json.dumps(body)
        head = f"Host: leadq\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(
            f"POST {path} HTTP/1.1\r\n{head}Content-Length: {len(payload)}\r\n\r\n{payload}".encode()
        )
        told: dict[str, dict[str, object]] = json.loads(await self._answered)
        return told


async def load(port: int, tokens: list[str], at_once: int, seconds: float) -> dict[str, object]:
    """So many connections at once, an agent each (or several who only take); milliseconds of each take."""
    connections = [Connection(number, tokens[number::at_once]) for number in range(at_once)]
    for each in connections:
        await asyncio.get_running_loop().create_connection(lambda each=each: each, "127.0.0.1", port)
    takes_only = len(tokens) > at_once
    started = time.perf_counter()
    stop = started + seconds
    await asyncio.gather(
        *(each.take_until(stop) if takes_only else each.take_and_report_until(stop) for each in connections)
    )
    took = time.perf_counter() - started
    return {"seconds": took, "takes_ms": sorted(ms for each in connections for ms in each.takes_ms)}


if __name__ == "__main__":
    tokens_file, port_text, at_once_text, seconds_text = sys.argv[1:]
    with open(tokens_file, encoding="utf-8") as lines:  # noqa: PTH123  a script of its own
        everybody = lines.read().split()
    answer = uvloop.run(load(int(port_text), everybody, int(at_once_text), float(seconds_text)))
    print(json.dumps(answer))
