"""What cannot work is said without asking anybody."""

from __future__ import annotations

from typing import Any

import pytest

from lightly_provider.aws.location import S3Location
from lightly_provider.diagnosis.findings import Status
from lightly_provider.diagnosis.up_front import judge_up_front

PLAIN = S3Location("acme", "raw/")
ROLE, KEY = "arn:aws-us-gov:iam::123456789012:role/x", "arn:aws-us-gov:kms:us-gov-west-1:123456789012:key/x"


@pytest.mark.parametrize(
    ("region", "facts", "status", "words"),
    [
        ("eu-central-1", {"access_key_id": "ASIAXXXXXXXXXXXXXXXX"}, "FAIL", "session token"),
        ("eu-central-1", {"endpoint_url": "https://minio.example:9000"}, "FAIL", "minio.example"),
        ("us-gov-west-1", {"role_arn": ROLE}, "FAIL", "a role of the partition 'aws' only"),
        ("us-gov-west-1", {"kms_key_arn": KEY}, "FAIL", "a KMS key of the partition 'aws' only"),
        ("cn-north-1", {}, "WARN", "aws-cn"),
        ("il-central-1", {}, "WARN", "published list of regions"),
    ],
)
def test_what_cannot_work_says_why_and_what_to_do_instead(
    region: str, facts: dict[str, Any], status: str, words: str
) -> None:
    (finding,) = judge_up_front(PLAIN, region, **facts)
    assert finding.status is Status[status]
    assert words in finding.message
    assert "work because" in finding.message
    assert finding.remedy
    assert finding.remedy.texts[0].endswith(".")


def test_dots_in_a_buckets_name_are_a_warning() -> None:
    (finding,) = judge_up_front(S3Location("acme.photos", ""), "eu-central-1")
    assert finding.status is Status.WARN
    assert "TLS" in finding.message


@pytest.mark.parametrize(
    "facts", [{}, {"endpoint_url": "https://s3.eu-central-1.amazonaws.com"}, {"access_key_id": "AKIAXXXXXXXXXXXXXXXX"}]
)
def test_what_works_is_not_talked_about(facts: dict[str, Any]) -> None:
    assert judge_up_front(PLAIN, "eu-central-1", **facts) == []
