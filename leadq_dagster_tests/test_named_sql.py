"""Statements have a file and a name; each is understood by the server and used by the package."""

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from dagster._core.storage.event_log.schema import SqlEventLogStorageMetadata
from dagster._core.storage.runs.schema import RunStorageSqlMetadata
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

import leadq_dagster
from leadq_dagster import named_sql
from leadq_dagster.named_sql import queries
from leadq_dagster.shipped import shipped

PACKAGE = Path(leadq_dagster.__file__).parent
QUERIES = shipped("sql") / "queries"
NOUNS = sorted(path.stem for path in QUERIES.glob("*.sql"))
OF_DAGSTER = "dagster_events"
PARAMETER = re.compile(r"%\((\w+)\)s")


def prepared(statement: str) -> str:
    """The statement as the server is to parse it, with its parameters numbered."""
    names = list(dict.fromkeys(PARAMETER.findall(statement)))
    numbered = PARAMETER.sub(lambda found: f"${names.index(found[1]) + 1}", statement)
    return "PREPARE attempt AS " + (numbered.replace("%%", "%") if names else numbered)


def users_of(noun: str) -> Iterator[str]:
    """The text of each module that loads the noun's statements."""
    for module in PACKAGE.rglob("*.py"):
        text = module.read_text("utf-8")
        if f'queries("{noun}")' in text:
            yield text


@pytest.fixture
def write_noun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place for a file of statements that the package does not have."""
    monkeypatch.setattr(named_sql, "shipped", lambda _: tmp_path)
    queries.cache_clear()
    (tmp_path / "queries").mkdir()
    yield tmp_path / "queries" / "things.sql"
    queries.cache_clear()


@pytest.mark.parametrize("noun", [noun for noun in NOUNS if noun != OF_DAGSTER])
def test_the_server_understands_every_statement(store_url: str, noun: str) -> None:
    """P39: every table, column and function that a statement names is there after the migrations."""
    with psycopg.connect(store_url, autocommit=True) as connection:
        for statement in queries(noun).values():
            connection.execute(prepared(statement).encode())
            connection.execute("DEALLOCATE attempt")


def test_the_server_understands_what_is_asked_of_dagsters_tables(empty_database: str) -> None:
    """P39: these are Dagster's, so they are made by Dagster's own description of them."""
    engine = create_engine(make_url(empty_database).set(drivername="postgresql+psycopg"))
    SqlEventLogStorageMetadata.create_all(engine)
    RunStorageSqlMetadata.create_all(engine)
    engine.dispose()
    with psycopg.connect(empty_database, autocommit=True) as connection:
        for statement in queries(OF_DAGSTER).values():
            connection.execute(prepared(statement).encode())
            connection.execute("DEALLOCATE attempt")


@pytest.mark.parametrize("noun", NOUNS)
def test_every_statement_is_used(noun: str) -> None:
    using = "\n".join(users_of(noun))
    for name in queries(noun):
        assert f'["{name}"]' in using, f"sql/queries/{noun}.sql: {name} is used by no module"


@pytest.mark.parametrize("noun", NOUNS)
def test_every_statement_has_a_verb_and_a_noun(noun: str) -> None:
    assert queries(noun)
    for name, statement in queries(noun).items():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)+", name)
        code = "\n".join(line for line in statement.splitlines() if not line.startswith("--"))
        assert code.endswith(";"), f"{name} has no end"
        assert code.count(";") == 1, f"{name} is more than one statement"


def test_statements_are_told_apart_by_their_names(write_noun: Path) -> None:
    write_noun.write_text(
        "-- About things.\n\n-- name: one_thing\n-- Why.\nSELECT 1;\n-- name: two_things\nSELECT 2;\n"
    )
    assert queries("things") == {"one_thing": "-- Why.\nSELECT 1;", "two_things": "SELECT 2;"}


def test_a_name_that_stands_twice_is_refused(write_noun: Path) -> None:
    """Else the second would silently take the first one's place."""
    write_noun.write_text("-- name: one_thing\nSELECT 1;\n-- name: one_thing\nSELECT 2;\n")
    with pytest.raises(ValueError, match=r"things\.sql names a statement twice"):
        queries("things")


def test_a_noun_without_a_file_is_refused() -> None:
    with pytest.raises(FileNotFoundError, match="unicorns"):
        queries("unicorns")
