"""Processes operator arguments before any request: distinguishes values from templates, checks and converts them."""

from __future__ import annotations

import ast
import json
import re
import time
from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lightly_provider.foreign_text import is_storable, shown
from lightly_provider.suggestions import one_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import TypeAlias

    Share: TypeAlias = float  # from 0 to 1

    from lightly_provider.runs.follower import Log

# The vendor's client polls no faster than this, "to prevent rate limiting" (lightly 1.5.26,
# api/api_workflow_compute_worker.py).
SHORTEST_POLL_INTERVAL = 30.0
LONGEST_POLL_INTERVAL = timedelta(days=1)
# Longer waits are mistakes, and much longer ones overflow Python's and Airflow's dates.
LONGEST_DURATION = timedelta(days=366)

# Moments in seconds since the epoch, from 2001 to 5138: none is older than S3, and milliseconds are larger.
_BEFORE_S3, _AFTER_SECONDS = 10**9, 10**11
_CLOCKS_DIFFER_BY_S = 60.0

_SHOWN_CHARACTERS = 200
_LONGEST_TEXT = 2048  # an S3 key has at most 1024 bytes, and all other names of AWS or the platform are shorter


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_texts(values: Any) -> bool:
    # Do not accept lists only: the output of a mapped task is Airflow's own sequence type.
    return isinstance(values, (Sequence, Set)) and not isinstance(values, (str, bytes)) and all(map(_is_text, values))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


# The types in annotations of operator arguments, with the description for messages and the check.
_TYPES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "bool": ("True or False", lambda value: isinstance(value, bool)),
    "str": ("a text", _is_text),
    "int": ("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool)),
    # A text may contain the number; seconds_of decides.
    "float": ("a number of seconds", lambda value: _is_number(value) or _is_text(value)),
    "Share": ("a number from 0 to 1", lambda value: _is_number(value) and 0 <= value <= 1),
    "timedelta": ("a timedelta", lambda value: isinstance(value, timedelta)),
    # A text may contain the moment; moment_of decides.
    "datetime": ("a datetime", lambda value: isinstance(value, datetime) or _is_text(value)),
    "Sequence[str]": ("a list of texts", _are_texts),
    "Mapping[str, str]": (
        "a mapping of texts to texts",
        lambda value: isinstance(value, Mapping) and all(_is_text(text) for pair in value.items() for text in pair),
    ),
    "Mapping[str, Any]": ("a mapping", lambda value: isinstance(value, Mapping)),
    "None": ("None", lambda value: value is None),
}
# Messages must not contain these values; the operators with such an argument check it.
_SECRET_ARGUMENTS = frozenset({"external_id"})


def types_of_arguments(operator: type) -> dict[str, tuple[str, ...]]:
    """
    Return the types of an operator's arguments from the annotations of its ``__init__``.

    :param operator: A class of this provider, or a user's subclass, whose own arguments are ignored.
    :return: The types by argument, e.g. ``{"role_arn": ("str", "None")}``.
    """
    types: dict[str, tuple[str, ...]] = {}
    for cls in reversed(operator.__mro__):
        # Airflow wraps the __init__ of each operator; if it has none, that of its base.
        init = cls.__dict__.get("__init__")
        if getattr(init, "__module__", "").startswith("lightly_provider."):
            types |= {argument: tuple(text.split(" | ")) for argument, text in init.__annotations__.items()}
    return {argument: names for argument, names in types.items() if argument not in {"kwargs", "return"}}


def check_types(operator: Any) -> None:
    """
    Reject arguments that do not match their annotation, texts that cannot be stored, and empty connection ids.

    Template fields that are not :func:`is_static` yet are skipped.

    :param operator: An operator or sensor of this provider whose arguments are set.
    :raises ValueError: With the argument, its value and what to give.
    """
    for argument, types in types_of_arguments(type(operator)).items():
        if argument in _SECRET_ARGUMENTS:
            continue
        value = getattr(operator, argument)
        is_templated = argument in operator.template_fields
        if is_templated and not is_static(value):
            continue
        if not any(_TYPES[name][1](value) for name in types):
            # The text of a number is also accepted; the message does not mention it.
            wanted = " or ".join(_TYPES[name][0] for name in types if name != "str" or "float" not in types)
            if isinstance(value, str) and "Sequence[str]" in types:
                wanted = f"a list, e.g. [{quoted(value)}]"
            why = "" if is_templated or is_static(value) else ", which is known only when the task runs"
            raise ValueError(f"{argument} is {quoted(value)}{why}; give {wanted}.")
        if value == "None":
            raise ValueError(
                f"{argument} is 'None', which a template renders to if its value is missing; give the value, or write "
                "e.g. {{ params.x or '' }} where it may be left out."
            )
        if isinstance(value, str) and "Mapping[str, Any]" not in types:
            _check_text(value, argument=argument, is_required="None" not in types)


def _check_text(value: str, *, argument: str, is_required: bool) -> None:
    if not is_storable(value):
        raise ValueError(f"{argument} is {quoted(value)}, which holds a control character; type it again.")
    if len(value) > _LONGEST_TEXT:
        raise ValueError(
            f"{argument} is {quoted(value)}, which has more than {_LONGEST_TEXT} characters; give what it names only."
        )
    if argument.endswith("conn_id") and not value.strip() and (value or is_required):
        raise ValueError(f"{argument} is {value!r}; give the id of an Airflow connection.")


def quoted(value: Any) -> str:
    """Return a value for a message: its Python representation on one line, shortened."""
    return shown(repr(value), longest=_SHOWN_CHARACTERS)


def read_rendered(text: str, types: Collection[str]) -> Any:
    """
    Return the value of a rendered template for an argument that need not be a text.

    :param text: The rendered template.
    :param types: The argument's types, see :func:`types_of_arguments`.
    :return: True or False if the text is exactly that, a list if it can be parsed as one; else the text, which
        :func:`check_types` rejects.
    """
    if "bool" in types and "str" not in types:
        return {"True": True, "False": False}.get(text, text)
    if "Sequence[str]" in types and text.lstrip().startswith("["):
        value = _literal_of(text)
        return value if _are_texts(value) else text
    return text


def _literal_of(text: str) -> Any:
    """Parse a text as JSON or, because Jinja writes mappings and lists so, as Python; None if it is neither."""
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
    return None


def is_static(value: Any) -> bool:
    """
    Return whether an argument's value is known when the DAG is parsed.

    :param value: The argument in the DAG file: a plain value, a Jinja template, or another task's output.
    :return: False for a template, for a task's output, and for a container with one of them.
    """
    if isinstance(value, str):
        return "{{" not in value and "{%" not in value
    if isinstance(value, Mapping):
        return all(is_static(inner) for inner in value.values())
    if isinstance(value, (list, tuple, set, frozenset)):
        return all(is_static(inner) for inner in value)
    # All of Airflow's references have this attribute: an XComArg, a DAG parameter, an item of a mapping. (A path has a
    # ``resolve`` method, too.)
    return not hasattr(value, "iter_references")


def check_flag(value: Any, *, argument: str) -> None:
    """
    Reject a value that is neither True nor False; texts are neither.

    :raises ValueError: The message contains the value.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{argument} is {quoted(value)}; give True or False.")


def check_choice(value: Any, choices: Collection[str], *, argument: str) -> None:
    """
    Reject a value that is not one of the choices.

    :param value: The value.
    :param choices: The allowed values.
    :param argument: The argument's name, for the message.
    :raises ValueError: The message suggests a choice.
    """
    if value in choices:
        return
    hint = one_of(value, choices, listed=", ".join(map(repr, choices)))
    raise ValueError(f"{argument} is {quoted(value)}; {hint}")


def check_id(value: Any, *, argument: str) -> None:
    """
    Reject a value that is not an id of the platform (24 hexadecimal digits).

    :raises ValueError: The message explains where to find the id.
    """
    if not isinstance(value, str) or not re.fullmatch(r"[a-f0-9]{24}", value):
        raise ValueError(
            f"{argument} is {quoted(value)}, and an id of the platform is 24 hexadecimal digits; "
            "pass what the task that created it returned, e.g. create_dataset.output."
        )


def mapping_of(value: Mapping[str, Any] | str | None, *, argument: str) -> Mapping[str, Any] | None:
    """
    Return a configuration as a mapping.

    :param value: A mapping, or the text of one: JSON, or a dict rendered by a template such as
        ``{{ params.selection }}``.
    :param argument: The argument's name, for the message.
    :raises ValueError: It is neither.
    """
    if not isinstance(value, str):
        return value
    read = _literal_of(value)
    if isinstance(read, Mapping) or (read is None and value.strip() == "null"):
        return read
    try:
        json.loads(value)
        fault = f"the text of a {type(read).__name__} and not of a mapping"
    except ValueError as error:
        fault = f"not valid JSON: {error}"
    except RecursionError:
        fault = "nested too deeply"
    raise ValueError(
        f"{argument} is {quoted(value)}, which is {fault}; give a mapping or a JSON object, from a template with "
        "{{ params.x | tojson }}."
    )


def labels_of(value: Sequence[str] | None, *, argument: str) -> list[str]:
    """
    Return labels as a list; None means no labels.

    :raises ValueError: The value is not a list of texts, or has an empty label.
    """
    if value is None:
        return []
    if not _are_texts(value):
        raise ValueError(f"{argument} is {quoted(value)}; give a list of texts, e.g. ['gpu'].")
    if not all(label.strip() for label in value):
        raise ValueError(f"{argument} is {quoted(value)}, which has an empty label; leave that out.")
    return list(value)


def names_of(value: Sequence[str] | None, *, argument: str) -> list[str]:
    """
    Return names as a list. An empty list is refused, because it could mean no name or all of them.

    :raises ValueError: The value is not a list of texts, is empty, or has an empty or unprintable name.
    """
    if not _are_texts(value):
        raise ValueError(f"{argument} is {quoted(value)}; give a list of texts.")
    names = list(value or ())
    if not names:
        raise ValueError(f"{argument} is {quoted(value)}, which is empty; give at least one, or leave it out.")
    if wrong := [name for name in names if not name.strip() or not is_storable(name) or len(name) > _LONGEST_TEXT]:
        raise ValueError(f"{argument} has {quoted(wrong[0])}, which is not a name; correct it, or leave it out.")
    return names


def seconds_of(
    value: float | str | timedelta,
    *,
    argument: str,
    zero_allowed: bool = False,
    longest: timedelta = LONGEST_DURATION,
) -> float:
    """
    Return a duration in seconds.

    :param value: A number, the text of one (a rendered template), or a timedelta.
    :param argument: The argument's name, for the message.
    :param zero_allowed: Whether 0 is allowed. Default: False.
    :param longest: The longest allowed duration. Default: 366 days.
    :raises ValueError: The value is not a duration, or out of range.
    """
    seconds = -1.0
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, str) or _is_number(value):
        with suppress(ValueError, OverflowError):
            seconds = float(value)
    most = longest.total_seconds()
    # Do not negate the condition: every comparison with NaN is False.
    if (0 < seconds <= most) or (zero_allowed and seconds == 0):
        return seconds
    bounds = f"{'from 0' if zero_allowed else 'above 0 and up'} to {most:.0f}"
    days = f"{longest.days} days" if longest.days > 1 else "1 day"
    raise ValueError(f"{argument} is {quoted(value)}; give a number of seconds or a timedelta, {bounds} ({days}).")


# Airflow's own sensor takes any truth value, and ends in an OverflowError with very long waits.
_FLAGS_OF_SENSORS = frozenset({"exponential_backoff", "never_fail", "silent_fail", "soft_fail"})
_LONGEST_OF_SENSORS = {"poke_interval": LONGEST_POLL_INTERVAL, "timeout": LONGEST_DURATION}


def check_arguments_of_sensor(arguments: Mapping[str, Any]) -> None:
    """
    Reject arguments that Airflow's own sensor does not check.

    :param arguments: What is passed on to it.
    :raises ValueError: The message names the argument, its value and what to give.
    """
    for argument in _FLAGS_OF_SENSORS & arguments.keys():
        check_flag(arguments[argument], argument=argument)
    for argument, longest in _LONGEST_OF_SENSORS.items():
        if arguments.get(argument) is not None:
            seconds_of(arguments[argument], argument=argument, zero_allowed=True, longest=longest)


def moment_of(value: float | str | datetime, *, argument: str) -> int:
    """
    Return a moment of the past in seconds since the epoch, rounded down.

    :param value: A datetime with a time zone; a number of seconds; or the text of one of them: ISO 8601 with a time
        zone, a date (its beginning in UTC), or a number.
    :param argument: The argument's name, for the message.
    :raises ValueError: The value is not a moment, is ambiguous, or is in the future.
    """
    seconds: float | None = None
    moment = value if isinstance(value, datetime) else None
    if isinstance(value, str):
        text = value.strip()
        with suppress(ValueError):
            seconds = float(text)
        if seconds is None:
            with suppress(ValueError):
                moment = datetime.fromisoformat(text)
            if moment is not None and re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
                # {{ ds }} is the date of a DAG run in UTC.
                moment = moment.replace(tzinfo=UTC)
    elif not isinstance(value, (bool, datetime)):
        with suppress(OverflowError):
            seconds = float(value)
    if moment is not None:
        if moment.tzinfo is None:
            raise ValueError(f"{argument} is {quoted(value)}, a time without a time zone; add it, e.g. +00:00.")
        seconds = moment.timestamp()
    # A small number is some other count; a date is what it says.
    earliest = _BEFORE_S3 if moment is None else 0
    if seconds is None or not (seconds == 0 or earliest <= seconds <= _AFTER_SECONDS):
        why = ", which looks like milliseconds" if seconds is not None and seconds > _AFTER_SECONDS else ""
        raise ValueError(
            f"{argument} is {quoted(value)}{why}; give a datetime with a time zone, its ISO 8601 text, or seconds "
            "since the epoch (0: the beginning)."
        )
    if seconds > time.time() + _CLOCKS_DIFFER_BY_S:
        raise ValueError(
            f"{argument} is {quoted(value)}, which is in the future, so that the files until then would never be "
            "processed; give a moment of the past."
        )
    return int(seconds)


def interval_of(poll_interval: float | timedelta | str, *, is_local: bool, log: Log) -> float:
    """
    Return the seconds between two polls of a run: the requested interval, but no less than a remote platform allows.

    :param poll_interval: The requested interval.
    :param is_local: Whether the platform runs on this machine.
    :param log: Gets a warning if a longer interval is used.
    """
    interval = seconds_of(poll_interval, argument="poll_interval", longest=LONGEST_POLL_INTERVAL)
    if interval < SHORTEST_POLL_INTERVAL and not is_local:
        log.warning(
            "poll_interval is %g s; the platform limits the rate of requests, so %g s are used.",
            interval,
            SHORTEST_POLL_INTERVAL,
        )
        return SHORTEST_POLL_INTERVAL
    return interval
