"""
The time until which a dataset's files are processed, and what else it says: when the input was changed.

A run of the worker reads the files that were modified after this time. When the input is changed, the provider sets it
to 40 years before the change. No file in S3 is that old, so the next run reads all files of the new input; and until a
run has moved the time on, it says since when a run is missing.
"""

from __future__ import annotations

# S3 opened in March 2006, and sets the time of a file's modification itself.
OLDEST_FILE = 1_141_171_200
_BACK = 40 * 365 * 86_400


def all_files_new(moment: float) -> int:
    """
    Return the time to set so that all files are new, in seconds since the epoch.

    :param moment: When the input was changed, or a run became necessary, in seconds since the epoch.
    """
    return max(1, int(moment) - _BACK)


def changed_at(processed_until: int, now: float) -> int | None:
    """
    Return when the input was changed, in seconds since the epoch; None: a run has read it since, or nothing says so.

    :param processed_until: The dataset's time, in seconds since the epoch.
    :param now: The present time, in seconds since the epoch.
    """
    # Somebody may have set another old date.
    moment = processed_until + _BACK
    return moment if 0 < processed_until < OLDEST_FILE and moment <= now else None
