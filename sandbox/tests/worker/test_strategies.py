"""The strategies by what they promise, on points instead of photos."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from lightly_sandbox.selection.request import (
    Balance,
    CategoryCount,
    ClassDistribution,
    Distribution,
    Diversity,
    Metadata,
    Operation,
    Query,
    Randomness,
    SelectionRequest,
    Similarity,
    Strategy,
    SumRange,
    Threshold,
    Typicality,
    Weights,
)
from lightly_sandbox.worker import projection
from lightly_sandbox.worker.material import ClassTable, Material, Objects
from lightly_sandbox.worker.projection import SHORT_DIMENSIONS, shortening
from lightly_sandbox.worker.selection import EngineError, select, shortfalls

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

N = 300
N_SELECTED = 60
COUNT, PRICE, QUERY = CategoryCount("t"), Metadata("price"), Query("query")
CLASSES, WEATHER = ClassDistribution("t"), Metadata("weather")
LABELS = ("sunny", "cloudy", "rainy", "snowy")


def points(n: int, dimensions: int = 16, seed: int = 1) -> NDArray[np.float32]:
    numbers = np.random.default_rng(seed).normal(size=(n, dimensions)).astype(np.float32)
    return numbers / np.linalg.norm(numbers, axis=1, keepdims=True)


def material() -> Material:
    numbers = np.random.default_rng(2)
    weather = np.eye(4)[numbers.choice(4, size=N, p=[0.7, 0.2, 0.08, 0.02])]
    objects = numbers.poisson([3.0, 1.0, 0.5, 0.2], size=(N, 4)).astype(np.float64)
    return Material(
        points(N),
        numbers={COUNT: objects.sum(axis=1), PRICE: numbers.normal(size=N)},
        classes={WEATHER: ClassTable(LABELS, weather), CLASSES: ClassTable(LABELS, objects)},
        queries={QUERY: points(3, seed=3)},
    )


MATERIAL = material()


def chosen(
    *strategies: Strategy, n_samples: int | None = N_SELECTED, n_preselected: int = 0, of: Material = MATERIAL
) -> list[int]:
    return select(SelectionRequest(strategies, n_samples), of, n_preselected)


def distribution(
    source: Metadata | ClassDistribution, rows: Sequence[int] | NDArray[np.int64]
) -> NDArray[np.float64]:
    amounts: NDArray[np.float64] = MATERIAL.classes[source].amounts[list(rows)].sum(axis=0)
    return amounts / amounts.sum()


@pytest.mark.parametrize("source", [WEATHER, CLASSES], ids=["metadata", "predictions"])
@pytest.mark.parametrize(
    ("aim", "shares", "target"),
    [
        (Distribution.UNIFORM, (), [0.25, 0.25, 0.25, 0.25]),
        (Distribution.TARGET, (("rainy", 0.3), ("sunny", 0.4), ("cloudy", 0.3)), [0.4, 0.3, 0.3, 0.0]),
        (Distribution.INPUT, (), None),
    ],
)
def test_a_balance_comes_nearer_to_its_aim_than_fifty_random_choices(
    source: Metadata | ClassDistribution,
    aim: Distribution,
    shares: tuple[tuple[str, float], ...],
    target: list[float] | None,
) -> None:
    wanted = distribution(source, range(N)) if target is None else np.array(target)
    numbers = np.random.default_rng(5)

    def miss(rows: Sequence[int] | NDArray[np.int64]) -> float:
        return float(np.abs(distribution(source, rows) - wanted).sum())

    selected = chosen(Balance(source, aim, shares))
    by_chance = min(miss(numbers.choice(N, N_SELECTED, replace=False)) for _ in range(50))
    assert len(set(selected)) == N_SELECTED
    assert miss(selected) <= by_chance


def test_the_rest_of_a_target_is_for_all_other_classes_together() -> None:
    shares = distribution(WEATHER, chosen(Balance(WEATHER, Distribution.TARGET, (("cloudy", 0.5),))))
    assert shares[1] == pytest.approx(0.5, abs=0.02)
    assert shares[[0, 2, 3]].sum() == pytest.approx(0.5, abs=0.02)


def test_a_balance_counts_the_datapool() -> None:
    uniform = Balance(WEATHER, Distribution.UNIFORM)
    new = chosen(uniform, n_samples=20, n_preselected=100)
    both = distribution(WEATHER, [*range(100), *new])
    assert distribution(WEATHER, range(100))[0] > both[0]
    # The datapool is mostly sunny already.
    assert distribution(WEATHER, new)[0] == 0.0


def test_similarity_takes_the_nearest_neighbours_of_the_query() -> None:
    distances = np.linalg.norm(MATERIAL.embeddings[:, None] - MATERIAL.queries[QUERY][None, :], axis=2).min(
        axis=1
    )
    assert chosen(Similarity(QUERY), n_samples=10) == np.argsort(distances, kind="stable")[:10].tolist()
    farthest = set(np.argsort(-distances)[:10].tolist())
    assert set(chosen(Similarity(QUERY, strength=-1.0), n_samples=10)) == farthest


def test_typicality_takes_from_the_crowd_and_stops_outside_of_it() -> None:
    crowd, others = points(1)[0] + 0.01 * points(40), points(N - 40, seed=8)
    of = Material(np.vstack([others, crowd]).astype(np.float32))
    assert set(chosen(Typicality(5), n_samples=40, of=of)) == set(range(N - 40, N))
    ended = chosen(Typicality(5, minimum_typicality=0.9), n_samples=None, of=of)
    assert set(ended) == set(range(N - 40, N))


@pytest.mark.parametrize("operation", Operation)
def test_a_threshold_is_never_violated_whatever_else_is_asked_for(operation: Operation) -> None:
    limit = 3.0
    selected = chosen(
        Diversity(), Weights(COUNT, strength=5.0), Threshold(COUNT, operation, limit), n_samples=None
    )
    numbers = MATERIAL.numbers[COUNT]
    passes = {
        Operation.SMALLER: numbers < limit,
        Operation.SMALLER_EQUAL: numbers <= limit,
        Operation.BIGGER: numbers > limit,
        Operation.BIGGER_EQUAL: numbers >= limit,
    }[operation]
    assert sorted(selected) == np.flatnonzero(passes).tolist()


@pytest.mark.parametrize("others", [(), (Weights(COUNT),), (Balance(WEATHER, Distribution.UNIFORM),)])
def test_a_minimum_distance_holds_between_any_two_whatever_else_is_asked_for(
    others: tuple[Strategy, ...],
) -> None:
    selected = chosen(Diversity(minimum_distance=1.0), *others, n_samples=None)
    taken = MATERIAL.embeddings[selected]
    distances = np.linalg.norm(taken[:, None] - taken[None, :], axis=2)
    assert 1 < len(selected) < N
    assert distances[~np.eye(len(taken), dtype=bool)].min() >= 1.0


def test_numbers_below_zero_are_weights_as_well() -> None:
    prices = MATERIAL.numbers[PRICE]
    assert prices.min() < 0
    assert chosen(Weights(PRICE), n_samples=10) == np.argsort(-prices)[:10].tolist()
    assert chosen(Weights(PRICE, strength=-1.0), n_samples=10) == np.argsort(prices)[:10].tolist()


def test_a_maximum_sum_ends_the_selection_before_it_is_exceeded() -> None:
    unlimited = chosen(Weights(COUNT), n_samples=None)
    selected = chosen(Weights(COUNT, maximum_sum=100.0), n_samples=None)
    numbers = MATERIAL.numbers[COUNT]
    assert selected == unlimited[: len(selected)]
    assert numbers[selected].sum() <= 100.0 < numbers[unlimited[: len(selected) + 1]].sum()


def test_a_maximum_sum_does_not_count_the_datapool() -> None:
    selected = chosen(Weights(COUNT, maximum_sum=50.0), n_samples=None, n_preselected=100)
    assert 0 < MATERIAL.numbers[COUNT][selected].sum() <= 50.0


def test_a_target_range_passes_over_what_would_exceed_it() -> None:
    within = Weights(COUNT, target=SumRange(99.0, 100.0))
    request = SelectionRequest((within,))
    selected = select(request, MATERIAL)
    assert 99.0 <= MATERIAL.numbers[COUNT][selected].sum() <= 100.0
    assert shortfalls(request, MATERIAL, selected) == []


def test_a_sum_that_is_not_reached_is_told() -> None:
    request = SelectionRequest((Weights(COUNT, target=SumRange(least=1e6)),), 10)
    selected = select(request, MATERIAL)
    assert len(selected) == 10
    assert "minSum 1e+06" in shortfalls(request, MATERIAL, selected)[0]


def object_material() -> Material:
    """Images of one to three objects; every fourth has none."""
    of_image, start = [], 0
    for image in range(40):
        n_objects = image % 4
        of_image.append(range(start, start + n_objects))
        start += n_objects
    embeddings = points(start, seed=11)
    # The only object of image 1 is what the query looks for, and so is the last of image 7.
    embeddings[of_image[1][0]] = embeddings[of_image[7][-1]] = points(1, seed=12)[0]
    return Material(
        points(40), queries={QUERY: points(1, seed=12)}, objects={"cars": Objects(embeddings, of_image)}
    )


def test_objects_are_compared_instead_of_images() -> None:
    of = object_material()
    assert set(chosen(Similarity(QUERY, task="cars"), n_samples=2, of=of)) == {1, 7}
    empty = {image for image in range(40) if image % 4 == 0}
    for strategy in (Diversity(task="cars"), Typicality(5, task="cars"), Similarity(QUERY, task="cars")):
        assert set(chosen(strategy, n_samples=30, of=of)) == set(range(40)) - empty


def test_objects_of_images_that_were_left_out_do_not_count() -> None:
    of = object_material()
    numbers = {COUNT: np.arange(40.0)}
    with_numbers = Material(of.embeddings, numbers, queries=of.queries, objects=of.objects)
    few = chosen(
        Threshold(COUNT, Operation.BIGGER, 1.0), Similarity(QUERY, task="cars"), n_samples=1, of=with_numbers
    )
    assert few == [7]


def test_images_can_be_joined_to_be_selected_together() -> None:
    one, other = points(2)
    of = Material(
        np.stack([one, other, one]),
        {COUNT: np.array([1.0, 3.0, 5.0])},
        {WEATHER: ClassTable(LABELS, np.eye(4)[[0, 1, 1]])},
        {QUERY: points(1)},
        {"cars": Objects(points(3), [[0], [1, 2], []])},
    ).joined([(0, 1), (2,)])
    assert of.embeddings[0] == pytest.approx((one + other) / np.linalg.norm(one + other))
    assert of.embeddings[1] == pytest.approx(one)
    assert of.numbers[COUNT].tolist() == [2.0, 5.0]
    assert of.classes[WEATHER].amounts.tolist() == [[0.5, 0.5, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]]
    assert of.objects["cars"].of_image == [[0, 1, 2], []]
    assert of.queries[QUERY].shape == (1, 16)


@pytest.mark.parametrize(
    "strategy", [Diversity(task="t"), Typicality(2, task="t"), Similarity(QUERY, task="t")]
)
def test_without_any_object_all_images_are_alike(strategy: Strategy) -> None:
    of = Material(
        points(4), queries={QUERY: points(1)}, objects={"t": Objects(points(1)[:0], [range(0)] * 4)}
    )
    assert len(chosen(strategy, n_samples=2, of=of)) == 2


def test_the_same_request_selects_the_same_images() -> None:
    strategies = (
        Diversity(),
        Typicality(5),
        Similarity(QUERY),
        Weights(COUNT),
        Weights(Randomness(3)),
        Balance(WEATHER, Distribution.UNIFORM),
        Threshold(COUNT, Operation.BIGGER, 1.0),
    )
    assert chosen(*strategies) == chosen(*strategies)
    assert len(set(chosen(*strategies))) == N_SELECTED


def test_many_embeddings_are_shortened_and_never_moved_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "MAX_EXACT", 100)
    embeddings, query = points(300, dimensions=200), points(5, dimensions=200, seed=4)
    project = shortening(embeddings)
    short, short_query = project(embeddings), project(query)
    assert short.shape == (300, SHORT_DIMENSIONS)
    before = np.linalg.norm(embeddings[:, None] - query[None], axis=2)
    after = np.linalg.norm(short[:, None] - short_query[None], axis=2)
    assert (after <= before + 1e-5).all()

    selected = chosen(Diversity(minimum_distance=1.2), n_samples=None, of=Material(embeddings))
    taken = embeddings[selected]
    distances = np.linalg.norm(taken[:, None] - taken[None], axis=2)
    assert 1 < len(selected) < 300
    assert distances[~np.eye(len(taken), dtype=bool)].min() >= 1.2


def test_embeddings_stay_as_they_are_while_they_are_few_or_short() -> None:
    few, short = points(300, dimensions=200), points(projection.MAX_EXACT + 1, dimensions=8)
    assert shortening(few)(few) is few
    assert shortening(short)(short) is short


def test_a_panic_of_the_engine_is_an_error_like_others() -> None:
    longer = Material(points(3), queries={QUERY: points(1, dimensions=3)})
    with pytest.raises(EngineError, match=r"lightly-mundig gave up: .*not compatible"):
        chosen(Similarity(QUERY), n_samples=2, of=longer)
