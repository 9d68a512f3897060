"""A replacement for Amazon ECS on this machine: it uses ECS's protocol, and its containers are sandbox workers.

It implements the four required operations in the form of botocore's ECS model, and follows AWS's documentation: a
repeated ``clientToken`` starts nothing new, a listing is of one family and in pages, a missing task is among the
failures.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from tests.integration.sandbox import executable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.sandbox import Sandbox

CLUSTER = "arn:aws:ecs:eu-central-1:123456789012:cluster/lightly"
PAGE_SIZE = 1


@dataclass
class EcsTask:
    """A task: its request, and the process that is its container."""

    arn: str
    request: dict[str, Any]
    process: subprocess.Popen[bytes]

    @property
    def family(self) -> str:
        """The family of its task definition."""
        return str(self.request["taskDefinition"]).rpartition("/")[2].partition(":")[0]

    def describe(self) -> dict[str, Any]:
        """The members of ECS's response for a task, as far as they are used here."""
        running = self.process.poll() is None
        return {
            "taskArn": self.arn,
            "clusterArn": CLUSTER,
            "group": f"family:{self.family}",
            "lastStatus": "RUNNING" if running else "STOPPED",
            "desiredStatus": "RUNNING" if running else "STOPPED",
            "startedBy": self.request.get("startedBy"),
            "overrides": self.request["overrides"],
        }


@dataclass
class Ecs:
    """
    The service.

    :param sandbox: The platform that the workers work for.
    :param log: What the workers print.
    :param refuse_after_start: Whether RunTask fails although the task has started, as for a caller that was killed.
    """

    sandbox: Sandbox
    log: Path
    refuse_after_start: bool = False
    url: str = ""
    tasks: dict[str, EcsTask] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, operation: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """The HTTP status and the body for a request."""
        with self._lock:
            self.requests.append((operation, body))
            if operation == "RunTask":
                return self._run_task(body)
            if operation == "ListTasks":
                return 200, self._list_tasks(body)
            if operation == "DescribeTasks":
                found = [self.tasks[arn].describe() for arn in body["tasks"] if arn in self.tasks]
                missing = [{"arn": arn, "reason": "MISSING"} for arn in body["tasks"] if arn not in self.tasks]
                return 200, {"tasks": found, "failures": missing}
            if operation == "StopTask" and body["task"] in self.tasks:
                self.tasks[body["task"]].process.terminate()
                return 200, {"task": self.tasks[body["task"]].describe()}
            return 400, {"__type": "InvalidParameterException", "message": f"{operation} is not for {body}"}

    def _run_task(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        arn = f"{CLUSTER.replace(':cluster/', ':task/')}/{body['clientToken'].replace('-', '')}"
        if arn not in self.tasks:
            (container,) = body["overrides"]["containerOverrides"]
            environment = {variable["name"]: variable["value"] for variable in container["environment"]}
            # The content of the task definition: the image, the address, and the token from Secrets Manager.
            command = [executable(), "worker", "--url", self.sandbox.lightly_url, "--poll-interval", "0.1"]
            with self.log.open("ab") as output:
                process = subprocess.Popen(
                    command,
                    env={**os.environ, "LIGHTLY_TOKEN": self.sandbox.token, **environment},
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            self.tasks[arn] = EcsTask(arn, body, process)
        if self.refuse_after_start:
            return 400, {"__type": "ClientException", "message": "refused by the test"}
        return 200, {"tasks": [self.tasks[arn].describe()], "failures": []}

    def _list_tasks(self, body: dict[str, Any]) -> dict[str, Any]:
        # desiredStatus is RUNNING by default.
        listed = sorted(
            task.arn
            for task in self.tasks.values()
            if task.describe()["desiredStatus"] == body.get("desiredStatus", "RUNNING")
            and body.get("family", task.family) == task.family
            and body.get("startedBy") in (None, task.request.get("startedBy"))
        )
        begin = int(body.get("nextToken", 0))
        more = {"nextToken": str(begin + PAGE_SIZE)} if begin + PAGE_SIZE < len(listed) else {}
        return {"taskArns": listed[begin : begin + PAGE_SIZE], **more}

    def asked(self, operation: str) -> list[dict[str, Any]]:
        """The requests of an operation."""
        return [body for name, body in self.requests if name == operation]


@contextmanager
def ecs_on_this_machine(sandbox: Sandbox, log: Path) -> Iterator[Ecs]:
    """Serve ECS on a free port of this machine; its containers end with it."""
    ecs = Ecs(sandbox, log)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, answer = ecs.answer(self.headers["X-Amz-Target"].partition(".")[2], body)
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Print nothing: the requests are recorded."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    ecs.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield ecs
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        for task in ecs.tasks.values():
            if task.process.poll() is None:
                task.process.terminate()
            task.process.wait(20)
