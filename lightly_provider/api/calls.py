"""The platform's operations that the provider uses, as values.

A :class:`Call` describes a request; a client sends it. The operations are named as in the vendor's contract
(``lightly`` 1.5.26, openapi_generated/swagger_client/api/*.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar
from urllib.parse import quote

from pydantic import ConfigDict, TypeAdapter

from lightly_provider.api.models.dataset import (
    Dataset,
    DatasetCreateRequest,
    SharedAccess,
    SharedAccessRequest,
    Tag,
    TagCreateRequest,
)
from lightly_provider.api.models.datasource import (
    SECRET_MEMBERS,
    Datasource,
    PermissionLights,
    ProcessedUntil,
    ProcessedUntilRequest,
    S3Datasource,
    S3DelegatedAccessDatasource,
)
from lightly_provider.api.models.run import LogPage, Run, ScheduledRun, ScheduleRequest, Worker, WorkerRegistration
from lightly_provider.api.models.sample import LabelStudioTask, NamePage, Sample
from lightly_provider.api.models.wire import CreatedEntity
from lightly_provider.api.models.worker_config import StoredWorkerConfig
from lightly_provider.contract import FileNameFormat, ScheduledRunState
from lightly_provider.foreign_text import is_storable, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from lightly_provider.api.models.worker_config import WorkerConfigCreateRequest

Result = TypeVar("Result")
Thing = TypeVar("Thing")

_LONGEST_KEY = 1024  # bytes; AWS docs: S3 user guide, "Naming Amazon S3 objects"
PAGE_SIZE = 5000  # the vendor's client's default (lightly 1.5.26, api/utils.py)
# What it asks for where there are names only (lightly 1.5.26, api/api_workflow_datasets.py).
NAMES_PAGE_SIZE = 25_000
# Some megabytes. The contract has no limit; see hooks/verbs/tags.py for what happens where the platform has one.
LARGEST_NAMES_PAGE_SIZE = 100_000
# A task with all that the platform knows of a sample is some kilobytes, so that the vendor's 2500 could be too much.
TASKS_PAGE_SIZE = 1000


class Form(Enum):
    """The form of a call's response; see :mod:`lightly_provider.api.answers`."""

    JSON = auto()
    LINES = auto()  # UTF-8 text, passed on as bytes, unchanged; the call checks it
    EXACT = auto()  # JSON whose texts are passed on unchanged, because they name files; the call checks them
    SECRET = auto()  # JSON that is entirely secret
    NOTHING = auto()  # ignored


@dataclass(frozen=True, kw_only=True)
class Call(Generic[Result]):
    """
    One request to the platform.

    :param operation: Name of the operation in the contract.
    :param method: HTTP method.
    :param path: Path with percent-encoded parameters.
    :param query: Query parameters without the token; a sequence repeats its key. Default: none.
    :param body: JSON body. None (default): no body. Never shown, because it may contain AWS keys.
    :param repeatable: Whether the request is idempotent. Only then is it retried after a failure that leaves open
        whether it was applied.
    :param secrets: Secret values in the body, to redact in the response. Default: none.
    :param external_ids: External IDs in the body, to redact in the response's texts for people. Default: none.
    :param form: Form of the response. Default: JSON.
    :param secret_members: Members of the response that contain secrets, by wire name. Default: none.
    :param parse: Converts the response to the result; raises ``ValueError`` if the response violates the contract.
    """

    operation: str
    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    query: Mapping[str, str | int | Sequence[str]] = field(default_factory=dict)
    body: Any = field(default=None, repr=False)
    repeatable: bool
    secrets: tuple[str, ...] = field(default=(), repr=False)
    external_ids: tuple[str, ...] = field(default=(), repr=False)
    form: Form = Form.JSON
    secret_members: frozenset[str] = frozenset()
    parse: Callable[[Any], Result] = field(repr=False)


def _segment(value: str) -> str:
    # The vendor's client encodes path parameters with no safe characters.
    return quote(value, safe="")


def _nothing(_: Any) -> None:
    """Ignore the response: that of PUT and DELETE is undocumented, so any 2xx with or without a body is accepted."""


def _id(answer: Any) -> str:
    return CreatedEntity.model_validate(answer).id


def _same(member: str, asked: str, thing: Thing) -> Thing:
    """Return the object if it is the requested one; a cache may return the response to another request."""
    if getattr(thing, member) not in (asked, None):
        raise ValueError(f"it is about another {member} than was asked for")
    return thing


def _filenames(lines: bytes, *, before: int) -> NamePage:
    """
    Return the names on one page, unchanged.

    :param before: Number of names on the previous pages.
    :raises ValueError: A name is too long, contains NUL or is not UTF-8, so it is not an S3 key and cannot be in XCom.
    """
    names = NamePage(lines)
    # A page is checked as a whole; only one that may have a fault is split into its names, to find it.
    if b"\0" in lines or not _is_utf8(lines) or _has_a_long_line(lines):
        _check_names(names, before=before)
    return names


def _is_utf8(lines: bytes) -> bool:
    try:
        return lines.isascii() or bool(lines.decode())
    except UnicodeDecodeError:
        return False


def _has_a_long_line(lines: bytes) -> bool:
    start = 0
    while len(lines) - start > _LONGEST_KEY:
        end = lines.rfind(b"\n", start, start + _LONGEST_KEY + 1)
        if end < 0:
            return True
        start = end + 1
    return False


def _check_names(names: Sequence[str], *, before: int) -> None:
    if _are_keys(names):
        return
    for place, name in enumerate(names, start=before + 1):
        if not is_storable(name):
            raise ValueError(f"file name {place} has NUL in it, or is not UTF-8: {shown(name, longest=100)}")
        if len(name.encode()) > _LONGEST_KEY:
            raise ValueError(f"file name {place} is longer than an S3 key can be: {shown(name, longest=100)}")


def _are_keys(names: Sequence[str]) -> bool:
    try:
        longest = max(map(len, map(str.encode, names)), default=0)
    except UnicodeEncodeError:
        return False
    return longest <= _LONGEST_KEY and "\0" not in "".join(names)


def _names(answer: Any, *, before: int) -> list[str]:
    """Return a list of file names, unchanged; the same conditions as :func:`_filenames`."""
    if not isinstance(answer, list) or not all(isinstance(name, str) for name in answer):
        raise ValueError("a list of file names was expected")
    _check_names(answer, before=before)
    return answer


def _label_studio_tasks(answer: Any, *, before: int) -> list[LabelStudioTask]:
    tasks: list[LabelStudioTask] = _LABEL_STUDIO_TASKS(answer)
    _check_names([task.data.image for task in tasks], before=before)
    _check_names([sample.file_name for task in tasks if (sample := task.data.lightly_meta_info)], before=before)
    return tasks


def _sama_tasks(answer: Any, *, before: int) -> list[dict[str, Any]]:
    """Return Sama's tasks as the platform made them: what else than the address they hold is Sama's affair."""
    tasks: list[dict[str, Any]] = list(answer) if isinstance(answer, list) else [{}]
    if not all(
        isinstance(task, dict) and isinstance(task.get("data"), dict) and isinstance(task["data"].get("url"), str)
        for task in tasks
    ):
        raise ValueError("a list of tasks was expected, each with the address of its file")
    _check_names([text for task in tasks for text in _texts_in(task)], before=before)
    return tasks


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    if isinstance(value, dict):
        yield from value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _texts_in(inner)


@dataclass(frozen=True)
class FilePage:
    """
    One page of a listing of files. Their signed URLs are left out.

    :param names: Names of the files.
    :param cursor: Where the next page begins; None: this is the last one.
    """

    names: list[str]
    cursor: str | None


def _page_of_files(answer: Any) -> FilePage:
    match answer:
        case {"hasMore": bool(has_more), "cursor": str(cursor), "data": [*rows]}:
            names = [row["fileName"] if isinstance(row, dict) and "fileName" in row else "" for row in rows]
        case _:
            raise ValueError("it has no hasMore, cursor and data")
    for name in names:
        if not isinstance(name, str) or not name:
            raise ValueError("a file has no name")
        if not is_storable(name):
            raise ValueError(f"a file name has NUL in it, or is not UTF-8: {shown(name, longest=100)}")
    return FilePage(names, cursor if has_more else None)


def _signed_address(answer: Any) -> str:
    if not isinstance(answer, str):
        raise ValueError("a text was expected")
    is_clean = answer.isascii() and answer.isprintable() and " " not in answer
    if len(answer) > 20_000 or not is_clean or not answer.lower().startswith(("https://", "http://")):
        raise ValueError("an address was expected")
    return answer


def _quota(answer: Any) -> str:
    if isinstance(answer, bool) or not isinstance(answer, (str, int)):
        raise ValueError("a number of samples was expected")
    return shown(answer, longest=50)


# A list has no model whose configuration hides invalid values, such as a datasource's secret key, in errors.
_NO_VALUES = ConfigDict(hide_input_in_errors=True)
_DATASETS = TypeAdapter(list[Dataset], config=_NO_VALUES).validate_python
_LABEL_STUDIO_TASKS = TypeAdapter(list[LabelStudioTask], config=_NO_VALUES).validate_python
_DATASOURCES = TypeAdapter(list[Datasource], config=_NO_VALUES).validate_python
_RUNS = TypeAdapter(list[Run], config=_NO_VALUES).validate_python
_SHARED_ACCESSES = TypeAdapter(list[SharedAccess], config=_NO_VALUES).validate_python
_SCHEDULED_RUNS = TypeAdapter(list[ScheduledRun], config=_NO_VALUES).validate_python
_TAGS = TypeAdapter(list[Tag], config=_NO_VALUES).validate_python
_WORKERS = TypeAdapter(list[Worker], config=_NO_VALUES).validate_python


# --- account -----------------------------------------------------------------------------------------------------


def list_datasets(*, page_size: int, page_offset: int = 0) -> Call[list[Dataset]]:
    """List the token's own datasets, at most ``page_size``, starting at ``page_offset``."""
    return Call(
        operation="get_datasets",
        method="GET",
        path="/v1/datasets",
        query={"shared": "False", "pageSize": page_size, "pageOffset": page_offset},
        repeatable=True,
        parse=_DATASETS,
    )


def get_quota() -> Call[str]:
    """Get the maximum dataset size of the account, in samples, as text."""
    return Call(
        operation="get_quota_maximum_dataset_size", method="GET", path="/v1/quota", repeatable=True, parse=_quota
    )


def list_workers() -> Call[list[Worker]]:
    """List the registered workers."""
    return Call(
        operation="get_docker_worker_registry_entries",
        method="GET",
        path="/v1/docker/worker",
        repeatable=True,
        parse=_WORKERS,
    )


def register_worker(request: WorkerRegistration) -> Call[str]:
    """Register a worker; returns its id. Repeatable, because the platform returns the same id for a known name."""
    return Call(
        operation="register_docker_worker",
        method="POST",
        path="/v1/docker/worker",
        body=request.to_wire(),
        repeatable=True,
        parse=_id,
    )


def delete_worker(worker_id: str) -> Call[None]:
    """Delete a worker from the registry. Repeatable: a second request is refused."""
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
    """Create a dataset; returns its id. Repeatable, because names are unique per owner: a second request is refused."""
    return Call(
        operation="create_dataset",
        method="POST",
        path="/v1/datasets",
        body=request.to_wire(),
        repeatable=True,
        parse=_id,
    )


def find_datasets(name: str) -> Call[list[Dataset]]:
    """Find the token's own datasets with exactly this name: none or one."""
    return Call(
        operation="get_datasets_query_by_name",
        method="GET",
        path=f"/v1/datasets/query/name/{_segment(name)}",
        query={"exact": "True", "shared": "False", "pageSize": PAGE_SIZE, "pageOffset": 0},
        repeatable=True,
        parse=_DATASETS,
    )


def get_dataset(dataset_id: str) -> Call[Dataset]:
    """Get a dataset by id."""
    return Call(
        operation="get_dataset_by_id",
        method="GET",
        path=f"/v1/datasets/{_segment(dataset_id)}",
        repeatable=True,
        parse=lambda answer: _same("id", dataset_id, Dataset.model_validate(answer)),
    )


def delete_dataset(dataset_id: str) -> Call[None]:
    """
    Delete a dataset, without ``force``, so that the platform may refuse it while it is in use. Repeatable: a second
    request is refused.
    """
    return Call(
        operation="delete_dataset_by_id",
        method="DELETE",
        path=f"/v1/datasets/{_segment(dataset_id)}",
        repeatable=True,
        form=Form.NOTHING,
        parse=_nothing,
    )


def get_shared_access(dataset_id: str) -> Call[list[SharedAccess]]:
    """List whom a dataset is shared with, at most one entry per kind of access."""
    return Call(
        operation="get_shared_access_configs_by_dataset_id",
        method="GET",
        path=f"/v1/datasets/{_segment(dataset_id)}/collaboration/access",
        repeatable=True,
        parse=_SHARED_ACCESSES,
    )


def set_shared_access(dataset_id: str, request: SharedAccessRequest) -> Call[str]:
    """Share a dataset with exactly these users and teams. Repeatable: a second request sets the same."""
    return Call(
        operation="create_or_update_shared_access_config_by_dataset_id",
        method="POST",
        path=f"/v1/datasets/{_segment(dataset_id)}/collaboration/access",
        body=request.to_wire(),
        repeatable=True,
        parse=_id,
    )


# --- datasources -------------------------------------------------------------------------------------------------


def get_datasources(dataset_id: str) -> Call[list[Datasource]]:
    """Get the dataset's datasources, at most one per purpose."""
    return Call(
        operation="get_datasources_by_dataset_id",
        method="GET",
        path=f"/v1/datasets/{_segment(dataset_id)}/datasource/all",
        repeatable=True,
        secret_members=SECRET_MEMBERS,
        parse=_DATASOURCES,
    )


def set_datasource(dataset_id: str, request: S3Datasource) -> Call[None]:
    """Set the dataset's datasource for the request's purpose, replacing an existing one."""
    is_role = isinstance(request, S3DelegatedAccessDatasource)
    return Call(
        operation="update_datasource_by_dataset_id",
        method="PUT",
        path=f"/v1/datasets/{_segment(dataset_id)}/datasource",
        body=request.to_wire(),
        repeatable=True,
        secrets=() if is_role else request.secrets(),
        external_ids=request.secrets() if is_role else (),
        form=Form.NOTHING,
        parse=_nothing,
    )


def verify_datasource(dataset_id: str) -> Call[PermissionLights]:
    """Have the platform verify the dataset's datasource. Which one, if there are two, is undocumented."""
    return Call(
        operation="verify_datasource_by_dataset_id",
        method="GET",
        path=f"/v1/datasets/{_segment(dataset_id)}/datasource/verify",
        repeatable=True,
        parse=PermissionLights.model_validate,
    )


def get_processed_until(dataset_id: str) -> Call[int]:
    """Get until when the dataset's files have been processed, in seconds since the epoch; 0: none were."""
    return Call(
        operation="get_datasource_processed_until_timestamp_by_dataset_id",
        method="GET",
        path=f"/v1/datasets/{_segment(dataset_id)}/datasource/processedUntilTimestamp",
        repeatable=True,
        parse=lambda answer: ProcessedUntil.model_validate(answer).processed_until_timestamp,
    )


def set_processed_until(dataset_id: str, request: ProcessedUntilRequest) -> Call[None]:
    """Set until when the dataset's files count as processed."""
    return Call(
        operation="update_datasource_processed_until_timestamp_by_dataset_id",
        method="PUT",
        path=f"/v1/datasets/{_segment(dataset_id)}/datasource/processedUntilTimestamp",
        body=request.to_wire(),
        repeatable=True,
        form=Form.NOTHING,
        parse=_nothing,
    )


def list_input_files(dataset_id: str, *, cursor: str | None = None) -> Call[FilePage]:
    """List one page of the images or videos in the dataset's input, all that were ever added."""
    # The platform's clock decides what "to" means, so the end is left out.
    return _file_page("get_list_of_raw_samples_from_datasource_by_dataset_id", dataset_id, "list", {}, cursor)


def list_prediction_files(dataset_id: str, task_name: str, *, cursor: str | None = None) -> Call[FilePage]:
    """List one page of a prediction task's files, without its schema; names are relative to the task's folder."""
    return _file_page(
        "get_list_of_raw_samples_predictions_from_datasource_by_dataset_id",
        dataset_id,
        "predictions/list",
        {"taskName": task_name},
        cursor,
    )


def list_metadata_files(dataset_id: str, *, cursor: str | None = None) -> Call[FilePage]:
    """List one page of the metadata files, without their schema."""
    return _file_page(
        "get_list_of_raw_samples_metadata_from_datasource_by_dataset_id", dataset_id, "metadata/list", {}, cursor
    )


def _file_page(
    operation: str, dataset_id: str, listing: str, query: Mapping[str, str], cursor: str | None
) -> Call[FilePage]:
    start: Mapping[str, str | int] = {"from": 0} if cursor is None else {"cursor": cursor}
    return Call(
        operation=operation,
        method="GET",
        path=f"/v1/datasets/{_segment(dataset_id)}/datasource/{listing}",
        query={**query, **start},
        repeatable=True,
        form=Form.SECRET,
        parse=_page_of_files,
    )


def get_prediction_file_url(dataset_id: str, file_name: str) -> Call[str]:
    """Get a signed URL to read a file below ``.lightly/predictions/``, which need not exist."""
    return _own_file_url(
        "get_prediction_file_read_url_from_datasource_by_dataset_id", dataset_id, "predictions/file", file_name
    )


def get_prediction_file_write_url(dataset_id: str, file_name: str) -> Call[str]:
    """Get a signed URL to write a file below ``.lightly/predictions/``."""
    return _own_file_url(
        "get_prediction_file_write_url_from_datasource_by_dataset_id", dataset_id, "predictions/writeUrl", file_name
    )


def get_metadata_file_url(dataset_id: str, file_name: str) -> Call[str]:
    """Get a signed URL to read a file below ``.lightly/metadata/``, which need not exist."""
    return _own_file_url(
        "get_metadata_file_read_url_from_datasource_by_dataset_id", dataset_id, "metadata/file", file_name
    )


def _own_file_url(operation: str, dataset_id: str, kind: str, file_name: str) -> Call[str]:
    return Call(
        operation=operation,
        method="GET",
        path=f"/v1/datasets/{_segment(dataset_id)}/datasource/{kind}",
        query={"fileName": file_name},
        repeatable=True,
        form=Form.SECRET,
        parse=_signed_address,
    )


# --- runs --------------------------------------------------------------------------------------------------------


def create_worker_config(request: WorkerConfigCreateRequest) -> Call[str]:
    """Store a worker configuration; returns its id. Repeatable: a second request creates an unused duplicate."""
    return Call(
        operation="create_docker_worker_config_vx",
        method="POST",
        path="/v1/docker/worker/config/vX",
        body=request.to_wire(),
        repeatable=True,
        parse=_id,
    )


def get_worker_config(config_id: str) -> Call[StoredWorkerConfig]:
    """Get a stored worker configuration."""
    return Call(
        operation="get_docker_worker_config_vxby_id",
        method="GET",
        path=f"/v1/docker/worker/config/vX/{_segment(config_id)}",
        repeatable=True,
        parse=lambda answer: _same("id", config_id, StoredWorkerConfig.model_validate(answer)),
    )


def schedule_run(dataset_id: str, request: ScheduleRequest) -> Call[str]:
    """Schedule a run; returns the scheduled run's id. Not repeatable: each applied request is another paid run."""
    return Call(
        operation="create_docker_run_scheduled_by_dataset_id",
        method="POST",
        path=f"/v1/datasets/{_segment(dataset_id)}/docker/worker/schedule",
        body=request.to_wire(),
        repeatable=False,
        parse=_id,
    )


def get_scheduled_runs(dataset_id: str, states: Sequence[str] = tuple(ScheduledRunState)) -> Call[list[ScheduledRun]]:
    """List the dataset's scheduled runs in these states. (Without states, the platform lists only OPEN and LOCKED.)"""
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
    List the account's scheduled runs that no worker has taken, on all datasets.

    Includes runs that a worker cannot take yet (``includeUnlockableRuns``).

    :param labels: Labels of all the runs to find: the platform lists the runs that a worker with these labels can take.
    """
    return Call(
        operation="get_docker_runs_scheduled_by_state_and_labels",
        method="GET",
        path="/v1/docker/worker/schedule",
        query={"state": ScheduledRunState.OPEN.value, "labels": list(labels), "includeUnlockableRuns": "True"},
        repeatable=True,
        parse=_SCHEDULED_RUNS,
    )


def list_runs(*, page_size: int, page_offset: int = 0, include_team: bool = False) -> Call[list[Run]]:
    """
    List the account's runs on all datasets, at most ``page_size``, from ``page_offset``, in undocumented order.

    :param page_size: Maximum number of runs.
    :param page_offset: Number of runs to leave out. Default: 0.
    :param include_team: Also the runs of the team's other members. Default: False.
    """
    return Call(
        operation="get_docker_runs",
        method="GET",
        path="/v1/docker/runs",
        query={"pageSize": page_size, "pageOffset": page_offset, **_of_team(include_team)},
        repeatable=True,
        parse=_RUNS,
    )


def list_runs_of_dataset(
    dataset_id: str, *, page_size: int = PAGE_SIZE, page_offset: int = 0, include_team: bool = False
) -> Call[list[Run]]:
    """List the runs on a dataset, as :func:`list_runs`; default of ``page_size``: :data:`PAGE_SIZE`."""
    return Call(
        operation="get_docker_runs_query_by_dataset_id",
        method="GET",
        path=f"/v1/docker/runs/query/datasetId/{_segment(dataset_id)}",
        query={"pageSize": page_size, "pageOffset": page_offset, **_of_team(include_team)},
        repeatable=True,
        parse=_RUNS,
    )


def _of_team(include_team: bool) -> dict[str, str]:
    return {"getAssetsOfTeamInclusiveSelf": "True"} if include_team else {}


def get_run(run_id: str) -> Call[Run]:
    """Get a run by its own id, which is not that of its scheduled run."""
    return Call(
        operation="get_docker_run_by_id",
        method="GET",
        path=f"/v1/docker/runs/{_segment(run_id)}",
        repeatable=True,
        parse=lambda answer: _same("id", run_id, Run.model_validate(answer)),
    )


def cancel_scheduled_run(dataset_id: str, scheduled_run_id: str) -> Call[None]:
    """Cancel a scheduled run; possible only while it is OPEN."""
    return Call(
        operation="cancel_scheduled_docker_run_state_by_id",
        method="PUT",
        path=f"/v1/datasets/{_segment(dataset_id)}/docker/worker/schedule/{_segment(scheduled_run_id)}",
        repeatable=True,
        form=Form.NOTHING,
        parse=_nothing,
    )


def get_run_of_scheduled_run(scheduled_run_id: str) -> Call[Run]:
    """Get the run of a scheduled run; 404 until a worker takes it."""
    return Call(
        operation="get_docker_run_by_scheduled_id",
        method="GET",
        path=f"/v1/docker/runs/schedule/{_segment(scheduled_run_id)}",
        repeatable=True,
        parse=lambda answer: _same("scheduled_id", scheduled_run_id, Run.model_validate(answer)),
    )


def get_run_logs(run_id: str, cursor: int) -> Call[LogPage]:
    """Get the run's log lines since ``cursor`` (0: from the start)."""
    return Call(
        operation="get_docker_run_logs_by_id",
        method="GET",
        path=f"/v1/docker/runs/{_segment(run_id)}/logs",
        query={"cursor": cursor},
        repeatable=True,
        parse=LogPage.model_validate,
    )


def get_run_tags(run_id: str) -> Call[list[Tag]]:
    """List the tags that a run created, newest first."""
    return Call(
        operation="get_docker_run_tags",
        method="GET",
        path=f"/v1/docker/runs/{_segment(run_id)}/tags",
        repeatable=True,
        parse=_TAGS,
    )


def get_artifact_url(run_id: str, artifact_id: str) -> Call[str]:
    """Get a signed URL of an artifact's content, which is read without the token."""
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
    """List all tags of a dataset."""
    return Call(
        operation="get_tags_by_dataset_id",
        method="GET",
        path=f"/v1/datasets/{_segment(dataset_id)}/tags",
        repeatable=True,
        parse=_TAGS,
    )


def export_filenames(
    dataset_id: str,
    tag_id: str,
    *,
    page_offset: int,
    page_size: int = PAGE_SIZE,
    name_format: FileNameFormat = FileNameFormat.NAME,
    expires_in: int | None = None,
) -> Call[NamePage]:
    """
    Get one page of a tag's samples, one text each; an empty page is the end.

    The order of the samples is the same in every format (lightly 1.5.26, api/api_workflow_export.py).

    :param name_format: What is returned of each sample: its name relative to the input datasource, its address in the
        cloud, or an address at the platform that leads to the file.
    :param expires_in: Life of the addresses at the platform, in seconds. None (default): unlimited.
    """
    query: dict[str, Any] = {"fileNameFormat": str(name_format), "pageSize": page_size, "pageOffset": page_offset}
    return Call(
        operation="export_tag_to_basic_filenames",
        method="GET",
        path=f"/v1/datasets/{_segment(dataset_id)}/tags/{_segment(tag_id)}/export/basic/filenames",
        query=query if expires_in is None else {**query, "expiresIn": expires_in},
        repeatable=True,
        form=Form.LINES,
        parse=partial(_filenames, before=page_offset),
    )


def export_samples(dataset_id: str, tag_id: str, *, page_offset: int) -> Call[list[LabelStudioTask]]:
    """Get one page of a tag's samples with their addresses in the cloud and all that the platform knows of them."""
    return Call(
        operation="export_tag_to_label_studio_tasks",
        method="GET",
        path=f"/v1/datasets/{_segment(dataset_id)}/tags/{_segment(tag_id)}/export/LabelStudio/tasks",
        query={
            "fileNameFormat": str(FileNameFormat.DATASOURCE_FULL),
            "includeMetaData": "True",
            "pageSize": TASKS_PAGE_SIZE,
            "pageOffset": page_offset,
        },
        repeatable=True,
        form=Form.EXACT,
        parse=partial(_label_studio_tasks, before=page_offset),
    )


def export_sama_tasks(
    dataset_id: str, tag_id: str, *, page_offset: int, expires_in: int | None = None
) -> Call[list[dict[str, Any]]]:
    """Get one page of a tag's samples as tasks of Sama; ``expires_in``: see :func:`export_filenames`."""
    query: dict[str, Any] = {"pageSize": TASKS_PAGE_SIZE, "pageOffset": page_offset}
    return Call(
        operation="export_tag_to_sama_tasks",
        method="GET",
        path=f"/v1/datasets/{_segment(dataset_id)}/tags/{_segment(tag_id)}/export/Sama/tasks",
        query=query if expires_in is None else {**query, "expiresIn": expires_in},
        repeatable=True,
        form=Form.EXACT,
        parse=partial(_sama_tasks, before=page_offset),
    )


def create_tag(dataset_id: str, request: TagCreateRequest) -> Call[str]:
    """Create a tag; returns its id. Repeatable, because names are unique per dataset: a second request is refused."""
    return Call(
        operation="create_tag_by_dataset_id",
        method="POST",
        path=f"/v1/datasets/{_segment(dataset_id)}/tags",
        body=request.to_wire(),
        repeatable=True,
        parse=_id,
    )


def delete_tag(dataset_id: str, tag_id: str) -> Call[None]:
    """Delete a tag that no other tag is derived from. Repeatable: a second request is refused."""
    return Call(
        operation="delete_tag_by_tag_id",
        method="DELETE",
        path=f"/v1/datasets/{_segment(dataset_id)}/tags/{_segment(tag_id)}",
        repeatable=True,
        form=Form.NOTHING,
        parse=_nothing,
    )


# --- samples -----------------------------------------------------------------------------------------------------


def get_sample_names(dataset_id: str, *, page_offset: int) -> Call[list[str]]:
    """Get one page of the names of a dataset's samples, in the order of the tags' bits."""
    return Call(
        operation="get_sample_mappings_by_dataset_id",
        method="GET",
        path=f"/v1/datasets/{_segment(dataset_id)}/mappings",
        query={"field": "fileName", "pageSize": NAMES_PAGE_SIZE, "pageOffset": page_offset},
        repeatable=True,
        form=Form.EXACT,
        parse=partial(_names, before=page_offset),
    )


def get_sample(dataset_id: str, sample_id: str) -> Call[Sample]:
    """Get a sample by id."""
    return Call(
        operation="get_sample_by_id",
        method="GET",
        path=f"/v1/datasets/{_segment(dataset_id)}/samples/{_segment(sample_id)}",
        repeatable=True,
        form=Form.EXACT,
        parse=lambda answer: _same("id", sample_id, Sample.model_validate(answer)),
    )
