from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from lightly_sandbox.selection.schemas import PredictionSchema, TaskType, own_file_name, parse_tasks
from lightly_sandbox.worker.predictions import Prediction, TaskPredictions, parse_predictions

CATEGORIES = {3: "car", 5: "bus", 9: "tram"}
DETECTION = PredictionSchema(TaskType.OBJECT_DETECTION, CATEGORIES)
CLASSIFICATION = PredictionSchema(TaskType.CLASSIFICATION, CATEGORIES)
BOX = [1.0, 2.0, 30.0, 40.0]
SURE, TORN, ANY = (1.0, 0.0, 0.0), (0.5, 0.5, 0.0), (1 / 3, 1 / 3, 1 / 3)


def found(*probabilities: tuple[float, ...], scores: tuple[float, ...] = ()) -> tuple[Prediction, ...]:
    return tuple(
        Prediction(int(np.argmax(of)), score, of)
        for of, score in zip(probabilities, scores or [1.0] * len(probabilities), strict=True)
    )


def task(schema: PredictionSchema, **of_image: tuple[Prediction, ...]) -> TaskPredictions:
    return TaskPredictions(
        "t", schema, {f"{name}.json": predictions for name, predictions in of_image.items()}
    )


@pytest.mark.parametrize(
    ("file_name", "own"),
    [
        ("a.jpg", "a.json"),
        ("dir.d/a.b.png", "dir.d/a.b.json"),
        ("dir.d/a", "dir.d/a.json"),
        ("a/v-099-mp4.png", "a/v-099-mp4.json"),
    ],
)
def test_an_images_file_has_its_name_with_another_ending(file_name: str, own: str) -> None:
    assert own_file_name(file_name) == own


@pytest.mark.parametrize("member", ["task_type", "task_description"])
def test_a_schema_has_a_type_and_categories_in_the_order_of_their_ids(member: str) -> None:
    categories = [{"id": 5, "name": "bus"}, {"id": 3, "name": "car", "supercategory": "vehicle"}]
    schema = PredictionSchema.parse({member: "object-detection", "categories": categories})
    assert (schema.type, list(schema.categories.items())) == (
        TaskType.OBJECT_DETECTION,
        [(3, "car"), (5, "bus")],
    )


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ([], "not a JSON object"),
        ({"task_type": "semantic-segmentation", "categories": []}, "knows classification, object-detection"),
        ({"task_type": "classification"}, "no list of categories"),
        ({"task_type": "classification", "categories": [{"id": "0", "name": "a"}]}, "no id"),
        (
            {"task_type": "classification", "categories": [{"id": 0, "name": "a"}, {"id": 0, "name": "b"}]},
            "not unique",
        ),
    ],
)
def test_a_schema_that_is_none_is_refused(content: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        PredictionSchema.parse(content)


@pytest.mark.parametrize("content", [{"tasks": []}, [1], "t"])
def test_tasks_are_a_list_of_names(content: Any) -> None:
    with pytest.raises(ValueError, match="not a JSON list"):
        parse_tasks(content)


def test_predictions_are_read_with_the_places_of_their_categories() -> None:
    content = {
        "file_name": "a.jpg",
        "predictions": [
            {"category_id": 5, "bbox": BOX, "score": 0.9},
            {"category_id": 3, "bbox": BOX, "probabilities": [0.8, 0.1, 0.1]},
        ],
    }
    assert parse_predictions(content, "a.json", DETECTION) == (
        Prediction(1, 0.9, None, (1.0, 2.0, 30.0, 40.0)),
        Prediction(0, None, (0.8, 0.1, 0.1), (1.0, 2.0, 30.0, 40.0)),
    )


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ([], "no file_name"),
        ({"file_name": "a.jpg"}, "no file_name and list"),
        ({"file_name": "b.jpg", "predictions": []}, "belong elsewhere"),
        ({"file_name": "a.jpg", "predictions": [7]}, "not a JSON object"),
        ({"file_name": "a.jpg", "predictions": [{"category_id": 4, "bbox": BOX}]}, "category_id 4"),
        ({"file_name": "a.jpg", "predictions": [{"category_id": 3}]}, "no bbox"),
        ({"file_name": "a.jpg", "predictions": [{"category_id": 3, "bbox": BOX[:3]}]}, "its bbox"),
        ({"file_name": "a.jpg", "predictions": [{"category_id": 3, "bbox": BOX, "score": 2}]}, "its score 2"),
        (
            {"file_name": "a.jpg", "predictions": [{"category_id": 3, "bbox": BOX, "probabilities": [1.0]}]},
            "no 3 numbers",
        ),
    ],
)
def test_a_file_that_breaks_its_schema_is_refused(content: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_predictions(content, "a.json", DETECTION)


def test_a_classification_is_one_prediction() -> None:
    content = {"file_name": "a.jpg", "predictions": [{"category_id": 3}, {"category_id": 5}]}
    with pytest.raises(ValueError, match="several predictions"):
        parse_predictions(content, "a.json", CLASSIFICATION)


def test_classes_are_the_probabilities_of_all_objects_added_up() -> None:
    table = task(DETECTION, a=found(SURE, TORN), b=(Prediction(2), Prediction(2))).class_table(
        ["a.jpg", "b.jpg", "c.jpg"]
    )
    assert table.labels == ("car", "bus", "tram")
    assert table.amounts.tolist() == [[1.5, 0.5, 0.0], [0.0, 0.0, 2.0], [0.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    ("categories", "counts"),
    [(frozenset(), [2, 2, 0]), (frozenset({"tram"}), [0, 2, 0]), (frozenset({"car", "tram"}), [2, 2, 0])],
)
def test_objects_are_counted_by_category(categories: frozenset[str], counts: list[int]) -> None:
    predictions = task(DETECTION, a=found(SURE, TORN), b=(Prediction(2), Prediction(2)))
    assert predictions.counts(["a.jpg", "b.jpg", "c.jpg"], categories).tolist() == counts


@pytest.mark.parametrize(
    ("name", "sure", "torn", "anything"),
    [
        ("uncertainty_least_confidence", 0.0, 0.75, 1.0),
        ("uncertainty_margin", 0.0, 1.0, 1.0),
        ("uncertainty_entropy", 0.0, 1 / math.log2(3), 1.0),
    ],
)
def test_uncertainty_is_0_for_a_certain_class_and_1_if_all_are_equal(
    name: str, sure: float, torn: float, anything: float
) -> None:
    predictions = task(CLASSIFICATION, sure=found(SURE), torn=found(TORN), anything=found(ANY))
    names = ["sure.jpg", "torn.jpg", "anything.jpg", "without.jpg"]
    assert predictions.scores(names, name) == pytest.approx([sure, torn, anything, 0.0])


def test_the_uncertainty_of_an_image_is_that_of_its_most_uncertain_object() -> None:
    predictions = task(DETECTION, a=found(SURE, ANY, TORN))
    assert predictions.scores(["a.jpg"], "uncertainty_entropy") == pytest.approx([1.0])


def test_objects_are_scored_by_their_number_and_the_mean_of_their_scores() -> None:
    predictions = task(DETECTION, a=found(SURE, SURE, scores=(0.9, 0.5)), b=())
    assert predictions.scores(["a.jpg", "b.jpg"], "object_frequency").tolist() == [2.0, 0.0]
    assert predictions.scores(["a.jpg", "b.jpg"], "objectness_least_confidence") == pytest.approx([0.3, 0.0])


@pytest.mark.parametrize(
    ("name", "lack"), [("uncertainty_margin", "probabilities"), ("objectness_least_confidence", "score")]
)
def test_a_score_whose_ingredients_are_missing_names_the_image(name: str, lack: str) -> None:
    with pytest.raises(ValueError, match=rf"needs the {lack} .* of a\.jpg have none"):
        task(DETECTION, a=(Prediction(0),)).scores(["a.jpg"], name)
