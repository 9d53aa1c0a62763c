"""`leadq doctor`: is everything here that leadq needs, and what to change where it is not."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg

from leadq_dagster.databases import CONNECT_TIMEOUT_SECONDS, dagster_storage_url, plain_url, store_url
from leadq_dagster.domain.errors import LeadqError
from leadq_dagster.domain.facts import SourceUser
from leadq_dagster.domain.windows import Window
from leadq_dagster.opening import Databases
from leadq_dagster.replica.engine import Replica
from leadq_dagster.settings import Settings
from leadq_dagster.store import migrations

LAG_MAX = timedelta(minutes=10)


@dataclass(frozen=True)
class Finding:
    """One thing looked at: whether it is well, and a sentence about it.

    What is not well and can be lived with, `is_bearable`, is a warning.
    """

    part: str
    is_well: bool
    sentence: str
    is_bearable: bool = False

    def __str__(self) -> str:
        word = "well " if self.is_well else "warn " if self.is_bearable else "WRONG"
        return f"{word}  {self.part}: {self.sentence}"


def examine(settings: Settings) -> list[Finding]:
    """Look at the replica, the store and Dagster's storage. A part that cannot be looked at is wrong."""
    looks: list[tuple[str, Callable[[Settings], Iterator[Finding]]]] = [
        ("replica", _replica),
        ("store", _store),
        ("Dagster's storage", _dagster_storage),
    ]
    return [finding for part, look in looks for finding in _guarded(part, look, settings)]


def _guarded(
    part: str, look: Callable[[Settings], Iterator[Finding]], settings: Settings
) -> Iterator[Finding]:
    try:
        yield from look(settings)
    except LeadqError as error:
        yield Finding(part, False, str(error))


def _replica(settings: Settings) -> Iterator[Finding]:
    with Databases(settings).open_replica() as replica:
        observed = replica.observed_until()
        now = datetime.now(UTC)
        yield Finding(
            "replica",
            observed.until > now - LAG_MAX,
            f"has observed {observed.until:%Y-%m-%d %H:%M:%S} UTC, by {observed.by}",
        )
        _read_every_column(replica, now)
        yield Finding("replica's tables", True, "every column that leadq needs can be read")
        yield _indexes(replica)


def _read_every_column(replica: Replica, now: datetime) -> None:
    for _ in replica.changed_users(Window(now, now + timedelta(hours=1))):
        break
    replica.read_facts([SourceUser(0, is_enabled=True, status="", has_signature=True)])


def _indexes(replica: Replica) -> Finding:
    missing = replica.missing_indexes()
    if missing:
        sentence = f"no index leads with {', '.join(missing)}: each hour reads the whole table"
        # leadq works without, slowly, and the replica is not ours to change.
        return Finding("replica's indexes", False, sentence, is_bearable=True)
    return Finding("replica's indexes", True, "each hour's rows are found by an index")


def _store(settings: Settings) -> Iterator[Finding]:
    differences = migrations.check(store_url(settings))
    for difference in differences:
        yield Finding("store", False, difference)
    if not differences:
        yield Finding("store", True, "the schema is what the migrations give")


def _dagster_storage(settings: Settings) -> Iterator[Finding]:
    part = "Dagster's storage"
    variable = "DAGSTER_DATABASE_URL" if settings.dagster_database_url else "DATABASE_URL"
    try:
        psycopg.connect(
            plain_url(dagster_storage_url(settings)), connect_timeout=CONNECT_TIMEOUT_SECONDS
        ).close()
    except psycopg.Error as error:
        reason = str(error).strip().splitlines()[0]
        if "does not exist" in reason:
            yield Finding(part, True, "is not there yet; the first start of Dagster makes it, if it may")
        else:
            yield Finding(part, False, f"check {variable}: {reason}")
    else:
        yield Finding(part, True, "answers")
