"""What a scripted platform answers to the hook, and what it was asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lightly_provider.hooks.lightly import LightlyHook
from tests.contract.example_calls import DATASET
from tests.contract.samples import documented_answer
from tests.contract.schema import assert_fits_contract
from tests.unit.api.scripted_platform import Answer, ScriptedPlatform

HookOn = Callable[..., tuple[LightlyHook, ScriptedPlatform]]


def asked(platform: ScriptedPlatform) -> list[tuple[str, str]]:
    """Method and path of each request; every one fits the contract."""
    for received in platform.received:
        if received.path.startswith("/v1/"):
            assert_fits_contract(received.method, received.url, received.body)
    return [(received.method, received.path) for received in platform.received]


def datasets(*found: dict[str, Any]) -> Answer:
    return Answer(200, documented_answer("get_datasets_query_by_name", *found))


def found(name: str = "photos", type_: str = "Images", id_: str = DATASET) -> dict[str, Any]:
    return {"id": id_, "name": name, "type": type_}


def refusal(status: int, code: str, error: str = "no") -> Answer:
    return Answer(status, {"code": code, "error": error})
