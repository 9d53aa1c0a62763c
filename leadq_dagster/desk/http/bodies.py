"""Reading requests: bodies within bounds, one way to name a request, and answers as JSON.

FastAPI could read bodies by itself; done here it costs a third of that, and each kind of bad input gets its
own plain answer.
"""

import json
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from leadq_dagster.desk.http.problems import MESSAGES, ProblemError, invalid_body, invalid_fields

BODY_BYTES_MAX = 65_536
REQUEST_ID_PATTERN = "^[!-~]{1,100}$"
BIGINT_MAX = 2**63 - 1
IDEMPOTENCY_KEY = "Idempotency-Key"
NO_REQUEST_ID = (
    "choose an id of your own, the same for every try, and send it as request_id in the body"
    f" or in the header {IDEMPOTENCY_KEY}"
)
TWO_REQUEST_IDS = f"request_id and the header {IDEMPOTENCY_KEY} differ: send one of them"

Id = Annotated[int, Field(ge=1, le=BIGINT_MAX, json_schema_extra={"format": "int64"})]
Name = Annotated[str, Field(pattern=REQUEST_ID_PATTERN)]


class Body(BaseModel):
    """A request's body: its fields and no others, each of its own JSON type."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class RequestBody(Body):
    """The body of a request that may be repeated: with the same id it has the same answer."""

    request_id: Name | None = Field(
        default=None,
        description=f"The caller's own id of this request, unless the header {IDEMPOTENCY_KEY} has it.",
    )


AnyBody = TypeVar("AnyBody", bound=Body)


async def read_body(request: Request, model: type[AnyBody]) -> AnyBody:
    """The body as this model; no body at all is an empty object.

    Raises ProblemError: 413 for one that is too long, 415 for another type, 400 for one that is no JSON, 422
    for other JSON than the model's.
    """
    content = await _bounded(request)
    if content and not _is_json(request.headers.get("content-type", "")):
        raise ProblemError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send the body with Content-Type: application/json"
        )
    try:
        return model.model_validate_json(content or b"{}")
    except ValidationError as error:
        raise invalid_body(error, list(model.model_fields)) from None


def request_id_of(request: Request, body: RequestBody) -> str:
    """The id that the caller gave this request. Raises ProblemError 422 when there is none, or two."""
    key = request.headers.get(IDEMPOTENCY_KEY)
    if key is None:
        if body.request_id is None:
            raise _wrong("request_id", NO_REQUEST_ID)
        return body.request_id
    if not (key.isascii() and key.isprintable() and 1 <= len(key) <= 100 and " " not in key):
        raise _wrong(IDEMPOTENCY_KEY, MESSAGES["string_pattern_mismatch"])
    if body.request_id not in (None, key):
        raise _wrong("request_id", TWO_REQUEST_IDS)
    return key


def as_json(content: Any, status: int = 200) -> Response:
    """An answer."""
    return Response(json.dumps(content, separators=(",", ":")), status, media_type="application/json")


def utc(instant: datetime | None) -> str | None:
    """An instant as answers tell it."""
    return instant.astimezone(UTC).isoformat() if instant else None


async def _bounded(request: Request) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > BODY_BYTES_MAX:
            raise ProblemError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"the body is longer than {BODY_BYTES_MAX} bytes",
                headers={"Connection": "close"},
            )
        chunks.append(chunk)
    return b"".join(chunks)


def _is_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def _wrong(field: str, message: str) -> ProblemError:
    return invalid_fields([{"type": "wrong", "loc": (field,), "msg": message}])
