"""When a dataset's next run is due."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from lightly_provider.foreign_text import shown

# As Airflow's own presets.
_PRESETS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}
_LONGEST = 200
# What croniter replaces by a time of its own choice, a new one each time that it is asked.
_RANDOM = r"(?i)(?<![a-z])[rh](?![a-z])"


def check_schedule(schedule: str) -> str:
    """
    Check a schedule.

    :param schedule: A preset, e.g. ``@daily``, or a cron expression of five fields.
    :return: ``schedule``, unchanged.
    :raises ValueError: It is neither, or names a time that never comes.
    """
    latest_before(schedule, datetime.now(UTC))
    return schedule


def latest_before(schedule: str, moment: datetime) -> datetime:
    """
    Return the latest time of a schedule up to a moment, in UTC.

    :param schedule: See :func:`check_schedule`.
    :param moment: The moment, with a time zone.
    :raises ValueError: The schedule is invalid.
    """
    from croniter import croniter

    expression = _PRESETS.get(schedule, schedule)
    found: datetime | None = None
    if len(schedule) <= _LONGEST and len(expression.split()) == 5 and not re.search(_RANDOM, expression):
        # The times are full minutes, and the previous one is wanted, which may be this minute's.
        next_minute = moment.astimezone(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
        with suppress(ValueError, KeyError, AttributeError, OverflowError):
            found = croniter(expression, next_minute).get_prev(datetime)
    if found is None:
        raise ValueError(
            f"{shown(schedule, longest=100)!r} is not a schedule; write {', '.join(_PRESETS)}, or a cron expression of "
            "five fields, e.g. '30 4 * * 1-5'"
        )
    return found
