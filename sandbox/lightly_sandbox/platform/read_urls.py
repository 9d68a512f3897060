"""Redirected read URLs: links to the platform that lead on to a presigned URL made at that moment."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING
from urllib.parse import urlencode

if TYPE_CHECKING:
    from lightly_sandbox.platform.settings import Settings


def _public_token(settings: Settings, dataset_id: str, path: str) -> str:
    return hmac.new(
        settings.signing_key.encode(), f"{dataset_id}/{path}".encode(), hashlib.sha256
    ).hexdigest()


def redirected_url(settings: Settings, dataset_id: str, path: str) -> str:
    """The link for the input file ``path``; whoever has it may read that file, and only that."""
    query = urlencode({"path": path, "publicToken": _public_token(settings, dataset_id, path)})
    return f"{settings.lightly_url}/v1/datasets/{dataset_id}/datasource/readurlRedirect?{query}"


def is_public_token(settings: Settings, dataset_id: str, path: str, token: str) -> bool:
    """Whether ``token`` was made for this file."""
    return hmac.compare_digest(_public_token(settings, dataset_id, path).encode(), token.encode())
