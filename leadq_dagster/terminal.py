"""What every command shares."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from leadq_dagster.domain.errors import LeadqError


@contextmanager
def plain_errors() -> Iterator[None]:
    """Show leadq's own errors as a sentence and exit 1; anything else is a defect and keeps its trace."""
    try:
        yield
    except LeadqError as error:
        typer.secho(f"leadq: {error}", err=True, fg="red")
        sys.exit(1)
