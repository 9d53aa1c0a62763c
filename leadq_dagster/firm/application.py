"""The firm's application: it writes what happens at the firm into its own database, each thing once."""

import logging
import threading
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime

import sqlalchemy as sa

from leadq_dagster.firm.schema import create_tables, firm_state, heartbeat
from leadq_dagster.firm.transaction import Change
from leadq_dagster.firm.truth import Truth
from leadq_dagster.firm.world import Firm, Recipe
from leadq_dagster.firm.writing import count_rows, write_changes

SERVER_ID = 1
TICK_SECONDS = 1.0

_log = logging.getLogger(__name__)


class OtherHistoryError(Exception):
    """The database holds a history that this firm did not live; drop its tables to begin anew."""


class Application:
    """A firm and its database. `truth` is what the database shows, as far as this application wrote it.

    Several applications of one recipe on one database are harmless: each change is written once.
    """

    def __init__(self, engine: sa.Engine, firm: Firm) -> None:
        self.firm, self.truth = firm, Truth()
        self._engine = engine
        self._waiting: list[Change] = []

    def advance(self, until: datetime) -> int:
        """Write all that becomes visible up to `until` (aware), in one transaction; returns how many changes.

        A failure loses nothing: the next call writes what this one could not.
        """
        self._waiting += self.firm.advance(until)
        if not self._waiting:
            return 0
        with self._engine.begin() as connection:
            applied_until = _lock_applied_until(connection)
            unwritten = [change for change in self._waiting if change.visible_at > applied_until]
            write_changes(connection, unwritten)
            moment = _naive(max(until, applied_until))
            connection.execute(firm_state.update().values(applied_until=moment))
        self.truth.see(self._waiting)
        self._waiting = []
        return len(unwritten)

    def beat(self, now: datetime) -> None:
        """Write the primary's own clock (`now`, aware) into the heartbeat table."""
        moment = _naive(now)
        with self._engine.begin() as connection:
            beaten = connection.execute(
                heartbeat.update().where(heartbeat.c.server_id == SERVER_ID).values(ts=moment)
            )
            if beaten.rowcount == 0:
                connection.execute(heartbeat.insert().values(server_id=SERVER_ID, ts=moment))

    def run_live(
        self, stop: threading.Event, now: Callable[[], datetime], tick_seconds: float = TICK_SECONDS
    ) -> None:
        """Follow the clock `now` (aware) until `stop` is set: a tick writes what became visible, then a beat.

        A database that does not answer is tried again at the next tick.
        """
        stopped = stop.is_set()
        while not stopped:
            self._tick(now())
            stopped = stop.wait(tick_seconds)

    def _tick(self, now: datetime) -> None:
        try:
            self.advance(now)
            self.beat(now)
        except (sa.exc.OperationalError, sa.exc.InterfaceError) as error:
            # The exception's text carries the parameters, which are people's names: its type must do.
            _log.warning("the firm's database does not answer (%s); trying again", type(error).__name__)


def open_application(engine: sa.Engine, recipe: Recipe) -> Application:
    """Continue the firm whose history the database holds; where there is none, begin a firm of `recipe`.

    A recorded firm keeps its own start. It relives its past silently and goes on from where the
    database is. Raises OtherHistoryError if the database holds another firm's history.
    """
    create_tables(engine)
    recorded = _recorded(engine)
    if recorded is None:
        firm = Firm(**asdict(recipe))
        _record(engine, firm.recipe)
        return Application(engine, firm)
    lived, applied_until = recorded
    if replace(recipe, start=lived.start) != lived:
        raise OtherHistoryError(f"the database holds the history of {lived}, not of {recipe}")
    application = Application(engine, Firm(**asdict(lived)))
    application.truth.see(application.firm.advance(applied_until))
    _compare(engine, application.truth)
    return application


def _compare(engine: sa.Engine, truth: Truth) -> None:
    with engine.connect() as connection:
        found = count_rows(connection)
    expected = {table: len(rows) for table, rows in truth.rows.items()}
    if found != expected:
        raise OtherHistoryError(f"the database holds {found} rows where this firm wrote {expected}")


def _recorded(engine: sa.Engine) -> tuple[Recipe, datetime] | None:
    with engine.connect() as connection:
        row = connection.execute(firm_state.select()).one_or_none()
    if row is None:
        return None
    start = row.started_at.replace(tzinfo=UTC)
    recipe = Recipe(row.seed, start, row.sign_ups_per_day, row.late_share, row.undated_share)
    return recipe, row.applied_until.replace(tzinfo=UTC)


def _record(engine: sa.Engine, recipe: Recipe) -> None:
    start = _naive(recipe.start)
    columns = asdict(recipe) | {"id": 1, "started_at": start, "applied_until": start}
    del columns["start"]
    with engine.begin() as connection:
        connection.execute(firm_state.insert().values(columns))


def _lock_applied_until(connection: sa.Connection) -> datetime:
    statement = sa.select(firm_state.c.applied_until).with_for_update()
    applied_until: datetime = connection.execute(statement).scalar_one()
    return applied_until.replace(tzinfo=UTC)


def _naive(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)
