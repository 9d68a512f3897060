"""Finds the entities that a path names, among those that the user may use."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from sqlalchemy import select

from lightly_sandbox.contract.enums import DatasourcePurpose
from lightly_sandbox.contract.error_codes import ApiErrorCode
from lightly_sandbox.platform import identity
from lightly_sandbox.platform.errors import ApiError, unknown
from lightly_sandbox.platform.s3_access import S3Config, parse_s3_config
from lightly_sandbox.platform.tables import Dataset, Run, Sample, ScheduledRun, Tag, Worker, WorkerConfig

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def dataset(session: Session, dataset_id: str, user_id: str) -> Dataset:
    """The user's dataset, a shared one or the team's, or 404 DATASET_UNKNOWN."""
    found = session.get(Dataset, dataset_id)
    if found is None or (found.user_id != user_id and not _may_use(session, found, user_id)):
        raise unknown(ApiErrorCode.DATASET_UNKNOWN, "dataset", dataset_id)
    return found


def _may_use(session: Session, of: Dataset, user_id: str) -> bool:
    whom = identity.user(session, user_id)
    others = identity.is_shared_with(whom) | identity.is_of_team(whom)
    return session.scalar(select(Dataset.id).where(Dataset.id == of.id, others)) is not None


def owned_dataset(session: Session, dataset_id: str, user_id: str) -> Dataset:
    """The user's own dataset; 403 FORBIDDEN for one that the user may only use."""
    found = dataset(session, dataset_id, user_id)
    if found.user_id != user_id:
        error = f"Dataset {dataset_id} is somebody else's; only its owner may do this."
        raise ApiError(HTTPStatus.FORBIDDEN, ApiErrorCode.FORBIDDEN, error)
    return found


def anyones_dataset(session: Session, dataset_id: str) -> Dataset:
    """The dataset, for requests with a signed link instead of a user, or 404 DATASET_UNKNOWN."""
    found = session.get(Dataset, dataset_id)
    if found is None:
        raise unknown(ApiErrorCode.DATASET_UNKNOWN, "dataset", dataset_id)
    return found


def worker(session: Session, worker_id: str, user_id: str) -> Worker:
    """The worker, or 404 DOCKER_WORKER_UNKNOWN."""
    found = session.get(Worker, worker_id)
    if found is None or found.user_id != user_id:
        raise unknown(ApiErrorCode.DOCKER_WORKER_UNKNOWN, "worker", worker_id)
    return found


def worker_config(session: Session, config_id: str, user_id: str) -> WorkerConfig:
    """The worker configuration, or 404 DOCKER_WORKER_CONFIG_UNKNOWN."""
    found = session.get(WorkerConfig, config_id)
    if found is None or found.user_id != user_id:
        raise unknown(ApiErrorCode.DOCKER_WORKER_CONFIG_UNKNOWN, "worker configuration", config_id)
    return found


def scheduled_run(session: Session, scheduled_id: str, user_id: str, dataset_id: str | None) -> ScheduledRun:
    """The scheduled run (of ``dataset_id``, if that is given), or 404 DOCKER_WORKER_SCHEDULE_UNKNOWN."""
    found = session.get(ScheduledRun, scheduled_id)
    if found is None or found.user_id != user_id or dataset_id not in (None, found.dataset_id):
        raise unknown(ApiErrorCode.DOCKER_WORKER_SCHEDULE_UNKNOWN, "scheduled run", scheduled_id)
    return found


def run(session: Session, run_id: str, user_id: str) -> Run:
    """The run, or 404 DOCKER_RUN_UNKNOWN."""
    found = session.get(Run, run_id)
    if found is None or found.user_id != user_id:
        raise unknown(ApiErrorCode.DOCKER_RUN_UNKNOWN, "run", run_id)
    return found


def sample(session: Session, dataset_id: str, sample_id: str) -> Sample:
    """The sample of the dataset, or 404 SAMPLE_UNKNOWN."""
    found = session.get(Sample, sample_id)
    if found is None or found.dataset_id != dataset_id:
        raise unknown(ApiErrorCode.SAMPLE_UNKNOWN, "sample", sample_id)
    return found


def tag(session: Session, dataset_id: str, tag_id: str) -> Tag:
    """The tag of the dataset, or 404 TAG_UNKNOWN."""
    found = session.get(Tag, tag_id)
    if found is None or found.dataset_id != dataset_id:
        raise unknown(ApiErrorCode.TAG_UNKNOWN, "tag", tag_id)
    return found


def tag_version(session: Session, dataset_id: str, tag_id: str) -> int:
    """When the tag of the dataset was modified last, without reading its bit mask, or 404 TAG_UNKNOWN."""
    query = select(Tag.last_modified_at).where(Tag.id == tag_id, Tag.dataset_id == dataset_id)
    version = session.scalar(query)
    if version is None:
        raise unknown(ApiErrorCode.TAG_UNKNOWN, "tag", tag_id)
    return version


def datasource_config(of: Dataset, purpose: DatasourcePurpose) -> S3Config | None:
    """The datasource for ``purpose``: the one set for it, else the one for INPUT_OUTPUT, else None."""
    stored = {datasource.purpose: datasource.config for datasource in of.datasources}
    config = stored.get(purpose, stored.get(DatasourcePurpose.INPUT_OUTPUT))
    return None if config is None else parse_s3_config(config)


def required_datasource_config(of: Dataset, purpose: DatasourcePurpose) -> S3Config:
    """The datasource for ``purpose``, or 400 DATASET_DATASOURCE_UNKNOWN."""
    config = datasource_config(of, purpose)
    if config is None:
        raise no_datasource(of, purpose)
    return config


def no_datasource(of: Dataset, purpose: DatasourcePurpose) -> ApiError:
    """400 DATASET_DATASOURCE_UNKNOWN: there is no datasource for ``purpose``."""
    return ApiError(
        HTTPStatus.BAD_REQUEST,
        ApiErrorCode.DATASET_DATASOURCE_UNKNOWN,
        f"Dataset {of.id} has no datasource for {purpose}; put one with that purpose or INPUT_OUTPUT.",
    )


def sample_count(session: Session, dataset_id: str) -> int:
    """The dataset's number of samples, which is the size of its newest tags."""
    last = session.scalar(
        select(Sample.position)
        .where(Sample.dataset_id == dataset_id)
        .order_by(Sample.position.desc())
        .limit(1)
    )
    return 0 if last is None else last + 1
