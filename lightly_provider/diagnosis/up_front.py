"""
Finds settings that cannot work whatever the policies are, without any request. Pure.

Sources: lightly 1.5.26, models/datasource_config_s3*.py (the fields, the ARN patterns,
the list of regions); AWS docs: S3 user guide, "Virtual hosting of general purpose buckets" (dots and TLS); IAM
identifiers, "Unique ID prefixes".
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lightly_provider.aws.regions import CONTRACT_REGIONS, partition_of
from lightly_provider.diagnosis.causes import Cause
from lightly_provider.diagnosis.failures import Failure
from lightly_provider.diagnosis.findings import Finding, Status
from lightly_provider.diagnosis.remedies import Remedy

if TYPE_CHECKING:
    from lightly_provider.aws.location import S3Location

_AWS_HOSTS = (".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu", ".api.aws")
_TEMPORARY_KEY_START = "ASIA"


def judge_up_front(
    location: S3Location,
    region: str | None,
    *,
    access_key_id: str | None = None,
    role_arn: str | None = None,
    kms_key_arn: str | None = None,
    endpoint_url: str | None = None,
) -> list[Finding]:
    """
    Return what cannot work, or may not work, and what to do instead.

    :param location: The location.
    :param region: The bucket's region; None if it is not known yet, then it is not checked.
    :param access_key_id: The public half of the key, for user access.
    :param role_arn: The role, for delegated access.
    :param kms_key_arn: The key that encrypts the objects.
    :param endpoint_url: The S3 endpoint of the AWS connection; None: AWS's own. Omit it for a local test platform.
    :return: FAIL for what cannot work, WARN for what may not work; empty if there is nothing to report.
    """
    findings = []
    if (access_key_id or "").startswith(_TEMPORARY_KEY_START):
        findings.append(
            _cannot(
                "credentials",
                "the keys are temporary, and Lightly has no field for a session token",
                "use the long-lived key of an IAM user, or a role with an external ID",
                Cause.EXPIRED,
            )
        )
    host = urlsplit(endpoint_url).hostname if endpoint_url else None
    if host and not host.endswith(_AWS_HOSTS):
        findings.append(
            _cannot(
                "endpoint",
                f"the AWS connection finds S3 at {host}, and Lightly reaches AWS's own S3 only",
                "use a bucket in AWS S3",
                Cause.ENDPOINT,
            )
        )
    if region:
        findings += _of_region(region, role_arn, kms_key_arn)
    if "." in location.bucket:
        findings.append(
            _may_not(
                "bucket name",
                f"the dots in {location.bucket!r} break TLS under the bucket's own host name, whose certificate "
                "covers one level only",
                "if files cannot be loaded, use a bucket without dots",
            )
        )
    return findings


def _of_region(region: str, role_arn: str | None, kms_key_arn: str | None) -> list[Finding]:
    partition = partition_of(region)
    if partition != "aws":
        of_arns = " and ".join(
            name for name, arn in (("a role", role_arn), ("a KMS key", kms_key_arn)) if arn is not None
        )
        if of_arns:
            return [
                _cannot(
                    "partition",
                    f"{region} lies in the partition {partition!r}, and Lightly takes {of_arns} of the partition "
                    "'aws' only",
                    "use the key of an IAM user without a KMS key, or a bucket in another region",
                    Cause.PARTITION,
                )
            ]
        return [
            _may_not(
                "partition",
                f"{region} lies in the partition {partition!r}, which has accounts and endpoints of its own",
                "if it is refused, copy the files into a bucket of the partition 'aws'",
            )
        ]
    if region not in CONTRACT_REGIONS:
        return [
            _may_not(
                "region",
                f"{region} is not in Lightly's published list of regions, though it may have gained it since",
                "if it is refused, use a bucket in a region of that list, e.g. eu-central-1 or us-east-1",
            )
        ]
    return []


def _cannot(subject: str, because: str, instead: str, cause: Cause) -> Finding:
    return Finding(subject, Status.FAIL, f"cannot work because {because}", Failure(cause), _instead(instead))


def _may_not(subject: str, because: str, instead: str) -> Finding:
    return Finding(subject, Status.WARN, f"may not work because {because}", remedy=_instead(instead))


def _instead(text: str) -> Remedy:
    return Remedy((f"{text[0].upper()}{text[1:]}.",))
