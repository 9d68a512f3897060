from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

import pytest

from lightly_sandbox.aws.lifecycle import expiration

if TYPE_CHECKING:
    from tests.lab.sandbox import Customer

CREATED = datetime.datetime(2026, 1, 15, 10, 30, tzinfo=datetime.UTC)
IN_3_DAYS = {"Days": 3}


def rule(action: dict[str, Any] | None = None, status: str = "Enabled", **chosen: Any) -> dict[str, Any]:
    return {
        "ID": "a rule",
        "Status": status,
        "Filter": chosen,
        "Expiration": IN_3_DAYS if action is None else action,
    }


def when(*rules: dict[str, Any], key: str = "raw/a.jpg", size: int = 100, **tags: str) -> str | None:
    value = expiration(rules, key, size, tags, CREATED)
    return None if value is None else value.split('"')[1]


def test_days_are_rounded_up_to_the_next_midnight_as_in_awss_own_example() -> None:
    assert expiration([rule()], "a", 1, {}, CREATED) == (
        'expiry-date="Mon, 19 Jan 2026 00:00:00 GMT", rule-id="a%20rule"'
    )


def test_a_date_is_that_date() -> None:
    assert when(rule({"Date": "2026-02-01T00:00:00.000Z"})) == "Sun, 01 Feb 2026 00:00:00 GMT"


def test_of_several_rules_the_one_that_comes_first_counts() -> None:
    assert when(rule({"Days": 30}), rule(), rule({"Days": 7})) == "Mon, 19 Jan 2026 00:00:00 GMT"


@pytest.mark.parametrize(
    ("chosen", "applies"),
    [
        ({}, True),
        ({"Prefix": "raw/"}, True),
        ({"Prefix": "other/"}, False),
        ({"Tag": {"Key": "kind", "Value": "trial"}}, True),
        ({"Tag": {"Key": "kind", "Value": "other"}}, False),
        ({"ObjectSizeGreaterThan": 99}, True),
        ({"ObjectSizeGreaterThan": 100}, False),
        ({"ObjectSizeLessThan": 101}, True),
        ({"ObjectSizeLessThan": 100}, False),
        ({"And": {"Prefix": "raw/", "Tags": [{"Key": "kind", "Value": "trial"}]}}, True),
        ({"And": {"Prefix": "raw/", "ObjectSizeLessThan": 50}}, False),
        ({"And": {"Prefix": "raw/", "Tags": [{"Key": "no", "Value": "trial"}]}}, False),
    ],
)
def test_a_rule_is_about_what_its_filter_says(chosen: dict[str, Any], applies: bool) -> None:
    assert (when(rule(**chosen), kind="trial") is not None) == applies


@pytest.mark.parametrize(
    "idle",
    [rule(status="Disabled"), rule({"ExpiredObjectDeleteMarker": True}), {"ID": "a", "Status": "Enabled"}],
)
def test_a_rule_that_lets_nothing_expire(idle: dict[str, Any]) -> None:
    assert when(idle) is None


def test_s3_says_when_an_object_expires_wherever_it_gives_or_takes_one(customer: Customer) -> None:
    bucket = customer.bucket("kept.jpg")
    rules = [{"ID": "soon", "Status": "Enabled", "Filter": {"Prefix": "raw/"}, "Expiration": {"Days": 5}}]
    s3 = customer.s3
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})
    name = {"Bucket": bucket, "Key": "raw/a.jpg"}
    put = s3.put_object(**name, Body=b"some bytes")["Expiration"]
    written = s3.head_object(**name)
    date = (written["LastModified"] + datetime.timedelta(days=6)).strftime("%a, %d %b %Y 00:00:00 GMT")
    assert put == written["Expiration"] == s3.get_object(**name)["Expiration"]
    assert put == f'expiry-date="{date}", rule-id="soon"'
    upload = s3.create_multipart_upload(**name)["UploadId"]
    part = s3.upload_part(**name, UploadId=upload, PartNumber=1, Body=b"a part")["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": part}]}
    whole = s3.complete_multipart_upload(**name, UploadId=upload, MultipartUpload=parts)
    assert whole["Expiration"] == put
    assert "Expiration" not in s3.head_object(Bucket=bucket, Key="kept.jpg")
    s3.delete_bucket_lifecycle(Bucket=bucket)
    assert "Expiration" not in s3.get_object(**name)


def test_a_tag_brings_an_object_under_a_rule(customer: Customer) -> None:
    bucket = customer.bucket("a.jpg")
    chosen = {"Tag": {"Key": "kind", "Value": "trial"}}
    rules = [{"Status": "Enabled", "Filter": chosen, "Expiration": {"Days": 5}}]
    customer.s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})
    assert "Expiration" not in customer.s3.head_object(Bucket=bucket, Key="a.jpg")
    tagging = {"TagSet": [{"Key": "kind", "Value": "trial"}]}
    customer.s3.put_object_tagging(Bucket=bucket, Key="a.jpg", Tagging=tagging)
    assert "Expiration" in customer.s3.head_object(Bucket=bucket, Key="a.jpg")


def test_a_rule_of_the_older_form_keeps_its_prefix_and_gets_an_id(customer: Customer) -> None:
    bucket = customer.bucket("raw/a.jpg", "kept.jpg")
    rules = [{"Status": "Enabled", "Prefix": "raw/", "Expiration": {"Days": 5}}]
    customer.s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})
    (stored,) = customer.s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert len(stored["ID"]) == 48
    said = customer.s3.head_object(Bucket=bucket, Key="raw/a.jpg")["Expiration"]
    assert said.endswith(f'rule-id="{stored["ID"]}"')
    assert "Expiration" not in customer.s3.head_object(Bucket=bucket, Key="kept.jpg")


def test_of_an_object_with_versions_the_current_one_expires(customer: Customer) -> None:
    bucket = customer.bucket()
    s3, name = customer.s3, {"Bucket": bucket, "Key": "a.jpg"}
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    rules = [{"Status": "Enabled", "Filter": {}, "Expiration": {"Days": 5}}]
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})
    old, new = (s3.put_object(**name, Body=body)["VersionId"] for body in (b"old", b"new"))
    assert "Expiration" not in s3.get_object(**name, VersionId=old)
    assert "Expiration" in s3.get_object(**name, VersionId=new)
    assert "Expiration" in s3.get_object(**name)
