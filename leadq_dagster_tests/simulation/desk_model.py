"""The desk beside its model, for longer than in the suite.

`python -m leadq_dagster_tests.simulation.desk_model --examples 1000`
"""

import argparse
import sys

from leadq_dagster_tests.desk.test_model import play
from leadq_dagster_tests.servers import databases
from leadq_dagster_tests.servers.running import start_servers


def main() -> None:
    """Play so many examples, other ones each time; what was seen, or the first difference."""
    parser = argparse.ArgumentParser(description="The desk beside its model.")
    parser.add_argument("--examples", type=int, default=1000)
    asked = parser.parse_args()
    with start_servers() as servers, databases.postgres_replica(servers.postgres()) as source:
        seen = play(servers, source, asked.examples, always_same=False)
    for what, number in sorted(seen.items()):
        sys.stdout.write(f"{number:8} {what}\n")


if __name__ == "__main__":
    main()
