"""Directions hold: imports, the environment, statements; and a wheel carries all that leadq needs."""

import ast
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import leadq_dagster
from leadq_dagster.shipped import shipped

PACKAGE = Path(leadq_dagster.__file__).parent
PROJECT = PACKAGE.parent

# Besides settings.py, which is the place. Each with its reason.
TOUCHES_THE_ENVIRONMENT = {
    "demo/databases.py": "hands the demo's own home to the processes it starts",
    "service.py": "tells its worker processes where their counters lie",
    "demo/serving.py": "hands Dagster's folder and speed to the processes it starts",
}
# The folders whose business is a database.
SPEAKS_SQL = ("store", "replica", "firm", "embedded")
# Besides those. Each with its reason.
SPEAKS_TO_DAGSTERS_DATABASE = {
    "orchestration/storage.py": "creates the database of Dagster's own storage",
    "orchestration/housekeeping.py": "deletes old events from Dagster's own storage",
}
EXECUTING = {"execute", "executemany", "exec_driver_sql", "executescript"}
ENVIRONMENT = {"environ", "environb", "getenv", "getenvb"}

INSTALLED = """
import sys
from pathlib import Path
import leadq_dagster
from leadq_dagster.named_sql import queries
from leadq_dagster.shipped import shipped
from leadq_dagster.store import migrations
here = Path(sys.argv[1])
assert here in Path(leadq_dagster.__file__).parents, leadq_dagster.__file__
assert here in shipped("sql").parents, shipped("sql")
assert migrations.upgrade(sys.argv[2]) == migrations.known_migrations() != []
assert migrations.check(sys.argv[2]) == []
for path in (shipped("sql") / "queries").glob("*.sql"):
    assert queries(path.stem)
files = (path for path in shipped("sql").rglob("*.*") if path.suffix != ".pyc")
print(sorted(str(path.relative_to(shipped("sql"))) for path in files))
"""


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Each module's path below the package, and its tree."""
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).as_posix(), ast.parse(path.read_text("utf-8"))


def attributes(tree: ast.AST, names: set[str]) -> Iterator[str]:
    """Each use of one of these names as something's attribute, or imported by name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in names:
            yield node.attr
        if isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names if alias.name in names)


def called_methods(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node.func.attr


def test_imports_point_one_way() -> None:
    """The contracts of pyproject.toml."""
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    checked = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_only_the_settings_read_the_environment() -> None:
    """P38: one module knows every variable, and none is read at import somewhere else."""
    reading = {path for path, tree in modules() if any(attributes(tree, ENVIRONMENT))}
    assert reading - {"settings.py"} == set(TOUCHES_THE_ENVIRONMENT)


def test_only_the_database_layers_execute_statements() -> None:
    """P39: what is done to the store is in the store."""
    executing = {path for path, tree in modules() if EXECUTING & set(called_methods(tree))}
    assert {path for path in executing if path.split("/")[0] not in SPEAKS_SQL} == set(
        SPEAKS_TO_DAGSTERS_DATABASE
    )


def test_the_store_takes_its_statements_from_files() -> None:
    """P39: the words SELECT, INSERT, UPDATE and DELETE stand in sql/, but the migrator's and a setting's."""
    spelled = {
        (path, node.value.split()[0])
        for path, tree in modules()
        if path.split("/")[0] in ("store", "stages")
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.startswith(("SELECT ", "INSERT ", "UPDATE ", "DELETE ", "WITH "))
    }
    assert spelled == {("store/migrations.py", "SELECT"), ("store/connection.py", "SELECT")}


def test_files_hold_one_idea() -> None:
    for path in PACKAGE.rglob("*.py"):
        assert len(path.read_text("utf-8").splitlines()) <= 250, path


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with leadq as its wheel installs it, and nothing of the checkout."""
    folder = tmp_path_factory.mktemp("a wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=PROJECT, check=True, capture_output=True)
    [wheel] = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


def test_an_installed_wheel_migrates_a_store(installed: Path, empty_database: str) -> None:
    """P39: sql/ lies beside the package in a checkout, and inside it where leadq is installed."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", INSTALLED, str(installed), empty_database]
    ran = subprocess.run(command, cwd=installed, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    ours = shipped("sql")
    files = (path.relative_to(ours) for path in ours.rglob("*.*") if path.suffix != ".pyc")
    assert ast.literal_eval(ran.stdout) == sorted(map(str, files))
