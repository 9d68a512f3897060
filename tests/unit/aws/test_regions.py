from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from lightly_provider.aws.regions import (
    CONTRACT_REGIONS,
    InvalidRegionError,
    check_region,
    partition_of,
)
from lightly_provider.hooks.aws import regions_of_botocore

if TYPE_CHECKING:
    from collections.abc import Iterator

_SDK = pytest.importorskip("botocore.session").Session()
REGIONS_BY_PARTITION = {
    partition: set(_SDK.get_available_regions("s3", partition_name=partition, allow_non_regional=False))
    for partition in _SDK.get_available_partitions()
}


def refusal(region: object) -> str:
    with pytest.raises(InvalidRegionError) as refused:
        check_region(region, argument="region", known=regions_of_botocore())  # type: ignore[arg-type]
    return str(refused.value)


@pytest.mark.parametrize("region", sorted(CONTRACT_REGIONS & REGIONS_BY_PARTITION["aws"]))
def test_a_region_that_aws_and_the_platform_know_is_taken_without_a_word(region: str) -> None:
    verdict = check_region(region, argument="region", known=regions_of_botocore())
    assert (verdict.region, verdict.partition, verdict.warning) == (region, "aws", None)


@pytest.mark.parametrize("region", sorted(REGIONS_BY_PARTITION["aws"] - CONTRACT_REGIONS))
def test_a_region_that_only_the_platforms_list_lacks_is_a_warning(region: str) -> None:
    verdict = check_region(region, argument="region", known=regions_of_botocore())
    assert (verdict.region, verdict.partition) == (region, "aws")
    assert str(verdict.warning).startswith(
        f"region={region!r} may not work: it is not in the platform's published list"
    )


@pytest.mark.parametrize(
    ("region", "partition", "words"),
    [
        ("cn-northwest-1", "aws-cn", ["ARNs of the partition 'aws' only"]),
        ("cn-north-1", "aws-cn", ["not in the platform's published list", "ARNs of the partition 'aws' only"]),
        ("us-gov-west-1", "aws-us-gov", ["has it as 'us-gov-west'", "ARNs of the partition 'aws' only"]),
        ("us-gov-east-1", "aws-us-gov", ["has it as 'us-gov-east'", "ARNs of the partition 'aws' only"]),
        ("us-gov-west", "aws-us-gov", ["AWS calls 'us-gov-west-1'", "ARNs of the partition 'aws' only"]),
        ("us-gov-east", "aws-us-gov", ["AWS calls 'us-gov-east-1'", "ARNs of the partition 'aws' only"]),
        ("eusc-de-east-1", "aws-eusc", ["not in the platform's published list", "'aws-eusc'"]),
    ],
)
def test_a_region_of_another_partition_is_a_warning_that_says_what_remains(
    region: str, partition: str, words: list[str]
) -> None:
    verdict = check_region(region, argument="region", known=regions_of_botocore())
    assert verdict.partition == partition
    assert all(word in str(verdict.warning) for word in words)


@pytest.mark.parametrize(
    ("region", "next_step"),
    [
        ("eu-centrl-1", "did you mean 'eu-central-1'"),
        ("EU-CENTRAL-1", "did you mean 'eu-central-1'"),
        ("eu_central_1", "did you mean 'eu-central-1'"),
        ("eu central 1", "did you mean 'eu-central-1'"),
        ("eu-central-1 ", "did you mean 'eu-central-1'"),
        ("eucentral1", "did you mean 'eu-central-1'"),
        ("us-east", "'us-east-1'"),
        ("eu-west-9", "did you mean"),
        ("EU", "did you mean 'eu-west-1'?"),
        ("eu-central-1a", "an availability zone of the region 'eu-central-1'"),
        ("us-gov-west-1b", "an availability zone of the region 'us-gov-west-1'"),
        ("mars", "e.g. 'eu-central-1'"),
        ("aws-global", "is not an AWS region"),
        ("", "e.g. 'eu-central-1'"),
        (" ", "e.g. 'eu-central-1'"),
        (None, "e.g. 'eu-central-1'"),
        (1, "e.g. 'eu-central-1'"),
    ],
)
def test_what_is_no_aws_region_is_refused_with_what_was_probably_meant(region: object, next_step: str) -> None:
    message = refusal(region)
    assert message.startswith(f"region={region!r} is not an AWS region; ")
    assert next_step in message


@pytest.mark.parametrize("region", sorted(CONTRACT_REGIONS))
def test_a_region_of_the_contract_is_checked_without_the_aws_sdk(region: str) -> None:
    def costly() -> Iterator[str]:
        raise AssertionError("the SDK was loaded")
        yield ""

    assert check_region(region, argument="region", known=costly()).region == region
    with pytest.raises(AssertionError, match="the SDK was loaded"):
        check_region("eu-west-9", argument="region", known=costly())


@pytest.mark.parametrize(
    ("region", "partition"),
    [
        ("eu-west-9", "aws"),
        ("cn-south-1", "aws-cn"),
        ("us-gov-north-1", "aws-us-gov"),
        ("us-iso-east-9", "aws-iso"),
        ("us-isob-east-9", "aws-iso-b"),
        ("eu-isoe-west-9", "aws-iso-e"),
        ("us-isof-east-9", "aws-iso-f"),
        ("eusc-de-west-1", "aws-eusc"),
    ],
)
def test_the_partition_of_a_new_region_follows_from_the_beginning_of_its_code(region: str, partition: str) -> None:
    assert partition_of(region) == partition


def test_the_contract_lists_thirty_regions_of_which_two_are_not_aws_codes() -> None:
    assert len(CONTRACT_REGIONS) == 30
    assert CONTRACT_REGIONS - set().union(*REGIONS_BY_PARTITION.values()) == {"us-gov-east", "us-gov-west"}


def test_every_region_of_the_installed_sdk_is_taken_in_its_partition() -> None:
    for partition, regions in REGIONS_BY_PARTITION.items():
        for region in regions:
            assert check_region(region, argument="region", known=regions_of_botocore()).partition == partition


@pytest.mark.parametrize("region", ["eu-west-9", "eu-centrl-1", "EU", "us-east", "eu-central-1a", "us-gov-west-1b"])
def test_whatever_a_refusal_suggests_is_taken(region: str) -> None:
    suggested = re.findall(r"'([a-z0-9-]+)'", refusal(region).partition("; ")[2])
    assert suggested
    for one in suggested:
        check_region(one, argument="region", known=regions_of_botocore())
