"""What an hour costs at the replica follows what changed in it, not how many users there are."""

from leadq_dagster.firm import schema
from leadq_dagster_tests.replica.rows import add, add_users, claim, requirement, user
from leadq_dagster_tests.servers.databases import ReplicaDatabase
from leadq_dagster_tests.stages.discovering import Discovery, at, discovering, hour

OF_THE_HOUR = 40


def fill_the_hour(discovery: Discovery) -> None:
    source = discovery.source.engine
    people = range(10**6, 10**6 + OF_THE_HOUR)
    add_users(
        source, *(user(n, created_at=at("10:10"), current_signature_file_id=str(n % 2)) for n in people)
    )
    add(source, schema.claims, *(claim(n, n) for n in people))
    add(source, schema.claim_requirements, *(requirement(str(n), n) for n in people))


def queries(source: ReplicaDatabase, store_url: str) -> int:
    with discovering(source, store_url, batch_rows=5000) as discovery:
        report = discovery.run(hour(10))
        assert report.replica_queries == discovery.replica.queries
    assert report.total.seen == OF_THE_HOUR
    return report.replica_queries


def test_twenty_five_times_the_users_cost_not_one_query_more(discovery: Discovery) -> None:
    """P8: the same changed hour over 200 and over 5,000 users, known before or not."""
    add_users(discovery.source.engine, *(user(n) for n in range(200 - OF_THE_HOUR)))
    fill_the_hour(discovery)
    few = queries(discovery.source, discovery.store_url)
    add_users(discovery.source.engine, *(user(n) for n in range(200, 5000)))
    many = queries(discovery.source, discovery.store_url)
    assert few <= 6
    assert many <= few
