"""
Access from end to end: the role or user in IAM, its secret in the place where it is kept, and both changed together.

The order of the steps keeps whatever is in use valid at every moment: a new secret is kept before anything uses it, an
old one is deleted only when nothing uses it any more, and a change is waited for until AWS shows it.
"""

from __future__ import annotations

import json
import logging
import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lightly_provider.access.kept import KeptAccess
from lightly_provider.access.principals import IamPrincipals, PrincipalKind
from lightly_provider.access.propagation import may_be_on_its_way, wait_until
from lightly_provider.access.rotation import plan_external_id, plan_keys
from lightly_provider.aws.credentials import DelegatedAccess, UserAccess
from lightly_provider.aws.policies import EXTERNAL_ID_BYTES, trust_policy
from lightly_provider.aws.policy_documents import external_ids, same_meaning
from lightly_provider.exceptions import LightlyAccessError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lightly_provider.access.datasource_secrets import DatasourceSecrets
    from lightly_provider.access.principals import Wanted
    from lightly_provider.access.stores import AccessStore
    from lightly_provider.api.models.datasource import Datasource
    from lightly_provider.aws.location import S3Location

log = logging.getLogger(__name__)


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
                told = error.response["Error"]
                code, text = str(told.get("Code")), str(told.get("Message"))
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
    :param changed: What was changed; empty if all was so.
    :param rotated_datasets: Ids of the datasets whose datasources have a new secret.
    """

    arn: str
    conn_id: str
    changed: tuple[str, ...]
    rotated_datasets: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The outcome in JSON's own types, for XCom."""
        return {
            "arn": self.arn,
            "conn_id": self.conn_id,
            "changed": list(self.changed),
            "rotated_datasets": list(self.rotated_datasets),
        }


@dataclass(frozen=True, kw_only=True)
class AccessProvisioning:
    """
    Creates, rotates and deletes accesses.

    :param iam: boto3's client for IAM.
    :param store: Where the secret is kept.
    :param endpoint: Where the AWS is, for the connection that is kept.
    :param timeout: Seconds that a change may take until it has effect; 0 looks once.
    :param datasources: The datasources to move when a secret is rotated; None: no rotation.
    """

    iam: Any
    store: AccessStore
    endpoint: Mapping[str, Any]
    timeout: float
    datasources: DatasourceSecrets | None = None

    # --- role ----------------------------------------------------------------------------------------------------

    def create_role(self, wanted: Wanted, external_id: str | None = None) -> AccessOutcome:
        """
        Find or create the role, and keep its ARN and external ID.

        :param wanted: The role.
        :param external_id: The external ID; None: the one that it has, or a new one.
        """
        roles = IamPrincipals(self.iam, PrincipalKind.ROLE)
        found, kept = self._present(roles, wanted, PrincipalKind.ROLE)
        trusted = external_ids(found.trust or {}) if found else []
        for secret in trusted:
            _mask(secret)
        rotate = self.datasources is not None
        plan = plan_external_id(
            wanted.name,
            trusted,
            kept=kept.external_id if kept else None,
            replaces=kept.replaces if kept else None,
            given=external_id,
            rotate=rotate,
        )
        present = plan.present or secrets.token_urlsafe(EXTERNAL_ID_BYTES)
        _mask(present)
        role, changed = roles.ensure(wanted, trust=trust_policy([present, *plan.replaced]))
        replaces = plan.replaced[0] if rotate and plan.replaced else None
        if not rotate and kept and kept.replaces in plan.replaced:
            replaces = kept.replaces
        access = KeptAccess(
            principal_arn=role.arn,
            role_arn=role.arn,
            external_id=present,
            replaces=replaces,
            endpoint=self.endpoint,
        )
        changed += self._keep(access, wanted)
        if changed:
            wait_for_role(roles, wanted, timeout=self.timeout)
        moved: list[str] = []
        if self.datasources is not None and plan.replaced:
            moved = self.datasources.move(
                lambda datasource: _has_another_external_id(datasource, role.arn, present),
                DelegatedAccess(role.arn, present),
            )
            roles.set_trust(wanted.name, trust_policy(present))
            self._keep(replace(access, replaces=None), wanted)
            changed += ("external id",)
        elif plan.replaced:
            log.warning("A rotation of the role's external ID is not finished; run with rotate=True to finish it.")
        return self._outcome(role.arn, changed, moved)

    # --- user ----------------------------------------------------------------------------------------------------

    def create_user(self, wanted: Wanted, locations: Sequence[S3Location]) -> AccessOutcome:
        """
        Find or create the user, and keep the keys of it.

        :param wanted: The user.
        :param locations: What it must be able to list, to know that the keys have effect.
        """
        users = IamPrincipals(self.iam, PrincipalKind.USER)
        _, kept = self._present(users, wanted, PrincipalKind.USER)
        user, changed = users.ensure(wanted)
        plan = plan_keys(
            wanted.name,
            users.keys(wanted.name),
            kept=kept.access_key_id if kept and kept.secret_access_key else None,
            replaces=kept.replaces if kept else None,
            in_use=self.datasources.key_ids() if self.datasources else (),
            rotate=self.datasources is not None,
        )
        for key_id in plan.delete_first:
            log.info("Deleting the access key %s, whose secret nobody has.", key_id)
            users.delete_key(wanted.name, key_id)
        if plan.create or kept is None:
            access, news = self._new_key(users, wanted, user.arn, plan.replaced)
        else:
            access = replace(kept, principal_arn=user.arn, endpoint=self.endpoint)
            news = self._keep(access, wanted)
        changed += news
        if changed or plan.replaced:
            wait_for_user(access, locations, timeout=self.timeout)
        moved: list[str] = []
        if self.datasources is not None and plan.replaced:
            moved = self.datasources.move(
                lambda datasource: datasource.s3_access_key_id in plan.replaced, _user_access(access)
            )
            for key_id in plan.replaced:
                log.info("Deleting the access key %s, which is replaced.", key_id)
                users.delete_key(wanted.name, key_id)
            self._keep(replace(access, replaces=None), wanted)
            changed += ("access key",) if "access key" not in changed else ()
        elif access.replaces and any(key.key_id == access.replaces for key in users.keys(wanted.name)):
            log.warning("A rotation of the user's access key is not finished; run with rotate=True to finish it.")
        return self._outcome(user.arn, changed, moved)

    def _new_key(
        self, users: IamPrincipals, wanted: Wanted, arn: str, replaced: Sequence[str]
    ) -> tuple[KeptAccess, tuple[str, ...]]:
        key_id, secret = users.create_key(wanted.name)
        _mask(secret)
        access = KeptAccess(
            principal_arn=arn,
            access_key_id=key_id,
            secret_access_key=secret,
            replaces=replaced[0] if replaced else None,
            endpoint=self.endpoint,
        )
        try:
            kept = self._keep(access, wanted)
        except Exception:
            # Nobody has the secret now, and AWS allows but two keys.
            users.delete_key(wanted.name, key_id)
            raise
        return access, ("access key", *kept)

    # --- both ----------------------------------------------------------------------------------------------------

    def _present(self, principals: IamPrincipals, wanted: Wanted, kind: PrincipalKind) -> tuple[Any, KeptAccess | None]:
        """What there is already; refused before anything is changed, if it is another's."""
        found = principals.find(wanted.name)
        if found:
            principals.check_ownership(wanted.name, found, allow_unmanaged=wanted.allow_unmanaged)
        kept = self.store.read()
        if kept:
            for secret in kept.secrets:
                _mask(secret)
            whose = found.arn if found else f"{kind}{wanted.path}{wanted.name}"
            self.store.check_ownership(kept, whose, allow_unmanaged=wanted.allow_unmanaged)
            if not kept.is_of(whose):
                kept = None  # Somebody else's, and to be replaced: its secret means nothing here.
        return found, kept

    def _keep(self, access: KeptAccess, wanted: Wanted) -> tuple[str, ...]:
        kept = self.store.keep(access, allow_unmanaged=wanted.allow_unmanaged)
        return ("kept access",) if kept else ()

    def _outcome(self, arn: str, changed: Sequence[str], moved: Sequence[str]) -> AccessOutcome:
        return AccessOutcome(arn=arn, conn_id=self.store.conn_id, changed=tuple(changed), rotated_datasets=tuple(moved))

    def delete(self, kind: PrincipalKind, name: str, *, allow_unmanaged: bool = False) -> tuple[str, ...]:
        """
        Take away the role or user, and what is kept of it; what is gone already is passed over.

        :param kind: Which of the two.
        :param name: Its name.
        :param allow_unmanaged: Whether what this provider did not make may go too.
        :return: What was there.
        """
        principals = IamPrincipals(self.iam, kind)
        found, kept = principals.find(name), self.store.read()
        gone: list[str] = []
        if kept is not None:
            for secret in kept.secrets:
                _mask(secret)
            whose = found.arn if found else _named(kept, kind, name)
            self.store.check_ownership(kept, whose, allow_unmanaged=allow_unmanaged)
        if principals.delete(name, allow_unmanaged=allow_unmanaged):
            gone.append(str(kind))
        if kept is not None:
            self.store.remove()
            gone.append("kept access")
        return tuple(gone)


def _named(kept: KeptAccess, kind: PrincipalKind, name: str) -> str | None:
    """The kept ARN if it is that of this role or user, under whatever path it lay."""
    arn = kept.principal_arn or ""
    return arn if f":{kind}/" in arn and arn.rpartition("/")[2] == name else None


def _has_another_external_id(datasource: Datasource, role_arn: str, external_id: str) -> bool:
    return datasource.s3_arn == role_arn and datasource.s3_external_id != external_id


def _user_access(access: KeptAccess) -> UserAccess:
    return UserAccess(access.access_key_id or "", access.secret_access_key or "")


def _mask(secret: str) -> None:
    from urllib.parse import quote

    from airflow.providers.common.compat.sdk import mask_secret

    mask_secret(secret)
    if quote(secret, safe="") != secret:
        mask_secret(quote(secret, safe=""))
