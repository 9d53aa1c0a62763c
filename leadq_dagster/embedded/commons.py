"""Root's folder for what an ordinary user must reach while root's own folders are closed to it."""

import hashlib
import os
import stat
from pathlib import Path

from leadq_dagster.domain.errors import RefusedError

# The first is not swept by the system; the second is for machines whose /var/lib cannot be written.
COMMON_FOLDERS = (Path("/var/lib/leadq"), Path("/var/tmp/leadq"))


def common_folder() -> Path:
    """A folder that root owns, only root writes and everybody may enter; made if there is none yet.

    Raises RefusedError when no such folder can be had.
    """
    for folder in COMMON_FOLDERS:
        if _made_safe(folder):
            return folder
    tried = " and ".join(map(str, COMMON_FOLDERS))
    raise RefusedError(f"PostgreSQL needs a folder that root owns and others may enter; tried {tried}")


def place_for(home: Path) -> Path:
    """Where in the common folder the data of this home lies; the same for the same home."""
    return common_folder() / hashlib.sha256(os.fsencode(home)).hexdigest()[:16]


def is_place(folder: Path) -> bool:
    """Whether a folder is one that `place_for` gives."""
    return folder.parent in COMMON_FOLDERS


def make_public(folder: Path) -> None:
    """Make a folder that everybody may enter, whatever the umask; one that exists stays as it is."""
    if not folder.exists():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)


def _made_safe(folder: Path) -> bool:
    """Whoever could write there could have their own program run as the server's user."""
    try:
        make_public(folder)
        found = folder.lstat()
    except OSError:
        return False
    mode = stat.S_IMODE(found.st_mode)
    return stat.S_ISDIR(found.st_mode) and found.st_uid == 0 and mode & 0o022 == 0 and mode & 0o005 == 0o005
