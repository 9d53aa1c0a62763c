"""How routes are described in the OpenAPI document: bodies, answers, and every refusal with its schema."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from leadq_dagster.desk.http.bodies import BODY_BYTES_MAX, IDEMPOTENCY_KEY, RequestBody
from leadq_dagster.desk.http.problems import PROBLEM_JSON, Problem

REFUSALS = {
    400: "The body is not well-formed JSON.",
    401: "No token, or one that is not known.",
    403: "The token's agent may not do this.",
    404: "There is no such agent, assignment or callback.",
    409: "Too late, or it contradicts another request. Nothing was moved; a call reported late is recorded.",
    413: f"The body is longer than {BODY_BYTES_MAX} bytes.",
    415: "The body is not sent as application/json.",
    422: "A field cannot be accepted; the answer names it and says what would be.",
    500: "A defect, or a store that an operator has to put right.",
    503: "The store, or by setting the source, does not answer: try again with the same request id.",
}
WITH_BODY = (400, 413, 415, 422)
ALWAYS = (500, 503)
KEY_PARAMETER = {
    "name": IDEMPOTENCY_KEY,
    "in": "header",
    "required": False,
    "description": "The caller's own id of this request, instead of request_id in the body.",
    "schema": {"type": "string", "pattern": "^[!-~]{1,100}$"},
}


def described(
    answer: type[BaseModel],
    body: type[BaseModel] | None = None,
    refusals: Sequence[int] = (),
    *,
    example: object = None,
) -> dict[str, Any]:
    """The keyword arguments of a route for signed-in callers: what it reads, answers and refuses."""
    statuses = {401, 403, *refusals, *ALWAYS, *(WITH_BODY if body else ())}
    extra: dict[str, Any] = {"security": [{"token": []}]}
    if body is not None:
        content: dict[str, Any] = {"schema": body.model_json_schema()}
        if example is not None:
            content["example"] = example
        is_required = any(field.is_required() for field in body.model_fields.values())
        extra["requestBody"] = {"required": is_required, "content": {"application/json": content}}
        if issubclass(body, RequestBody):
            extra["parameters"] = [KEY_PARAMETER]
    return {
        "responses": {200: {"model": answer}, **{status: _refusal(status) for status in sorted(statuses)}},
        "openapi_extra": extra,
    }


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document."""
    document = get_openapi(
        title="leadq desk",
        version="1",
        summary="The next lead for each agent, and what came of it.",
        description=(
            "Each POST that changes something carries an id of the caller's own choice; sent again with"
            " the same id it has the same answer. Errors are problem details (RFC 9457)."
        ),
        routes=app.routes,
    )
    parts = document.setdefault("components", {})
    schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    parts.setdefault("schemas", {}).update(schema.pop("$defs"), Problem=schema)
    parts["securitySchemes"] = {
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "Printed once by `leadq agents add`; an agent acts only as itself.",
        }
    }
    return document


def _refusal(status: int) -> dict[str, Any]:
    described: dict[str, Any] = {
        "description": REFUSALS[status],
        "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    if status == 401:
        described["headers"] = {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}}
    if status == 503:
        described["headers"] = {"Retry-After": {"required": False, "schema": {"type": "string"}}}
    return described
