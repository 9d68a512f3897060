"""
Generated answers to every operation: each ends in a right result or one of our exceptions, and fits what Airflow keeps.

They begin with an answer that the contract documents and change some of it, or are something else altogether.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from lightly_provider.api.async_client import AsyncLightlyClient
from lightly_provider.api.calls import Call, FilePage, Form
from lightly_provider.api.client import ClientSettings, LightlyClient
from lightly_provider.api.models.sample import NamePage
from lightly_provider.exceptions import LightlyError, as_json, from_json
from tests.contract.example_calls import EXAMPLES
from tests.contract.samples import sample
from tests.contract.schema import contract
from tests.hostile.conftest import TOKEN
from tests.hostile.hostile_server import Bytes, HostileServer, answer
from tests.hostile.scripts import SPARE_S

# One example of each operation.
OPERATIONS = {name: call for name, call in EXAMPLES.items() if "," not in name} | {
    name.partition(",")[0]: call for name, call in EXAMPLES.items() if "," in name
}
DEADLINE_S = 5.0

_TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=20),
    st.sampled_from(
        [
            TOKEN,
            f"https://x/?token={TOKEN}&X-Amz-Signature=CANARY",
            "nul \x00 byte",
            "lone \ud800",
            "\x1b[2J\x1b]0;x\x07",
            "a\n::group::b\r\nwrite PASS",
            "x" * 30_000,
            "a" * 24,
            "0x" + "f" * 5000,
            "zz",
            "COMPLETED",
        ]
    ),
)
_NUMBERS = st.one_of(
    st.integers(), st.floats(), st.sampled_from([10**400, -(2**63) - 1, 2**63, 1e308, -0.0, float("inf"), float("nan")])
)
_SCALARS = st.one_of(st.none(), st.booleans(), _NUMBERS, _TEXTS)
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3), max_leaves=6
)
_BODIES = st.sampled_from(
    [
        b"",
        b" ",
        b"1e999",
        b"NaN",
        b"[" * 100_000,
        b'{"id":' * 40 + b"1" + b"}" * 40,
        b"\xff\xfe",
        b"<html>login</html>",
        b"9" * 5000,
        b'"\\ud800"',
        b"null",
        b'"CANARY-token/with+signs"',
        b"a.jpg\x00\nb.jpg",
        b"a.jpg\nCANARY-token/with+signs.jpg",
        b'{"id": "aaaaaaaaaaaaaaaaaaaaaaaa", "id": "zz"}',
    ]
)
_HEADERS = st.lists(
    st.sampled_from(
        [
            "Content-Type: application/json",
            "Content-Type: text/plain; charset=utf-16",
            "Content-Type: text/html",
            "Content-Type: \xff",
            "Retry-After: " + "9" * 309,
            "Retry-After: nan",
            "Retry-After: Mon, 01 Jan 9999 00:00:00 GMT",
            "Set-Cookie: a=b",
            "Content-Encoding: identity",
        ]
    ),
    max_size=2,
    unique_by=lambda line: line.partition(":")[0],
).map(tuple)


def documented(call: Call[Any]) -> Any:
    """An answer as the contract has it; an object where it has none."""
    responses = contract().operation(call.operation)["responses"]
    schema = next((schema for status, schema in responses.items() if status.startswith("2")), None)
    return {} if schema is None else sample(schema, full=True)


@st.composite
def changed(draw: st.DrawFn, value: Any) -> Any:
    """The value with one thing in it replaced, left out or added."""
    if isinstance(value, dict) and value and draw(st.integers(0, 3)):
        key = draw(st.sampled_from(sorted(value)))
        if not draw(st.integers(0, 4)):
            return {name: member for name, member in value.items() if name != key}
        return value | {key: draw(changed(value[key]))}
    if isinstance(value, list) and value and draw(st.integers(0, 3)):
        at = draw(st.integers(0, len(value) - 1))
        if not draw(st.integers(0, 4)):
            return [*value, *value]
        return [*value[:at], draw(changed(value[at])), *value[at + 1 :]]
    return draw(_VALUES)


@st.composite
def hostile_answers(draw: st.DrawFn, call: Call[Any]) -> Bytes:
    """An answer to the call."""
    status = draw(st.sampled_from([200, 200, 200, 200, 201, 204, 304, 400, 401, 404, 429, 500, 599]))
    headers = draw(_HEADERS)
    if not draw(st.integers(0, 4)):
        return answer(draw(_BODIES), status=status, headers=headers)
    value: Any = documented(call)
    if status >= 300:
        value = {"code": "NOT_FOUND", "error": "no", "requestId": "r"}
    for _ in range(draw(st.integers(0, 3))):
        value = draw(changed(value))
    if call.form is Form.LINES and draw(st.booleans()):
        return answer(str(value).encode("utf-8", "surrogatepass"), status=status, headers=headers)
    text = json.dumps(value, ensure_ascii=draw(st.booleans()))
    return answer(text.encode("utf-8", "surrogatepass"), status=status, headers=headers)


def plain(result: Any) -> Any:
    if isinstance(result, BaseModel):
        return result.model_dump(mode="json")
    if isinstance(result, FilePage):
        return [result.names, result.cursor]
    return [plain(item) for item in result] if isinstance(result, (list, NamePage)) else result


def texts_in(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for pair in value.items() for part in pair for text in texts_in(part)]
    if isinstance(value, list):
        return [text for item in value for text in texts_in(item)]
    return [value] if isinstance(value, str) else []


def assert_can_be_kept(value: Any, *, may_hold_secrets: bool = False) -> None:
    """As XCom, an event of a trigger or a log keeps it: UTF-8, JSON without NaN, and for PostgreSQL without NUL."""
    assert not [text for text in texts_in(json.loads(json.dumps(value, allow_nan=False))) if "\x00" in text]
    json.dumps(value, ensure_ascii=False).encode()
    if not may_hold_secrets:
        assert TOKEN not in json.dumps(value, ensure_ascii=False)


def check(call: Call[Any], result: Any, error: LightlyError | None, began: float) -> None:
    assert time.monotonic() - began < DEADLINE_S + SPARE_S
    if error is None:
        assert_can_be_kept(plain(result), may_hold_secrets=call.form is Form.SECRET or bool(call.secret_members))
        if hasattr(result, "n_selected"):
            assert result.n_selected >= 0
        return
    assert str(error).isprintable()
    assert "::group::" not in str(error)
    assert len(str(error)) < 1500
    assert_can_be_kept(as_json(error))
    assert str(from_json(as_json(error))) == str(error)


def given_to(name: str, server: HostileServer, *, examples: int, of: int) -> None:
    call = OPERATIONS[name]
    chosen = ClientSettings(host=server.address, token=TOKEN, max_attempts=1, read_timeout=DEADLINE_S)
    waiting = LightlyClient(chosen)
    loop = asyncio.new_event_loop()
    deferred = loop.run_until_complete(AsyncLightlyClient(chosen).__aenter__())

    @seed(of)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(hostile_answers(call), st.booleans())
    def each(scripted: Bytes, is_deferred: bool) -> None:
        server.answers(scripted)
        began = time.monotonic()
        result, error = None, None
        try:
            result = loop.run_until_complete(deferred.send(call)) if is_deferred else waiting.send(call)
        except LightlyError as failure:
            error = failure
        check(call, result, error, began)

    try:
        each()
    finally:
        waiting.close()
        loop.run_until_complete(deferred.__aexit__())
        loop.close()


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_some_generated_answers_end_well(server: HostileServer, operation: str) -> None:
    given_to(operation, server, examples=6, of=1)


@pytest.mark.exhaustive(sample="test_some_generated_answers_end_well")
@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_a_thousand_generated_answers_end_well(server: HostileServer, operation: str) -> None:
    given_to(operation, server, examples=1000, of=2)
