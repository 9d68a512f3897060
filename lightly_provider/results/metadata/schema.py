"""
The schema of custom metadata: inferred from the values, completed by the user. Pure decisions.

Sources: docs.lightly.ai/docs/work-with-metadata; the types: lightly 1.5.26, models/configuration_value_data_type.py.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from lightly_provider.foreign_text import is_storable, shown
from lightly_provider.suggestions import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# A member that is not text, true or false, or a number of JSON that Python and the platform agree on.
_LARGEST_WHOLE = 2**53
_MOST_PATHS = 1000
_LONGEST_TEXT = 10_000


class ValueType(StrEnum):
    """The types of values, as ``schema.json`` names them."""

    NUMERIC_INT = "NUMERIC_INT"
    NUMERIC_FLOAT = "NUMERIC_FLOAT"
    CATEGORICAL_STRING = "CATEGORICAL_STRING"
    CATEGORICAL_INT = "CATEGORICAL_INT"
    CATEGORICAL_BOOLEAN = "CATEGORICAL_BOOLEAN"
    CATEGORICAL_DATETIME = "CATEGORICAL_DATETIME"
    CATEGORICAL_TIMESTAMP = "CATEGORICAL_TIMESTAMP"
    OTHER_STRING = "OTHER_STRING"


class Kind(StrEnum):
    """The kinds of values in a source."""

    BOOLEAN = "true and false"
    WHOLE = "whole numbers"
    NUMBER = "numbers"
    DATETIME = "dates"
    TEXT = "texts"


_INFERRED = {
    Kind.BOOLEAN: ValueType.CATEGORICAL_BOOLEAN,
    Kind.WHOLE: ValueType.NUMERIC_INT,
    Kind.NUMBER: ValueType.NUMERIC_FLOAT,
    Kind.DATETIME: ValueType.CATEGORICAL_DATETIME,
    Kind.TEXT: ValueType.CATEGORICAL_STRING,
}
# The kinds that a type can hold. Texts can hold all.
_HOLDS = {
    ValueType.NUMERIC_INT: {Kind.WHOLE},
    ValueType.NUMERIC_FLOAT: {Kind.WHOLE, Kind.NUMBER},
    ValueType.CATEGORICAL_STRING: set(Kind),
    ValueType.CATEGORICAL_INT: {Kind.WHOLE},
    ValueType.CATEGORICAL_BOOLEAN: {Kind.BOOLEAN},
    ValueType.CATEGORICAL_DATETIME: {Kind.DATETIME, Kind.TEXT},
    ValueType.CATEGORICAL_TIMESTAMP: {Kind.WHOLE},
    ValueType.OTHER_STRING: set(Kind),
}
_TEXTS = (ValueType.CATEGORICAL_STRING, ValueType.OTHER_STRING, ValueType.CATEGORICAL_DATETIME)
_DEFAULTS: dict[ValueType, Any] = {
    ValueType.NUMERIC_INT: 0,
    ValueType.NUMERIC_FLOAT: 0.0,
    ValueType.CATEGORICAL_STRING: "undefined",
    ValueType.CATEGORICAL_INT: 0,
    ValueType.CATEGORICAL_BOOLEAN: False,
    ValueType.CATEGORICAL_DATETIME: "1970-01-01T00:00:00.000Z",
    ValueType.CATEGORICAL_TIMESTAMP: 0,
    ValueType.OTHER_STRING: "",
}


@dataclass(frozen=True)
class Entry:
    """
    An entry of the schema.

    :param path: Where the value is in a file: ``weather.temperature``.
    :param type: Type of the value.
    :param name: Name that the platform shows.
    :param default: Value of a file that has none.
    """

    path: str
    type: ValueType
    name: str
    default: Any

    def to_json(self) -> dict[str, Any]:
        """Return the entry as ``schema.json`` has it."""
        return {
            "name": self.name,
            "path": self.path,
            "defaultValue": self.default,
            "valueDataType": str(self.type),
        }


@dataclass
class Column:
    """
    What was seen at one path.

    :param kinds: Number of values of each kind.
    :param example: A value.
    """

    kinds: Counter[Kind] = field(default_factory=Counter)
    example: Any = None

    @property
    def n_values(self) -> int:
        """Number of values."""
        return self.kinds.total()

    def inferred(self, path: str, *, is_text: bool) -> ValueType:
        """
        Return the type of the values.

        :param path: The path, for the message.
        :param is_text: Whether the source has only texts, which need not be of one kind.
        :raises ValueError: They are of several kinds.
        """
        kinds = set(self.kinds)
        if kinds == {Kind.WHOLE, Kind.NUMBER}:
            return ValueType.NUMERIC_FLOAT
        if len(kinds) > 1 and not is_text:
            raise ValueError(
                f"{shown(path, longest=200)!r} has {' and '.join(sorted(kinds))}; make them of one kind, or set its "
                "type in schema to CATEGORICAL_STRING"
            )
        return _INFERRED[next(iter(kinds))] if len(kinds) == 1 else ValueType.CATEGORICAL_STRING


def kind_of_text(text: str) -> Kind:
    """Return the kind of a value in a file that has only texts, such as CSV."""
    if text.lower() in ("true", "false"):
        return Kind.BOOLEAN
    # With a zero at its start it is an identifier, and no number.
    if re.fullmatch(r"-?(?:0|[1-9][0-9]{0,15})", text) and abs(int(text)) <= _LARGEST_WHOLE:
        return Kind.WHOLE
    # A larger one, which no number of JSON can hold exactly, is an identifier, too.
    if re.fullmatch(r"-?[0-9]+", text):
        return Kind.TEXT
    number = r"-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?"
    if re.fullmatch(number, text) and math.isfinite(float(text)):
        return Kind.NUMBER
    return Kind.TEXT


def plain(value: Any) -> tuple[Kind, Any]:
    """
    Return the kind of a value, and the value in JSON types.

    :raises ValueError: It has no place in metadata.
    """
    if isinstance(value, bool):
        return Kind.BOOLEAN, value
    if isinstance(value, int):
        if abs(value) > _LARGEST_WHOLE:
            raise ValueError(f"the number {value if abs(value) < 10**30 else 'it has'} is too large")
        return Kind.WHOLE, value
    if isinstance(value, float | Decimal):
        if not math.isfinite(value):
            raise ValueError(f"{value} is not a JSON number")
        return Kind.NUMBER, float(value)
    if isinstance(value, str):
        if not is_storable(value) or len(value) > _LONGEST_TEXT:
            raise ValueError(f"the text {shown(value, longest=100)!r} is too long, or has a character that no file can")
        return Kind.TEXT, value
    if isinstance(value, datetime):
        moment = value.astimezone(UTC) if value.tzinfo else value
        return Kind.DATETIME, f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
    if isinstance(value, date):
        return Kind.DATETIME, f"{value:%Y-%m-%d}T00:00:00.000Z"
    raise ValueError(f"a value of the kind {type(value).__name__} has no place in metadata; write texts and numbers")


def flattened(values: Mapping[Any, Any], above: str = "") -> Iterable[tuple[str, Any]]:
    """
    Yield the path and value of each member, also of those inside; missing values (None) are left out.

    :raises ValueError: A name is impossible.
    """
    for name, value in values.items():
        if not isinstance(name, str) or not name or not is_storable(name) or "" in name.split("."):
            raise ValueError(
                f"a member is called {shown(name, longest=100)!r}; use names, with single dots between them"
            )
        path = f"{above}{name}"
        if isinstance(value, dict):
            if path.count(".") > 20:
                raise ValueError("it is nested too deeply")
            yield from flattened(value, f"{path}.")
        elif value is not None:
            yield path, value


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values by path as objects in objects: ``{"a.b": 1}`` becomes ``{"a": {"b": 1}}``."""
    whole: dict[str, Any] = {}
    for path, value in values.items():
        *above, last = path.split(".")
        place = whole
        for name in above:
            place = place.setdefault(name, {})
        place[last] = value
    return whole


def converted(value: Any, entry: Entry, *, is_text: bool) -> Any:
    """Return a value as its entry's type has it; the kinds were checked before."""
    if entry.type in _TEXTS:
        return value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    if not is_text:
        return float(value) if entry.type is ValueType.NUMERIC_FLOAT else value
    if entry.type is ValueType.CATEGORICAL_BOOLEAN:
        return value.lower() == "true"
    return float(value) if entry.type is ValueType.NUMERIC_FLOAT else int(value)


def decide(columns: Mapping[str, Column], given: Mapping[str, Any], *, is_text: bool) -> dict[str, Entry]:
    """
    Return the schema of the columns.

    :param columns: What was seen at each path.
    :param given: The user's decisions by path: a type, or a mapping with ``type``, ``name`` and ``default``.
    :param is_text: Whether the source has only texts.
    :raises ValueError: A decision does not fit, or the values are of several kinds.
    """
    if len(columns) > _MOST_PATHS:
        raise ValueError(f"it has more than {_MOST_PATHS} columns; choose some with columns")
    for path in given:
        if path not in columns:
            near = did_you_mean(path, columns, otherwise="")
            hint = f"; {near}" if near else ""
            raise ValueError(f"schema names {shown(path, longest=100)!r}, and there are no such values{hint}")
    entries = {}
    for path, column in columns.items():
        _check_path(path, columns)
        entries[path] = _entry(path, column, given.get(path), is_text=is_text)
    return entries


def _check_path(path: str, columns: Mapping[str, Column]) -> None:
    first, *rest = path.split(".")
    if first == "lightly":
        raise ValueError(f"{shown(path, longest=100)!r} begins with 'lightly', which names the platform's own metrics")
    above = first
    for name in rest:
        if above in columns:
            raise ValueError(f"{shown(above, longest=100)!r} is a value, and {shown(path, longest=100)!r} is inside it")
        above = f"{above}.{name}"


def _entry(path: str, column: Column, given: Any, *, is_text: bool) -> Entry:
    decision = given if isinstance(given, dict) else {"type": given} if given is not None else {}
    if unknown := set(decision) - {"type", "name", "default"}:
        raise ValueError(
            f"schema has {shown(min(map(str, unknown)), longest=100)!r} for {path!r}; use type, name, default"
        )
    wanted = decision.get("type")
    if wanted is None:
        chosen = column.inferred(path, is_text=is_text)
    elif wanted in list(ValueType):
        chosen = ValueType(wanted)
        wrong = {kind for kind in column.kinds if kind not in _HOLDS[chosen]}
        if wrong:
            raise ValueError(f"schema says {chosen} for {path!r}, which has {' and '.join(sorted(wrong))}")
    else:
        raise ValueError(
            f"schema says {shown(wanted, longest=100)!r} for {path!r}, which is not a type; use one of "
            f"{', '.join(ValueType)}"
        )
    default = decision.get("default", _DEFAULTS[chosen])
    if default is not None and plain(default)[0] not in _HOLDS[chosen]:
        raise ValueError(
            f"schema says the default {shown(default, longest=100)!r} for {path!r}, which is not a {chosen}"
        )
    name = decision.get("name", path)
    if not isinstance(name, str) or not name:
        raise ValueError(f"schema says a name for {path!r} that is not text")
    return Entry(path, chosen, name, default)


def merged(present: Any, entries: Mapping[str, Entry], *, replace: bool) -> list[dict[str, Any]]:
    """
    Return the content of ``schema.json``: the entries that are there for other paths, and these.

    :param present: The parsed content that is there; None: nothing.
    :param entries: The entries to add.
    :param replace: Whether an entry of another type is replaced.
    :raises ValueError: The content is not a schema, or has another type for a path.
    """
    if present is not None and not (
        isinstance(present, list) and all(isinstance(one, dict) and isinstance(one.get("path"), str) for one in present)
    ):
        raise ValueError("it is not a list of entries; repair it, or remove it")
    kept = []
    for one in present or []:
        entry = entries.get(one["path"])
        if entry is None:
            kept.append(one)
        elif one.get("valueDataType") != entry.type and not replace:
            raise ValueError(
                f"it says {shown(one.get('valueDataType'), longest=50)} for {entry.path!r}, and the values to upload "
                f"are {entry.type}; set that type in schema, or set replace_schema"
            )
    return [*kept, *(entry.to_json() for entry in entries.values())]
