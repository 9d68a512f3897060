"""What the platform is told when it starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LIGHTLY_ACCOUNT_ID = "916419735646"
"""The AWS account that customers let assume their roles (docs.lightly.ai, AWS S3, delegated access)."""

DELEGATED_SESSION_SECONDS = 12 * 60 * 60
"""The session that Lightly asks for; a role with a shorter maximum is of no use (docs.lightly.ai, AWS S3)."""

CRASHED_AFTER_SECONDS = 5 * 60.0
"""A run without a sign of life for so long is set to CRASHED (lightly-ai/lightly, issue 994)."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The platform's settings.

    ``mask_secrets``: whether reading a datasource shows ``***`` for its secret key or external ID. What the
    real platform does is not documented, so that a client has to stand both.
    """

    database: Path
    token: str = field(repr=False)
    signing_key: str = field(repr=False)
    lightly_url: str
    aws_url: str
    aws_region: str
    lightly_access_key_id: str
    lightly_secret_access_key: str = field(repr=False)
    artifact_bucket: str
    mask_secrets: bool = False
    user_id: str = "sandbox|user"
