"""What agents ask about promised calls, and how a callback is told."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from leadq_dagster.desk.terms import in_utc
from leadq_dagster.store.callbacks import Callback, CallbackStatus

# How far ahead agents see the calls that are theirs, and may call now by accepting.
NEAR = timedelta(minutes=10)
SNOOZE_MINUTES, SNOOZE_MINUTES_MAX = 5, 60
PENDING_MAX = 100


class CancelReason(StrEnum):
    """Why a promised call is not to be made; from a list, because analysts read it."""

    NOT_WANTED = "not_wanted"
    SPOKEN_TO_ALREADY = "spoken_to_already"
    AGREED_OTHERWISE = "agreed_otherwise"
    PROMISED_BY_MISTAKE = "promised_by_mistake"


@dataclass(frozen=True)
class CallbackRequest:
    """An agent's request about a callback. A supervisor may act on those of others, too."""

    agent_id: int
    request_id: str
    callback_id: int
    is_supervisor: bool = False


@dataclass(frozen=True)
class PromiseRequest:
    """An agent promises a user a call at a time, preferably by an agent (None: by anybody)."""

    agent_id: int
    request_id: str
    user_id: int
    due_at: datetime
    preferred_agent_id: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "due_at", in_utc(self.due_at))


@dataclass(frozen=True)
class CallbackState:
    """A callback as a request left it. `call_after`: when to call. `is_raised`: in front of the queue now."""

    callback_id: int
    user_id: int
    status: CallbackStatus
    due_at: datetime
    call_after: datetime
    accepted_by_agent_id: int | None
    is_raised: bool

    @classmethod
    def of(cls, callback: Callback, *, is_raised: bool) -> "CallbackState":
        """The callback as it is."""
        return cls(
            callback.id,
            callback.user_id,
            callback.status,
            callback.due_at.astimezone(UTC),
            callback.call_after.astimezone(UTC),
            callback.accepted_by_agent_id,
            is_raised,
        )

    def pending(self, call_after: datetime) -> "CallbackState":
        """Nobody's, to be called later."""
        return replace(
            self,
            status=CallbackStatus.PENDING,
            call_after=call_after.astimezone(UTC),
            accepted_by_agent_id=None,
            is_raised=False,
        )

    def cancelled(self) -> "CallbackState":
        """Not to be called any more."""
        return replace(self, status=CallbackStatus.CANCELLED, is_raised=False)


def content(state: CallbackState) -> dict[str, Any]:
    """The state as JSON keeps it."""
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in vars(state).items()
    }


def state_from(kept: Mapping[str, Any]) -> CallbackState:
    """The state that was kept."""
    times = {name: datetime.fromisoformat(kept[name]) for name in ("due_at", "call_after")}
    return CallbackState(**{**kept, **times, "status": CallbackStatus(kept["status"])})
