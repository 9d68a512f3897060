from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.sandbox import Api, Customer, Process
from tests.lab.worker import THUMBNAILS, Lab, Place, own_worker

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


COLLECTED = pytest.StashKey[list[pytest.Item]]()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Remember all tests, before ``-m`` leaves some out."""
    config.stash[COLLECTED] = list(items)


@pytest.fixture
def collected(pytestconfig: pytest.Config) -> list[pytest.Item]:
    """All tests of this session, also those that ``-m`` leaves out."""
    return pytestconfig.stash[COLLECTED]


@pytest.fixture(scope="session")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """One sandbox without workers for the whole session: the tests are the worker."""
    process = Process.start(tmp_path_factory.mktemp("sandbox") / "state", "--workers", "0")
    try:
        yield process.ready()
    finally:
        process.stop()


@pytest.fixture(scope="session")
def api(ready: dict[str, Any]) -> Api:
    return Api(ready["lightly_url"], ready["token"])


@pytest.fixture(scope="session")
def customer(ready: dict[str, Any]) -> Customer:
    return Customer(ready)


@pytest.fixture(scope="session")
def lab(
    ready: Mapping[str, Any], api: Api, customer: Customer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lab]:
    label = secrets.token_hex(8)
    with own_worker(api, label, tmp_path_factory.mktemp("worker") / "log"):
        yield Lab(api, customer, (ready["aws_access_key_id"], ready["aws_secret_access_key"]), label)


@pytest.fixture
def place(lab: Lab) -> Place:
    """A dataset that reads 40 photos and writes thumbnails beside them."""
    place = Place(lab.api.new_dataset(), lab.photos(40))
    lab.datasource(place.dataset_id, "INPUT", f"s3://{place.bucket}/photos/")
    lab.datasource(place.dataset_id, "LIGHTLY", f"s3://{place.bucket}/lightly/", **THUMBNAILS)
    return place
