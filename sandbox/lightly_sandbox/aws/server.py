"""The process of the local AWS: ministack with enforced policies, durable state and a guard in front."""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path

from lightly_sandbox.aws import decisions, lifecycle, not_principal, root, s3, simulation, wording
from lightly_sandbox.aws.accounts import CUSTOMER_ACCOUNT_ID, REGION
from lightly_sandbox.aws.control import Control
from lightly_sandbox.aws.durability import Durable, Notifications, Uploads, keep_sessions, mend_objects
from lightly_sandbox.aws.guard import Guard, error_body
from lightly_sandbox.aws.propagation import Propagation
from lightly_sandbox.aws.root import Root
from lightly_sandbox.process.local_only import LocalOnly
from lightly_sandbox.process.serving import HOST, log_to_stderr, serve
from lightly_sandbox.process.state_dir import StateDir, read_credentials


def configure(state: StateDir, port: int) -> None:
    """Configure ministack, which reads its environment at import."""
    os.environ.update(
        {
            "AUTH": "true",
            "BIND_HOST": HOST,
            "MINISTACK_HOST": HOST,
            "GATEWAY_PORT": str(port),
            "MINISTACK_ACCOUNT_ID": CUSTOMER_ACCOUNT_ID,
            "MINISTACK_REGION": REGION,
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            # Do not use Docker, even if this machine has it: the sandbox must not remove containers.
            "DOCKER_HOST": "unix:///nonexistent/docker.sock",
            "SERVICES": "s3,iam,sts,kms,sqs,secretsmanager,ssm",
            "PERSIST_STATE": "1",
            "STATE_DIR": str(state.aws / "state"),
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(state.aws / "s3"),
            "LOG_LEVEL": "WARNING",
        }
    )


def max_session_seconds(role_arn: str) -> int | None:
    """Return a role's MaxSessionDuration from ministack's memory."""
    from ministack.services import iam

    _, _, account_and_role = role_arn.partition("arn:aws:iam::")
    account_id, _, path = account_and_role.partition(":role/")
    role = iam._roles.get_scoped(account_id, None, path.rsplit("/", 1)[-1])
    return None if role is None else int(role.get("MaxSessionDuration", 3600))


def main() -> None:
    """Serve the local AWS on an inherited socket; read its secrets from standard input."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument(
        "--access-denied-messages",
        type=wording.AccessDeniedMessages,
        default=wording.AccessDeniedMessages.POLICY_ARN,
    )
    arguments = parser.parse_args()
    state = StateDir(arguments.state_dir)
    configure(state, arguments.port)
    log_to_stderr()
    # Do this before importing ministack, which then loads the objects.
    mend_objects(state.aws / "s3")
    from ministack.app import app as ministack

    root_key = read_credentials(sys.stdin).root_key
    uploads = Uploads(state.aws / "uploads")
    uploads.restore()
    keep_sessions()
    notifications = Notifications()
    notifications.install()
    durable = Durable(ministack, uploads, notifications)
    propagation = Propagation(Guard(durable, max_session_seconds))
    root.install()
    not_principal.install()
    wording.install()
    propagation.install()
    decisions.WORDING = wording.Wording(arguments.access_denied_messages)
    decisions.install()
    s3.install()
    lifecycle.install()
    simulation.install()
    app = Control(Root(propagation, root_key), root_key, propagation, decisions.WORDING)
    serve(LocalOnly(app, "text/xml", partial(error_body, "AccessDenied")), arguments.fd)


if __name__ == "__main__":
    main()
