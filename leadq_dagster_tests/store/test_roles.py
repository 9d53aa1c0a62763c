"""What the roles of `sql/roles.sql` may do, tried by logins of theirs."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from leadq_dagster.domain.outcomes import Outcome
from leadq_dagster.domain.queue_rule import QueueType, Reason
from leadq_dagster.embedded.postgres import EmbeddedPostgres
from leadq_dagster.shipped import shipped
from leadq_dagster.store import agents, answers, assignments, callbacks, holds, migrations
from leadq_dagster.store.agents import AgentStatus, Role, token_hash
from leadq_dagster.store.answers import Answer
from leadq_dagster.store.assignments import Asker, EndReason
from leadq_dagster.store.connection import open_store
from leadq_dagster_tests.servers.databases import fresh_postgres_database
from leadq_dagster_tests.servers.running import Servers
from leadq_dagster_tests.store.converted import LATER
from leadq_dagster_tests.store.leads import LEASE, add_lead, claim, raise_lead, report
from leadq_dagster_tests.store.rows import NOWHERE, TEN, UNSIGNED, know, move

ROLES = shipped("sql") / "roles.sql"
GROUPS = ("leadq_migrator", "leadq_app", "leadq_analyst")
# A column of such a name is closed to analysts unless it is listed here as harmless.
SOUNDS_PERSONAL = re.compile(
    "name|phone|mail|note|answer|content|transcript|recording|token_hash|address|birth"
)
HARMLESS = {"agents.name", "desk_answers.answered_at"}


@pytest.fixture(autouse=True)
def nobody_else_changes_roles(servers: Servers) -> Iterator[None]:
    """Roles belong to the server and not to a database, so tests of other workers wait."""
    with servers.alone("roles"):
        yield


@dataclass(frozen=True)
class Roles:
    """A store with the roles, and how each of them logs in."""

    admin: str
    leadq_migrator: str
    leadq_app: str
    leadq_analyst: str


def run_roles(url: str) -> None:
    with psycopg.connect(url) as admin:
        admin.execute(ROLES.read_bytes())


@contextmanager
def member_of(postgres: EmbeddedPostgres, group: str, database: str) -> Iterator[str]:
    """The URL of a new login that is a member of the group, gone afterwards."""
    login = sql.Identifier(f"{group}_{uuid4().hex}")
    with psycopg.connect(postgres.url(database), autocommit=True) as admin:
        admin.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} IN ROLE {}").format(
                login, sql.Literal("of-a-test"), sql.Identifier(group)
            )
        )
        if group == "leadq_migrator":
            admin.execute(sql.SQL("ALTER ROLE {} SET role = 'leadq_migrator'").format(login))
        try:
            yield postgres.url(database).replace(
                f"{postgres.user}:{postgres.password}@", f"{login.as_string().strip(chr(34))}:of-a-test@"
            )
        finally:
            admin.execute(sql.SQL("DROP OWNED BY {}").format(login))
            admin.execute(sql.SQL("DROP ROLE {}").format(login))


@pytest.fixture
def roles(either_postgres: EmbeddedPostgres) -> Iterator[Roles]:
    """The documented way: the roles, the migrations as the migrator, the roles again."""
    with fresh_postgres_database(either_postgres) as name:
        run_roles(either_postgres.url(name))
        with (
            member_of(either_postgres, "leadq_migrator", name) as migrator,
            member_of(either_postgres, "leadq_app", name) as app,
            member_of(either_postgres, "leadq_analyst", name) as analyst,
        ):
            assert migrations.upgrade(migrator) == migrations.known_migrations()
            run_roles(either_postgres.url(name))
            yield Roles(either_postgres.url(name), migrator, app, analyst)


def refused(url: str, statement: str) -> bool:
    try:
        with psycopg.connect(url) as connection:
            connection.execute(statement.encode())
            connection.rollback()
    except psycopg.errors.InsufficientPrivilege:
        return True
    return False


def test_the_application_does_its_work_and_checks_its_schema(roles: Roles) -> None:
    """P39: without owning anything."""
    with open_store(roles.leadq_app) as store:
        know(store, [1, 2])
        move(store, [1, 2], UNSIGNED)
        move(store, [2], NOWHERE)
    assert migrations.check(roles.leadq_app) == []


def test_the_application_changes_no_schema_deletes_nothing_and_rewrites_no_history(roles: Roles) -> None:
    """P1, P39: not even where no trigger stands guard."""
    for statement in (
        "CREATE TABLE mine ()",
        "ALTER TABLE agents ADD shoe_size int",
        "ALTER TABLE call_queue DISABLE TRIGGER a_stay_is_never_deleted",
        "DROP TABLE messages",
        "DROP INDEX one_live_stay_per_user",
        "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE sql AS ''",
        "DELETE FROM call_queue",
        "TRUNCATE call_queue CASCADE",
        "DELETE FROM user_call_scores",
        "UPDATE queue_transitions SET reason = 'another'",
        "DELETE FROM queue_transitions",
        "DELETE FROM conversions",
        "UPDATE conversions SET converted_at = now()",
        "UPDATE completed_windows SET completed_at = now()",
        "UPDATE assignments SET agent_id = 1",
        "UPDATE assignments SET lease_token = 1",
        "UPDATE assignments SET lease_expires_at = now()",
        "DELETE FROM assignments",
        "UPDATE score_events SET outcome_change = 0",
        "DELETE FROM score_events",
        "UPDATE desk_answers SET answer = '{}'",
        "DELETE FROM call_outcomes",
        "DELETE FROM callbacks",
        "DELETE FROM agents",
        "UPDATE leadq_migration SET version_num = '0000'",
        "SET ROLE leadq_migrator",
    ):
        assert refused(roles.leadq_app, statement), statement


def test_the_application_does_the_desks_work(roles: Roles) -> None:
    """P39: from the agent who is hired to the answer that is forgotten, without owning anything."""
    every = list(QueueType)
    with open_store(roles.leadq_app) as store, psycopg.connect(roles.leadq_app, autocommit=True) as app:
        with store.transaction() as cursor:
            agent = agents.add(cursor, "Ada", Role.AGENT, every, token_hash("one"))
            agents.set_status(cursor, agent, AgentStatus.AVAILABLE, TEN)
        add_lead(store, app, 7)
        with store.transaction() as cursor:
            agents.lock(cursor, [agent])
            [first] = claim(cursor, [agent])
            assert holds.repeat(cursor, [first.id]) == {first.id: 1}
            assignments.mark_unvalidated(cursor, [first.id], "no answer")
            assert assignments.extend(cursor, first.id, TEN + 2 * LEASE)
            assert assignments.give_back(cursor, {first.id: TEN}, EndReason.RELEASED, TEN) == [first.id]
        raise_lead(app, 7, agent)
        with store.transaction() as cursor:
            asker = Asker(agent, "raised")
            kept = assignments.claim_raised(cursor, asker, every, TEN, TEN + LEASE)
            assert kept is not None
            report(cursor, kept, Outcome.NO_ANSWER)
            callbacks.retry(cursor, [kept.callback_id or 0], TEN, TEN)
            callbacks.cancel_of_users(cursor, {7: Reason.NO_CLAIM}, TEN)
            for request_id in ("ask", "withdrawn"):
                answers.keep(cursor, [Answer(agent, request_id, "take", {})], TEN)
            answers.withdraw(cursor, [(agent, "withdrawn")])
            assert answers.forget(cursor, LATER, 10) == 1
            assert agents.silence(cursor, LATER, LATER) == [agent]


def test_the_application_may_credit_a_conversion(roles: Roles) -> None:
    """P13: late call records re-credit."""
    credit = "UPDATE conversions SET primary_agent_id = NULL, contributing_agents = '{}'"
    assert not refused(roles.leadq_app, credit)


def test_analysts_read_every_column_that_is_nobodys_personal_datum(roles: Roles) -> None:
    """P40: and the ids of users and customers, by which the rest is joined."""
    columns = [name.split(".") for kind, name in migrations.read_catalog(roles.admin) if kind == "column"]
    closed = {
        f"{table}.{column}"
        for table, column in columns
        if refused(roles.leadq_analyst, f"SELECT {column} FROM {table} LIMIT 0")
    }
    assert closed == {
        "agents.token_hash",
        "call_outcomes.answer",
        "call_outcomes.notes",
        "customers.email",
        "customers.first_name",
        "customers.last_name",
        "customers.phone_e164",
        "desk_answers.answer",
        "messages.content",
        "voice_call_details.recording_url",
        "voice_call_details.transcript",
    }
    sounds = {f"{table}.{column}" for table, column in columns if SOUNDS_PERSONAL.search(column)}
    assert sounds - HARMLESS <= closed, (
        "close the column to analysts in sql/roles.sql, or call it harmless here"
    )


def test_analysts_write_nothing(roles: Roles) -> None:
    for statement in (
        "UPDATE call_queue SET priority_score = 0",
        "INSERT INTO agents (name) VALUES ('Ada')",
        "DELETE FROM messages",
        "SELECT user_id FROM call_queue FOR UPDATE",
        "CREATE TABLE mine ()",
        "SET ROLE leadq_app",
    ):
        assert refused(roles.leadq_analyst, statement), statement


def test_a_later_table_is_the_applications_at_once_and_the_analysts_after_a_second_run(roles: Roles) -> None:
    """P39, P40: a later migration needs no grant of its own, and shows no new column by mistake."""
    with psycopg.connect(roles.leadq_migrator) as migrator:
        migrator.execute("CREATE TABLE later (id bigserial PRIMARY KEY, label text)")
    assert not refused(roles.leadq_app, "INSERT INTO later (label) VALUES ('one')")
    assert not refused(roles.leadq_app, "UPDATE later SET label = 'two'")
    assert refused(roles.leadq_app, "DELETE FROM later")
    assert refused(roles.leadq_analyst, "SELECT label FROM later")
    run_roles(roles.admin)
    assert not refused(roles.leadq_analyst, "SELECT label FROM later")


def test_a_store_that_was_there_before_the_roles_becomes_the_migrators(
    either_postgres: EmbeddedPostgres, database_on_either: str
) -> None:
    """P39: so that the next migration may change what the first ones made."""
    migrations.upgrade(database_on_either)
    run_roles(database_on_either)
    run_roles(database_on_either)
    assert migrations.check(database_on_either) == []
    with psycopg.connect(database_on_either) as admin:
        name = admin.info.dbname
    with member_of(either_postgres, "leadq_migrator", name) as migrator:
        for statement in (
            "ALTER TABLE call_queue ADD shoe_size int",
            "ALTER DOMAIN queue_type DROP CONSTRAINT a_queue_type_is_from_its_list",
            "DROP FUNCTION refuse_change() CASCADE",
        ):
            assert not refused(migrator, statement), statement


def test_the_roles_cannot_log_in_and_the_file_holds_no_password(roles: Roles) -> None:
    """P40: logins and their passwords are made by the operator."""
    with psycopg.connect(roles.admin) as admin:
        found = admin.execute(
            "SELECT rolname, rolcanlogin, rolsuper, rolcreaterole FROM pg_roles WHERE rolname = ANY(%s)",
            [list(GROUPS)],
        ).fetchall()
    assert sorted(found) == [(group, False, False, False) for group in sorted(GROUPS)]
    assert not re.search(r"PASSWORD\s*'", ROLES.read_text("utf-8"), re.IGNORECASE)
