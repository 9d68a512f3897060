"""How an exception reads: first the cause, then what to do, then where, then the ids, in lines of 90 characters."""

from __future__ import annotations

import ast
import functools
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import lightly_provider
from lightly_provider.api.answers import error_from_answer
from lightly_provider.api.models.datasource import PermissionErrors, PermissionLights
from lightly_provider.aws.location import S3Location
from lightly_provider.contract import Permission, Purpose
from lightly_provider.diagnosis.target import Target
from lightly_provider.exceptions import (
    LightlyConnectionConfigError,
    LightlyError,
    LightlyPermissionsError,
    LightlySourceError,
    break_lines,
    explained,
    in_lines,
    on_one_line,
)
from lightly_provider.operators.arguments import check_choice
from lightly_provider.verification.judging import judge
from lightly_provider.verification.report import failure_message
from lightly_provider.verification.requirements import DatasetUse

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(lightly_provider.__path__[0])
DATASET = "65a1b2c3d4e5f60718293a4b"
# What Airflow's overview page shows of a line in a window of 1,400 pixels; tests_browser looks there. Of the first
# line, the name of the exception's class takes a part.
WIDTH, OF_FIRST = 90, 65


def raised(error: Exception) -> str:
    """The message with which a task fails of an error; ``failing_for_good`` breaks it."""
    break_lines(error)
    return str(error)


def denied() -> LightlyPermissionsError:
    target = Target(
        S3Location("acme-photos", "raw/"),
        "user access with the key AKIA…MPLE",
        purpose=Purpose.INPUT_OUTPUT,
        thumbnails=True,
        principal_arn="arn:aws:iam::123456789012:user/lightly-photos",
    )
    text = (
        "AccessDenied: User: arn:aws:iam::123456789012:user/lightly-photos is not authorized to perform: s3:PutObject "
        'on resource: "arn:aws:s3:::acme-photos/raw/.lightly/x" because no identity-based policy allows it'
    )
    red = {f"can_{permission}": permission in ("list", "read") for permission in Permission}
    lights = PermissionLights(**red, errors=PermissionErrors(can_write=text, can_overwrite=text))
    return LightlyPermissionsError(
        failure_message(judge(DATASET, DatasetUse("Images"), [target], lights), "acme-photos")
    )


def refused_argument() -> ValueError:
    with pytest.raises(ValueError, match="format") as refused:
        check_choice("manifests", ("filenames", "uris", "manifest", "parquet", "labelbox", "sama"), argument="format")
    return refused.value


def of_platform(status: int, code: str, text: str) -> LightlyError:
    body = {"code": code, "error": text, "requestId": "req-0123456789abcdef"}
    return error_from_answer("get_dataset_by_id", status, body)


# Each kind: the error, its first line, what to do (a part of a line of its own), and its last line.
KINDS = {
    "denied": (
        denied(),
        "Dataset 'acme-photos' lacks permissions:",
        "To the IAM policy of user lightly-photos add:",
        f"Dataset id: {DATASET}",
    ),
    "refused by the platform": (
        of_platform(401, "UNAUTHORIZED", "The token was revoked"),
        "The platform answered get_dataset_by_id with HTTP 401 UNAUTHORIZED: The token was revoked.",
        "Check the API token in the password field of the Airflow connection;",
        "(requestId req-0123456789abcdef)",
    ),
    "not found": (
        of_platform(404, "DATASET_UNKNOWN", "There is no such dataset"),
        "The platform answered get_dataset_by_id with HTTP 404",
        "",
        "(requestId req-0123456789abcdef)",
    ),
    "refused argument": (
        refused_argument(),
        "format is 'manifests'; did you mean 'manifest'?",
        "Allowed: 'filenames', 'uris', 'manifest', 'parquet', 'labelbox', 'sama'.",
        "Allowed: 'filenames', 'uris', 'manifest', 'parquet', 'labelbox', 'sama'.",
    ),
    "connection": (
        LightlyConnectionConfigError(
            "Airflow connection 'lightly_default' has no API token; put the one of the platform's preferences page "
            "into its password field."
        ),
        "Airflow connection 'lightly_default' has no API token;",
        "put the one of the platform's preferences page into its password field.",
        "put the one of the platform's preferences page into its password field.",
    ),
    "short": (
        LightlySourceError("There is no file at s3://acme/a.json; check the address."),
        "There is no file at s3://acme/a.json; check the address.",
        "There is no file at s3://acme/a.json; check the address.",
        "There is no file at s3://acme/a.json; check the address.",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_line_is_the_cause_the_remedy_is_a_line_and_the_ids_are_last(kind: str) -> None:
    error, cause, remedy, last = KINDS[kind]

    lines = raised(error).splitlines()

    assert lines[0] == cause
    assert any(line.startswith(remedy) for line in lines)
    assert lines[-1] == last
    assert max(map(len, lines)) <= WIDTH


def test_the_statement_to_add_is_readable_json_right_after_the_cause() -> None:
    _, _, _, *rest = raised(denied()).splitlines()
    end = rest.index("}") + 1

    assert json.loads("\n".join(rest[:end]))["Action"] == ["s3:PutObject", "s3:DeleteObject"]
    assert rest[end].startswith("INPUT_OUTPUT: s3://acme-photos/raw/")


def test_where_a_message_is_broken_nothing_is_lost() -> None:
    for error, *_ in KINDS.values():
        before = str(error)
        assert on_one_line(raised(error)) == on_one_line(before)


def test_an_exception_of_another_library_is_left_as_it_is() -> None:
    long = "word; " * 50
    for error in (KeyError(long), json.JSONDecodeError(long, "", 0), OSError(long), RuntimeError(long)):
        before = error.args
        break_lines(error)
        assert error.args == before


def test_a_message_of_spaces_or_of_one_long_word_is_no_error_of_its_own() -> None:
    assert raised(LightlyError(" " * 200)) == ""
    assert raised(LightlyError("x" * 200)) == "x" * 200


def test_what_is_broken_once_is_not_broken_again() -> None:
    error = LightlyError("word " * 100)
    once = raised(error)
    assert raised(error) == once


def test_parts_that_are_missing_leave_no_line() -> None:
    assert explained("The cause.", to_do=["", "Do this."], where=[""], ids="") == "The cause.\nDo this."


# --- all messages of the package ----------------------------------------------------------------------------------


def template(node: ast.expr) -> str | None:
    """A message as it is written, with a typical name in place of each value; None: it is not written there."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = [
            template(part.value) if isinstance(part, ast.FormattedValue) else template(part) for part in node.values
        ]
        return "".join("x" * 12 if part is None else part for part in parts)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = template(node.left), template(node.right)
        return None if left is None or right is None else left + right
    return None


@functools.cache
def all_nodes() -> list[tuple[Path, Any]]:
    """What the package is written of, with the file of each node."""
    trees = {path.relative_to(PACKAGE): ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}
    return [(path, node) for path, tree in trees.items() for node in ast.walk(tree)]


def errors_made() -> Iterator[tuple[str, ast.Call]]:
    """Where an error of this provider, or of a refused argument, is made: the place and the call."""
    own = {node.name for _, node in all_nodes() if isinstance(node, ast.ClassDef) and node.name.endswith("Error")}
    for path, node in all_nodes():
        is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args
        if is_call and node.func.id in own | {"ValueError", "LookupError"}:
            yield f"{path}:{node.lineno}", node


@functools.cache
def all_messages() -> dict[str, str]:
    """The messages of all errors, by their places."""
    return {place: text for place, call in errors_made() if (text := template(call.args[0])) is not None}


def test_the_messages_are_found() -> None:
    assert len(all_messages()) > 300


def test_every_message_has_a_short_first_line() -> None:
    """With names of usual length; a longer path or ARN is kept whole, so that it can be copied."""
    broken = {place: in_lines(text, is_first=True) for place, text in all_messages().items()}
    assert {place: lines for place, lines in broken.items() if max(map(len, lines)) > WIDTH} == {}
    # Where the page cuts a first line, nothing is missing but the end of a clause.
    cut = {place: lines for place, lines in broken.items() if len(lines[0]) > OF_FIRST and len(lines) > 1}
    assert {place: lines for place, lines in cut.items() if not lines[0].endswith((".", ";", "!", "?"))} == {}


def test_the_first_line_of_every_message_is_its_cause() -> None:
    """It names what is wrong, and does not begin with what to do."""
    imperative = re.compile(r"(?:Check|Set|Use|Write|Wait|Choose|Correct|Add|Allow)\b")
    assert {place: text for place, text in all_messages().items() if imperative.match(text)} == {}


def test_no_error_shows_the_traceback_of_another_one() -> None:
    """What its cause has to say is in its message, except where a caller may want the cause itself."""
    chained = {
        str(path) for path, node in all_nodes() if isinstance(node, ast.Raise) and isinstance(node.cause, ast.Name)
    }
    # Airflow 2's AirflowFailException, whose cause a callback may look at; and a skip, of which Airflow logs one line.
    assert chained == {"operators/base.py", "sensors/deferred.py"}


def test_every_error_in_a_handler_hides_the_handled_one_or_passes_it_on() -> None:
    """``raise … from None``, or the same exception: otherwise Python prints both."""
    shown_twice = [
        f"{path}:{raising.lineno}"
        for path, handler in all_nodes()
        if isinstance(handler, ast.ExceptHandler)
        for raising in handlers_raises(handler)
        if raising.cause is None and isinstance(raising.exc, ast.Call)
    ]
    assert shown_twice == []


def handlers_raises(handler: ast.ExceptHandler) -> list[ast.Raise]:
    """The raises of a handler, without those of functions in it and of its inner blocks that handle it again."""
    found: list[ast.Raise] = []
    stack: list[Any] = list(handler.body)
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Raise):
            found.append(node)
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            stack.extend(ast.iter_child_nodes(node))
    return found
