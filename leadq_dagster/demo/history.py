"""The simulated firm and its past: some weeks of it, which it lives through while leadq looks on."""

from datetime import datetime, timedelta

import sqlalchemy as sa

from leadq_dagster.domain.errors import RefusedError
from leadq_dagster.firm.application import Application, OtherHistoryError, open_application
from leadq_dagster.firm.world import Recipe

SEED = 8911


def open_firm(engine: sa.Engine, now: datetime, weeks: int) -> Application:
    """The firm, begun `weeks` before `now`, or where an earlier demo left it.

    Raises RefusedError when the database holds the history of another firm.
    """
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    try:
        return open_application(engine, Recipe(SEED, midnight - timedelta(weeks=weeks)))
    except OtherHistoryError as error:
        raise RefusedError(f"{error}; remove the demo's folder, or name another with LEADQ_HOME") from None


def live_until(application: Application, instant: datetime) -> None:
    """It is `instant` at the firm, and its replica shows all of it."""
    application.advance(instant)
    application.beat(instant)
