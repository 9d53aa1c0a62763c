"""Database URLs: what they may look like, and errors that name the variable and nothing else."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from leadq_dagster.databases import dagster_storage_url, replica_url, store_url
from leadq_dagster.domain.errors import PermanentError, RefusedError
from leadq_dagster.embedded.postgres import EmbeddedPostgres
from leadq_dagster.settings import Settings

STORE = "postgresql://ada:s3cret@db.example.org:5432/leadq"


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def settings_with(**urls: str) -> Settings:
    return Settings.model_validate({name: SecretStr(url) for name, url in urls.items()})


@pytest.mark.parametrize(
    "url",
    [
        " ",
        "s3cret",
        "leadq",
        "mysql://ada:s3cret@h/leadq",
        "sqlite:///s3cret",
        "postgresqlx://ada:s3cret@h/leadq",
        "postgresql://ada:s3cret@h",
        "postgresql://ada:s3cret@h/",
        "postgresql://ada:s3cret@h:port/leadq",
        "postgresql://ada:s3cret@h:99999/leadq",
        "postgresql://ada:s3cret@[::1/leadq",
        "postgresql://ada:s3/cret@h/leadq",
        "postgresql://ada:53/s3cret@h/leadq",
        "postgresql://ada:s3#cret@h/leadq",
        "postgresql://ada:s3?cret@h/leadq",
        "postgresql://ada:pass@s3cret@h/leadq",
        "postgresql://ada:100%s3cret@h/leadq",
    ],
)
@pytest.mark.parametrize("variable", ["DATABASE_URL", "DAGSTER_DATABASE_URL"])
def test_a_malformed_database_url_is_refused_by_its_variables_name(variable: str, url: str) -> None:
    """P40: never its password, nor a part of it that would pass for the host's name."""
    settings = settings_with(**{variable.lower(): url})
    with pytest.raises(RefusedError) as refusal:
        store_url(settings) if variable == "DATABASE_URL" else dagster_storage_url(settings)
    assert str(refusal.value).startswith(f"{variable} is not of the form")
    for part in ("s3cret", "s3", "cret"):
        assert part not in f"{refusal.value!r} {refusal.value.__cause__}"


@pytest.mark.parametrize(
    ("given_url", "used"),
    [
        (STORE, STORE),
        ("postgres://ada@h/leadq", "postgresql://ada@h/leadq"),
        ("postgresql+psycopg://ada@h/leadq", "postgresql://ada@h/leadq"),
        ("postgresql+psycopg2://ada@h/leadq?sslmode=require", "postgresql://ada@h/leadq?sslmode=require"),
        ("postgresql:///leadq?host=/run/postgresql", "postgresql:///leadq?host=/run/postgresql"),
        ("postgresql://ada@/leadq?host=/run/postgresql", "postgresql://ada@/leadq?host=/run/postgresql"),
        ("postgresql://ada:p%40ss%2Fw%25@[::1]:5432/leadq", "postgresql://ada:p%40ss%2Fw%25@[::1]:5432/leadq"),
    ],
)  # fmt: skip
def test_the_stores_url_is_what_the_driver_understands(given_url: str, used: str) -> None:
    """The names of other drivers are dropped; everything else stays."""
    assert store_url(settings_with(database_url=given_url)) == used
    assert psycopg.conninfo.conninfo_to_dict(used)["dbname"] == "leadq"


@pytest.mark.parametrize(
    ("urls", "used"),
    [
        ({"database_url": STORE}, "postgresql+psycopg2://ada:s3cret@db.example.org:5432/leadq_dagster"),
        ({"database_url": f"{STORE}?sslmode=require"},
         "postgresql+psycopg2://ada:s3cret@db.example.org:5432/leadq_dagster?sslmode=require"),
        ({"database_url": "postgresql:///leadq?host=/run/pg"}, "postgresql+psycopg2:///leadq_dagster?host=/run/pg"),
        ({"database_url": STORE, "dagster_database_url": "postgresql://eve:x@other/runs"},
         "postgresql+psycopg2://eve:x@other/runs"),
        ({"database_url": STORE, "dagster_database_url": "postgresql+psycopg2://eve:x@other/runs"},
         "postgresql+psycopg2://eve:x@other/runs"),
    ],
)  # fmt: skip
def test_dagsters_own_storage_lies_beside_the_store_unless_said_otherwise(
    urls: dict[str, str], used: str
) -> None:
    """With the one driver that Dagster's storage works with."""
    url = dagster_storage_url(settings_with(**urls))
    assert url == used
    assert make_url(url).drivername == "postgresql+psycopg2"


def test_a_malformed_url_of_the_store_is_named_where_dagsters_is_derived_from_it() -> None:
    """P40: the variable to correct is the one that is set."""
    with pytest.raises(RefusedError, match=r"^DATABASE_URL is not"):
        dagster_storage_url(settings_with(database_url="mysql://ada@h/leadq"))


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_any_password_survives_the_way_to_every_driver(password: str) -> None:
    """Percent-encoded in the variable, it arrives as it was at psycopg and at SQLAlchemy."""
    url = f"postgresql://ada:{quote(password, safe='')}@h:5432/leadq"
    settings = settings_with(database_url=url)
    assert psycopg.conninfo.conninfo_to_dict(store_url(settings))["password"] == password
    for taken in (store_url(settings), dagster_storage_url(settings)):
        assert make_url(taken).password == password


def test_a_replicas_url_is_taken_as_it_is() -> None:
    """What it may be is the replica's business."""
    assert replica_url(settings_with(replica_database_url="mysql://u:p%40@h/firm")) == "mysql://u:p%40@h/firm"


@pytest.mark.parametrize(
    ("look_up", "variable"),
    [
        (replica_url, "REPLICA_DATABASE_URL"),
        (store_url, "DATABASE_URL"),
        (dagster_storage_url, "DAGSTER_DATABASE_URL"),
    ],
)
def test_without_a_url_and_without_an_embedded_server_the_error_says_what_to_do(
    tmp_path: Path, look_up: Callable[[Settings], str], variable: str
) -> None:
    """P38: looking up a URL starts no server."""
    settings = Settings(leadq_home=tmp_path / "leadq")
    with pytest.raises(PermanentError, match=f"^{variable} is not set.*leadq demo"):
        look_up(settings)
    assert not (tmp_path / "leadq" / "data").exists()


def test_without_urls_the_embedded_servers_three_databases_are_used(postgres: EmbeddedPostgres) -> None:
    settings = Settings(leadq_home=postgres.home)
    assert store_url(settings) == postgres.url("leadq")
    assert replica_url(settings) == postgres.url("firm")
    assert dagster_storage_url(settings) == postgres.url("leadq_dagster").replace("://", "+psycopg2://", 1)
