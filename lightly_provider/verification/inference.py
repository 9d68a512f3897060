"""
From four lights to each datasource: which of its permissions are granted, denied, or cannot be told. Pure.

Which datasources a light tested is not known. So every possibility is gone through: which of them were tested,
the same for list and read and the same for write and overwrite, and what each of them grants. Those that fit
the lights, their texts and what this worker saw remain; what is the same in all of them is known.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import combinations, product
from typing import TYPE_CHECKING

from lightly_provider.contract import Permission
from lightly_provider.diagnosis.denials import Cause

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from lightly_provider.diagnosis.denials import Denial
    from lightly_provider.verification.verdict import DatasourceFacts, Lights

Granted = dict[tuple[int, Permission], bool]

# What fails the credentials fails all that they are used for.
_OF_KEYS = frozenset({Cause.UNKNOWN_ACCESS_KEY, Cause.WRONG_SECRET})
_OF_ROLE = frozenset({Cause.CANNOT_ASSUME, Cause.SHORT_SESSION, Cause.TRUST_POLICY, Cause.NO_SUCH_ROLE})
_OF_BUCKET = frozenset({Cause.NO_SUCH_BUCKET, Cause.WRONG_REGION})
_PAIRS = ((Permission.LIST, Permission.READ), (Permission.WRITE, Permission.OVERWRITE))


@dataclass(frozen=True)
class Inferred:
    """
    What follows from the lights.

    :param granted: By datasource (its index) and permission; what cannot be told is missing.
    :param contradicted: Whether what this worker saw contradicts every possibility, and was left out.
    :param suspects: By permission whose light is red: the datasources that its text may be about.
    """

    granted: Mapping[tuple[int, Permission], bool]
    contradicted: bool
    suspects: Mapping[Permission, frozenset[int]]


def infer(
    lights: Lights,
    denials: Mapping[Permission, Denial],
    datasources: Sequence[DatasourceFacts],
    seen: Mapping[tuple[int, Permission], bool],
    reachable: Collection[int] = (),
) -> Inferred:
    """
    Work out what each datasource grants.

    :param lights: The platform's lights.
    :param denials: The texts of the red ones, read.
    :param datasources: All of the dataset's datasources.
    :param seen: What this worker saw with the same access, by the datasource's index.
    :param reachable: The datasources whose credentials or role this worker saw to be right.
    """
    suspects = {
        permission: _suspects(denials[permission], datasources, reachable)
        for permission in Permission
        if not lights.granted(permission) and permission in denials
    }
    contradicted = False
    granted: Granted = {}
    for pair in _PAIRS:
        found = _known(pair, lights, denials, datasources, seen, suspects)
        if found is None:
            contradicted = True
            found = _known(pair, lights, denials, datasources, {}, suspects) or {}
        granted |= found
    return Inferred(granted, contradicted, suspects)


def _known(
    pair: tuple[Permission, Permission],
    lights: Lights,
    denials: Mapping[Permission, Denial],
    datasources: Sequence[DatasourceFacts],
    seen: Mapping[tuple[int, Permission], bool],
    suspects: Mapping[Permission, frozenset[int]],
) -> Granted | None:
    """What is the same in every possibility that fits; None if none does."""
    first, second = pair
    indexes = range(len(datasources))
    slots = [(index, permission) for index in indexes for permission in pair]
    # With list denied, S3 says 403 for a missing object too, so a red read light may be about that (AWS docs: S3 API
    # reference, GetObject, "Permissions"). Who cannot write cannot overwrite either.
    follows = denials.get(second) is None or denials[second].is_about_rights
    common: dict[tuple[int, Permission], set[bool]] = {slot: set() for slot in slots}
    fits = False
    for tested in _subsets(indexes):
        for values in product(*([seen[slot]] if slot in seen else [True, False] for slot in slots)):
            world = dict(zip(slots, values, strict=True))
            if not _shows(first, world, tested, lights, suspects, datasources, denials, follows=()):
                continue
            after = (first,) if follows else ()
            if not _shows(second, world, tested, lights, suspects, datasources, denials, follows=after):
                continue
            if first is Permission.WRITE and any(world[i, second] and not world[i, first] for i in indexes):
                continue
            fits = True
            for slot, value in world.items():
                common[slot].add(value)
    if not fits:
        return None
    return {slot: next(iter(values)) for slot, values in common.items() if len(values) == 1}


def _shows(
    permission: Permission,
    world: Granted,
    tested: frozenset[int],
    lights: Lights,
    suspects: Mapping[Permission, frozenset[int]],
    datasources: Sequence[DatasourceFacts],
    denials: Mapping[Permission, Denial],
    *,
    follows: tuple[Permission, ...],
) -> bool:
    """Whether this light would be as it is, if these were tested and granted that."""
    if lights.granted(permission):
        return all(world[index, permission] for index in tested)
    possible = suspects.get(permission, frozenset(range(len(datasources))))
    red = {
        index
        for index in tested & possible
        if not world[index, permission] or any(not world[index, earlier] for earlier in follows)
    }
    if not red:
        return False
    denial = denials.get(permission)
    if denial is None or denial.is_about_rights:
        return True
    # What is wrong with an access or a bucket is wrong wherever the same one is used.
    alike = {other for index in red for other in possible if _alike(denial, datasources[index], datasources[other])}
    return not any(world[index, permission] for index in alike)


def _alike(denial: Denial, one: DatasourceFacts, other: DatasourceFacts) -> bool:
    if one is other:
        return True
    if denial.cause in _OF_BUCKET:
        return (one.location.bucket, one.region) == (other.location.bucket, other.region)
    return denial.cause in _OF_KEYS | _OF_ROLE and one.access == other.access


def _subsets(indexes: range) -> Iterator[frozenset[int]]:
    for size in range(1, len(indexes) + 1):
        yield from map(frozenset, combinations(indexes, size))


def _suspects(denial: Denial, datasources: Sequence[DatasourceFacts], reachable: Collection[int]) -> frozenset[int]:
    """The datasources that a red light's text may be about; all if it does not say."""
    everybody = frozenset(range(len(datasources)))
    found = frozenset(
        index
        for index, datasource in enumerate(datasources)
        if _may_be_about(denial, datasource) and not (denial.cause in _OF_KEYS | _OF_ROLE and index in reachable)
    )
    return found or everybody


def _may_be_about(denial: Denial, datasource: DatasourceFacts) -> bool:
    if denial.cause in _OF_KEYS and datasource.role_arn:
        return False
    if denial.cause in _OF_ROLE and not datasource.role_arn:
        return False
    if denial.principal and denial.action != "sts:AssumeRole" and not _is_principal(denial.principal, datasource):
        return False
    return not denial.resource or _holds(datasource, denial.resource)


def _is_principal(arn: str, datasource: DatasourceFacts) -> bool:
    session = re.fullmatch(r"arn:[\w-]+:sts::(\d+):assumed-role/([^/]+)(?:/.*)?", arn)
    if session:
        role = datasource.role_arn or ""
        return role.split(":")[4:5] == [session[1]] and role.rpartition("/")[2] == session[2]
    if datasource.role_arn:
        return False
    return datasource.principal_arn in (None, arn)


def _holds(datasource: DatasourceFacts, resource: str) -> bool:
    if ":role/" in resource:
        return datasource.role_arn == resource
    bucket = re.fullmatch(r"arn:[\w-]+:s3:::([^/]+)(?:/(.*))?", resource)
    if bucket is None:
        return True
    if bucket[1] != datasource.location.bucket:
        return False
    return bucket[2] is None or bucket[2].startswith(datasource.location.prefix)
