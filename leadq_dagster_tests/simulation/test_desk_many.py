"""A crowd at several desks, small enough for every run of the tests; the full size is `desk_many`'s own."""

from collections.abc import Iterator

import pytest

from leadq_dagster_tests.servers import databases
from leadq_dagster_tests.servers.databases import ReplicaDatabase
from leadq_dagster_tests.servers.running import Servers
from leadq_dagster_tests.simulation.desk_many import crowd, everyone_is_served_again


@pytest.fixture
def source(servers: Servers) -> Iterator[ReplicaDatabase]:
    with databases.postgres_replica(servers.postgres()) as database:
        yield database


def test_each_lead_is_with_one_agent_at_a_time_and_none_is_lost(
    store_url: str, source: ReplicaDatabase
) -> None:
    """P15, P16, P17, P19: desks, discovery, reconciliation and expiry side by side.

    The history of who held what is replayed.
    """
    told = crowd(store_url, source, processes=3, threads=4, leads=150, turns=12)
    assert (told.raised, told.found, told.counted["deadlocks told"]) == ([], {}, 0)
    assert told.counted["reported"] > 40
    assert told.counted["discoveries"] > 1
    assert told.counted["discovered and queued"] > 50
    assert told.counted["reconciliations"] > 1
    # Whoever is left is served to one who is alone, nobody twice: by (priority_score, available_from, id).
    order = everyone_is_served_again(store_url, source, agent_id=1)
    assert order.served == order.documented
    assert len(set(order.served)) == len(order.served) > 60
