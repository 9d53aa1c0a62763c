"""Takes the README's picture of the lineage from a running demo: `python docs/take_picture.py URL`.

Needs Debian's package chromium.
"""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

LINEAGE = "/locations/leadq/asset-groups/conversions/lineage"
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


def main(url: str) -> None:
    with tempfile.TemporaryDirectory() as profile, sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            profile,
            executable_path="/usr/bin/chromium",
            headless=True,
            args=[*QUIET, "--disable-sync", "--no-first-run", "--disable-quic"],
            viewport={"width": 1400, "height": 1150},
        )
        page = browser.new_page()
        page.goto(url + LINEAGE)
        page.get_by_text("signature_conversions").first.wait_for(timeout=60_000)
        page.wait_for_timeout(6_000)
        page.screenshot(path=str(Path(__file__).with_name("lineage.png")))
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1])
