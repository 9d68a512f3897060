from __future__ import annotations

import io
import secrets
from typing import TYPE_CHECKING, Any

import pytest
import requests
from lightly.api.api_workflow_tags import TagDoesNotExistError
from lightly.api.bitmask import BitMask
from lightly.openapi_generated.swagger_client.exceptions import ApiException
from lightly.openapi_generated.swagger_client.models import (
    ImageType,
    InitialTagCreateRequest,
    SampleCreateRequest,
    TagArithmeticsOperation,
    TagArithmeticsRequest,
    TagCreator,
    TagUpsizeRequest,
)
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

    from lightly.api import ApiWorkflowClient
    from lightly.openapi_generated.swagger_client.models import TagData

    from tests_vendor.onboarding import Onboarded


@pytest.fixture
def client(onboarded: Onboarded) -> ApiWorkflowClient:
    """The client that made the dataset."""
    return onboarded.client


@pytest.fixture
def selected(onboarded: Onboarded) -> TagData:
    """The tag of the run."""
    (tag,) = onboarded.client.get_compute_worker_run_tags(onboarded.run.id)
    return tag


@pytest.fixture
def two(client: ApiWorkflowClient) -> list[TagData]:
    """Two tags that have one sample in common."""
    names = client.get_filenames()
    return [
        client.get_tag_by_id(client.create_tag_from_filenames(part, f"tag {secrets.token_hex(6)}").id)
        for part in (names[:2], names[1:3])
    ]


def test_the_runs_tag_has_what_was_selected(client: ApiWorkflowClient, selected: TagData) -> None:
    assert len(BitMask.from_hex(selected.bit_mask_data).to_indices()) == 5
    assert client.get_tag_by_name(selected.name) == selected == client.get_tag_by_id(selected.id)
    assert selected.id in [tag.id for tag in client.get_all_tags()]
    names = client.get_filenames_in_tag(selected)
    assert len(names) == 5
    assert set(names) <= set(client.get_filenames())


def test_a_tag_is_made_of_file_names_and_deleted(client: ApiWorkflowClient) -> None:
    names = client.get_filenames()[:3]
    made = f"tag {secrets.token_hex(6)}"
    client.create_tag_from_filenames(names, made)
    assert client.get_filenames_in_tag(client.get_tag_by_name(made)) == names
    with pytest.raises(RuntimeError, match="already exists"):
        client.create_tag_from_filenames(names, made)
    client.delete_tag_by_name(made)
    with pytest.raises(TagDoesNotExistError):
        client.get_tag_by_name(made)


def test_only_a_leaf_is_deleted(client: ApiWorkflowClient) -> None:
    with pytest.raises(ApiException) as refused:
        client.delete_tag_by_name("initial-tag")
    assert "TAG_UNDELETABLE" in refused.value.body
    parent = client.create_tag_from_filenames(client.get_filenames()[:2], f"tag {secrets.token_hex(6)}")
    child = client.create_tag_from_filenames(
        client.get_filenames()[:1], f"tag {secrets.token_hex(6)}", parent_tag_id=parent.id
    )
    with pytest.raises(ApiException) as refused:
        client.delete_tag_by_id(parent.id)
    assert "TAG_UNDELETABLE_NOT_A_LEAF" in refused.value.body
    client.delete_tag_by_id(child.id)
    client.delete_tag_by_id(parent.id)


def test_a_tag_without_its_parents_files(client: ApiWorkflowClient) -> None:
    names = client.get_filenames()
    parent = client.create_tag_from_filenames(names[:1], f"tag {secrets.token_hex(6)}")
    child = client.create_tag_from_filenames(
        names[:3], f"tag {secrets.token_hex(6)}", parent_tag_id=parent.id
    )
    tag = client.get_tag_by_id(child.id)
    assert client.get_filenames_in_tag(tag, exclude_parent_tag=True) == names[1:3]


@pytest.mark.parametrize(
    ("operation", "positions"),
    [
        (TagArithmeticsOperation.UNION, [0, 1, 2]),
        (TagArithmeticsOperation.INTERSECTION, [1]),
        (TagArithmeticsOperation.DIFFERENCE, [0]),
    ],
)
def test_tag_arithmetics(
    client: ApiWorkflowClient, two: list[TagData], operation: str, positions: list[int]
) -> None:
    perform = client._tags_api.perform_tag_arithmetics
    members = {"tagId1": two[0].id, "tagId2": two[1].id, "operation": operation}
    request = TagArithmeticsRequest.from_dict(members)
    counted = perform(tag_arithmetics_request=request, dataset_id=client.dataset_id).actual_instance
    assert BitMask.from_hex(counted.bit_mask_data).to_indices() == positions
    name = f"tag {secrets.token_hex(6)}"
    request = TagArithmeticsRequest.from_dict({**members, "newTagName": name})
    made = perform(tag_arithmetics_request=request, dataset_id=client.dataset_id).actual_instance
    tag = client.get_tag_by_id(made.id)
    assert (tag.name, BitMask.from_hex(tag.bit_mask_data).to_indices()) == (name, positions)


def test_upsizing_makes_a_tag_of_what_came_since(dataset: ApiWorkflowClient) -> None:
    def add(*names: str) -> None:
        for name in names:
            dataset._samples_api.create_sample_by_dataset_id(
                dataset_id=dataset.dataset_id, sample_create_request=SampleCreateRequest(file_name=name)
            )

    add("a.jpg")
    dataset._tags_api.create_initial_tag_by_dataset_id(
        dataset_id=dataset.dataset_id,
        initial_tag_create_request=InitialTagCreateRequest(img_type=ImageType.FULL),
    )
    add("b.jpg", "c.jpg")
    made = dataset._tags_api.upsize_tags_by_dataset_id(
        dataset_id=dataset.dataset_id,
        tag_upsize_request=TagUpsizeRequest(upsize_tag_name="new", upsize_tag_creator=TagCreator.USER_PIP),
    )
    assert dataset.get_filenames_in_tag(dataset.get_tag_by_id(made.id)) == ["b.jpg", "c.jpg"]
    initial = dataset.get_tag_by_name("initial-tag")
    assert (initial.tot_size, initial.bit_mask_data) == (3, "0x7")
    assert (initial.changes[0].changes.upsize.var_from, initial.changes[0].changes.upsize.to) == (1, 3)


def test_label_studio_tasks_lead_to_the_images(client: ApiWorkflowClient, selected: TagData) -> None:
    # Two of the client's parts define this helper, and the one that wins gives models, not dicts.
    tasks = client.export_label_studio_tasks_by_tag_id(selected.id)
    assert tasks == client.export_label_studio_tasks_by_tag_name(selected.name)
    assert len({task.id for task in tasks}) == 5
    _all_images(task.data.image for task in tasks)


def test_labelbox_rows_lead_to_the_images(client: ApiWorkflowClient, selected: TagData) -> None:
    rows = client.export_label_box_v4_data_rows_by_tag_id(selected.id)
    assert rows == client.export_label_box_v4_data_rows_by_tag_name(selected.name)
    assert len({row["global_key"] for row in rows}) == 5
    _all_images(row["row_data"] for row in rows)
    with pytest.warns(DeprecationWarning, match="Labelbox v3"):
        older = client.export_label_box_data_rows_by_tag_id(selected.id)
    with pytest.warns(DeprecationWarning, match="Labelbox v3"):
        assert older == client.export_label_box_data_rows_by_tag_name(selected.name)
    _all_images(row["imageUrl"] for row in older)


def test_sama_tasks_lead_to_the_images(client: ApiWorkflowClient, selected: TagData) -> None:
    tasks = client._tags_api.export_tag_to_sama_tasks(client.dataset_id, selected.id)
    assert len(tasks) == 5
    _all_images(task.data.url for task in tasks)


def test_metadata_comes_along_if_it_is_asked_for(client: ApiWorkflowClient, selected: TagData) -> None:
    export = client._tags_api.export_tag_to_label_studio_tasks
    (task, *_) = export(client.dataset_id, selected.id, include_meta_data=True)
    assert task.data.lightly_meta_info.file_name == task.data.lightly_file_name
    assert task.data.lightly_meta_info.meta_data.size_in_bytes > 0


def test_file_names_and_their_addresses(
    client: ApiWorkflowClient, selected: TagData, onboarded: Onboarded
) -> None:
    names = client.get_filenames_in_tag(selected)
    assert client.export_filenames_by_tag_id(selected.id).split("\n") == names
    assert client.export_filenames_by_tag_name(selected.name).split("\n") == names
    rows = client.export_filenames_and_read_urls_by_tag_id(selected.id)
    assert [row["fileName"] for row in rows] == names
    prefix = f"s3://{onboarded.bucket}/raw/"
    assert [row["datasourceUrl"] for row in rows] == [prefix + name for name in names]
    _all_images(row["readUrl"] for row in rows)
    by_name = client.export_filenames_and_read_urls_by_tag_name(selected.name)
    assert [row["fileName"] for row in by_name] == names


def test_custom_metadata_reaches_its_samples(client: ApiWorkflowClient) -> None:
    names = client.get_filenames()[:2]
    annotations: dict[str, Any] = {
        "images": [{"id": number, "file_name": name} for number, name in enumerate(names)],
        "metadata": [{"image_id": number, "scene": f"scene {number}"} for number in range(2)],
    }
    client.verify_custom_metadata_format(annotations)
    assert client.index_custom_metadata_by_filename(annotations)[names[1]]["scene"] == "scene 1"
    client.upload_custom_metadata(annotations)
    for number, name in enumerate(names):
        (sample,) = client._samples_api.get_samples_by_dataset_id(client.dataset_id, file_name=name)
        assert sample.custom_meta_data == {"image_id": number, "scene": f"scene {number}"}


def test_the_images_of_a_tag_are_downloaded(
    client: ApiWorkflowClient, selected: TagData, tmp_path: Path
) -> None:
    client.download_dataset(str(tmp_path), tag_name=selected.name, verbose=False)
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert written == set(client.get_filenames_in_tag(selected))


def test_a_file_is_put_to_a_write_url(client: ApiWorkflowClient, onboarded: Onboarded) -> None:
    (sample, *_) = client._samples_api.get_samples_by_dataset_id(client.dataset_id, page_size=1)
    url = client._samples_api.get_sample_image_write_url_by_id(client.dataset_id, sample.id, True)
    assert client.upload_file_with_signed_url(io.BytesIO(b"a thumbnail"), url).status_code == 200
    read = client._samples_api.get_sample_image_read_url_by_id(client.dataset_id, sample.id, type="thumbnail")
    assert requests.get(read, timeout=30).content == b"a thumbnail"


def _all_images(urls: Any) -> None:
    seen = 0
    for url in urls:
        answer = requests.get(url, timeout=30)
        assert answer.status_code == 200
        Image.open(io.BytesIO(answer.content)).verify()
        seen += 1
    assert seen == 5
