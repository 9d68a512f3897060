"""Which samples tags mean, and that a combination reads them from the platform without changing anything there."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.api.models.dataset import Tag
from lightly_provider.exceptions import LightlyNotFoundError, LightlyResponseError
from lightly_provider.hooks.tag_selection import combine, flags
from tests.contract.example_calls import DATASET
from tests.contract.samples import documented_answer
from tests.contract.schema import assert_fits_contract
from tests.unit.api.scripted_platform import Answer, ScriptedPlatform

if TYPE_CHECKING:
    from lightly_provider.hooks.lightly import LightlyHook

HookOn = Callable[..., tuple["LightlyHook", ScriptedPlatform]]
IDS = {name: f"{number:024x}" for number, name in enumerate(("all", "even", "low", "none"))}
BITS = {"all": 0b11111111, "even": 0b01010101, "low": 0b00001111, "none": 0}


def tag(name: str) -> Tag:
    return Tag(id=IDS[name], dataset_id=DATASET, name=name, bit_mask_data=hex(BITS[name]))


TAGS = [tag(name) for name in BITS]


@pytest.mark.parametrize(
    ("combined", "bits"),
    [
        ({}, 0b01010101),
        ({"union_with": ["low"]}, 0b01011111),
        ({"intersect_with": ["low"]}, 0b00000101),
        ({"subtract": ["low"]}, 0b01010000),
        ({"since_tag": "low"}, 0b01010000),
        ({"union_with": ["low", "none"], "intersect_with": ["all"], "subtract": ["even"]}, 0b00001010),
        ({"subtract": ["all"]}, 0),
    ],
)
def test_tags_are_combined_like_sets(combined: dict[str, Any], bits: int) -> None:
    selection = combine(DATASET, TAGS, "even", **combined)

    assert selection.bits == bits
    assert selection.n_selected == bits.bit_count()
    parts = [own for _, own in selection.parts()]
    assert sum(parts) == bits, "each sample is in one part"


def test_a_sample_of_two_tags_is_exported_with_the_first() -> None:
    selection = combine(DATASET, TAGS, "even", union_with=["low", "even"])

    assert [(part.name, own) for part, own in selection.parts()] == [("even", 0b01010101), ("low", 0b00001010)]


@pytest.mark.parametrize("argument", ["since_tag", "union_with", "intersect_with", "subtract"])
def test_each_tag_that_is_not_there_is_named_with_what_is_near(argument: str) -> None:
    value: Any = "evem" if argument == "since_tag" else ["evem"]
    with pytest.raises(LightlyNotFoundError, match=r"has no tag 'evem'; did you mean 'even'\?"):
        combine(DATASET, TAGS, "all", **{argument: value})


@pytest.mark.parametrize(("bits", "start", "count", "expected"), [(0b1101, 0, 4, "1011"), (0b1101, 1, 5, "01100")])
def test_the_flags_of_a_page_are_in_the_order_of_the_samples(bits: int, start: int, count: int, expected: str) -> None:
    assert flags(bits, start, count) == expected


NAMES = [f"ordner/ü {number}.jpg" for number in range(8)]


def tags_answer() -> Answer:
    items = [{"id": IDS[name], "datasetId": DATASET, "name": name, "bitMaskData": hex(BITS[name])} for name in BITS]
    return Answer(200, documented_answer("get_tags_by_dataset_id", *items))


def names_of(bits: int) -> list[str]:
    return [name for position, name in enumerate(NAMES) if bits >> position & 1]


def page(bits: int, start: str = "") -> Answer:
    return Answer(200, "\n".join(start + name for name in names_of(bits)).encode())


def test_a_combination_is_read_from_exports_and_mappings_alone(hook_on: HookOn) -> None:
    hook, platform = hook_on(
        tags_answer(), page(BITS["even"]), page(BITS["even"], "s3://b/"), Answer(200, NAMES), page(0)
    )

    uris = list(hook.iter_uris(DATASET, "even", subtract=["low"]))

    assert uris == ["s3://b/ordner/ü 4.jpg", "s3://b/ordner/ü 6.jpg"]
    assert {received.method for received in platform.received} == {"GET"}
    for received in platform.received:
        assert_fits_contract(received.method, received.url, received.body)


def test_addresses_of_whole_tags_are_read_without_names(hook_on: HookOn) -> None:
    hook, platform = hook_on(tags_answer(), page(BITS["all"], "s3://b/"))

    assert list(hook.iter_uris(DATASET, "all", union_with=["even"])) == [f"s3://b/{name}" for name in NAMES]
    (asked,) = platform.received[1:]
    assert dict(asked.query)["fileNameFormat"] == "DATASOURCE_FULL"


def test_nothing_is_read_of_a_tag_whose_samples_all_are_in_an_earlier_one(hook_on: HookOn) -> None:
    hook, platform = hook_on(tags_answer(), page(BITS["all"]), Answer(500))

    assert list(hook.iter_filenames(DATASET, "all", union_with=["even"])) == NAMES
    assert len(platform.received) == 2


def test_an_export_in_another_order_than_the_bits_is_no_combination(hook_on: HookOn) -> None:
    turned = Answer(200, "\n".join(reversed(names_of(BITS["even"]))).encode())
    hook, _ = hook_on(tags_answer(), turned, Answer(200, NAMES))

    with pytest.raises(LightlyResponseError, match="in another order than its bits"):
        list(hook.iter_filenames(DATASET, "even", subtract=["low"]))


def test_mappings_that_end_too_early_are_no_combination(hook_on: HookOn) -> None:
    hook, _ = hook_on(tags_answer(), page(BITS["even"]), Answer(200, NAMES[:3]), Answer(200, []))

    with pytest.raises(LightlyResponseError, match="where '' was expected"):
        list(hook.iter_filenames(DATASET, "even", subtract=["low"]))


def test_pages_of_two_exports_that_do_not_fit_together_are_refused(hook_on: HookOn) -> None:
    hook, _ = hook_on(tags_answer(), page(BITS["even"]), page(BITS["low"] | BITS["even"], "https://r/"))

    with pytest.raises(LightlyResponseError, match="returned 4 and then 6 samples for the same page"):
        list(hook.iter_read_urls(DATASET, "even", expire_in=60))


def test_an_empty_tag_needs_no_page(hook_on: HookOn) -> None:
    hook, platform = hook_on(tags_answer(), Answer(500))

    assert list(hook.iter_filenames(DATASET, "none")) == []
    assert len(platform.received) == 1


def test_samples_come_with_what_the_platform_knows_of_them(hook_on: HookOn) -> None:
    sample = {"id": "a" * 24, "type": "IMAGE", "fileName": "a.jpg"}
    task = {"id": 1, "data": {"image": "s3://b/a.jpg", "lightlyMetaInfo": sample}}
    hook, _ = hook_on(
        Answer(200, documented_answer("get_tags_by_dataset_id", {"name": "one", "bitMaskData": "0x1"})),
        Answer(200, [task]),
        Answer(200, documented_answer("get_tags_by_dataset_id", {"name": "one", "bitMaskData": "0x1"})),
        Answer(200, [{"id": 1, "data": {"image": "s3://b/a.jpg"}}]),
    )

    ((_, [found]),) = hook.sample_pages(hook.select_samples(DATASET, "one"))
    assert (found.sample.file_name, found.address) == ("a.jpg", "s3://b/a.jpg")
    with pytest.raises(LightlyResponseError, match="without what it knows of them"):
        list(hook.sample_pages(hook.select_samples(DATASET, "one")))
