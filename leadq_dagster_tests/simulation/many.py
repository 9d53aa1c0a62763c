"""Many worlds, one after the other: `python -m leadq_dagster_tests.simulation.many --seeds 300 --first 1000`.

Prints the seed of each world that fails, what happened in all of them, and ends with 1 if one failed.
"""

import argparse
import logging
import sys
import time
import traceback
from collections import Counter
from contextlib import ExitStack

from leadq_dagster_tests.servers import databases
from leadq_dagster_tests.servers.running import Servers, start_servers
from leadq_dagster_tests.simulation.conversion_world import live


def live_on(servers: Servers, seed: int) -> Counter[str]:
    """The world of this seed on databases of its own: every third on MariaDB, the others on PostgreSQL."""
    postgres = servers.postgres()
    with ExitStack() as stack:
        source = stack.enter_context(
            databases.postgres_replica(postgres) if seed % 3 else databases.mariadb_replica(servers.mariadb)
        )
        template = databases.store_template(servers)
        store = stack.enter_context(databases.fresh_postgres_database(postgres, template))
        return live(seed, source, postgres.url(store))


def main() -> int:
    """Live the worlds that the command line asks for; 1 if one failed."""
    parser = argparse.ArgumentParser(description="Seeded worlds of conversions.")
    parser.add_argument("--seeds", type=int, default=100, help="how many")
    parser.add_argument("--first", type=int, default=1000, help="the first seed")
    asked = parser.parse_args()
    counted, failed = Counter[str](), list[int]()
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # it tells of each connection that was cut
    began = time.monotonic()
    with start_servers() as servers:
        for seed in range(asked.first, asked.first + asked.seeds):
            try:
                counted += live_on(servers, seed)
            except Exception:  # noqa: BLE001 - told with its seed; the other worlds are lived all the same
                failed.append(seed)
                say(f"seed {seed} failed:\n{traceback.format_exc()}")
            say(f"after {time.monotonic() - began:.0f} s: seed {seed} done, failed so far: {failed}")
    for what, number in sorted(counted.items()):
        say(f"{number:8} {what}")
    say(f"{asked.seeds - len(failed)} of {asked.seeds} worlds passed in {time.monotonic() - began:.0f} s")
    say(f"failed seeds: {failed}")
    return 1 if failed else 0


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
