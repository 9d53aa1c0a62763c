"""S2: signed users who came to owe something enter `outstanding_requests`; who was unknown becomes known."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from itertools import chain

from leadq_dagster.domain.facts import SourceUser
from leadq_dagster.domain.provenance import Provenance
from leadq_dagster.domain.queue_rule import Reason, decide_queue
from leadq_dagster.domain.windows import Window
from leadq_dagster.replica.engine import Replica
from leadq_dagster.replica.users import ChangedUser
from leadq_dagster.stages.admission import DiscoveryReport, admit, begin, late_of
from leadq_dagster.store import scores
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

    The queue rule looks at all that they owe, not at the one that changed. Who has not signed is left to the
    discovery of users, but for those whom it cannot see: known, in no queue because all their claims were
    cancelled, and back with another claim while nothing of themselves has changed.

    Rows of the overlap before the window are read again for those that became visible late. Twice is the same
    as once, and any order of windows ends in the same state. Of a range, the hours that the replica has
    observed are discovered and the rest is reported. Raises TransientError while it has not observed the
    first hour's end; nothing is written then.
    """
    back = set[int]()

    def refusal(user: SourceUser) -> Reason | None:
        if not user.is_enabled:
            return Reason.USER_DISABLED
        return None if user.has_signature or user.user_id in back else Reason.NO_SIGNATURE

    def pages(of: Window) -> Iterator[list[ChangedUser]]:
        for page in _pages(replica, of):
            back.update(_back_without_a_signature(replica, store, page))
            yield page

    discovery = begin(window, replica, store, provenance, now, refusal)
    late: Iterator[list[ChangedUser]] = iter(())
    if overlap:
        late = filter(None, (late_of(discovery, page) for page in pages(window.before(overlap))))
    return admit(discovery, chain(late, pages(discovery.window)), progress)


def _back_without_a_signature(replica: Replica, store: Store, page: Iterable[ChangedUser]) -> set[int]:
    """Who of them is known, in no queue, and belongs among the unsigned again."""
    unsigned = {item.user.user_id: item.user for item in page if not item.user.has_signature}
    with store.transaction() as cursor:
        known = scores.known(cursor, list(unsigned))
        settled = scores.settled(cursor, list(unsigned))
    facts = replica.read_facts([unsigned[user_id] for user_id in sorted(known - settled)])
    return {fact.user.user_id for fact in facts if decide_queue(fact).queue}


def _pages(replica: Replica, window: Window) -> Iterator[list[ChangedUser]]:
    """Users whose requirements or claims changed, each once."""
    met: set[int] = set()
    changes = chain(replica.users_of_changed_requirements(window), replica.users_of_changed_claims(window))
    for instants in changes:
        users = replica.read_users([user_id for user_id in instants if user_id not in met])
        met.update(instants)
        if users:
            yield [ChangedUser(user, instants[user.user_id]) for user in users]
