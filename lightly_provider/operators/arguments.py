"""What operators do with their arguments before anything else: tell values from templates, check, and convert."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence, Set
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection

    from lightly_provider.runs.follower import Log

# The vendor's client polls no faster than this, "to prevent rate limiting" (lightly 1.5.26,
# api/api_workflow_compute_worker.py).
SHORTEST_POLL_INTERVAL = 30.0


def is_static(value: Any) -> bool:
    """
    Whether an argument's value is known when the DAG is parsed.

    :param value: What the DAG's author wrote: a plain value, a Jinja template, or another task's output.
    :return: False for a template, for a task's output, and for a container that holds one.
    """
    if isinstance(value, str):
        return "{{" not in value and "{%" not in value
    if isinstance(value, Mapping):
        return all(is_static(inner) for inner in value.values())
    if isinstance(value, (list, tuple, set, frozenset)):
        return all(is_static(inner) for inner in value)
    # What all of Airflow's references have: an XComArg, a DAG parameter, an item of a mapping. (A path resolves, too.)
    return not hasattr(value, "iter_references")


def check_choice(value: Any, choices: Collection[str], *, argument: str) -> None:
    """
    Refuse a value that is none of the choices.

    :param value: What was given.
    :param choices: What may be given.
    :param argument: The argument's name, for the message.
    :raises ValueError: With the choice that was probably meant.
    """
    if value in choices:
        return
    import difflib

    by_fold = {choice.casefold(): choice for choice in choices}
    near = difflib.get_close_matches(str(value).casefold(), by_fold, n=1)
    hint = f"did you mean {by_fold[near[0]]!r}? Allowed" if near else "allowed"
    raise ValueError(f"{argument} is {value!r}; {hint}: {', '.join(map(repr, choices))}.")


def check_id(value: Any, *, argument: str) -> None:
    """
    Refuse what is no id of the platform (24 hexadecimal digits).

    :raises ValueError: With a hint where the id must come from.
    """
    if not isinstance(value, str) or not re.fullmatch(r"[a-f0-9]{24}", value):
        raise ValueError(
            f"{argument} is {value!r}, and an id of the platform is 24 hexadecimal digits; "
            "pass what the task that created it returned, e.g. create_dataset.output."
        )


def mapping_of(value: Mapping[str, Any] | str | None, *, argument: str) -> Mapping[str, Any] | None:
    """
    A configuration as a mapping; a template such as ``{{ params.selection | tojson }}`` renders to JSON text.

    :raises ValueError: It is neither a mapping nor a JSON object.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise ValueError(f"{argument} is no valid JSON: {error}; give a mapping or a JSON object.") from None
    if value is not None and not isinstance(value, Mapping):
        raise ValueError(f"{argument} is a {type(value).__name__}; give a mapping or a JSON object.")
    return value


def labels_of(value: Sequence[str] | None, *, argument: str) -> list[str]:
    """
    Labels as a list; None means none.

    :raises ValueError: It is a text, or no list of texts.
    """
    if isinstance(value, str):
        raise ValueError(f"{argument} is the text {value!r}; give a list of labels, e.g. [{value!r}].")
    if value is None:
        return []
    if not isinstance(value, (Sequence, Set)) or not all(isinstance(label, str) for label in value):
        raise ValueError(f"{argument} is {value!r}; give a list of labels, each a text, e.g. ['gpu'].")
    return list(value)


def seconds_of(value: float | str | timedelta, *, argument: str, zero_allowed: bool = False) -> float:
    """
    A duration in seconds.

    :param value: A number, the text of one (a rendered template), or a timedelta.
    :param argument: The argument's name, for the message.
    :param zero_allowed: Whether 0 is a duration too. Default: False.
    :raises ValueError: It is none, or out of range.
    """
    try:
        seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    except (TypeError, ValueError):
        seconds = -1.0
    if not (0 < seconds < math.inf or (zero_allowed and seconds == 0)):
        wanted = "a number of seconds, or a timedelta, from 0" if zero_allowed else "a number of seconds above 0"
        raise ValueError(f"{argument} is {value!r}; it must be {wanted}.")
    return seconds


def interval_of(poll_interval: float | str, *, is_local: bool, log: Log) -> float:
    """
    Seconds between two looks at a run: what the DAG's author wants, but no less than a far platform likes.

    :param poll_interval: What was asked for.
    :param is_local: Whether the platform runs on this machine.
    :param log: Where to say that it is more than was asked for.
    """
    interval = seconds_of(poll_interval, argument="poll_interval")
    if interval < SHORTEST_POLL_INTERVAL and not is_local:
        log.warning(
            "poll_interval is %g s; the platform limits the rate of requests, so %g s are used.",
            interval,
            SHORTEST_POLL_INTERVAL,
        )
        return SHORTEST_POLL_INTERVAL
    return interval
