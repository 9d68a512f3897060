"""Redirected read URLs: links to the platform that redirect to a presigned URL created on request."""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import TYPE_CHECKING
from urllib.parse import urlencode

if TYPE_CHECKING:
    from lightly_sandbox.platform.settings import Settings


def _signature(settings: Settings, dataset_id: str, resource: str, until: str) -> str:
    signed = f"{dataset_id}/{until}/{resource}".encode()
    return hmac.new(settings.signing_key.encode(), signed, hashlib.sha256).hexdigest()


def _public_token(settings: Settings, dataset_id: str, resource: str, expires_in: int | None) -> str:
    until = "" if expires_in is None else str(int(time.time()) + expires_in)
    return f"{until}.{_signature(settings, dataset_id, resource, until)}"


def _sample_resource(sample_id: str, kind: str) -> str:
    return f"sample {sample_id} {kind}"


def redirected_url(settings: Settings, dataset_id: str, path: str, expires_in: int | None = None) -> str:
    """Return the link for the file ``path``; it allows anybody to read that file, and only that.

    ``expires_in``: seconds until it expires; None for never.
    """
    token = _public_token(settings, dataset_id, path, expires_in)
    query = urlencode({"path": path, "publicToken": token})
    return f"{settings.lightly_url}/v1/datasets/{dataset_id}/datasource/readurlRedirect?{query}"


def sample_redirected_url(settings: Settings, dataset_id: str, sample_id: str, kind: str) -> str:
    """Return the link for a sample's image (``full``) or thumbnail (``thumbnail``); it never expires."""
    token = _public_token(settings, dataset_id, _sample_resource(sample_id, kind), None)
    query = urlencode({"type": kind, "publicToken": token})
    return f"{settings.lightly_url}/v1/datasets/{dataset_id}/samples/{sample_id}/readurlRedirect?{query}"


def is_public_token(settings: Settings, dataset_id: str, resource: str, token: str) -> bool:
    """Whether ``token`` was created for this resource and has not expired."""
    until, _, signature = token.rpartition(".")
    expected = _signature(settings, dataset_id, resource, until)
    if not hmac.compare_digest(expected.encode(), signature.encode()):
        return False
    return not until or time.time() < int(until)


def is_sample_token(settings: Settings, dataset_id: str, sample_id: str, kind: str, token: str) -> bool:
    """Whether ``token`` was created for this sample's image or thumbnail."""
    return is_public_token(settings, dataset_id, _sample_resource(sample_id, kind), token)
