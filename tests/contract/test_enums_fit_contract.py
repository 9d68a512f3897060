from __future__ import annotations

from typing import Any, get_args

import pytest

from lightly_provider.api import answers as errors
from lightly_provider.api import calls
from lightly_provider.api.models.datasource import WirePurpose
from lightly_provider.aws.regions import CONTRACT_REGIONS
from lightly_provider.contract import (
    DATASET_NAME_PATTERN,
    ID_PATTERN,
    RESOURCE_NAME_PATTERN,
    TAG_NAME_PATTERN,
    DatasetType,
    Purpose,
    RunPriority,
    RunState,
    ScheduledRunState,
)
from lightly_provider.operators.dataset import DATASET_TYPES
from lightly_provider.operators.worker import PRIORITIES
from tests.contract.schema import contract


def values(name: str) -> list[Any]:
    model = contract().models[name]
    assert model["kind"] == "enum"
    return list(model["values"])


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("DockerRunState", [str(state) for state in RunState]),
        ("DockerRunScheduledState", [str(state) for state in ScheduledRunState]),
        ("DockerRunScheduledState", list(calls.ALL_SCHEDULE_STATES)),
        ("DockerRunScheduledPriority", [str(priority) for priority in RunPriority]),
        ("DockerRunScheduledPriority", list(PRIORITIES)),
    ],
)
def test_the_values_and_their_order_are_the_contracts(name: str, ours: list[str]) -> None:
    assert ours == values(name)


def test_a_user_can_create_every_type_of_dataset_but_the_platforms_own_crops() -> None:
    expected = [value for value in values("DatasetType") if value != "Crops"]
    assert [str(t) for t in DatasetType] == expected
    assert list(DATASET_TYPES) == expected


@pytest.mark.parametrize("ours", [get_args(WirePurpose), [str(purpose) for purpose in Purpose]])
def test_the_purposes_are_the_contracts(ours: list[str]) -> None:
    assert sorted(ours) == sorted(values("DatasourcePurpose"))


def test_the_regions_are_the_contracts() -> None:
    assert sorted(CONTRACT_REGIONS) == sorted(values("S3Region"))


def test_the_names_of_states_are_their_values() -> None:
    assert all(state.name == state.value for state in (*RunState, *ScheduledRunState))


def test_every_error_code_with_a_class_of_its_own_is_in_the_contract() -> None:
    assert set(errors._BY_CODE) <= set(values("ApiErrorCode"))


def test_the_artifact_that_holds_the_report_is_in_the_contract() -> None:
    assert "REPORT_V2_JSON" in values("DockerRunArtifactType")


@pytest.mark.parametrize(
    ("pattern", "model", "member"),
    [
        (ID_PATTERN, "DatasetData", "id"),
        (DATASET_NAME_PATTERN, "DatasetCreateRequest", "name"),
        (TAG_NAME_PATTERN, "TagData", "name"),
        (RESOURCE_NAME_PATTERN, "AutoTaskCrop", "name"),
    ],
)
def test_the_patterns_are_the_contracts(pattern: str, model: str, member: str) -> None:
    fields = {f["wire"]: f for f in contract().models[model]["fields"]}
    assert pattern == fields[member]["schema"]["pattern"]
