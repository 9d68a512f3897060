"""The platform's settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

DELEGATED_SESSION_SECONDS = 12 * 60 * 60
"""The session that Lightly asks for; a role with a shorter maximum is of no use (docs.lightly.ai, AWS S3)."""

FIRST_USER_ID = "sandbox|user"
"""The user whose token is the sandbox's."""

CRASH_AFTER_SECONDS = 5 * 60.0
"""A run without a sign of life for so long is set to CRASHED (lightly-ai/lightly, issue 994)."""


class VerifyScope(StrEnum):
    """Which datasource the four permission lights are about when INPUT and LIGHTLY have one each.

    The operation takes no purpose, and which one the real platform tests is not documented (lightly 1.5.26,
    api/datasources_api.py), so that a client has to be right under each. With one datasource only, all scopes
    are the same.
    """

    COMBINED = "combined"
    """List and read on INPUT, write and overwrite on LIGHTLY."""
    INPUT = "input"
    """All four on INPUT."""
    LIGHTLY = "lightly"
    """All four on LIGHTLY."""
    WORST = "worst"
    """A light is green if it is green on both; else it says what the first one said that is not."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The platform's settings.

    ``aws_root_key`` gives access to the local AWS's control endpoints, such as that of the IAM delay.
    ``mask_secrets``: whether reading a datasource returns ``***`` for its secret key or external ID. The real
    platform's behavior is not documented, so a client must handle both.
    """

    database: Path
    token: str = field(repr=False)
    signing_key: str = field(repr=False)
    lightly_url: str
    aws_url: str
    aws_root_key: str = field(repr=False)
    aws_region: str
    lightly_access_key_id: str
    lightly_secret_access_key: str = field(repr=False)
    artifact_bucket: str
    mask_secrets: bool = False
    verify_scope: VerifyScope = VerifyScope.COMBINED
    crash_after_seconds: float = CRASH_AFTER_SECONDS
    user_id: str = FIRST_USER_ID
