"""The firm's own knowledge of who belongs where: the oracle that leadq is held against.

It looks at what the firm means, never at how its application spelled it, and shares no rule with leadq.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from leadq_dagster.firm.transaction import (
    Change,
    ClaimState,
    Key,
    RequirementState,
    Row,
    TableName,
    UserState,
)


@dataclass(frozen=True, slots=True)
class Success:
    """What a stay in a queue has come to: its type, when it really happened, when the rows say it did.

    Both are aware UTC. Rows tell no time (None) where they are undated, and a later one than the
    true one where the same row was changed again since.
    """

    type: str
    happened_at: datetime
    told_at: datetime | None


class Truth:
    """What the firm's database shows at an instant, and what that means; it learns from visible changes."""

    def __init__(self) -> None:
        self.rows: dict[TableName, dict[Key, Row]] = {
            "users": {},
            "claims": {},
            "claim_requirements": {},
        }
        self.users: dict[int, UserState] = {}
        self._claims: defaultdict[int, dict[int, ClaimState]] = defaultdict(dict)
        self._requirements: defaultdict[int, dict[str, RequirementState]] = defaultdict(dict)
        self._succeeded_at: dict[Key, datetime] = {}

    def see(self, changes: Iterable[Change]) -> None:
        """Learn from changes in the order in which they became visible."""
        for change in changes:
            rows = self.rows[change.table]
            rows[change.key] = {**rows.get(change.key, {}), **change.row}
            match change.state:
                case UserState() as user:
                    self._date(change, user.is_signed)
                    self.users[user.user_id] = user
                case ClaimState() as claim:
                    self._claims[claim.user_id][claim.claim_id] = claim
                case RequirementState() as item:
                    self._date(change, item.status == "approved")
                    self._requirements[item.claim_id][item.requirement_id] = item

    def copy(self) -> "Truth":
        """What is known now, for keeping: what this one learns later does not reach it."""
        kept = Truth()
        kept.rows = {table: dict(rows) for table, rows in self.rows.items()}
        kept.users = dict(self.users)
        for key, claims in self._claims.items():
            kept._claims[key] = dict(claims)
        for claim_id, items in self._requirements.items():
            kept._requirements[claim_id] = dict(items)
        kept._succeeded_at = dict(self._succeeded_at)
        return kept

    def enabled_users(self) -> set[int]:
        """Ids of everybody who is enabled."""
        return {user.user_id for user in self.users.values() if user.is_enabled}

    def queue_of(self, user_id: int) -> str | None:
        """The queue this person belongs in: "unsigned_users", "outstanding_requests", or None for neither."""
        user = self.users.get(user_id)
        if user is None or user.is_cancelled or not user.is_enabled:
            return None
        claims = self._claims.get(user_id, {}).values()
        alive = [claim for claim in claims if not claim.is_cancelled]
        if claims and not alive:
            return None
        if not user.is_signed:
            return "unsigned_users"
        return "outstanding_requests" if any(map(self._is_waited_for, alive)) else None

    def queues(self) -> dict[int, str | None]:
        """`queue_of` for every user there is."""
        return {user_id: self.queue_of(user_id) for user_id in self.users}

    def success_of(self, user_id: int, queue: str) -> Success | None:
        """What a stay of this person in `queue` should have come to, as things stand; None for nothing.

        A stay among the unsigned succeeds by the signature. One among the outstanding succeeds when, of
        what the firm calls about for claims that are alive, something is approved and nothing is waited
        for. Nothing else counts: not who is enabled, who cancelled, or who closed the stay.
        """
        if queue == "unsigned_users":
            user = self.users.get(user_id)
            if user is None or not user.is_signed:
                return None
            told_at = _aware(self.rows["users"][user_id].get("updated_at"))
            return Success("signature_obtained", self._succeeded_at[user_id], told_at)
        alive = [claim for claim in self._claims.get(user_id, {}).values() if not claim.is_cancelled]
        items = [item for claim in alive for item in self._requirements.get(claim.claim_id, {}).values()]
        approved = [
            item.requirement_id for item in items if item.kind.is_counted and item.status == "approved"
        ]
        if not approved or any(map(self._is_waited_for, alive)):
            return None
        rows = self.rows["claim_requirements"]
        told = [moment for key in approved if (moment := _aware(rows[key].get("updated_at")))]
        happened_at = max(self._succeeded_at[key] for key in approved)
        return Success("requirements_completed", happened_at, max(told, default=None))

    def dated_within(self, start: datetime, end: datetime) -> set[int]:
        """Ids of users whose row says created or updated in the half-open window of two aware instants."""
        first, last = (bound.astimezone(UTC).replace(tzinfo=None) for bound in (start, end))
        return {
            user_id
            for user_id in self.users
            for moment in map(self.rows["users"][user_id].get, ("created_at", "updated_at"))
            if isinstance(moment, datetime) and first <= moment < last
        }

    def changed_since(self, instant: datetime) -> set[int]:
        """Ids of users with something dated at or after the instant (aware): they, a claim, a requirement."""
        first = instant.astimezone(UTC).replace(tzinfo=None)
        return {
            self._owner(table, key, row)
            for table, rows in self.rows.items()
            for key, row in rows.items()
            for moment in (row.get("created_at"), row.get("updated_at"))
            if isinstance(moment, datetime) and moment >= first
        }

    def _owner(self, table: TableName, key: Key, row: Row) -> int:
        if table == "users":
            return int(key)
        claim = row if table == "claims" else self.rows["claims"][int(str(row["claim_id"]))]
        return int(str(claim["user_id"]))

    def _date(self, change: Change, is_success: bool) -> None:
        """Keep the instant of a success for as long as it lasts."""
        if is_success:
            self._succeeded_at.setdefault(change.key, change.at)
        else:
            self._succeeded_at.pop(change.key, None)

    def _is_waited_for(self, claim: ClaimState) -> bool:
        items = self._requirements.get(claim.claim_id, {}).values()
        return any(item.kind.is_counted and item.status == "pending" for item in items)


def _aware(moment: object) -> datetime | None:
    return moment.replace(tzinfo=UTC) if isinstance(moment, datetime) else None
