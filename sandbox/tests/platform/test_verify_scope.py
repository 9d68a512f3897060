"""Which of two datasources the permission lights are about: ``up --verify-scope``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from lightly_sandbox.cli.commands import app
from tests.lab.sandbox import DELETE, LIST, READ, WRITE, Api, Customer, Process, allow, with_keys, with_role
from tests.lab.worker import THUMBNAILS, Lab, own_worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIGHTS = ("canList", "canRead", "canWrite", "canOverwrite")
EVERYTHING = (LIST, READ, WRITE, DELETE)


@pytest.fixture(
    scope="module",
    params=[
        "combined",
        *(pytest.param(scope, marks=pytest.mark.exhaustive) for scope in ("input", "lightly", "worst")),
    ],
)
def scoped(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Api, Customer]]:
    """A scope, and a sandbox that has it."""
    if request.param == "combined":
        # The default: the sandbox of all tests has it.
        yield request.param, request.getfixturevalue("api"), request.getfixturevalue("customer")
        return
    state = tmp_path_factory.mktemp(request.param) / "state"
    process = Process.start(state, "--workers", "0", "--verify-scope", request.param)
    try:
        ready = process.ready()
        yield request.param, Api(ready["lightly_url"], ready["token"]), Customer(ready)
    finally:
        process.stop()


def _verify(api: Api, *sources: dict[str, Any]) -> tuple[list[str], dict[str, str]]:
    """The green lights, and the errors of the others."""
    dataset_id = api.new_dataset()
    for source in sources:
        api.put_datasource(dataset_id, **source)
    answer = api.ok("GET", f"/v1/datasets/{dataset_id}/datasource/verify")
    errors = answer.get("errors", {})
    green = [light for light in LIGHTS if answer[light]]
    assert sorted(errors) == sorted(set(LIGHTS) - set(green)), "an error for each light that is not green"
    return green, errors


@pytest.mark.parametrize(
    ("of_input", "of_lightly", "expected"),
    [
        # The rights that Lightly asks for: a pipeline must go on with them under each scope.
        (
            (LIST, READ),
            EVERYTHING,
            {
                "combined": list(LIGHTS),
                "input": ["canList", "canRead"],
                "lightly": list(LIGHTS),
                "worst": ["canList", "canRead"],
            },
        ),
        (
            EVERYTHING,
            (LIST, READ),
            {
                "combined": ["canList", "canRead"],
                "input": list(LIGHTS),
                "lightly": ["canList", "canRead"],
                "worst": ["canList", "canRead"],
            },
        ),
        (
            (LIST, WRITE),
            (READ, WRITE, DELETE),
            {
                "combined": ["canList", "canWrite", "canOverwrite"],
                "input": ["canList", "canWrite"],
                "lightly": ["canRead", "canWrite", "canOverwrite"],
                "worst": ["canWrite"],
            },
        ),
        (
            EVERYTHING,
            EVERYTHING,
            {scope: list(LIGHTS) for scope in ("combined", "input", "lightly", "worst")},
        ),
    ],
    ids=["as asked for", "the wrong way round", "something lacks on both", "everything"],
)
def test_the_lights_are_about_the_datasource_of_the_scope(
    scoped: tuple[str, Api, Customer],
    of_input: tuple[str, ...],
    of_lightly: tuple[str, ...],
    expected: dict[str, list[str]],
) -> None:
    scope, api, customer = scoped
    raw, lightly = customer.bucket("a.jpg"), customer.bucket("b.jpg")
    green, errors = _verify(
        api,
        with_keys(f"s3://{raw}", "INPUT", customer.user(*allow(raw, *of_input))),
        with_keys(f"s3://{lightly}", "LIGHTLY", customer.user(*allow(lightly, *of_lightly))),
    )
    assert green == expected[scope]
    assert all("AccessDenied" in error for error in errors.values())
    assert (customer.keys(raw), customer.keys(lightly)) == (["a.jpg"], ["b.jpg"])


@pytest.mark.exhaustive(sample="test_the_lights_are_about_the_datasource_of_the_scope")
def test_a_run_needs_no_more_than_lightly_asks_for(scoped: tuple[str, Api, Customer], tmp_path: Path) -> None:
    scope, api, customer = scoped
    with own_worker(api, scope, tmp_path / "log"):
        lab = Lab(api, customer, customer.user(), scope)
        bucket, dataset_id = lab.photos(3), api.new_dataset()
        reads = customer.user(*allow(bucket, LIST, READ))
        lab.datasource(dataset_id, "INPUT", f"s3://{bucket}/photos/", reads)
        writes = customer.user(*allow(bucket, *EVERYTHING))
        lab.datasource(dataset_id, "LIGHTLY", f"s3://{bucket}/lightly/", writes, **THUMBNAILS)
        run = lab.do(dataset_id, nSamples=1)
    assert run["state"] == "COMPLETED", run["message"]


def test_an_error_is_that_of_the_datasource_that_was_tried(scoped: tuple[str, Api, Customer]) -> None:
    scope, api, customer = scoped
    keys = customer.user({"Effect": "Allow", "Action": "s3:*", "Resource": "*"})
    bucket = customer.bucket("a.jpg")
    role = customer.role("an-external-id", *allow(bucket, *EVERYTHING))
    missing = with_keys("s3://there-is-no-such-bucket", "INPUT", keys)
    refused = with_role(f"s3://{bucket}", "LIGHTLY", role, "another-external-id")
    found, errors = _verify(api, missing, refused)
    assert found == []
    said = {light: error.partition(":")[0] for light, error in errors.items()}
    of_input = dict.fromkeys(LIGHTS, "NoSuchBucket")
    of_lightly = dict.fromkeys(LIGHTS, "AccessDenied")
    assert (
        said
        == {
            "combined": {light: (of_input if light in LIGHTS[:2] else of_lightly)[light] for light in LIGHTS},
            "input": of_input,
            "lightly": of_lightly,
            "worst": of_input,
        }[scope]
    )


@pytest.mark.parametrize("purpose", ["INPUT", "LIGHTLY", "INPUT_OUTPUT"])
def test_with_one_datasource_all_scopes_are_the_same(scoped: tuple[str, Api, Customer], purpose: str) -> None:
    _, api, customer = scoped
    bucket = customer.bucket("a.jpg")
    keys = customer.user(*allow(bucket, LIST, WRITE))
    assert _verify(api, with_keys(f"s3://{bucket}", purpose, keys))[0] == ["canList", "canWrite"]


def test_another_scope_is_refused(tmp_path: Path) -> None:
    arguments = ["up", "--state-dir", str(tmp_path / "state"), "--verify-scope", "best"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "worst" in result.stderr
    assert not (tmp_path / "state").exists()
