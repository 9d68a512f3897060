"""The hook's verbs that delete, share and tag, against a platform that follows a script."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.exceptions import (
    LightlyConflictError,
    LightlyDatasetConflictError,
    LightlyDatasetInUseError,
    LightlyNotFoundError,
    LightlyResponseError,
    LightlyServerError,
)
from lightly_provider.hooks.lightly import Sharing, TagOutcome
from tests.contract.example_calls import CONFIG, DATASET, RUN, SCHEDULED_RUN, TAG
from tests.contract.samples import documented_answer
from tests.unit.api.scripted_platform import Answer, NoAnswer, Step
from tests.unit.hooks.dataset_care_answers import (
    CREATED,
    DONE,
    GONE,
    INITIAL,
    OTHER,
    WRITTEN,
    dataset,
    runs,
    schedule,
    shared,
    sharing,
    tags,
)
from tests.unit.hooks.scripted_answers import asked, datasets, found, refusal

if TYPE_CHECKING:
    from tests.unit.hooks.scripted_answers import HookOn

DELETE = ("DELETE", f"/v1/datasets/{DATASET}")
ACCESS = f"/v1/datasets/{DATASET}/collaboration/access"


# --- delete -------------------------------------------------------------------------------------------------------


def test_a_dataset_is_deleted_once_its_name_is_confirmed_and_nothing_runs_on_it(hook_on: HookOn) -> None:
    hook, platform = hook_on(dataset(), schedule("DONE", "CANCELED"), runs("COMPLETED", "CRASHED"), DONE)
    hook.delete_dataset(DATASET, confirm_name="photos")
    assert asked(platform)[-1] == DELETE
    assert "force" not in platform.received[-1].url


@pytest.mark.parametrize("name", ["Photos", "photos ", "photo", "photos\x1b[2J", ""])
def test_under_another_name_nothing_is_deleted(hook_on: HookOn, name: str) -> None:
    hook, platform = hook_on(dataset(name))
    with pytest.raises(LightlyDatasetConflictError, match=r"and confirm_name is 'photos', so it was not deleted") as no:
        hook.delete_dataset(DATASET, confirm_name="photos")
    assert str(no.value).isprintable()
    assert len(asked(platform)) == 1


@pytest.mark.parametrize(
    ("answers", "what"),
    [
        ((schedule("DONE", "OPEN"),), f"scheduled run {SCHEDULED_RUN} is OPEN"),
        ((schedule("LOCKED"),), f"scheduled run {SCHEDULED_RUN} is LOCKED"),
        ((schedule("SINCE_INVENTED"),), "is SINCE_INVENTED"),
        ((schedule(), runs("COMPLETED", "EMBEDDING")), f"run {RUN} is EMBEDDING"),
        ((schedule(), runs("SINCE_INVENTED")), "is SINCE_INVENTED"),
    ],
)
def test_while_a_run_is_active_nothing_is_deleted(hook_on: HookOn, answers: tuple[Step, ...], what: str) -> None:
    hook, platform = hook_on(dataset(), *answers)
    with pytest.raises(LightlyDatasetInUseError, match=f"was not deleted: .*{what}; cancel it, or wait"):
        hook.delete_dataset(DATASET, confirm_name="photos")
    assert DELETE not in asked(platform)


def test_an_active_run_on_a_later_page_is_found(hook_on: HookOn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightly_provider.api.calls.PAGE_SIZE", 2)
    first = [item | {"id": f"{number:024x}"} for number, item in enumerate(runs("COMPLETED", "FAILED").body)]
    hook, platform = hook_on(dataset(), schedule(), Answer(200, first), runs("STARTED"))
    with pytest.raises(LightlyDatasetInUseError, match="is STARTED"):
        hook.delete_dataset(DATASET, confirm_name="photos")
    assert [dict(r.query)["pageOffset"] for r in platform.received[2:]] == ["0", "2"]


def test_a_platform_that_repeats_a_page_of_runs_deletes_nothing(
    hook_on: HookOn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lightly_provider.api.calls.PAGE_SIZE", 1)
    hook, platform = hook_on(dataset(), schedule(), runs("COMPLETED"))
    with pytest.raises(LightlyResponseError, match="repeats the same page"):
        hook.delete_dataset(DATASET, confirm_name="photos")
    assert DELETE not in asked(platform)


@pytest.mark.parametrize("step", [refusal(500, "X"), refusal(403, "FORBIDDEN"), Answer(200, {"no": "list"})])
def test_what_cannot_be_looked_at_is_not_deleted(hook_on: HookOn, step: Step) -> None:
    hook, platform = hook_on(dataset(), step)
    with pytest.raises(Exception, match=r"."):
        hook.delete_dataset(DATASET, confirm_name="photos")
    assert DELETE not in asked(platform)


def test_a_lost_answer_to_the_deletion_is_no_error(hook_on: HookOn) -> None:
    hook, platform = hook_on(dataset(), schedule(), runs(), NoAnswer(), GONE)
    hook.delete_dataset(DATASET, confirm_name="photos")
    assert asked(platform)[-2:] == [DELETE, DELETE]


def test_a_dataset_that_is_not_there_is_an_error_before_anything_is_sent(hook_on: HookOn) -> None:
    hook, platform = hook_on(GONE)
    with pytest.raises(LightlyNotFoundError):
        hook.delete_dataset(DATASET, confirm_name="photos")
    assert len(asked(platform)) == 1


def test_a_run_that_the_platform_alone_knows_of_is_its_refusal(hook_on: HookOn) -> None:
    in_use = refusal(409, "ILLEGAL_ACTION_RESOURCE_IN_USE", "a worker is running")
    hook, _ = hook_on(dataset(), schedule(), runs(), in_use)
    with pytest.raises(LightlyConflictError, match="a worker is running"):
        hook.delete_dataset(DATASET, confirm_name="photos")


# --- a name that creates nothing ----------------------------------------------------------------------------------


def all_datasets(*names: str) -> Answer:
    items = [found(name, id_=f"{number:024x}") for number, name in enumerate(names)]
    return Answer(200, documented_answer("get_datasets", *items))


@pytest.mark.parametrize(
    ("names", "hint"),
    [
        (("photos", "videos"), "did you mean 'photos'?"),
        (("Fotos-2", "fotos"), "did you mean 'fotos' or 'Fotos-2'?"),
        (("cars",), "check dataset_name, or set if_missing='create'."),
        ((), "check dataset_name, or set if_missing='create'."),
    ],
)
def test_a_missing_dataset_is_not_created_and_the_nearest_names_are_told(
    hook_on: HookOn, names: tuple[str, ...], hint: str
) -> None:
    hook, platform = hook_on(datasets(), all_datasets(*names))
    with pytest.raises(LightlyNotFoundError) as missing:
        hook.get_or_create_dataset("fotos", "Images", create=False)
    assert str(missing.value) == (
        f"There is no dataset 'fotos' of this token's user, and if_missing is 'fail', so none was created; {hint}"
    )
    assert {method for method, _ in asked(platform)} == {"GET"}


# --- share --------------------------------------------------------------------------------------------------------


def written(platform: Any) -> list[dict[str, Any]]:
    asked(platform)
    return [received.json for received in platform.received if received.method == "POST"]


def test_sharing_adds_to_the_list_that_is_there(hook_on: HookOn) -> None:
    before, after = ["ann@example.com"], ["ann@example.com", "bob@example.com"]
    hook, platform = hook_on(sharing(shared(before, ["a-team"])), WRITTEN, sharing(shared(after, ["a-team"])))
    outcome = hook.share_dataset(DATASET, emails=["bob@example.com", "ANN@example.com"])
    assert written(platform) == [
        {"accessType": "WRITE", "users": after, "teams": ["a-team"], "creator": "USER_PIP"},
    ]
    assert outcome.now == Sharing(emails=tuple(after), teams=("a-team",))
    assert (outcome.added, outcome.removed) == (Sharing(emails=("bob@example.com",)), Sharing())


def test_who_is_on_the_list_is_not_written_again(hook_on: HookOn) -> None:
    hook, platform = hook_on(sharing(shared(["Ann@Example.com", "bob@example.com"], ["T1"])))
    outcome = hook.share_dataset(DATASET, emails=["ann@example.com"], teams=["t1"])
    assert written(platform) == []
    assert outcome.added == Sharing()


def test_another_kind_of_access_is_left_alone(hook_on: HookOn) -> None:
    read = shared(["reader@example.com"], kind="READ")
    hook, platform = hook_on(sharing(read), WRITTEN, sharing(read, shared(["ann@example.com"])))
    assert hook.share_dataset(DATASET, emails=["ann@example.com"]).now == Sharing(emails=("ann@example.com",))
    assert written(platform)[0]["users"] == ["ann@example.com"]


def test_replacing_takes_the_access_from_everybody_else(hook_on: HookOn) -> None:
    hook, platform = hook_on(
        sharing(shared(["ann@example.com", "bob@example.com"], ["a-team"])),
        WRITTEN,
        sharing(shared(["bob@example.com"])),
    )
    outcome = hook.share_dataset(DATASET, emails=["bob@example.com"], replace=True)
    assert (written(platform)[0]["users"], written(platform)[0]["teams"]) == (["bob@example.com"], [])
    assert outcome.removed == Sharing(emails=("ann@example.com",), teams=("a-team",))


def test_nobody_is_only_shared_with_by_replacing(hook_on: HookOn) -> None:
    hook, platform = hook_on(sharing(shared(["ann@example.com"])), WRITTEN, sharing())
    with pytest.raises(ValueError, match="emails and teams are empty"):
        hook.share_dataset(DATASET)
    assert platform.received == []
    assert hook.share_dataset(DATASET, replace=True).now.is_nobody
    assert written(platform) == [{"accessType": "WRITE", "users": [], "teams": [], "creator": "USER_PIP"}]


def test_what_somebody_else_wrote_meanwhile_is_kept(hook_on: HookOn) -> None:
    both = shared(["cid@example.com", "ann@example.com"])
    hook, platform = hook_on(sharing(), WRITTEN, sharing(shared(["cid@example.com"])), WRITTEN, sharing(both))
    outcome = hook.share_dataset(DATASET, emails=["ann@example.com"])
    assert [body["users"] for body in written(platform)] == [
        ["ann@example.com"],
        ["cid@example.com", "ann@example.com"],
    ]
    assert outcome.now == Sharing(emails=("cid@example.com", "ann@example.com"))


def test_a_list_that_the_platform_does_not_return_is_an_error(hook_on: HookOn) -> None:
    hook, platform = hook_on(sharing(), WRITTEN, sharing(), WRITTEN, sharing(), WRITTEN, sharing())
    with pytest.raises(
        LightlyResponseError, match=r"and does not list ann@example\.com; check that they have accounts"
    ):
        hook.share_dataset(DATASET, emails=["ann@example.com"])
    assert len(written(platform)) == 3


def test_a_list_that_cannot_be_read_is_not_written(hook_on: HookOn) -> None:
    hook, platform = hook_on(refusal(500, "X"))
    with pytest.raises(LightlyServerError):
        hook.share_dataset(DATASET, emails=["ann@example.com"])
    assert written(platform) == []


# --- tags ---------------------------------------------------------------------------------------------------------

NAMES = ["a.jpg", "dir/b.jpg", "c\u2028d.jpg", "d.jpg", "e.jpg", "f.jpg", "g.jpg", "h.jpg", "i.jpg", "ü.jpg"]


def tag(name: str, mask: str, id_: str = TAG) -> dict[str, Any]:
    return INITIAL | {"id": id_, "name": name, "bitMaskData": mask, "prevTagId": OTHER}


def names(*page: str) -> Answer:
    return Answer(200, list(page))


EXISTS = refusal(400, "TAG_NAME_EXISTS", "taken")


def created(platform: Any) -> list[dict[str, Any]]:
    asked(platform)
    return [r.json for r in platform.received if (r.method, r.path) == ("POST", f"/v1/datasets/{DATASET}/tags")]


def test_a_tag_of_filenames_has_the_bits_of_their_places(hook_on: HookOn) -> None:
    hook, platform = hook_on(tags(INITIAL), names(*NAMES[:7]), names(*NAMES[7:]), names(), tags(INITIAL), CREATED)
    chosen = ["ü.jpg", "a.jpg", "c\u2028d.jpg", "a.jpg", "i.jpg"]
    outcome = hook.create_tag_from_filenames(DATASET, "my tag", chosen)
    assert outcome == TagOutcome(tag_id=TAG, n_selected=4, created=True)
    assert created(platform) == [
        {"name": "my tag", "prevTagId": OTHER, "bitMaskData": hex(0b11_0000_0101), "totSize": 10, "creator": "USER_PIP"}
    ]
    pages = [dict(r.query)["pageOffset"] for r in platform.received if r.path.endswith("/mappings")]
    assert pages == ["0", "7", "10"], "a page that is not full is not the last"


def test_filenames_that_are_not_in_the_dataset_are_told_and_nothing_is_created(hook_on: HookOn) -> None:
    hook, platform = hook_on(tags(INITIAL), names(*NAMES), names())
    with pytest.raises(LightlyNotFoundError) as missing:
        hook.create_tag_from_filenames(DATASET, "my tag", ["a.jpg", "raw/a.jpg", "s3://b/a.jpg", "x\x1b.jpg", "y"])
    assert str(missing.value) == (
        f"Dataset {DATASET} has no sample for 4 of 5 filenames, e.g. 'raw/a.jpg', 's3://b/a.jpg', 'x\\\\x1b.jpg'; give "
        "them as the platform has them, relative to the input datasource's path, e.g. 'a.jpg'; no tag was created."
    )
    assert created(platform) == []


@pytest.mark.parametrize(
    ("combined", "mask"),
    [
        ({}, 0b0011),
        ({"union_with": ["bbb"]}, 0b0111),
        ({"union_with": ["bbb"], "intersect_with": ["ccc"]}, 0b0100),
        ({"subtract": ["ddd"]}, 0b0010),
        ({"union_with": ["bbb", "ccc"], "intersect_with": ["initial-tag"], "subtract": ["ddd"]}, 0b1_0000_1110 & 0x3FF),
    ],
)
def test_tags_are_combined_by_set_operations(hook_on: HookOn, combined: dict[str, Any], mask: int) -> None:
    present = (INITIAL, tag("aaa", "0x3"), tag("bbb", "0x6"), tag("ccc", "0x10c"), tag("ddd", "0x1"))
    hook, platform = hook_on(tags(*present), tags(*present), CREATED)
    outcome = hook.create_tag_from_tags(DATASET, "my tag", from_tag="aaa", **combined)
    assert outcome == TagOutcome(tag_id=TAG, n_selected=mask.bit_count(), created=True)
    (body,) = created(platform)
    assert (body["bitMaskData"], body["prevTagId"], body["totSize"]) == (hex(mask), TAG, 10)


def test_an_equal_tag_is_reused(hook_on: HookOn) -> None:
    hook, platform = hook_on(tags(INITIAL, tag("aaa", "0x3"), tag("my tag", "0x0003")))
    outcome = hook.create_tag_from_tags(DATASET, "my tag", from_tag="aaa")
    assert outcome == TagOutcome(tag_id=TAG, n_selected=2, created=False)
    assert created(platform) == []


@pytest.mark.parametrize("race", [EXISTS, NoAnswer()])
def test_a_tag_that_another_task_or_a_lost_answer_created_is_found(hook_on: HookOn, race: Step) -> None:
    present = (INITIAL, tag("aaa", "0x3"))
    steps = [tags(*present), tags(*present), race, *([EXISTS] if race != EXISTS else [])]
    hook, _ = hook_on(*steps, tags(*present, tag("my tag", "0x3")))
    assert hook.create_tag_from_tags(DATASET, "my tag", from_tag="aaa").created is False


def test_another_tag_of_the_same_name_is_refused(hook_on: HookOn) -> None:
    hook, platform = hook_on(tags(INITIAL, tag("aaa", "0x3"), tag("my tag", "0x5")))
    with pytest.raises(LightlyConflictError, match=r"has a tag 'my tag' already, whose 2 samples are not the 2 wanted"):
        hook.create_tag_from_tags(DATASET, "my tag", from_tag="aaa")
    assert created(platform) == []


def test_a_tag_without_a_sample_is_not_created(hook_on: HookOn) -> None:
    hook, platform = hook_on(tags(INITIAL, tag("aaa", "0x3")))
    with pytest.raises(LightlyNotFoundError, match=r"No sample .* would be in tag 'my tag', so it was not created"):
        hook.create_tag_from_tags(DATASET, "my tag", from_tag="aaa", subtract=["initial-tag"])
    assert created(platform) == []


def test_a_tag_that_is_not_there_is_told_with_the_nearest(hook_on: HookOn) -> None:
    hook, _ = hook_on(tags(INITIAL, tag("batch one", "0x3")))
    with pytest.raises(LightlyNotFoundError, match=r"has no tag 'bacth one'; did you mean 'batch one'\?"):
        hook.create_tag_from_tags(DATASET, "my tag", from_tag="initial-tag", subtract=["bacth one"])


def test_a_dataset_without_a_tag_is_told_before_the_names_are_read(hook_on: HookOn) -> None:
    hook, platform = hook_on(tags())
    with pytest.raises(LightlyNotFoundError, match="has no tag yet, because no run has filled it; run the worker"):
        hook.create_tag_from_filenames(DATASET, "my tag", ["a.jpg"])
    assert len(asked(platform)) == 1


def test_a_platform_that_ignores_paging_creates_no_tag(hook_on: HookOn) -> None:
    hook, platform = hook_on(tags(INITIAL), names(*NAMES))
    with pytest.raises(LightlyResponseError, match="repeats the same file names"):
        hook.create_tag_from_filenames(DATASET, "my tag", ["a.jpg"])
    assert created(platform) == []


@pytest.mark.parametrize("answer", [["a\x00b.jpg"], [1], {"names": []}, ["a-token-of-the-tests"], "a.jpg"])
def test_names_outside_the_contract_create_no_tag(hook_on: HookOn, answer: Any) -> None:
    hook, platform = hook_on(tags(INITIAL), Answer(200, answer))
    with pytest.raises(LightlyResponseError, match="breaks its contract") as broken:
        hook.create_tag_from_filenames(DATASET, "my tag", ["a.jpg"])
    assert "a-token-of-the-tests" not in str(broken.value)
    assert created(platform) == []


def test_a_tag_is_deleted_by_its_name(hook_on: HookOn) -> None:
    hook, platform = hook_on(tags(INITIAL, tag("my tag", "0x5")), DONE, tags(INITIAL))
    assert hook.delete_tag(DATASET, "my tag")
    assert asked(platform)[-1] == ("DELETE", f"/v1/datasets/{DATASET}/tags/{TAG}")
    assert not hook.delete_tag(DATASET, "my tag")


def test_a_tag_from_which_another_was_made_is_refused_by_the_platform(hook_on: HookOn) -> None:
    hook, _ = hook_on(tags(INITIAL, tag("my tag", "0x5")), refusal(400, "TAG_UNDELETABLE_NOT_A_LEAF", "comes after"))
    with pytest.raises(Exception, match="comes after"):
        hook.delete_tag(DATASET, "my tag")


# --- runs ---------------------------------------------------------------------------------------------------------


def test_a_configuration_may_be_a_plain_mapping(hook_on: HookOn) -> None:
    hook, platform = hook_on(Answer(201, {"id": CONFIG}), Answer(201, {"id": SCHEDULED_RUN}))
    selection = {"n_samples": 10, "strategies": [{"input": {"type": "RANDOM"}, "strategy": {"type": "WEIGHTS"}}]}
    config = {"selection": selection, "docker": {"use_datapool": True}}
    assert hook.schedule_run(DATASET, config, priority="LOW") == SCHEDULED_RUN
    asked(platform)
    assert platform.received[0].json["config"]["docker"] == {"useDatapool": True}
    with pytest.raises(ValueError, match="n_sample"):
        hook.store_worker_config({"selection": {"n_sample": 10}})
