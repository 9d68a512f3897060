from __future__ import annotations

from typing import Any

import pytest

from lightly_provider.api import answers as errors
from lightly_provider.aws.regions import CONTRACT_REGIONS
from lightly_provider.contract import (
    BIT_MASK_PATTERN,
    DATASET_NAME_PATTERN,
    EXTERNAL_ID_PATTERN,
    ID_PATTERN,
    KMS_KEY_ARN_PATTERN,
    RESOURCE_NAME_PATTERN,
    ROLE_ARN_PATTERN,
    SHORTEST_EXTERNAL_ID,
    SHORTEST_NAME,
    SHORTEST_ROLE_ARN,
    TAG_NAME_PATTERN,
    ArtifactType,
    Creator,
    DatasetType,
    ErrorCode,
    Purpose,
    RunPriority,
    RunState,
    ScheduledRunState,
    SharedAccessType,
    WorkerState,
    WorkerType,
)
from lightly_provider.operators.dataset import DATASET_TYPES
from lightly_provider.operators.datasource import PURPOSES
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
        ("DockerWorkerState", [str(state) for state in WorkerState]),
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


def test_the_purposes_are_the_contracts() -> None:
    assert sorted(Purpose) == sorted(values("DatasourcePurpose"))
    assert list(PURPOSES) == list(Purpose)


def test_the_regions_are_the_contracts() -> None:
    assert sorted(CONTRACT_REGIONS) == sorted(values("S3Region"))


def test_the_names_of_states_are_their_values() -> None:
    assert all(state.name == state.value for state in (*RunState, *ScheduledRunState))


def test_every_error_code_with_a_class_of_its_own_is_in_the_contract() -> None:
    assert set(ErrorCode) <= set(values("ApiErrorCode"))
    assert set(errors._BY_CODE) == set(ErrorCode)


def test_the_types_of_artifacts_are_the_contracts() -> None:
    assert list(ArtifactType) == values("DockerRunArtifactType")


def test_the_kinds_of_shared_access_are_the_contracts() -> None:
    assert list(SharedAccessType) == values("SharedAccessType")


def test_creator_and_type_of_worker_are_in_the_contract() -> None:
    assert set(Creator) <= set(values("Creator"))
    assert list(WorkerType) == values("DockerWorkerType")


@pytest.mark.parametrize(
    ("pattern", "model", "member"),
    [
        (ID_PATTERN, "DatasetData", "id"),
        (DATASET_NAME_PATTERN, "DatasetCreateRequest", "name"),
        (TAG_NAME_PATTERN, "TagData", "name"),
        (RESOURCE_NAME_PATTERN, "AutoTaskCrop", "name"),
        (BIT_MASK_PATTERN, "TagData", "bitMaskData"),
        (ROLE_ARN_PATTERN, "DatasourceConfigS3DelegatedAccess", "s3ARN"),
        (EXTERNAL_ID_PATTERN, "DatasourceConfigS3DelegatedAccess", "s3ExternalId"),
        (KMS_KEY_ARN_PATTERN, "DatasourceConfigS3DelegatedAccess", "s3ServerSideEncryptionKMSKey"),
    ],
)
def test_the_patterns_are_the_contracts(pattern: str, model: str, member: str) -> None:
    fields = {f["wire"]: f for f in contract().models[model]["fields"]}
    assert pattern == fields[member]["schema"]["pattern"]


@pytest.mark.parametrize(
    ("length", "model", "member"),
    [
        (SHORTEST_NAME, "DatasetCreateRequest", "name"),
        (SHORTEST_NAME, "TagData", "name"),
        (SHORTEST_NAME, "CreateDockerWorkerRegistryEntryRequest", "name"),
        (SHORTEST_ROLE_ARN, "DatasourceConfigS3DelegatedAccess", "s3ARN"),
        (SHORTEST_EXTERNAL_ID, "DatasourceConfigS3DelegatedAccess", "s3ExternalId"),
    ],
)
def test_the_shortest_names_are_the_contracts(length: int, model: str, member: str) -> None:
    fields = {f["wire"]: f for f in contract().models[model]["fields"]}
    assert length == fields[member]["schema"]["minLength"]
