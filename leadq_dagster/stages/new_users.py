"""S1: every new enabled user becomes known to the store; who belongs in a queue enters it."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import chain

from leadq_dagster.domain.facts import SourceUser
from leadq_dagster.domain.provenance import Provenance
from leadq_dagster.domain.queue_rule import Reason
from leadq_dagster.domain.windows import Window, floor_to_hour, join_touching
from leadq_dagster.replica.engine import Replica
from leadq_dagster.replica.users import ChangedUser
from leadq_dagster.stages.admission import Discovery, DiscoveryReport, admit, begin, late_of
from leadq_dagster.store import windows
from leadq_dagster.store.connection import Store


def discover_new_users(
    window: Window,
    *,
    replica: Replica,
    store: Store,
    provenance: Provenance,
    now: datetime,
    overlap: timedelta,
    progress: Callable[[int], None] = lambda _: None,
) -> DiscoveryReport:
    """Make known every enabled user who was created or updated in the window, and queue those who belong.

    Before the window, hours within `overlap` that an earlier discovery completed are read again for rows
    that became visible late: users still unknown, and known ones who by now belong in a queue. An hour
    nobody completed yet is left to its own discovery, so that any order of windows ends in the same state.

    Twice is the same as once; a discovery cut off midway is finished by running it again. `progress` is
    called with the number of users seen so far. Of a range, the hours that the replica has observed are
    discovered and the rest is reported: a replica that is always behind would otherwise never let a range
    through. Raises TransientError while it has not observed the first hour's end; nothing is written then.
    """
    discovery = begin(window, replica, store, provenance, now, _refusal)
    return admit(
        discovery, chain(_late_pages(discovery, overlap), replica.changed_users(discovery.window)), progress
    )


def _refusal(user: SourceUser) -> Reason | None:
    return None if user.is_enabled else Reason.USER_DISABLED


def _late_pages(discovery: Discovery, overlap: timedelta) -> Iterator[list[ChangedUser]]:
    """Whom an earlier discovery of the overlap's hours could not see yet as they are now, page by page."""
    if not overlap:
        return
    start = discovery.window.start
    # From the full hour: hours are completed whole, and the overlap may end within one.
    reach = Window(floor_to_hour(start - overlap), start)
    with discovery.store.transaction() as cursor:
        completed = windows.completed_hours(cursor, discovery.provenance.actor, reach)
    for part in join_touching(completed):
        for page in discovery.replica.changed_users(Window(part.start, min(part.end, start))):
            # Who is of the window itself, too, is read with it, and counted there.
            elsewhere = [item for item in page if not _is_dated_in(discovery.window, item.user)]
            if late := late_of(discovery, elsewhere):
                yield late


def _is_dated_in(window: Window, user: SourceUser) -> bool:
    return user.created_at in window or user.updated_at in window
