"""`make bench`: every benchmark, or those named on the command line."""

import sys
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.table import Table

from bench import callbacks, desk, desk_http, discovery_cost, hourly_cycle, peers, storing, year_of_hours
from bench.report import Row
from leadq_dagster_tests.servers.running import Servers, start_servers

BENCHMARKS: dict[str, Callable[[Servers], Iterator[Row]]] = {
    "discovery_cost": discovery_cost.measure,
    "storing": storing.measure,
    "hourly_cycle": hourly_cycle.measure,
    "year_of_hours": year_of_hours.measure,
    "desk": desk.measure,
    "desk_http": desk_http.measure,
    "peers": peers.measure,
    "callbacks": callbacks.measure,
}


def main(names: list[str]) -> int:
    if unknown := set(names) - BENCHMARKS.keys():
        print(
            f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}", file=sys.stderr
        )
        return 2
    console = Console()
    with start_servers() as servers:
        for name in names or BENCHMARKS:
            table = Table("what", "result", "remark", title=name)
            with console.status(f"{name} …"):
                for row in BENCHMARKS[name](servers):
                    table.add_row(*row)
            console.print(table)
    console.print("Shared machines are noisy: compare the ratios of one run, not seconds between runs.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
