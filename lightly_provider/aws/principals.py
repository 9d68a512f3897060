"""The kinds of principals that the provider makes, and the mark by which it knows what it made."""

from __future__ import annotations

from enum import StrEnum

# A tag in IAM and of a secret; a member of a connection's extra.
MARK_KEY, MARK_VALUE = "managed-by", "airflow-provider-lightly"


class PrincipalKind(StrEnum):
    """What the platform uses: a role in delegated access, a user in user access."""

    ROLE = "role"
    USER = "user"
