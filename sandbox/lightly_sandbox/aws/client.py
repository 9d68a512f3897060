"""boto3 for the local AWS only, independent of the user's own AWS settings and proxies."""

from __future__ import annotations

import os
from typing import Any

from botocore.config import Config

CONFIG = Config(
    signature_version="v4",
    connect_timeout=5,
    read_timeout=30,
    retries={"total_max_attempts": 2},
    max_pool_connections=20,
    # An empty mapping, unlike none, keeps botocore from looking for proxies in the environment.
    proxies={},
    # A presigned upload has no checksum; without this setting its signature would require one.
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
    s3={"addressing_style": "path"},
)
S3_CONFIG = CONFIG.merge(Config(signature_version="s3v4"))


def forget_aws_settings() -> None:
    """Remove AWS's variables from the environment of this process, and so of its children.

    Otherwise a profile, an endpoint or a CA bundle for the real AWS would be used here.
    """
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"


def client(
    service: Any, url: str, region: str, access_key_id: str, secret_access_key: str, **more: Any
) -> Any:
    """Create a client of the local AWS at ``url``; ``more`` is added to its botocore Config."""
    import boto3

    return boto3.client(
        service,
        region_name=region,
        endpoint_url=url,
        aws_access_key_id=access_key_id,
        aws_secret_access_key=secret_access_key,
        config=(S3_CONFIG if service == "s3" else CONFIG).merge(Config(**more)),
    )
