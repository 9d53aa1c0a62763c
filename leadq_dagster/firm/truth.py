"""The firm's own knowledge of who belongs where: the oracle that leadq is held against.

It looks at what the firm means, never at how its application spelled it, and shares no rule with leadq.
"""

from collections import defaultdict
from collections.abc import Iterable
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

    def see(self, changes: Iterable[Change]) -> None:
        """Learn from changes in the order in which they became visible."""
        for change in changes:
            self.rows[change.table].setdefault(change.key, {}).update(change.row)
            match change.state:
                case UserState() as user:
                    self.users[user.user_id] = user
                case ClaimState() as claim:
                    self._claims[claim.user_id][claim.claim_id] = claim
                case RequirementState() as item:
                    self._requirements[item.claim_id][item.requirement_id] = item

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

    def dated_within(self, start: datetime, end: datetime) -> set[int]:
        """Ids of users whose row says created or updated in the half-open window of two aware instants."""
        first, last = (bound.astimezone(UTC).replace(tzinfo=None) for bound in (start, end))
        return {
            user_id
            for user_id in self.users
            for moment in map(self.rows["users"][user_id].get, ("created_at", "updated_at"))
            if isinstance(moment, datetime) and first <= moment < last
        }

    def _is_waited_for(self, claim: ClaimState) -> bool:
        items = self._requirements.get(claim.claim_id, {}).values()
        return any(item.kind.is_counted and item.status == "pending" for item in items)
