from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest
from pydantic import TypeAdapter

from lightly_sandbox.contract.wire import read_wire
from lightly_sandbox.faults.rules import OfAws, OfOperations, Spec
from lightly_sandbox.web.fault_form import KINDS, LONGEST_FORM, MEMBERS, Form, FormError

FILLED = {
    "operation": " POST */schedule ",
    **{"status": "429", "code": "", "retryAfter": "7", "retryAfterDate": "", "seconds": "1.5"},
    **{"names": "policy-type", "times": "2", "probability": "0.5", "seed": "1", "includeWorker": "true"},
}


def test_every_kind_of_fault_can_be_filled_in() -> None:
    adapter: TypeAdapter[OfOperations | OfAws] = TypeAdapter(Spec)
    schema = adapter.json_schema()
    assert set(KINDS) == set(schema["discriminator"]["mapping"])
    for kind in KINDS:
        spec = read_wire(adapter, json.dumps(Form({**FILLED, "kind": kind}).fault()).encode())
        assert spec.kind == kind


def test_members_of_another_kind_are_left_out() -> None:
    assert Form({**FILLED, "kind": "reset"}).fault() == {
        "kind": "reset",
        "operation": "POST */schedule",
        "times": 2,
        "probability": 0.5,
        "seed": 1,
        "includeWorker": True,
    }
    assert Form({**FILLED, "kind": "iam-delay"}).fault() == {"kind": "iam-delay", "seconds": 1.5}
    assert set(MEMBERS) < set(KINDS)


def test_a_form_is_read_as_a_browser_sends_it() -> None:
    body = urlencode({"operation": "GET /v1/*?ä&b=c", "kind": "reset"}).encode()
    assert Form.parse(body).fault() == {"kind": "reset", "operation": "GET /v1/*?ä&b=c"}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"status": "many"}, "status: 'many' is not a number"),
        ({"status": "4.5"}, "'4.5' is not a number"),
        ({"probability": "nan"}, "probability: 'nan' is not a number"),
        ({"seed": "9" * 5000}, "seed: '9+' is not a number"),
    ],
)
def test_what_is_no_number_is_named(fields: dict[str, str], said: str) -> None:
    with pytest.raises(FormError, match=said):
        Form({"kind": "status", **fields}).fault()


@pytest.mark.parametrize("body", [b"x" * (LONGEST_FORM + 1), b"a=%ff", b"&".join([b"a=b"] * 51), b"\xff=1"])
def test_what_is_no_form_is_refused(body: bytes) -> None:
    with pytest.raises(FormError):
        Form.parse(body)
