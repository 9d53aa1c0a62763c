"""Files that stand beside the package in a checkout and inside it in a wheel."""

from pathlib import Path

PACKAGE = Path(__file__).parent


def shipped(name: str) -> Path:
    """The file or folder of this name that came with leadq, such as `sql` or `dagster.yaml`."""
    inside = PACKAGE / name
    return inside if inside.exists() else PACKAGE.parent / name
