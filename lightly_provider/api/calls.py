"""Every operation of the platform that the provider uses, once, as a value.

A :class:`Call` says what is to be asked; sending it is the client's job. The operations are named as in the vendor's
contract (``lightly`` 1.5.26, openapi_generated/swagger_client/api/*.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar
from urllib.parse import quote

from pydantic import ConfigDict, TypeAdapter

from lightly_provider.api.models.dataset import Dataset, DatasetCreateRequest, Tag
from lightly_provider.api.models.datasource import SECRET_MEMBERS, Datasource, PermissionLights, S3Datasource
from lightly_provider.api.models.run import LogPage, Run, ScheduledRun, ScheduleRequest, Worker, WorkerRegistration
from lightly_provider.api.models.wire import CreatedEntity
from lightly_provider.api.models.worker_config import StoredWorkerConfig
from lightly_provider.contract import ScheduledRunState
from lightly_provider.foreign_text import is_storable, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lightly_provider.api.models.worker_config import WorkerConfigCreateRequest

Result = TypeVar("Result")
Thing = TypeVar("Thing")

PAGE_SIZE = 5000  # the vendor's client's default (lightly 1.5.26, api/utils.py)


class Form(Enum):
    """The form of a call's answer; see :mod:`lightly_provider.api.answers`."""

    JSON = auto()
    TEXT = auto()  # handed on exactly
    SECRET = auto()  # JSON that is a secret as a whole
    NOTHING = auto()  # whatever it is


@dataclass(frozen=True, kw_only=True)
class Call(Generic[Result]):
    """
    One request to the platform.

    :param operation: The operation's name in the contract.
    :param method: HTTP method.
    :param path: Path with its parameters filled in and percent-encoded.
    :param query: Query parameters without the token; a sequence repeats its key.
    :param body: JSON body; None sends none. Never shown: it may hold AWS keys.
    :param repeatable: Whether sending it twice does no more than sending it once. Only then is it sent again after
        a failure that leaves open whether it was applied.
    :param secrets: Values in the body that must not appear in any text made from the answer.
    :param form: The form of the answer.
    :param secret_members: Members of the answer's objects that hold secrets, by wire name.
    :param parse: From the answer in that form to the result; raises ``ValueError`` if the answer breaks the contract.
    """

    operation: str
    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    query: Mapping[str, str | int | Sequence[str]] = field(default_factory=dict)
    body: Any = field(default=None, repr=False)
    repeatable: bool
    secrets: tuple[str, ...] = field(default=(), repr=False)
    form: Form = Form.JSON
    secret_members: frozenset[str] = frozenset()
    parse: Callable[[Any], Result] = field(repr=False)


def _segment(value: str) -> str:
    # The vendor's client encodes path parameters with no safe characters.
    return quote(value, safe="")


def _nothing(_: Any) -> None:
    """PUT and DELETE have no documented answer: any 2xx with any body, or none, will do."""


def _id(answer: Any) -> str:
    return CreatedEntity.model_validate(answer).id


def _same(member: str, asked: str, thing: Thing) -> Thing:
    """What came, if it is what was asked for; an answer to another request may come out of a cache."""
    if getattr(thing, member) not in (asked, None):
        raise ValueError(f"it is about another {member} than was asked for")
    return thing


def _filenames(text: str, *, before: int) -> list[str]:
    """
    The names of one page, exactly as they are.

    :param before: Number of names on the pages before.
    :raises ValueError: One cannot be a key of S3, and fits no XCom: it has NUL in it, or is not UTF-8.
    """
    # Not splitlines(): a name may hold any of the other characters that count as line ends there, e.g. U+2028.
    names = [line for line in text.split("\n") if line]
    for place, name in enumerate(names, start=before + 1):
        if not is_storable(name):
            raise ValueError(f"file name {place} has NUL in it, or is not UTF-8: {shown(name, longest=100)}")
    return names


def _signed_address(answer: Any) -> str:
    if not isinstance(answer, str):
        raise ValueError("a text was expected")
    if len(answer) > 20_000 or not answer.isascii() or not answer.lower().startswith(("https://", "http://")):
        raise ValueError("an address was expected")
    return answer


def _quota(answer: Any) -> str:
    if isinstance(answer, bool) or not isinstance(answer, (str, int)):
        raise ValueError("a number of samples was expected")
    return shown(answer, longest=50)


# A list has no model whose configuration keeps refused values, such as a datasource's secret key, out of the text.
_NO_VALUES = ConfigDict(hide_input_in_errors=True)
_DATASETS = TypeAdapter(list[Dataset], config=_NO_VALUES).validate_python
_DATASOURCES = TypeAdapter(list[Datasource], config=_NO_VALUES).validate_python
_RUNS = TypeAdapter(list[Run], config=_NO_VALUES).validate_python
_SCHEDULED_RUNS = TypeAdapter(list[ScheduledRun], config=_NO_VALUES).validate_python
_TAGS = TypeAdapter(list[Tag], config=_NO_VALUES).validate_python
_WORKERS = TypeAdapter(list[Worker], config=_NO_VALUES).validate_python


# --- account -----------------------------------------------------------------------------------------------------


def list_datasets(*, page_size: int, page_offset: int = 0) -> Call[list[Dataset]]:
    """The token's own datasets, at most ``page_size`` of them from ``page_offset`` on."""
    return Call(
        operation="get_datasets",
        method="GET",
        path="/v1/datasets",
        query={"shared": "False", "pageSize": page_size, "pageOffset": page_offset},
        repeatable=True,
        parse=_DATASETS,
    )


def get_quota() -> Call[str]:
    """The largest dataset that the account may have, in samples, as text."""
    return Call(
        operation="get_quota_maximum_dataset_size", method="GET", path="/v1/quota", repeatable=True, parse=_quota
    )


def list_workers() -> Call[list[Worker]]:
    """The registered workers."""
    return Call(
        operation="get_docker_worker_registry_entries",
        method="GET",
        path="/v1/docker/worker",
        repeatable=True,
        parse=_WORKERS,
    )


def register_worker(request: WorkerRegistration) -> Call[str]:
    """Register a worker; its id. Repeatable, as the platform answers a name that it knows with the same id."""
    return Call(
        operation="register_docker_worker",
        method="POST",
        path="/v1/docker/worker",
        body=request.to_wire(),
        repeatable=True,
        parse=_id,
    )


def delete_worker(worker_id: str) -> Call[None]:
    """Take a worker off the registry. Repeatable: one that is gone is refused."""
    return Call(
        operation="delete_docker_worker_registry_entry_by_id",
        method="DELETE",
        path=f"/v1/docker/worker/{_segment(worker_id)}",
        repeatable=True,
        form=Form.NOTHING,
        parse=_nothing,
    )


# --- datasets ----------------------------------------------------------------------------------------------------


def create_dataset(request: DatasetCreateRequest) -> Call[str]:
    """Create a dataset; its id. Repeatable, as names are unique per owner: a second one is refused."""
    return Call(
        operation="create_dataset",
        method="POST",
        path="/v1/datasets",
        body=request.to_wire(),
        repeatable=True,
        parse=_id,
    )


def find_datasets(name: str) -> Call[list[Dataset]]:
    """The token's own datasets of exactly this name: none or one."""
    return Call(
        operation="get_datasets_query_by_name",
        method="GET",
        path=f"/v1/datasets/query/name/{_segment(name)}",
        query={"exact": "True", "shared": "False", "pageSize": PAGE_SIZE, "pageOffset": 0},
        repeatable=True,
        parse=_DATASETS,
    )


def get_dataset(dataset_id: str) -> Call[Dataset]:
    """A dataset by id."""
    return Call(
        operation="get_dataset_by_id",
        method="GET",
        path=f"/v1/datasets/{_segment(dataset_id)}",
        repeatable=True,
        parse=lambda answer: _same("id", dataset_id, Dataset.model_validate(answer)),
    )


# --- datasources -------------------------------------------------------------------------------------------------


def get_datasources(dataset_id: str) -> Call[list[Datasource]]:
    """The dataset's datasources, at most one per purpose."""
    return Call(
        operation="get_datasources_by_dataset_id",
        method="GET",
        path=f"/v1/datasets/{_segment(dataset_id)}/datasource/all",
        repeatable=True,
        secret_members=SECRET_MEMBERS,
        parse=_DATASOURCES,
    )


def set_datasource(dataset_id: str, request: S3Datasource) -> Call[None]:
    """Set the dataset's datasource for the request's purpose, in place of the one that is there."""
    return Call(
        operation="update_datasource_by_dataset_id",
        method="PUT",
        path=f"/v1/datasets/{_segment(dataset_id)}/datasource",
        body=request.to_wire(),
        repeatable=True,
        secrets=request.secrets(),
        form=Form.NOTHING,
        parse=_nothing,
    )


def verify_datasource(dataset_id: str) -> Call[PermissionLights]:
    """Let the platform try the dataset's datasource. Which one, where there are two, is undocumented."""
    return Call(
        operation="verify_datasource_by_dataset_id",
        method="GET",
        path=f"/v1/datasets/{_segment(dataset_id)}/datasource/verify",
        repeatable=True,
        parse=PermissionLights.model_validate,
    )


# --- runs --------------------------------------------------------------------------------------------------------


def create_worker_config(request: WorkerConfigCreateRequest) -> Call[str]:
    """Store a worker configuration; its id. Repeatable: a second one is a twin that nothing uses."""
    return Call(
        operation="create_docker_worker_config_vx",
        method="POST",
        path="/v1/docker/worker/config/vX",
        body=request.to_wire(),
        repeatable=True,
        parse=_id,
    )


def get_worker_config(config_id: str) -> Call[StoredWorkerConfig]:
    """A stored worker configuration."""
    return Call(
        operation="get_docker_worker_config_vxby_id",
        method="GET",
        path=f"/v1/docker/worker/config/vX/{_segment(config_id)}",
        repeatable=True,
        parse=lambda answer: _same("id", config_id, StoredWorkerConfig.model_validate(answer)),
    )


def schedule_run(dataset_id: str, request: ScheduleRequest) -> Call[str]:
    """Schedule a run; the scheduled run's id. Not repeatable: each request applied is one more paid run."""
    return Call(
        operation="create_docker_run_scheduled_by_dataset_id",
        method="POST",
        path=f"/v1/datasets/{_segment(dataset_id)}/docker/worker/schedule",
        body=request.to_wire(),
        repeatable=False,
        parse=_id,
    )


def get_scheduled_runs(dataset_id: str, states: Sequence[str] = tuple(ScheduledRunState)) -> Call[list[ScheduledRun]]:
    """The dataset's scheduled runs in these states. (Without states the platform lists only OPEN and LOCKED.)"""
    return Call(
        operation="get_docker_runs_scheduled_by_dataset_id",
        method="GET",
        path=f"/v1/datasets/{_segment(dataset_id)}/docker/worker/schedule",
        query={"states": [str(state) for state in states]},
        repeatable=True,
        parse=_SCHEDULED_RUNS,
    )


def list_open_runs(labels: Sequence[str]) -> Call[list[ScheduledRun]]:
    """
    The account's scheduled runs that no worker took yet, on all datasets.

    :param labels: Those of all the runs that are looked for: the platform lists what a worker with these labels may
        take. The runs of a dataset whose turn has not come are asked for, too.
    """
    return Call(
        operation="get_docker_runs_scheduled_by_state_and_labels",
        method="GET",
        path="/v1/docker/worker/schedule",
        query={"state": ScheduledRunState.OPEN.value, "labels": list(labels), "includeUnlockableRuns": "True"},
        repeatable=True,
        parse=_SCHEDULED_RUNS,
    )


def list_runs(*, page_size: int) -> Call[list[Run]]:
    """The account's runs on all datasets, at most ``page_size`` of them. Which come first is undocumented."""
    return Call(
        operation="get_docker_runs",
        method="GET",
        path="/v1/docker/runs",
        query={"pageSize": page_size, "pageOffset": 0},
        repeatable=True,
        parse=_RUNS,
    )


def list_runs_of_dataset(dataset_id: str) -> Call[list[Run]]:
    """The runs on a dataset, at most :data:`PAGE_SIZE`."""
    return Call(
        operation="get_docker_runs_query_by_dataset_id",
        method="GET",
        path=f"/v1/docker/runs/query/datasetId/{_segment(dataset_id)}",
        query={"pageSize": PAGE_SIZE, "pageOffset": 0},
        repeatable=True,
        parse=_RUNS,
    )


def cancel_scheduled_run(dataset_id: str, scheduled_run_id: str) -> Call[None]:
    """Cancel a scheduled run; works only while it is OPEN."""
    return Call(
        operation="cancel_scheduled_docker_run_state_by_id",
        method="PUT",
        path=f"/v1/datasets/{_segment(dataset_id)}/docker/worker/schedule/{_segment(scheduled_run_id)}",
        repeatable=True,
        form=Form.NOTHING,
        parse=_nothing,
    )


def get_run_of_scheduled_run(scheduled_run_id: str) -> Call[Run]:
    """The run of a scheduled run; 404 until a worker takes it."""
    return Call(
        operation="get_docker_run_by_scheduled_id",
        method="GET",
        path=f"/v1/docker/runs/schedule/{_segment(scheduled_run_id)}",
        repeatable=True,
        parse=lambda answer: _same("scheduled_id", scheduled_run_id, Run.model_validate(answer)),
    )


def get_run_logs(run_id: str, cursor: int) -> Call[LogPage]:
    """The run's log lines since ``cursor`` (0: from the start)."""
    return Call(
        operation="get_docker_run_logs_by_id",
        method="GET",
        path=f"/v1/docker/runs/{_segment(run_id)}/logs",
        query={"cursor": cursor},
        repeatable=True,
        parse=LogPage.model_validate,
    )


def get_run_tags(run_id: str) -> Call[list[Tag]]:
    """The tags that a run made, newest first."""
    return Call(
        operation="get_docker_run_tags",
        method="GET",
        path=f"/v1/docker/runs/{_segment(run_id)}/tags",
        repeatable=True,
        parse=_TAGS,
    )


def get_artifact_url(run_id: str, artifact_id: str) -> Call[str]:
    """A signed address of an artifact's content, to be read without the token."""
    return Call(
        operation="get_docker_run_artifact_read_url_by_id",
        method="GET",
        path=f"/v1/docker/runs/{_segment(run_id)}/artifacts/{_segment(artifact_id)}/readurl",
        repeatable=True,
        form=Form.SECRET,
        parse=_signed_address,
    )


# --- tags --------------------------------------------------------------------------------------------------------


def get_tags(dataset_id: str) -> Call[list[Tag]]:
    """All tags of a dataset."""
    return Call(
        operation="get_tags_by_dataset_id",
        method="GET",
        path=f"/v1/datasets/{_segment(dataset_id)}/tags",
        repeatable=True,
        parse=_TAGS,
    )


def export_filenames(dataset_id: str, tag_id: str, *, page_offset: int) -> Call[list[str]]:
    """One page of the filenames of a tag's samples, relative to the input datasource; an empty page is the end."""
    return Call(
        operation="export_tag_to_basic_filenames",
        method="GET",
        path=f"/v1/datasets/{_segment(dataset_id)}/tags/{_segment(tag_id)}/export/basic/filenames",
        query={"fileNameFormat": "NAME", "pageSize": PAGE_SIZE, "pageOffset": page_offset},
        repeatable=True,
        form=Form.TEXT,
        parse=partial(_filenames, before=page_offset),
    )
