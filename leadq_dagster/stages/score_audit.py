"""Is every score what its recorded events make? Asked of all live stays; nothing is repaired here."""

from dataclasses import dataclass

from leadq_dagster.domain.score_history import problems_of
from leadq_dagster.store import score_events
from leadq_dagster.store.connection import Store
from leadq_dagster.store.score_events import BEFORE_ALL

PAGE_ROWS = 5_000
LISTED_MAX = 100


@dataclass(frozen=True)
class WrongScore:
    """A live stay whose stored score, or place in the queue, is not what its events make; and in what way."""

    user_id: int
    stay_id: int
    problems: tuple[str, ...]


@dataclass(frozen=True)
class ScoreAudit:
    """How many live stays were looked at, how many are wrong, and the first hundred of those."""

    checked: int
    wrong: int
    listed: tuple[WrongScore, ...]


def audit_scores(store: Store, *, page_rows: int = PAGE_ROWS) -> ScoreAudit:
    """Recompute the score of every live stay from its events, twice: by what they recorded, and by the rules.

    Reads only, in pages by user. Raises TransientError or PermanentError when it could not look.
    """
    checked, wrong, listed, after = 0, 0, list[WrongScore](), BEFORE_ALL
    while True:
        with store.transaction() as cursor:
            page = score_events.scored_page(cursor, after, page_rows)
        if not page:
            return ScoreAudit(checked, wrong, tuple(listed))
        found = [
            WrongScore(scored.user_id, scored.stay_id, tuple(problems))
            for scored in page
            if (problems := problems_of(scored))
        ]
        checked, wrong, after = checked + len(page), wrong + len(found), page[-1].user_id
        listed += found[: LISTED_MAX - len(listed)]
