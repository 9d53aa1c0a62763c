"""All servers of a test run: started together by one process, reached by every worker."""

import fcntl
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from leadq_dagster.embedded.postgres import EmbeddedPostgres, running_postgres, start_postgres
from leadq_dagster_tests.servers.homes import throwaway_home
from leadq_dagster_tests.servers.mariadb import (
    MariaDb,
    ReplicationPair,
    begin_pair,
    join_pair,
    pair_from,
    ready,
)
from leadq_dagster_tests.servers.mariadb_process import MariaDbProcess, MariaDbTemplate

HANDED_OVER = "LEADQ_TEST_SERVERS"


@dataclass(frozen=True)
class Servers:
    """How to reach the servers of this run; `home` holds what their users share, such as locks."""

    home: Path
    mariadb: MariaDb
    pair: ReplicationPair

    def postgres(self) -> EmbeddedPostgres:
        """This process's own view of the running PostgreSQL."""
        postgres = running_postgres(self.home / "postgres")
        if postgres is None:
            raise RuntimeError("the PostgreSQL of this test run has stopped")
        return postgres

    @contextmanager
    def alone(self, what: str) -> Iterator[None]:
        """Wait until no other process of this run does `what`, and keep it to ourselves meanwhile."""
        with (self.home / f"{what}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def to_json(self) -> str:
        """For the environment variable that hands the servers, passwords included, to the workers."""
        return json.dumps(
            {"home": str(self.home), "mariadb": asdict(self.mariadb), "pair": asdict(self.pair)}
        )

    @classmethod
    def from_json(cls, text: str) -> "Servers":
        """The servers that another process started."""
        told = json.loads(text)
        return cls(Path(told["home"]), MariaDb(**told["mariadb"]), pair_from(told["pair"]))


@contextmanager
def start_servers() -> Iterator[Servers]:
    """Start PostgreSQL, a MariaDB and a replication pair; none outlives this process, even a killed one.

    Everything that takes time is begun before anything is waited for, in the calling thread: the kernel
    ends a server together with the thread that started it, so a helper thread would take it along.
    """
    with ExitStack() as stack:
        home = stack.enter_context(throwaway_home())
        template = stack.enter_context(MariaDbTemplate(home))
        stack.enter_context(start_postgres(home / "postgres", durable=False))
        processes = begin_pair(template)
        single = MariaDbProcess(template, "single")
        yield Servers(home, ready(template, single), join_pair(template, processes))
