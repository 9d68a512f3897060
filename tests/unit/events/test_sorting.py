"""Which dataset gets which files, and what stays in the queue."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import pytest

from lightly_provider.events.batches import Batch, Message, owner_of, sort_messages
from lightly_provider.events.drain import _divided
from lightly_provider.events.routing import Routes
from lightly_provider.exceptions import LightlyStoredFormError
from tests.unit.events.test_messages import record

ROUTES = Routes.of(
    {
        "street": "s3://photos/street/",
        "night": "s3://photos/street/night/",
        "all": "s3://whole-bucket",
    },
    argument="datasets",
)
OWNER = owner_of("router", "run 1", "drain", None)


def message(number: int, *records: dict[str, Any], sent_ms: int = 0) -> Message:
    return Message.read(f"m{number}", f"r{number}", json.dumps({"Records": list(records)}), sent_ms=sent_ms)


@pytest.mark.parametrize(
    ("bucket", "key", "dataset"),
    [
        ("photos", "street/a.jpg", "street"),
        ("photos", "street/deep/er/a.jpg", "street"),
        ("photos", "street/night/a.jpg", "night"),
        ("photos", "street/nightly/a.jpg", "street"),
        ("photos", "street", None),
        ("photos", "streets/a.jpg", None),
        ("photos", "street/night/", None),
        ("photos", "street/.lightly/thumbnails/a.jpg", None),
        ("photos", "street/a/.lightly/b.jpg", "street"),
        ("whole-bucket", "a.jpg", "all"),
        ("whole-bucket", "/a.jpg", "all"),
        ("whole-bucket", ".lightly/a.jpg", None),
        ("other", "street/a.jpg", None),
    ],
)
def test_a_file_belongs_to_the_longest_location_that_contains_it(bucket: str, key: str, dataset: str | None) -> None:
    assert ROUTES.dataset_of(bucket, key) == dataset


def test_each_file_is_there_once_with_its_last_change() -> None:
    found = sort_messages(
        [
            message(1, record("street/a.jpg", sequencer="01"), record("street/b.jpg", sequencer="01")),
            message(2, record("street/b.jpg", "ObjectRemoved:Delete", sequencer="03")),
            message(3, record("street/a.jpg", sequencer="02"), record("street/night/c.jpg")),
            message(4, record("street/d.jpg", sequencer="05")),
            message(5, record("street/d.jpg", "ObjectRemoved:Delete", sequencer="04")),
            message(6, record("elsewhere/e.jpg")),
        ],
        ROUTES,
    )
    assert found.keys == {"street": ["street/a.jpg", "street/d.jpg"], "night": ["street/night/c.jpg"]}
    assert (found.n_removed, found.n_unrouted, found.unrouted) == (1, 1, ["s3://photos/elsewhere/e.jpg"])
    assert [one.id for one in found.read] == ["m1", "m2", "m3", "m4", "m5", "m6"]
    assert found.unreadable == {}


def test_what_is_not_understood_or_about_another_bucket_stays() -> None:
    found = sort_messages(
        [
            Message.read("poison", "r", "no JSON"),
            message(1, record("street/a.jpg", bucket="foreign")),
            message(2, record("street/a.jpg", bucket="foreign"), record("street/b.jpg")),
            Message.read("test", "r", '{"Event": "s3:TestEvent"}'),
        ],
        ROUTES,
    )
    assert [one.id for one in found.read] == ["m2", "test"]
    assert found.unreadable == {
        "poison": "it is not JSON",
        "m1": "it is about the bucket foreign, and no dataset's files are there",
    }
    assert found.keys == {"street": ["street/b.jpg"]}


def test_what_lightly_writes_itself_and_folders_are_no_files_without_a_dataset() -> None:
    found = sort_messages([message(1, record("street/.lightly/thumbnails/a.jpg"), record("street/night/"))], ROUTES)
    assert (found.keys, found.n_unrouted, [one.id for one in found.read]) == ({}, 0, ["m1"])


@pytest.mark.parametrize("seed", range(20))
def test_messages_are_divided_and_those_about_one_dataset_stay_together(seed: int) -> None:
    random_ = random.Random(seed)
    routes = Routes.of({f"d{n}": f"s3://photos/{n}/" for n in range(12)}, argument="datasets")
    messages = [
        message(n, *(record(f"{random_.randrange(14)}/{n}.jpg") for _ in range(random_.choice([1, 1, 1, 1, 2, 3]))))
        for n in range(random_.randrange(25))
    ]
    groups = _divided(messages, routes, first=random_.choice([-3, 0, 1, 4]), each=4)
    assert sorted(one.id for group in groups for one in group) == sorted(one.id for one in messages)
    keys = [sort_messages(group, routes).keys for group in groups]
    assert Counter(dataset for of_group in keys for dataset in of_group) == Counter(
        dict.fromkeys(sort_messages(messages, routes).keys, 1)
    )
    for of_group, group in zip(keys, groups, strict=True):
        # More than allowed only if messages name them together.
        n_alone = sum(len({routes.dataset_of(c.bucket, c.key) for c in one.changes} - {None}) <= 1 for one in group)
        assert len(of_group) <= 4 or n_alone < len(group)


def test_a_name_that_no_worker_can_be_given_is_in_no_manifest() -> None:
    names = ["a%0A.jpg", "/b.jpg", "./c.jpg", "d/../e.jpg", "f%0D.jpg"]
    found = sort_messages([message(1, *(record(f"street/{name}") for name in [*names, "good.jpg"]))], ROUTES)
    assert found.keys == {"street": ["street/good.jpg"]}
    assert (found.n_unusable, len(found.read)) == (len(names), 1)
    assert "s3://photos/street//b.jpg" in found.unusable


def test_a_batch_is_read_as_it_was_stored_and_named_by_its_messages() -> None:
    messages = [message(2, record("street/a%22%09.jpg"), sent_ms=5), message(1, record("street/ü.jpg"), sent_ms=9)]
    batch = Batch.of(sort_messages(messages, ROUTES), ROUTES, owner=OWNER)
    again = Batch.of(sort_messages(reversed(messages), ROUTES), ROUTES, owner={})

    assert Batch.from_json(batch.to_json()) == batch
    assert (batch.id, batch.sent_ms) == (again.id, (5, 9))
    lines = batch.manifest("street").decode().splitlines()
    assert [json.loads(line)["source-ref"] for line in lines] == [
        's3://photos/street/a"\t.jpg',
        "s3://photos/street/ü.jpg",
    ]


STORED: dict[str, Any] = {
    "message_ids": ["m"],
    "keys": {"street": ["street/a.jpg"]},
    "buckets": {"street": "photos"},
    "sent_ms": [1, 2],
    "owner": OWNER,
}


@pytest.mark.parametrize(
    ("stored", "error"),
    [
        (b"no", ValueError),
        (b"[]", ValueError),
        (b"{}", ValueError),
        (b'{"version": 99}', LightlyStoredFormError),
        *(
            (json.dumps(STORED | changes).encode(), ValueError)
            for changes in (
                {"message_ids": 3},
                {"message_ids": "abc"},
                {"message_ids": []},
                {"keys": {"street": "abc"}},
                {"keys": {"street": [None]}},
                {"keys": {"street": ["a\x00b"]}},
                {"keys": {"street": ["a\ud800b"]}},
                {"buckets": {}},
                {"buckets": {"street": None}},
                {"sent_ms": [1e999, 2]},
                {"sent_ms": [True, 2]},
                {"sent_ms": [-1, 2]},
                {"sent_ms": [1, 10**13]},
                {"sent_ms": [1, 2, 3]},
                {"owner": {}},
                {"owner": OWNER | {"map_index": "0"}},
                {"owner": OWNER | {"more": 1}},
            )
        ),
    ],
)
def test_what_is_no_batch_is_refused(stored: bytes, error: type[Exception]) -> None:
    assert Batch.from_json(json.dumps(STORED).encode()).owner == OWNER
    with pytest.raises(error):
        Batch.from_json(stored)


@pytest.mark.parametrize(
    ("datasets", "why"),
    [
        ({}, "datasets is empty"),
        ({"a": "s3://bbb/x/", "c": "s3://bbb/x"}, "for both 'a' and 'c'"),
        ({"a": "https://x"}, r"datasets\['a'\]="),
        ({" ": "s3://bbb/x/"}, "not the name of a dataset"),
        ({"a\n": "s3://bbb/x/"}, "not the name of a dataset"),
        ({"..": "s3://bbb/x/"}, "not the name of a dataset"),
        ({str(n): f"s3://bbb/{n}/" for n in range(10_001)}, "10,001 datasets"),
    ],
)
def test_datasets_that_cannot_be_told_apart_are_refused(datasets: dict[str, str], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Routes.of(datasets, argument="datasets")
