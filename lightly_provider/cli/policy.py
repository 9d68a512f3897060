"""``airflow lightly policy``: print the IAM documents as JSON, without a request to AWS or the platform."""

from __future__ import annotations

import json
import os
import re
import secrets
import sys
from typing import TYPE_CHECKING, Any

from lightly_provider.aws.credentials import check_external_id
from lightly_provider.aws.grants import access_policy, grants_for, network_of, permissions_on_key
from lightly_provider.aws.policies import EXTERNAL_ID_BYTES, ROLE_SESSION_SECONDS, key_policy_statement, trust_policy
from lightly_provider.aws.policy_documents import PolicyKind, check_size
from lightly_provider.aws.regions import check_region

if TYPE_CHECKING:
    import argparse


# AWS docs: IAM identifiers. Neither an account nor a wildcard, which would let others use the key, too.
_PRINCIPAL_ARN = r"(?a)arn:aws[a-z-]*:iam::[0-9]{12}:(?:role|user)/[\w+=,.@/-]+"


def print_documents(arguments: argparse.Namespace) -> None:
    """
    Print the documents.

    :param arguments: See :mod:`lightly_provider.cli.commands`.
    :raises ValueError: An argument is invalid.
    """
    documents = documents_for(arguments)
    chosen = documents if arguments.document == "all" else documents.get(arguments.document.replace("-", "_"))
    if chosen is None:
        raise ValueError(f"there is no {arguments.document} for what was asked; leave --document out to see all.")
    print(json.dumps(chosen, indent=2))
    if "trust_policy" in documents and arguments.document in ("all", "trust-policy"):
        print(
            "The trust policy holds the external ID: keep it like a password, and put it into the AWS connection too.",
            file=sys.stderr,
        )


def documents_for(arguments: argparse.Namespace) -> dict[str, Any]:
    """
    Return the documents by name: ``policy``; for a role also ``trust_policy`` and ``max_session_duration``; with KMS
    keys also ``key_policy``, which has the statement to add to each key policy, by the key's ARN.

    :param arguments: See :mod:`lightly_provider.cli.commands`.
    :raises ValueError: An argument is invalid.
    """
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
        outputs=arguments.output or [],
        purpose=arguments.purpose,
        kms_key_arn=arguments.kms_key_arn,
        read_kms_key_arns=arguments.read_kms_key_arn or [],
        names={
            "inputs": "location",
            "outputs": "--output",
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
    if variable is None:
        return secrets.token_urlsafe(EXTERNAL_ID_BYTES)
    if variable not in os.environ:
        raise ValueError(
            f"--external-id-env is {variable!r}, and there is no such variable; set it, or correct the name."
        )
    return check_external_id(os.environ[variable], argument=f"--external-id-env: the variable {variable}")
