"""The stored form of an access: an Airflow connection with a note that names its owner."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lightly_provider.access.principals import MARK_KEY, MARK_VALUE
from lightly_provider.contract import Permission
from lightly_provider.masking import mask_secret
from lightly_provider.stored_forms import check_version

# Member of the connection's extra that names the owner, and the secret that the stored one replaces.
_NOTE = "lightly_access"

# Stands for all datasets that a note of what was granted does not name. It cannot be an id.
OTHERS = "*"
# A standard parameter of SSM has 4 KB; an id takes 25 bytes.
_MOST_NOTED = 100


@dataclass(frozen=True, kw_only=True)
class KeptAccess:
    """
    An access as it is stored. Its ``repr`` contains no secret.

    :param principal_arn: ARN of the role or user that the access belongs to; None if this provider did not write it.
    :param access_key_id: Access key id of a user; None for a role.
    :param secret_access_key: Secret access key of a user; None for a role.
    :param role_arn: ARN of a role; None for a user.
    :param external_id: External ID of the role; None for a user.
    :param replaces: The previous secret while it is still valid: an access key id, or an external ID; None if there is
        none.
    :param granted_before: The permissions that datasets had before the rotation that is not finished moved them, by
        dataset id; with the key :data:`OTHERS`, those of all the others that it moved.
    :param endpoint: The AWS endpoint settings of the connection's extra: ``region_name``, ``endpoint_url`` …
    """

    principal_arn: str | None
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    role_arn: str | None = None
    external_id: str | None = field(default=None, repr=False)
    replaces: str | None = field(default=None, repr=False)
    granted_before: Mapping[str, frozenset[Permission]] = field(default_factory=dict)
    endpoint: Mapping[str, Any] = field(default_factory=dict)

    @property
    def secrets(self) -> list[str]:
        """The values that must never be shown."""
        external_ids = (self.external_id, self.replaces) if self.role_arn else ()
        return [secret for secret in (self.secret_access_key, *external_ids) if secret]

    def mask(self) -> KeptAccess:
        """Mask the secrets in Airflow's log, and return this access."""
        for secret in self.secrets:
            mask(secret)
        return self

    def is_of(self, principal: str) -> bool:
        """Return whether the access belongs to this principal: its ARN, or the end of it, e.g. ``role/lightly``."""
        return f":{self.principal_arn}".endswith(f":{principal}")

    def extra(self) -> dict[str, Any]:
        """Return the extra of the connection."""
        extra = dict(self.endpoint)
        if self.role_arn:
            extra |= {"role_arn": self.role_arn, "assume_role_kwargs": {"ExternalId": self.external_id}}
        note: dict[str, Any] = {MARK_KEY: MARK_VALUE, "principal": self.principal_arn, "replaces": self.replaces}
        note["granted_before"] = _grouped(self.granted_before)
        return extra | {_NOTE: {name: value for name, value in note.items() if value}}

    def as_json(self) -> str:
        """Return the connection as the JSON that Airflow and its secrets backends read."""
        connection = {"conn_type": "aws", "login": self.access_key_id, "password": self.secret_access_key}
        return json.dumps({name: value for name, value in connection.items() if value} | {"extra": self.extra()})

    @classmethod
    def of_connection(cls, conn_id: str, fields: Mapping[str, Any]) -> KeptAccess:
        """
        Read an access from a connection, even if this provider did not write it.

        :param conn_id: Id of the connection, for messages.
        :param fields: ``login``, ``password`` and ``extra``, as in a connection's JSON.
        :raises LightlyConnectionConfigError: The extra is invalid.
        :raises LightlyStoredFormError: A newer version of the provider wrote it.
        """
        from lightly_provider.hooks.aws import extra_of

        extra = extra_of(fields.get("extra"), conn_id)
        found = extra.get(_NOTE)
        note: Mapping[str, Any] = found if isinstance(found, Mapping) else {}
        check_version(note, what=f"The access in {conn_id!r}")
        return cls(
            principal_arn=note.get("principal"),
            access_key_id=fields.get("login") or None,
            secret_access_key=fields.get("password") or None,
            role_arn=extra.get("role_arn"),
            external_id=extra.get("assume_role_kwargs", {}).get("ExternalId"),
            replaces=note.get("replaces"),
            granted_before=_ungrouped(note.get("granted_before")),
            endpoint={n: v for n, v in extra.items() if n not in (_NOTE, "role_arn", "assume_role_kwargs")},
        )


def note_of(granted: Mapping[str, frozenset[Permission]]) -> dict[str, frozenset[Permission]]:
    """
    Return a note of what datasets are granted that fits into every store.

    Of many datasets it names only those that are not granted what most are; the rest is noted as :data:`OTHERS`.

    :param granted: The permissions by dataset id; it may have :data:`OTHERS` already.
    """
    if len(granted) <= _MOST_NOTED:
        return dict(granted)
    most = granted[OTHERS] if OTHERS in granted else Counter(granted.values()).most_common(1)[0][0]
    return {one: permissions for one, permissions in granted.items() if permissions != most} | {OTHERS: most}


def _grouped(granted: Mapping[str, frozenset[Permission]]) -> dict[str, str]:
    """Return the datasets' ids by permissions, e.g. ``{"list read": "<id> <id>"}``."""
    ids: dict[str, list[str]] = {}
    for one in sorted(granted):
        ids.setdefault(" ".join(name for name in Permission if name in granted[one]), []).append(one)
    return {names: " ".join(ones) for names, ones in ids.items()}


def _ungrouped(note: Any) -> dict[str, frozenset[Permission]]:
    groups: Mapping[str, Any] = note if isinstance(note, Mapping) else {}
    return {
        one: frozenset(name for name in Permission if name in names.split())
        for names, ids in groups.items()
        for one in str(ids).split()
    }


def mask(secret: str) -> None:
    """Mask a secret in Airflow's log, in plain and in URL-encoded form."""
    from urllib.parse import quote

    mask_secret(secret)
    if quote(secret, safe="") != secret:
        mask_secret(quote(secret, safe=""))
