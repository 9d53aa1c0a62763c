"""The replica's URL as people write it."""

import pytest

from leadq_dagster.domain.errors import RefusedError
from leadq_dagster.replica.address import replica_url

SECRET = "s3cr3t-pass"


@pytest.mark.parametrize("scheme", ["mysql", "mariadb", "mysql+pymysql", "mariadb+pymysql", "MySQL"])
def test_every_mysql_scheme_means_pymysql(scheme: str) -> None:
    assert replica_url(f"{scheme}://u:{SECRET}@h:3307/firm").drivername == "mysql+pymysql"


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_every_postgresql_scheme_means_psycopg_3(scheme: str) -> None:
    assert replica_url(f"{scheme}://u:{SECRET}@h/firm").drivername == "postgresql+psycopg"


def test_everything_but_the_driver_is_kept() -> None:
    url = replica_url("mysql://u%40x:p%2Fw@[::1]:3307/firm?charset=utf8mb4&ssl_ca=/etc/ca.pem\n")
    assert (url.username, url.password, url.host, url.port, url.database) == (
        "u@x",
        "p/w",
        "::1",
        3307,
        "firm",
    )
    assert dict(url.query) == {"charset": "utf8mb4", "ssl_ca": "/etc/ca.pem"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        SECRET,
        f"mysql:/u:{SECRET}@h/firm",
        f"mysql://u:{SECRET}@h:port/firm",
        f"mysql://u:{SECRET}@h:99x/firm",
        f"mysql://u:{SECRET}@h",
        f"mysql://u:{SECRET}@h/",
        f"oracle://u:{SECRET}@h/firm",
        f"mysql+asyncmy://u:{SECRET}@h/firm",
        f"sqlite:///{SECRET}",
        f"mysql://u:{SECRET}@h/firm?encoding=utf8mb4&reconnect=true",
        f"mysql://u:p@h/firm?password={SECRET}",
        f"mysql://u:{SECRET}@h/firm?local_infile=1",
    ],
)
def test_a_url_that_cannot_be_meant_is_refused_by_the_variables_name_and_never_quoted(text: str) -> None:
    """P40: neither the text nor what hangs on the error holds the password."""
    with pytest.raises(RefusedError, match="REPLICA_DATABASE_URL") as refused:
        replica_url(text)
    assert SECRET not in str(refused.value)
    assert refused.value.__context__ is None


def test_options_of_other_drivers_are_named() -> None:
    with pytest.raises(RefusedError, match="encoding, reconnect"):
        replica_url("mysql://u:p@h/firm?encoding=utf8mb4&reconnect=true")
