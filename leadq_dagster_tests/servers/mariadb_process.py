"""Throwaway MariaDB processes: one data folder is installed, each server starts on a copy of it.

Everything starts without waiting, so that several servers come up at once from one thread.
"""

import os
import secrets
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import pymysql

from leadq_dagster.embedded.account import choose_account
from leadq_dagster.embedded.ports import ports_to_try
from leadq_dagster_tests.servers.mariadb_binaries import MariaDbBinaries, find_binaries

READY_SECONDS = 60
PORT_TRIES = 5
PORT_TAKEN = "Address already in use"

# Small files make the copies cheap; nothing here has to survive a power cut.
STORAGE_OPTIONS = (
    "--innodb-log-file-size=16M",
    "--innodb-buffer-pool-size=64M",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-doublewrite=0",
)
# The server's own default mode, said aloud: it is the one that lets zero dates in, as old applications have.
SERVER_OPTIONS = (
    *STORAGE_OPTIONS,
    "--bind-address=127.0.0.1",
    "--skip-name-resolve",
    "--socket=server.sock",
    "--pid-file=server.pid",
    "--character-set-server=utf8mb4",
    "--collation-server=utf8mb4_unicode_ci",
    "--default-time-zone=+00:00",
    "--sql-mode=STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_CREATE_USER,NO_ENGINE_SUBSTITUTION",
    "--performance-schema=0",
    "--max-connections=200",
    "--sync-binlog=0",
)


class MariaDbTemplate:
    """A freshly installed data folder below `home`, and the servers on copies of it, stopped as one."""

    def __init__(self, home: Path, binaries: MariaDbBinaries | None = None) -> None:
        found = binaries or find_binaries()
        if found is None:
            raise RuntimeError("MariaDB is not available: run deploy/install_for_tests.py (make test does)")
        self.home = home
        self.binaries = found.reached_through(home)
        self.password, self.admin_password, self.replication_password = (
            secrets.token_hex(16) for _ in range(3)
        )
        self._folder = home / "template"
        self._log = home / "template.log"
        self._account = choose_account(self._folder)
        self._children: list[subprocess.Popen[bytes]] = []
        self._installing = self._begin()

    def copy_to(self, folder: Path) -> None:
        """Copy the data, owners included, once it is installed. Raises RuntimeError if that failed."""
        if self._installing.wait(READY_SECONDS) != 0:
            raise RuntimeError(f"MariaDB could not make a data folder:\n{self._log.read_text()}")
        subprocess.run(["cp", "-a", self._folder, folder], check=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Killed, for their data is thrown away and need not be written down.
        for child in self._children:
            if child.poll() is None:
                # The whole group: an installation is a shell with children of its own.
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()

    def write_accounts(self, file: Path) -> None:
        """Write the statements, run at each start, that leave three accounts with passwords and no other.

        The application's account has no global privilege: those who have one ignore read_only.
        """
        statements = [
            "SET SESSION sql_log_bin = 0",
            "DELETE FROM mysql.global_priv WHERE user <> 'mariadb.sys'",
            "FLUSH PRIVILEGES",
            f"CREATE USER root@'127.0.0.1' IDENTIFIED BY '{self.admin_password}'",
            "GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION",
            f"CREATE USER leadq@'127.0.0.1' IDENTIFIED BY '{self.password}'",
            "GRANT ALL ON `leadq\\_%`.* TO leadq@'127.0.0.1'",
            f"CREATE USER replication@'127.0.0.1' IDENTIFIED BY '{self.replication_password}'",
            "GRANT REPLICATION SLAVE ON *.* TO replication@'127.0.0.1'",
        ]
        file.touch(mode=0o600)
        file.write_text("".join(f"{statement};\n" for statement in statements))
        self._give(file)

    def spawn(self, command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        """Start a command as the servers' user, its output in `log`; it is killed when its starter ends.

        Call it from the main thread: the kernel ties the child to the thread that started it.
        """
        with log.open("wb") as output:
            child = self._account.spawn(command, death_signal="KILL", output=output)
        self._children.append(child)
        return child

    def _give(self, path: Path) -> None:
        os.chown(path, self._account.uid, self._account.gid)

    def temporary_folder(self, name: str) -> Path:
        """Where one server keeps temporary tables: a starting server deletes those of all who share it."""
        return self._own_folder(self.home / f"{name}.tmp")

    def _own_folder(self, folder: Path) -> Path:
        folder.mkdir(mode=0o700)
        self._give(folder)
        return folder

    def _begin(self) -> subprocess.Popen[bytes]:
        self._own_folder(self._folder)
        command = self.binaries.run(
            self.binaries.install,
            *self.binaries.options[:1],
            f"--datadir={self._folder}",
            f"--tmpdir={self.temporary_folder('template')}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--force",
            *STORAGE_OPTIONS,
        )
        return self.spawn(command, self._log)


class MariaDbProcess:
    """One server on its own copy of the template; started by the constructor, usable once it is ready."""

    def __init__(self, template: MariaDbTemplate, name: str, options: Sequence[str] = ()) -> None:
        self.port = 0
        self._template = template
        self._options = options
        self._folder = template.home / name
        self._log = template.home / f"{name}.log"
        self._accounts = template.home / f"{name}.sql"
        self._temporary = template.temporary_folder(name)
        template.copy_to(self._folder)
        template.write_accounts(self._accounts)
        self._process = self._begin()

    def wait_until_ready(self) -> None:
        """Return once the server answers root. Raises RuntimeError with its log if it does not."""
        deadline = time.monotonic() + READY_SECONDS
        tries = 1
        while not self._answers():
            has_ended = self._process.poll() is not None
            if has_ended and tries < PORT_TRIES and PORT_TAKEN in self._log.read_text():
                self._process = self._begin()
                tries += 1
            elif has_ended or time.monotonic() > deadline:
                raise RuntimeError(f"MariaDB did not start:\n{self._log.read_text()}")
            time.sleep(0.02)

    def _begin(self) -> subprocess.Popen[bytes]:
        self.port = next(ports_to_try(None, None))
        binaries = self._template.binaries
        command = binaries.run(
            binaries.server,
            *binaries.options,
            *SERVER_OPTIONS,
            f"--datadir={self._folder}",
            f"--tmpdir={self._temporary}",
            f"--init-file={self._accounts}",
            f"--port={self.port}",
            *self._options,
        )
        return self._template.spawn(command, self._log)

    def _answers(self) -> bool:
        try:
            pymysql.connect(
                host="127.0.0.1", port=self.port, user="root", password=self._template.admin_password
            ).close()
        except pymysql.err.OperationalError:
            return False
        return True
