from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.exceptions import LightlyAuthenticationError, LightlyDatasetConflictError
from lightly_provider.operators.dataset import CreateLightlyDatasetOperator
from tests.contract.samples import documented_answer
from tests.final_errors import final
from tests.unit.api.scripted_platform import Answer
from tests.unit.operators.example_operators import DATASET

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.api.scripted_platform import ScriptedPlatform


def found(*items: dict[str, Any]) -> Answer:
    return Answer(200, documented_answer("get_datasets_query_by_name", *items))


def create(**arguments: Any) -> CreateLightlyDatasetOperator:
    return CreateLightlyDatasetOperator(task_id="a_task", dataset_name="photos", **arguments)


def test_the_new_datasets_id_is_returned_and_its_page_linked(
    platform: Callable[..., ScriptedPlatform], context: dict[str, Any]
) -> None:
    started = platform(found(), Answer(201, documented_answer("create_dataset", id=DATASET)))
    assert create(dataset_type="Videos").execute(context) == DATASET  # type: ignore[arg-type]
    assert started.received[1].json["type"] == "Videos"
    assert context["ti"].xcoms == {"lightly_dataset_url": f"https://app.lightly.ai/dataset/{DATASET}"}


def test_an_instance_of_a_mapped_task_pushes_its_name(
    platform: Callable[..., ScriptedPlatform], context: dict[str, Any]
) -> None:
    platform(found({"id": DATASET, "name": "photos", "type": "Images"}))
    context["ti"].map_index = 3
    create().execute(context)  # type: ignore[arg-type]
    assert context["ti"].xcoms["dataset_name"] == "photos"


def test_the_second_run_finds_what_the_first_one_made(
    platform: Callable[..., ScriptedPlatform], context: dict[str, Any]
) -> None:
    started = platform(found({"id": DATASET, "name": "photos", "type": "Images"}))
    for _ in range(2):
        assert create().execute(context) == DATASET  # type: ignore[arg-type]
    assert {received.method for received in started.received} == {"GET"}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [({"if_exists": "fail"}, "if_exists is 'fail'"), ({"dataset_type": "Videos"}, r"exists with type\s+Images")],
)
def test_a_dataset_that_may_not_serve_fails_the_task(
    platform: Callable[..., ScriptedPlatform], context: dict[str, Any], arguments: dict[str, Any], expected: str
) -> None:
    platform(found({"id": DATASET, "name": "photos", "type": "Images"}))
    with pytest.raises(final(LightlyDatasetConflictError), match=expected):
        create(**arguments).execute(context)  # type: ignore[arg-type]
    assert context["ti"].xcoms == {}


def test_a_wrong_token_fails_the_task(platform: Callable[..., ScriptedPlatform], context: dict[str, Any]) -> None:
    platform(Answer(401, {"code": "UNAUTHORIZED", "error": "no"}))
    with pytest.raises(final(LightlyAuthenticationError), match="Check the API token in the password field"):
        create().execute(context)  # type: ignore[arg-type]
