"""One transaction of the firm's application: who it is about, what it writes, what follows from it."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Literal
from uuid import UUID

from leadq_dagster.firm.catalogue import Kind, spell

TableName = Literal["users", "claims", "claim_requirements"]
Key = int | str
Row = dict[str, int | str | datetime | None]
RequirementStatus = Literal["pending", "approved", "rejected", "withdrawn"]


@dataclass(frozen=True, slots=True)
class UserState:
    """What a row of `users` means, however it is spelled."""

    user_id: int
    is_enabled: bool
    is_cancelled: bool
    is_signed: bool


@dataclass(frozen=True, slots=True)
class ClaimState:
    """What a row of `claims` means, however it is spelled."""

    claim_id: int
    user_id: int
    is_cancelled: bool


@dataclass(frozen=True, slots=True)
class RequirementState:
    """What a row of `claim_requirements` means, however it is spelled."""

    requirement_id: str
    claim_id: int
    kind: Kind
    status: RequirementStatus


State = UserState | ClaimState | RequirementState


@dataclass(frozen=True, slots=True)
class Change:
    """One row written: `row` as the database shall hold it (all columns, or those an update sets), naive UTC.

    `at` is when the application wrote it, which is what the row's own dates say if they say
    anything; `visible_at` (never earlier) is when it was committed. Both are aware UTC.
    """

    table: TableName
    key: Key
    is_insert: bool
    row: Row
    state: State
    at: datetime
    visible_at: datetime


@dataclass(slots=True)
class Person:
    """Somebody the firm deals with, as its application sees them, open transactions included."""

    user_id: int
    claim_ids: Iterator[int]
    is_undated: bool
    signature_file_id: str
    enabled_flag: int
    locked_until: datetime
    user: UserState = field(init=False)
    claims: dict[int, ClaimState] = field(default_factory=dict)
    requirements: dict[str, RequirementState] = field(default_factory=dict)


@dataclass(slots=True)
class Draft:
    """A row written by a transaction that is not committed yet."""

    table: TableName
    key: Key
    is_insert: bool
    row: Row
    state: State


class Transaction:
    """What happens to `person` at the instant `at`, all of it committed together.

    It is also the dice: `chance`, `pick` and `between` draw from the world's one generator.
    """

    def __init__(self, rng: Random, at: datetime, person: Person, odd_share: float) -> None:
        self.rng, self.at, self.person, self.odd_share = rng, at, person, odd_share
        self.drafts: list[Draft] = []
        self.follow_ups: list[tuple[timedelta, Step]] = []

    @property
    def written_at(self) -> datetime:
        """`at` as the database's columns hold it: naive, meaning UTC."""
        return self.at.astimezone(UTC).replace(tzinfo=None)

    def chance(self, share: float) -> bool:
        """True in about `share` of all throws."""
        return self.rng.random() < share

    def between(self, shortest: timedelta, longest: timedelta) -> timedelta:
        """A span in whole seconds; short ones are as likely as long ones are on a logarithmic scale."""
        low, high = (
            math.log(shortest.total_seconds()),
            math.log(longest.total_seconds()),
        )
        return timedelta(seconds=math.ceil(math.exp(self.rng.uniform(low, high))))

    def spell(self, word: str) -> str:
        """`word` as this transaction's screen happens to write it."""
        return spell(self.rng, word, self.odd_share)

    def make_uuid(self) -> str:
        """A random identifier in the usual 36 characters."""
        return str(UUID(int=self.rng.getrandbits(128), version=4))

    def write(self, table: TableName, key: Key, state: State, row: Row, *, is_insert: bool) -> None:
        """Write one row and remember what it means."""
        match state:
            case UserState():
                self.person.user = state
            case ClaimState():
                self.person.claims[state.claim_id] = state
            case RequirementState():
                self.person.requirements[state.requirement_id] = state
        self.drafts.append(Draft(table, key, is_insert, row, state))

    def later(self, delay: timedelta, step: "Step") -> None:
        """Let `step` happen to this person `delay` from now."""
        self.follow_ups.append((delay, step))


Step = Callable[[Transaction], None]
