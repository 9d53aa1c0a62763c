"""A desk at work, on databases that last one test."""

from collections.abc import Iterator

import pytest

from leadq_dagster_tests.desk.at_work import AtWork, fresh_work
from leadq_dagster_tests.servers.running import Servers


@pytest.fixture
def work(servers: Servers) -> Iterator[AtWork]:
    """A desk with its usual terms; its clock stands until it is moved."""
    with fresh_work(servers) as work:
        yield work
