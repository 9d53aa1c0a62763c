"""What a demo did, held against the firm's own truth."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from leadq_dagster.domain.windows import Window, join_touching
from leadq_dagster.firm.truth import Truth
from leadq_dagster.store import scores
from leadq_dagster.store.connection import Store


@dataclass(frozen=True)
class Summary:
    """The numbers of a demo, in users unless the name says otherwise.

    `missing` are enabled at the source in the hours run and unknown to the store; `unexpected` are known and
    were never enabled; `misplaced` are known and in no queue although the truth has them in one. All are 0.
    """

    hours_run: int
    runs: int
    seconds: float
    tally: Mapping[str, int]
    users_at_the_source: int
    users_known: int
    in_queue: Mapping[str, int]
    missing: int
    unexpected: int
    misplaced: int

    @property
    def agrees_with_the_truth(self) -> bool:
        """Whether the store holds exactly whom it should."""
        return not (self.missing or self.unexpected or self.misplaced)

    def as_json(self) -> dict[str, Any]:
        """One object of plain numbers and objects."""
        return {**asdict(self), "agrees_with_the_truth": self.agrees_with_the_truth}

    def as_table(self) -> Table:
        """The same for people."""
        table = Table(title="New-user discovery", show_header=False)
        rows = {
            "hours run": f"{self.hours_run:,} in {self.runs} runs, {self.seconds:.1f} s",
            **{name.replace("_", " "): f"{count:,}" for name, count in self.tally.items()},
            "users at the source": f"{self.users_at_the_source:,}",
            "users known to the store": f"{self.users_known:,}",
            **{f"waiting in {queue}": f"{count:,}" for queue, count in self.in_queue.items()},
            "held against the firm's truth": "equal" if self.agrees_with_the_truth else self._disagreement(),
        }
        for name, value in rows.items():
            table.add_row(name, value)
        return table

    def _disagreement(self) -> str:
        return f"missing {self.missing}, unexpected {self.unexpected}, misplaced {self.misplaced}"


def summarise(
    store: Store,
    truth: Truth,
    runs: Sequence[Window],
    *,
    hours_run: int,
    seconds: float,
    tally: Counter[str],
) -> Summary:
    """Compare the store with the truth about everybody dated within the hours that were just run.

    About nobody else: what has changed since an hour was run is for the next hour to find.
    """
    with store.transaction() as cursor:
        queues = scores.queues(cursor)
    dated = [truth.dated_within(hours.start, hours.end) for hours in join_touching(runs)]
    due = set().union(*dated) & truth.enabled_users()
    return Summary(
        hours_run=hours_run,
        runs=len(runs),
        seconds=round(seconds, 1),
        tally=dict(tally),
        users_at_the_source=len(truth.users),
        users_known=len(queues),
        in_queue=dict(Counter(queue.value for queue in queues.values() if queue)),
        missing=len(due - queues.keys()),
        unexpected=len(queues.keys() - truth.users.keys()),
        misplaced=sum(queues.get(user_id) is None and truth.queue_of(user_id) is not None for user_id in due),
    )
