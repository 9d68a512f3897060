"""The local AWS's process: ministack, its policies enforced, its state kept, a guard in front of it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lightly_sandbox import aws_decisions, aws_s3
from lightly_sandbox.aws_accounts import CUSTOMER_ACCOUNT_ID, REGION
from lightly_sandbox.aws_guard import Guard
from lightly_sandbox.faults_iam import Propagation
from lightly_sandbox.serving import HOST, log_to_stderr, serve
from lightly_sandbox.state_dir import StateDir, read_credentials

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

SAVE_EVERY_SECONDS = 2.0


def configure(state: StateDir, port: int) -> None:
    """Tell ministack, which reads its environment when it is imported, how to run here."""
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
            # Nothing of Docker's, whatever this machine has: a sandbox reaps no containers.
            "DOCKER_HOST": "unix:///nonexistent/docker.sock",
            "SERVICES": "s3,iam,sts,kms,sqs",
            "PERSIST_STATE": "1",
            "STATE_DIR": str(state.aws / "state"),
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(state.aws / "s3"),
            "LOG_LEVEL": "WARNING",
        }
    )


def max_session_seconds(role_arn: str) -> int | None:
    """The MaxSessionDuration of a role in ministack's memory."""
    from ministack.services import iam

    _, _, account_and_role = role_arn.partition("arn:aws:iam::")
    account_id, _, path = account_and_role.partition(":role/")
    role = iam._roles.get_scoped(account_id, None, path.rsplit("/", 1)[-1])
    return None if role is None else int(role.get("MaxSessionDuration", 3600))


class Saving:
    """ASGI middleware that saves ministack's state soon after it changes, not only at the end.

    ministack itself saves at shutdown; a sandbox that is killed would come back with its objects and without
    its users.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._changed = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Note a change; around the application's life, save."""
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
            return
        await self._app(scope, receive, send)
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD"):
            self._changed = True

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        saving: asyncio.Task[None] | None = None

        async def started(message: Message) -> None:
            nonlocal saving
            if message["type"] == "lifespan.startup.complete":
                saving = asyncio.create_task(self._save_changes())
            await send(message)

        await self._app(scope, receive, started)
        if saving is not None:
            saving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await saving

    async def _save_changes(self) -> None:
        from ministack import app as ministack
        from ministack.core.persistence import save_all

        while True:
            await asyncio.sleep(SAVE_EVERY_SECONDS)
            if self._changed:
                self._changed = False
                save_all(ministack._build_persistence_save_dict())


def main() -> None:
    """Serve the local AWS on an inherited socket; its secrets come through standard input."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--state-dir", type=Path, required=True)
    arguments = parser.parse_args()
    state = StateDir(arguments.state_dir)
    configure(state, arguments.port)
    log_to_stderr()
    from ministack.app import app

    root_key = read_credentials(sys.stdin).root_key
    propagation = Propagation(Guard(Saving(app), root_key, max_session_seconds), root_key)
    propagation.install()
    aws_decisions.install()
    aws_s3.install()
    serve(propagation, arguments.fd)


if __name__ == "__main__":
    main()
