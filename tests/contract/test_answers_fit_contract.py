"""Every answer that the contract documents is understood, and so is one from a platform that is newer than it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.api.calls import Form
from tests.contract.example_calls import CONFIG, DATASET, EXAMPLES, RUN, SAMPLE, SCHEDULED_RUN
from tests.contract.samples import sample
from tests.contract.schema import contract

if TYPE_CHECKING:
    from lightly_provider.api.calls import Call


def documented(call: Call[Any]) -> tuple[int, dict[str, Any]]:
    responses = contract().operation(call.operation)["responses"]
    return next((int(status), schema) for status, schema in responses.items() if status.startswith("2"))


def fitting(example: str, answer: Any) -> Any:
    """The answer about that which the example asks for."""
    if example.endswith("_url"):
        return "https://example.com/signed"
    asked = {
        "get_dataset": ("id", DATASET),
        "get_run": ("id", RUN),
        "get_worker_config": ("id", CONFIG),
        "get_sample": ("id", SAMPLE),
    }
    member, value = asked.get(example, ("scheduledId", SCHEDULED_RUN))
    if example in (*asked, "get_run_of_scheduled_run") and member in answer:
        return answer | {member: value}
    return answer.encode() if EXAMPLES[example].form is Form.LINES else answer


ANSWERED = [name for name, call in EXAMPLES.items() if contract().operation(call.operation)["responses"]]


@pytest.mark.parametrize("full", [False, True], ids=["only what is required", "with all members"])
@pytest.mark.parametrize("example", ANSWERED)
def test_every_documented_answer_is_understood(example: str, full: bool) -> None:
    call = EXAMPLES[example]
    status, schema = documented(call)
    answer = sample(schema, full=full)
    assert contract().answer_faults(call.operation, status, answer) == []
    call.parse(fitting(example, answer))


@pytest.mark.parametrize("example", ANSWERED)
def test_unknown_members_and_unknown_enum_values_pass(example: str) -> None:
    call = EXAMPLES[example]
    _, schema = documented(call)
    assert call.parse(fitting(example, newer(sample(schema, full=True), schema))) is not None


@pytest.mark.parametrize("example", ANSWERED)
def test_null_for_what_is_optional_passes(example: str) -> None:
    call = EXAMPLES[example]
    _, schema = documented(call)
    required, full = (fitting(example, sample(schema, full=full)) for full in (False, True))
    if isinstance(full, dict):
        assert call.parse(dict.fromkeys(full) | required)
    elif isinstance(full, list) and isinstance(full[0], dict):
        needed = sample(schema["items"], full=False)
        assert call.parse([dict.fromkeys(item) | needed for item in full])


def newer(value: Any, schema: dict[str, Any]) -> Any:
    """The answer of a platform that has gained members and enum values since."""
    if "$ref" in schema and contract().models[schema["$ref"]]["kind"] == "enum":
        return "SINCE_INVENTED"
    if isinstance(value, list):
        return [newer(item, schema["items"]) for item in value]
    if isinstance(value, dict) and "$ref" in schema:
        model = contract().models[schema["$ref"]]
        if model["kind"] == "oneOf":
            model = contract().models[model["discriminator"]["mapping"][value[model["discriminator"]["property"]]]]
        members = {f["wire"]: newer(value[f["wire"]], f["schema"]) for f in model["fields"]}
        return members | {"sinceInvented": {"a": [1, None]}}
    return value


def required_places() -> set[tuple[str, str]]:
    """Each call whose answer is an object or a list of them, with each member that our model requires."""
    return {
        (example.split(",")[0], field["wire"])
        for example in ANSWERED
        for field in fields_of(EXAMPLES[example])
        if not parses(EXAMPLES[example], without(fitting(example, full_answer(example)), field["wire"]))
    }


def full_answer(example: str) -> Any:
    return sample(documented(EXAMPLES[example])[1], full=True)


def fields_of(call: Call[Any]) -> list[dict[str, Any]]:
    _, schema = documented(call)
    reference = schema.get("items", schema).get("$ref", "")
    return list(contract().models.get(reference, {}).get("fields", ()))


def without(answer: Any, member: str) -> Any:
    if isinstance(answer, list):
        return [without(item, member) for item in answer]
    return {name: value for name, value in answer.items() if name != member}


def parses(call: Call[Any], answer: Any) -> bool:
    try:
        call.parse(answer)
    except ValueError:
        return False
    return True


def test_what_the_provider_cannot_do_without_is_required_of_the_answer() -> None:
    assert required_places() == {
        ("list_datasets", "id"),
        ("list_datasets", "name"),
        ("list_datasets", "type"),
        ("find_datasets", "id"),
        ("find_datasets", "name"),
        ("find_datasets", "type"),
        ("get_dataset", "id"),
        ("get_dataset", "name"),
        ("get_dataset", "type"),
        ("get_processed_until", "processedUntilTimestamp"),
        ("get_shared_access", "accessType"),
        ("get_shared_access", "teams"),
        ("get_shared_access", "users"),
        ("set_shared_access", "id"),
        *(
            (f"list_{kind}_files", member)
            for kind in ("input", "prediction", "metadata")
            for member in ("hasMore", "cursor", "data")
        ),
        ("list_workers", "id"),
        ("register_worker", "id"),
        ("create_dataset", "id"),
        ("create_worker_config", "id"),
        ("schedule_run", "id"),
        ("verify_datasource", "canList"),
        ("verify_datasource", "canRead"),
        ("verify_datasource", "canWrite"),
        ("verify_datasource", "canOverwrite"),
        ("get_scheduled_runs", "id"),
        ("get_scheduled_runs", "datasetId"),
        ("get_scheduled_runs", "configId"),
        ("get_scheduled_runs", "state"),
        ("list_open_runs", "id"),
        ("list_open_runs", "datasetId"),
        ("list_open_runs", "configId"),
        ("list_open_runs", "state"),
        ("list_runs", "id"),
        ("list_runs", "state"),
        ("list_runs_of_dataset", "id"),
        ("list_runs_of_dataset", "state"),
        ("get_run", "id"),
        ("get_run", "state"),
        ("get_run_of_scheduled_run", "id"),
        ("get_run_of_scheduled_run", "state"),
        ("get_run_tags", "id"),
        ("get_run_tags", "datasetId"),
        ("get_run_tags", "name"),
        ("get_run_tags", "bitMaskData"),
        ("get_tags", "id"),
        ("get_tags", "datasetId"),
        ("get_tags", "name"),
        ("get_tags", "bitMaskData"),
        ("export_samples", "data"),
        ("export_sama_tasks", "data"),
        ("get_sample", "id"),
        ("get_sample", "type"),
        ("get_sample", "fileName"),
        ("create_tag", "id"),
    }


@pytest.mark.parametrize("example", [name for name in EXAMPLES if name not in ANSWERED])
@pytest.mark.parametrize("answer", [None, {}, "OK", [], {"id": 1}])
def test_any_answer_will_do_where_none_is_documented(example: str, answer: Any) -> None:
    assert EXAMPLES[example].parse(answer) is None


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        ("a.jpg\nb c/ü.png\n", ["a.jpg", "b c/ü.png"]),
        ("a.jpg", ["a.jpg"]),
        ("", []),
        ("\n\na.jpg\n\n", ["a.jpg"]),
        ("line\u2028separator.jpg\nnext\x85line.jpg\nform\x0cfeed.jpg", None),
    ],
)
def test_an_export_is_one_name_per_line(answer: Any, names: list[str] | None) -> None:
    expected = answer.split("\n") if names is None else names
    assert EXAMPLES["export_filenames"].parse(answer.encode()) == expected


@pytest.mark.parametrize("answer", [{"url": "x"}, None, 1, ["x"], "some text", "ftp://x", "https://ü", "file:///etc"])
def test_an_artifacts_address_must_be_one(answer: Any) -> None:
    with pytest.raises(ValueError, match="was expected"):
        EXAMPLES["get_artifact_url"].parse(answer)


@pytest.mark.parametrize(
    ("example", "answer", "fault"),
    [
        ("export_samples", [{"id": 1, "data": {"image": "s3://a/\0"}}], "has NUL"),
        ("export_sama_tasks", {"data": {"url": "s3://a/b"}}, "a list of tasks was expected"),
        ("export_sama_tasks", [{"data": {"id": 1}}], "a list of tasks was expected"),
        ("export_sama_tasks", [{"data": {"id": 1, "url": "s3://a/\0"}}], "has NUL"),
        ("get_sample_names", {"0": "a.jpg"}, "a list of file names was expected"),
        ("get_sample_names", ["a.jpg", 1], "a list of file names was expected"),
        ("get_sample_names", ["a.jpg", "\ud800"], "file name 25002 has NUL in it, or is not UTF-8"),
    ],
)
def test_a_page_that_is_no_use_is_refused(example: str, answer: Any, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        EXAMPLES[example].parse(answer)


@pytest.mark.parametrize("mask", ["zz", "", "0x", "-1", "0x1_0", " 0x1", "0b1", "1"])
def test_a_mask_that_is_no_hexadecimal_number_breaks_the_contract(mask: str) -> None:
    tag = {"id": "a" * 24, "datasetId": "b" * 24, "name": "initial-tag", "bitMaskData": mask}
    with pytest.raises(ValueError, match="bitMaskData"):
        EXAMPLES["get_tags"].parse([tag])


@pytest.mark.parametrize(
    "example", ["get_dataset", "get_run", "get_worker_config", "get_run_of_scheduled_run", "get_sample"]
)
def test_an_answer_about_something_else_is_refused(example: str) -> None:
    with pytest.raises(ValueError, match="than was asked for"):
        EXAMPLES[example].parse(full_answer(example))


@pytest.mark.parametrize("mask", ["0x0", "0x1", "0xff01", "0x" + "f" * 300])
def test_a_tag_counts_the_bits_of_its_mask(mask: str) -> None:
    tag = {"id": "a" * 24, "datasetId": "b" * 24, "name": "initial-tag", "bitMaskData": mask}
    (parsed,) = EXAMPLES["get_tags"].parse([tag])
    assert parsed.n_selected == bin(int(mask, 16)).count("1")
