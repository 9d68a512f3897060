"""Describe a failed validation in one sentence that names the argument, the member and the next step."""

from __future__ import annotations

import json
import typing
from copy import deepcopy
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.alias_generators import to_camel

from lightly_provider.foreign_text import shown
from lightly_provider.suggestions import one_of

if typing.TYPE_CHECKING:
    from collections.abc import Mapping

RequestModel = TypeVar("RequestModel", bound=BaseModel)

_SHOWN_PLACE = 200
_EXPECTING_NO_TEXT = frozenset({"int_type", "float_type", "bool_type", "literal_error"})
_SPELLED = {"True": True, "False": False}  # as Jinja writes them


def parse_argument(
    model: type[RequestModel], value: Mapping[str, Any], *, argument: str, rendered: bool = False
) -> RequestModel:
    """
    Build a request model from a user's mapping.

    :param model: Model to build.
    :param value: The user's mapping, by Python names or wire names.
    :param argument: Name of the operator's argument, for the message.
    :param rendered: Whether templates were rendered, which converts numbers and booleans to text; such text is parsed
        where the contract has a number or boolean. Default: False.
    :return: The validated model.
    :raises ValueError: The mapping is invalid; the message names the argument, the member and, if there is a similar
        one, the intended name or value. It does not repeat the invalid value.
    """
    try:
        try:
            return model.model_validate(dict(value))
        except ValidationError as error:
            if not rendered:
                raise
            return model.model_validate(_with_texts_read(value, error))
    except ValidationError as error:
        message = describe(model, error, argument=argument)
    raise ValueError(message)


def _with_texts_read(value: Mapping[str, Any], error: ValidationError) -> dict[str, Any]:
    """Return a copy in which text is parsed where the error expects a number or a boolean."""
    copy: dict[str, Any] = deepcopy(dict(value))
    for refused in error.errors(include_url=False):
        if refused["type"] not in _EXPECTING_NO_TEXT or not isinstance(refused["input"], str):
            continue
        place: Any = None
        inner: Any = copy
        for part in refused["loc"]:
            # The path has Python names, and includes union members; the value may have wire names.
            key: Any = to_camel(part) if isinstance(part, str) and part not in inner else part
            if isinstance(inner, list) or (isinstance(inner, dict) and key in inner):
                place, inner = (inner, key), inner[key]
        if place and inner == refused["input"]:
            container, key = place
            container[key] = _value_of(inner)
    return copy


def _value_of(text: str) -> Any:
    """Return the number or boolean in a text, in Python or JSON syntax; the text itself if there is none."""
    if text in _SPELLED:
        return _SPELLED[text]
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, (int, float)) else text


def describe(model: type[BaseModel], error: ValidationError, *, argument: str) -> str:
    """
    Describe the first error of a validation in one sentence.

    :param model: Model that was validated.
    :param error: pydantic's exception.
    :param argument: Name of the operator's argument.
    """
    # Report an unknown member first: it is often a misspelled required one.
    found = sorted(error.errors(include_url=False, include_input=True), key=lambda e: e["type"] != "extra_forbidden")
    return describe_one(model, found[0], argument=argument)


def describe_one(model: type[BaseModel], refused: Mapping[str, Any], *, argument: str) -> str:
    """
    Describe one of the errors of a validation in one sentence.

    :param model: Model that was validated.
    :param refused: The error, as pydantic lists it.
    :param argument: Name of the operator's argument.
    """
    # A member's name may come from a template.
    place = argument + shown(
        "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in refused["loc"]), longest=_SHOWN_PLACE
    )
    if refused["type"] == "extra_forbidden":
        name = str(refused["loc"][-1])
        known = _field_names(model, refused["loc"][:-1])
        return f"{place} is not a member of the worker configuration V4; {one_of(name, known, listed=', '.join(known))}"
    if refused["type"] in ("literal_error", "enum"):
        expected = str(refused.get("ctx", {}).get("expected", ""))
        allowed = [word.strip(" '\"") for word in expected.replace(" or ", ", ").split(",")]
        return (
            f"{place} is not one of its allowed values; {one_of(refused['input'], allowed, listed=', '.join(allowed))}"
        )
    if refused["type"] == "value_error":
        return f"{place}: {refused['msg'].removeprefix('Value error, ')}."
    if refused["type"] == "missing":
        return f"{place} is missing; add it."
    return f"{place} does not fit the platform's contract: {refused['msg'][:1].lower()}{refused['msg'][1:]}."


def _field_names(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """Return the Python names of the fields of the model at ``loc`` inside ``model``."""
    current: Any = model
    for part in loc:
        if isinstance(part, int):
            continue
        for candidate in _models_in(current):
            for name, field in candidate.model_fields.items():
                if part in (name, field.alias):
                    current = field.annotation
    names: list[str] = []
    for candidate in _models_in(current):
        names.extend(n for n in candidate.model_fields if n not in names)
    return names


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return every model class inside an annotation such as ``list[A | B] | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in typing.get_args(annotation) for model in _models_in(inner)]
