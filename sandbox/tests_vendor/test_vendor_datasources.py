from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

import pytest
import requests
from lightly.openapi_generated.swagger_client.exceptions import ApiException
from lightly.openapi_generated.swagger_client.models import DatasourcePurpose

if TYPE_CHECKING:
    from lightly.api import ApiWorkflowClient

    from tests_vendor.onboarding import Customer

EXTERNAL_ID = "an-external-id"
NAMES = ["a.jpg", "deep/c d é.jpeg", "deep/er/b.png"]
ALL = ("ListBucket", "GetObject", "PutObject", "DeleteObject")


@pytest.fixture
def bucket(customer: Customer) -> str:
    """A bucket with three images below in/, and other files."""
    name = customer.bucket()
    customer.put(
        name, *(f"in/{file_name}" for file_name in NAMES), "in/video.mp4", "in/notes.txt", "other.jpg"
    )
    return name


@pytest.fixture(params=["user access", "delegated access"])
def source(
    request: pytest.FixtureRequest,
    dataset: ApiWorkflowClient,
    customer: Customer,
    bucket: str,
    ready: dict[str, Any],
) -> ApiWorkflowClient:
    """The client with a dataset whose one datasource is in the bucket, by either kind of access."""
    if request.param == "user access":
        keys = customer.user(bucket, *ALL)
        dataset.set_s3_config(f"s3://{bucket}/in", ready["region"], *keys)
    else:
        role = customer.role(bucket, EXTERNAL_ID, *ALL)
        dataset.set_s3_delegated_access_config(f"s3://{bucket}/in", ready["region"], role, EXTERNAL_ID)
    return dataset


def test_a_datasource_comes_back_as_it_was_set(source: ApiWorkflowClient, bucket: str) -> None:
    stored = source.get_datasource().actual_instance
    assert stored.full_path == f"s3://{bucket}/in"
    assert stored.purpose == DatasourcePurpose.INPUT_OUTPUT
    assert stored.thumb_suffix == ".lightly/thumbnails/[filename]_thumb.[extension]"
    every = source._datasources_api.get_datasources_by_dataset_id(source.dataset_id)
    assert [entry.actual_instance for entry in every] == [stored]
    assert source.get_dataset_by_id(source.dataset_id).datasources == [stored.id]


def test_the_permissions_are_those_that_the_policy_grants(source: ApiWorkflowClient) -> None:
    permissions = source.list_datasource_permissions()
    assert permissions == {"can_read": True, "can_write": True, "can_list": True, "can_overwrite": True}


def test_what_a_policy_leaves_out_is_not_permitted(
    dataset: ApiWorkflowClient, customer: Customer, bucket: str, ready: dict[str, Any]
) -> None:
    dataset.set_s3_config(f"s3://{bucket}/in", ready["region"], *customer.user(bucket, "ListBucket"))
    permissions = dataset.list_datasource_permissions()
    assert permissions["can_list"] is True
    assert permissions["can_read"] is permissions["can_write"] is permissions["can_overwrite"] is False
    assert set(permissions["errors"]) == {"can_read", "can_write", "can_overwrite"}
    assert all("AccessDenied" in text for text in permissions["errors"].values())


def test_a_wrong_external_id_permits_nothing(
    dataset: ApiWorkflowClient, customer: Customer, bucket: str, ready: dict[str, Any]
) -> None:
    role = customer.role(bucket, EXTERNAL_ID, *ALL)
    path = f"s3://{bucket}/in"
    dataset.set_s3_delegated_access_config(path, ready["region"], role, "another-external-id")
    permissions = dataset.list_datasource_permissions()
    assert not any(permissions[name] for name in ("can_list", "can_read", "can_write", "can_overwrite"))
    assert "AssumeRole" in permissions["errors"]["can_list"]


@pytest.mark.parametrize("redirected", [False, True])
@pytest.mark.parametrize("shards", [1, 5])
def test_the_images_are_listed_with_urls_that_read_them(
    source: ApiWorkflowClient, redirected: bool, shards: int
) -> None:
    listed = source.download_raw_samples(divide_and_conquer_shards=shards, use_redirected_read_url=redirected)
    assert sorted(name for name, _ in listed) == NAMES
    for _, url in listed:
        assert requests.get(url, timeout=30).content == b"some bytes"


def test_delegated_access_always_reads_through_redirects(
    source: ApiWorkflowClient, ready: dict[str, Any]
) -> None:
    by_role = source.get_datasource().actual_instance.type == "S3DelegatedAccess"
    listed = source.download_raw_samples(use_redirected_read_url=False)
    assert [url.startswith(ready["lightly_url"]) for _, url in listed] == [by_role] * len(NAMES)


def test_new_samples_are_those_since_the_last_time(source: ApiWorkflowClient) -> None:
    assert source.get_processed_until_timestamp() == 0
    before = int(time.time())
    assert sorted(name for name, _ in source.download_new_raw_samples()) == NAMES
    assert before <= source.get_processed_until_timestamp() <= time.time()
    assert source.download_new_raw_samples() == []
    source.update_processed_until_timestamp(before - 3600)
    assert sorted(name for name, _ in source.download_new_raw_samples()) == NAMES


def test_a_time_before_every_file_lists_none(source: ApiWorkflowClient) -> None:
    assert source.download_raw_samples(to=int(time.time()) - 3600) == []


def test_relevant_filenames_restrict_the_listing(
    source: ApiWorkflowClient, customer: Customer, bucket: str
) -> None:
    lines = "a.jpg\ndeep/c d é.jpeg\n".encode()
    customer.put(bucket, "in/.lightly/relevant.txt", body=lines)
    listed = source.download_raw_samples(relevant_filenames_file_name=".lightly/relevant.txt")
    assert sorted(name for name, _ in listed) == NAMES[:2]
    customer.put(bucket, "in/.lightly/relevant.txt", body=b"deep/*\n")
    listed = source.download_raw_samples(
        relevant_filenames_file_name=".lightly/relevant.txt", divide_and_conquer_shards=3
    )
    assert sorted(name for name, _ in listed) == NAMES[1:]


def test_a_relevant_filenames_file_that_is_missing_is_told(source: ApiWorkflowClient) -> None:
    listing = source._datasources_api.get_list_of_raw_samples_from_datasource_by_dataset_id
    with pytest.raises(ApiException) as refused:
        listing(source.dataset_id, relevant_filenames_file_name=".lightly/none.txt")
    assert "DATASET_DATASOURCE_RELEVANT_FILENAMES_INVALID" in refused.value.body


def test_a_head_url_tells_whether_a_file_exists(source: ApiWorkflowClient) -> None:
    head = source._datasources_api.get_head_file_read_url_from_datasource_by_dataset_id
    assert requests.head(head(source.dataset_id, NAMES[1]), timeout=30).status_code == 200
    assert requests.head(head(source.dataset_id, "none.jpg"), timeout=30).status_code == 404


def test_predictions_and_metadata_are_read_from_the_lightly_datasource(
    source: ApiWorkflowClient, customer: Customer, bucket: str
) -> None:
    files = {
        "predictions/tasks.json": b"[]",
        "predictions/things/a.json": b"{}",
        "predictions/things/deep/er/b.json": b"{}",
        "predictions/others/a.json": b"{}",
        "metadata/schema.json": b"[]",
        "metadata/a.json": b"{}",
        "embeddings/mine.csv": b"1,2",
    }
    for name, body in files.items():
        customer.put(bucket, f"in/.lightly/{name}", body=body)
    predictions = source.download_raw_predictions("things", divide_and_conquer_shards=2)
    assert sorted(name for name, _ in predictions) == ["a.json", "deep/er/b.json"]
    streamed = source.download_raw_predictions_iter("things", use_redirected_read_url=True)
    assert sorted(name for name, _ in streamed) == ["a.json", "deep/er/b.json"]
    metadata = source.download_raw_metadata()
    assert "a.json" in [name for name, _ in metadata]
    assert len(list(source.download_raw_metadata_iter(use_redirected_read_url=True))) == len(metadata)
    for url, body in (
        (predictions[0][1], b"{}"),
        (source.get_prediction_read_url("tasks.json"), b"[]"),
        (source.get_metadata_read_url("schema.json"), b"[]"),
        (source.get_custom_embedding_read_url("mine.csv"), b"1,2"),
    ):
        assert requests.get(url, timeout=30).content == body


def test_other_clouds_are_not_here(dataset: ApiWorkflowClient) -> None:
    secret = secrets.token_hex(8)
    setters = (
        lambda: dataset.set_azure_config("container/path", "account", secret),
        lambda: dataset.set_gcs_config("gs://bucket/path", "project", f'{{"key": "{secret}"}}'),
        lambda: dataset.set_local_config("path"),
        lambda: dataset.set_obs_config("obs://bucket/path", "http://127.0.0.1", "key", secret),
    )
    for set_datasource in setters:
        with pytest.raises(ApiException) as refused:
            set_datasource()
        assert refused.value.status == 501
        assert "NOT_IMPLEMENTED" in refused.value.body
        assert secret not in refused.value.body
