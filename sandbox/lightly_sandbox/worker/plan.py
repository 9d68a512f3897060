"""From a stored worker config (version V4) to what this worker will do, or why it cannot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightly_sandbox.worker.measurement import METADATA_KEYS
from lightly_sandbox.worker.outcome import RunFailed
from lightly_sandbox.worker.selection import (
    OPERATIONS,
    Diversity,
    Metadata,
    Randomness,
    SelectionRequest,
    Strategy,
    Threshold,
    Typicality,
    Weights,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

# The default of worker 2.6's corruptness check (lightly-ai/lightly, docs/source/docker/configuration, March
# 2023).
DEFAULT_CORRUPTION_THRESHOLD = 0.1
_DEFAULT_NEAREST_NEIGHBOURS = 20


@dataclass(frozen=True)
class RunPlan:
    """A worker config, understood."""

    selection: SelectionRequest
    process_all: bool
    use_datapool: bool
    corruption_threshold: float
    upload_report: bool


def plan_run(dataset_type: str, config: Mapping[str, Any]) -> RunPlan:
    """Read a worker config.

    Args:
        dataset_type: the dataset's type on the platform: Images, Videos or Crops.
        config: the ``config`` member of a stored V4 worker config, in the platform's spelling.

    Raises:
        RunFailed: the config asks for something that this worker cannot do; the message names it.
    """
    if dataset_type != "Images":
        raise RunFailed(
            f"The dataset's type is {dataset_type}, but the sandbox's worker reads images only: it cannot"
            " decode videos yet. Use a dataset of type Images."
        )
    docker = config.get("docker") or {}
    _refuse_unsupported(docker)
    datasource = docker.get("datasource") or {}
    return RunPlan(
        selection=_selection(config.get("selection")),
        process_all=bool(datasource.get("processAll")),
        use_datapool=bool(docker.get("useDatapool")),
        corruption_threshold=_given(
            (docker.get("corruptnessCheck") or {}).get("corruptionThreshold"), DEFAULT_CORRUPTION_THRESHOLD
        ),
        upload_report=bool(_given(docker.get("uploadReport"), True)),
    )


def _refuse_unsupported(docker: Mapping[str, Any]) -> None:
    datasource = docker.get("datasource") or {}
    reasons = {
        "enableTraining": docker.get("enableTraining") and "it trains no models",
        "checkpoint": docker.get("checkpoint") and "it loads no checkpoints",
        "checkpointRunId": docker.get("checkpointRunId") and "it loads no checkpoints",
        "embeddings": docker.get("embeddings") and "it reads no embeddings from files",
        "pretagging": docker.get("pretagging") and "it has no object detector",
        "selectedSequenceLength": _given(docker.get("selectedSequenceLength"), 1) > 1
        and "it selects single images, not sequences",
        "relevantFilenamesFile": docker.get("relevantFilenamesFile") and "it considers every file",
        "datasource.inputExpiration": datasource.get("inputExpiration") and "it knows no retention policies",
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


def _selection(selection: Mapping[str, Any] | None) -> SelectionRequest:
    if not selection:
        raise RunFailed(
            "The worker config has no selection, so there is nothing to do. Add one with a strategy."
        )
    for unsupported in ("autoTasks", "lightlyPathRegex"):
        if selection.get(unsupported):
            raise RunFailed(
                f"The selection's {unsupported} is beyond the sandbox's worker: it selects whole images by"
                " the strategies alone. Leave it out."
            )
    # A number of -1 sets no limit: only the strategies' stopping conditions end the selection.
    n_samples = selection.get("nSamples")
    n_samples = n_samples if n_samples is not None and n_samples >= 0 else None
    proportion = selection.get("proportionSamples")
    if n_samples is not None and proportion is not None:
        raise RunFailed(
            f"The selection asks for nSamples {n_samples} and for proportionSamples {proportion}. Give only"
            " one."
        )
    return SelectionRequest(
        strategies=tuple(_strategy(entry) for entry in selection["strategies"]),
        n_samples=n_samples,
        proportion=proportion,
    )


def _strategy(entry: Mapping[str, Any]) -> Strategy:
    source, strategy = entry["input"], entry["strategy"]
    strength = float(_given(strategy.get("strength"), 1.0))
    match source["type"], strategy["type"]:
        case "EMBEDDINGS", "DIVERSITY":
            _refuse(entry, source, "datasetId", "tagName")
            return Diversity(strength, _switched_on(strategy.get("stopping_condition_minimum_distance")))
        case "EMBEDDINGS", "TYPICALITY":
            _refuse(entry, source, "datasetId", "tagName")
            return Typicality(
                int(_given(strategy.get("numNearestNeighbors"), _DEFAULT_NEAREST_NEIGHBOURS)),
                strength,
                _switched_on(strategy.get("stoppingConditionMinimumTypicality")),
            )
        case "METADATA", "WEIGHTS":
            _refuse(entry, strategy, "stoppingConditionMaxSum", "targetRange")
            return Weights(_metadata(source), strength)
        case "METADATA", "THRESHOLD":
            return _threshold(source, strategy)
        case "RANDOM", "WEIGHTS":
            _refuse(entry, strategy, "stoppingConditionMaxSum", "targetRange")
            return Weights(Randomness(abs(int(_given(source.get("randomSeed"), 0)))), strength)
        case _:
            raise RunFailed(
                f"The sandbox's worker cannot select by {_name(entry)}. It can do EMBEDDINGS with DIVERSITY"
                " or TYPICALITY, METADATA with WEIGHTS or THRESHOLD, and RANDOM with WEIGHTS."
            )


def _threshold(source: Mapping[str, Any], strategy: Mapping[str, Any]) -> Threshold:
    limit, operation = strategy.get("threshold"), str(strategy.get("operation"))
    if limit is None or operation not in OPERATIONS:
        raise RunFailed(
            "The selection's THRESHOLD strategy needs a threshold and an operation, one of"
            f" {', '.join(OPERATIONS)}; it has {limit} and {operation}."
        )
    return Threshold(_metadata(source), operation, float(limit))


def _metadata(source: Mapping[str, Any]) -> Metadata:
    key = source.get("key")
    if key not in METADATA_KEYS:
        raise RunFailed(
            f"The selection names the metadata key {key!r}, which the sandbox's worker does not compute."
            f" It computes {', '.join(METADATA_KEYS)}."
        )
    return Metadata(key)


def _refuse(entry: Mapping[str, Any], part: Mapping[str, Any], *settings: str) -> None:
    for setting in settings:
        if part.get(setting) is not None:
            raise RunFailed(
                f"The sandbox's worker cannot do {setting} in the selection by {_name(entry)}. Leave it out."
            )


def _name(entry: Mapping[str, Any]) -> str:
    return f"{entry['input']['type']} with {entry['strategy']['type']}"


def _switched_on(limit: float | None) -> float | None:
    # Clients send -1 for "off" (lightly 1.5.26, tests of the selection config).
    return None if limit is None or limit < 0 else float(limit)


def _given(value: Any, default: Any) -> Any:
    return default if value is None else value
