"""The service, running on databases that last one test or, where tests do not mind, one file."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from leadq_dagster_tests.desk_http.serving import Premises, Served, fresh_premises
from leadq_dagster_tests.servers.running import Servers


@pytest.fixture
def premises(servers: Servers) -> Iterator[Premises]:
    """A store and a source."""
    with fresh_premises(servers) as premises:
        yield premises


@pytest.fixture
def served(premises: Premises, tmp_path: Path) -> Iterator[Served]:
    """The service on them."""
    with premises.serving(tmp_path / "service.log") as served:
        yield served


@pytest.fixture(scope="module")
def shared(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service for all tests of a file."""
    with (
        fresh_premises(servers) as premises,
        premises.serving(tmp_path_factory.mktemp("service") / "service.log") as served,
    ):
        yield served
