"""
Decide the next step of creating or rotating a secret from the present state, so that a crash at any point is recovered.

Pure functions. The secret store names the current secret, and the previous one until it is deleted. There are three
cases: no previous secret is left (a rotation starts), a previous secret still exists (a rotation continues), or the
stored secret is unusable (a new one is created).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightly_provider.exceptions import LightlyAccessError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from lightly_provider.access.principals import Key


class TwoKeysError(LightlyAccessError):
    """A user has the maximum number of access keys, and none of them can be deleted safely."""


# AWS docs: IAM and STS quotas: "Access keys assigned to an IAM user: 2".
_MAX_KEYS = 2


@dataclass(frozen=True, kw_only=True)
class KeyPlan:
    """
    The steps for a user's access keys.

    :param create: Whether to create and store a new key.
    :param delete_first: Keys to delete before that, because AWS allows only two. Their secrets are not stored anywhere.
    :param replaced: Keys whose datasources move to the stored key. They are deleted afterwards.
    """

    create: bool
    delete_first: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()


def plan_keys(
    user_name: str,
    keys: Sequence[Key],
    *,
    kept: str | None,
    replaces: str | None,
    in_use: Collection[str] = (),
    rotate: bool = False,
) -> KeyPlan:
    """
    Decide the steps for a user's access keys.

    :param user_name: Name of the user, for the message.
    :param keys: The user's keys in IAM, oldest first.
    :param kept: Id of the key whose secret is stored; None if there is none.
    :param replaces: Id of the key that the stored one replaces; None if it replaces none.
    :param in_use: Ids of the keys that datasources use. Default: none.
    :param rotate: Whether to replace the key. Default: False.
    :raises LightlyAccessError: There are two keys, and both may be in use.
    """
    there = {key.key_id: key for key in keys}
    usable = kept is not None and kept in there and there[kept].active
    others = [key for key in keys if key.key_id != kept]
    if usable and not rotate:
        return KeyPlan(create=False)
    begun = [key.key_id for key in others if key.key_id == replaces or key.key_id in in_use]
    if usable and begun:
        return KeyPlan(create=False, replaced=tuple(begun))
    first: tuple[str, ...] = ()
    if len(keys) >= _MAX_KEYS:
        lost = [key for key in others if key.key_id not in in_use and key.key_id != replaces]
        # Without rotate, the caller has not asked the platform which keys are in use, and AWS's own record is delayed
        # (AWS docs: IAM, "GetAccessKeyLastUsed").
        free = next((key for key in lost if not key.active or (rotate and not key.used)), None)
        if free is None:
            names = " and ".join(key.key_id for key in keys)
            hint = "" if rotate else "run RotateLightlyAccessOperator, which finds the one that no datasource uses, or "
            raise TwoKeysError(
                f"The user {user_name!r} has {_MAX_KEYS} access keys ({names}), which is all that AWS allows, and each "
                f"may be in use; {hint}delete in IAM the one that nobody uses, and run the task again."
            )
        first = (free.key_id,)
    remaining = [key.key_id for key in keys if key.key_id not in first]
    return KeyPlan(create=True, delete_first=first, replaced=tuple(remaining) if rotate else ())


@dataclass(frozen=True, kw_only=True)
class ExternalIdPlan:
    """
    The steps for a role's external ID. Its values are secrets.

    :param present: The external ID to store and to send to the platform; None: create a new one.
    :param replaced: Previous external IDs, which the trust policy accepts until all datasources use the present one.
    """

    present: str | None
    replaced: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return (
            f"ExternalIdPlan({'a new one' if self.present is None else 'a known one'}, {len(self.replaced)} replaced)"
        )


def plan_external_id(
    role_name: str,
    trusted: Sequence[str],
    *,
    kept: str | None,
    replaces: str | None,
    given: str | None,
    rotate: bool = False,
) -> ExternalIdPlan:
    """
    Decide which external ID a role gets.

    :param role_name: Name of the role, for the message.
    :param trusted: External IDs that its trust policy accepts; empty if the role does not exist.
    :param kept: The stored external ID; None if there is none.
    :param replaces: The external ID that the stored one replaces; None if it replaces none.
    :param given: The external ID that the user chose; None: any.
    :param rotate: Whether to replace it. Default: False.
    :raises LightlyAccessError: The role has an external ID other than the given one, and ``rotate`` is False; or the
        rotation that is to be finished began with another new one than the given one.
    """
    if not trusted:
        return ExternalIdPlan(present=given or kept)
    if not rotate:
        if given and given not in trusted:
            raise LightlyAccessError(
                f"The role {role_name!r} has another external ID than the given one, which datasources may use; leave "
                "external_id out to keep it, or change it with RotateLightlyAccessOperator."
            )
        present = given or (kept if kept in trusted else trusted[0])
        return ExternalIdPlan(present=present, replaced=tuple(one for one in trusted if one != present))
    if len(trusted) > 1:
        # The rotation has started: the new one is the stored one if it replaces a trusted one, else the one not stored.
        new = kept if kept in trusted and replaces in trusted else next((one for one in trusted if one != kept), None)
        if given and given != new:
            raise LightlyAccessError(
                f"A rotation of the role {role_name!r} to another external ID than the given one is not finished; run "
                "the task once without external_id, which finishes it, and then with it."
            )
        return ExternalIdPlan(present=new, replaced=tuple(one for one in trusted if one != new))
    if given in trusted:
        return ExternalIdPlan(present=given)
    return ExternalIdPlan(present=given, replaced=tuple(trusted))
