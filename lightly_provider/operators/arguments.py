"""What operators do with their arguments before any request: distinguish values from templates, check, convert."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from lightly_provider.foreign_text import is_storable, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from lightly_provider.runs.follower import Log

# The vendor's client polls no faster than this, "to prevent rate limiting" (lightly 1.5.26,
# api/api_workflow_compute_worker.py).
SHORTEST_POLL_INTERVAL = 30.0
LONGEST_POLL_INTERVAL = timedelta(days=1)
# Longer waits are slips, and far longer ones overflow Python's and Airflow's dates.
LONGEST_DURATION = timedelta(days=366)

_SHOWN_CHARACTERS = 200
_LONGEST_TEXT = 2048  # an S3 key has at most 1024 bytes, and every name of AWS or the platform is shorter


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_texts(values: Any) -> bool:
    # Not only lists: the output of a mapped task is a sequence of Airflow's own.
    return isinstance(values, (Sequence, Set)) and not isinstance(values, (str, bytes)) and all(map(_is_text, values))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


# The types that annotations of operator arguments are made of: what a message calls them, and what belongs to them.
_TYPES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "bool": ("True or False", lambda value: isinstance(value, bool)),
    "str": ("a text", _is_text),
    # A text may hold the number; seconds_of decides.
    "float": ("a number of seconds", lambda value: _is_number(value) or _is_text(value)),
    "timedelta": ("a timedelta", lambda value: isinstance(value, timedelta)),
    "Sequence[str]": ("a list of texts", _are_texts),
    "Mapping[str, str]": (
        "a mapping of texts to texts",
        lambda value: isinstance(value, Mapping) and all(_is_text(text) for pair in value.items() for text in pair),
    ),
    "Mapping[str, Any]": ("a mapping", lambda value: isinstance(value, Mapping)),
    "None": ("None", lambda value: value is None),
}
# A message must not repeat these; the operator that takes one checks it.
_SECRET_ARGUMENTS = frozenset({"external_id"})


def types_of_arguments(operator: type) -> dict[str, tuple[str, ...]]:
    """
    The types of an operator's arguments, as the annotations of its ``__init__`` name them.

    :param operator: A class of this provider, or a user's subclass, whose own arguments are left out.
    :return: The types by argument, e.g. ``{"role_arn": ("str", "None")}``.
    """
    types: dict[str, tuple[str, ...]] = {}
    for cls in reversed(operator.__mro__):
        # Airflow wraps the __init__ of each operator; of one that has none, its base's.
        init = cls.__dict__.get("__init__")
        if getattr(init, "__module__", "").startswith("lightly_provider."):
            types |= {argument: tuple(text.split(" | ")) for argument, text in init.__annotations__.items()}
    return {argument: names for argument, names in types.items() if argument not in {"kwargs", "return"}}


def check_types(operator: Any) -> None:
    """
    Refuse arguments of another type than their annotation, texts that nothing can store, and empty connection ids.

    Template fields that are not :func:`is_static` yet are passed over.

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
            # The text of a number is accepted, too, which the message need not mention.
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
        raise ValueError(f"{argument} is {quoted(value)}, which holds a control character; type it anew.")
    if len(value) > _LONGEST_TEXT:
        raise ValueError(
            f"{argument} is {quoted(value)}, which has more than {_LONGEST_TEXT} characters; give what it names only."
        )
    if argument.endswith("conn_id") and not value.strip() and (value or is_required):
        raise ValueError(f"{argument} is {value!r}; give the id of an Airflow connection.")


def quoted(value: Any) -> str:
    """A value for a message: as in Python, on one line, and not too long."""
    return shown(repr(value), longest=_SHOWN_CHARACTERS)


def read_rendered(text: str, types: Collection[str]) -> Any:
    """
    The value that a rendered template stands for, where an argument need not be a text.

    :param text: What Jinja made of a template.
    :param types: The argument's types, see :func:`types_of_arguments`.
    :return: True or False if the text is exactly that, a list if it reads as one; else the text, for
        :func:`check_types` to refuse.
    """
    if "bool" in types and "str" not in types:
        return {"True": True, "False": False}.get(text, text)
    if "Sequence[str]" in types and text.lstrip().startswith("["):
        value = _literal_of(text)
        return value if _are_texts(value) else text
    return text


def _literal_of(text: str) -> Any:
    """The value of a text in JSON or, as Jinja writes a mapping or list, in Python; None if it is neither."""
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
    return None


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


def check_flag(value: Any, *, argument: str) -> None:
    """
    Refuse what is neither True nor False; texts are neither.

    :raises ValueError: With the value.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{argument} is {quoted(value)}; give True or False.")


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
    raise ValueError(f"{argument} is {quoted(value)}; {hint}: {', '.join(map(repr, choices))}.")


def check_id(value: Any, *, argument: str) -> None:
    """
    Refuse what is no id of the platform (24 hexadecimal digits).

    :raises ValueError: With a hint where the id must come from.
    """
    if not isinstance(value, str) or not re.fullmatch(r"[a-f0-9]{24}", value):
        raise ValueError(
            f"{argument} is {quoted(value)}, and an id of the platform is 24 hexadecimal digits; "
            "pass what the task that created it returned, e.g. create_dataset.output."
        )


def mapping_of(value: Mapping[str, Any] | str | None, *, argument: str) -> Mapping[str, Any] | None:
    """
    A configuration as a mapping.

    :param value: A mapping, or the text of one: JSON, or what a template such as ``{{ params.selection }}`` makes of a
        dict.
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
        fault = f"no valid JSON: {error}"
    except RecursionError:
        fault = "nested too deeply"
    raise ValueError(
        f"{argument} is {quoted(value)}, which is {fault}; give a mapping or a JSON object, from a template with "
        "{{ params.x | tojson }}."
    )


def labels_of(value: Sequence[str] | None, *, argument: str) -> list[str]:
    """
    Labels as a list; None means none.

    :raises ValueError: It is no list of texts, or has an empty label.
    """
    if value is None:
        return []
    if not _are_texts(value):
        raise ValueError(f"{argument} is {quoted(value)}; give a list of texts, e.g. ['gpu'].")
    if not all(label.strip() for label in value):
        raise ValueError(f"{argument} is {quoted(value)}, which has an empty label; leave that out.")
    return list(value)


def seconds_of(
    value: float | str | timedelta,
    *,
    argument: str,
    zero_allowed: bool = False,
    longest: timedelta = LONGEST_DURATION,
) -> float:
    """
    A duration in seconds.

    :param value: A number, the text of one (a rendered template), or a timedelta.
    :param argument: The argument's name, for the message.
    :param zero_allowed: Whether 0 is a duration too. Default: False.
    :param longest: The longest that makes sense. Default: 366 days.
    :raises ValueError: It is none, or out of range.
    """
    seconds = -1.0
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, str) or _is_number(value):
        with suppress(ValueError, OverflowError):
            seconds = float(value)
    most = longest.total_seconds()
    # Not "not in range": a NaN compares as False with everything.
    if (0 < seconds <= most) or (zero_allowed and seconds == 0):
        return seconds
    bounds = f"{'from 0' if zero_allowed else 'above 0 and up'} to {most:.0f}"
    days = f"{longest.days} days" if longest.days > 1 else "1 day"
    raise ValueError(f"{argument} is {quoted(value)}; give a number of seconds or a timedelta, {bounds} ({days}).")


def interval_of(poll_interval: float | timedelta | str, *, is_local: bool, log: Log) -> float:
    """
    Seconds between two polls of a run: what the DAG's author wants, but no less than a remote platform allows.

    :param poll_interval: What was asked for.
    :param is_local: Whether the platform runs on this machine.
    :param log: Where to warn that a longer interval is used.
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
