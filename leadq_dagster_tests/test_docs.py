"""The documents say what is there."""

import re
from pathlib import Path

import pytest

from leadq_dagster.cli import app
from leadq_dagster.settings import Settings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\((?!https?://)([^)#]+)\)")
PATH = re.compile(r"`((?:leadq_dagster|leadq_dagster_tests|sql|docs|bench|deploy)/[\w./]*)`")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_and_path_leads_somewhere(document: Path) -> None:
    text = document.read_text("utf-8")
    lost = [link for link in LINK.findall(text) if not (document.parent / link).exists()]
    lost += [path for path in PATH.findall(text) if not (ROOT / path).exists()]
    assert not lost


def test_the_readme_lists_every_variable_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| `([^`]*)` \|", README, re.M))
    defaults = {name.upper(): field.default for name, field in Settings.model_fields.items()}
    assert rows.keys() == defaults.keys()
    for name, default in defaults.items():
        # By identity: 1 equals True.
        words = "unset" if default is None else "true" if default is True else str(default)
        assert rows[name] == words.replace(" ", "T"), name
        assert f"| {Settings.model_fields[name.lower()].description} |" in README, name


def test_the_readme_lists_every_command() -> None:
    names = [
        command.name or command.callback.__name__ for command in app.registered_commands if command.callback
    ]
    groups = [
        f"{group.name} {command.name or command.callback.__name__}"
        for group in app.registered_groups
        if group.typer_instance
        for command in group.typer_instance.registered_commands
        if command.callback
    ]
    for name in [*names, *groups]:
        assert f"`leadq {name}" in README, name
