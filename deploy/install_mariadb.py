#!/usr/bin/env python3
"""Make a MariaDB server available to the tests, and start nothing.

One that is installed is used. Otherwise root installs two packages that hold programs only, no service;
an ordinary user unpacks the same packages below the project. Running it again costs nothing.
"""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from leadq_dagster_tests.servers.mariadb_binaries import UNPACKED, find_binaries  # noqa: E402

PACKAGES = ("mariadb-server-core", "mariadb-client-core")
ADVICE = f"""\
MariaDB is needed by the tests and could not be made available: {{reason}}
Do one of these, then try again:
  * on Debian or Ubuntu, as root:
      apt-get update && apt-get install --no-install-recommends {" ".join(PACKAGES)}
  * elsewhere: install MariaDB 10.6 or later, so that mariadbd and mariadb-install-db are on the PATH
"""


class NotAvailableError(Exception):
    """Why this machine cannot be given a server by this script."""


def main() -> int:
    """Exit code 0 when the programs are there; 1 with advice on standard error when they are not."""
    try:
        if find_binaries() is None:
            provide()
    except NotAvailableError as reason:
        sys.stderr.write(ADVICE.format(reason=reason))
        return 1
    found = find_binaries()
    if found is None:
        sys.stderr.write(ADVICE.format(reason="the packages came without mariadbd or mariadb-install-db"))
        return 1
    sys.stdout.write(f"MariaDB: {found.server}\n")
    return 0


def provide() -> None:
    """Install as root, unpack as anybody else. Raises NotAvailableError."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise NotAvailableError("apt-get and dpkg-deb are not on this machine")
    with tempfile.TemporaryDirectory(prefix="leadq-apt-") as name:
        scratch = Path(name)
        if os.geteuid() == 0:
            with_current_lists(install, [])
        else:
            (scratch / "lists" / "partial").mkdir(parents=True)
            own_lists = [f"Dir::State::lists={scratch}/lists", f"Dir::Cache={scratch}/cache"]
            with_current_lists(lambda options: download(options, scratch), own_lists)
            unpack(scratch)


def with_current_lists(step: Callable[[Sequence[str]], None], options: Sequence[str]) -> None:
    """Do it with the package lists that are there; where that fails, once more with fetched ones."""
    try:
        step([])
    except NotAvailableError:
        apt(options, "update")
        step(options)


def install(options: Sequence[str]) -> None:
    """Install the packages, waiting a while for somebody else's apt to finish."""
    apt([*options, "DPkg::Lock::Timeout=120"], "install", "--yes", "--no-install-recommends", *PACKAGES)


def download(options: Sequence[str], scratch: Path) -> None:
    """Fetch the packages and the libraries this machine lacks; apt itself says which those are."""
    plan = apt(options, "install", "--simulate", "--no-install-recommends", *PACKAGES)
    missing = [line.split()[1] for line in plan.splitlines() if line.startswith("Inst ")]
    apt(options, "download", *missing, folder=scratch)


def unpack(scratch: Path) -> None:
    """Unpack what was fetched into the project, which sees all of it or nothing."""
    unfinished = UNPACKED.with_name(f"mariadb.{os.getpid()}")
    unfinished.mkdir(parents=True)
    try:
        for package in sorted(scratch.glob("*.deb")):
            run(["dpkg-deb", "-x", str(package), str(unfinished)])
        shutil.rmtree(UNPACKED, ignore_errors=True)
        unfinished.rename(UNPACKED)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def apt(options: Sequence[str], *command: str, folder: Path | None = None) -> str:
    """What apt-get says on standard output. Raises NotAvailableError with what it says otherwise."""
    return run(["apt-get", *(word for option in options for word in ("-o", option)), *command], folder)


def run(command: Sequence[str], folder: Path | None = None) -> str:
    """Run a program in plain English, asking nothing."""
    plain = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        command, cwd=folder, env=plain, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise NotAvailableError(f"{shlex.join(command)} failed:\n{done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
