"""The platform's faults: their types, the requests that they apply to, and their counts.

This module only decides; ``layer`` applies what ``Faults.decide`` returns.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from lightly_sandbox.aws.wording import AccessDeniedMessages
from lightly_sandbox.contract import operations
from lightly_sandbox.contract.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LONGEST_SECONDS = 600.0
"""A fault that lasts longer than any client waits only keeps the sandbox from stopping."""

Seconds = Annotated[float, Field(ge=0, le=LONGEST_SECONDS)]
Operation = Annotated[str, AfterValidator(operations.check)]


class _OfOperations(Wire):
    """A fault that meets the requests for some operations.

    ``operation`` is a name of the contract or a pattern such as ``POST */schedule``. Without ``times`` and
    ``probability`` every such request has the fault, until it is cleared; with both, that share of them, but
    no more than ``times``. ``seed`` makes the drawn ones the same each time. The sandbox's own workers are
    spared, unless ``include_worker``.
    """

    operation: Operation
    times: Annotated[int, Field(ge=1)] | None = None
    probability: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: int | None = None
    include_worker: bool = False


class Status(_OfOperations):
    """Refuse instead of doing anything, with the contract's error body.

    ``code`` may be any text, as the platform's codes may grow; None is one that fits the status.
    ``retry_after`` adds that header in seconds, ``retry_after_date`` as the HTTP date so many seconds ahead.
    """

    kind: Literal["status"]
    status: Annotated[int, Field(ge=400, le=599)]
    code: Annotated[str, Field(min_length=1)] | None = None
    retry_after: Annotated[int, Field(ge=0)] | None = None
    retry_after_date: Annotated[int, Field(ge=0, le=10**9)] | None = None

    @model_validator(mode="after")
    def _one_retry_after(self) -> Status:
        if self.retry_after is not None and self.retry_after_date is not None:
            raise ValueError("give retryAfter or retryAfterDate, not both: an answer has one such header")
        return self


class Reset(_OfOperations):
    """Reset the connection before anything is done."""

    kind: Literal["reset"]


class Delay(_OfOperations):
    """Do the request so many seconds later, whether or not its client still waits."""

    kind: Literal["delay"]
    seconds: Seconds


class DropResponse(_OfOperations):
    """Do the request, then close the connection without a word."""

    kind: Literal["drop-response"]


class Truncate(_OfOperations):
    """Do the request, answer the first half of the body, and close the connection."""

    kind: Literal["truncate"]


class NotJson(_OfOperations):
    """Do the request, then answer with a page of HTML, as a proxy in between would."""

    kind: Literal["not-json"]


class Drip(_OfOperations):
    """Do the request, then send the body in small pieces that take so many seconds altogether."""

    kind: Literal["drip"]
    seconds: Seconds


class ClockSkew(_OfOperations):
    """Answer as if the platform's clock were so many seconds ahead, or behind if negative."""

    kind: Literal["clock-skew"]
    seconds: Annotated[float, Field(ge=-(10**9), le=10**9)]


class IamDelay(Wire):
    """Let a change of the local AWS's IAM policies take effect only so many seconds later.

    It is about no operation of the platform, and the last one that is set counts.
    """

    kind: Literal["iam-delay"]
    seconds: Seconds


class Messages(Wire):
    """Let the local AWS's access-denied messages name the denying policy's ARN, or only its type.

    It is about no operation of the platform, and the last one that is set counts.
    """

    kind: Literal["access-denied-messages"]
    names: AccessDeniedMessages


OfOperations = Status | Reset | Delay | DropResponse | Truncate | NotJson | Drip | ClockSkew
OfAws = IamDelay | Messages
Spec = Annotated[OfOperations | OfAws, Field(discriminator="kind")]


@dataclass(slots=True)
class Fault:
    """A fault and its counts: it was ``applied`` to that many of the ``matched`` requests."""

    id: str
    spec: OfOperations | OfAws
    matched: int = 0
    applied: int = 0
    draws: random.Random = field(default_factory=random.Random, repr=False)

    def shown(self) -> dict[str, Any]:
        """Return the fault as JSON types."""
        counts = {} if isinstance(self.spec, Messages) else {"matched": self.matched, "applied": self.applied}
        return {"id": self.id, **self.spec.wire(), **counts}

    def meets(self, method: str, path: str, *, by_worker: bool) -> bool:
        """Whether the fault matches the request, regardless of how often it has been applied."""
        if isinstance(self.spec, OfAws) or (by_worker and not self.spec.include_worker):
            return False
        return operations.fits(self.spec.operation, method, path)

    def falls_due(self) -> bool:
        """Decide whether to apply the fault now; if so, count it."""
        if not isinstance(self.spec, OfAws):
            if self.spec.times is not None and self.applied >= self.spec.times:
                return False
            if self.spec.probability is not None and self.draws.random() >= self.spec.probability:
                return False
        self.applied += 1
        return True


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens to a request: a delay, then a refusal or the request itself, then a fault of its response.

    With ``instead`` the request is not executed, and ``afterwards`` is None.
    """

    delay_seconds: float = 0.0
    instead: Status | Reset | None = None
    skew_seconds: float = 0.0
    afterwards: DropResponse | Truncate | NotJson | Drip | None = None
    applied: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.applied)


class Faults:
    """The faults that were added since the start or the last clear. Use it from the event loop only."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._ids = itertools.count(1)

    def add(self, spec: OfOperations | OfAws) -> Fault:
        """Add a fault."""
        if isinstance(spec, OfAws):
            self._faults = [fault for fault in self._faults if not isinstance(fault.spec, type(spec))]
            fault = Fault(str(next(self._ids)), spec)
        else:
            fault = Fault(str(next(self._ids)), spec, draws=random.Random(spec.seed))  # noqa: S311
        self._faults.append(fault)
        return fault

    def all(self) -> Sequence[Fault]:
        """Return all faults in the order in which they were added, including used-up ones."""
        return tuple(self._faults)

    def remove(self, fault_id: str) -> Fault | None:
        """Remove a fault and return it; None if it does not exist."""
        for fault in self._faults:
            if fault.id == fault_id:
                self._faults.remove(fault)
                return fault
        return None

    def clear(self) -> None:
        """Remove all faults."""
        self._faults.clear()

    def decide(self, method: str, path: str, *, by_worker: bool) -> Plan:
        """Decide what happens to a request, and count it.

        Delays and skews add up. Of the faults that replace the request or its response, only the first one
        that is due applies; the others do not count the request as applied.
        """
        met = [fault for fault in self._faults if fault.meets(method, path, by_worker=by_worker)]
        for fault in met:
            fault.matched += 1
        applied: list[str] = []

        def due(*kinds: type[_OfOperations]) -> Iterator[Any]:
            for fault in met:
                if isinstance(fault.spec, kinds) and fault.falls_due():
                    applied.append(f"{fault.id} ({fault.spec.kind})")
                    yield fault.spec

        delay = sum(spec.seconds for spec in due(Delay))
        instead = next(due(Status, Reset), None)
        if instead is not None:
            return Plan(delay, instead, applied=tuple(applied))
        skew = sum(spec.seconds for spec in due(ClockSkew))
        afterwards = next(due(DropResponse, Truncate, NotJson, Drip), None)
        return Plan(delay, None, skew, afterwards, tuple(applied))
