"""Checks the KMS permissions that a caller of S3 needs for objects with a customer managed key.

ministack (1.5.33) stores the name of an object's key, but does not check that it exists and may be used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightly_sandbox.aws.decisions import Guarded, refusal, sentence

if TYPE_CHECKING:
    from collections.abc import Mapping

_NOT_FOUND, _DISABLED, _INVALID_STATE = (
    "KMS.NotFoundException",
    "KMS.DisabledException",
    "KMS.KMSInvalidStateException",
)

# AWS's message for another account's key, which hides whether it exists (AWS docs: KMS, troubleshooting).
_FOREIGN = (
    "because the resource does not exist in this Region, no resource-based policies allow access, or a "
    "resource-based policy explicitly denies access"
)


@dataclass(frozen=True, slots=True)
class Refused:
    """An S3 error that KMS caused."""

    status: int
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Key:
    """A KMS key with its ARN; ``state`` is None if the key does not exist."""

    arn: str
    account: str
    state: str | None
    policy: str


def find(reference: str, account: str, region: str) -> Key | Refused:
    """Return the key that ``reference`` names: an ARN, an id or an alias.

    An id or an alias refers to the caller's ``account`` (AWS docs: S3, PutObject, SSEKMSKeyId); the key is in
    the bucket's ``region``.
    """
    from ministack.services import kms

    resource = reference if reference.startswith("alias/") else f"key/{reference}"
    if reference.startswith("arn:"):
        parts = reference.split(":", 5)
        if len(parts) != 6 or parts[2] != "kms":
            return Refused(400, _NOT_FOUND, f"Invalid arn {reference}")
        _, _, _, key_region, account, resource = parts
        if key_region != region:
            return Refused(400, _NOT_FOUND, f"Invalid arn {key_region}")
    arn = f"arn:aws:kms:{region}:{account}:{resource}"
    key_id = resource.removeprefix("key/")
    if resource.startswith("alias/"):
        key_id = kms._aliases.get_scoped(account, region, arn, "")
        if not key_id:
            return Refused(400, _NOT_FOUND, f"Alias {arn} is not found.")
        arn = f"arn:aws:kms:{region}:{account}:key/{key_id}"
    record = kms._keys.get_scoped(account, region, key_id)
    if record is None:
        return Key(arn, account, None, "")
    return Key(str(record["Arn"]), account, str(record["KeyState"]), str(record.get("Policy") or ""))


def may_use(principal: Any, action: str, key: Key, region: str, object_arn: str) -> Refused | None:
    """Return None if ``principal`` may do ``action`` with the key through S3, for ``object_arn``."""
    if key.state is None:
        if key.account == principal.account:
            return Refused(400, _NOT_FOUND, f"Key '{key.arn}' does not exist")
        return Refused(403, "AccessDenied", sentence(principal, action, key.arn, _FOREIGN))
    reason = refusal(
        principal,
        action,
        Guarded(key.arn, key.account, key.policy, must_be_allowed_by_policy=True),
        region,
        _context(principal, region, object_arn),
    )
    denied = reason is not None and "explicit deny" in reason
    if reason is not None and (denied or not _granted(principal, action, key, region)):
        if key.account != principal.account and "resource-based" in reason:
            reason = _FOREIGN
        return Refused(403, "AccessDenied", sentence(principal, action, key.arn, reason))
    match key.state:
        case "Enabled":
            return None
        case "Disabled":
            return Refused(400, _DISABLED, f"{key.arn} is disabled.")
        case "PendingDeletion" | "PendingReplicaDeletion":
            return Refused(400, _INVALID_STATE, f"{key.arn} is pending deletion.")
        case state:
            return Refused(400, _INVALID_STATE, f"{key.arn} is in the state {state}.")


def _context(principal: Any, region: str, object_arn: str) -> Mapping[str, Any]:
    """Return the condition keys of a request that S3 sends for its caller.

    AWS docs: KMS, "Condition keys for AWS KMS"; S3, "Encryption context".
    """
    return {
        "kms:viaservice": f"s3.{region}.amazonaws.com",
        "kms:calleraccount": principal.account,
        "kms:encryptioncontext:aws:s3:arn": object_arn,
        "kms:encryptioncontextkeys": ["aws:s3:arn"],
    }


def _granted(principal: Any, action: str, key: Key, region: str) -> bool:
    """Whether a grant on the key allows ``action`` to the caller, or to the role of the caller's session."""
    from ministack.core import iam_evaluator
    from ministack.services import kms

    grantees = {principal.arn}
    if ":assumed-role/" in principal.arn:
        role = iam_evaluator._role_name_from_assumed_arn(principal.arn)
        grantees.add(f"arn:aws:iam::{principal.account}:role/{role}")
    operation = action.removeprefix("kms:")
    return any(
        grant["KeyId"] == key.arn
        and grant["GranteePrincipal"] in grantees
        and operation in grant["Operations"]
        for (account, of_region, _), grant in kms._grants._data.items()
        if (account, of_region) == (key.account, region)
    )
