"""The local AWS whose policies take effect late, as the real one's do."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
import requests
from botocore.exceptions import ClientError

from tests.lab.sandbox import LIST, READ, allow, wait_until, with_role

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.sandbox import Api, Customer

CONTROL = "/sandbox/faults"
EXTERNAL_ID = "an-external-id"
SECONDS = 3.0
LONG = 300


@pytest.fixture
def api(api: Api) -> Iterator[Api]:
    """The sandbox, whose policies take effect at once again afterwards."""
    yield api
    api.ok("DELETE", CONTROL)


def _delay(api: Api, seconds: float) -> None:
    api.ok("POST", CONTROL, {"kind": "iam-delay", "seconds": seconds})


def _policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def _green(api: Api, dataset_id: str) -> list[str]:
    answer = api.ok("GET", f"/v1/datasets/{dataset_id}/datasource/verify")
    return [light for light in ("canList", "canRead") if answer[light]]


def _role_and_dataset(api: Api, customer: Customer, bucket: str) -> tuple[str, str]:
    """The name of a role that may list the bucket, and a dataset that uses it."""
    arn = customer.role(EXTERNAL_ID, *allow(bucket, LIST))
    dataset_id = api.new_dataset()
    api.put_datasource(dataset_id, **with_role(f"s3://{bucket}", "INPUT_OUTPUT", arn, EXTERNAL_ID))
    assert _green(api, dataset_id) == ["canList"]
    return arn.rsplit("/", 1)[-1], dataset_id


def test_a_right_that_is_given_comes_after_the_delay(api: Api, customer: Customer) -> None:
    bucket = customer.bucket("a.jpg")
    role, dataset_id = _role_and_dataset(api, customer, bucket)
    _delay(api, SECONDS)
    given = time.monotonic()
    customer.iam.put_role_policy(
        RoleName=role, PolicyName="more", PolicyDocument=_policy(*allow(bucket, READ))
    )
    seen = _green(api, dataset_id)
    # On a busy machine a look takes longer; that a right lags, the other tests tell then.
    assert seen == ["canList"] or time.monotonic() - given >= SECONDS
    wait_until(lambda: _green(api, dataset_id) == ["canList", "canRead"])
    assert time.monotonic() - given >= SECONDS


@pytest.mark.exhaustive(sample="test_a_right_that_is_given_comes_after_the_delay")
def test_a_right_that_is_taken_stays_for_the_delay(api: Api, customer: Customer) -> None:
    bucket = customer.bucket("a.jpg")
    role, dataset_id = _role_and_dataset(api, customer, bucket)
    _delay(api, SECONDS)
    taken = time.monotonic()
    customer.iam.delete_role_policy(RoleName=role, PolicyName="p")
    seen = _green(api, dataset_id)
    assert seen == ["canList"] or time.monotonic() - taken >= SECONDS
    wait_until(lambda: _green(api, dataset_id) == [])
    assert time.monotonic() - taken >= SECONDS


def test_whom_a_role_trusts_lags_too_and_without_the_delay_no_more(api: Api, customer: Customer) -> None:
    bucket = customer.bucket("a.jpg")
    role, dataset_id = _role_and_dataset(api, customer, bucket)
    _delay(api, LONG)
    nobody = {
        "Effect": "Deny",
        "Principal": {"AWS": "arn:aws:iam::916419735646:root"},
        "Action": "sts:AssumeRole",
    }
    customer.iam.update_assume_role_policy(RoleName=role, PolicyDocument=_policy(nobody))
    assert _green(api, dataset_id) == ["canList"]
    api.ok("DELETE", CONTROL)
    assert _green(api, dataset_id) == []


def test_a_new_user_may_do_nothing_yet(api: Api, customer: Customer) -> None:
    bucket = customer.bucket("a.jpg")
    _delay(api, LONG)
    s3 = customer.client("s3", customer.user(*allow(bucket, LIST)))
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.list_objects_v2(Bucket=bucket)
    (fault,) = api.ok("GET", CONTROL)
    api.ok("DELETE", f"{CONTROL}/{fault['id']}")
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 1


@pytest.mark.exhaustive(sample="test_a_right_that_is_given_comes_after_the_delay")
def test_of_several_changes_each_has_its_own_delay(api: Api, customer: Customer) -> None:
    bucket = customer.bucket("a.jpg")
    role, dataset_id = _role_and_dataset(api, customer, bucket)
    # Between the two changes, a look at the lights must fit on a busy machine.
    delay = 4 * SECONDS
    _delay(api, delay)
    customer.iam.put_role_policy(RoleName=role, PolicyName="p", PolicyDocument=_policy(*allow(bucket, READ)))
    first = time.monotonic()
    wait_until(lambda: time.monotonic() - first > delay / 2)
    customer.iam.put_role_policy(
        RoleName=role, PolicyName="p", PolicyDocument=_policy(*allow(bucket, LIST, READ))
    )
    assert _green(api, dataset_id) == ["canList"]
    seen = [["canList"]]

    def all_green() -> bool:
        seen.append(_green(api, dataset_id))
        return seen[-1] == ["canList", "canRead"]

    wait_until(all_green)
    assert ["canRead"] in seen, "the first change was seen before the second"


def test_what_was_changed_can_be_read_back_at_once(api: Api, customer: Customer) -> None:
    bucket = customer.bucket("a.jpg")
    role, _ = _role_and_dataset(api, customer, bucket)
    _delay(api, LONG)
    new = allow(bucket, READ)
    customer.iam.put_role_policy(RoleName=role, PolicyName="p", PolicyDocument=_policy(*new))
    assert customer.iam.get_role_policy(RoleName=role, PolicyName="p")["PolicyDocument"]["Statement"] == new


def test_the_decisions_by_old_policies_are_counted_and_a_new_delay_replaces_the_old(
    api: Api, customer: Customer
) -> None:
    bucket = customer.bucket("a.jpg")
    _, dataset_id = _role_and_dataset(api, customer, bucket)
    _delay(api, LONG)
    assert [fault["applied"] for fault in api.ok("GET", CONTROL)] == [0]
    customer.user()
    _green(api, dataset_id)
    (fault,) = api.ok("GET", CONTROL)
    assert (fault["kind"], fault["seconds"]) == ("iam-delay", LONG)
    assert fault["applied"] > 0
    _delay(api, LONG + 1)
    assert [(fault["seconds"], fault["applied"]) for fault in api.ok("GET", CONTROL)] == [(LONG + 1, 0)]


def test_nobody_else_delays_the_policies(ready: dict[str, Any], api: Api, customer: Customer) -> None:
    url = f"{ready['aws_url']}/_sandbox/iam-delay?seconds={LONG}"
    for headers in ({}, {"x-lightly-sandbox-root": "wrong"}, {"x-lightly-sandbox-root": api.token}):
        assert requests.put(url, headers=headers, timeout=10).status_code == 404
    bucket = customer.bucket("a.jpg")
    s3 = customer.client("s3", customer.user(*allow(bucket, LIST)))
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 1
