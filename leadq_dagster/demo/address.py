"""Where the running demo's UI is, for a second one that is refused: a note in the demo's home."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOTE = "ui_address"


@contextmanager
def announced(home: Path, address: str) -> Iterator[None]:
    """Within the block the note says where the UI is."""
    note = home / NOTE
    note.write_text(address)
    try:
        yield
    finally:
        forget(home)


def forget(home: Path) -> None:
    """Remove the note, also one that a killed demo left."""
    (home / NOTE).unlink(missing_ok=True)


def noted(home: Path) -> str | None:
    """Where the UI is of the demo that runs in this home; None while it has none yet."""
    note = home / NOTE
    return note.read_text() if note.exists() else None
