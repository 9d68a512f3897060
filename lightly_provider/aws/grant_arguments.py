"""What a user writes for locations, purposes, keys and networks, read into grants; for operators and commands alike."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from lightly_provider.aws.credentials import check_kms_key_arn
from lightly_provider.aws.grants import Grant, Network
from lightly_provider.aws.location import S3Location
from lightly_provider.aws.policies import Purpose

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# AWS docs: EC2 user guide, "Resource IDs": 8 characters in old ones, 17 in those since 2016.
_VPC = r"vpc-(?:[0-9a-f]{8}|[0-9a-f]{17})"


def grants_for(
    *,
    inputs: Sequence[str],
    outputs: Sequence[str] = (),
    purpose: str | None = None,
    kms_key_arn: str | None = None,
    read_kms_key_arns: Sequence[str] = (),
    names: Mapping[str, str],
) -> list[Grant]:
    """
    What a user's words for locations and keys come to.

    :param inputs: ``s3://bucket/prefix/`` of each place with files; at least one.
    :param outputs: ``s3://bucket/prefix/`` of each place for what the platform writes.
    :param purpose: That of the inputs; None: INPUT if there are outputs, and else INPUT_OUTPUT.
    :param kms_key_arn: The key with which the platform encrypts what it writes; None: S3's own.
    :param read_kms_key_arns: The keys with which the files are encrypted.
    :param names: What the user calls each of these, for the messages.
    :raises ValueError: One of them cannot be right.
    """
    if not inputs:
        raise ValueError(f"{names['inputs']} is empty; name at least one location.")
    if purpose and purpose not in list(Purpose):
        raise ValueError(f"{names['purpose']} is {purpose!r}; write one of {', '.join(Purpose)}.")
    if purpose and purpose != Purpose.INPUT and outputs:
        raise ValueError(
            f"{names['purpose']} is {purpose!r} and {names['outputs']} is given, which makes {names['inputs']} the "
            f"INPUT; leave {names['purpose']} out."
        )
    use = Purpose(purpose) if purpose else Purpose.INPUT if outputs else Purpose.INPUT_OUTPUT
    if kms_key_arn and use == Purpose.INPUT and not outputs:
        raise ValueError(
            f"{names['kms_key_arn']} is given for an INPUT, to which Lightly does not write; if it encrypts your "
            f"files, give it as {names['read_kms_key_arns']}."
        )
    if kms_key_arn:
        check_kms_key_arn(kms_key_arn, argument=names["kms_key_arn"])
    for key in read_kms_key_arns:
        check_kms_key_arn(key, argument=names["read_kms_key_arns"])
    places = [S3Location.parse(uri, argument=names["inputs"]) for uri in inputs]
    writing = None if use == Purpose.INPUT else kms_key_arn
    return [
        *(Grant(location=p, purpose=Purpose.INPUT, kms_key_arn=key) for p in places for key in read_kms_key_arns),
        *(Grant(location=place, purpose=use, kms_key_arn=writing) for place in places),
        *(
            Grant(
                location=S3Location.parse(uri, argument=names["outputs"]),
                purpose=Purpose.LIGHTLY,
                kms_key_arn=kms_key_arn,
            )
            for uri in outputs
        ),
    ]


def network_of(*, source_ips: Sequence[str], source_vpcs: Sequence[str], names: Mapping[str, str]) -> Network:
    """
    What a user's words for a network come to.

    :param source_ips: Address ranges in CIDR form.
    :param source_vpcs: Ids of VPCs.
    :param names: What the user calls each of these, for the messages.
    :raises ValueError: One of them cannot be right.
    """
    for text in source_ips:
        try:
            ipaddress.ip_network(text)
        except ValueError as error:
            raise ValueError(f"{names['source_ips']} has {text!r}, which is no address range: {error}.") from None
    for text in source_vpcs:
        if not re.fullmatch(_VPC, text):
            raise ValueError(f"{names['source_vpcs']} has {text!r}; write a VPC's id, e.g. 'vpc-0123456789abcdef0'.")
    return Network(source_ips=tuple(source_ips), source_vpcs=tuple(source_vpcs))
