"""Converts a stored worker config (version V4) into this worker's plan, or the reason why it cannot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightly_sandbox.selection.reading import (
    InvalidSelectionError,
    UnsupportedSelectionError,
    read_selection,
)
from lightly_sandbox.worker.input_expiration import InputExpiration
from lightly_sandbox.worker.outcome import RunFailed
from lightly_sandbox.worker.publishing import FRAME_FORMATS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lightly_sandbox.selection.request import SelectionRequest

# The default of worker 2.6's corruptness check (lightly-ai/lightly, docs/source/docker/configuration, March
# 2023).
DEFAULT_CORRUPTION_THRESHOLD = 0.1
DEFAULT_FRAME_FORMAT = "png"


@dataclass(frozen=True)
class RunPlan:
    """A parsed worker config.

    Attributes:
        selection: what to select.
        is_video: whether the input is videos, of which to select frames.
        process_all: whether to process files that earlier runs have already processed.
        use_datapool: whether to add to the dataset's samples.
        corruption_threshold: the share of corrupt files above which the run fails.
        bypass_verify: whether to start without verifying the platform's permissions first.
        input_expiration: what to do with new files that expire.
        upload_report: whether the report becomes an artifact.
        relevant_filenames: the file below ``.lightly/`` that names the files to consider; None for all.
        frame_format: the file name extension of selected frames.
        sequence_length: how many consecutive frames are selected together.
        remarks: sentences for the run's owner about settings without effect.
    """

    selection: SelectionRequest
    is_video: bool
    process_all: bool
    use_datapool: bool
    corruption_threshold: float
    bypass_verify: bool
    input_expiration: InputExpiration
    upload_report: bool
    relevant_filenames: str | None
    frame_format: str
    sequence_length: int
    remarks: tuple[str, ...]


def plan_run(dataset_type: str, config: Mapping[str, Any]) -> RunPlan:
    """Read a worker config.

    Args:
        dataset_type: the dataset's type on the platform: Images, Videos or Crops.
        config: the ``config`` member of a stored V4 worker config, in the platform's spelling.

    Raises:
        RunFailed: the config requires something that this worker cannot do; the message names it.
    """
    if dataset_type not in ("Images", "Videos"):
        raise RunFailed(
            f"The dataset's type is {dataset_type}, which the worker makes out of predictions itself. Use a"
            " dataset of type Images or Videos."
        )
    is_video = dataset_type == "Videos"
    docker = config.get("docker") or {}
    _refuse_unsupported(docker)
    datasource = docker.get("datasource") or {}
    selection = _selection(config.get("selection"))
    return RunPlan(
        selection=selection,
        is_video=is_video,
        process_all=bool(datasource.get("processAll")),
        use_datapool=bool(docker.get("useDatapool")),
        corruption_threshold=_given(
            (docker.get("corruptnessCheck") or {}).get("corruptionThreshold"), DEFAULT_CORRUPTION_THRESHOLD
        ),
        bypass_verify=bool(datasource.get("bypassVerify")),
        input_expiration=_input_expiration(datasource.get("inputExpiration")),
        upload_report=bool(_given(docker.get("uploadReport"), True)),
        relevant_filenames=_relevant_filenames(docker),
        frame_format=_frame_format(docker, is_video),
        sequence_length=_sequence_length(docker, is_video, selection.n_samples),
        remarks=_remarks(docker, config.get("lightly") or {}),
    )


def _refuse_unsupported(docker: Mapping[str, Any]) -> None:
    datasource = docker.get("datasource") or {}
    reasons = {
        "enableTraining": docker.get("enableTraining") and "it trains no models",
        "checkpoint": docker.get("checkpoint") and "it loads no checkpoints",
        "checkpointRunId": docker.get("checkpointRunId") and "it loads no checkpoints",
        "embeddings": docker.get("embeddings") and "it reads no embeddings from files",
        "normalizeEmbeddings": docker.get("normalizeEmbeddings") is False
        and "its embeddings have the length 1 by their making",
        "pretagging": docker.get("pretagging") and "it has no object detector",
        "datasource.enableDatapoolUpdate": docker.get("useDatapool")
        and datasource.get("enableDatapoolUpdate") is False
        and "what it selects always joins the datapool",
    }
    for setting, reason in reasons.items():
        if reason:
            raise RunFailed(
                f"The worker config's docker.{setting} is beyond the sandbox's worker: {reason}."
                " Leave that setting out."
            )


def _input_expiration(given: Mapping[str, Any] | None) -> InputExpiration:
    if not given:
        return InputExpiration()
    return InputExpiration(float(given["minDaysToExpiration"]), given["handlingStrategy"] == "ABORT")


def _relevant_filenames(docker: Mapping[str, Any]) -> str | None:
    # An empty text is the old default for no file (lightly-ai/lightly, docs/source/docker/configuration).
    name = docker.get("relevantFilenamesFile") or None
    if name is not None and not name.startswith(".lightly/"):
        raise RunFailed(
            f"The worker config's docker.relevantFilenamesFile is {name!r}, but it has to be below .lightly/"
            " in the LIGHTLY datasource (docs.lightly.ai, Relevant filenames). Move the file there."
        )
    return name


def _frame_format(docker: Mapping[str, Any], is_video: bool) -> str:
    frame_format: str = docker.get("outputImageFormat") or DEFAULT_FRAME_FORMAT
    if is_video and frame_format not in FRAME_FORMATS:
        raise RunFailed(
            f"The worker config's docker.outputImageFormat is {frame_format!r}; the sandbox's worker writes"
            f" frames as {', '.join(FRAME_FORMATS)}."
        )
    return frame_format


def _sequence_length(docker: Mapping[str, Any], is_video: bool, n_samples: int | None) -> int:
    length = int(_given(docker.get("selectedSequenceLength"), 1))
    if length > 1 and not is_video:
        raise RunFailed(
            f"The worker config's docker.selectedSequenceLength is {length}, but sequences are selected of"
            " videos only (docs.lightly.ai, Sequence selection). Leave that setting out, or use a dataset of"
            " type Videos."
        )
    if n_samples is not None and n_samples % length:
        raise RunFailed(
            f"The selection's nSamples is {n_samples}, which is no multiple of docker.selectedSequenceLength,"
            f" {length}: it counts frames, and sequences are selected as a whole. Change one of them."
        )
    return length


def _remarks(docker: Mapping[str, Any], lightly: Mapping[str, Any]) -> tuple[str, ...]:
    """Return remarks about settings that have no effect here, but may have one on the real platform."""
    remarks = []
    if lightly:
        remarks.append(
            f"The lightly config ({', '.join(sorted(lightly))}) has no effect: it is about training and"
            " loading a network, and the sandbox's worker embeds without one."
        )
    if (docker.get("training") or {}).get("taskName"):
        remarks.append("docker.training.taskName has no effect without docker.enableTraining.")
    return tuple(remarks)


def _selection(selection: Mapping[str, Any] | None) -> SelectionRequest:
    try:
        return read_selection(selection)
    except (InvalidSelectionError, UnsupportedSelectionError) as reason:
        raise RunFailed(str(reason)) from reason


def _given(value: Any, default: Any) -> Any:
    return default if value is None else value
