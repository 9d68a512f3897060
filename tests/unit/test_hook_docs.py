"""The pages on the hook are true: each verb has an example that fits it, each helper of the vendor has its place."""

from __future__ import annotations

import ast
import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from lightly_provider.get_provider_info import get_provider_info
from lightly_provider.hooks.lightly import LightlyHook
from lightly_provider.triggers.worker import LightlyRunTrigger
from tests.unit.documents import REPOSITORY, blocks, code, read

HOOK_PAGE = REPOSITORY / "docs" / "hook.md"
CLIENT_PAGE = REPOSITORY / "docs" / "from_api_workflow_client.md"
# The public helpers of the vendor's last client; sandbox/tests_vendor compares the list with the client itself.
HELPERS = (Path(__file__).parents[1] / "contract" / "vendor_helpers.txt").read_text().split()
# What Airflow itself calls.
AIRFLOWS_OWN = {"get_ui_field_behaviour", "get_connection_form_widgets"}
VERBS = {
    name
    for cls in LightlyHook.__mro__
    if cls.__module__.startswith("lightly_provider.")
    for name, member in vars(cls).items()
    if inspect.isfunction(inspect.unwrap(getattr(member, "__func__", member))) and not name.startswith("_")
} - AIRFLOWS_OWN


def example_calls() -> list[ast.Call]:
    """The calls of the hook in the page's examples."""
    return [
        node
        for block in blocks(HOOK_PAGE, "python")
        for node in ast.walk(ast.parse(block.text))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "hook"
    ]


def name_of(call: ast.Call) -> str:
    assert isinstance(call.func, ast.Attribute)
    return call.func.attr


def test_every_verb_of_the_hook_has_an_example_and_there_is_no_other() -> None:
    assert {"find_dataset", "open_artifact", "get_conn"} <= VERBS
    assert {name_of(call) for call in example_calls()} == VERBS


@pytest.mark.parametrize("call", example_calls(), ids=name_of)
def test_an_example_fits_the_verbs_signature(call: ast.Call) -> None:
    arguments = dict.fromkeys(str(keyword.arg) for keyword in call.keywords)
    inspect.signature(getattr(LightlyHook, name_of(call))).bind("self", *call.args, **arguments)


def documented() -> dict[str, Any]:
    """The verbs of the hook, and the trigger: what the guide shows by their docstrings alone."""
    return {
        **{name: getattr(LightlyHook, name) for name in sorted(VERBS)},
        LightlyRunTrigger.__name__: LightlyRunTrigger,
    }


@pytest.mark.parametrize("name", documented())
def test_the_docstring_of_a_verb_or_a_trigger_describes_each_argument(name: str) -> None:
    member = documented()[name]
    arguments = set(inspect.signature(member).parameters) - {"self"}
    described = re.findall(r"^:param (\w+):\s*\S", inspect.getdoc(member) or "", flags=re.MULTILINE)

    assert set(described) == arguments
    assert len(described) == len(arguments)


def client_rows() -> list[list[str]]:
    """The rows of all tables of the page on the vendor's client."""
    lines = [line for line in read(CLIENT_PAGE).splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "| here |" not in line]


def operators() -> dict[str, Any]:
    """The operators and sensors that the provider names."""
    info = get_provider_info()
    modules = [
        import_module(name)
        for kind in ("operators", "sensors")
        for group in info[kind]
        for name in group["python-modules"]
    ]
    return {name: member for module in modules for name, member in vars(module).items() if inspect.isclass(member)}


def test_every_helper_of_the_vendors_last_client_has_a_row() -> None:
    assert len(HELPERS) == len(set(HELPERS)) > 90
    assert sorted(code(helper) for helper, *_ in client_rows()) == sorted(HELPERS)


@pytest.mark.parametrize(("helper", "here", "note"), client_rows(), ids=[row[0] for row in client_rows()])
def test_what_takes_a_helpers_place_is_there_or_the_page_says_why_not(helper: str, here: str, note: str) -> None:
    if here == "none":
        assert note, f"{helper}: why?"
        return
    for name in map(code, here.split(", ")):
        assert name in VERBS or name in operators(), name
