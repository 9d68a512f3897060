"""
Access created, kept and deleted: the role or user in IAM, and its secret in the place where it is kept.

A new secret is kept before anything uses it, and a change is waited for until AWS shows it. Of two tasks that create
the same at once, one wins in IAM and in that place, and the other looks again and adopts what is there.
"""

from __future__ import annotations

import json
import logging
import random
import secrets
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lightly_provider.access.kept import KeptAccess, mask
from lightly_provider.access.plans import TwoKeysError, plan_external_id, plan_keys
from lightly_provider.access.principals import IamPrincipals, OvertakenError, PrincipalKind
from lightly_provider.access.propagation import may_be_on_its_way, wait_until
from lightly_provider.aws.policies import EXTERNAL_ID_BYTES, trust_policy
from lightly_provider.aws.policy_documents import external_ids, same_meaning
from lightly_provider.exceptions import LightlyAccessError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lightly_provider.access.principals import Found, Wanted
    from lightly_provider.access.stores import AccessStore
    from lightly_provider.aws.location import S3Location

log = logging.getLogger(__name__)

_ATTEMPTS, _PAUSE_S = 6, 0.5


def wait_for_role(roles: IamPrincipals, wanted: Wanted, *, timeout: float) -> None:
    """
    Wait until IAM shows the role as it was set.

    :param roles: IAM.
    :param wanted: The role.
    :param timeout: Longest wait, in seconds; 0 looks once.
    :raises LightlyAccessError: It does not show it in time.
    """

    def missing() -> str | None:
        policy = roles.policy(wanted.name) if roles.find(wanted.name) else None
        return None if policy and same_meaning(policy, wanted.policy) else "IAM does not show the role as it was set"

    fault, waited = wait_until(missing, timeout=timeout)
    if fault:
        raise LightlyAccessError(f"After {waited:.0f} s, {fault} ({wanted.name!r}); run the task again.")


def wait_for_user(access: KeptAccess, locations: Sequence[S3Location], *, timeout: float) -> None:
    """
    Wait until the user's keys can list every location.

    :param access: The user's keys.
    :param locations: The locations.
    :param timeout: Longest wait, in seconds; 0 looks once.
    :raises LightlyAccessError: They cannot in time, or are denied for good.
    """
    from botocore.exceptions import ClientError

    from lightly_provider.hooks.aws import QUICK, AwsConnection, Identity

    connection = AwsConnection("the new access", fields=json.loads(access.as_json()))
    s3 = connection.client("s3", identity=Identity.KEYS, config=QUICK)

    def missing() -> str | None:
        for location in locations:
            try:
                s3.list_objects_v2(Bucket=location.bucket, Prefix=location.prefix, MaxKeys=1)
            except ClientError as error:
                answer = error.response["Error"]
                code, text = str(answer.get("Code")), str(answer.get("Message"))
                if not may_be_on_its_way(code, text):
                    raise LightlyAccessError(
                        f"The new user cannot list {location}: {code}: {text}. Waiting does not help; check the "
                        "bucket's name and its bucket policy, and run the task again."
                    ) from None
                return f"list in {location} is denied ({code}: {text})"
        return None

    fault, waited = wait_until(missing, timeout=timeout)
    if fault:
        raise LightlyAccessError(
            f"After {waited:.0f} s, {fault}; it may still be on its way: run the task again, or raise "
            "propagation_timeout. If it stays so, the bucket's own policy or a permissions boundary denies it."
        )
    log.info("The keys have taken effect after %.0f s.", waited)


@dataclass(frozen=True, kw_only=True)
class AccessOutcome:
    """
    What creating an access came to. No secret is in it.

    :param arn: The role or user.
    :param conn_id: Where the rest is kept, as ``datasource_aws_conn_id`` takes it.
    :param changed: What was changed; empty if all was up to date.
    """

    arn: str
    conn_id: str
    changed: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The outcome in JSON's own types, for XCom."""
        return {"arn": self.arn, "conn_id": self.conn_id, "changed": list(self.changed)}


@dataclass(frozen=True, kw_only=True)
class AccessProvisioning:
    """
    Creates and deletes accesses.

    :param iam: boto3's client for IAM.
    :param store: Where the secret is kept.
    :param endpoint: Where the AWS is, for the connection that is kept.
    :param timeout: Seconds that a change may take until it has effect; 0 looks once.
    """

    iam: Any
    store: AccessStore
    endpoint: Mapping[str, Any]
    timeout: float

    # --- role ----------------------------------------------------------------------------------------------------

    def create_role(self, wanted: Wanted, external_id: str | None = None) -> AccessOutcome:
        """
        Find or create the role, and keep its ARN and external ID.

        :param wanted: The role.
        :param external_id: The external ID; None: the one that it has, or a new one.
        """
        return _until_not_overtaken(lambda: self._create_role(wanted, external_id))

    def _create_role(self, wanted: Wanted, external_id: str | None) -> AccessOutcome:
        roles = IamPrincipals(self.iam, PrincipalKind.ROLE)
        found, there = self._present(roles, wanted, PrincipalKind.ROLE)
        # Somebody else's is to be replaced, and its secret means nothing here.
        kept = there if there and there.is_of(_whose(found, wanted, PrincipalKind.ROLE)) else None
        trusted = external_ids(found.trust or {}) if found else []
        for secret in trusted:
            mask(secret)
        plan = plan_external_id(
            wanted.name,
            trusted,
            kept=kept.external_id if kept else None,
            replaces=kept.replaces if kept else None,
            given=external_id,
        )
        present = plan.present or secrets.token_urlsafe(EXTERNAL_ID_BYTES)
        mask(present)
        role, changed = roles.ensure(wanted, found, trust=trust_policy([present, *plan.replaced]))
        access = KeptAccess(
            principal_arn=role.arn,
            role_arn=role.arn,
            external_id=present,
            replaces=kept.replaces if kept and kept.replaces in plan.replaced else None,
            endpoint=self.endpoint,
        )
        changed += self._keep(access, there, wanted)
        if changed:
            wait_for_role(roles, wanted, timeout=self.timeout)
            # Where the trust policy had no external ID, two tasks may have set one each.
            now = roles.find(wanted.name)
            if now and present not in external_ids(now.trust or {}):
                raise OvertakenError(
                    f"Another task changes the trust policy of the role {wanted.name!r} at the same time; run the task "
                    "again."
                )
        if plan.replaced:
            log.warning(
                "A rotation of the role's external ID is not finished; run RotateLightlyAccessOperator to finish it."
            )
        return self._outcome(role.arn, changed)

    # --- user ----------------------------------------------------------------------------------------------------

    def create_user(self, wanted: Wanted, locations: Sequence[S3Location]) -> AccessOutcome:
        """
        Find or create the user, and keep the keys of it.

        :param wanted: The user.
        :param locations: What it must be able to list, to know that the keys have effect.
        """
        return _until_not_overtaken(lambda: self._create_user(wanted, locations))

    def _create_user(self, wanted: Wanted, locations: Sequence[S3Location]) -> AccessOutcome:
        users = IamPrincipals(self.iam, PrincipalKind.USER)
        found, there = self._present(users, wanted, PrincipalKind.USER)
        kept = there if there and there.is_of(_whose(found, wanted, PrincipalKind.USER)) else None
        user, changed = users.ensure(wanted, found)
        keys = users.keys(wanted.name)
        plan = plan_keys(
            wanted.name,
            keys,
            kept=kept.access_key_id if kept and kept.secret_access_key else None,
            replaces=kept.replaces if kept else None,
        )
        for key_id in plan.delete_first:
            log.info("Deleting the access key %s, whose secret nobody has.", key_id)
            users.delete_key(wanted.name, key_id)
        if plan.create or kept is None:
            fresh = KeptAccess(principal_arn=user.arn, endpoint=self.endpoint)
            access = new_key(users, wanted.name, self.store, fresh, seen=there, allow_unmanaged=wanted.allow_unmanaged)
            changed += ("access key", "kept access")
        else:
            access = replace(kept, principal_arn=user.arn, endpoint=self.endpoint)
            changed += self._keep(access, there, wanted)
        if changed:
            wait_for_user(access, locations, timeout=self.timeout)
        if access.replaces and any(key.key_id == access.replaces for key in keys):
            log.warning(
                "A rotation of the user's access key is not finished; run RotateLightlyAccessOperator to finish it."
            )
        return self._outcome(user.arn, changed)

    # --- both ----------------------------------------------------------------------------------------------------

    def _present(
        self, principals: IamPrincipals, wanted: Wanted, kind: PrincipalKind
    ) -> tuple[Found | None, KeptAccess | None]:
        """What is there already; refused before anything is changed, if it is another's."""
        found = principals.find(wanted.name)
        if found:
            principals.check_ownership(wanted.name, found, allow_unmanaged=wanted.allow_unmanaged)
        there = self.store.read()
        if there:
            whose = _whose(found, wanted, kind)
            self.store.check_ownership(there.mask(), whose, allow_unmanaged=wanted.allow_unmanaged)
        return found, there

    def _keep(self, access: KeptAccess, seen: KeptAccess | None, wanted: Wanted) -> tuple[str, ...]:
        kept = self.store.keep(access, seen=seen, allow_unmanaged=wanted.allow_unmanaged)
        return ("kept access",) if kept else ()

    def _outcome(self, arn: str, changed: Sequence[str]) -> AccessOutcome:
        return AccessOutcome(arn=arn, conn_id=self.store.conn_id, changed=tuple(changed))

    def delete(self, kind: PrincipalKind, name: str, *, allow_unmanaged: bool = False) -> tuple[str, ...]:
        """
        Delete the role or user, and what is kept of it; what is gone already is passed over.

        :param kind: Which of the two.
        :param name: Its name.
        :param allow_unmanaged: Whether what this provider did not make may go too.
        :return: What was there.
        """
        principals = IamPrincipals(self.iam, kind)
        found, kept = principals.find(name), self.store.read()
        gone: list[str] = []
        if kept is not None:
            whose = found.arn if found else _named(kept.mask(), kind, name)
            self.store.check_ownership(kept, whose, allow_unmanaged=allow_unmanaged)
        if principals.delete(name, allow_unmanaged=allow_unmanaged):
            gone.append(str(kind))
        if kept is not None:
            self.store.remove()
            gone.append("kept access")
        return tuple(gone)


def new_key(
    users: IamPrincipals,
    user_name: str,
    store: AccessStore,
    access: KeptAccess,
    *,
    seen: KeptAccess | None,
    allow_unmanaged: bool = False,
) -> KeptAccess:
    """
    Make an access key of a user, and keep it.

    :param users: IAM.
    :param user_name: The user.
    :param store: Where it is kept.
    :param access: What is kept with it: whose it is, what it replaces.
    :param seen: What was kept there until now; None: nothing.
    :param allow_unmanaged: Whether it may replace there what somebody else wrote.
    :return: What is kept now.
    """
    key_id, secret = users.create_key(user_name)
    mask(secret)
    access = replace(access, access_key_id=key_id, secret_access_key=secret)
    try:
        store.keep(access, seen=seen, allow_unmanaged=allow_unmanaged)
    except Exception:
        # Nobody has the secret now, and AWS allows two keys only.
        users.delete_key(user_name, key_id)
        raise
    return access


def _until_not_overtaken(create: Callable[[], AccessOutcome]) -> AccessOutcome:
    """Look again and adopt what is there, where another task creates the same at the same moment."""
    attempt = 0
    while True:
        try:
            outcome = create()
        except (OvertakenError, TwoKeysError) as overtaken:
            attempt += 1
            if attempt >= (_ATTEMPTS if isinstance(overtaken, OvertakenError) else 2):
                raise
            log.info("%s Looking again.", overtaken)
            time.sleep(_PAUSE_S * (attempt + random.random()))  # noqa: S311  (so that two do not meet again)
        else:
            # What the other task changed is on its way too.
            return replace(outcome, changed=(*outcome.changed, "adopted")) if attempt else outcome


def _whose(found: Found | None, wanted: Wanted, kind: PrincipalKind) -> str:
    return found.arn if found else f"{kind}{wanted.path}{wanted.name}"


def _named(kept: KeptAccess, kind: PrincipalKind, name: str) -> str | None:
    """The kept ARN if it is that of this role or user, under whatever path it lay."""
    arn = kept.principal_arn or ""
    return arn if f":{kind}/" in arn and arn.rpartition("/")[2] == name else None
