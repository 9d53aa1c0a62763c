"""What the service counts, for Prometheus: no label names a person, an agent or a lead."""

from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector

from leadq_dagster.desk.terms import NoWork, Taken

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
RACE = "assignment_race"
UNANSWERED = "source_unanswered"


@dataclass
class Meters:
    """The counts of this process, or of all processes of one `leadq serve`: then they lie in a folder."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        here = self.registry
        self._takes = Counter(
            "leadq_desk_takes", "Requests for the next lead, by answer", ["answer"], registry=here
        )
        self._unvalidated = Counter(
            "leadq_desk_unvalidated", "Leads handed out without asking the source", registry=here
        )
        self._outcomes = Counter(
            "leadq_desk_outcomes", "Outcomes recorded, by outcome", ["outcome"], registry=here
        )
        self._refusals = Counter(
            "leadq_desk_refusals", "Requests answered with a problem, by status", ["status"], registry=here
        )
        self._races = Counter(
            "leadq_desk_races", "Requests that lost a lead to somebody else, or to its lease", registry=here
        )
        self._unanswered = Counter(
            "leadq_desk_source_unanswered", "Questions that the source did not answer in time", registry=here
        )
        self._seconds = Histogram(
            "leadq_desk_request_seconds",
            "From the request's head to the end of its answer",
            ["route"],
            buckets=SECONDS,
            registry=here,
        )

    def took(self, answer: Taken | NoWork) -> None:
        """Count what a request for the next lead was answered."""
        if isinstance(answer, NoWork):
            self._takes.labels("no_work").inc()
            return
        self._takes.labels("callback" if answer.assignment.callback_id else "lead").inc()
        if not answer.is_validated:
            self._unvalidated.inc()

    def recorded(self, outcome: str) -> None:
        """Count an outcome."""
        self._outcomes.labels(outcome).inc()

    def noted(self, event: str) -> None:
        """Count what is written down of the desk, by the name of its line: a lost race, a silent source."""
        if event == RACE:
            self._races.inc()
        elif event == UNANSWERED:
            self._unanswered.inc()

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count a request; `route` is its template, never its path."""
        self._seconds.labels(route).observe(seconds)
        if status >= 400:
            self._refusals.labels(str(status)).inc()

    def text(self) -> bytes:
        """All of it in Prometheus' format."""
        if values.ValueClass is values.MutexValue:
            return generate_latest(self.registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)
