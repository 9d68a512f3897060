"""
One thing that was checked in AWS, what was found, and the fix: words, policy statements and commands. Pure.

Each line of a fix names the policy that it changes and how, so that a person or a program can follow it: "To the …
add: JSON", "From the … remove: JSON", "In the … replace JSON by: JSON", "Run: aws …".
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lightly_provider.aws.policies import Statement
    from lightly_provider.diagnosis.denials import Denial


@dataclass(frozen=True)
class PolicyChange:
    """
    A change of one policy.

    :param policy: Which, as a sentence names it, e.g. ``policy of bucket photos``.
    :param add: Statements that must be in it.
    :param remove: Statements that must not, as they stand there.
    :param instead_of: In words what ``add`` replaces, where it is better not shown; empty: nothing.
    """

    policy: str
    add: tuple[Statement, ...] = ()
    remove: tuple[Statement, ...] = ()
    instead_of: str = ""

    def line(self, indent: int | None = None) -> str:
        """The change as a sentence with JSON."""
        if not self.add:
            return f"From the {self.policy} remove: {as_json(self.remove, indent)}"
        added = as_json(self.add, indent)
        replaced = as_json(self.remove, indent) if self.remove else self.instead_of
        if replaced:
            return f"In the {self.policy} replace {replaced} by: {added}"
        return f"To the {self.policy} add: {added}"

    def as_dict(self) -> dict[str, Any]:
        """The change in JSON's own types."""
        return {
            "policy": self.policy,
            "add": list(self.add),
            "remove": list(self.remove),
            **({"instead_of": self.instead_of} if self.instead_of else {}),
        }


@dataclass(frozen=True)
class Remedy:
    """
    What to do. Nothing in it is secret: where an external ID belongs, a placeholder stands.

    :param text: A sentence or two; complete without the rest where there is none. Empty if the statements say it all.
    :param statements: To add to the IAM policy of the user or role.
    :param identity: Whose IAM policy that is, e.g. ``role Lightly``.
    :param changes: Changes of other policies.
    :param commands: Commands of AWS's command line, to be run in this order.
    """

    text: str = ""
    statements: tuple[Statement, ...] = ()
    identity: str = ""
    changes: tuple[PolicyChange, ...] = ()
    commands: tuple[str, ...] = ()

    @property
    def all_changes(self) -> tuple[PolicyChange, ...]:
        """The changes of all policies, the identity's own first."""
        own = (PolicyChange(f"IAM policy of {self.identity}", self.statements),) if self.statements else ()
        return own + self.changes

    def lines(self, indent: int | None = None) -> list[str]:
        """The remedy as texts to show, each change and each command in one of its own."""
        return [
            *filter(None, [self.text]),
            *(change.line(indent) for change in self.all_changes),
            *(f"Run: {command}" for command in self.commands),
        ]

    def elsewhere(self) -> list[dict[str, Any]]:
        """The changes of other policies than the identity's own, in JSON's own types."""
        return [change.as_dict() for change in self.changes]


def as_json(statements: Iterable[Statement], indent: int | None = None) -> str:
    """Statements as a policy's ``Statement`` member takes them: one alone, several in a list."""
    listed = list(statements)
    value = listed[0] if len(listed) == 1 else listed
    return json.dumps(value, indent=indent, separators=(",", ":") if indent is None else None)


class Status(StrEnum):
    """How one check ended."""

    PASS = "PASS"  # noqa: S105  (no password)
    FAIL = "FAIL"
    WARN = "WARN"
    SKIP = "SKIP"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True)
class Finding:
    """
    One thing that was looked at.

    :param subject: What: ``list``, ``read``, ``write``, ``overwrite``, ``delete``; or ``keys``, ``role``,
        ``region``, ``content``, ``partition``, …
    :param status: How it ended.
    :param message: What was seen, or why nothing could be seen; without secrets.
    :param denial: AWS's refusal; None if there was none.
    :param remedy: What to do; None where nothing is to be done.
    :param counts: Numbers that belong to it, e.g. ``objects`` and ``images``.
    """

    subject: str
    status: Status
    message: str
    denial: Denial | None = None
    remedy: Remedy | None = None
    counts: dict[str, int] = field(default_factory=dict)
