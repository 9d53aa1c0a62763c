"""Whose claims or requirements changed in a window, and when."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from sqlalchemy import ColumnElement, select

from leadq_dagster.domain.windows import Window
from leadq_dagster.replica.pages import AnySelect, pages_of
from leadq_dagster.replica.session import Session
from leadq_dagster.replica.tables import claim_requirements, claims
from leadq_dagster.replica.times import instant_in, naive_bounds


@dataclass(frozen=True)
class ClaimReader:
    """Reads ids of users, at most `batch_rows` rows at a time; naive dates are wall-clock time in `zone`."""

    session: Session
    zone: tzinfo
    batch_rows: int

    def users_of_changed_claims(self, window: Window) -> Iterator[dict[int, datetime]]:
        """The users of claims created or updated in the window, with that instant; a user may come twice."""
        for moment in (claims.c.created_at, claims.c.updated_at):
            matching = select(claims.c.user_id, claims.c.id, moment)
            yield from self._users(window, matching, moment, claims.c.id)

    def users_of_changed_requirements(self, window: Window) -> Iterator[dict[int, datetime]]:
        """The users of requirements created or updated in it, with that instant; a user may come twice."""
        of_claim = claim_requirements.c.claim_id == claims.c.id
        for moment in (claim_requirements.c.created_at, claim_requirements.c.updated_at):
            matching = select(claims.c.user_id, claim_requirements.c.id, moment)
            joined = matching.join_from(claim_requirements, claims, of_claim)
            yield from self._users(window, joined, moment, claim_requirements.c.id)

    def _users(
        self, window: Window, matching: AnySelect, moment: ColumnElement[Any], key: ColumnElement[Any]
    ) -> Iterator[dict[int, datetime]]:
        lower, upper = naive_bounds(window, self.zone)
        within = matching.where(moment >= lower, moment < upper)
        for page in pages_of(self.session, within, moment, key, self.batch_rows):
            yield {
                row.user_id: instant
                for row in page
                if row.user_id is not None
                and (instant := instant_in(window, row._mapping[moment], self.zone)) is not None
            }
