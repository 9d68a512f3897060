"""
AWS regions and partitions, and which of them the platform's contract supports.

A region is looked up in the contract's list first. Only if it is missing there, the caller's list is used, which comes
from the installed AWS SDK and takes a tenth of a second to load. A region in neither list is refused, even if its
format is valid: ``eu-west-9`` is more likely a typo than a region that AWS has opened since.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightly_provider.suggestions import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable


def _codes(text: str) -> frozenset[str]:
    return frozenset(text.split())


# lightly 1.5.26 (June 2025), models/s3_region.py. Its two GovCloud names differ from AWS's codes.
CONTRACT_REGIONS = _codes(
    """
    af-south-1 ap-east-1 ap-northeast-1 ap-northeast-2 ap-northeast-3 ap-south-1 ap-south-2 ap-southeast-1
    ap-southeast-2 ap-southeast-3 ap-southeast-4 ca-central-1 cn-northwest-1 eu-central-1 eu-central-2
    eu-north-1 eu-south-1 eu-south-2 eu-west-1 eu-west-2 eu-west-3 me-central-1 me-south-1 sa-east-1 us-east-1
    us-east-2 us-gov-east us-gov-west us-west-1 us-west-2
    """
)
_GOVCLOUD_CODES = {"us-gov-east": "us-gov-east-1", "us-gov-west": "us-gov-west-1"}

# AWS docs: the prefix of a region's code determines its partition; all other regions are in "aws".
_PARTITION_STARTS = {
    "cn-": "aws-cn",
    "us-gov-": "aws-us-gov",
    "eusc-": "aws-eusc",
    "us-iso-": "aws-iso",
    "us-isob-": "aws-iso-b",
    "eu-isoe-": "aws-iso-e",
    "us-isof-": "aws-iso-f",
}
_AVAILABILITY_ZONE = r"(?P<region>[a-z]{2,4}(?:-[a-z]+)+-\d)[a-z]"
# S3's GetBucketLocation still returns "EU" for old buckets (AWS docs: S3 API reference, "GetBucketLocation").
_OLD_NAMES = {"EU": "eu-west-1"}
_WRITE_THE_CODE = "write the code of the bucket's region, e.g. 'eu-central-1'."


class InvalidRegionError(ValueError):
    """The text is not an AWS region."""


@dataclass(frozen=True)
class RegionVerdict:
    """
    A region that can be sent to the platform.

    :param region: The region, unchanged.
    :param partition: AWS partition of the region, which is part of every ARN there: ``aws``, ``aws-cn``, …
    :param warning: Text for the log on why the platform may not support the region; None if there is no reason.
    """

    region: str
    partition: str
    warning: str | None


def check_region(region: str, *, argument: str, known: Iterable[str]) -> RegionVerdict:
    """
    Refuse an invalid region, and warn if the platform may not support it.

    :param region: Region code, e.g. ``eu-central-1``. The contract's two names for GovCloud are accepted, too.
    :param argument: Name of the operator's argument, for the message.
    :param known: AWS's regions, e.g. those of the installed SDK. Read only if the contract lacks the region, so a
        generator has no cost otherwise.
    :raises InvalidRegionError: The region is invalid; the message suggests the intended one.
    """
    if region not in CONTRACT_REGIONS and region not in (codes := frozenset(known)):
        raise InvalidRegionError(f"{argument}={region!r} is not an AWS region; {_next_step(region, codes)}")
    partition = partition_of(region)
    reasons = [reason for reason in (_contract_reason(region), _partition_reason(partition)) if reason]
    warning = f"{argument}={region!r} may not work: {'; '.join(reasons)}." if reasons else None
    return RegionVerdict(region, partition, warning)


def partition_of(region: str) -> str:
    """Return the AWS partition of a region, by the prefix of its code."""
    return next((partition for start, partition in _PARTITION_STARTS.items() if region.startswith(start)), "aws")


def _contract_reason(region: str) -> str | None:
    if region in _GOVCLOUD_CODES:
        return f"it is the platform's name for what AWS calls {_GOVCLOUD_CODES[region]!r}"
    if region in CONTRACT_REGIONS:
        return None
    for name, code in _GOVCLOUD_CODES.items():
        if region == code:
            return f"the platform's published list of regions has it as {name!r}, which is not AWS's code"
    return "it is not in the platform's published list of regions, though the platform may have gained it since"


def _partition_reason(partition: str) -> str | None:
    if partition == "aws":
        return None
    return (
        f"it lies in the partition {partition!r}, and the platform takes ARNs of the partition 'aws' only, "
        "which leaves user access without a KMS key"
    )


def _next_step(region: object, known: frozenset[str]) -> str:
    if not isinstance(region, str) or not region.strip():
        return _WRITE_THE_CODE
    zone = re.fullmatch(_AVAILABILITY_ZONE, region)
    if zone and zone["region"] in known:
        return f"it is an availability zone of the region {zone['region']!r}, which is the one to write."
    if region in _OLD_NAMES:
        return f"did you mean {_OLD_NAMES[region]!r}?"
    spelled = region.strip().lower().replace("_", "-").replace(" ", "-")
    return did_you_mean(spelled, sorted(known), n=3, otherwise=_WRITE_THE_CODE)
