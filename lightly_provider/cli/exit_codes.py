"""The exit codes of all commands."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ended; see :data:`MEANINGS`."""

    OK = 0
    DENIED = 1
    USAGE = 2
    UNKNOWN = 3
    NO_CONNECTION = 4
    PARTLY = 5
    INTERRUPTED = 130
    BROKEN_PIPE = 141


# For `--help` and the guide.
MEANINGS: dict[ExitCode, str] = {
    ExitCode.OK: "done; or nothing that is needed is missing",
    ExitCode.DENIED: "denied: a permission is missing, or the platform, AWS or the disk refused",
    ExitCode.USAGE: "a wrong argument, an unknown name or id, or a connection with a wrong value",
    ExitCode.UNKNOWN: "not known: no answer, or none that can be used",
    ExitCode.NO_CONNECTION: "there is no such Airflow connection",
    ExitCode.PARTLY: "some of several locations, or at least one dataset of a fleet, cannot work",
    ExitCode.INTERRUPTED: "interrupted by Ctrl-C",
    ExitCode.BROKEN_PIPE: "the reader of the output ended, e.g. head",
}


def overall(codes: list[ExitCode]) -> ExitCode:
    """
    Return the exit code for several results.

    :param codes: The exit code of each result.
    :return: That of all, if they are equal. Otherwise ``PARTLY`` if any was denied, and the highest if none was.
    """
    distinct = set(codes) or {ExitCode.OK}
    if len(distinct) == 1:
        return distinct.pop()
    return ExitCode.PARTLY if ExitCode.DENIED in distinct else max(distinct)
