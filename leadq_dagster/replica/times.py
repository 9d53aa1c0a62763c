"""The only place where the replica's naive dates become UTC instants, and windows become naive bounds.

In a zone with daylight saving the two do not map one to one: in autumn an hour of wall-clock time
stands for two hours of UTC, in spring an hour of it stands for none. leadq would rather look at a
row twice than never, so a repeated hour belongs to both UTC hours, and an hour that did not exist
(some applications write one) to the hours beside it.
"""

from datetime import UTC, datetime, timedelta, tzinfo

from leadq_dagster.domain.windows import Window

# Farther than any zone has ever moved its clocks at once (Samoa left out a whole day).
_REACH = timedelta(days=1)
_EARLIER, _LATER = 0, 1


def to_utc(value: object, zone: tzinfo, *, fold: int = _EARLIER) -> datetime | None:
    """The instant that a date read from the replica stands for, aware UTC.

    Naive values are wall-clock time in `zone`; of a repeated hour, `fold` chooses the earlier (0) or
    the later (1) instant. Values with a zone of their own keep it. NULL, zero dates, which PyMySQL
    hands out as text, and whatever else is not a date are None.
    """
    moment = _parsed(value)
    if moment is None:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone, fold=fold)
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # 0001-01-01 east of Greenwich, 9999-12-31 west of it: placeholders, not dates
        return None


def instant_in(window: Window, value: object, zone: tzinfo) -> datetime | None:
    """The instant inside `window` that a date read from the replica stands for; None if it has none there."""
    for fold in (_EARLIER, _LATER):
        instant = to_utc(value, zone, fold=fold)
        if instant is not None and instant in window:
            return instant
    return None


def naive_bounds(window: Window, zone: tzinfo) -> tuple[datetime, datetime]:
    """Naive bounds, lower included and upper not, that hold every value `instant_in` finds in `window`.

    Exact while the zone's clocks stand still. Within a day of a clock change they are wider by the size
    of the change, so what is read between them is still to be judged by `instant_in`. The obvious
    bounds, local(start) to local(end), are empty or reversed around the change in autumn.
    """
    offsets = _offsets_around(window, zone)
    return _naive(window.start) + min(offsets), _naive(window.end) + max(offsets)


def _offsets_around(window: Window, zone: tzinfo) -> set[timedelta]:
    # Every hour is looked at: a long window's first and last offset say nothing of those between.
    near = Window(window.start - _REACH, window.end + _REACH)
    return {hour.start.astimezone(zone).utcoffset() or timedelta() for hour in near.hours()}


def _naive(instant: datetime) -> datetime:
    return instant.astimezone(UTC).replace(tzinfo=None)


def _parsed(value: object) -> datetime | None:
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str):
        return None
    try:
        return datetime.fromisoformat(value.strip())
    except ValueError:
        return None
