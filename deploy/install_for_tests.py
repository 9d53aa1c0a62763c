#!/usr/bin/env python3
"""Make MariaDB's server and the Chromium browser available to the tests, and start nothing.

What is installed is used. Otherwise root installs packages that hold programs only, no service; an ordinary
user unpacks the same packages below the project. Running it again costs nothing. No test is skipped for want
of a program: where this fails it says what to do, and `make test` stops.
"""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from leadq_dagster_tests.servers import chromium, mariadb_binaries  # noqa: E402

ADVICE = """\
{name} is needed by the tests and could not be made available: {reason}
Do one of these, then try again:
  * on Debian or Ubuntu, as root:
      apt-get update && apt-get install --no-install-recommends {packages}
  * elsewhere: {elsewhere}
"""


class NotAvailableError(Exception):
    """Why this machine cannot be given a program by this script."""


@dataclass(frozen=True)
class Program:
    """What the tests need: its packages, where an ordinary user's are unpacked, how to see it is there."""

    name: str
    packages: Sequence[str]
    unpacked: Path
    find: Callable[[], str | None]
    elsewhere: str


def _mariadb() -> str | None:
    found = mariadb_binaries.find_binaries()
    return str(found.server) if found else None


def _chromium() -> str | None:
    found = chromium.find_chromium()
    return str(found.program) if found else None


PROGRAMS = (
    Program(
        "MariaDB",
        ("mariadb-server-core", "mariadb-client-core"),
        mariadb_binaries.UNPACKED,
        _mariadb,
        "install MariaDB 10.6 or later, so that mariadbd and mariadb-install-db are on the PATH",
    ),
    Program(
        "Chromium",
        ("chromium",),
        chromium.UNPACKED,
        _chromium,
        "install Chromium or Chrome, so that chromium, chromium-browser or google-chrome is on the PATH",
    ),
)


def main() -> int:
    """Exit code 0 when the programs are there; 1 with advice on standard error when one is not."""
    return max([make_available(program) for program in PROGRAMS])


def make_available(program: Program) -> int:
    """0 when it is there now; 1 with advice on standard error when it is not."""
    reason: object = f"the packages came without what {program.name} consists of"
    try:
        if program.find() is None:
            provide(program)
    except NotAvailableError as error:
        reason = error
    if found := program.find():
        sys.stdout.write(f"{program.name}: {found}\n")
        return 0
    advice = {"packages": " ".join(program.packages), "elsewhere": program.elsewhere}
    sys.stderr.write(ADVICE.format(name=program.name, reason=reason, **advice))
    return 1


def provide(program: Program) -> None:
    """Install as root, unpack as anybody else. Raises NotAvailableError."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise NotAvailableError("apt-get and dpkg-deb are not on this machine")
    with tempfile.TemporaryDirectory(prefix="leadq-apt-") as name:
        scratch = Path(name)
        if os.geteuid() == 0:
            with_current_lists(lambda options: install(options, program.packages), [])
        else:
            (scratch / "lists" / "partial").mkdir(parents=True)
            own_lists = [f"Dir::State::lists={scratch}/lists", f"Dir::Cache={scratch}/cache"]
            with_current_lists(lambda options: download(options, program.packages, scratch), own_lists)
            unpack(scratch, program.unpacked)


def with_current_lists(step: Callable[[Sequence[str]], None], options: Sequence[str]) -> None:
    """Do it with the package lists that are there; where that fails, once more with fetched ones."""
    try:
        step([])
    except NotAvailableError:
        apt(options, "update")
        step(options)


def install(options: Sequence[str], packages: Sequence[str]) -> None:
    """Install the packages, waiting a while for somebody else's apt to finish."""
    apt([*options, "DPkg::Lock::Timeout=120"], "install", "--yes", "--no-install-recommends", *packages)


def download(options: Sequence[str], packages: Sequence[str], scratch: Path) -> None:
    """Fetch the packages and the libraries this machine lacks; apt itself says which those are."""
    plan = apt(options, "install", "--simulate", "--no-install-recommends", *packages)
    missing = [line.split()[1] for line in plan.splitlines() if line.startswith("Inst ")]
    apt(options, "download", *missing, folder=scratch)


def unpack(scratch: Path, target: Path) -> None:
    """Unpack what was fetched into the project, which sees all of it or nothing."""
    unfinished = target.with_name(f"{target.name}.{os.getpid()}")
    unfinished.mkdir(parents=True)
    try:
        for package in sorted(scratch.glob("*.deb")):
            run(["dpkg-deb", "-x", str(package), str(unfinished)])
        shutil.rmtree(target, ignore_errors=True)
        unfinished.rename(target)
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
