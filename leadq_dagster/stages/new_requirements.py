"""S2: signed users who came to owe something enter `outstanding_requests`; who was unknown becomes known."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import chain

from leadq_dagster.domain.facts import SourceUser
from leadq_dagster.domain.provenance import Provenance
from leadq_dagster.domain.queue_rule import Reason
from leadq_dagster.domain.windows import Window
from leadq_dagster.replica.engine import Replica
from leadq_dagster.replica.users import ChangedUser
from leadq_dagster.stages.admission import DiscoveryReport, admit, begin, late_of
from leadq_dagster.store.connection import Store


def discover_new_requirements(
    window: Window,
    *,
    replica: Replica,
    store: Store,
    provenance: Provenance,
    now: datetime,
    overlap: timedelta,
    progress: Callable[[int], None] = lambda _: None,
) -> DiscoveryReport:
    """Admit the signed, enabled users with a requirement or claim created or updated in the window.

    The queue rule looks at all that they owe, not at the one that changed. Rows of the overlap before the
    window are read again for those that became visible late. Twice is the same as once, and any order of
    windows ends in the same state. Of a range, the hours that the replica has observed are discovered and the
    rest is reported. Raises TransientError while it has not observed the first hour's end; nothing is
    written then.
    """
    discovery = begin(window, replica, store, provenance, now, _refusal)
    late: Iterator[list[ChangedUser]] = iter(())
    if overlap:
        late = filter(None, (late_of(discovery, page) for page in _pages(replica, window.before(overlap))))
    return admit(discovery, chain(late, _pages(replica, discovery.window)), progress)


def _refusal(user: SourceUser) -> Reason | None:
    if not user.is_enabled:
        return Reason.USER_DISABLED
    return None if user.has_signature else Reason.NO_SIGNATURE


def _pages(replica: Replica, window: Window) -> Iterator[list[ChangedUser]]:
    """Users whose requirements or claims changed, each once."""
    met: set[int] = set()
    changes = chain(replica.users_of_changed_requirements(window), replica.users_of_changed_claims(window))
    for instants in changes:
        users = replica.read_users([user_id for user_id in instants if user_id not in met])
        met.update(instants)
        if users:
            yield [ChangedUser(user, instants[user.user_id]) for user in users]
