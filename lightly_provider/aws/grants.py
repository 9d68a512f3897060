"""
Build the single policy of a user or role from all its grants, and parse the arguments for it. Pure functions.

:mod:`lightly_provider.aws.policies` builds the statements for one permission at one location. This module combines them
into the smallest document, because IAM's size limits are tight.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightly_provider.aws.credentials import check_kms_key_arn
from lightly_provider.aws.location import S3Location
from lightly_provider.aws.policies import PURPOSE_PERMISSIONS, kms_actions, object_actions, plain
from lightly_provider.contract import Permission, Purpose

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from lightly_provider.aws.policies import PolicyDocument, Statement

_ALL_ACTIONS = object_actions(frozenset(Permission))


@dataclass(frozen=True, kw_only=True)
class Grant:
    """
    Access to one location.

    :param location: Location in S3.
    :param purpose: Purpose of the datasource, which determines the permissions.
    :param kms_key_arn: ARN of the KMS key that encrypts the objects. None (default): keys managed by S3.
    """

    location: S3Location
    purpose: Purpose
    kms_key_arn: str | None = None

    @property
    def permissions(self) -> frozenset[Permission]:
        """The granted permissions."""
        return PURPOSE_PERMISSIONS[self.purpose]


@dataclass(frozen=True, kw_only=True)
class Network:
    """
    The networks from which objects can be read and written. Listing is not limited, because the platform itself lists.

    The vendor's guide to minimum policies: only ``s3:ListBucket`` must be open to the platform; everything else may be
    limited to the addresses or the VPC of the worker.

    :param source_ips: Public address ranges in CIDR notation. Default: none.
    :param source_vpcs: Ids of VPCs with an S3 endpoint. Default: none. A request through an endpoint has no public
        address (AWS docs: global condition keys, "aws:SourceIp"), so if both are given, either is sufficient.
    """

    source_ips: tuple[str, ...] = ()
    source_vpcs: tuple[str, ...] = ()

    def conditions(self) -> list[dict[str, Any] | None]:
        """Return the conditions, each for a statement of its own; a single None if there is no limit."""
        conditions: list[dict[str, Any] | None] = []
        if self.source_ips:
            conditions.append({"IpAddress": {"aws:SourceIp": list(self.source_ips)}})
        if self.source_vpcs:
            conditions.append({"StringEquals": {"aws:SourceVpc": list(self.source_vpcs)}})
        return conditions or [None]


EVERYWHERE = Network()


def access_policy(grants: Iterable[Grant], *, network: Network = EVERYWHERE, partition: str = "aws") -> PolicyDocument:
    """
    Return the policy for a user or role with all these grants.

    The policy contains no duplicates: a location inside another one is left out for the actions that they share, and
    equal statements are merged. Merging never widens a grant: two buckets share a statement only if both have the same
    prefixes.

    :param grants: At least one grant.
    :param network: Networks from which objects can be read and written. Default: no limit.
    :param partition: AWS partition of the buckets. Default: ``aws``.
    :raises ValueError: There is no grant.
    """
    given = list(grants)
    if not given:
        raise ValueError("Nothing is granted, and IAM takes no policy without a statement; name at least one location.")
    statements = [
        *_listing(_outermost(g.location for g in given), partition),
        *(
            _statement(actions, resources, condition)
            for actions, resources in _objects(given, partition)
            for condition in network.conditions()
        ),
        *(_statement(actions, keys, None) for actions, keys in _keys(given)),
    ]
    return {"Version": "2012-10-17", "Statement": statements}


def permissions_on_key(grants: Iterable[Grant], kms_key_arn: str) -> frozenset[Permission]:
    """Return the permissions of all grants whose objects this key encrypts."""
    return frozenset[Permission]().union(*(g.permissions for g in grants if g.kms_key_arn == kms_key_arn))


def _listing(locations: Sequence[S3Location], partition: str) -> list[Statement]:
    prefixes: dict[str, list[str]] = {}
    for location in locations:
        prefixes.setdefault(location.bucket, []).append(plain(location.prefix))
    # Only buckets with the same prefixes share a statement; others would get each other's prefixes.
    buckets = _inverted({bucket: tuple(sorted(found)) for bucket, found in prefixes.items()})
    statements = []
    for found, names in buckets:
        # "photos/*" also matches "photos/", so this is equivalent to the longer form in policies.py.
        likes = [f"{prefix}*" for prefix in found]
        condition = {"StringLike": {"s3:prefix": likes}} if all(found) else None
        arns = [f"arn:{partition}:s3:::{name}" for name in names]
        statements.append(_statement(["s3:ListBucket"], arns, condition))
    return statements


def _objects(grants: Sequence[Grant], partition: str) -> list[tuple[list[str], list[str]]]:
    """Return actions with the ARNs of the objects on which they are allowed."""
    actions: dict[S3Location, list[str]] = {}
    for action in _ALL_ACTIONS:
        places = (g.location for g in grants if action in object_actions(g.permissions))
        for location in _outermost(places):
            actions.setdefault(location, []).append(action)
    arns = {
        f"arn:{partition}:s3:::{location.bucket}/{plain(location.prefix)}*": tuple(allowed)
        for location, allowed in actions.items()
    }
    return [(list(allowed), found) for allowed, found in _inverted(arns)]


def _keys(grants: Sequence[Grant]) -> list[tuple[list[str], list[str]]]:
    keys = dict.fromkeys(g.kms_key_arn for g in grants if g.kms_key_arn)
    needed = {key: tuple(kms_actions(permissions_on_key(grants, key))) for key in keys}
    return [(list(actions), found) for actions, found in _inverted(needed)]


def _outermost(locations: Iterable[S3Location]) -> list[S3Location]:
    """Return the locations that are not inside another one."""
    distinct = list(dict.fromkeys(locations))
    return [one for one in distinct if not any(other != one and other.contains(one) for other in distinct)]


def _inverted(by_key: Mapping[str, tuple[str, ...]]) -> list[tuple[tuple[str, ...], list[str]]]:
    groups: dict[tuple[str, ...], list[str]] = {}
    for key, value in by_key.items():
        groups.setdefault(value, []).append(key)
    return list(groups.items())


def _statement(actions: list[str], resources: list[str], condition: dict[str, Any] | None) -> Statement:
    statement: Statement = {"Effect": "Allow", "Action": actions, "Resource": resources}
    return statement | ({"Condition": condition} if condition else {})


# AWS docs: EC2 user guide, "Resource IDs": 8 characters in old ids, 17 since 2016.
_CIDR = r"[0-9a-fA-F.:]+(?:/[0-9]{1,3})?"
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
    Build grants from a user's arguments for locations and keys.

    :param inputs: ``s3://bucket/prefix/`` of each location with files; at least one.
    :param outputs: ``s3://bucket/prefix/`` of each location to which the platform writes. Default: none.
    :param purpose: Purpose of the inputs. None (default): INPUT if there are outputs, else INPUT_OUTPUT.
    :param kms_key_arn: KMS key with which the platform encrypts what it writes. None (default): keys managed by S3.
    :param read_kms_key_arns: KMS keys with which the files are encrypted. Default: none.
    :param names: The user's name for each of these arguments, for the messages.
    :raises ValueError: An argument is invalid.
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
    Build the network limits from a user's arguments.

    :param source_ips: Address ranges in CIDR notation.
    :param source_vpcs: Ids of VPCs.
    :param names: The user's name for each of these arguments, for the messages.
    :raises ValueError: An argument is invalid.
    """
    for text in source_ips:
        try:
            ipaddress.ip_network(text)
            # Python also reads masks and zones, and IAM neither.
            if not re.fullmatch(_CIDR, text):
                raise ValueError("it must be an address, or one with the number of its fixed bits after a slash")
        except ValueError as error:
            raise ValueError(f"{names['source_ips']} has {text!r}, which is not an address range: {error}.") from None
    for text in source_vpcs:
        if not re.fullmatch(_VPC, text):
            raise ValueError(f"{names['source_vpcs']} has {text!r}; write a VPC's id, e.g. 'vpc-0123456789abcdef0'.")
    return Network(source_ips=tuple(source_ips), source_vpcs=tuple(source_vpcs))
