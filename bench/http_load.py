"""Agents over HTTP, in a process of their own: each takes a lead, reports it, and takes the next.

Raw sockets: a client library would take as much of the machine as the service.
"""

import asyncio
import json
import sys
import time


class Agent:
    """One agent on one kept connection."""

    def __init__(
        self, number: int, token: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._number = number
        self._head = f"Host: leadq\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        self._reader, self._writer = reader, writer
        self.takes_ms: list[float] = []

    async def work_until(self, stop: float) -> None:
        """Take and report until then."""
        turn = 0
        while (began := time.perf_counter()) < stop:
            turn += 1
            name = f"{self._number}-{time.time_ns()}"
            taken = await self._post("/api/queue/next", {"request_id": name, "queue": "unsigned_users"})
            self.takes_ms.append((time.perf_counter() - began) * 1000)
            lead = taken["assignment"]
            report = {"request_id": f"{name}-o", "lease_token": lead["lease_token"], "outcome": "no_answer"}
            await self._post(f"/api/assignments/{lead['id']}/outcome", report)

    async def _post(self, path: str, body: dict[str, object]) -> dict[str, dict[str, object]]:
        payload = json.dumps(body)
        self._writer.write(
            f"POST {path} HTTP/1.1\r\n{self._head}Content-Length: {len(payload)}\r\n\r\n{payload}".encode()
        )
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        answer = await self._reader.readexactly(length)
        assert head.startswith(b"HTTP/1.1 200"), (head, answer)
        told: dict[str, dict[str, object]] = json.loads(answer)
        return told


async def load(port: int, tokens: list[str], seconds: float) -> dict[str, object]:
    """All agents at once; takes and the milliseconds of each."""
    agents = [
        Agent(number, token, *await asyncio.open_connection("127.0.0.1", port))
        for number, token in enumerate(tokens)
    ]
    started = time.perf_counter()
    await asyncio.gather(*(agent.work_until(started + seconds) for agent in agents))
    took = time.perf_counter() - started
    return {"seconds": took, "takes_ms": sorted(ms for agent in agents for ms in agent.takes_ms)}


if __name__ == "__main__":
    tokens_file, port_text, seconds_text = sys.argv[1:]
    with open(tokens_file, encoding="utf-8") as lines:  # noqa: PTH123  a script of its own
        everybody = lines.read().split()
    print(json.dumps(asyncio.run(load(int(port_text), everybody, float(seconds_text)))))
