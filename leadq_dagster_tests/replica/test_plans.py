"""What an hour costs: it follows the rows of the hour, not those of the table."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from leadq_dagster.domain.errors import PermanentError
from leadq_dagster.domain.windows import Window
from leadq_dagster.firm import schema
from leadq_dagster.replica.engine import Replica, open_replica
from leadq_dagster_tests.replica.rows import ids
from leadq_dagster_tests.servers.databases import ReplicaDatabase

USERS = 20_000
FIRST = datetime(2026, 1, 1)
PER_HOUR = 60
HOUR = Window.hour_of(datetime(2026, 1, 8, 4, tzinfo=UTC))


@pytest.fixture
def many(replica_db: ReplicaDatabase) -> ReplicaDatabase:
    """A user a minute for two weeks, each updated three days later, with a claim and a requirement."""
    with replica_db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in on_mariadb() if replica_db.engine.dialect.name == "mysql" else on_postgres():
            connection.execute(sa.text(statement))
    return replica_db


def on_mariadb() -> list[str]:
    minute = f"TIMESTAMPADD(MINUTE, seq, '{FIRST}')"
    return filled(f"seq_0_to_{USERS - 1}", minute, f"TIMESTAMPADD(DAY, 3, {minute})", "ANALYZE TABLE")


def on_postgres() -> list[str]:
    minute = f"TIMESTAMP '{FIRST}' + seq * INTERVAL '1 minute'"
    return filled(
        f"generate_series(0, {USERS - 1}) AS numbers (seq)",
        minute,
        f"{minute} + INTERVAL '3 days'",
        "ANALYZE",
    )


def filled(numbers: str, created: str, updated: str, analyze: str) -> list[str]:
    """Made by the server itself: sixty thousand rows sent to it would take most of the suite's time."""
    return [
        "INSERT INTO users (id, is_enabled, current_signature_file_id, created_at, updated_at)"
        f" SELECT seq, 1, 'f', {created}, {updated} FROM {numbers}",
        f"INSERT INTO claims (id, user_id) SELECT seq, seq FROM {numbers}",
        f"INSERT INTO claim_requirements (id, claim_id) SELECT CONCAT('r', seq), seq FROM {numbers}",
        *(f"{analyze} {table}" for table in ("users", "claims", "claim_requirements")),
    ]


@pytest.fixture
def examined(many: ReplicaDatabase) -> Iterator["Examined"]:
    # One connection, so that the server's counters of the session see every read.
    with open_replica(many.url, batch_rows=50, pool_size=1) as replica:
        yield Examined(replica)


class Examined:
    """Counts the rows that the server looks at for what the replica is asked."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self._engine = replica._session._engine
        self._sent: list[tuple[str, Any]] = []
        sa.event.listen(self._engine, "before_cursor_execute", self._note)

    def _note(
        self, _connection: object, _cursor: object, statement: str, parameters: Any, *_: object
    ) -> None:
        if statement.startswith("SELECT"):
            self._sent.append((statement, parameters))

    def plans(self, prefix: str) -> list[Any]:
        """The plan of each statement sent so far, one entry a row of the answer."""
        sent, self._sent = self._sent, []
        with self._engine.connect() as connection:
            return [
                row
                for statement, parameters in sent
                for row in connection.exec_driver_sql(f"{prefix} {statement}", parameters).all()
            ]

    def rows(self, window: Window) -> int:
        """Rows looked at while reading everyone who changed in the window, and their facts."""
        before = self._handler_reads()
        users = [each.user for page in self.replica.changed_users(window) for each in page]
        self.replica.read_facts(users)
        if before is not None:
            return (self._handler_reads() or 0) - before
        plans = self.plans("EXPLAIN (ANALYZE, FORMAT JSON)")
        return sum(_rows_of(plan[0] if isinstance(plan[0], list) else json.loads(plan[0])) for plan in plans)

    def _handler_reads(self) -> int | None:
        if self._engine.dialect.name != "mysql":
            return None
        with self._engine.connect() as connection:
            counters = connection.execute(sa.text("SHOW SESSION STATUS LIKE 'Handler_read%'"))
            return sum(int(value) for _, value in counters)


def _rows_of(plan: Any) -> int:
    """Rows that the scans of an executed plan met, those thrown away included."""
    if isinstance(plan, list):
        return sum(_rows_of(each) for each in plan)
    met = sum(int(plan.get(key, 0)) for key in ("Actual Rows", "Rows Removed by Filter")) * int(
        plan.get("Actual Loops", 0)
    )
    own = met if "Scan" in plan.get("Node Type", "") else 0
    return own + sum(_rows_of(plan[key]) for key in ("Plan", "Plans") if key in plan)


def test_the_rows_looked_at_follow_the_window_and_not_the_table(examined: Examined) -> None:
    """Sixty created and sixty updated in the hour, of twenty thousand, with one claim each."""
    changed = 2 * PER_HOUR
    assert len(ids(examined.replica, HOUR)) == changed
    examined._sent.clear()
    looked_at = examined.rows(HOUR)
    assert changed <= looked_at <= 12 * changed


def test_a_window_over_everything_reads_each_row_a_few_times_and_not_once_a_page(examined: Examined) -> None:
    """P8: pages that sorted the table anew would look at it four hundred times."""
    everything = Window(FIRST.replace(tzinfo=UTC), FIRST.replace(tzinfo=UTC) + timedelta(days=2))
    changed = 2 * 24 * PER_HOUR
    assert len(ids(examined.replica, everything)) == changed
    examined._sent.clear()
    assert examined.rows(everything) <= 12 * changed


def test_every_page_is_a_range_of_an_index(examined: Examined) -> None:
    """The pages after the first too, whose key is where the obvious comparison scans the whole index."""
    assert len(ids(examined.replica, HOUR)) == 2 * PER_HOUR
    if examined._engine.dialect.name == "mysql":
        plans = examined.plans("EXPLAIN")
        assert len(plans) == 4
        assert {plan._mapping["type"] for plan in plans} == {"range"}
        assert {plan._mapping["key"] for plan in plans} == {"users_created_at", "users_updated_at"}
        assert not any("filesort" in plan._mapping["Extra"] for plan in plans)
        return
    text = "\n".join(row[0] for row in examined.plans("EXPLAIN"))
    assert "Seq Scan" not in text
    assert "users_created_at" in text
    assert "users_updated_at" in text


def test_the_firms_own_indexes_are_enough_and_each_missing_one_is_named(
    replica_db: ReplicaDatabase, replica: Replica
) -> None:
    assert replica.missing_indexes() == []
    for index in (*schema.users.indexes, *schema.claims.indexes, *schema.claim_requirements.indexes):
        index.drop(replica_db.engine)
    assert replica.missing_indexes() == [
        "users.created_at",
        "users.updated_at",
        "claims.user_id",
        "claims.created_at",
        "claims.updated_at",
        "claim_requirements.claim_id",
        "claim_requirements.created_at",
        "claim_requirements.updated_at",
    ]


def test_an_index_counts_only_where_the_column_leads_it(
    replica_db: ReplicaDatabase, replica: Replica
) -> None:
    for index in schema.users.indexes:
        index.drop(replica_db.engine)
    with replica_db.engine.begin() as connection:
        connection.execute(sa.text("CREATE INDEX both_times ON users (created_at, updated_at)"))
    assert replica.missing_indexes() == ["users.updated_at"]


def test_a_partial_index_does_not_count(replica_db: ReplicaDatabase, replica: Replica) -> None:
    with replica_db.engine.begin() as connection:
        if replica_db.engine.dialect.name == "postgresql":
            connection.execute(sa.text("DROP INDEX users_created_at"))
            connection.execute(sa.text("CREATE INDEX enabled ON users (created_at) WHERE is_enabled = 1"))
            connection.execute(sa.text("CREATE INDEX days ON users (date(created_at))"))
        else:
            connection.execute(sa.text("ALTER TABLE users DROP INDEX users_created_at"))
    assert replica.missing_indexes() == ["users.created_at"]


def test_a_missing_table_is_not_a_missing_index(replica_db: ReplicaDatabase, replica: Replica) -> None:
    """P35."""
    schema.claims.drop(replica_db.engine)
    with pytest.raises(PermanentError, match="claims"):
        replica.missing_indexes()


def test_a_batch_of_leads_is_looked_up_by_indexes_alone(examined: Examined) -> None:
    """Fifty of twenty thousand users, all signed, with a claim and a requirement each."""
    before = examined._handler_reads()
    assert len(examined.replica.read_leads(range(5, USERS, USERS // 50))) == 50
    if before is not None:
        # A key read and the read that finds no more, for each claim and requirement.
        assert (examined._handler_reads() or 0) - before <= 6 * 50
        plans = examined.plans("EXPLAIN")
        assert [plan._mapping["type"] for plan in plans] == ["range", "ref", "ref"]
        keys = [plan._mapping["key"] for plan in plans]
        assert keys == ["PRIMARY", "claims_user_id", "claim_requirements_claim_id"]
        assert not any("join buffer" in (plan._mapping["Extra"] or "") for plan in plans)
        return
    text = "\n".join(row[0] for row in examined.plans("EXPLAIN"))
    assert "Seq Scan" not in text
    assert "Hash" not in text
    for index in ("users_pkey", "claims_user_id", "claim_requirements_claim_id"):
        assert index in text


@pytest.mark.parametrize("after", [None, USERS // 2])
def test_a_page_of_everybody_reads_the_rows_of_the_page(examined: Examined, after: int | None) -> None:
    """P8: fifty of twenty thousand, from the start and from the middle, along the key and unsorted."""
    before = examined._handler_reads()
    assert len(examined.replica.users_after(after)) == 50
    if before is not None:
        assert (examined._handler_reads() or 0) - before <= 2 * 50
        (plan,) = examined.plans("EXPLAIN")
        assert (plan._mapping["key"], plan._mapping["type"]) == ("PRIMARY", "range" if after else "index")
        assert "filesort" not in plan._mapping["Extra"]
        return
    text = "\n".join(row[0] for row in examined.plans("EXPLAIN"))
    assert "Index Scan using users_pkey" in text
    assert "Sort" not in text
