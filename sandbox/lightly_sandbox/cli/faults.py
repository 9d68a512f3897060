"""``lightly-sandbox faults``."""

from __future__ import annotations

import math
from pathlib import Path  # noqa: TC003 (typer reads the annotations at run time)
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lightly_sandbox.aws.wording import AccessDeniedMessages  # noqa: TC001 (typer reads the annotations)
from lightly_sandbox.cli import terminal
from lightly_sandbox.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lightly_sandbox.faults.client import FaultsClient

_WHAT = "Which fault (one of them)"
_WHEN = "Which requests"
_OF_AWS = ("iam-delay", "access-denied-messages")
_ELSE = "Instead of a new fault"


def faults(
    operation: Annotated[
        str | None,
        typer.Argument(
            metavar="OPERATION",
            help="The requests that fail: 'POST */schedule' (a method or *, and a path in which * "
            "is anything), or an operation's name in the vendor's client, such as get_docker_run_by_id.",
        ),
    ] = None,
    status: Annotated[
        int | None,
        typer.Option(
            min=400, max=599, rich_help_panel=_WHAT, help="Answer with this status and an error body."
        ),
    ] = None,
    reset: Annotated[
        bool,
        typer.Option(
            "--reset", rich_help_panel=_WHAT, help="Reset the connection; the request is not carried out."
        ),
    ] = False,
    delay: Annotated[
        float | None,
        typer.Option(
            min=0,
            rich_help_panel=_WHAT,
            metavar="SECONDS",
            help="Carry out the request that much later, even if its client has left.",
        ),
    ] = None,
    drop_response: Annotated[
        bool,
        typer.Option(
            "--drop-response",
            rich_help_panel=_WHAT,
            help="Carry out the request, then close the connection without an answer.",
        ),
    ] = False,
    truncate: Annotated[
        bool,
        typer.Option(
            "--truncate",
            rich_help_panel=_WHAT,
            help="Carry out the request, then send only half of the body.",
        ),
    ] = False,
    not_json: Annotated[
        bool,
        typer.Option(
            "--not-json", rich_help_panel=_WHAT, help="Carry out the request, then answer with an HTML page."
        ),
    ] = False,
    drip: Annotated[
        float | None,
        typer.Option(
            min=0,
            rich_help_panel=_WHAT,
            metavar="SECONDS",
            help="Carry out the request, then send the body in pieces, over this time.",
        ),
    ] = None,
    clock_skew: Annotated[
        float | None,
        typer.Option(
            rich_help_panel=_WHAT,
            metavar="SECONDS",
            help="Answer as if the platform's clock were ahead by this time, or behind if negative: "
            "createdAt, lastModifiedAt and ts.",
        ),
    ] = None,
    iam_delay: Annotated[
        float | None,
        typer.Option(
            min=0,
            rich_help_panel=_WHAT,
            metavar="SECONDS",
            help="Let changes of the local AWS's IAM policies take effect that much later. It takes no "
            "OPERATION.",
        ),
    ] = None,
    access_denied_messages: Annotated[
        AccessDeniedMessages | None,
        typer.Option(
            rich_help_panel=_WHAT,
            help="Let the local AWS's access-denied messages name the denying policy's ARN, or only its "
            "type. It takes no OPERATION.",
        ),
    ] = None,
    code: Annotated[
        str | None,
        typer.Option(
            help="With --status: the error body's code, any text. Default: one that fits the status."
        ),
    ] = None,
    retry_after: Annotated[
        int | None,
        typer.Option(min=0, metavar="SECONDS", help="With --status: the header Retry-After, in seconds."),
    ] = None,
    retry_after_date: Annotated[
        int | None,
        typer.Option(min=0, metavar="SECONDS", help="The same as an HTTP date, that far ahead."),
    ] = None,
    times: Annotated[
        int | None,
        typer.Option(
            min=1, rich_help_panel=_WHEN, help="Apply it this many times. Default: until it is cleared."
        ),
    ] = None,
    probability: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, rich_help_panel=_WHEN, help="Apply it to each request with this probability."
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(rich_help_panel=_WHEN, help="With --probability: choose the same requests each time."),
    ] = None,
    include_worker: Annotated[
        bool,
        typer.Option(
            "--include-worker", rich_help_panel=_WHEN, help="Apply it also to the sandbox's own workers."
        ),
    ] = False,
    clear: Annotated[bool, typer.Option("--clear", rich_help_panel=_ELSE, help="End all faults.")] = False,
    remove: Annotated[
        str | None, typer.Option(rich_help_panel=_ELSE, metavar="ID", help="End this fault.")
    ] = None,
    ready_file: Annotated[
        Path | None,
        typer.Option(
            help="The file that `up` wrote. Default: LIGHTLY_SERVER_LOCATION and LIGHTLY_TOKEN, or else the "
            "file of an `up` without options."
        ),
    ] = None,
) -> None:
    """Let a running sandbox fail on purpose; without options, list its faults and their counts.

    Several faults can be set, one command each: of those that replace the request or its
    answer, the first that is due applies. Faults end with the sandbox. Examples:

    lightly-sandbox faults --drop-response "POST */schedule" --times 1

    lightly-sandbox faults --status 429 --retry-after 7 "GET /v1/docker/runs/*" --probability 0.2 --seed 1
    """
    from lightly_sandbox.faults.client import FaultsClient

    kinds: dict[str, Mapping[str, Any] | None] = {
        "status": None
        if status is None
        else {
            "status": status,
            "code": code,
            "retryAfter": retry_after,
            "retryAfterDate": retry_after_date,
        },
        "reset": {} if reset else None,
        "delay": None if delay is None else {"seconds": delay},
        "drop-response": {} if drop_response else None,
        "truncate": {} if truncate else None,
        "not-json": {} if not_json else None,
        "drip": None if drip is None else {"seconds": drip},
        "clock-skew": None if clock_skew is None else {"seconds": clock_skew},
        "iam-delay": None if iam_delay is None else {"seconds": iam_delay},
        "access-denied-messages": None
        if access_denied_messages is None
        else {"names": access_denied_messages},
    }
    which = {
        "operation": operation,
        "times": times,
        "probability": probability,
        "seed": seed,
        "includeWorker": include_worker or None,
    }
    try:
        spec = _spec(kinds, which)
        if seed is not None and probability is None:
            raise SandboxError("--seed needs --probability: no other fault is random.")
        if any(
            seconds is not None and not math.isfinite(seconds)
            for seconds in (delay, drip, clock_skew, iam_delay)
        ):
            raise SandboxError("SECONDS must be a finite number.")
        if status is None and (code, retry_after, retry_after_date) != (None, None, None):
            raise SandboxError("--code and --retry-after need --status.")
        if sum((spec is not None, clear, remove is not None)) > 1:
            raise SandboxError(
                "A new fault, --clear and --remove cannot be combined; use one command for each."
            )
        _act(FaultsClient.of(ready_file), spec, remove=remove, clear=clear)
    except SandboxError as problem:
        raise terminal.fail(problem) from problem


def _spec(
    kinds: Mapping[str, Mapping[str, Any] | None], which: Mapping[str, object]
) -> dict[str, Any] | None:
    """Return the requested fault; None for none."""
    asked = {kind: members for kind, members in kinds.items() if members is not None}
    if len(asked) > 1:
        options = " and ".join(f"--{kind}" for kind in asked)
        raise SandboxError(f"{options} are several faults; set each with a command of its own.")
    chosen = {name: value for name, value in which.items() if value is not None}
    if not asked:
        if chosen:
            raise SandboxError("No fault is given; choose one, such as --drop-response.")
        return None
    ((kind, members),) = asked.items()
    if kind in _OF_AWS and chosen:
        raise SandboxError(
            f"--{kind} applies to the local AWS; it takes no OPERATION and no other choice of requests."
        )
    if kind not in _OF_AWS and "operation" not in chosen:
        raise SandboxError(f"--{kind} needs the OPERATION that fails, such as 'POST */schedule'.")
    return {"kind": kind, **{name: value for name, value in members.items() if value is not None}, **chosen}


def _act(client: FaultsClient, spec: Mapping[str, Any] | None, *, remove: str | None, clear: bool) -> None:
    if clear:
        client.clear()
    elif remove is not None:
        client.remove(remove)
    elif spec is not None:
        terminal.say(_line(client.add(spec)))
    else:
        for fault in client.list():
            terminal.say(_line(fault))


def _line(fault: dict[str, Any]) -> str:
    """Return a fault on one line: id, kind, operation, settings, and counts."""
    apart = ("id", "kind", "operation", "matched", "applied")
    settings = [
        f"{name}={value}" for name, value in fault.items() if name not in apart and value is not False
    ]
    of = f"of {fault['matched']} requests" if "operation" in fault else "decisions"
    counted = f"applied to {fault['applied']} {of}" if "applied" in fault else ""
    parts = [fault["id"], fault["kind"], fault.get("operation", ""), " ".join(settings), counted]
    return "  ".join(part for part in parts if part)
