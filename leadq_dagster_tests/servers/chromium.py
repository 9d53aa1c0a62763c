"""Where the browser of the tests is: installed on the machine, or unpacked below the project."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import BrowserContext, sync_playwright

UNPACKED = Path(__file__).resolve().parents[2] / ".cache" / "chromium"
NAMES = ("chromium", "chromium-browser", "google-chrome")


@dataclass(frozen=True)
class Chromium:
    """The program, and what it needs in its environment."""

    program: Path
    environment: Mapping[str, str] = field(default_factory=dict)


def find_chromium(unpacked: Path = UNPACKED) -> Chromium | None:
    """The installed browser, else the unpacked one, else None."""
    for name in NAMES:
        if program := shutil.which(name):
            return Chromium(Path(program))
    program = unpacked / "usr/lib/chromium/chromium"
    if not program.exists():
        return None
    folders = [unpacked / "usr/lib", *unpacked.glob("usr/lib/*-linux-*"), *unpacked.glob("lib/*-linux-*")]
    return Chromium(program, {"LD_LIBRARY_PATH": os.pathsep.join(map(str, folders))})


@contextmanager
def browsing(profile: Path) -> Iterator[BrowserContext]:
    """A browser with a profile of its own, which asks nobody for anything but the pages of the test."""
    chromium = find_chromium()
    if chromium is None:
        raise RuntimeError("Chromium is not available: run deploy/install_for_tests.py (make test does)")
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=chromium.program,
            headless=True,
            args=["--no-sandbox", "--disable-background-networking"],
            env={**os.environ, **chromium.environment},
        )
        try:
            yield context
        finally:
            context.close()
