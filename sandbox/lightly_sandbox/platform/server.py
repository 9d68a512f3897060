"""The platform's process."""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from pathlib import Path

from lightly_sandbox.aws.accounts import ARTIFACT_BUCKET, REGION
from lightly_sandbox.contract.error_codes import ApiErrorCode
from lightly_sandbox.contract.wire import ApiErrorResponse
from lightly_sandbox.platform.app import create_app
from lightly_sandbox.platform.settings import CRASH_AFTER_SECONDS, Settings, VerifyScope
from lightly_sandbox.process.local_only import LocalOnly
from lightly_sandbox.process.serving import HOST, log_to_stderr, serve
from lightly_sandbox.process.state_dir import StateDir, read_credentials


def main() -> None:
    """Serve the platform on an inherited socket; read its secrets from standard input when they arrive."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--aws-url", required=True)
    parser.add_argument("--mask-secrets", action="store_true")
    parser.add_argument("--verify-scope", type=VerifyScope, default=VerifyScope.COMBINED)
    parser.add_argument("--crash-after", type=float, default=CRASH_AFTER_SECONDS)
    arguments = parser.parse_args()
    log_to_stderr()
    state = StateDir(arguments.state_dir)
    credentials = read_credentials(sys.stdin)
    settings = Settings(
        database=state.database,
        token=credentials.token,
        signing_key=credentials.signing_key,
        lightly_url=f"http://{HOST}:{arguments.port}",
        aws_url=arguments.aws_url,
        aws_root_key=credentials.root_key,
        aws_region=REGION,
        lightly_access_key_id=credentials.lightly_access_key_id,
        lightly_secret_access_key=credentials.lightly_secret_access_key,
        artifact_bucket=ARTIFACT_BUCKET,
        mask_secrets=arguments.mask_secrets,
        verify_scope=arguments.verify_scope,
        crash_after_seconds=arguments.crash_after,
    )
    serve(LocalOnly(create_app(settings), "application/json", _forbidden), arguments.fd)


def _forbidden(reason: str) -> bytes:
    body = ApiErrorResponse(code=ApiErrorCode.FORBIDDEN, error=reason, request_id=secrets.token_hex(8))
    return json.dumps(body.wire()).encode()


if __name__ == "__main__":
    main()
