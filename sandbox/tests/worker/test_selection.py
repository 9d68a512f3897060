from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from lightly_sandbox.seeding.photos import frames, scene_of
from lightly_sandbox.selection.request import (
    Diversity,
    Metadata,
    Operation,
    Randomness,
    SelectionRequest,
    Strategy,
    Threshold,
    Typicality,
    Weights,
)
from lightly_sandbox.worker.embedding import DIMENSIONS, describe
from lightly_sandbox.worker.material import Material
from lightly_sandbox.worker.measurement import measure
from lightly_sandbox.worker.selection import select

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

N_PHOTOS = 160
N_SELECTED = 24
SHARPNESS = Metadata("lightly.sharpness")


class Photos:
    def __init__(self) -> None:
        self.scenes = []
        embeddings, sharpness = [], []
        for name, content in frames(N_PHOTOS):
            image = Image.open(io.BytesIO(content))
            self.scenes.append(scene_of(name))
            embeddings.append(describe(image))
            sharpness.append(measure(image, len(content)).sharpness)
        self.embeddings: NDArray[np.float32] = np.stack(embeddings)
        self.sharpness = np.array(sharpness)
        self.material = Material(self.embeddings, {SHARPNESS: self.sharpness})

    def select(
        self,
        *strategies: Strategy,
        n_samples: int | None = None,
        proportion: float | None = None,
        n_preselected: int = 0,
    ) -> list[int]:
        request = SelectionRequest(strategies, n_samples, proportion)
        return select(request, self.material, n_preselected)

    def distances(self, rows: Sequence[int]) -> NDArray[np.float64]:
        """Euclidean distances between different images."""
        chosen = self.embeddings[list(rows)].astype(np.float64)
        distances: NDArray[np.float64] = np.linalg.norm(chosen[:, None] - chosen[None, :], axis=2)
        return distances[~np.eye(len(chosen), dtype=bool)]

    def minimum_cosine_distance(self, rows: Sequence[int]) -> float:
        # Of vectors of length 1: |a - b|^2 = 2 (1 - ab).
        return float(self.distances(rows).min() ** 2 / 2)

    def n_scenes(self, rows: Sequence[int]) -> int:
        return len({self.scenes[row] for row in rows})


@pytest.fixture(scope="module")
def photos() -> Photos:
    return Photos()


@pytest.fixture(scope="module")
def random_choices() -> list[NDArray[np.int64]]:
    numbers = np.random.default_rng(2026)
    return [numbers.choice(N_PHOTOS, N_SELECTED, replace=False) for _ in range(50)]


def test_embeddings_have_length_one(photos: Photos) -> None:
    assert photos.embeddings.shape == (N_PHOTOS, DIMENSIONS)
    assert np.linalg.norm(photos.embeddings, axis=1) == pytest.approx(np.ones(N_PHOTOS), abs=1e-5)


def test_an_embedding_does_not_depend_on_how_the_picture_is_stored() -> None:
    _, content = next(frames(1))
    image = Image.open(io.BytesIO(content))
    larger = image.resize((640, 480))
    assert float(describe(image) @ describe(larger)) > 0.99
    assert float(describe(image) @ describe(image.convert("CMYK"))) > 0.99


def test_diversity_keeps_selected_images_further_apart_than_chance(
    photos: Photos, random_choices: list[NDArray[np.int64]]
) -> None:
    selected = photos.select(Diversity(), n_samples=N_SELECTED)
    by_chance = np.median([photos.minimum_cosine_distance(rows) for rows in random_choices])
    assert len(set(selected)) == N_SELECTED
    assert photos.minimum_cosine_distance(selected) >= 1.5 * by_chance


def test_diversity_takes_more_scenes_than_any_of_fifty_random_choices(
    photos: Photos, random_choices: list[NDArray[np.int64]]
) -> None:
    selected = photos.select(Diversity(), n_samples=N_SELECTED)
    assert photos.n_scenes(selected) > max(photos.n_scenes(rows) for rows in random_choices)


def test_the_same_request_selects_the_same_images(photos: Photos) -> None:
    strategies = (Diversity(), Weights(Randomness(7), 0.5))
    assert photos.select(*strategies, n_samples=20) == photos.select(*strategies, n_samples=20)


def test_a_minimum_distance_ends_the_selection(photos: Photos) -> None:
    selected = photos.select(Diversity(minimum_distance=0.5))
    assert 1 < len(selected) < N_PHOTOS
    assert photos.distances(selected).min() >= 0.5
    left_out = set(range(N_PHOTOS)) - set(selected)
    nearest = [
        np.linalg.norm(photos.embeddings[selected] - photos.embeddings[row], axis=1).min() for row in left_out
    ]
    assert max(nearest) < 0.5


def test_without_number_and_condition_everything_is_selected(photos: Photos) -> None:
    assert sorted(photos.select(Diversity())) == list(range(N_PHOTOS))


@pytest.mark.parametrize(("proportion", "count"), [(0.0, 0), (0.1, 16), (1.0, N_PHOTOS)])
def test_a_proportion_is_a_share_of_the_images(photos: Photos, proportion: float, count: int) -> None:
    assert len(photos.select(Diversity(), proportion=proportion)) == count


def test_asking_for_more_than_there_is_selects_each_image_once(photos: Photos) -> None:
    assert sorted(photos.select(Diversity(), n_samples=10 * N_PHOTOS)) == list(range(N_PHOTOS))


def test_the_datapool_is_kept_at_a_distance_and_not_selected_again(photos: Photos) -> None:
    n_preselected = 6
    selected = photos.select(Diversity(minimum_distance=0.5), n_preselected=n_preselected)
    assert selected
    assert min(selected) >= n_preselected
    datapool = photos.embeddings[:n_preselected]
    nearest = [np.linalg.norm(datapool - photos.embeddings[row], axis=1).min() for row in selected]
    assert min(nearest) >= 0.5


def test_the_number_of_samples_counts_new_images_only(photos: Photos) -> None:
    assert len(photos.select(Diversity(), n_samples=10, n_preselected=60)) == 10
    assert len(photos.select(Diversity(), proportion=0.1, n_preselected=60)) == 10


def test_weights_take_the_largest_numbers_first(photos: Photos) -> None:
    sharpest = np.argsort(-photos.sharpness, kind="stable")[:5]
    assert photos.select(Weights(SHARPNESS), n_samples=5) == sharpest.tolist()


def test_a_negative_strength_takes_the_smallest_numbers_first(photos: Photos) -> None:
    bluntest = np.argsort(photos.sharpness, kind="stable")[:5]
    assert photos.select(Weights(SHARPNESS, strength=-1.0), n_samples=5) == bluntest.tolist()


def test_random_weights_depend_on_the_seed_alone(photos: Photos) -> None:
    one, same, other = (photos.select(Weights(Randomness(seed)), n_samples=20) for seed in (1, 1, 2))
    assert one == same
    assert set(one) != set(other)


@pytest.mark.parametrize(
    ("operation", "keeps"),
    [("BIGGER", [3]), ("BIGGER_EQUAL", [2, 3]), ("SMALLER", [0, 1]), ("SMALLER_EQUAL", [0, 1, 2])],
)
def test_thresholds_leave_images_out(operation: str, keeps: list[int]) -> None:
    embeddings = np.eye(4, dtype=np.float32)
    request = SelectionRequest((Threshold(SHARPNESS, Operation(operation), 3.0), Diversity()))
    selected = select(request, Material(embeddings, {SHARPNESS: np.array([1.0, 2.0, 3.0, 4.0])}))
    assert sorted(selected) == keeps


def test_a_threshold_that_nothing_passes_selects_nothing(photos: Photos) -> None:
    never = Threshold(SHARPNESS, Operation.SMALLER, 0.0)
    assert photos.select(never, Diversity(), n_samples=5) == []
    assert photos.select(never, Diversity(), n_samples=5, n_preselected=10) == []


def test_a_threshold_does_not_touch_the_datapool(photos: Photos) -> None:
    sharp = float(np.median(photos.sharpness))
    strategies = (Threshold(SHARPNESS, Operation.BIGGER, sharp), Diversity())
    selected = photos.select(*strategies, n_samples=5, n_preselected=60)

    rows = [row for row in range(N_PHOTOS) if row < 60 or photos.sharpness[row] > sharp]
    filtered = select(
        SelectionRequest((Diversity(),), 5), Material(photos.embeddings[rows]), n_preselected=60
    )
    assert len(selected) == 5
    assert selected == [rows[index] for index in filtered]


def test_several_strategies_are_weighed_by_their_strength(photos: Photos) -> None:
    def mean_sharpness(*strategies: Strategy) -> float:
        return float(photos.sharpness[photos.select(*strategies, n_samples=N_SELECTED)].mean())

    diverse = mean_sharpness(Diversity())
    both = mean_sharpness(Diversity(), Weights(SHARPNESS))
    mostly_sharp = mean_sharpness(Diversity(), Weights(SHARPNESS, strength=20.0))
    assert diverse < both < mostly_sharp


def test_typicality_prefers_the_crowd(photos: Photos) -> None:
    distances = np.linalg.norm(photos.embeddings[:, None] - photos.embeddings[None, :], axis=2)
    to_five_nearest = np.sort(distances, axis=1)[:, 1:6].mean(axis=1)
    selected = photos.select(Typicality(n_nearest_neighbours=5), n_samples=10)
    assert to_five_nearest[selected].max() < np.median(to_five_nearest)


def test_one_image_alone_can_be_selected() -> None:
    one = np.ones((1, 4), dtype=np.float32) / 2
    for strategy in (Diversity(), Typicality(5), Weights(Randomness(0))):
        assert select(SelectionRequest((strategy,), 1), Material(one)) == [0]


def test_no_image_at_all_selects_nothing() -> None:
    none = np.zeros((0, DIMENSIONS), dtype=np.float32)
    assert select(SelectionRequest((Diversity(),), 5), Material(none)) == []
