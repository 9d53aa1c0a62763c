"""A caller of the service, with nothing between the test and the bytes."""

import json
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from itertools import count
from typing import Any
from urllib.parse import urlsplit

REQUEST_IDS = count(1)


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def kind(self) -> str:
        return self.headers.get("content-type", "")


@dataclass
class Caller:
    """Sends requests with one token, or with none; a new connection each."""

    address: str
    token: str | None = field(default=None, repr=False)

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: bytes | None = None,
        headers: dict[str, str] | None = None,
        timeout: float = 30,
    ) -> Answer:
        """Send a JSON body, or these raw bytes."""
        sent = dict(headers or {})
        if self.token is not None:
            sent.setdefault("Authorization", f"Bearer {self.token}")
        content = raw
        if body is not None:
            content = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        parts = urlsplit(self.address)
        assert parts.hostname is not None
        connection = HTTPConnection(parts.hostname, parts.port, timeout=timeout)
        try:
            connection.request(method, path, content, sent)
            return _answer(connection.getresponse())
        finally:
            connection.close()

    def get(self, path: str) -> Answer:
        return self.send("GET", path)

    def post(self, path: str, **body: Any) -> Answer:
        """With a fresh request id unless the test names one."""
        body.setdefault("request_id", f"request-{next(REQUEST_IDS)}")
        return self.send("POST", path, body)

    def take(self, **body: Any) -> Answer:
        return self.post("/api/queue/next", **body)

    def report(self, assignment: dict[str, Any], outcome: str, **body: Any) -> Answer:
        """The outcome of an assignment as it came."""
        body.setdefault("lease_token", assignment["lease_token"])
        return self.post(f"/api/assignments/{assignment['id']}/outcome", outcome=outcome, **body)


def _answer(response: HTTPResponse) -> Answer:
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, response.read().decode())
