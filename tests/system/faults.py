"""A platform that answers badly now and then."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import requests

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.sandbox import Sandbox

KINDS: tuple[dict[str, object], ...] = (
    {"kind": "status", "status": 503},
    {"kind": "status", "status": 429, "retryAfter": 1},
    {"kind": "reset"},
    {"kind": "drop-response"},
    {"kind": "not-json"},
)


@contextmanager
def faulty_answers(sandbox: Sandbox, *, share: float) -> Iterator[None]:
    """
    Let this share of all requests, reads and writes alike, meet one of the faults.

    :param sandbox: The platform.
    :param share: From 0 to 1.
    """
    faults, token = f"{sandbox.lightly_url}/sandbox/faults", {"token": sandbox.token}
    for seed, kind in enumerate(KINDS):
        fault = {**kind, "operation": "* *", "probability": share / len(KINDS), "seed": seed}
        requests.post(faults, params=token, json=fault, timeout=30).raise_for_status()
    try:
        yield
    finally:
        requests.delete(faults, params=token, timeout=30).raise_for_status()
