"""A data folder: where it lies, whose it is, and how it is made whole or not at all."""

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from leadq_dagster.domain.errors import PermanentError, RefusedError
from leadq_dagster.embedded.account import Account, choose_account
from leadq_dagster.embedded.binaries import Binaries
from leadq_dagster.embedded.commons import common_folder, is_place, make_public, place_for
from leadq_dagster.embedded.home import Home, write_private
from leadq_dagster.embedded.leftovers import clear_leftovers

SUPERUSER = "leadq"
HALF_MADE = "initialising-"
LOCALES = ("C.UTF-8", "C")


@dataclass(frozen=True)
class Cluster:
    """The data of one server and the user whom it belongs to."""

    data: Path
    account: Account


def data_major(data: Path) -> int | None:
    """The major version that made this data; None if there is none yet.

    Raises RefusedError for a folder that holds something else.
    """
    try:
        return int((data / "PG_VERSION").read_text())
    except FileNotFoundError:
        if data.exists() and any(data.iterdir()):
            raise RefusedError(f"{data} holds something that is not PostgreSQL's; move it away") from None
        return None


def place_cluster(home: Home) -> Cluster:
    """Decide where the home's data lies and whose it is; the same answer ever after.

    It lies in the home, or, where the server's user cannot enter that, elsewhere with a link in the home.
    Raises RefusedError when it lies where its user cannot reach it.
    """
    account = choose_account(home.data)
    # A link stands for a decision taken before, also when what it points to is not made yet.
    if not home.data.exists() and not home.data.is_symlink() and not account.can("-x", home.folder):
        home.data.symlink_to(place_for(home.folder) / "data")
    data = home.data.resolve()
    if is_place(data.parent):
        common_folder()
        make_public(data.parent)
    if not account.can("-x", data if data.exists() else data.parent):
        raise RefusedError(f"the user {account.name} cannot reach {data}; let it enter every folder above")
    return Cluster(data, account)


def make_cluster(cluster: Cluster, binaries: Binaries, password: str, *, durable: bool) -> None:
    """Initialise the data under another name and rename it: it is there whole or not at all."""
    parent = cluster.data.parent
    for abandoned in parent.glob(f"{HALF_MADE}*"):
        shutil.rmtree(abandoned, ignore_errors=True)
    half = Path(tempfile.mkdtemp(prefix=HALF_MADE, dir=parent))
    try:
        password_file = half / "password"
        write_private(password_file, password)
        for path in (half, password_file):
            os.chown(path, cluster.account.uid, cluster.account.gid)
        _initdb(cluster.account, binaries, half, durable=durable)
        # An empty data folder is replaced.
        (half / "data").rename(cluster.data)
    finally:
        shutil.rmtree(half, ignore_errors=True)


def erase_cluster(home: Home) -> None:
    """Remove the home's data, and the place that was made for it elsewhere.

    Raises RefusedError rather than remove what is not PostgreSQL's.
    """
    data = home.data.resolve()
    if data_major(data) is not None:
        clear_leftovers(data)
        shutil.rmtree(data)
    if home.data.is_symlink():
        home.data.unlink()
        # A link that somebody made by hand leads to a folder that is theirs.
        if is_place(data.parent):
            shutil.rmtree(data.parent, ignore_errors=True)
    for abandoned in home.folder.glob(f"{HALF_MADE}*"):
        shutil.rmtree(abandoned, ignore_errors=True)


def _initdb(account: Account, binaries: Binaries, half: Path, *, durable: bool) -> None:
    fixed = [str(binaries.program("initdb")), "-D", str(half / "data"), "-U", SUPERUSER, "-E", "UTF8"]
    fixed += ["-A", "scram-sha-256", f"--pwfile={half / 'password'}", *([] if durable else ["--no-sync"])]
    for locale in LOCALES:
        with tempfile.TemporaryFile() as output:
            if account.spawn([*fixed, f"--locale={locale}"], death_signal="KILL", output=output).wait() == 0:
                return
            output.seek(0)
            said = output.read().decode(errors="replace").strip().splitlines()
        # It removes what it made when it fails, so the next locale finds nothing in the way.
    raise PermanentError(f"PostgreSQL's data could not be made: {said[-1] if said else 'no reason given'}")
