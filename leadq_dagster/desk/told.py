"""What an agent was told, as it is kept, and told again when the request is repeated."""

from datetime import UTC, datetime
from typing import Any, Final

from psycopg import Cursor
from psycopg.rows import TupleRow

from leadq_dagster.desk.terms import OutcomeRequest, Recorded
from leadq_dagster.domain.errors import ConflictError, LeadqError
from leadq_dagster.store import answers
from leadq_dagster.store.answers import Answer
from leadq_dagster.store.holds import Report

WAITING: Final = "waiting"
LEFT: Final = "left"
TOO_LATE: Final = (
    "the lease had ended: the call is recorded, and another call that was agreed is promised;"
    " the lead is not moved by it"
)
REUSED: Final = "this request id was used for another request: choose a new one"
REPORTED: Final = "another request has reported the outcome of the assignment: ask for the next lead"


def before(cursor: Cursor[TupleRow], agent_id: int, request_id: str, request: str) -> Answer | None:
    """The answer that the same request got before; None where it is new.

    Raises ConflictError where the id was another request's, which may have brought a lead.
    """
    answer = answers.earlier(cursor, [(agent_id, request_id)])().get((agent_id, request_id))
    if answer is None and not answers.is_take(cursor, agent_id, request_id):
        return None
    if answer is None or answer.request != request:
        raise ConflictError(REUSED)
    return answer


def again(request: OutcomeRequest, report: Report | None) -> Recorded | ConflictError | None:
    """The answer that the same request got before; None where nothing was reported yet."""
    if report is None:
        return None
    if report.request_id != request.request_id:
        return ConflictError(REPORTED)
    if report.outcome != request.outcome:
        return ConflictError(REUSED)
    if conflict := report.told.get("conflict"):
        return ConflictError(conflict)
    at = report.told["next_call_after"]
    return Recorded(
        request.assignment_id,
        report.told["lead"],
        datetime.fromisoformat(at).astimezone(UTC) if at else None,
        report.told["callback_id"],
    )


def content(answer: Recorded | LeadqError) -> dict[str, Any]:
    """The answer as JSON keeps it."""
    if isinstance(answer, LeadqError):
        return {"conflict": str(answer)}
    at = answer.next_call_after
    return {
        "lead": answer.lead,
        "next_call_after": at.isoformat() if at else None,
        "callback_id": answer.callback_id,
    }
