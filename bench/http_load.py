"""Agents over HTTP, in a process of their own: each takes, reports and takes again; or only takes.

Raw sockets: a client library would take as much of the machine as the service.
"""

import asyncio
import json
import sys
import time


class Connection:
    """One kept connection. Who takes only has a new agent each time, of a few who take turns."""

    def __init__(
        self, number: int, tokens: list[str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._number, self._tokens = number, tokens
        self._reader, self._writer = reader, writer
        self.takes_ms: list[float] = []

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
        self._writer.write(
            f"POST {path} HTTP/1.1\r\n{head}Content-Length: {len(payload)}\r\n\r\n{payload}".encode()
        )
        answered = await self._reader.readuntil(b"\r\n\r\n")
        length = int(answered.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        answer = await self._reader.readexactly(length)
        assert answered.startswith(b"HTTP/1.1 200"), (answered, answer)
        told: dict[str, dict[str, object]] = json.loads(answer)
        return told


async def load(port: int, tokens: list[str], at_once: int, seconds: float) -> dict[str, object]:
    """So many connections at once, an agent each (or several who only take); milliseconds of each take."""
    connections = [
        Connection(number, tokens[number::at_once], *await asyncio.open_connection("127.0.0.1", port))
        for number in range(at_once)
    ]
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
    answer = asyncio.run(load(int(port_text), everybody, int(at_once_text), float(seconds_text)))
    print(json.dumps(answer))
