"""The request models and the contract, member by member and both ways."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from lightly_provider.api.models import dataset, datasource, run, sample, wire, worker_config
from lightly_provider.api.models.wire import Answer, Request
from tests.contract.example_calls import (
    DELEGATED_ACCESS_FULL,
    EXAMPLES,
    LIGHTLY_OPTIONS,
    SELECTIONS,
    USER_ACCESS_FULL,
    WORKER_OPTIONS,
)
from tests.contract.schema import contract

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUESTS: dict[type[Request], str] = {
    dataset.DatasetCreateRequest: "DatasetCreateRequest",
    dataset.SharedAccessRequest: "SharedAccessConfigCreateRequest",
    dataset.TagCreateRequest: "TagCreateRequest",
    datasource.S3UserAccessDatasource: "DatasourceConfigS3",
    datasource.S3DelegatedAccessDatasource: "DatasourceConfigS3DelegatedAccess",
    datasource.ProcessedUntilRequest: "DatasourceProcessedUntilTimestampRequest",
    run.WorkerRegistration: "CreateDockerWorkerRegistryEntryRequest",
    run.ScheduleRequest: "DockerRunScheduledCreateRequest",
    worker_config.WorkerConfigCreateRequest: "DockerWorkerConfigOmniV4CreateRequest",
}

# Where the provider differs from the contract on purpose: always on the strict side, but for the region.
DEVIATIONS = {
    # Only the two types that a user can create, and never left to the platform's default.
    "DatasetCreateRequest.type: required here only",
    "DatasetCreateRequest.type: only the values Images, Videos",
    "DatasetCreateRequest.creator: only the values USER_PIP",
    # The whole list is written each time, also where it is empty.
    "SharedAccessConfigCreateRequest.users: required here only",
    "SharedAccessConfigCreateRequest.teams: required here only",
    "SharedAccessConfigCreateRequest.creator: only the values USER_PIP",
    "TagCreateRequest.creator: only the values USER_PIP",
    # How a tag came about, beside its samples.
    "TagCreateRequest.changes: not here",
    "TagCreateRequest.preselectedTagId: not here",
    "TagCreateRequest.queryTagId: not here",
    "TagCreateRequest.runId: not here",
    # Of datasets that the platform itself makes.
    "DatasetCreateRequest.imgType: not here",
    "DatasetCreateRequest.parentDatasetId: not here",
    # No JSON number beyond is exact.
    "SelectionConfigV4.nSamples: maximum is 9007199254740992, and not None",
    # The platform gives the id.
    "DatasourceConfigS3.id: not here",
    "DatasourceConfigS3DelegatedAccess.id: not here",
    "DatasourceConfigS3.type: only the values S3",
    "DatasourceConfigS3DelegatedAccess.type: only the values S3DelegatedAccess",
    "DatasourceConfigS3.fullPath: minLength is 1, and not None",
    "DatasourceConfigS3DelegatedAccess.fullPath: minLength is 1, and not None",
    # AWS has opened regions since the contract was published, so the platform decides.
    "DatasourceConfigS3.s3Region: any string instead of the contract's values",
    "DatasourceConfigS3DelegatedAccess.s3Region: any string instead of the contract's values",
    "DockerRunScheduledCreateRequest.creator: only the values USER_PIP",
    "CreateDockerWorkerRegistryEntryRequest.creator: only the values USER_PIP",
    # The worker's container knows it.
    "CreateDockerWorkerRegistryEntryRequest.dockerVersion: not here",
    "DockerWorkerConfigOmniV4CreateRequest.version: only the values V4",
    "DockerWorkerConfigOmniV4CreateRequest.creator: only the values USER_PIP",
    "AutoTaskTiling.type: only the values TILING",
    "AutoTaskCrop.type: only the values CROP",
    # Checked by a validator, see test_categories_are_unique.
    "SelectionConfigV4EntryInput.categories: uniqueItems is None, and not True",
}
LIMITS = ("pattern", "minLength", "minimum", "maximum", "exclusiveMinimum", "minItems", "maxItems", "uniqueItems")


class Comparison:
    """Collects the differences between a request model's JSON schema and the contract's facts."""

    def __init__(self, model: type[Request], name: str) -> None:
        self.ours = model.model_json_schema(by_alias=True)
        self.compared: set[str] = set()
        self.differences = list(self.objects(self.ours, name))

    def resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Our schema without references, and without the null that stands for "left out"."""
        if "$ref" in schema:
            return self.resolved(self.ours["$defs"][schema["$ref"].rpartition("/")[2]])
        if "anyOf" in schema:
            (kept,) = [s for s in schema["anyOf"] if s.get("type") != "null"]
            return self.resolved(kept)
        return schema

    def objects(self, ours: dict[str, Any], name: str) -> Iterator[str]:
        facts = {field["wire"]: field for field in contract().models[name]["fields"]}
        members = ours["properties"]
        self.compared.add(name)
        if ours.get("additionalProperties") is not False:
            yield f"{name}: unknown members pass"
        yield from (f"{name}.{wire}: not here" for wire in facts if wire not in members)
        yield from (f"{name}.{wire}: not in the contract" for wire in members if wire not in facts)
        for wire_name in members.keys() & facts.keys():
            place, field, member = f"{name}.{wire_name}", facts[wire_name], members[wire_name]
            always_sent = wire_name in ours.get("required", ()) or member.get("default") is not None
            if field["required"] and not always_sent:
                yield f"{place}: required there, and may be left out here"
            if wire_name in ours.get("required", ()) and not field["required"]:
                yield f"{place}: required here only"
            if "default" in field and member.get("default") != field["default"]:
                yield f"{place}: default is {member.get('default')}, and not {field['default']}"
            yield from self.values(self.resolved(member), field["schema"], place)

    def values(self, ours: dict[str, Any], facts: dict[str, Any], place: str) -> Iterator[str]:
        model = contract().models[facts["$ref"]] if "$ref" in facts else None
        if model and model["kind"] == "object":
            yield from self.objects(ours, facts["$ref"])
            return
        if model and model["kind"] == "oneOf":
            tag = model["discriminator"]
            if ours["discriminator"]["propertyName"] != tag["property"]:
                yield f"{place}: another discriminator"
            mapping = ours["discriminator"]["mapping"]
            if mapping.keys() != tag["mapping"].keys():
                yield f"{place}: other types, {sorted(mapping)}"
            for key in mapping.keys() & tag["mapping"].keys():
                yield from self.objects(self.resolved({"$ref": mapping[key]}), tag["mapping"][key])
            return
        there = model["values"] if model else facts.get("enum")
        here = [ours["const"]] if "const" in ours else ours.get("enum")
        if (model or facts)["type"] != ours.get("type", "any") and (model or facts)["type"] != "any":
            yield f"{place}: type is {ours.get('type')}"
        if here is not None and (there is None or set(here) < set(there)):
            yield f"{place}: only the values {', '.join(map(str, sorted(here)))}"
        elif there is not None and here is None:
            yield f"{place}: any string instead of the contract's values"
        elif here is not None and set(here) - set(there):
            yield f"{place}: values that the contract lacks, {sorted(set(here) - set(there))}"
        limits = [
            limit for limit in LIMITS if not (there and limit == "minLength") and ours.get(limit) != facts.get(limit)
        ]
        for limit in limits:
            yield f"{place}: {limit} is {ours.get(limit)}, and not {facts.get(limit)}"
        if "items" in facts:
            yield from self.values(self.resolved(ours["items"]), facts["items"], f"{place}[]")


@pytest.fixture(scope="module")
def comparisons() -> list[Comparison]:
    return [Comparison(model, name) for model, name in REQUESTS.items()]


def test_every_request_model_is_as_the_contract_has_it(comparisons: list[Comparison]) -> None:
    assert {difference for c in comparisons for difference in c.differences} == DEVIATIONS


def test_no_member_of_the_worker_configuration_is_missing(comparisons: list[Comparison]) -> None:
    (of_config,) = [c for c in comparisons if "DockerWorkerConfigOmniV4CreateRequest" in c.compared]
    assert of_config.compared >= {
        "DockerWorkerConfigV4",
        "DockerWorkerConfigV4Docker",
        "DockerWorkerConfigV3Lightly",
        "DockerWorkerConfigV3LightlyCollate",
        "SelectionConfigV4EntryStrategy",
        "SelectionConfigV3EntryStrategyAllOfTargetRange",
        "AutoTaskCrop",
    }
    assert not [d for d in of_config.differences if d.endswith(("not here", "not in the contract"))]


def test_every_request_model_of_the_package_is_compared(comparisons: list[Comparison]) -> None:
    def below(model: type[Request]) -> set[type[Request]]:
        return {model}.union(*(below(child) for child in model.__subclasses__()))

    concrete = {m for m in below(Request) - {Request} if not m.__name__.startswith("_")}
    compared = {name for c in comparisons for name in c.compared}
    assert len(concrete) == len(compared), (sorted(m.__name__ for m in concrete), sorted(compared))


def test_members_keep_their_python_names_out_of_the_wire() -> None:
    snake = {"stopping_condition_minimum_distance"}
    for call in EXAMPLES.values():
        for name in all_names(call.body):
            assert "_" not in name or name in snake, f"{call.operation}: {name}"


def all_names(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            # The keys of a target are the user's own class names.
            yield from () if name == "target" else all_names(inner)
    if isinstance(value, list):
        for inner in value:
            yield from all_names(inner)


def test_the_users_own_class_names_are_sent_as_they_are() -> None:
    body = EXAMPLES["create_worker_config, everything"].body
    strategies = body["config"]["selection"]["strategies"]
    assert strategies[-1]["strategy"]["target"] == {"car": 0.5, "snake_case": 0.5}


# --- what the JSON schema cannot say ------------------------------------------------------------------------------


def selection(**changes: Any) -> worker_config.SelectionConfig:
    return worker_config.SelectionConfig.model_validate({**SELECTIONS["small"], **changes})


def entry(input_: dict[str, Any], strategy: dict[str, Any]) -> dict[str, Any]:
    return {"strategies": [{"input": input_, "strategy": strategy}]}


def test_categories_are_unique() -> None:
    with pytest.raises(ValidationError, match="names one of them twice"):
        selection(
            **entry(
                {"type": "PREDICTIONS", "task": "t", "name": "CATEGORY_COUNT", "categories": ["a", "a"]},
                {"type": "WEIGHTS"},
            )
        )


@pytest.mark.parametrize("sizes", [{"n_samples": None}, {"proportion_samples": 0.5}])
def test_a_selection_has_exactly_one_size(sizes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="exactly one of 'n_samples' and 'proportion_samples'"):
        selection(**sizes)


@pytest.mark.parametrize(
    ("input_", "strategy", "needed"),
    [
        ({"type": "SCORES", "task": "t"}, {"type": "WEIGHTS"}, "'score'"),
        ({"type": "SCORES", "score": "s"}, {"type": "WEIGHTS"}, "'task'"),
        ({"type": "METADATA"}, {"type": "WEIGHTS"}, "'key'"),
        ({"type": "PREDICTIONS", "task": "t"}, {"type": "BALANCE"}, "'name'"),
        ({"type": "EMBEDDINGS"}, {"type": "THRESHOLD", "threshold": 1}, "'operation'"),
        ({"type": "EMBEDDINGS"}, {"type": "THRESHOLD", "operation": "BIGGER"}, "'threshold'"),
        ({"type": "EMBEDDINGS"}, {"type": "BALANCE", "distribution": "TARGET"}, "'target'"),
        ({"type": "EMBEDDINGS"}, {"type": "BALANCE", "distribution": "TARGET", "target": {}}, "'target'"),
    ],
)
def test_an_input_and_a_strategy_have_what_their_type_needs(
    input_: dict[str, Any], strategy: dict[str, Any], needed: str
) -> None:
    with pytest.raises(ValidationError, match=needed):
        selection(**entry(input_, strategy))


@pytest.mark.parametrize(
    ("model", "values", "field"),
    [
        (dataset.DatasetCreateRequest, {"name": "abc\n", "type": dataset.DatasetType.IMAGES}, "name"),
        (run.ScheduleRequest, {"config_id": "a" * 24 + "\n", "priority": run.RunPriority.LOW}, "config_id"),
        (
            datasource.S3DelegatedAccessDatasource,
            DELEGATED_ACCESS_FULL.model_dump() | {"s3_external_id": "a" * 10 + "\n"},
            "s3_external_id",
        ),
        (
            datasource.S3DelegatedAccessDatasource,
            DELEGATED_ACCESS_FULL.model_dump() | {"s3_arn": "arn:aws-cn:iam::123456789012:role/x"},
            "s3_arn",
        ),
        (
            datasource.S3UserAccessDatasource,
            USER_ACCESS_FULL.model_dump() | {"kms_key_arn": "arn:aws:kms:eu-west-1:1:key/x"},
            "kms_key_arn",
        ),
    ],
)
def test_patterns_are_anchored_and_errors_repeat_no_value(
    model: type[Request], values: dict[str, Any], field: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        model.model_validate(values)
    (error,) = refused.value.errors()
    assert error["loc"] == (field,)
    assert str(values[field]).strip() not in str(refused.value)


@pytest.mark.parametrize(
    ("section", "changes"),
    [
        (worker_config.WorkerOptions, {"num_threads": "2"}),
        (worker_config.WorkerOptions, {"num_threads": 2.0}),
        (worker_config.WorkerOptions, {"use_datapool": "true"}),
        (worker_config.WorkerOptions, {"use_datapool": 1}),
        (worker_config.LightlyOptions, {"optimizer": {"lr": float("nan")}}),
        (worker_config.LightlyOptions, {"optimizer": {"lr": float("inf")}}),
        (worker_config.LightlyOptions, {"trainer": {"precision": 64}}),
        (worker_config.LightlyOptions, {"collate": {"sigmas": [1]}}),
    ],
)
def test_types_are_strict(section: type[Request], changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        section.model_validate(changes)


@pytest.mark.parametrize(
    ("section", "values"),
    [
        (worker_config.WorkerOptions, WORKER_OPTIONS),
        (worker_config.LightlyOptions, LIGHTLY_OPTIONS),
        (worker_config.SelectionConfig, SELECTIONS["everything"]),
    ],
)
def test_wire_names_are_taken_as_well_as_python_names(section: type[Request], values: dict[str, Any]) -> None:
    by_python_name = section.model_validate(values)
    assert section.model_validate(by_python_name.to_wire()) == by_python_name


# --- answers ------------------------------------------------------------------------------------------------------

ANSWERS: dict[type[Answer], str] = {
    wire.CreatedEntity: "CreateEntityResponse",
    dataset.Dataset: "DatasetData",
    dataset.SharedAccess: "SharedAccessConfigData",
    dataset.Tag: "TagData",
    datasource.PermissionLights: "DatasourceConfigVerifyData",
    datasource.ProcessedUntil: "DatasourceProcessedUntilTimestampResponse",
    datasource.PermissionErrors: "DatasourceConfigVerifyDataErrors",
    run.Artifact: "DockerRunArtifactData",
    run.LogEntry: "DockerRunLogEntryData",
    run.LogPage: "DockerRunLogData",
    run.Run: "DockerRunData",
    run.ScheduledRun: "DockerRunScheduledData",
    run.Worker: "DockerWorkerRegistryEntryData",
    worker_config.StoredWorkerConfig: "DockerWorkerConfigV4Data",
    sample.Sample: "SampleData",
    sample.VideoFrameData: "VideoFrameData",
    sample.CropData: "CropData",
    sample.LabelStudioTask: "LabelStudioTask",
    sample.LabelStudioTaskData: "LabelStudioTaskData",
}


@pytest.mark.parametrize(("model", "name"), ANSWERS.items(), ids=lambda value: getattr(value, "__name__", value))
def test_an_answer_model_reads_only_what_the_contract_has_and_requires_no_more(model: type[Answer], name: str) -> None:
    facts = {field["wire"]: field for field in contract().models[name]["fields"]}
    for field_name, field in model.model_fields.items():
        wire_name = str(field.alias)
        assert wire_name in facts, f"{model.__name__}.{field_name}"
        if field.is_required():
            assert facts[wire_name]["required"], f"{model.__name__}.{field_name}"


def test_the_datasource_that_is_read_has_the_members_of_both_that_are_sent() -> None:
    facts = [contract().models[f"DatasourceConfigS3{kind}"]["fields"] for kind in ("", "DelegatedAccess")]
    every = {field["wire"] for fields in facts for field in fields}
    assert {str(field.alias) for field in datasource.Datasource.model_fields.values()} == every


def test_every_answer_model_of_the_package_is_compared() -> None:
    assert set(Answer.__subclasses__()) == {*ANSWERS, datasource.Datasource}
