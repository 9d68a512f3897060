"""Parses a V4 worker config's selection, in the platform's spelling, into a request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightly_sandbox.selection.auto_tasks import read_auto_task
from lightly_sandbox.selection.request import (
    MEASURED_KEYS,
    Balance,
    CategoryCount,
    ClassDistribution,
    Classes,
    Distribution,
    Diversity,
    Metadata,
    Numbers,
    Operation,
    Query,
    Randomness,
    Score,
    SelectionRequest,
    Similarity,
    Strategy,
    SumRange,
    Threshold,
    Typicality,
    Weights,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

# The vendor documents no default.
_DEFAULT_NEAREST_NEIGHBOURS = 20


class InvalidSelectionError(ValueError):
    """The selection contradicts itself, or has missing or incompatible members."""


class UnsupportedSelectionError(ValueError):
    """The platform may support this; the sandbox does not."""


@dataclass(frozen=True)
class _Members:
    """The members of an input or a strategy in addition to its type."""

    required: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()


def _members(*required: str, optional: tuple[str, ...] = ()) -> _Members:
    return _Members(frozenset(required), frozenset(optional))


_DIVERSITY = _members(optional=("stopping_condition_minimum_distance", "strength"))
_TYPICALITY = _members(
    optional=("numNearestNeighbors", "stoppingConditionMinimumTypicality", "strength"),
)
_WEIGHTS = _members(optional=("stoppingConditionMaxSum", "targetRange", "strength"))
_THRESHOLD = _members("threshold", "operation")
_BALANCE = _members(optional=("distribution", "target", "strength"))
_METADATA, _SCORES = _members("key"), _members("task", "score")
_COUNT = _members("task", "name", optional=("categories",))

# The valid pairs of input and strategy: docs.lightly.ai, "Selection Input" and "Selection Strategies", as far
# as they are public; SIMILARITY and TYPICALITY have embeddings in all of their examples.
_PAIRS: Mapping[tuple[str, str], tuple[_Members, _Members]] = {
    ("EMBEDDINGS", "DIVERSITY"): (_members(optional=("task",)), _DIVERSITY),
    ("EMBEDDINGS", "TYPICALITY"): (_members(optional=("task",)), _TYPICALITY),
    ("EMBEDDINGS", "SIMILARITY"): (
        _members("tagName", optional=("datasetId", "task")),
        _members(optional=("strength",)),
    ),
    ("METADATA", "WEIGHTS"): (_METADATA, _WEIGHTS),
    ("METADATA", "THRESHOLD"): (_METADATA, _THRESHOLD),
    ("METADATA", "BALANCE"): (_METADATA, _BALANCE),
    ("SCORES", "WEIGHTS"): (_SCORES, _WEIGHTS),
    ("SCORES", "THRESHOLD"): (_SCORES, _THRESHOLD),
    ("PREDICTIONS", "WEIGHTS"): (_COUNT, _WEIGHTS),
    ("PREDICTIONS", "THRESHOLD"): (_COUNT, _THRESHOLD),
    ("PREDICTIONS", "BALANCE"): (_members("task", "name"), _BALANCE),
    ("RANDOM", "WEIGHTS"): (_members(optional=("randomSeed",)), _WEIGHTS),
}


def read_selection(selection: Mapping[str, Any] | None) -> SelectionRequest:
    """Read a selection.

    Args:
        selection: the ``selection`` member of a worker config; its members have the contract's types.

    Raises:
        InvalidSelectionError: it is invalid.
        UnsupportedSelectionError: it requires something that the sandbox does not support.
    """
    if not selection:
        raise InvalidSelectionError(
            "The worker config has no selection, so there is nothing to do. Add one with a strategy."
        )
    if selection.get("lightlyPathRegex"):
        raise UnsupportedSelectionError(
            "The selection's lightlyPathRegex is beyond the sandbox: the vendor has not published how it"
            " makes metadata out of filenames. Leave it out, and put the metadata below .lightly/metadata/"
            " instead."
        )
    # A number of -1 sets no limit: only the strategies' stopping conditions end the selection.
    n_samples = selection.get("nSamples")
    n_samples = n_samples if n_samples is not None and n_samples >= 0 else None
    proportion = selection.get("proportionSamples")
    if n_samples is not None and proportion is not None:
        raise InvalidSelectionError(
            f"The selection asks for nSamples {n_samples} and for proportionSamples {proportion}. Give only"
            " one."
        )
    request = SelectionRequest(
        strategies=tuple(_strategy(entry) for entry in selection["strategies"]),
        n_samples=n_samples,
        proportion=proportion,
        auto_tasks=tuple(read_auto_task(task) for task in selection.get("autoTasks") or ()),
    )
    _check_auto_tasks(request)
    return request


def _check_auto_tasks(request: SelectionRequest) -> None:
    names = [task.name for task in request.auto_tasks]
    for name in names:
        if names.count(name) > 1:
            raise InvalidSelectionError(f"The selection has several autoTasks of the name {name!r}.")
        for source in request.sources:
            if isinstance(source, Score | CategoryCount | ClassDistribution) and source.task == name:
                raise InvalidSelectionError(
                    f"The autoTask {name!r} has parts of images, but no predictions to score, count or"
                    " balance. Use it as the task of EMBEDDINGS."
                )
        if name not in request.object_tasks:
            raise UnsupportedSelectionError(
                f"No strategy uses the autoTask {name!r}, and the sandbox makes no datasets of crops. Name it"
                " as the task of EMBEDDINGS, or leave it out."
            )


def _strategy(entry: Mapping[str, Any]) -> Strategy:
    source, strategy = entry["input"], entry["strategy"]
    pair = source["type"], strategy["type"]
    name = f"{pair[0]} with {pair[1]}"
    if pair not in _PAIRS:
        fitting = sorted(kind for kind, of in _PAIRS if of == pair[1])
        raise InvalidSelectionError(
            f"The selection has the input {name}, which do not go together. {pair[1]} goes with"
            f" {' and '.join(fitting)}."
        )
    for part, members in zip((source, strategy), _PAIRS[pair], strict=True):
        _check_members(name, part, members)
    strength = float(_given(strategy.get("strength"), 1.0))
    match pair[1]:
        case "DIVERSITY":
            limit = _switched_on(strategy.get("stopping_condition_minimum_distance"))
            return Diversity(strength, limit, source.get("task"))
        case "TYPICALITY":
            return Typicality(
                int(_given(strategy.get("numNearestNeighbors"), _DEFAULT_NEAREST_NEIGHBOURS)),
                strength,
                _switched_on(strategy.get("stoppingConditionMinimumTypicality")),
                source.get("task"),
            )
        case "SIMILARITY":
            return Similarity(Query(source["tagName"], source.get("datasetId")), strength, source.get("task"))
        case "WEIGHTS":
            limits = strategy.get("targetRange")
            return Weights(
                _numbers(name, source),
                strength,
                strategy.get("stoppingConditionMaxSum"),
                None if limits is None else _sum_range(limits),
            )
        case "THRESHOLD":
            limit = float(strategy["threshold"])
            return Threshold(_numbers(name, source), Operation(strategy["operation"]), limit)
        case _:
            return _balance(name, source, strategy, strength)


def _check_members(name: str, part: Mapping[str, Any], members: _Members) -> None:
    given = {member for member, value in part.items() if value is not None} - {"type"}
    for member in sorted(members.required - given):
        raise InvalidSelectionError(f"The selection by {name} lacks {member}.")
    for member in sorted(given - members.required - members.optional):
        raise InvalidSelectionError(
            f"The selection by {name} has {member}, which means nothing there. Leave it out."
        )
    if part.get("task") == "":
        raise InvalidSelectionError(f"The selection by {name} has an empty task.")


def _numbers(name: str, source: Mapping[str, Any]) -> Numbers:
    match source["type"]:
        case "METADATA":
            return _metadata(source["key"])
        case "SCORES":
            return Score(source["task"], source["score"])
        case "RANDOM":
            return Randomness(abs(int(_given(source.get("randomSeed"), 0))))
        case _:
            _check_predictions_name(name, source, "CATEGORY_COUNT")
            return CategoryCount(source["task"], frozenset(source.get("categories") or ()))


def _classes(name: str, source: Mapping[str, Any]) -> Classes:
    if source["type"] == "METADATA":
        metadata = _metadata(source["key"])
        if metadata.is_measured:
            raise InvalidSelectionError(
                f"The selection by {name} has the key {metadata.key}, which is a number and has no classes."
            )
        return metadata
    _check_predictions_name(name, source, "CLASS_DISTRIBUTION")
    return ClassDistribution(source["task"])


def _metadata(key: str) -> Metadata:
    metadata = Metadata(key)
    if metadata.is_measured and key not in MEASURED_KEYS:
        raise UnsupportedSelectionError(
            f"The selection names the metadata {key!r}, which the sandbox's worker does not measure. It"
            f" measures {', '.join(MEASURED_KEYS)}."
        )
    return metadata


def _check_predictions_name(name: str, source: Mapping[str, Any], wanted: str) -> None:
    if source["name"] != wanted:
        raise InvalidSelectionError(
            f"The selection by {name} has the name {source['name']}; that strategy goes with {wanted}."
        )


def _balance(name: str, source: Mapping[str, Any], strategy: Mapping[str, Any], strength: float) -> Balance:
    target = strategy.get("target")
    distribution = strategy.get("distribution")
    if distribution is None:
        # As in the versions before V4, which had only the target.
        distribution = Distribution.TARGET
    if distribution == Distribution.TARGET:
        return Balance(_classes(name, source), Distribution.TARGET, _target(name, target), strength)
    if target is not None:
        raise InvalidSelectionError(
            f"The selection by {name} has a target beside the distribution {distribution}. Leave one out."
        )
    return Balance(_classes(name, source), Distribution(distribution), (), strength)


def _target(name: str, target: Mapping[str, Any] | None) -> tuple[tuple[str, float], ...]:
    if not target:
        raise InvalidSelectionError(f"The selection by {name} lacks the target: a share for each class.")
    for label, share in target.items():
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise InvalidSelectionError(
                f"The selection by {name} has {share!r} as the target of {label!r}. Give a share from 0 to 1."
            )
    total = sum(target.values())
    # Allow rounded shares such as three times 0.3334.
    if total > 1.01:
        raise InvalidSelectionError(
            f"The selection by {name} has targets that add up to {total:g}. Let them be 1 together, or less"
            " with the rest for the other classes."
        )
    return tuple((label, float(share)) for label, share in target.items())


def _sum_range(limits: Mapping[str, Any]) -> SumRange:
    least, most = limits.get("minSum"), limits.get("maxSum")
    if least is not None and most is not None and least > most:
        raise InvalidSelectionError(
            f"The selection's targetRange has the minSum {least:g}, which is more than its maxSum {most:g}."
        )
    return SumRange(least, most)


def _switched_on(limit: float | None) -> float | None:
    # Clients send -1 for "off" (lightly 1.5.26, tests of the selection config).
    return None if limit is None or limit < 0 else float(limit)


def _given(value: Any, default: Any) -> Any:
    return default if value is None else value
