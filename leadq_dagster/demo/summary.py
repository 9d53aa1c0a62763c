"""What a demo did, held against the firm's own truth."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from leadq_dagster.demo.audit import Audit
from leadq_dagster.demo.hourly_jobs import JobTally, Round
from leadq_dagster.domain.windows import Window, join_touching
from leadq_dagster.store import scores


@dataclass(frozen=True)
class Summary:
    """The numbers of a demo, in users unless the name says otherwise.

    `hours_run` are hours of the firm's history, each run by up to four jobs. `missing` are enabled at the
    source in the hours run and unknown to the store; `unexpected` are known and were never there; `misplaced`
    are in another queue than the truth has them in. Of the ledger, `conversions_missing` happened in the
    hours run and are not recorded, `conversions_unexpected` are recorded and did not happen so. All are 0.
    `desk` is what one agent did through the desk's service, None where nobody did anything.
    """

    hours_run: int
    runs: int
    seconds: float
    tallies: Mapping[str, Mapping[str, Any]]
    users_at_the_source: int
    users_known: int
    in_queue: Mapping[str, int]
    conversions: Mapping[str, int]
    missing: int
    unexpected: int
    misplaced: int
    conversions_missing: int
    conversions_unexpected: int
    desk: Mapping[str, Any] | None = None

    @property
    def disagreements(self) -> dict[str, int]:
        """How many of each kind there are, where there are any."""
        kinds = ("missing", "unexpected", "misplaced", "conversions_missing", "conversions_unexpected")
        return {kind: count for kind in kinds if (count := getattr(self, kind))}

    @property
    def agrees_with_the_truth(self) -> bool:
        """Whether the store holds exactly whom and what it should."""
        return not self.disagreements

    def as_json(self) -> dict[str, Any]:
        """One object of plain numbers and objects."""
        return {**asdict(self), "agrees_with_the_truth": self.agrees_with_the_truth}

    def as_table(self) -> Table:
        """The same for people."""
        table = Table(title="The hourly jobs over the firm's history", show_header=False)
        disagreements = [f"{kind.replace('_', ' ')} {count}" for kind, count in self.disagreements.items()]
        rows = {
            "hours run": f"{self.hours_run:,} in {self.runs} runs, {self.seconds:.1f} s",
            **{asset: _in_words(tally) for asset, tally in self.tallies.items()},
            "users at the source": f"{self.users_at_the_source:,}",
            "users known to the store": f"{self.users_known:,}",
            **{f"waiting in {queue}": f"{count:,}" for queue, count in self.in_queue.items()},
            **{f"conversions, {kind.replace('_', ' ')}": f"{n:,}" for kind, n in self.conversions.items()},
            "held against the firm's truth": ", ".join(disagreements) or "equal: users, queues, conversions",
        }
        if self.desk is not None:
            rows["at the desk"] = _at_the_desk(self.desk)
        for name, value in rows.items():
            table.add_row(name, value)
        return table


def summarise(
    audit: Audit,
    rounds: Sequence[Round],
    complete: Window,
    *,
    seconds: float,
    tallies: Mapping[str, JobTally],
) -> Summary:
    """Compare the store with the truth about everybody dated within the hours that were just run.

    About nobody else, and nobody of whom something changed after the last complete hour: that is for the
    next hour to find.
    """
    truth = audit.truth
    with audit.store.transaction() as cursor:
        queues = scores.queues(cursor)
    spans = join_touching(one.window for one in rounds)
    changed_since = truth.changed_since(complete.end)
    dated = set().union(*(truth.dated_within(span.start, span.end) for span in spans)) - changed_since
    return Summary(
        hours_run=sum(1 for one in rounds for _ in one.window.hours()),
        runs=sum(tally.runs for tally in tallies.values()),
        seconds=round(seconds, 1),
        tallies={asset: tally.as_json() for asset, tally in tallies.items()},
        users_at_the_source=len(truth.users),
        users_known=len(queues),
        in_queue=dict(Counter(queue.value for queue in queues.values() if queue)),
        conversions=dict(audit.recorded),
        missing=len((dated & truth.enabled_users()) - queues.keys()),
        unexpected=len(queues.keys() - truth.users.keys()),
        misplaced=sum(queues[user_id] != truth.queue_of(user_id) for user_id in dated & queues.keys()),
        conversions_missing=audit.missing(spans, changed_since),
        conversions_unexpected=audit.unexpected,
    )


def _at_the_desk(did: Mapping[str, Any]) -> str:
    if not did["taken"]:
        return f"one agent asked and got no lead: {did['why'].replace('_', ' ')}"
    checked = "checked at the source" if did["is_validated"] else "not checked at the source"
    outcome = did["outcome"].replace("_", " ")
    return f"one agent took user {did['user_id']} of {did['queue']}, {checked}, and reported {outcome}"


def _in_words(tally: Mapping[str, Any]) -> str:
    """The numbers that are not 0, and the reasons behind those that have some."""
    words = []
    for name, value in tally.items():
        if isinstance(value, Mapping):
            words += [f"{reason.replace('_', ' ')} {count:,}" for reason, count in value.items()]
        elif value and name != "hours":
            words.append(f"{name.replace('_', ' ')} {value:,}")
    return ", ".join(words)
