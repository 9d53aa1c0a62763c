"""Where MariaDB's programs are: installed on the machine, or unpacked below the project."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

UNPACKED = Path(__file__).resolve().parents[2] / ".cache" / "mariadb"
SEARCHED = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/usr/bin"])


@dataclass(frozen=True)
class MariaDbBinaries:
    """The server, the script that makes a data folder, and what both need to find their own files."""

    server: Path
    install: Path
    options: Sequence[str] = ()
    libraries: str = ""
    unpacked: Path | None = None

    def run(self, program: Path, *arguments: str) -> list[str]:
        """The command that runs one of these programs with its own libraries and without anybody's my.cnf."""
        own = ["env", f"LD_LIBRARY_PATH={self.libraries}"] if self.libraries else []
        return [*own, str(program), "--no-defaults", *arguments]

    def reached_through(self, home: Path) -> "MariaDbBinaries":
        """The same programs by a path without spaces, which the install script cannot take."""
        if self.unpacked is None:
            return self
        link = home / "programs"
        link.symlink_to(self.unpacked)
        return unpacked_binaries(link)


def find_binaries(unpacked: Path = UNPACKED) -> MariaDbBinaries | None:
    """The installed programs, else the unpacked ones, else None.

    Root gets installed ones only: its servers run as another user, who may be unable to enter the project.
    """
    server, install = (shutil.which(name, path=SEARCHED) for name in ("mariadbd", "mariadb-install-db"))
    if server and install:
        return MariaDbBinaries(Path(server), Path(install))
    if os.geteuid() != 0 and (unpacked / "usr/sbin/mariadbd").exists():
        return unpacked_binaries(unpacked)
    return None


def unpacked_binaries(root: Path) -> MariaDbBinaries:
    """The programs of packages that were unpacked into this folder instead of being installed."""
    base = root / "usr"
    libraries = [str(base / "lib"), *(str(folder) for folder in (base / "lib").glob("*-linux-*"))]
    return MariaDbBinaries(
        server=base / "sbin/mariadbd",
        install=base / "bin/mariadb-install-db",
        options=(
            f"--basedir={base}",
            f"--lc-messages-dir={base / 'share/mysql'}",
            f"--plugin-dir={base / 'lib/mysql/plugin'}",
        ),
        libraries=os.pathsep.join(libraries),
        unpacked=root,
    )
