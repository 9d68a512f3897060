"""What a drain refuses before it reads anything."""

from __future__ import annotations

from typing import Any

import pytest

from lightly_provider.operators.events import DrainUploadsOperator

QUEUE = "https://sqs.eu-central-1.amazonaws.com/123456789012/uploads"


def drain(**arguments: Any) -> DrainUploadsOperator:
    given = {"queue_url": QUEUE, "datasets": {"day": "s3://photos/day/"}, "manifest_prefix": "s3://photos/uploads/"}
    return DrainUploadsOperator(task_id="drain", **given | arguments)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"manifest_prefix": "s3://photos/day/manifests/"}, "one within the other"),
        # 250 letters of two bytes take 1,500 bytes in the manifest's name.
        ({"datasets": {"ü" * 250: "s3://photos/day/"}}, "The name of a manifest, .* 1,024 bytes .* shorten"),
        ({"manifest_prefix": f"s3://photos/{'a' * 930}/"}, "the names of the batches below it .* shorten it"),
        ({"datasets": {"..": "s3://photos/day/"}}, "'..', which is not the name of a dataset"),
        ({"max_manifests": 0}, "max_manifests is 0"),
        ({"max_manifests": True}, "max_manifests is True"),
    ],
)
def test_what_could_not_be_drained_is_refused(arguments: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        drain(**arguments)


def test_names_of_any_letters_and_long_prefixes_are_taken() -> None:
    assert drain(datasets={"Nächte " * 20: "s3://photos/day/"}, manifest_prefix=f"s3://photos/{'a' * 500}/")
