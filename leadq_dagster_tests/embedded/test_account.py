"""What a command started as the server's user may rely on, whatever its parent is like."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from leadq_dagster.embedded.account import Account, choose_account
from leadq_dagster.embedded.processes import ProcessStamp, wait_until

DEADLINE_SECONDS = 30.0

# The parent ignores the signal that its child is to get, starts a command and waits.
DEAF_PARENT = """
import signal, sys, time
from pathlib import Path
from leadq_dagster.embedded.account import choose_account
signal.signal(signal.SIGINT, signal.SIG_IGN)
account = choose_account(Path(sys.argv[1]))
child = account.spawn(["sleep", "60"], death_signal="INT", output=open("/dev/null", "wb"))
while b"sleep\\0" != Path(f"/proc/{child.pid}/cmdline").read_bytes()[:6]:
    time.sleep(0.01)
print(child.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def account(tmp_path: Path) -> Account:
    """As whom a server would run that has no data yet."""
    return choose_account(tmp_path / "none")


def output_of(account: Account, *command: str) -> str:
    """What a command says when it is started as this user."""
    with tempfile.TemporaryFile() as output:
        account.spawn(command, death_signal="KILL", output=output).wait()
        output.seek(0)
        return output.read().decode().strip()


def test_the_server_never_runs_as_root(account: Account) -> None:
    assert account.uid != 0
    assert output_of(account, "id", "-u") == str(account.uid)
    assert "0" not in output_of(account, "id", "-G").split() or not account.is_other


def test_a_command_ends_with_a_parent_that_ignores_the_signal_itself(tmp_path: Path) -> None:
    command = [sys.executable, "-c", DEAF_PARENT, str(tmp_path / "none")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        stamp = ProcessStamp.of(int(parent.stdout.readline()))
        assert stamp is not None
        parent.kill()
        assert wait_until(lambda: not stamp.is_alive(), 5.0)


def test_a_command_whose_parent_is_gone_already_is_not_started(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert output_of(account, "echo", "started") == "started"
    stranger = os.getpid() + 1
    monkeypatch.setattr(os, "getpid", lambda: stranger)
    assert output_of(account, "echo", "started") == ""


def test_our_own_settings_do_not_speak_to_the_server(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P40"""
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("DATABASE_URL", "postgresql://leadq:secret@127.0.0.1/store")
    names = {line.partition("=")[0] for line in output_of(account, "env").splitlines()}
    assert names <= {"PATH", "LC_ALL", "TZ", "PWD", "OLDPWD", "SHLVL", "_"}


def test_whether_a_user_can_enter_a_folder_is_tried_as_that_user(account: Account, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    assert account.can("-x", tmp_path) == (not account.is_other)
    assert account.can("-x", Path("/"))
    assert not account.can("-x", Path("/"), tmp_path / "missing")
