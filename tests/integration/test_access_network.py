"""
Access that is bound to a network: the worker stands inside, at 127.0.0.2, and Lightly outside, at 127.0.0.1.

The page on access says what to do then; here it is done.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.aws.grants import Grant, Network, access_policy
from lightly_provider.aws.location import S3Location
from lightly_provider.contract import Permission, Purpose
from lightly_provider.diagnosis.causes import Cause
from lightly_provider.operators.dataset import CreateLightlyDatasetOperator
from lightly_provider.operators.datasource import ConfigureS3DatasourceOperator
from tests.integration.access_situations import EXTERNAL_ID, PHOTO
from tests.integration.access_verdicts import not_passed, verdict_of
from tests.integration.source_relay import INSIDE, SourceRelay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.sandbox import Sandbox

INSIDE_ONLY = Network(source_ips=(f"{INSIDE}/32",))
OUTSIDE_ONLY = Network(source_ips=("127.0.0.1/32",))
LIST, READ, WRITE, OVERWRITE = map(str, Permission)


@pytest.fixture
def inside(lightly: Sandbox) -> Iterator[str]:
    """The address of AWS for who stands inside."""
    with SourceRelay(lightly.aws_url) as relay:
        yield relay.url


@pytest.fixture
def dataset(
    lightly: Sandbox, inside: str, dataset_name: str, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[str, S3Location]]:
    """Makes a dataset whose datasource is reached with a user's keys, and its place; the worker stands inside."""

    def make(purpose: Purpose, network: Network, *, listed: bool = True) -> tuple[str, S3Location]:
        location = S3Location(lightly.bucket(), "raw/")
        lightly.aws("s3").put_object(Bucket=location.bucket, Key=f"raw/{PHOTO}", Body=b"content")
        statements = access_policy([Grant(location=location, purpose=purpose)], network=network)["Statement"]
        if not listed:
            statements = [one for one in statements if one["Action"] != ["s3:ListBucket"]]
        keys = lightly.user(*statements)
        services = {"sts": {"endpoint_url": inside}}
        connection = lightly.aws_connection(keys, endpoint_url=inside, service_config=services)
        monkeypatch.setenv("AIRFLOW_CONN_BUCKET", connection)
        dataset_id = CreateLightlyDatasetOperator(task_id="create", dataset_name=dataset_name).execute(context)
        ConfigureS3DatasourceOperator(
            task_id="configure",
            dataset_id=dataset_id,
            purpose=str(purpose),
            resource_path=location.uri,
            datasource_aws_conn_id="bucket",
            region=lightly.region,
        ).execute(context)
        return dataset_id, location

    return make


def close_to_others(lightly: Sandbox, bucket: str) -> None:
    """A bucket policy that denies objects to whoever does not stand inside, but for the administrator."""
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
        "Resource": f"arn:aws:s3:::{bucket}/*",
        "Condition": {
            "NotIpAddress": {"aws:SourceIp": f"{INSIDE}/32"},
            "ArnNotEquals": {"aws:PrincipalArn": "arn:aws:iam::123456789012:user/admin"},
        },
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    lightly.aws("s3").put_bucket_policy(Bucket=bucket, Policy=document)


def verify(dataset_id: str, context: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    return verdict_of(dataset_id, context, datasource_aws_conn_id="bucket", **arguments)


def seen(verdict: dict[str, Any]) -> dict[str, str]:
    """What this worker saw of the permissions."""
    return {one["permission"]: one["status"] for one in verdict["from_this_worker"]}


@pytest.mark.parametrize(
    ("purpose", "closed"),
    [(Purpose.INPUT, {READ}), (Purpose.LIGHTLY, {READ, WRITE, OVERWRITE})],
    ids=["INPUT", "LIGHTLY"],
)
@pytest.mark.parametrize("by", ["the user's policy", pytest.param("the bucket's policy", marks=pytest.mark.exhaustive)])
def test_what_works_inside_only_is_named_so_and_bypass_verify_needs_list_alone(
    by: str,
    purpose: Purpose,
    closed: set[str],
    lightly: Sandbox,
    dataset: Callable[..., tuple[str, S3Location]],
    context: dict[str, Any],
) -> None:
    network = INSIDE_ONLY if by == "the user's policy" else Network()
    dataset_id, location = dataset(purpose, network)
    if by == "the bucket's policy":
        close_to_others(lightly, location.bucket)

    verdict = verify(dataset_id, context)

    assert not verdict["ok"]
    assert not_passed(verdict["checks"]) == dict.fromkeys(closed, "FAIL")
    failed = [check for check in verdict["checks"] if check["status"] == "FAIL"]
    assert {check["cause"] for check in failed} == {str(Cause.SOURCE_RESTRICTED)}
    assert all("bypass_verify=True" in check["advice"] for check in failed)
    assert {seen(verdict)[permission] for permission in closed} == {"PASS"}

    bypassed = verify(dataset_id, context, bypass_verify=True)

    assert bypassed["ok"]
    assert {c["permission"]: c["status"] for c in bypassed["checks"]} == {
        LIST: "PASS",
        **dict.fromkeys((READ, WRITE, OVERWRITE), "SKIP"),
    }


def test_bypass_verify_does_not_bypass_list(
    dataset: Callable[..., tuple[str, S3Location]], context: dict[str, Any]
) -> None:
    dataset_id, _ = dataset(Purpose.INPUT, INSIDE_ONLY, listed=False)
    verdict = verify(dataset_id, context, bypass_verify=True)
    assert not verdict["ok"]
    assert not_passed(verdict["checks"]) == {LIST: "FAIL"}


@pytest.mark.exhaustive(sample="test_what_works_for_lightly_and_not_inside_is_a_warning_of_this_worker")
def test_with_relevant_filenames_bypass_verify_needs_to_read_where_lightly_keeps_its_own(
    dataset: Callable[..., tuple[str, S3Location]], context: dict[str, Any]
) -> None:
    dataset_id, _ = dataset(Purpose.INPUT_OUTPUT, INSIDE_ONLY)
    verdict = verify(dataset_id, context, bypass_verify=True, relevant_filenames=True)
    assert not_passed(verdict["checks"]) == {READ: "FAIL"}


def test_what_works_for_lightly_and_not_inside_is_a_warning_of_this_worker(
    dataset: Callable[..., tuple[str, S3Location]], context: dict[str, Any]
) -> None:
    dataset_id, _ = dataset(Purpose.INPUT, OUTSIDE_ONLY)
    verdict = verify(dataset_id, context)
    assert verdict["ok"]
    assert not_passed(verdict["checks"]) == {}
    (of_read,) = [one for one in verdict["from_this_worker"] if one["permission"] == READ]
    assert of_read["status"] == "WARN"
    assert "Lightly can, so this concerns this worker only" in of_read["message"]


@pytest.mark.exhaustive(sample="test_what_works_for_lightly_and_not_inside_is_a_warning_of_this_worker")
def test_a_role_bound_to_a_network_is_no_failure_of_the_simulators_making(
    lightly: Sandbox, dataset_name: str, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """IAM's simulator knows no address: what depends on one is UNKNOWN from here, and Lightly's light decides."""
    location = S3Location(lightly.bucket(), "raw/")
    lightly.aws("s3").put_object(Bucket=location.bucket, Key=f"raw/{PHOTO}", Body=b"content")
    for network, light in ((OUTSIDE_ONLY, "PASS"), (INSIDE_ONLY, "FAIL")):
        statements = access_policy([Grant(location=location, purpose=Purpose.INPUT)], network=network)["Statement"]
        role = lightly.role(EXTERNAL_ID, *statements)
        extra = {"role_arn": role, "assume_role_kwargs": {"ExternalId": EXTERNAL_ID}}
        monkeypatch.setenv("AIRFLOW_CONN_BUCKET", lightly.aws_connection(**extra))
        name = f"{dataset_name} {light}"
        dataset_id = CreateLightlyDatasetOperator(task_id="create", dataset_name=name).execute(context)
        ConfigureS3DatasourceOperator(
            task_id="configure",
            dataset_id=dataset_id,
            purpose="INPUT",
            resource_path=location.uri,
            datasource_aws_conn_id="bucket",
            region=lightly.region,
        ).execute(context)

        verdict = verify(dataset_id, context)

        assert {c["permission"]: c["status"] for c in verdict["checks"] if c["required"]} == {LIST: "PASS", READ: light}
        (of_read,) = [one for one in verdict["from_this_worker"] if one["permission"] == READ]
        assert of_read["status"] == "UNKNOWN"
        assert "depends on aws:SourceIp" in of_read["message"]
        assert verify(dataset_id, context, bypass_verify=True)["ok"]
