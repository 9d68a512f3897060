"""What scheduling says of a selection whose needs are not met."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.sandbox import allow, with_keys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.lab.sandbox import Api, Customer

DETECTION = {
    "task_type": "object-detection",
    "categories": [{"id": 0, "name": "car"}, {"id": 1, "name": "bus"}],
}
CLASSIFICATION = {**DETECTION, "task_type": "classification"}
METADATA = [
    {"name": "T", "path": "weather.temperature", "defaultValue": 0.0, "valueDataType": "NUMERIC_FLOAT"},
    {"name": "S", "path": "scene", "defaultValue": "", "valueDataType": "CATEGORICAL_STRING"},
]
GOOD = {
    "predictions/tasks.json": ["cars", "kind"],
    "predictions/cars/schema.json": DETECTION,
    "predictions/kind/schema.json": CLASSIFICATION,
    "metadata/schema.json": METADATA,
}
WEIGHTS, DIVERSITY = {"type": "WEIGHTS"}, {"type": "DIVERSITY"}
UNIFORM = {"type": "BALANCE", "distribution": "UNIFORM"}
COUNT = {"type": "PREDICTIONS", "task": "cars", "name": "CATEGORY_COUNT"}
CLASSES = {"type": "PREDICTIONS", "task": "cars", "name": "CLASS_DISTRIBUTION"}
SCORE = {"type": "SCORES", "task": "cars", "score": "uncertainty_entropy"}
OBJECTS = {"type": "EMBEDDINGS", "task": "cars"}
TEMPERATURE = {"type": "METADATA", "key": "weather.temperature"}
QUERY = {"type": "EMBEDDINGS", "tagName": "query"}
SIMILARITY = {"type": "SIMILARITY"}
# The workers of other tests shall not take what is scheduled here.
NOBODY = "a label that no worker has"
INVALID_FILES = "DOCKER_WORKER_CONFIG_REFERENCES_INVALID_FILES"


@dataclass(frozen=True)
class Scheduling:
    """Runs of selections on a dataset whose LIGHTLY datasource has some files."""

    api: Api
    customer: Customer

    def dataset(self, files: Mapping[str, Any], *actions: str) -> tuple[str, str]:
        """The dataset, and the address of its own files."""
        bucket = self.customer.bucket()
        for name, content in files.items():
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.customer.s3.put_object(Bucket=bucket, Key=f"lightly/.lightly/{name}", Body=body)
        keys = self.customer.user(*allow(bucket, *(actions or ("ListBucket", "GetObject"))))
        dataset_id = self.api.new_dataset()
        self.api.put_datasource(dataset_id, **with_keys(f"s3://{bucket}/in/", "INPUT", keys))
        self.api.put_datasource(dataset_id, **with_keys(f"s3://{bucket}/lightly/", "LIGHTLY", keys))
        return dataset_id, f"s3://{bucket}/lightly/.lightly/"

    def request(
        self, dataset_id: str, source: Mapping[str, Any], strategy: Mapping[str, Any], **more: Any
    ) -> tuple[str, str, dict[str, Any]]:
        selection = {"nSamples": 5, "strategies": [{"input": source, "strategy": strategy}], **more}
        config = {"version": "V4", "config": {"workerType": "FULL", "selection": selection}}
        config_id = self.api.ok("POST", "/v1/docker/worker/config/vX", config)["id"]
        path = f"/v1/datasets/{dataset_id}/docker/worker/schedule"
        return "POST", path, {"configId": config_id, "priority": "MID", "runsOn": [NOBODY]}


@pytest.fixture
def scheduling(api: Api, customer: Customer) -> Scheduling:
    return Scheduling(api, customer)


def without(name: str) -> dict[str, Any]:
    return {key: content for key, content in GOOD.items() if key != name}


@pytest.mark.parametrize(
    ("source", "strategy"),
    [
        (COUNT, WEIGHTS),
        (CLASSES, {"type": "BALANCE", "target": {"bus": 0.5}}),
        (SCORE, WEIGHTS),
        ({**SCORE, "task": "kind"}, WEIGHTS),
        (OBJECTS, DIVERSITY),
        (TEMPERATURE, WEIGHTS),
        ({"type": "METADATA", "key": "scene"}, UNIFORM),
        ({"type": "METADATA", "key": "lightly.sharpness"}, WEIGHTS),
    ],
)
def test_what_the_bucket_has_may_be_used(
    scheduling: Scheduling, source: dict[str, Any], strategy: dict[str, Any]
) -> None:
    dataset_id, _ = scheduling.dataset(GOOD)
    assert scheduling.api.ok(*scheduling.request(dataset_id, source, strategy))["id"]


@pytest.mark.parametrize(
    ("files", "source", "strategy", "code", "said"),
    [
        ({}, COUNT, WEIGHTS, INVALID_FILES, "task 'cars', but there is no file {}predictions/tasks.json"),
        (
            {**GOOD, "predictions/tasks.json": ["kind"]},
            SCORE,
            WEIGHTS,
            INVALID_FILES,
            "{}predictions/tasks.json does not list; it lists kind. Add it there, and its files below"
            " {}predictions/cars/",
        ),
        (
            {**GOOD, "predictions/tasks.json": b"cars"},
            SCORE,
            WEIGHTS,
            INVALID_FILES,
            "{}predictions/tasks.json is no use: Expecting value",
        ),
        (
            without("predictions/cars/schema.json"),
            CLASSES,
            UNIFORM,
            INVALID_FILES,
            "there is no file {}predictions/cars/schema.json",
        ),
        (
            {**GOOD, "predictions/cars/schema.json": {"task_type": "magic"}},
            OBJECTS,
            DIVERSITY,
            INVALID_FILES,
            "{}predictions/cars/schema.json is no use: its task_type is 'magic'",
        ),
        (
            GOOD,
            {**COUNT, "categories": ["tram"]},
            WEIGHTS,
            INVALID_FILES,
            "the category 'tram' of the task 'cars', which is not in {}predictions/cars/schema.json",
        ),
        (
            GOOD,
            CLASSES,
            {"type": "BALANCE", "target": {"car": 0.5, "tram": 0.5}},
            INVALID_FILES,
            "the category 'tram'",
        ),
        (
            GOOD,
            {**SCORE, "task": "kind", "score": "object_frequency"},
            WEIGHTS,
            "SCORE_UNKNOWN",
            "type classification by {}predictions/kind/schema.json",
        ),
        (
            GOOD,
            {**OBJECTS, "task": "kind"},
            DIVERSITY,
            "DOCKER_WORKER_CONFIG_INVALID",
            "the objects of the task 'kind', which is a classification",
        ),
        (
            GOOD,
            {**SCORE, "task": "lightly_pretagging"},
            WEIGHTS,
            "NOT_IMPLEMENTED",
            "the sandbox's worker has no object detector",
        ),
        ({}, TEMPERATURE, WEIGHTS, INVALID_FILES, "there is no file {}metadata/schema.json"),
        (
            GOOD,
            {"type": "METADATA", "key": "weather.wind"},
            WEIGHTS,
            INVALID_FILES,
            "'weather.wind', but {}metadata/schema.json has no entry with that path; it has scene,",
        ),
        (
            GOOD,
            TEMPERATURE,
            UNIFORM,
            INVALID_FILES,
            "with BALANCE, but its valueDataType in {}metadata/schema.json is not CATEGORICAL",
        ),
        (
            GOOD,
            {"type": "METADATA", "key": "lightly.mood"},
            WEIGHTS,
            "NOT_IMPLEMENTED",
            "'lightly.mood', which the sandbox's worker does not measure",
        ),
        (GOOD, QUERY, SIMILARITY, "TAG_QUERYTAG_NOT_IN_DATASET", "the tag 'query'"),
        (GOOD, {**QUERY, "datasetId": "0" * 24}, SIMILARITY, "DATASET_UNKNOWN", f"no dataset {'0' * 24}"),
    ],
)
def test_what_the_bucket_lacks_is_named_with_its_place(
    scheduling: Scheduling,
    files: dict[str, Any],
    source: dict[str, Any],
    strategy: dict[str, Any],
    code: str,
    said: str,
) -> None:
    dataset_id, own = scheduling.dataset(files)
    request = scheduling.request(dataset_id, source, strategy)
    status, found, error = scheduling.api.refused(*request)
    assert (status, found) == (422, code)
    assert said.replace("{}", own) in error
    assert scheduling.api.ok("GET", request[1]) == []


def test_a_file_that_may_not_be_read_is_told_in_the_words_of_aws(scheduling: Scheduling) -> None:
    dataset_id, own = scheduling.dataset(GOOD, "ListBucket")
    status, code, error = scheduling.api.refused(*scheduling.request(dataset_id, COUNT, WEIGHTS))
    assert (status, code) == (422, INVALID_FILES)
    assert f"{own}predictions/tasks.json cannot be read: AccessDenied" in error


def test_a_selection_that_contradicts_itself_is_a_bad_request(scheduling: Scheduling) -> None:
    dataset_id, _ = scheduling.dataset(GOOD)
    refused = scheduling.api.refused(*scheduling.request(dataset_id, {"type": "RANDOM"}, DIVERSITY))
    assert refused[:2] == (400, "DOCKER_WORKER_CONFIG_INVALID")
    assert "RANDOM with DIVERSITY" in refused[2]


def test_the_sandbox_says_what_it_alone_cannot_do(scheduling: Scheduling) -> None:
    dataset_id, _ = scheduling.dataset(GOOD)
    request = scheduling.request(dataset_id, {"type": "RANDOM"}, WEIGHTS, lightlyPathRegex=".*")
    assert scheduling.api.refused(*request)[:2] == (422, "NOT_IMPLEMENTED")


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("mine.csv", "NOT_IMPLEMENTED", "{}embeddings/mine.csv is there, but"),
        (".lightly/embeddings/mine.csv", "NOT_IMPLEMENTED", "{}embeddings/mine.csv is there, but"),
        ("other.csv", INVALID_FILES, "there is no file {}embeddings/other.csv. Put it there"),
    ],
)
def test_custom_embeddings_are_looked_for(scheduling: Scheduling, name: str, code: str, said: str) -> None:
    dataset_id, own = scheduling.dataset({"embeddings/mine.csv": b"filenames,embedding_0,labels"})
    config = {"version": "V4", "config": {"workerType": "FULL", "docker": {"embeddings": name}}}
    config_id = scheduling.api.ok("POST", "/v1/docker/worker/config/vX", config)["id"]
    path = f"/v1/datasets/{dataset_id}/docker/worker/schedule"
    status, found, error = scheduling.api.refused(
        "POST", path, {"configId": config_id, "priority": "MID", "runsOn": [NOBODY]}
    )
    assert (status, found) == (422, code)
    assert said.replace("{}", own) in error


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            ".lightly/none.txt",
            "docker.relevantFilenamesFile is '.lightly/none.txt', but there is no file {}none",
        ),
        (".lightly/wrong.txt", "{}wrong.txt is no use: the line '../a.jpg' is not relative"),
        (".lightly/good.txt", None),
        ("", None),
    ],
)
def test_the_file_of_relevant_filenames_is_looked_for(
    scheduling: Scheduling, name: str, said: str | None
) -> None:
    dataset_id, own = scheduling.dataset({"wrong.txt": b"../a.jpg\n", "good.txt": b"a.jpg\n"})
    config = {"version": "V4", "config": {"workerType": "FULL", "docker": {"relevantFilenamesFile": name}}}
    config_id = scheduling.api.ok("POST", "/v1/docker/worker/config/vX", config)["id"]
    path = f"/v1/datasets/{dataset_id}/docker/worker/schedule"
    request = "POST", path, {"configId": config_id, "priority": "MID", "runsOn": [NOBODY]}
    if said is None:
        assert scheduling.api.ok(*request)["id"]
        return
    status, code, error = scheduling.api.refused(*request)
    assert (status, code) == (422, INVALID_FILES)
    assert said.replace("{}", own) in error


def test_the_check_can_be_switched_off(scheduling: Scheduling) -> None:
    dataset_id, _ = scheduling.dataset({})
    request = scheduling.request(dataset_id, COUNT, WEIGHTS)
    assert scheduling.api.refused(*request, disableConfigValidation="False")[0] == 422
    assert scheduling.api.ok(*request, disableConfigValidation="True")["id"]


def test_a_config_without_a_selection_is_scheduled(scheduling: Scheduling) -> None:
    dataset_id, _ = scheduling.dataset({})
    config = {"version": "V4", "config": {"workerType": "FULL"}}
    config_id = scheduling.api.ok("POST", "/v1/docker/worker/config/vX", config)["id"]
    path = f"/v1/datasets/{dataset_id}/docker/worker/schedule"
    assert scheduling.api.ok("POST", path, {"configId": config_id, "priority": "MID", "runsOn": [NOBODY]})[
        "id"
    ]
