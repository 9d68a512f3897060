"""Ensures that a killed local AWS loses nothing that it has acknowledged.

ministack (1.5.33) writes objects at once, everything else at a regular shutdown, and two things never:
sessions of assumed roles, and multipart uploads. Here the response to a request that may have changed
something is sent after the change is written, that is, passed to the operating system, which outlives every
process.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SCOPE = re.compile(rb"(?:Credential=|X-Amz-Credential=)[^/%]+(?:/|%2F)\d+(?:/|%2F)[^/%]+(?:/|%2F)(\w+)")
_ACTION = re.compile(rb"(?:^|&)Action=(\w+)")

# The read-only operations of each service; for S3 the HTTP method decides.
_READING = {
    "iam": re.compile(rb"Get|List|Simulate"),
    "sts": re.compile(rb"GetCallerIdentity|GetAccessKeyInfo|Decode"),
    "kms": re.compile(rb"Get|List|Describe|Generate|Encrypt|Decrypt|ReEncrypt|Sign|Verify"),
    "sqs": re.compile(rb"Get|List"),
    "secretsmanager": re.compile(rb"Get|BatchGet|List|Describe|Validate"),
    "ssm": re.compile(rb"Get|List|Describe"),
}

SIDECAR = ".meta.json"


class Durable:
    """ASGI middleware around ministack that writes each change to disk before the response is sent."""

    def __init__(self, app: ASGIApp, uploads: Uploads, notifications: Notifications) -> None:
        self._app = app
        self._uploads = uploads
        self._notifications = notifications
        self._changed: set[str] = set()
        self._saving: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request; write a change before sending the response that acknowledges it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        query = scope["query_string"]
        found = _SCOPE.search(headers.get(b"authorization", b"")) or _SCOPE.search(query)
        # ministack names its states like AWS's services. A form for S3 names none; it is an object.
        service = found[1].decode() if found else ""
        action = headers.get(b"x-amz-target", b"").rpartition(b".")[2]
        n_before = self._notifications.n_delivered

        async def heard() -> Message:
            nonlocal action
            message = await receive()
            if not action and (named := _ACTION.search(message.get("body", b""))):
                action = named[1]
            return message

        async def answered(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < 400:
                if service == "s3":
                    await self._s3(scope, query)
                elif service in _READING and not _READING[service].match(action):
                    await self._saved(service)
                # Another request's notification may be counted here, too: then this waits for nothing new.
                if self._notifications.n_delivered != n_before:
                    await self._saved("sqs")
            await send(message)

        await self._app(scope, heard if service in _READING else receive, answered)

    async def _s3(self, scope: Scope, query: bytes) -> None:
        if scope["method"] in ("GET", "HEAD"):
            return
        if b"uploads" in query or b"uploadId" in query:
            self._uploads.keep()
        _, _, key = scope["path"].lstrip("/").partition("/")
        # ministack itself writes objects.
        if not key:
            await self._saved("s3")

    async def _saved(self, state: str) -> None:
        """Wait until ``state`` is written. One write covers all changes before it."""
        self._changed.add(state)
        if self._saving is None:
            self._saving = asyncio.create_task(self._save())
        await self._saving

    async def _save(self) -> None:
        # Let other ready requests share this write.
        await asyncio.sleep(0)
        self._saving = None
        changed, self._changed = self._changed, set()
        for state in changed:
            save(state)


def save(state: str) -> None:
    """Write ministack's ``state`` like its own ``save_state``, which hides errors."""
    from ministack import app
    from ministack.core import persistence

    current = app._build_persistence_save_dict()[state]()
    version = persistence._state_format_version(state)
    content = json.dumps(
        {"__ministack_format__": version, "payload": current}, default=persistence._json_default
    )
    _write(Path(persistence.STATE_DIR, f"{state}.json"), content.encode())


def keep_sessions() -> None:
    """Add the sessions of assumed roles to ministack's state."""
    from ministack.services import sts

    def get_state() -> dict[str, Any]:
        sts._evict_expired_sessions()
        return {"sessions": dict(sts._sessions)}

    def load_persisted_state(state: dict[str, Any]) -> None:
        sts._sessions.update(state.get("sessions", {}))

    sts.get_state, sts.load_persisted_state = get_state, load_persisted_state


class Notifications:
    """S3's notifications in queues.

    ministack delivers them in a thread, after the response to the upload: a kill in between would lose them.
    Here they are delivered before the response, so that it can wait until the queue is written.

    Attributes:
        n_delivered: how many messages S3 has put into queues so far.
    """

    def __init__(self) -> None:
        self.n_delivered = 0

    def install(self) -> None:
        """Deliver at once, and count."""
        from ministack.services import s3

        deliver = s3._deliver_event_to_sqs

        def counted(*arguments: Any, **more: Any) -> None:
            deliver(*arguments, **more)
            self.n_delivered += 1

        def fire(bucket: str, key: str, event: str, *arguments: Any, **more: Any) -> None:
            if bucket in s3._bucket_notifications:
                more["sequencer"] = s3._next_event_sequencer(event)
                s3._fire_s3_event(bucket, key, event, *arguments, **more)

        s3._deliver_event_to_sqs, s3._fire_s3_event_async = counted, fire


class Uploads:
    """The incomplete multipart uploads, each in a folder below ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: dict[tuple[str, str], dict[int, str]] = {}

    def keep(self) -> None:
        """Write new parts, and remove completed or aborted uploads."""
        from ministack.services import s3

        current: dict[tuple[str, str], dict[str, Any]] = s3._multipart_uploads._data
        for scoped, upload in current.items():
            folder = self._folder / "-".join(scoped)
            if scoped not in self._kept:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                about = {name: value for name, value in upload.items() if name != "parts"}
                _write(folder / "upload.json", json.dumps({"scoped": scoped, "upload": about}).encode())
                self._kept[scoped] = {}
            for number, part in upload["parts"].items():
                if self._kept[scoped].get(number) != part["etag"]:
                    about = {name: value for name, value in part.items() if name != "body"}
                    # Use one file, so that a part is either complete or missing.
                    head = json.dumps(about).encode()
                    _write(folder / f"{number}.part", head + b"\n" + part["body"])
                    self._kept[scoped][number] = part["etag"]
        for scoped in self._kept.keys() - current.keys():
            shutil.rmtree(self._folder / "-".join(scoped))
            del self._kept[scoped]

    def restore(self) -> None:
        """Restore the stored uploads in ministack."""
        from ministack.services import s3

        for described in self._folder.glob("*/upload.json"):
            about = json.loads(described.read_text())
            upload, scoped = {**about["upload"], "parts": {}}, tuple(about["scoped"])
            for path in described.parent.glob("*.part"):
                head, _, body = path.read_bytes().partition(b"\n")
                upload["parts"][int(path.stem)] = {**json.loads(head), "body": body}
            s3._multipart_uploads._data[scoped] = upload
            self._kept[scoped] = {number: part["etag"] for number, part in upload["parts"].items()}


def mend_objects(folder: Path) -> None:
    """Make each object's metadata match its content.

    ministack writes an object's content and then its metadata (``.meta.json``). Killed in between, it would
    serve the new content with the old length and ETag. No response has acknowledged the write, so either
    version is correct, but not a mixture.
    """
    for described in folder.rglob(f"*{SIDECAR}"):
        content = described.with_name(described.name.removesuffix(SIDECAR))
        if not content.is_file() or content.stat().st_mtime_ns <= described.stat().st_mtime_ns:
            continue
        about = json.loads(described.read_text())
        body = content.read_bytes()
        etag = f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
        _write(described, json.dumps({**about, "size": len(body), "etag": etag, "checksums": {}}).encode())


def _write(path: Path, content: bytes) -> None:
    """Write atomically: after a kill, the file is either the old one or the complete new one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_bytes(content)
    temporary.replace(path)
