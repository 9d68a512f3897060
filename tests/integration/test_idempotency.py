"""Find-or-create and compare-then-set: the second time changes nothing, and what changed is set."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.exceptions import LightlyDatasetConflictError
from lightly_provider.hooks.lightly import LightlyHook
from lightly_provider.operators.dataset import CreateLightlyDatasetOperator
from lightly_provider.operators.datasource import DEFAULT_THUMBNAIL_SUFFIX, ConfigureS3DatasourceOperator
from tests.final_errors import final

if TYPE_CHECKING:
    from tests.integration.conftest import Traffic
    from tests.integration.sandbox import Sandbox

KMS_KEY = "arn:aws:kms:eu-central-1:123456789012:key/0f3c9a6e-0000-4000-8000-1234567890ab"
ROLE = "arn:aws:iam::123456789012:role/Lightly-S3-Integration"


def create(name: str, context: dict[str, Any], **arguments: Any) -> str:
    """The id of the dataset."""
    task = CreateLightlyDatasetOperator(task_id="create", dataset_name=name, **arguments)
    dataset_id: str = task.execute(context)
    return dataset_id


def configure(dataset_id: str, context: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    """What the operator returns."""
    if "role_arn" not in arguments:
        arguments.setdefault("datasource_aws_conn_id", "aws_default")
    task = ConfigureS3DatasourceOperator(task_id="configure", dataset_id=dataset_id, **arguments)
    result: dict[str, Any] = task.execute(context)
    return result


def test_a_dataset_is_created_once(lightly: Sandbox, dataset_name: str, context: dict[str, Any]) -> None:
    assert create(dataset_name, context) == create(dataset_name, context)


def test_a_dataset_of_another_type_is_refused(lightly: Sandbox, dataset_name: str, context: dict[str, Any]) -> None:
    create(dataset_name, context, dataset_type="Images")

    with pytest.raises(final(LightlyDatasetConflictError), match=r"(?s)Images.*Videos.*cannot be changed"):
        create(dataset_name, context, dataset_type="Videos")


def test_if_exists_fail_refuses_the_second(lightly: Sandbox, dataset_name: str, context: dict[str, Any]) -> None:
    create(dataset_name, context, if_exists="fail")

    with pytest.raises(final(LightlyDatasetConflictError), match="exists already"):
        create(dataset_name, context, if_exists="fail")


def test_a_dataset_whose_name_begins_like_another_is_its_own(
    lightly: Sandbox, dataset_name: str, context: dict[str, Any]
) -> None:
    assert create(f"{dataset_name} two", context) != create(dataset_name, context)


def test_tasks_that_create_the_same_dataset_at_once_get_one(lightly: Sandbox, dataset_name: str) -> None:
    ids: list[str] = []
    threads = [
        threading.Thread(target=lambda: ids.append(_outcome(dataset_name)), name=f"creator-{i}") for i in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert len(ids) == 6
    assert len(set(ids)) == 1


def _outcome(name: str) -> str:
    from lightly_provider.contract import DatasetType

    return LightlyHook().get_or_create_dataset(name, DatasetType.IMAGES).dataset_id


@pytest.mark.parametrize(
    "arguments",
    [
        {"resource_path": "s3://a-bucket/raw", "purpose": "INPUT"},
        {"resource_path": "s3://a-bucket/", "generate_thumbnails": True, "kms_key_arn": KMS_KEY},
        {"resource_path": "s3://a-bucket/raw/", "output_resource_path": "s3://a-bucket/out/"},
        {"resource_path": "s3://a-bucket/raw/", "role_arn": ROLE, "external_id": "an-external-id"},
    ],
    ids=["one purpose", "thumbnails and KMS", "separate output", "role and external ID"],
)
def test_a_datasource_that_is_so_already_is_not_set_again(
    arguments: dict[str, Any], lightly: Sandbox, dataset_name: str, context: dict[str, Any], traffic: Traffic
) -> None:
    dataset_id = create(dataset_name, context)

    first = configure(dataset_id, context, region="eu-central-1", **arguments)
    writes = len(traffic.writes())
    second = configure(dataset_id, context, region="eu-central-1", **arguments)

    assert first["changed"]
    assert second["changed"] == []
    assert second["datasources"] == first["datasources"]
    assert len(traffic.writes()) == writes
    shown = str(first)
    assert "an-external-id" not in shown
    assert lightly.aws_secret_access_key not in shown


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"resource_path": "s3://a-bucket/other/"}),
        ({}, {"region": "eu-west-1"}),
        ({}, {"generate_thumbnails": True}),
        ({"generate_thumbnails": True}, {}),
        ({}, {"kms_key_arn": KMS_KEY}),
        ({}, {"role_arn": ROLE, "external_id": "an-external-id"}),
        (
            {"role_arn": ROLE, "external_id": "an-external-id"},
            {"role_arn": ROLE, "external_id": "another-external-id"},
        ),
    ],
)
def test_a_datasource_that_differs_is_set(
    before: dict[str, Any], after: dict[str, Any], lightly: Sandbox, dataset_name: str, context: dict[str, Any]
) -> None:
    base = {"resource_path": "s3://a-bucket/raw/", "region": "eu-central-1"}
    dataset_id = create(dataset_name, context)
    configure(dataset_id, context, **(base | before))

    result = configure(dataset_id, context, **(base | after))

    assert result["changed"] == ["INPUT_OUTPUT"]
    stored = LightlyHook().get_datasources(dataset_id)
    assert len(stored) == 1, "a datasource is set in place of the one of its purpose"
    assert stored[0].thumb_suffix == (DEFAULT_THUMBNAIL_SUFFIX if "generate_thumbnails" in after else None)
    assert stored[0].kms_key_arn == after.get("kms_key_arn")


def test_a_rotated_key_is_set(
    lightly: Sandbox, dataset_name: str, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset_id = create(dataset_name, context)
    where = {"resource_path": "s3://a-bucket/raw/", "region": "eu-central-1", "datasource_aws_conn_id": "rotating"}
    monkeypatch.setenv("AIRFLOW_CONN_ROTATING", lightly.aws_connection(lightly.user()))
    configure(dataset_id, context, **where)
    assert configure(dataset_id, context, **where)["changed"] == []

    monkeypatch.setenv("AIRFLOW_CONN_ROTATING", lightly.aws_connection(lightly.user()))

    assert configure(dataset_id, context, **where)["changed"] == ["INPUT_OUTPUT"]


@pytest.mark.exhaustive(sample="test_a_rotated_key_is_set")
def test_where_the_answer_hides_the_secret_it_is_set_again(
    masking_sandbox: Sandbox, dataset_name: str, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_DEFAULT", masking_sandbox.lightly_connection())
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", masking_sandbox.aws_connection(masking_sandbox.admin))
    dataset_id = create(dataset_name, context)
    where = {"resource_path": "s3://a-bucket/raw/", "region": "eu-central-1"}

    first = configure(dataset_id, context, **where)
    second = configure(dataset_id, context, **where)

    assert first["changed"] == second["changed"] == ["INPUT_OUTPUT"]
    assert len(LightlyHook().get_datasources(dataset_id)) == 1


def test_the_region_is_found_from_the_bucket(
    lightly: Sandbox, dataset_name: str, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = lightly.bucket("eu-west-3")
    # The keys of a user without any right, and a connection that names another region.
    connection = lightly.aws_connection(lightly.user(), region_name="us-east-2")
    monkeypatch.setenv("AIRFLOW_CONN_BUCKET", connection)
    dataset_id = create(dataset_name, context)

    result = configure(dataset_id, context, resource_path=f"s3://{elsewhere}/raw/", datasource_aws_conn_id="bucket")

    assert result["datasources"]["INPUT_OUTPUT"]["s3Region"] == "eu-west-3"


def test_a_bucket_that_does_not_exist_is_refused_before_anything_is_set(
    lightly: Sandbox, dataset_name: str, context: dict[str, Any], traffic: Traffic
) -> None:
    dataset_id = create(dataset_name, context)
    writes = len(traffic.writes())

    with pytest.raises(LookupError, match="no-such-bucket-of-ours"):
        configure(dataset_id, context, resource_path="s3://no-such-bucket-of-ours/raw/")

    assert len(traffic.writes()) == writes
