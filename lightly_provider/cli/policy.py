"""``airflow lightly policy``: print the IAM documents, without a request to AWS or the platform."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from lightly_provider.cli.answer import Answer, Section
from lightly_provider.cli.command import Argument, Command
from lightly_provider.cli.refusals import CommandError, choose

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator


# AWS docs: IAM identifiers. Neither an account nor a wildcard, which would let others use the key, too.
_PRINCIPAL_ARN = r"(?a)arn:aws[a-z-]*:iam::[0-9]{12}:(?:role|user)/[\w+=,.@/-]+"


_DOCUMENTS = ("all", "policy", "trust-policy", "key-policy")


def run(arguments: argparse.Namespace) -> Answer:
    """Return the documents: as JSON, or as a table of their statements."""
    arguments.access = choose(arguments.access, ("role", "user"), argument="--access")
    arguments.document = choose(arguments.document, _DOCUMENTS, argument="--document")
    documents = documents_for(arguments)
    chosen = documents if arguments.document == "all" else documents.get(arguments.document.replace("-", "_"))
    if chosen is None:
        raise CommandError(f"there is no {arguments.document} for what was asked; leave --document out to see all.")
    shown = documents if arguments.document == "all" else {arguments.document.replace("-", "_"): chosen}
    shows_external_id = "trust_policy" in shown and arguments.output not in ("table", "plain")
    return Answer(
        sections=[Section(rows=list(_statements(shown)))],
        data=chosen,
        notes=[
            "The trust policy holds the external ID: keep it like a password, and put it into the AWS connection too."
        ]
        if shows_external_id
        else [],
    )


def _statements(documents: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a row for each statement; conditions by their keys only, because one holds the external ID."""
    for name, document in documents.items():
        if not isinstance(document, dict):
            continue
        by_place = {name: document["Statement"]} if "Statement" in document else {}
        if name == "key_policy":
            by_place = {f"{name} of {key}": [statement] for key, statement in document.items()}
        for place, statements in by_place.items():
            for statement in statements:
                yield {
                    "document": place,
                    "sid": statement.get("Sid"),
                    "action": statement["Action"],
                    "resource": statement.get("Resource"),
                    "condition": sorted(key for test in statement.get("Condition", {}).values() for key in test),
                }


def documents_for(arguments: argparse.Namespace) -> dict[str, Any]:
    """
    Return the documents by name: ``policy``; for a role also ``trust_policy`` and ``max_session_duration``; with KMS
    keys also ``key_policy``, which has the statement to add to each key policy, by the key's ARN.

    :param arguments: The parsed arguments.
    :raises ValueError: An argument is invalid.
    """
    from lightly_provider.aws.grants import access_policy, grants_for, network_of, permissions_on_key
    from lightly_provider.aws.policies import ROLE_SESSION_SECONDS, key_policy_statement, trust_policy
    from lightly_provider.aws.policy_documents import PolicyKind, check_size
    from lightly_provider.aws.regions import check_region

    role = arguments.access == "role"
    partition = "aws"
    if arguments.region:
        from lightly_provider.hooks.aws import regions_of_botocore

        partition = check_region(arguments.region, argument="--region", known=regions_of_botocore()).partition
    if role and partition != "aws":
        raise ValueError(
            f"--region {arguments.region} lies in the partition {partition!r}, and the platform takes roles of the "
            "partition 'aws' only; write --access user."
        )
    grants = grants_for(
        inputs=arguments.location,
        outputs=arguments.output_location or [],
        purpose=arguments.purpose,
        kms_key_arn=arguments.kms_key_arn,
        read_kms_key_arns=arguments.read_kms_key_arn or [],
        names={
            "inputs": "location",
            "outputs": "--output-location",
            "purpose": "--purpose",
            "kms_key_arn": "--kms-key-arn",
            "read_kms_key_arns": "--read-kms-key-arn",
        },
    )
    network = network_of(
        source_ips=arguments.source_ip or [],
        source_vpcs=arguments.source_vpc or [],
        names={"source_ips": "--source-ip", "source_vpcs": "--source-vpc"},
    )
    policy = access_policy(grants, network=network, partition=partition)
    check_size(policy, PolicyKind.ROLE_INLINE if role else PolicyKind.USER_INLINE, argument="location")
    documents: dict[str, Any] = {"policy": policy}
    if role:
        documents |= {
            "trust_policy": trust_policy(_external_id(arguments.external_id_env)),
            "max_session_duration": ROLE_SESSION_SECONDS,
        }
    if arguments.principal_arn is not None and not re.fullmatch(_PRINCIPAL_ARN, arguments.principal_arn):
        raise ValueError(
            f"--principal-arn is {arguments.principal_arn!r}, and the key policy is for one role or user; write its "
            "ARN, e.g. arn:aws:iam::123456789012:role/lightly."
        )
    keys = dict.fromkeys(grant.kms_key_arn for grant in grants if grant.kms_key_arn)
    if keys:
        principal = arguments.principal_arn or f"arn:{partition}:iam::<account>:{arguments.access}/<name>"
        documents["key_policy"] = {
            key: key_policy_statement(principal, permissions_on_key(grants, key)) for key in keys
        }
    return documents


def _external_id(variable: str | None) -> str:
    import secrets

    from lightly_provider.aws.credentials import check_external_id
    from lightly_provider.aws.policies import EXTERNAL_ID_BYTES

    if variable is None:
        return secrets.token_urlsafe(EXTERNAL_ID_BYTES)
    if variable not in os.environ:
        raise ValueError(
            f"--external-id-env is {variable!r}, and there is no such variable; set it, or correct the name."
        )
    return check_external_id(os.environ[variable], argument=f"--external-id-env: the variable {variable}")


COMMAND = Command(
    name="policy",
    summary="Print the IAM documents that give Lightly access to S3 locations, for the owner of IAM.",
    description="Sends no request, neither to AWS nor to the platform.",
    arguments=(
        Argument("location", nargs="+", metavar="s3://bucket/prefix/", help="Where the files are."),
        Argument(
            "--purpose", help="INPUT, LIGHTLY or INPUT_OUTPUT. Default: INPUT_OUTPUT, or INPUT with --output-location."
        ),
        Argument(
            "--output-location",
            action="append",
            metavar="s3://bucket/prefix/",
            help="Where Lightly writes (LIGHTLY). Can be repeated.",
        ),
        Argument("--access", default="role", help="Whose access the policy is for: role or user. Default: role."),
        Argument("--kms-key-arn", metavar="ARN", help="KMS key with which Lightly will encrypt what it writes."),
        Argument(
            "--read-kms-key-arn",
            action="append",
            metavar="ARN",
            help="KMS key with which the files are encrypted. Can be repeated.",
        ),
        Argument(
            "--source-ip",
            action="append",
            metavar="CIDR",
            help="Allow reading and writing objects only from here. Can be repeated.",
        ),
        Argument(
            "--source-vpc",
            action="append",
            metavar="VPC",
            help="Allow reading and writing objects only from here. Can be repeated.",
        ),
        Argument(
            "--principal-arn",
            metavar="ARN",
            help="ARN of the role or user, for the key policy. Default: a placeholder.",
        ),
        Argument("--region", help="Region of the buckets, which decides the partition of the ARNs. Default: 'aws'."),
        Argument(
            "--external-id-env",
            metavar="NAME",
            help="Environment variable that holds the external ID. Default: a random one, printed in the trust policy.",
        ),
        Argument(
            "--document",
            default="all",
            help="Document to print, as the AWS command line takes it: policy, trust-policy or key-policy. Default: "
            "all, in one object.",
        ),
    ),
    output=Argument(
        "-o",
        "--output",
        metavar="(json, yaml, table, plain)",
        help="Output format; table and plain list the statements. Default: json.",
    ),
    default_format="json",
    examples=(
        (
            "a role for files that are read, and another place to write to",
            "policy s3://my-bucket/photos/ --output-location s3://my-bucket/lightly/",
        ),
        (
            "a user's policy alone, for aws iam put-user-policy --policy-document",
            "policy s3://my-bucket/photos/ --access user --document policy",
        ),
        ("what it allows, at a glance", "policy s3://my-bucket/photos/ --output table"),
    ),
    run=run,
)
