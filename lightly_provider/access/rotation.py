"""
Rotate the secret of a role or user: store a new one, set it on the datasources, verify it, and delete the old one.

Secrets in use stay valid at all times: a new secret is stored before anything uses it, and an old one is deleted only
when no datasource and no active run uses it, and every moved dataset was verified with the new one in the same try.
"""

from __future__ import annotations

import json
import logging
import secrets
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from lightly_provider.access.datasource_secrets import runs_in_words
from lightly_provider.access.kept import OTHERS, mask, note_of
from lightly_provider.access.plans import plan_external_id, plan_keys
from lightly_provider.access.principals import IamPrincipals, PrincipalKind
from lightly_provider.access.propagation import may_be_propagating, wait_until
from lightly_provider.access.provisioning import new_key
from lightly_provider.aws.credentials import DelegatedAccess, UserAccess
from lightly_provider.aws.policies import EXTERNAL_ID_BYTES, PURPOSE_PERMISSIONS, trust_policy
from lightly_provider.aws.policy_documents import external_ids, same_meaning
from lightly_provider.contract import Permission, Purpose
from lightly_provider.exceptions import LightlyAccessError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lightly_provider.access.datasource_secrets import DatasourceSecrets
    from lightly_provider.access.kept import KeptAccess
    from lightly_provider.access.principals import Found
    from lightly_provider.access.stores import AccessStore
    from lightly_provider.api.models.datasource import Datasource
    from lightly_provider.aws.policies import PolicyDocument

log = logging.getLogger(__name__)

# Placeholder for a replaced external ID, which is a secret.
_EXTERNAL_ID = "external ID"
# What a datasource is always required to be granted, whatever is known of it.
_LEAST = frozenset({Permission.LIST})


@dataclass(frozen=True, kw_only=True)
class RotationOutcome:
    """
    The result of a rotation. It contains no secret.

    :param arn: ARN of the role or user.
    :param conn_id: Where its secret is stored.
    :param replaced: What was replaced: access key ids, or ``external ID``.
    :param moved: Ids of the datasets whose datasources got the new secret.
    :param to_delete: Replaced secrets that are still valid, because something uses them.
    :param used_by: Ids of the datasets that were not moved and still use the old secret.
    :param active_runs: Ids of the active runs that started with the old secret, by dataset.
    """

    arn: str
    conn_id: str
    replaced: tuple[str, ...]
    moved: tuple[str, ...] = ()
    to_delete: tuple[str, ...] = ()
    used_by: tuple[str, ...] = ()
    active_runs: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the outcome in JSON types, for XCom."""
        return {
            "arn": self.arn,
            "conn_id": self.conn_id,
            "replaced": list(self.replaced),
            "moved": list(self.moved),
            "to_delete": list(self.to_delete),
            "used_by": list(self.used_by),
            "active_runs": {dataset_id: list(ids) for dataset_id, ids in self.active_runs.items()},
        }


@dataclass(frozen=True, kw_only=True)
class AccessRotation:
    """
    Rotate the secrets of accesses that this provider created.

    :param iam: boto3 IAM client.
    :param store: Secret store.
    :param datasources: Datasources to move.
    :param timeout: Maximum time until a change takes effect, in seconds; 0 checks once.
    :param grace: Maximum wait for runs that started with the old access key, in seconds; 0 (default) checks once.
    """

    iam: Any
    store: AccessStore
    datasources: DatasourceSecrets
    timeout: float
    grace: float = 0

    def rotate_role(self, name: str, external_id: str | None = None) -> RotationOutcome:
        """
        Replace the external ID of a role.

        Does not wait for runs: a session that was assumed with the old external ID stays valid until it expires.

        :param name: Name of the role.
        :param external_id: New external ID. None (default): a random one.
        """
        roles = IamPrincipals(self.iam, PrincipalKind.ROLE)
        role, kept = self._present(roles, PrincipalKind.ROLE, name)
        trusted = external_ids(role.trust or {})
        for secret in trusted:
            mask(secret)
        plan = plan_external_id(
            name, trusted, kept=kept.external_id, replaces=kept.replaces, given=external_id, rotate=True
        )
        present = plan.present or secrets.token_urlsafe(EXTERNAL_ID_BYTES)
        mask(present)
        outcome = RotationOutcome(
            arn=role.arn, conn_id=self.store.conn_id, replaced=(_EXTERNAL_ID,) * bool(plan.replaced)
        )

        def uses_old(datasource: Datasource) -> bool:
            return datasource.s3_arn == role.arn and datasource.s3_external_id != present

        # Read before any change, so that an unreadable dataset stops the rotation here.
        using = self.datasources.find(lambda datasource: datasource.s3_arn == role.arn)
        self.datasources.check_named(using)
        # As long as an old secret is to be deleted, what an earlier try has moved is verified again.
        to_move = self._to_move(using, uses_old, verify_all=bool(plan.replaced))
        tried = kept if kept.external_id == present and kept.replaces in plan.replaced else None
        required, before = self._required(using, to_move, lambda one: one.s3_external_id in plan.replaced, tried)
        replaces = (*plan.replaced, None)[0]
        access = replace(kept, role_arn=role.arn, external_id=present, replaces=replaces, granted_before=before)
        both = trust_policy([present, *plan.replaced])
        if not same_meaning(role.trust or {}, both):
            roles.set_trust(name, both)
        self.store.keep(access, seen=kept)
        self._wait_for_trust(roles, name, both)
        moved = self.datasources.move(to_move, DelegatedAccess(role.arn, present), required)
        if not plan.replaced:
            return replace(outcome, moved=tuple(moved))
        left = self.datasources.find(uses_old)
        self._check_late(left, lambda datasource: datasource.s3_external_id in plan.replaced, "external ID")
        # If the platform hides the external ID, the old and the new one cannot be distinguished.
        others = [one for one in left if not self.datasources.is_moved(one)]
        if others:
            log.warning("The old external ID is still valid, as datasets %s may have it.", ", ".join(others))
            return replace(outcome, moved=tuple(moved), to_delete=(_EXTERNAL_ID,), used_by=tuple(others))
        roles.set_trust(name, trust_policy(present))
        self.store.keep(replace(access, replaces=None, granted_before={}), seen=access)
        return replace(outcome, moved=tuple(moved))

    def rotate_user(self, name: str) -> RotationOutcome:
        """
        Replace the access key of a user.

        :param name: Name of the user.
        """
        users = IamPrincipals(self.iam, PrincipalKind.USER)
        user, kept = self._present(users, PrincipalKind.USER, name)
        keys = users.keys(name)
        # A datasource may have a key that somebody has deleted in IAM.
        ids = {*(key.key_id for key in keys), kept.access_key_id, kept.replaces} - {None}
        # Read before any change, so that an unreadable dataset stops the rotation here.
        using = self.datasources.find(lambda datasource: datasource.s3_access_key_id in ids)
        self.datasources.check_named(using)
        plan = plan_keys(
            name,
            keys,
            kept=kept.access_key_id if kept.secret_access_key else None,
            replaces=kept.replaces,
            in_use={str(datasource.s3_access_key_id) for found in using.values() for datasource in found},
            rotate=True,
        )
        present = None if plan.create else kept.access_key_id
        to_move = self._to_move(using, lambda one: one.s3_access_key_id != present, verify_all=bool(plan.replaced))
        tried = kept if not plan.create and kept.replaces in plan.replaced else None
        required, before = self._required(using, to_move, lambda one: one.s3_access_key_id in plan.replaced, tried)
        for key_id in plan.delete_first:
            log.info("Deleting the access key %s, whose secret nobody has.", key_id)
            users.delete_key(name, key_id)
        access = replace(kept, principal_arn=user.arn, replaces=(*plan.replaced, None)[0], granted_before=before)
        if plan.create:
            access = new_key(users, name, self.store, access, seen=kept)
        else:
            self.store.keep(access, seen=kept)
        self._wait_for_key(access)
        moved = self.datasources.move(
            to_move, UserAccess(access.access_key_id or "", access.secret_access_key or ""), required
        )
        outcome = RotationOutcome(arn=user.arn, conn_id=self.store.conn_id, replaced=plan.replaced, moved=tuple(moved))
        if not plan.replaced:
            return outcome
        runs = self.datasources.wait_for_runs(list(using), self.grace)
        left = self.datasources.find(lambda datasource: datasource.s3_access_key_id in plan.replaced)
        self._check_late(left, lambda _: True, "access key")
        if runs or left:
            outcome = replace(outcome, used_by=tuple(left), active_runs=runs)
            return self._not_deleted(outcome, access, is_new=plan.create)
        for key_id in plan.replaced:
            log.info("Deleting the access key %s, which is replaced.", key_id)
            users.delete_key(name, key_id)
        self.store.keep(replace(access, replaces=None, granted_before={}), seen=access)
        return outcome

    def _to_move(
        self, using: Mapping[str, Sequence[Datasource]], uses_old: Callable[[Datasource], bool], *, verify_all: bool
    ) -> dict[str, list[Datasource]]:
        """Return the datasources to set, by dataset; with ``verify_all`` also the datasets that need no setting."""
        old = {one: list(filter(uses_old, found)) for one, found in using.items() if self.datasources.is_moved(one)}
        return {one: found for one, found in old.items() if found or verify_all}

    def _required(
        self,
        using: Mapping[str, Sequence[Datasource]],
        to_move: Mapping[str, Sequence[Datasource]],
        has_old: Callable[[Datasource], bool],
        tried: KeptAccess | None,
    ) -> tuple[dict[str, frozenset[Permission]], dict[str, frozenset[Permission]]]:
        """
        Return what each dataset must be granted with the new secret, and what to note of what they had before.

        :param using: The datasources that use the access, by dataset.
        :param to_move: The datasources to set, by dataset; a dataset without any is only verified.
        :param has_old: Returns whether a datasource has an old secret; False if the platform hides it.
        :param tried: The stored access, if an earlier try may have set it on datasources; else None.
        """
        required: dict[str, frozenset[Permission]] = {}
        before = dict(tried.granted_before if tried else {})
        for dataset_id, to_set in to_move.items():
            found, noted = using[dataset_id], before.get(dataset_id, before.get(OTHERS))
            is_unchanged = tried is None or all(map(has_old, found))
            if noted is None or is_unchanged:
                granted = self.datasources.granted(dataset_id)
                if to_set:
                    before[dataset_id] = granted
                if not is_unchanged:
                    # Another task gave it the new secret, or an earlier version of the provider did, which noted
                    # nothing: only a new secret that cannot even list is seen to be broken.
                    granted |= _LEAST
            else:
                # The platform's present answer may be what the new secret has broken.
                granted = noted.intersection(chain(*(PURPOSE_PERMISSIONS[Purpose(one.purpose)] for one in found)))
            required[dataset_id] = granted or _LEAST
        return required, note_of(before)

    def _check_late(
        self, left: Mapping[str, Sequence[Datasource]], has_old: Callable[[Datasource], bool], secret: str
    ) -> None:
        late = [one for one, found in left.items() if self.datasources.is_moved(one) and any(map(has_old, found))]
        if late:
            raise LightlyAccessError(
                f"The datasources of {', '.join(sorted(late))} still or again have the old {secret}, so it is kept; "
                "run the task again when nothing else configures them."
            )

    def _not_deleted(self, outcome: RotationOutcome, access: KeptAccess, *, is_new: bool) -> RotationOutcome:
        old = " and ".join(outcome.replaced)
        uses = [f"the datasources of {', '.join(outcome.used_by)}"] if outcome.used_by else []
        uses += [runs_in_words(outcome.active_runs)] if outcome.active_runs else []
        by = " and by ".join(uses)
        if not is_new:
            raise LightlyAccessError(
                f"Both access keys of {outcome.arn} are in use: {access.access_key_id} is the kept one, and {old} is "
                f"used by {by}. AWS allows no third key; run the task again when nothing uses the old one, or with a "
                "longer grace."
            )
        log.warning(
            "The access key %s is still to be deleted, as it is used by %s; the next rotation deletes it.", old, by
        )
        return replace(outcome, to_delete=outcome.replaced)

    def _present(self, principals: IamPrincipals, kind: PrincipalKind, name: str) -> tuple[Found, KeptAccess]:
        """Return the existing principal and stored access; refuse missing or foreign ones before any change."""
        found = principals.find(name)
        if found is None:
            raise LightlyAccessError(f"There is no {kind} {name!r} to rotate; create it first, or correct its name.")
        principals.check_ownership(name, found, allow_unmanaged=False)
        kept = self.store.read()
        if kept is None:
            raise LightlyAccessError(
                f"Nothing is kept in {self.store.conn_id!r}; run the operator that creates the {kind} {name!r} first, "
                "or correct access_conn_id."
            )
        self.store.check_ownership(kept.mask(), found.arn, allow_unmanaged=False)
        return found, kept

    def _wait_for_trust(self, roles: IamPrincipals, name: str, trust: PolicyDocument) -> None:
        def missing() -> str | None:
            found = roles.find(name)
            return (
                None
                if found and same_meaning(found.trust or {}, trust)
                else "IAM does not show the trust policy as set"
            )

        fault, waited = wait_until(missing, timeout=self.timeout)
        if fault:
            raise LightlyAccessError(f"After {waited:.0f} s, {fault} ({name!r}); run the task again.")

    def _wait_for_key(self, access: KeptAccess) -> None:
        """Wait until AWS accepts the key. The platform verifies its permissions on each dataset."""
        from botocore.exceptions import ClientError

        from lightly_provider.hooks.aws import QUICK, AwsConnection, Identity

        connection = AwsConnection(self.store.conn_id, fields=json.loads(access.as_json()))
        sts = connection.client("sts", identity=Identity.KEYS, config=QUICK)

        def missing() -> str | None:
            try:
                sts.get_caller_identity()
            except ClientError as error:
                answer = error.response["Error"]
                code, text = str(answer.get("Code")), str(answer.get("Message"))
                if not may_be_propagating(code, text):
                    raise
                return f"AWS does not know the access key {access.access_key_id} ({code}: {text})"
            return None

        fault, waited = wait_until(missing, timeout=self.timeout)
        if fault:
            raise LightlyAccessError(
                f"After {waited:.0f} s, {fault}; it may still be propagating: run the task again, or raise "
                "propagation_timeout."
            )
