"""The form that sets a fault: what a browser sends, as the body that ``/sandbox/faults`` takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST_FORM = 16 * 1024

KINDS: Mapping[str, str] = {
    "status": "Answer with an error status",
    "reset": "Reset the connection",
    "delay": "Carry out the request later",
    "drop-response": "Carry out the request, send no answer",
    "truncate": "Carry out the request, send half of the answer",
    "not-json": "Carry out the request, answer with an HTML page",
    "drip": "Carry out the request, send the answer slowly",
    "clock-skew": "Answer with a clock that is wrong",
    "iam-delay": "Delay the effect of IAM changes (local AWS)",
    "access-denied-messages": "Wording of access-denied messages (local AWS)",
}
"""Every kind of fault, with its label in the form."""

MEMBERS: Mapping[str, tuple[str, ...]] = {
    "status": ("status", "code", "retryAfter", "retryAfterDate"),
    "delay": ("seconds",),
    "drip": ("seconds",),
    "clock-skew": ("seconds",),
    "iam-delay": ("seconds",),
    "access-denied-messages": ("names",),
}
"""The members that only some kinds have."""

_OF_AWS = ("iam-delay", "access-denied-messages")
_CHOICE = ("operation", "times", "probability", "seed", "includeWorker")
_INTEGERS = ("status", "retryAfter", "retryAfterDate", "times", "seed")
_NUMBERS = ("seconds", "probability")


class FormError(ValueError):
    """What was filled in is no fault; the text says which field and why."""


@dataclass(frozen=True, slots=True)
class Form:
    """The fields that a browser sent."""

    fields: Mapping[str, str]

    @classmethod
    def parse(cls, body: bytes) -> Form:
        """Read the body of a form (``application/x-www-form-urlencoded``).

        Raises:
            FormError: it is too long, or not one.
        """
        if len(body) > LONGEST_FORM:
            raise FormError(f"The form is longer than {LONGEST_FORM // 1024} KiB.")
        try:
            pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=50, errors="strict")
        except ValueError as wrong:
            raise FormError("The body is not a form.") from wrong
        return cls(dict(pairs))

    def get(self, name: str) -> str:
        """Return a field without spaces around it, "" for one that is missing."""
        return self.fields.get(name, "").strip()

    def fault(self) -> dict[str, Any]:
        """Return the fault; fields that its kind does not have, and empty ones, are left out.

        Raises:
            FormError: a field that has to be a number is none.
        """
        kind = self.get("kind")
        members = (*MEMBERS.get(kind, ()), *(() if kind in _OF_AWS else _CHOICE))
        filled = {name: self._value(name) for name in members if self.get(name)}
        return {"kind": kind, **filled}

    def _value(self, name: str) -> object:
        text = self.get(name)
        if name == "includeWorker":
            return True
        if name not in (*_INTEGERS, *_NUMBERS):
            return text
        try:
            number = int(text) if name in _INTEGERS else float(text)
            if math.isfinite(number):
                return number
        except (ValueError, OverflowError):
            pass
        raise FormError(f"{name}: '{text[:40]}' is not a number.")
