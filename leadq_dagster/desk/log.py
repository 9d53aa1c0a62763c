"""What the desk writes down of its races: ids only, nobody's data."""

import structlog

_log = structlog.get_logger("leadq.desk")


def race_lost(**ids: int | str | None) -> None:
    """Somebody else was there first: a line `assignment_race` with whose request lost what."""
    _log.info("assignment_race", **ids)
