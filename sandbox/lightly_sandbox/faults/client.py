"""Manages the faults of a running sandbox over HTTP."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import requests

from lightly_sandbox.errors import SandboxError
from lightly_sandbox.process.address import platform_address
from lightly_sandbox.process.ready_file import default_ready_file, read_ready_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_PATH = "/sandbox/faults"


@dataclass(frozen=True, slots=True)
class FaultsClient:
    """The faults of the sandbox at ``url``."""

    url: str
    token: str = field(repr=False)

    @classmethod
    def of(cls, ready_file: Path | None) -> FaultsClient:
        """Return a client for the sandbox that wrote ``ready_file``.

        Without it, use the vendor's variables; without those, the sandbox that was started without options.

        Raises:
            SandboxError: the file does not exist, or the variables are not set or contain no address.
        """
        url, token = os.environ.get("LIGHTLY_SERVER_LOCATION"), os.environ.get("LIGHTLY_TOKEN")
        if ready_file is None and not (url and token) and default_ready_file().exists():
            ready_file = default_ready_file()
        if ready_file is not None:
            ready = read_ready_file(ready_file)
            return cls(ready["lightly_url"], ready["token"])
        if not url or not token:
            raise SandboxError(
                "The command cannot find a sandbox. Give --ready-file FILE, or set the environment variables "
                "LIGHTLY_SERVER_LOCATION and LIGHTLY_TOKEN to its address and token."
            )
        return cls(platform_address(url), token)

    def list(self) -> list[dict[str, Any]]:
        """Return every fault with its counts."""
        faults: list[dict[str, Any]] = self._send("GET").json()
        return faults

    def add(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Add a fault; return it with its id."""
        fault: dict[str, Any] = self._send("POST", body=spec).json()
        return fault

    def remove(self, fault_id: str) -> None:
        """Remove this fault."""
        self._send("DELETE", f"/{fault_id}")

    def clear(self) -> None:
        """Remove all faults."""
        self._send("DELETE")

    def _send(self, method: str, below: str = "", body: Mapping[str, Any] | None = None) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False  # Do not use the environment's proxy for loopback.
            try:
                answer = session.request(
                    method, f"{self.url}{_PATH}{below}", params={"token": self.token}, json=body, timeout=30
                )
            except requests.RequestException as failed:
                # The exception's text contains the URL with the token.
                raise SandboxError(
                    f"The sandbox at {self.url} does not answer ({type(failed).__name__}); is it running?"
                ) from None
        if answer.ok:
            return answer
        try:
            why = answer.json()["error"]
        except (ValueError, LookupError, TypeError):
            why = f"it answers {answer.status_code}, as no lightly-sandbox does"
        raise SandboxError(f"The sandbox at {self.url} refuses: {why}")
