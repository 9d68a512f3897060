"""Reads the customer's JSON files below ``.lightly/`` through the platform."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lightly_sandbox.selection.schemas import (
    METADATA,
    PREDICTIONS,
    SCHEMA_FILE,
    PredictionSchema,
    own_file_name,
    parse_metadata_schema,
    video_of,
)
from lightly_sandbox.worker.custom_metadata import CustomMetadata, parse_metadata
from lightly_sandbox.worker.outcome import RunFailed
from lightly_sandbox.worker.parallel import spread
from lightly_sandbox.worker.predictions import TaskPredictions, parse_predictions
from lightly_sandbox.worker.transfer import TransferError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from typing import TypeVar

    from lightly_sandbox.worker.job import Job

    Parsed = TypeVar("Parsed")

_READ_THREADS = 8


def read_task(job: Job, task: str, file_names: Collection[str]) -> TaskPredictions:
    """Read a task's predictions for files of the input.

    Args:
        job: the run.
        task: a prediction task.
        file_names: images, or videos for their frames.

    Raises:
        RunFailed: the schema or a file is missing or invalid, or there is no file at all.
    """
    folder = f"{PREDICTIONS}{task}/"
    schema_url = job.platform.prediction_file_url(job.dataset_id, f"{task}/{SCHEMA_FILE}")
    schema = _read(job, schema_url, f"{folder}{SCHEMA_FILE}", PredictionSchema.parse)
    listed = _about(job.platform.prediction_files(job.dataset_id, task), file_names)
    if not listed:
        raise RunFailed(
            f"No file below {folder} of the LIGHTLY datasource is about one of the {len(file_names)} files of"
            " this run. Each is to be named as the image, or the frame of a video, that it is about, with the"
            " ending .json."
        )
    contents = spread(
        lambda file: _read(
            job, file[1], folder + file[0], lambda content: parse_predictions(content, file[0], schema)
        ),
        listed,
        threads=_READ_THREADS,
        tick=job.tick,
    )
    return TaskPredictions(task, schema, dict(zip((name for name, _ in listed), contents, strict=True)))


def read_metadata(job: Job, file_names: Collection[str]) -> CustomMetadata:
    """Read the custom metadata of files of the input.

    Args:
        job: the run.
        file_names: images, or videos for their frames.

    Raises:
        RunFailed: the schema or a file is missing or invalid.
    """
    schema_url = job.platform.metadata_file_url(job.dataset_id, SCHEMA_FILE)
    entries = _read(job, schema_url, f"{METADATA}{SCHEMA_FILE}", parse_metadata_schema)
    listed = _about(job.platform.metadata_files(job.dataset_id), file_names)
    contents = spread(
        lambda file: _read(job, file[1], METADATA + file[0], parse_metadata),
        listed,
        threads=_READ_THREADS,
        tick=job.tick,
    )
    return CustomMetadata(entries, dict(zip((name for name, _ in listed), contents, strict=True)))


def _about(listed: Iterable[tuple[str, str]], file_names: Collection[str]) -> list[tuple[str, str]]:
    """Filter names and URLs to those for one of the files, or for a frame of one."""
    own_names = {own_file_name(name) for name in file_names}
    # Frames that were selected before are images now; their videos' files apply to them.
    own_names |= {own_file_name(video_of(own_name)) for own_name in own_names}
    return [(name, url) for name, url in listed if name in own_names or video_of(name) in file_names]


def _read(job: Job, url: str, name: str, parse: Callable[[Any], Parsed]) -> Parsed:
    try:
        return parse(json.loads(job.transfer.content(url)))
    except TransferError as error:
        raise RunFailed(
            f"The worker cannot read {name} of the LIGHTLY datasource ({error.status or 'no answer'}"
            f" {error.reason}). Check that it is there and that the credentials allow s3:GetObject."
        ) from error
    except ValueError as wrong:
        raise RunFailed(f"The file {name} of the LIGHTLY datasource is no use: {wrong}.") from wrong
