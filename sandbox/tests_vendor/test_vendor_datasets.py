from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import pytest
import requests
from lightly.api import ApiWorkflowClient, _version_checking
from lightly.openapi_generated.swagger_client.exceptions import ApiException
from lightly.openapi_generated.swagger_client.models import DatasetType, DatasetUpdateRequest

if TYPE_CHECKING:
    from collections.abc import Callable


def _name() -> str:
    return f"vendor {secrets.token_hex(6)}"


def test_the_client_takes_the_sandbox_for_a_platform_of_its_version() -> None:
    assert _version_checking.is_compatible_version("1.5.26")
    assert _version_checking.is_latest_version("1.5.26")


def test_the_token_comes_from_the_environment_too(client: ApiWorkflowClient) -> None:
    assert ApiWorkflowClient().token == client.token


def test_a_wrong_token_is_told(client: ApiWorkflowClient) -> None:
    with pytest.raises(ApiException) as refused:
        ApiWorkflowClient(token="wrong").get_datasets()
    assert refused.value.status == 401


@pytest.mark.parametrize("kind", [DatasetType.IMAGES, DatasetType.VIDEOS, DatasetType.CROPS])
def test_a_dataset_is_created_and_becomes_the_current_one(client: ApiWorkflowClient, kind: str) -> None:
    name = _name()
    client.create_dataset(name, kind)
    made = client.get_dataset_by_id(client.dataset_id)
    assert (made.name, made.type, made.n_samples, made.size_in_bytes) == (name, kind, 0, 0)
    assert client.dataset_type == kind
    assert client.dataset_exists(made.id)
    assert client.dataset_name_exists(name)
    assert not client.dataset_name_exists(name[:-1]), "only the whole name counts"
    assert [found.id for found in client.get_datasets_by_name(name)] == [made.id]
    assert made in client.get_datasets()
    assert made in list(client.get_datasets_iter())


def test_a_name_is_given_once(dataset: ApiWorkflowClient) -> None:
    name = dataset.get_dataset_by_id(dataset.dataset_id).name
    with pytest.raises(ValueError, match="already exists"):
        dataset.create_dataset(name)
    with pytest.raises(ApiException) as refused:
        dataset._create_dataset_without_check_existing(name, DatasetType.IMAGES)
    assert "DATASET_NAME_EXISTS" in refused.value.body


def test_a_name_that_is_taken_gets_a_number(dataset: ApiWorkflowClient) -> None:
    name = dataset.get_dataset_by_id(dataset.dataset_id).name
    for expected in (f"{name}_1", f"{name}_2"):
        dataset.create_new_dataset_with_unique_name(name)
        assert dataset.get_dataset_by_id(dataset.dataset_id).name == expected


def test_a_dataset_is_found_by_its_name(dataset: ApiWorkflowClient) -> None:
    made = dataset.get_dataset_by_id(dataset.dataset_id)
    other = ApiWorkflowClient()
    other.set_dataset_id_by_name(made.name)
    assert other.dataset_id == made.id
    with pytest.raises(ValueError, match="does not exist"):
        other.set_dataset_id_by_name(_name())


def test_without_a_dataset_the_last_modified_one_is_taken(dataset: ApiWorkflowClient) -> None:
    with pytest.warns(UserWarning, match="last modified"):
        assert ApiWorkflowClient().dataset_id == dataset.dataset_id


def test_the_current_dataset_must_exist(client: ApiWorkflowClient) -> None:
    with pytest.raises(ValueError, match="does not exist"):
        client.dataset_id = "0" * 24


def test_a_deleted_dataset_is_gone(dataset: ApiWorkflowClient) -> None:
    dataset_id = dataset.dataset_id
    dataset.delete_dataset_by_id(dataset_id)
    assert not dataset.dataset_exists(dataset_id)


def test_a_dataset_is_renamed(dataset: ApiWorkflowClient) -> None:
    name = _name()
    dataset._datasets_api.update_dataset_by_id(
        dataset_update_request=DatasetUpdateRequest(name=name), dataset_id=dataset.dataset_id
    )
    assert dataset.get_dataset_by_id(dataset.dataset_id).name == name


def test_many_datasets_come_page_by_page(dataset: ApiWorkflowClient) -> None:
    from lightly.api.utils import paginate_endpoint

    for _ in range(3):
        dataset.create_dataset(_name())
    whole = [found.id for found in dataset.get_datasets()]
    paged = paginate_endpoint(dataset._datasets_api.get_datasets, page_size=2, shared=False)
    assert [found.id for found in paged] == whole


def test_nothing_is_shared_with_whoever_is_alone(dataset: ApiWorkflowClient) -> None:
    name = dataset.get_dataset_by_id(dataset.dataset_id).name
    assert dataset.get_datasets_by_name(name, shared=True) == []
    assert [found.id for found in dataset.get_datasets_by_name(name, shared=None)] == [dataset.dataset_id]
    assert dataset.dataset_id not in [found.id for found in dataset.get_datasets(shared=True)]
    with pytest.warns(DeprecationWarning, match="get_all_datasets"):
        assert dataset.dataset_id in [found.id for found in dataset.get_all_datasets()]


def test_the_enriched_lookups_say_what_a_dataset_has(dataset: ApiWorkflowClient) -> None:
    made = dataset.get_dataset_by_id(dataset.dataset_id)
    lookups: list[Callable[[], Any]] = [
        lambda: dataset._datasets_api.get_datasets_enriched(page_size=5000),
        lambda: dataset._datasets_api.get_datasets_enriched_query_by_ids([made.id, "0" * 24]),
        lambda: dataset._datasets_api.get_datasets_enriched_query_by_name(made.name, exact=True),
    ]
    for look_up in lookups:
        found = [entry for entry in look_up() if entry.id == made.id]
        assert [(entry.name, entry.n_tags, entry.n_embeddings, entry.samples) for entry in found] == [
            (made.name, 0, 0, [])
        ]


def test_the_quota_is_a_number_in_a_string(client: ApiWorkflowClient) -> None:
    assert int(client._quota_api.get_quota_maximum_dataset_size()) > 0


def test_a_dataset_is_shared_with_exactly_those_named(dataset: ApiWorkflowClient) -> None:
    assert dataset.get_shared_users(dataset.dataset_id) == []
    dataset.share_dataset_only_with(dataset.dataset_id, ["ann@example.com", "bob@example.com"])
    assert dataset.get_shared_users(dataset.dataset_id) == ["ann@example.com", "bob@example.com"]
    dataset.share_dataset_only_with(dataset.dataset_id, ["bob@example.com"])
    assert dataset.get_shared_users(dataset.dataset_id) == ["bob@example.com"]
    dataset.share_dataset_only_with(dataset.dataset_id, [])
    assert dataset.get_shared_users(dataset.dataset_id) == []


@pytest.mark.parametrize("by", ["e-mail", "team"])
def test_others_datasets_are_found_among_the_shared_ones(ready: dict[str, Any], by: str) -> None:
    users = f"{ready['lightly_url']}/sandbox/users"
    team = f"team-{secrets.token_hex(6)}"
    clients, emails = [], []
    for _ in range(2):
        email = f"{secrets.token_hex(6)}@example.com"
        body = {"email": email} if by == "e-mail" else {"email": email, "team": team}
        answer = requests.post(users, params={"token": ready["token"]}, json=body, timeout=30)
        clients.append(ApiWorkflowClient(token=answer.json()["token"]))
        emails.append(email)
    owner, other = clients
    name = _name()
    owner.create_dataset(name)
    assert not other.dataset_name_exists(name)
    if by == "e-mail":
        assert not other.dataset_exists(owner.dataset_id)
        owner.share_dataset_only_with(owner.dataset_id, [emails[1]])
    assert [found.id for found in other.get_datasets(shared=True)] == [owner.dataset_id]
    assert [found.id for found in other.get_datasets_by_name(name, shared=None)] == [owner.dataset_id]
    assert other.get_datasets(shared=False) == []
    other.set_dataset_id_by_name(name, shared=True)
    assert other.dataset_id == owner.dataset_id
    other.create_dataset(name)
    with pytest.warns(UserWarning, match="Found 2 datasets"):
        other.set_dataset_id_by_name(name, shared=None)
    assert other.dataset_id != owner.dataset_id, "the own one comes first"
