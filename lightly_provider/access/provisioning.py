"""
Create, store and delete an access: the role or user in IAM, and its secret in the secret store.

A new secret is stored before anything uses it, and each change is waited for until AWS returns it. If two tasks create
the same access at once, one wins in IAM and in the store; the other reads the state again and adopts it.
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
from lightly_provider.access.propagation import may_be_propagating, wait_until
from lightly_provider.aws.policies import EXTERNAL_ID_BYTES, trust_policy
from lightly_provider.aws.policy_documents import external_ids, same_meaning
from lightly_provider.exceptions import LightlyAccessError
from lightly_provider.foreign_text import shown_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lightly_provider.access.principals import Found, Wanted
    from lightly_provider.access.stores import AccessStore
    from lightly_provider.aws.location import S3Location

log = logging.getLogger(__name__)

_ATTEMPTS, _PAUSE_S = 6, 0.5
_COLONS_IN_ARN = 5


def wait_for_role(roles: IamPrincipals, wanted: Wanted, *, timeout: float) -> None:
    """
    Wait until IAM returns the role in its desired state.

    :param roles: Client for the roles.
    :param wanted: Desired state of the role.
    :param timeout: Maximum wait, in seconds; 0 checks once.
    :raises LightlyAccessError: The timeout has passed.
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

    :param access: The user's access keys.
    :param locations: Locations to list.
    :param timeout: Maximum wait, in seconds; 0 checks once.
    :raises LightlyAccessError: The timeout has passed, or waiting cannot remove the denial.
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
                if not may_be_propagating(code, text):
                    raise LightlyAccessError(
                        f"The user's keys cannot list {location}: {code}: {text}. Waiting does not help; check the "
                        "bucket's name and its bucket policy, and run the task again."
                    ) from None
                return f"list in {location} is denied ({code}: {text})"
        return None

    fault, waited = wait_until(missing, timeout=timeout)
    if fault:
        raise LightlyAccessError(
            f"After {waited:.0f} s, {fault}; it may still be propagating: run the task again, or raise "
            "propagation_timeout. If it stays so, the bucket's own policy or a permissions boundary denies it."
        )
    log.info("The keys can list every location (waited %.0f s).", waited)


@dataclass(frozen=True, kw_only=True)
class AccessOutcome:
    """
    The result of creating an access. It contains no secret.

    :param arn: ARN of the role or user.
    :param conn_id: Where the access is stored, as a value for ``datasource_aws_conn_id``.
    :param changed: Names of the changes; empty if everything was up to date.
    """

    arn: str
    conn_id: str
    changed: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the outcome in JSON types, for XCom."""
        return {"arn": self.arn, "conn_id": self.conn_id, "changed": list(self.changed)}


@dataclass(frozen=True, kw_only=True)
class AccessProvisioning:
    """
    Create and delete accesses.

    :param iam: boto3 IAM client.
    :param store: Secret store.
    :param endpoint: AWS endpoint settings for the stored connection.
    :param timeout: Maximum time until a change takes effect, in seconds; 0 checks once.
    :param account: Returns the id of the AWS account of ``iam``.
    """

    iam: Any
    store: AccessStore
    endpoint: Mapping[str, Any]
    timeout: float
    account: Callable[[], str]

    # --- role ----------------------------------------------------------------------------------------------------

    def create_role(self, wanted: Wanted, external_id: str | None = None) -> AccessOutcome:
        """
        Find or create the role, and store its ARN and external ID.

        :param wanted: Desired state of the role.
        :param external_id: External ID. None (default): the existing one, or a new one.
        """
        return _until_not_overtaken(lambda: self._create_role(wanted, external_id))

    def _create_role(self, wanted: Wanted, external_id: str | None) -> AccessOutcome:
        roles = IamPrincipals(self.iam, PrincipalKind.ROLE)
        found, there = self._present(roles, wanted, PrincipalKind.ROLE)
        # The access of another principal is replaced, so its secret is not used.
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
            replaces=_replaced(kept, present, plan.replaced),
            granted_before=kept.granted_before if kept else {},
            endpoint=self.endpoint,
        )
        changed += self._keep(access, there, wanted)
        if changed:
            wait_for_role(roles, wanted, timeout=self.timeout)
            # If the trust policy had no external ID, two tasks may each have set their own.
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
        Find or create the user, and store its access keys.

        :param wanted: Desired state of the user.
        :param locations: Locations that the user must be able to list, which shows that the keys have taken effect.
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
        # Also if nothing changed: an earlier try may have ended before its change took effect.
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
        """Return the existing principal and stored access; refuse those of another owner before any change."""
        found = principals.find(wanted.name)
        if found:
            principals.check_ownership(wanted.name, found, allow_unmanaged=wanted.allow_unmanaged)
        there = self.store.read()
        if there:
            whose = _whose(found, wanted, kind)
            self.store.check_ownership(there.mask(), whose, allow_unmanaged=wanted.allow_unmanaged)
        if there and not found:
            self._check_account(there, kind, wanted.name)
        return found, there

    def _check_account(self, kept: KeptAccess, kind: PrincipalKind, name: str) -> None:
        """Refuse a stored access of another AWS account, in which the role or user may exist."""
        arn = kept.principal_arn or ""
        theirs = arn.split(":")[4] if arn.count(":") >= _COLONS_IN_ARN else ""
        if theirs and theirs != (mine := self.account()):
            raise LightlyAccessError(
                f"There is no {kind} {name!r} in the account {mine} of aws_conn_id, and {self.store.conn_id!r} holds "
                f"the access of {arn}, which is another account's, so nothing was changed; correct aws_conn_id or "
                "access_conn_id."
            )

    def _keep(self, access: KeptAccess, seen: KeptAccess | None, wanted: Wanted) -> tuple[str, ...]:
        kept = self.store.keep(access, seen=seen, allow_unmanaged=wanted.allow_unmanaged)
        return ("kept access",) if kept else ()

    def _outcome(self, arn: str, changed: Sequence[str]) -> AccessOutcome:
        return AccessOutcome(arn=arn, conn_id=self.store.conn_id, changed=tuple(changed))

    def delete(self, kind: PrincipalKind, name: str, *, allow_unmanaged: bool = False) -> tuple[str, ...]:
        """
        Delete the role or user and its stored access; what no longer exists is skipped.

        :param kind: Role or user.
        :param name: Name of the role or user.
        :param allow_unmanaged: Whether to delete what this provider does not manage. Default: False.
        :return: What was deleted.
        """
        principals = IamPrincipals(self.iam, kind)
        found, kept = principals.find(name), self.store.read()
        gone: list[str] = []
        if kept is not None:
            whose = found.arn if found else _named(kept.mask(), kind, name)
            self.store.check_ownership(kept, whose, allow_unmanaged=allow_unmanaged)
            if not found:
                self._check_account(kept, kind, name)
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
    Create an access key of a user, and store it.

    :param users: Client for the users.
    :param user_name: Name of the user.
    :param store: Secret store.
    :param access: What to store with the key: its owner, and the key that it replaces.
    :param seen: The access that the caller read from the store; None if there was none.
    :param allow_unmanaged: Whether to replace an access of another owner in the store. Default: False.
    :return: The stored access.
    """
    key_id, secret = users.create_key(user_name)
    mask(secret)
    access = replace(access, access_key_id=key_id, secret_access_key=secret)
    try:
        store.keep(access, seen=seen, allow_unmanaged=allow_unmanaged)
    except BaseException:
        # A timeout or kill of the task ends here, too. A key whose secret is lost takes one of AWS's two places.
        if not _may_hold(store, key_id):
            users.delete_key(user_name, key_id)
        raise
    return access


def _may_hold(store: AccessStore, key_id: str) -> bool:
    def held() -> str | None:
        kept = store.read()
        return "held" if kept and kept.access_key_id == key_id else None

    try:
        # For a moment, a read may return the previous value (AWS docs: SSM, "PutParameter").
        fault, _ = wait_until(held, timeout=_PAUSE_S)
    except Exception as error:  # noqa: BLE001 - then it is not known
        log.warning("The access key %s stays, as %r cannot be read: %s", key_id, store.conn_id, shown_error(error))
        return True
    return fault is not None


def _until_not_overtaken(create: Callable[[], AccessOutcome]) -> AccessOutcome:
    """Create an access; if another task creates it at the same time, read the state again and adopt it."""
    attempt = 0
    while True:
        try:
            outcome = create()
        except (OvertakenError, TwoKeysError) as overtaken:
            attempt += 1
            if attempt >= (_ATTEMPTS if isinstance(overtaken, OvertakenError) else 2):
                raise
            log.info("%s Looking again.", overtaken)
            time.sleep(_PAUSE_S * (attempt + random.random()))  # noqa: S311  (jitter: do not collide again)
        else:
            # The other task's changes must propagate, too.
            return replace(outcome, changed=(*outcome.changed, "adopted")) if attempt else outcome


def _replaced(kept: KeptAccess | None, present: str, others: Sequence[str]) -> str | None:
    """Return the external ID that the present one replaces, also if what was kept about a rotation was lost."""
    if kept is None or kept.external_id not in (present, *others):
        return (*others, None)[0]
    return kept.replaces if kept.replaces in others else None


def _whose(found: Found | None, wanted: Wanted, kind: PrincipalKind) -> str:
    return found.arn if found else f"{kind}{wanted.path}{wanted.name}"


def _named(kept: KeptAccess, kind: PrincipalKind, name: str) -> str | None:
    """Return the stored ARN if it is that of this role or user, under any path."""
    arn = kept.principal_arn or ""
    return arn if f":{kind}/" in arn and arn.rpartition("/")[2] == name else None
