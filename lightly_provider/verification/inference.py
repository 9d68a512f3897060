"""
Infers from the four lights which permissions each datasource grants or denies, and which remain unknown. Pure.

A dataset may have two datasources. The platform returns one light per permission for both, without reporting which it
tested: the input, the output, each where it is needed, or both. So a light alone proves nothing about either. This
module goes through every possible world: which datasources were tested (the same for list and read, and the same for
write and overwrite), and what each of them grants. It drops a world that contradicts a light (green: all tested ones
grant it; red: one of them does not), the text of a red light (it may name a bucket, a role or a user, or report wrong
keys or a wrong bucket, which then holds wherever the same are used), or what this worker saw with the same keys. What
is the same in all remaining worlds is known. With two datasources there are at most 3 x 16 worlds for each pair of
permissions; with one datasource the lights apply to it directly.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import combinations, product
from typing import TYPE_CHECKING

from lightly_provider.contract import Permission
from lightly_provider.diagnosis.causes import Cause

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from lightly_provider.diagnosis.failures import Failure
    from lightly_provider.diagnosis.target import Target

Granted = dict[tuple[int, Permission], bool]

# Wrong credentials fail every datasource that uses them.
_OF_KEYS = frozenset({Cause.UNKNOWN_ACCESS_KEY, Cause.WRONG_SECRET})
_OF_ROLE = frozenset({Cause.CANNOT_ASSUME, Cause.SHORT_SESSION, Cause.TRUST_POLICY, Cause.NO_SUCH_ROLE})
_OF_BUCKET = frozenset({Cause.NO_SUCH_BUCKET, Cause.WRONG_REGION})
_PAIRS = ((Permission.LIST, Permission.READ), (Permission.WRITE, Permission.OVERWRITE))


@dataclass(frozen=True)
class Inferred:
    """
    What was inferred from the lights.

    :param granted: By datasource (its index) and permission; what is unknown is missing.
    :param suspects: By permission whose light is red: the datasources to which its text may apply.
    """

    granted: Mapping[tuple[int, Permission], bool]
    suspects: Mapping[Permission, frozenset[int]]


def infer(
    green: Collection[Permission],
    failures: Mapping[Permission, Failure],
    datasources: Sequence[Target],
    seen: Mapping[tuple[int, Permission], bool],
    reachable: Collection[int] = (),
) -> Inferred:
    """
    Infer what each datasource grants.

    :param green: The permissions whose light is green.
    :param failures: The failures parsed from the texts of the red lights.
    :param datasources: All of the dataset's datasources.
    :param seen: What this worker saw with the same access, by the datasource's index.
    :param reachable: The datasources whose credentials or role work, as this worker saw.
    """
    suspects = {
        permission: _suspects(failures[permission], datasources, reachable)
        for permission in Permission
        if permission not in green and permission in failures
    }
    granted: Granted = {}
    for pair in _PAIRS:
        found = _known(pair, green, failures, datasources, seen, suspects)
        if found is None:
            # What this worker saw contradicts every world, so only the lights count.
            found = _known(pair, green, failures, datasources, {}, suspects) or {}
        granted |= found
    return Inferred(granted, suspects)


def _known(
    pair: tuple[Permission, Permission],
    green: Collection[Permission],
    failures: Mapping[Permission, Failure],
    datasources: Sequence[Target],
    seen: Mapping[tuple[int, Permission], bool],
    suspects: Mapping[Permission, frozenset[int]],
) -> Granted | None:
    """Return what is the same in every matching world; None if no world matches."""
    first, second = pair
    indexes = range(len(datasources))
    slots = [(index, permission) for index in indexes for permission in pair]
    # If list is denied, S3 returns 403 for a missing object, too, so that may be why the read light is red (AWS docs:
    # S3 API reference, GetObject, "Permissions"). Overwriting requires the permission to write.
    follows = failures.get(second) is None or failures[second].is_about_rights
    common: dict[tuple[int, Permission], set[bool]] = {slot: set() for slot in slots}
    fits = False
    for tested in _subsets(indexes):
        for values in product(*([seen[slot]] if slot in seen else [True, False] for slot in slots)):
            world = dict(zip(slots, values, strict=True))
            if not _shows(first, world, tested, green, suspects, datasources, failures, follows=()):
                continue
            after = (first,) if follows else ()
            if not _shows(second, world, tested, green, suspects, datasources, failures, follows=after):
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
    green: Collection[Permission],
    suspects: Mapping[Permission, frozenset[int]],
    datasources: Sequence[Target],
    failures: Mapping[Permission, Failure],
    *,
    follows: tuple[Permission, ...],
) -> bool:
    """Whether the light matches the assumption that these datasources were tested, with these grants."""
    if permission in green:
        return all(world[index, permission] for index in tested)
    possible = suspects.get(permission, frozenset(range(len(datasources))))
    red = {
        index
        for index in tested & possible
        if not world[index, permission] or any(not world[index, earlier] for earlier in follows)
    }
    if not red:
        return False
    failure = failures.get(permission)
    if failure is None or failure.is_about_rights:
        return True
    # A wrong access or bucket fails wherever it is used.
    alike = {other for index in red for other in possible if _alike(failure, datasources[index], datasources[other])}
    return not any(world[index, permission] for index in alike)


def _alike(failure: Failure, one: Target, other: Target) -> bool:
    if one is other:
        return True
    if failure.cause in _OF_BUCKET:
        return (one.location.bucket, one.region) == (other.location.bucket, other.region)
    return failure.cause in _OF_KEYS | _OF_ROLE and one.access == other.access


def _subsets(indexes: range) -> Iterator[frozenset[int]]:
    for size in range(1, len(indexes) + 1):
        yield from map(frozenset, combinations(indexes, size))


def _suspects(failure: Failure, datasources: Sequence[Target], reachable: Collection[int]) -> frozenset[int]:
    """Return the datasources to which a red light's text may apply; all if it names none."""
    everybody = frozenset(range(len(datasources)))
    found = frozenset(
        index
        for index, datasource in enumerate(datasources)
        if _may_be_about(failure, datasource) and not (failure.cause in _OF_KEYS | _OF_ROLE and index in reachable)
    )
    return found or everybody


def _may_be_about(failure: Failure, datasource: Target) -> bool:
    if failure.cause in _OF_KEYS and datasource.role_arn:
        return False
    if failure.cause in _OF_ROLE and not datasource.role_arn:
        return False
    if failure.principal and failure.action != "sts:AssumeRole" and not _is_principal(failure.principal, datasource):
        return False
    return not failure.resource or _holds(datasource, failure.resource)


def _is_principal(arn: str, datasource: Target) -> bool:
    session = re.fullmatch(r"arn:[\w-]+:sts::(\d+):assumed-role/([^/]+)(?:/.*)?", arn)
    if session:
        role = datasource.role_arn or ""
        return role.split(":")[4:5] == [session[1]] and role.rpartition("/")[2] == session[2]
    if datasource.role_arn:
        return False
    return datasource.principal_arn in (None, arn)


def _holds(datasource: Target, resource: str) -> bool:
    if ":role/" in resource:
        return datasource.role_arn == resource
    bucket = re.fullmatch(r"arn:[\w-]+:s3:::([^/]+)(?:/(.*))?", resource)
    if bucket is None:
        return True
    if bucket[1] != datasource.location.bucket:
        return False
    return bucket[2] is None or bucket[2].startswith(datasource.location.prefix)
