"""
What a new secret needs next: decided from what is there, so that a crash at any point is followed by the right step.

Pure. The place where the secret is kept says which secret is the present one, and which one it replaces as long as that
is not taken away. So there are three situations: nothing replaced is left (a rotation begins), what is replaced is
there still (a rotation goes on), or the kept secret is of no use (a new one is made).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightly_provider.exceptions import LightlyAccessError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from lightly_provider.access.principals import Key


class TwoKeysError(LightlyAccessError):
    """A user has as many access keys as AWS allows, and none of them may go."""


# AWS docs: IAM and STS quotas: "Access keys assigned to an IAM user: 2".
_MAX_KEYS = 2


@dataclass(frozen=True, kw_only=True)
class KeyPlan:
    """
    What to do about a user's keys.

    :param create: Whether a new key is made and kept.
    :param delete_first: Keys to delete before that, as AWS allows two: nobody has their secret.
    :param replaced: Keys whose datasources move to the kept key, and which are deleted after that.
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
    Decide what a user's keys need.

    :param user_name: The user, for the message.
    :param keys: Its keys in IAM, oldest first.
    :param kept: Id of the key whose secret is kept; None if none is.
    :param replaces: Id of the key that the kept one replaces; None if it replaces none.
    :param in_use: Ids of keys that datasources have.
    :param rotate: Whether the key is to be replaced.
    :raises LightlyAccessError: There are two keys, and both may be in use by somebody.
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
        # Without rotate nobody has asked the platform which keys are in use, and AWS's own record comes late (AWS
        # docs: IAM, "GetAccessKeyLastUsed").
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
    What to do about a role's external ID. Its texts are secrets.

    :param present: The one to keep and to hand to the platform; None: a new one is made.
    :param replaced: Those that the trust policy takes until all datasources have the present one.
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
    Decide which external ID a role is to have.

    :param role_name: The role, for the message.
    :param trusted: Those that its trust policy takes; none if there is no role yet.
    :param kept: The one that is kept; None if none is.
    :param replaces: The one that the kept one replaces; None if it replaces none.
    :param given: The one that the user chose; None: any.
    :param rotate: Whether it is to be replaced.
    :raises LightlyAccessError: The role has another one than the given, and ``rotate`` is False.
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
        # Begun already: the new one is the kept one if it says so, and else the one that is not kept yet.
        new = kept if kept in trusted and replaces in trusted else next((one for one in trusted if one != kept), None)
        return ExternalIdPlan(present=new, replaced=tuple(one for one in trusted if one != new))
    if given in trusted:
        return ExternalIdPlan(present=given)
    return ExternalIdPlan(present=given, replaced=tuple(trusted))
