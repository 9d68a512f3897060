"""From a failed validation to one sentence."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.api.models.validation import parse_argument
from lightly_provider.api.models.worker_config import LightlyOptions, SelectionConfig, WorkerOptions

if TYPE_CHECKING:
    from lightly_provider.api.models.wire import Request

EMBEDDINGS = {"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY"}}
UNKNOWN = "is not a member of the worker configuration V4"
CONTRACT = "does not fit the platform's contract"


def refusal(model: type[Request], value: Any, argument: str) -> str:
    with pytest.raises(ValueError, match="^" + argument) as refused:
        parse_argument(model, value, argument=argument)
    assert type(refused.value) is ValueError
    assert refused.value.__context__ is None, "pydantic's own text, with the refused value, would be shown too"
    text = str(refused.value)
    assert "\n" not in text
    assert text.endswith(".")
    return text


def selection(input_: dict[str, Any] | None = None, strategy: dict[str, Any] | None = None) -> dict[str, Any]:
    """A selection whose second entry has these members."""
    second = {"input": input_ or EMBEDDINGS["input"], "strategy": strategy or EMBEDDINGS["strategy"]}
    return {"n_samples": 5, "strategies": [EMBEDDINGS, second]}


@pytest.mark.parametrize(
    ("value", "place", "cause"),
    [
        ({"nsamples": 5, "strategies": [EMBEDDINGS]}, "nsamples", f"{UNKNOWN}; did you mean 'n_samples'?"),
        ({"n_sample": 5, "strategies": [EMBEDDINGS]}, "n_sample", f"{UNKNOWN}; did you mean 'n_samples'?"),
        ({"n_samples": 5, "strategy": [EMBEDDINGS]}, "strategy", f"{UNKNOWN}; did you mean 'strategies'?"),
        ({"n_samples": 5}, "strategies", "is missing; add it."),
        ({}, "strategies", "is missing; add it."),
        ({"n_samples": 5, "strategies": []}, "strategies", CONTRACT),
        ({"n_samples": 5, "strategies": EMBEDDINGS}, "strategies", f"{CONTRACT}: input should be a valid list."),
        ({"n_samples": 5, "strategies": ["x"]}, "strategies[0]", CONTRACT),
        ({"n_samples": "5", "strategies": [EMBEDDINGS]}, "n_samples", f"{CONTRACT}: input should be a valid integer."),
        ({"n_samples": -2, "strategies": [EMBEDDINGS]}, "n_samples", f"{CONTRACT}: input should be greater than"),
        ({"n_samples": 10**30, "strategies": [EMBEDDINGS]}, "n_samples", f"{CONTRACT}: input should be less than"),
        ({"proportion_samples": 1.1, "strategies": [EMBEDDINGS]}, "proportion_samples", CONTRACT),
        (
            selection(input_={"type": "EMBEDDING"}),
            "strategies[1].input.type",
            "is not one of its allowed values; did you mean 'EMBEDDINGS'?",
        ),
        (selection(input_={"type": "embeddings"}), "strategies[1].input.type", "is not one of its allowed values"),
        (selection(input_={"typ": "EMBEDDINGS"}), "strategies[1].input.typ", f"{UNKNOWN}; did you mean 'type'?"),
        (
            selection(input_={"type": "EMBEDDINGS", "dataset_id": "x"}),
            "strategies[1].input.dataset_id",
            f"{CONTRACT}: string should match pattern",
        ),
        (selection(strategy={"type": "DIVERSE"}), "strategies[1].strategy.type", "is not one of its allowed values"),
        (
            selection(strategy={"type": "DIVERSITY", "stoppingConditionMinimumDistance": 0.1}),
            "strategies[1].strategy.stoppingConditionMinimumDistance",
            f"{UNKNOWN}; did you mean 'stopping_condition_minimum_distance'?",
        ),
        (
            selection(strategy={"type": "WEIGHTS", "target_range": {"minsum": 1}}),
            "strategies[1].strategy.target_range.minsum",
            f"{UNKNOWN}; did you mean 'min_sum'? Allowed: min_sum, max_sum.",
        ),
        (
            selection(strategy={"type": "THRESHOLD", "threshold": 1, "operation": "BIGGER_OR_EQUAL"}),
            "strategies[1].strategy.operation",
            "is not one of its allowed values; did you mean 'BIGGER_EQUAL'?",
        ),
        (
            selection(strategy={"type": "THRESHOLD", "threshold": 1}),
            "strategies[1].strategy",
            ": a THRESHOLD strategy needs 'threshold' and 'operation'.",
        ),
        (
            selection() | {"auto_tasks": [{"type": "TILING", "name": "x", "num_row": 1, "num_cols": 1}]},
            "auto_tasks[0].TILING.num_row",
            f"{UNKNOWN}; did you mean 'num_rows'?",
        ),
        (selection() | {"auto_tasks": [{"type": "TILE", "name": "x"}]}, "auto_tasks[0]", CONTRACT),
    ],
)
def test_a_selection_outside_the_contract_is_refused_at_its_place(value: Any, place: str, cause: str) -> None:
    text = refusal(SelectionConfig, value, "selection_config")
    separator = "" if cause.startswith(":") else " "
    assert text.startswith(f"selection_config.{place}{separator}{cause}")


def test_two_sizes_are_refused_as_such() -> None:
    text = refusal(SelectionConfig, selection() | {"proportion_samples": 0.5}, "selection_config")
    assert text == "selection_config: set exactly one of 'n_samples' and 'proportion_samples'."


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"use_data_pool": True}, f"worker_config.use_data_pool {UNKNOWN}; did you mean 'use_datapool'?"),
        ({"datasource": {"proces_all": True}}, f"worker_config.datasource.proces_all {UNKNOWN}; did you mean"),
        ({"method": "coreset"}, f"worker_config.method {UNKNOWN}; allowed: checkpoint, checkpoint_run_id,"),
        ({"use_datapool": "yes"}, f"worker_config.use_datapool {CONTRACT}: input should be a valid boolean."),
        ({1: 2}, f"worker_config[1] {CONTRACT}"),
        ({"a\x1b[2J\n": 1}, rf"worker_config.a\x1b[2J\n {UNKNOWN}; allowed: "),
        ({"a" * 5000: 1}, f"worker_config.{'a' * 199}… (5001 characters) {UNKNOWN}; allowed: "),
    ],
)
def test_worker_options_outside_the_contract_are_refused(value: Any, text: str) -> None:
    assert refusal(WorkerOptions, value, "worker_config").startswith(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (
            {"model": {"name": "resnet18"}},
            "lightly_config.model.name is not one of its allowed values; did you mean 'resnet-18'?",
        ),
        ({"trainer": {"precision": 64}}, "lightly_config.trainer.precision is not one of its allowed values; allowed:"),
        ({"optimizer": {"lr": float("nan")}}, f"lightly_config.optimizer.lr {CONTRACT}: input should be a finite"),
    ],
)
def test_training_options_outside_the_contract_are_refused(value: Any, text: str) -> None:
    assert refusal(LightlyOptions, value, "lightly_config").startswith(text)


def test_an_unknown_member_is_told_before_the_one_that_it_was_meant_to_be() -> None:
    assert "strategys" in refusal(SelectionConfig, {"strategys": [], "n_samples": "x"}, "selection_config")


def test_the_refused_value_is_not_repeated() -> None:
    for value in ({"use_datapool": "CANARY"}, {"checkpoint_run_id": "CANARY"}, {"datasource": "CANARY"}):
        assert "CANARY" not in refusal(WorkerOptions, value, "worker_config")


def test_any_mapping_will_do() -> None:
    parsed = parse_argument(WorkerOptions, MappingProxyType({"useDatapool": True}), argument="worker_config")
    assert parsed == WorkerOptions(use_datapool=True)
