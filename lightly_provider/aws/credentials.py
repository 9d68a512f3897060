"""
How the platform accesses a bucket: with the access keys of an IAM user, or through a role that it assumes.

Pure values and their validation. Airflow connections are read elsewhere and passed in as strings. No message of this
module contains a secret access key, a session token or an external ID.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from lightly_provider.contract import EXTERNAL_ID_PATTERN, KMS_KEY_ARN_PATTERN, ROLE_ARN_PATTERN, SHORTEST_EXTERNAL_ID

# AWS's syntax after "role" and "key" in the platform's patterns (AWS docs: IAM identifiers; ARNs for KMS).
_AFTER_ROLE = r"(?a)/[\w+=,.@/-]+"
_AFTER_KEY = r"/[a-zA-Z0-9-]+"
# AWS docs: IAM identifiers, "Unique ID prefixes"; IAM API reference, "AccessKey": an id has 16 to 128 characters.
# A secret access key has 40 Base64 characters; AWS has never changed that, but does not guarantee it.
_ACCESS_KEY_ID = r"AKIA[A-Z0-9]{12,124}"
_LONG_BASE64 = r"[A-Za-z0-9/+=]{40,128}"

_ASSUMED_ROLE = r"arn:aws:sts::(?P<account>[0-9]{12}):assumed-role/(?P<name>[^/]+)(?:/.*)?"
_KMS_KEY_ID = r"(?:mrk-[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
# AWS docs: IAM identifiers, "Unique ID prefixes": ASIA marks the temporary keys of STS, AKIA those of a user.
_LONG_LIVED_KEY_START, _TEMPORARY_KEY_START = "AKIA", "ASIA"

_LONGEST_EXTERNAL_ID = 1224  # AWS docs: STS API reference, AssumeRole

_ROLE_FORM = "arn:aws:iam::123456789012:role/name"
_KMS_KEY_FORM = "arn:aws:kms:region:123456789012:key/key-id"
_NO_TEMPORARY_KEYS = "the platform has no field for a session token, so it cannot use temporary credentials"


class InvalidAccessError(ValueError):
    """The platform cannot use these credentials, this role or this key."""


@dataclass(frozen=True)
class UserAccess:
    """
    The long-lived keys of an IAM user.

    :param access_key_id: Access key id.
    :param secret_access_key: Secret access key; not part of ``repr`` and :meth:`describe`.
    """

    access_key_id: str
    secret_access_key: str = field(repr=False)

    def describe(self) -> str:
        """Return the access for a log: the method, and enough of the key id to identify it."""
        key = self.access_key_id
        return f"user access with the key {key[:4]}…{key[-4:]}" if len(key) >= 12 else "user access with a key"


@dataclass(frozen=True)
class DelegatedAccess:
    """
    A role that the platform's AWS account can assume.

    :param role_arn: ARN of the role.
    :param external_id: External ID that the role's trust policy requires; not part of ``repr`` and :meth:`describe`.
    """

    role_arn: str
    external_id: str = field(repr=False)

    def describe(self) -> str:
        """Return the access for a log: the method and the role."""
        return f"delegated access through the role {self.role_arn}"


def access_from_aws_connection(
    *,
    conn_id: str,
    access_key_id: str | None,
    secret_access_key: str | None,
    session_token: str | None,
    role_arn: str | None,
    external_id: str | None,
) -> UserAccess | DelegatedAccess:
    """
    Determine the access method from an AWS connection.

    A role with an external ID means delegated access, even if the connection also has keys: Airflow would use them to
    assume the role, and they are not sent. Keys without a role mean user access.

    :param conn_id: Id of the connection, for the messages.
    :param access_key_id: Access key id (login); None if there is none.
    :param secret_access_key: Secret access key (password); None if there is none.
    :param session_token: ``aws_session_token`` of the extra; None if there is none.
    :param role_arn: ``role_arn`` of the extra; None if there is none.
    :param external_id: ``assume_role_kwargs.ExternalId`` of the extra; None if there is none.
    :raises InvalidAccessError: The connection has neither method, an incomplete one, or temporary credentials.
    """
    place = f"AWS connection {conn_id!r}"
    if role_arn:
        if not external_id:
            raise InvalidAccessError(
                f"{place} has a role_arn without an external ID, which the platform requires; put it into "
                'its extra as {"assume_role_kwargs": {"ExternalId": "…"}}.'
            )
        return DelegatedAccess(
            check_role_arn(role_arn, argument=f"role_arn of the {place}"),
            check_external_id(external_id, argument=f"assume_role_kwargs.ExternalId of the {place}"),
        )
    if session_token or (access_key_id or "").startswith(_TEMPORARY_KEY_START):
        what = "a session token" if session_token else f"a temporary key ({_TEMPORARY_KEY_START}…)"
        raise InvalidAccessError(
            f"{place} holds {what}, but {_NO_TEMPORARY_KEYS}; store the keys of an IAM user, or a role_arn "
            "with an external ID."
        )
    if access_key_id and secret_access_key:
        for name, value in (("access key id", access_key_id), ("secret access key", secret_access_key)):
            if value != value.strip():
                raise InvalidAccessError(f"The {name} of {place} begins or ends with a blank; store it without.")
        # Anything else, such as a password for another service, must not be sent. The messages repeat no value.
        if not re.fullmatch(_ACCESS_KEY_ID, access_key_id):
            raise InvalidAccessError(
                f"The login of {place} is not an AWS access key id of an IAM user, which is {_LONG_LIVED_KEY_START} "
                "and 16 letters and digits, so nothing of it is sent; store the keys of an IAM user."
            )
        if not re.fullmatch(_LONG_BASE64, secret_access_key):
            raise InvalidAccessError(
                f"The password of {place} is not an AWS secret access key, which is 40 letters, digits and /+=, so "
                "nothing of it is sent; store the keys of an IAM user."
            )
        return UserAccess(access_key_id, secret_access_key)
    if access_key_id or secret_access_key:
        present, missing = "an access key id", "secret access key (password)"
        if secret_access_key:
            present, missing = "a secret access key", "access key id (login)"
        raise InvalidAccessError(f"{place} has {present} only; add the {missing}.")
    lonely = "an external ID without a role_arn" if external_id else "neither keys nor a role"
    raise InvalidAccessError(
        f"{place} has {lonely}, so there is nothing that the platform could use; store an IAM user's access "
        "key id (login) and secret access key (password), or a role_arn with assume_role_kwargs.ExternalId "
        "in its extra."
    )


def check_role_arn(arn: str, *, argument: str) -> str:
    """
    Validate the ARN of a role that the platform assumes.

    :param arn: ``arn:aws:iam::<account>:role/<name>``, with or without a path before the name.
    :param argument: Name of the argument, for the message.
    :return: ``arn``, unchanged.
    :raises InvalidAccessError: The ARN is invalid; the message explains the cause and the expected form.
    """
    fits = re.match(ROLE_ARN_PATTERN, arn) and re.fullmatch(_AFTER_ROLE, arn.partition(":role")[2])
    fault = None if fits else _role_fault(arn)
    if fault:
        raise InvalidAccessError(f"{argument}={arn!r}: {fault}.")
    return arn


def check_external_id(value: str, *, argument: str) -> str:
    """
    Validate an external ID by the platform's contract.

    :param value: At least 10 of the letters, digits and symbols that the contract allows.
    :param argument: Name of the argument, for the message, which does not repeat the value.
    :return: ``value``, unchanged.
    :raises InvalidAccessError: The value is too short, too long, or contains another character.
    """
    if len(value) > _LONGEST_EXTERNAL_ID:
        raise InvalidAccessError(
            f"{argument} is longer than the {_LONGEST_EXTERNAL_ID} characters that AWS takes; choose another one and "
            "write the same into the role's trust policy."
        )
    is_short = len(value) < SHORTEST_EXTERNAL_ID
    if is_short or not re.match(EXTERNAL_ID_PATTERN, value) or value.endswith("\n"):
        cause = (
            f"is shorter than the {SHORTEST_EXTERNAL_ID} characters that the platform requires"
            if is_short
            else "holds a character other than letters, digits and _+=,.@:/-"
        )
        raise InvalidAccessError(
            f"{argument} {cause}; choose another one and write the same into the role's trust policy."
        )
    return value


def check_kms_key_arn(arn: str, *, argument: str, bucket_region: str | None = None) -> str:
    """
    Validate the ARN of a KMS key with which S3 encrypts the bucket's objects.

    :param arn: ``arn:aws:kms:<region>:<account>:key/<key id>``.
    :param argument: Name of the argument, for the message.
    :param bucket_region: Region of the bucket, which must also be the key's region (AWS docs: S3 user guide, "Using
        server-side encryption with AWS KMS keys"). None (default): unknown, not checked.
    :return: ``arn``, unchanged.
    :raises InvalidAccessError: The ARN is invalid; the message explains the cause and the expected form.
    """
    fits = re.match(KMS_KEY_ARN_PATTERN, arn) and re.fullmatch(_AFTER_KEY, arn.partition(":key")[2])
    region = arn.split(":")[3] if fits else ""
    fault = None if region else _kms_fault(arn)
    if region and bucket_region and region != bucket_region:
        fault = (
            f"the key lies in {region} and the bucket in {bucket_region}, but S3 uses only keys of "
            "the bucket's region; write the ARN of a key there"
        )
    if fault:
        raise InvalidAccessError(f"{argument}={arn!r}: {fault}.")
    return arn


def _role_fault(arn: str) -> str:
    general = _arn_fault(arn, service="iam", form=_ROLE_FORM)
    if general:
        return general
    if not arn.startswith("arn:"):
        return f"it is not an ARN; write {_ROLE_FORM}"
    if session := re.fullmatch(_ASSUMED_ROLE, arn):
        role = f"arn:aws:iam::{session['account']}:role/{session['name']}"
        return f"it is a session of a role and not the role; write {role}, with the role's path if it has one"
    _, _, service, region, account, resource = arn.split(":", 5)
    if service != "iam":
        return f"it is an ARN of {service!r} and not of a role; write {_ROLE_FORM}"
    if region:
        return f"IAM has no regions, but a region stands in it; write {_ROLE_FORM}"
    if not re.fullmatch("[0-9]{12}", account):
        return f"its account is not a number of 12 digits; write {_ROLE_FORM}"
    kind = resource.partition("/")[0]
    if kind != "role":
        return f"it is the ARN of a {kind!r} and not of a role; write {_ROLE_FORM}"
    return f"the role's name is missing or holds a character that IAM does not allow; write {_ROLE_FORM}"


def _kms_fault(arn: str) -> str:
    general = _arn_fault(arn, service="kms", form=_KMS_KEY_FORM)
    if general:
        return general
    if arn.startswith("alias/") or ":alias/" in arn:
        return f"the platform takes no alias; write the ARN of the key that it stands for, {_KMS_KEY_FORM}"
    if re.fullmatch(_KMS_KEY_ID, arn.removeprefix("key/")):
        return f"a key's id alone does not say where the key lies; write its whole ARN, {_KMS_KEY_FORM}"
    if not arn.startswith("arn:"):
        return f"it is not an ARN; write {_KMS_KEY_FORM}"
    service = arn.split(":", 5)[2]
    if service != "kms":
        return f"it is an ARN of {service!r} and not of a KMS key; write {_KMS_KEY_FORM}"
    return f"it is not the ARN of a KMS key; write {_KMS_KEY_FORM}"


def _arn_fault(arn: str, *, service: str, form: str) -> str | None:
    """Return the fault that any kind of ARN can have: blanks, another partition, missing parts."""
    if not arn.strip():
        return f"it is empty; write {form}"
    if arn != arn.strip():
        return "it begins or ends with a blank; remove it"
    if not arn.startswith("arn:"):
        return None
    parts = arn.split(":", 5)
    if len(parts) < 6:
        return f"the ARN is not complete; write {form}"
    if parts[1] != "aws":
        return (
            f"it is an ARN of the partition {parts[1]!r}, and the platform takes ARNs of the partition 'aws' "
            f"only (arn:aws:{service}:…); use a bucket in that one, or user access without a KMS key"
        )
    return None
