"""What the desk writes down of its races: ids only, nobody's data."""

import structlog

_log = structlog.get_logger("leadq.desk")


def race_lost(**ids: int | str | None) -> None:
    """Somebody else was there first: a line `assignment_race` with whose request lost what."""
    _log.info("assignment_race", **ids)


def routing_failed(callback_id: int, why: str) -> None:
    """A promised call could not be routed: a line `callback_not_routed`; it is tried again later."""
    _log.warning("callback_not_routed", callback_id=callback_id, why=why)


def uncounted(why: str) -> None:
    """How everybody stands could not be counted; the last count is told for a while."""
    _log.warning("standings_uncounted", why=why)


def unanswered(why: str) -> None:
    """The source could not be asked about leads: a line `source_unanswered`; it is left alone for a while."""
    _log.warning("source_unanswered", why=why)
