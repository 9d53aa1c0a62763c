"""Homes for servers of the tests' own, and processes that start one and can be killed."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from leadq_dagster.embedded.postgres import EmbeddedPostgres, erase_postgres, start_postgres

Starter = subprocess.Popen[str]

STARTER = """
import sys
from pathlib import Path
from leadq_dagster.domain.errors import RefusedError
from leadq_dagster.embedded.postgres import start_postgres
exec(sys.argv[2])
try:
    server = start_postgres(Path(sys.argv[1]), durable=False)
except RefusedError as error:
    print(type(error).__name__, error, flush=True)
else:
    print("started", server.pid, flush=True)
    exec(sys.argv[3])
    sys.stdin.read()
"""


@pytest.fixture
def closed_folder() -> Iterator[Path]:
    """A folder that only its owner may enter: as root it shuts the server's user out of all below."""
    folder = Path(tempfile.mkdtemp(prefix="leadq closed "))
    yield folder
    for home in folder.iterdir():
        if (home / "lock").exists():
            erase_postgres(home)
    shutil.rmtree(folder)


@pytest.fixture
def home(closed_folder: Path) -> Path:
    """A home, not made yet, that the server's user can reach; its path has spaces."""
    closed_folder.chmod(0o755)
    return closed_folder / "a home"


@pytest.fixture
def server(home: Path) -> Iterator[EmbeddedPostgres]:
    """A server that this process started."""
    with start_postgres(home, durable=False) as started:
        yield started


@pytest.fixture
def start_elsewhere() -> Iterator[Callable[..., Starter]]:
    """Start a server from another process, which says so in its first line and then waits to be ended."""
    with ExitStack() as stack:

        def start(home: Path, *, before: str = "", after: str = "") -> Starter:
            command = [sys.executable, "-c", STARTER, str(home), before, after]
            starter = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            stack.enter_context(starter)
            stack.callback(starter.kill)
            return starter

        yield start
