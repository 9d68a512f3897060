"""A clean account in a running sandbox for a test."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lightly_sandbox.process.airflow_connections import airflow_connections
from lightly_sandbox.process.children import environment_with
from lightly_sandbox.testing.http import send
from lightly_sandbox.testing.server import STOP_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lightly_sandbox.testing.server import SandboxServer

WORKER_SECONDS = 60.0


class SandboxCommandFailed(Exception):
    """A command of the sandbox failed, with its output."""


@dataclass(frozen=True, slots=True)
class Faults:
    """The faults of the running sandbox. They affect all its users, and all are cleared after each test."""

    url: str
    token: str = field(repr=False)

    def add(self, kind: str, operation: str | None = None, **members: object) -> str:
        """Add a fault and return its id.

        ``kind``, ``members``: as in the README's table, by the names of JSON: ``kind="status"``,
        ``status=429``, ``retryAfter=7``, ``times=2``. ``operation``: a name of the contract's or a pattern
        such as ``POST */schedule``; None for ``iam-delay``, which is for none.
        """
        spec = {"kind": kind, **({} if operation is None else {"operation": operation}), **members}
        return str(send("POST", self.url, self.token, spec)["id"])

    def drop_response(self, operation: str, times: int = 1) -> str:
        """Execute the request, but drop its response; return the fault's id."""
        return self.add("drop-response", operation, times=times)

    def list(self) -> list[dict[str, Any]]:
        """Every fault, with how many requests it met (``matched``) and how many had it (``applied``)."""
        faults: list[dict[str, Any]] = send("GET", self.url, self.token)
        return faults

    def remove(self, fault_id: str) -> None:
        """Remove this fault."""
        send("DELETE", f"{self.url}/{fault_id}", self.token)

    def clear(self) -> None:
        """Remove all faults."""
        send("DELETE", self.url, self.token)


@dataclass(frozen=True, slots=True)
class SandboxAccount:
    """A user of the platform and an AWS account, which no other test uses.

    ``bucket``: an empty bucket of that account, in ``region``. The key pair is the account's administrator's.
    """

    lightly_url: str
    web_url: str
    token: str = field(repr=False)
    email: str
    user_id: str
    aws_url: str
    region: str
    aws_account_id: str
    aws_access_key_id: str
    aws_secret_access_key: str = field(repr=False)
    bucket: str
    faults: Faults
    _command: str
    _folder: Path
    _workers: list[subprocess.Popen[bytes]] = field(default_factory=list, repr=False)

    @classmethod
    @contextlib.contextmanager
    def opened(cls, server: SandboxServer, folder: Path) -> Iterator[SandboxAccount]:
        """Create an account; at the end, stop its workers and clear all faults."""
        made = send("POST", f"{server.lightly_url}/sandbox/accounts", server.token)
        account = cls(
            lightly_url=server.lightly_url,
            web_url=server.web_url,
            token=made["token"],
            email=made["email"],
            user_id=made["userId"],
            aws_url=server.aws_url,
            region=server.region,
            aws_account_id=made["awsAccountId"],
            aws_access_key_id=made["awsAccessKeyId"],
            aws_secret_access_key=made["awsSecretAccessKey"],
            bucket=made["bucket"],
            faults=Faults(f"{server.lightly_url}/sandbox/faults", server.token),
            _command=server.command,
            _folder=folder,
        )
        try:
            yield account
        finally:
            account.faults.clear()
            account.stop_workers()

    def airflow_connections(self) -> dict[str, str]:
        """The environment with this account's Airflow connections ``lightly_default`` and ``aws_default``."""
        return airflow_connections(self._ready())

    def environment(self) -> dict[str, str]:
        """The environment for the vendor's own client: LIGHTLY_SERVER_LOCATION and LIGHTLY_TOKEN."""
        return {"LIGHTLY_SERVER_LOCATION": self.lightly_url, "LIGHTLY_TOKEN": self.token}

    def seed_photos(self, prefix: str = "raw", photos: int = 40) -> str:
        """Upload real photos below ``prefix`` of the account's bucket, and return the location as an S3 URI.

        Raises:
            SandboxCommandFailed: the upload fails.
        """
        uri = f"s3://{self.bucket}/{prefix.strip('/')}/"
        ready_file = self._folder / "ready.json"
        with os.fdopen(os.open(ready_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(self._ready(), file)
        arguments = ["seed", uri, "--photos", str(photos), "--ready-file", str(ready_file)]
        done = subprocess.run(  # noqa: S603 (the command that the user installed)
            [self._command, *arguments], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise SandboxCommandFailed(f"`lightly-sandbox seed {uri}` failed: {done.stderr.strip()}")
        return uri

    def start_worker(self, *labels: str) -> str:
        """Start a worker that takes this account's runs, wait until it is registered, and return its id.

        A worker takes only the runs of its own user, so a test that needs its runs done must start one. It
        ends with the test.

        Raises:
            SandboxCommandFailed: the worker ends at once, or does not register.
        """
        name = f"worker-{len(self._workers) + 1}"
        log = self._folder / f"{name}.log"
        arguments = ["worker", "--url", self.lightly_url, "--name", name, "--poll-interval", "0.2"]
        arguments += [argument for label in labels for argument in ("--label", label)]
        # The pipe is its lifeline: the worker ends with this process, however that ends.
        arguments.append("--until-stdin-closes")
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 (the command that the user installed)
                [self._command, *arguments],
                env=environment_with({"LIGHTLY_TOKEN": self.token}),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._workers.append(process)
        deadline = time.monotonic() + WORKER_SECONDS
        while True:
            for worker in send("GET", f"{self.lightly_url}/v1/docker/worker", self.token):
                if worker["name"] == name:
                    return str(worker["id"])
            if process.poll() is not None or time.monotonic() > deadline:
                said = log.read_text(errors="replace")[-2000:]
                raise SandboxCommandFailed(f"The worker did not register. The last lines of {log}:\n{said}")
            time.sleep(0.05)

    def stop_workers(self) -> None:
        """Stop the workers that the test started."""
        for process in self._workers:
            process.terminate()
        for process in self._workers:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdin is not None:
                process.stdin.close()
        self._workers.clear()

    def _ready(self) -> dict[str, object]:
        """The account in the form of a ready file."""
        return {
            "lightly_url": self.lightly_url,
            "token": self.token,
            "web_url": self.web_url,
            "aws_url": self.aws_url,
            "aws_access_key_id": self.aws_access_key_id,
            "aws_secret_access_key": self.aws_secret_access_key,
            "region": self.region,
        }
