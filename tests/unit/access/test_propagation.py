from __future__ import annotations

import pytest

from lightly_provider.access import propagation
from lightly_provider.access.propagation import may_be_propagating, wait_until


class Clock:
    """Time that passes only by waiting."""

    def __init__(self) -> None:
        self.now, self.pauses = 100.0, []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(propagation, "time", made)
    return made


def test_what_is_so_is_looked_at_twice(clock: Clock) -> None:
    looks = iter([None, None])
    assert wait_until(lambda: next(looks), timeout=60) == (None, 0.25)


def test_one_success_among_denials_does_not_count(clock: Clock) -> None:
    looks = iter(["no", None, "no", None, None])
    fault, waited = wait_until(lambda: next(looks), timeout=60)
    assert fault is None
    assert waited == sum(clock.pauses)
    assert list(looks) == []


def test_the_pauses_grow_and_end_with_the_timeout(clock: Clock) -> None:
    assert wait_until(lambda: "denied", timeout=20) == ("denied", 20)
    assert clock.pauses[:6] == [0.25, 0.5, 1, 2, 4, 5]
    assert max(clock.pauses) == 5


@pytest.mark.parametrize("missing", [None, "denied"])
def test_without_a_timeout_there_is_one_look(missing: str | None, clock: Clock) -> None:
    looks = iter([missing])
    assert wait_until(lambda: next(looks), timeout=0) == (missing, 0)
    assert clock.pauses == []


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        ("AccessDenied", "because no identity-based policy allows the s3:ListBucket action", True),
        ("InvalidAccessKeyId", "The key does not exist in our records.", True),
        ("SignatureDoesNotMatch", "", True),
        ("AccessDenied", "with an explicit deny in a resource-based policy", False),
        ("NoSuchBucket", "", False),
        ("PermanentRedirect", "", False),
        ("SlowDown", "", False),
    ],
)
def test_a_denial_may_be_propagating_but_not_an_explicit_one(code: str, message: str, expected: bool) -> None:
    assert may_be_propagating(code, message) is expected
