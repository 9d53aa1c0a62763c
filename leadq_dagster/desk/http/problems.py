"""What went wrong, as RFC 9457 problem details: the one place that turns failures into statuses."""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from leadq_dagster.domain.errors import (
    ConflictError,
    ForbiddenError,
    LeadqError,
    NotFoundError,
    RefusedError,
    TransientError,
)

# Where pydantic's own words do not say what would be right.
MESSAGES = {
    "string_pattern_mismatch": "should be 1 to 100 visible ASCII characters without spaces",
    "timezone_aware": "should have a time zone, such as Z or +02:00",
}
PROBLEM_JSON = "application/problem+json"
RETRY_AFTER_SECONDS = 1
# The store's errors name hosts and tables: for the log, not for who asks.
OF_THE_STORE = "store: "
TRY_AGAIN = "the desk cannot do this just now: try again, with the same request id"
DEFECT = "something is wrong with the desk itself: an operator has to look at its log"
STATUSES = (
    (ForbiddenError, HTTPStatus.FORBIDDEN),
    (NotFoundError, HTTPStatus.NOT_FOUND),
    (ConflictError, HTTPStatus.CONFLICT),
    (RefusedError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (TransientError, HTTPStatus.SERVICE_UNAVAILABLE),
)


class WrongField(BaseModel):
    """One field that cannot be accepted, and what would be."""

    field: str = Field(description="Where: `body`, or the field's path, or the parameter's name.")
    message: str = Field(description="What is wrong and what would be right; never what was sent.")


class Problem(BaseModel):
    """Problem details after RFC 9457."""

    type: str = Field(default="about:blank", description="Always about:blank: the status says the kind.")
    title: str = Field(description="The status in words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="A sentence for the person who reads it.")
    errors: list[WrongField] | None = Field(
        default=None, description="What to change, field by field: with status 422, where it is about fields."
    )


class ProblemError(Exception):
    """A request that is answered with a problem."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = list(errors)
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """The answer."""
        content: dict[str, Any] = {
            "type": "about:blank",
            "title": self.status.phrase,
            "status": int(self.status),
            "detail": self.detail,
        }
        if self.errors:
            content["errors"] = self.errors
        return Response(json.dumps(content), self.status, self.headers, PROBLEM_JSON)


def problem_of(error: Exception) -> ProblemError:
    """The problem that a failure is told as."""
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, HTTPException):
        return _of_framework(error)
    if not isinstance(error, LeadqError):
        return ProblemError(HTTPStatus.INTERNAL_SERVER_ERROR, DEFECT)
    for kind, status in STATUSES:
        if isinstance(error, kind):
            if status is not HTTPStatus.SERVICE_UNAVAILABLE:
                return ProblemError(status, str(error))
            detail = TRY_AGAIN if str(error).startswith(OF_THE_STORE) else str(error)
            return ProblemError(status, detail, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})
    return ProblemError(HTTPStatus.INTERNAL_SERVER_ERROR, DEFECT)


def invalid_fields(errors: Sequence[Mapping[str, Any]], known: Sequence[str] = ()) -> ProblemError:
    """The problem for what pydantic found; `known` are the fields there are, told instead of a wrong one.

    Nothing of the input is repeated: it may be somebody's number, and a name of an unknown field is input.
    """
    wrong = []
    for error in errors:
        place = [part for part in error["loc"] if part not in ("body", "query", "path", "header")]
        message = MESSAGES.get(error["type"], str(error["msg"]).removeprefix("Value error, "))
        if error["type"] == "extra_forbidden":
            place, message = place[:-1], f"has an unknown field; there are: {', '.join(known)}"
        item = {"field": ".".join(map(str, place)) or "body", "message": message}
        if item not in wrong:
            wrong.append(item)
    sentence = "; ".join(f"{item['field']}: {item['message']}" for item in wrong[:3])
    return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, sentence, wrong)


def invalid_body(error: ValidationError, known: Sequence[str]) -> ProblemError:
    """The problem for a body that is no JSON, or not the JSON that is asked for."""
    errors = error.errors(include_url=False, include_input=False, include_context=False)
    if errors[0]["type"] == "json_invalid":
        return ProblemError(HTTPStatus.BAD_REQUEST, "the body is not well-formed JSON in UTF-8")
    return invalid_fields(errors, known)


def _of_framework(error: HTTPException) -> ProblemError:
    status = HTTPStatus(error.status_code)
    details = {
        HTTPStatus.NOT_FOUND: "there is nothing at this path: see /openapi.json",
        HTTPStatus.METHOD_NOT_ALLOWED: "this path knows other methods: see the Allow header",
    }
    return ProblemError(status, details.get(status, status.description), headers=error.headers)
