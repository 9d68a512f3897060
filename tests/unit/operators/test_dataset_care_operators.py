"""Deleting, sharing and tagging as tasks: what is refused before a request, and what they return."""

from __future__ import annotations

from typing import Any

import pytest

from lightly_provider.exceptions import LightlyNotFoundError
from lightly_provider.operators.dataset import (
    CreateLightlyDatasetOperator,
    DeleteLightlyDatasetOperator,
    ShareLightlyDatasetOperator,
)
from lightly_provider.operators.tag import CreateLightlyTagOperator
from tests.contract.example_calls import TAG
from tests.contract.samples import documented_answer
from tests.final_errors import final
from tests.unit.api.scripted_platform import Answer
from tests.unit.hooks.dataset_care_answers import (
    CREATED,
    DONE,
    GONE,
    INITIAL,
    WRITTEN,
    dataset,
    runs,
    schedule,
    shared,
    sharing,
    tags,
)
from tests.unit.operators.example_operators import DATASET
from tests.unit.operators.rendered import in_a_dag

Delete, Share, Tag = DeleteLightlyDatasetOperator, ShareLightlyDatasetOperator, CreateLightlyTagOperator


def refused(operator: type[Any], **arguments: Any) -> str:
    with pytest.raises(ValueError, match=r".") as no:
        operator(task_id="a_task", **{"dataset_id": DATASET} | arguments)
    return str(no.value)


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        ({}, "Neither emails nor teams are given; give whom to share the dataset with, or share_with_nobody=True."),
        ({"replace": True}, "Neither emails nor teams are given; give whom"),
        ({"emails": []}, "emails is [], which is empty; give at least one, or leave it out."),
        ({"emails": ["a@b.c"], "teams": [], "replace": True}, "teams is [], which is empty; give at least one"),
        ({"emails": ["ann"]}, "emails has 'ann'; give email addresses, e.g. 'ann@example.com'."),
        ({"emails": ["a@b.c, d@e.f"]}, "emails has 'a@b.c, d@e.f'; give email addresses"),
        ({"emails": ["a@b.c\n"]}, "emails has 'a@b.c\\n'; give email addresses"),
        ({"teams": [" "]}, "teams has ' ', which is not a name; correct it, or leave it out."),
        ({"share_with_nobody": True, "emails": ["a@b.c"]}, "share_with_nobody is True with emails, teams or replace;"),
        ({"share_with_nobody": True, "replace": True}, "share_with_nobody is True with emails, teams or replace;"),
    ],
)
def test_sharing_with_nobody_is_never_by_accident(arguments: dict[str, Any], answer: str) -> None:
    assert refused(Share, **arguments).startswith(answer)


@pytest.mark.parametrize("value", ["[]", "", "None"])
def test_a_template_that_renders_to_nobody_is_refused_before_a_request(value: str, context: dict[str, Any]) -> None:
    # There is no connection here, so that a request would be another error.
    task = in_a_dag(Share, native=False, params={"x": value}, emails="{{ params.x }}", teams=["a-team"], replace=True)
    with pytest.raises(ValueError, match=r"^emails is "):
        task.execute(context)


def test_a_task_that_returned_nothing_shares_with_nobody(context: dict[str, Any]) -> None:
    task = Share(task_id="a_task", dataset_id=DATASET, emails=["ann@example.com"], replace=True)
    task.emails = None  # what an XCom that is not there renders to
    with pytest.raises(ValueError, match=r"^emails is None; give a list of texts"):
        task.execute(context)  # type: ignore[arg-type]


def test_sharing_returns_who_has_access_and_what_changed(platform: Any, context: dict[str, Any]) -> None:
    platform(sharing(shared(["ann@example.com"])), WRITTEN, sharing(shared(["bob@example.com"], ["a-team"])))
    task = Share(task_id="a_task", dataset_id=DATASET, emails=["bob@example.com"], teams=["a-team"], replace=True)
    assert task.execute(context) == {  # type: ignore[arg-type]
        "emails": ["bob@example.com"],
        "teams": ["a-team"],
        "added": ["bob@example.com", "a-team"],
        "removed": ["ann@example.com"],
    }


def test_only_the_argument_that_says_so_shares_with_nobody(platform: Any, context: dict[str, Any]) -> None:
    started = platform(sharing(shared(["ann@example.com"])), WRITTEN, sharing())
    task = Share(task_id="a_task", dataset_id=DATASET, share_with_nobody=True)
    assert task.execute(context)["removed"] == ["ann@example.com"]  # type: ignore[arg-type]
    assert started.received[1].json["users"] == []


@pytest.mark.parametrize("name", ["", "  "])
def test_a_deletion_without_a_confirmation_is_refused(name: str) -> None:
    answer = f"confirm_name is {name!r}; give the name of the dataset to delete."
    assert refused(Delete, confirm_name=name) == answer


@pytest.mark.parametrize("ignore", [True, False])
def test_a_dataset_that_is_not_there_is_an_error_unless_it_may_be_missing(
    platform: Any, context: dict[str, Any], ignore: bool
) -> None:
    platform(GONE)
    task = Delete(task_id="a_task", dataset_id=DATASET, confirm_name="photos", ignore_if_missing=ignore)
    if ignore:
        assert task.execute(context) is False  # type: ignore[arg-type]
    else:
        with pytest.raises(final(LightlyNotFoundError), match="no such dataset"):
            task.execute(context)  # type: ignore[arg-type]


def test_a_deletion_says_that_there_was_a_dataset(platform: Any, context: dict[str, Any]) -> None:
    platform(dataset(), schedule(), runs(), DONE)
    assert Delete(task_id="a_task", dataset_id=DATASET, confirm_name="photos").execute(context) is True  # type: ignore[arg-type]


def test_a_dataset_cannot_be_both_wrong_if_it_exists_and_if_not() -> None:
    with pytest.raises(
        ValueError, match="if_exists and if_missing are both 'fail', so the task would fail in any case"
    ):
        CreateLightlyDatasetOperator(task_id="a_task", dataset_name="photos", if_exists="fail", if_missing="fail")


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        ({"tag_name": "ab"}, "tag_name is 'ab', which the platform does not allow; use at least 3"),
        ({"tag_name": "manual__2026+00:00"}, "tag_name is 'manual__2026+00:00', which"),
        ({}, "Neither filenames nor from_tag is given; give what the tag's samples are."),
        ({"subtract": ["a tag"]}, "Neither filenames nor from_tag is given;"),
        (
            {"filenames": ["a.jpg"], "from_tag": "a tag", "subtract": ["b tag"]},
            "filenames is given with from_tag, subtract; give filenames or other tags, and not both.",
        ),
        ({"filenames": []}, "filenames is [], which is empty; give at least one, or leave it out."),
        ({"filenames": ["a.jpg", ""]}, "filenames has '', which is not a name; correct it, or leave it out."),
        ({"filenames": ["a\x00.jpg"]}, "filenames has 'a\\x00.jpg', which is not a name"),
        ({"from_tag": ""}, "from_tag is ''; give the name of a tag."),
        ({"from_tag": "a tag", "union_with": []}, "union_with is [], which is empty"),
    ],
)
def test_what_is_no_tag_is_refused_when_the_dag_is_parsed(arguments: dict[str, Any], answer: str) -> None:
    assert refused(Tag, **{"tag_name": "my tag"} | arguments).startswith(answer)


def test_filenames_that_render_to_nothing_create_no_tag(context: dict[str, Any]) -> None:
    task = Tag(task_id="a_task", dataset_id=DATASET, tag_name="my tag", filenames=["a.jpg"])
    task.filenames = []
    with pytest.raises(ValueError, match=r"^filenames is \[\], which is empty"):
        task.execute(context)  # type: ignore[arg-type]


def test_each_member_of_a_tags_result_is_an_xcom_of_its_own(platform: Any, context: dict[str, Any]) -> None:
    platform(tags(INITIAL), tags(INITIAL), CREATED)
    task = Tag(task_id="a_task", dataset_id=DATASET, tag_name="my tag", from_tag="initial-tag")
    result = {"dataset_id": DATASET, "tag_id": TAG, "tag_name": "my tag", "n_selected": 10, "created": True}
    assert task.execute(context) == result  # type: ignore[arg-type]
    page = {"lightly_dataset_url": f"https://app.lightly.ai/dataset/{DATASET}"}
    assert context["ti"].xcoms == result | page


def test_a_dataset_that_must_be_there_is_not_created(platform: Any, context: dict[str, Any]) -> None:
    started = platform(Answer(200, documented_answer("get_datasets")))
    task = CreateLightlyDatasetOperator(task_id="a_task", dataset_name="photos", if_missing="fail")
    with pytest.raises(final(LightlyNotFoundError), match="There is no dataset 'photos' of this token's user"):
        task.execute(context)  # type: ignore[arg-type]
    assert {received.method for received in started.received} == {"GET"}
