"""The simulated firm's past: some weeks of it, written into its database before leadq looks."""

from collections.abc import Callable
from datetime import datetime, timedelta

import sqlalchemy as sa

from leadq_dagster.domain.errors import RefusedError
from leadq_dagster.firm.application import Application, OtherHistoryError, open_application
from leadq_dagster.firm.world import Recipe

SEED = 8911
WEEKS = 4
DAY = timedelta(days=1)


def live_until(
    engine: sa.Engine, now: datetime, weeks: int, progress: Callable[[int, int], None]
) -> Application:
    """The firm, brought up to `now`: begun `weeks` before, or continued where an earlier demo left it.

    Written a day at a time; `progress` is told the days done and the days there are. Raises RefusedError when
    the database holds the history of another firm.
    """
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    try:
        application = open_application(engine, Recipe(SEED, midnight - timedelta(weeks=weeks)))
    except OtherHistoryError as error:
        raise RefusedError(f"{error}; remove the demo's folder, or name another with LEADQ_HOME") from None
    day_count = (now - application.firm.recipe.start) // DAY + 1
    for day in range(1, day_count + 1):
        application.advance(min(application.firm.recipe.start + day * DAY, now))
        progress(day, day_count)
    application.beat(now)
    return application
