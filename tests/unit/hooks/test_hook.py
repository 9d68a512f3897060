"""The hook's verbs, against a platform that follows a script."""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.api.calls import NAMES_PAGE_SIZE, PAGE_SIZE
from lightly_provider.api.models.run import Observation, Run
from lightly_provider.api.models.worker_config import WorkerConfig
from lightly_provider.contract import DatasetType, RunPriority
from lightly_provider.exceptions import (
    LightlyBadRequestError,
    LightlyConflictError,
    LightlyConnectionConfigError,
    LightlyConnectionError,
    LightlyDatasetConflictError,
    LightlyDatasetInUseError,
    LightlyForbiddenError,
    LightlyNotFoundError,
    LightlyResponseError,
    LightlyServerError,
)
from lightly_provider.hooks.lightly import DatasetOutcome, LightlyHook, WorkerOutcome
from lightly_provider.processed_until import all_files_new, changed_at
from tests.contract.example_calls import (
    ARTIFACT,
    CONFIG,
    DATASET,
    DELEGATED_ACCESS,
    RUN,
    SCHEDULED_RUN,
    TAG,
    USER_ACCESS,
    WORKER,
)
from tests.contract.samples import documented_answer
from tests.unit.api.scripted_platform import Answer, NoAnswer, ScriptedPlatform, Step
from tests.unit.hooks.dataset_care_answers import schedule as schedule_of
from tests.unit.hooks.scripted_answers import HookOn, asked, datasets, found, refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightly_provider.api.models.datasource import S3Datasource

OTHER = "0" * 24


def created(id_: str) -> Answer:
    return Answer(201, documented_answer("create_dataset", id=id_))


# --- datasets -----------------------------------------------------------------------------------------------------

FIND, CREATE = ("GET", "/v1/datasets/query/name/photos"), ("POST", "/v1/datasets")


def test_a_dataset_that_is_not_there_is_created(hook_on: HookOn) -> None:
    hook, platform = hook_on(datasets(), created(DATASET))
    outcome = hook.get_or_create_dataset("photos", DatasetType.VIDEOS)
    assert outcome == DatasetOutcome(dataset_id=DATASET, created=True)
    assert asked(platform) == [FIND, CREATE]
    assert platform.received[1].json == {"name": "photos", "type": "Videos", "creator": "USER_PIP"}


@pytest.mark.parametrize(("text", "sent"), [("Videos", "Videos"), (DatasetType.IMAGES, "Images")])
def test_enums_may_be_plain_text(hook_on: HookOn, text: str, sent: str) -> None:
    hook, platform = hook_on(datasets(), created(DATASET), created(CONFIG), created(SCHEDULED_RUN))
    hook.get_or_create_dataset("photos", text)
    hook.schedule_run(DATASET, WorkerConfig(), priority="HIGH")
    asked(platform)
    assert (platform.received[1].json["type"], platform.received[3].json["priority"]) == (sent, "HIGH")
    with pytest.raises(ValueError, match="dataset_type is 'images'; write one of Images, Videos"):
        hook.get_or_create_dataset("photos", "images")
    with pytest.raises(ValueError, match="priority is 'high'; write one of LOW, MID, HIGH, CRITICAL"):
        hook.schedule_run(DATASET, WorkerConfig(), priority="high")


def test_a_dataset_that_is_there_is_found_by_its_exact_name(hook_on: HookOn) -> None:
    hook, platform = hook_on(datasets(found("photos-2", id_=OTHER), found(), found("Photos", id_=OTHER)))
    outcome = hook.get_or_create_dataset("photos", DatasetType.IMAGES)
    assert outcome == DatasetOutcome(dataset_id=DATASET, created=False)
    assert asked(platform) == [FIND]


@pytest.mark.parametrize("race", [refusal(409, "CONFLICT"), refusal(400, "DATASET_NAME_EXISTS"), Answer(409)])
def test_a_dataset_that_somebody_else_creates_meanwhile_is_found(hook_on: HookOn, race: Answer) -> None:
    hook, platform = hook_on(datasets(), race, datasets(found()))
    assert not hook.get_or_create_dataset("photos", DatasetType.IMAGES).created
    assert asked(platform) == [FIND, CREATE, FIND]


def test_a_lost_answer_to_the_creation_makes_no_second_dataset(hook_on: HookOn) -> None:
    hook, platform = hook_on(datasets(), NoAnswer(), refusal(400, "DATASET_NAME_EXISTS"), datasets(found()))
    assert hook.get_or_create_dataset("photos", DatasetType.IMAGES).dataset_id == DATASET
    assert asked(platform) == [FIND, CREATE, CREATE, FIND]


def test_a_conflict_that_no_dataset_explains_is_raised(hook_on: HookOn) -> None:
    hook, _ = hook_on(datasets(), refusal(409, "CONFLICT", "no room"), datasets())
    with pytest.raises(LightlyConflictError, match="no room"):
        hook.get_or_create_dataset("photos", DatasetType.IMAGES)


def test_a_dataset_of_another_type_is_refused(hook_on: HookOn) -> None:
    hook, _ = hook_on(datasets(found(type_="Videos")))
    with pytest.raises(LightlyDatasetConflictError, match="exists with type Videos, and Images is wanted"):
        hook.get_or_create_dataset("photos", DatasetType.IMAGES)


def test_a_dataset_that_must_not_exist_is_refused(hook_on: HookOn) -> None:
    hook, platform = hook_on(datasets(found()))
    with pytest.raises(LightlyDatasetConflictError, match=r"exists already .* and if_exists is 'fail'"):
        hook.get_or_create_dataset("photos", DatasetType.IMAGES, reuse=False)
    assert asked(platform) == [FIND]


def test_two_datasets_of_one_name_are_told_apart_by_nobody(hook_on: HookOn) -> None:
    hook, _ = hook_on(datasets(found(), found(id_=OTHER)))
    with pytest.raises(LightlyDatasetConflictError, match=rf"2 datasets are called 'photos' \({DATASET}, {OTHER}\)"):
        hook.find_dataset("photos")


# --- datasources --------------------------------------------------------------------------------------------------


def datasources(*items: dict[str, Any]) -> Answer:
    return Answer(200, documented_answer("get_datasources_by_dataset_id", *items))


def as_stored(datasource: S3Datasource, **changes: Any) -> dict[str, Any]:
    return datasource.to_wire() | {"id": OTHER} | changes


@pytest.mark.parametrize("wanted", [USER_ACCESS, DELEGATED_ACCESS])
def test_a_datasource_that_is_so_already_is_left_alone(hook_on: HookOn, wanted: S3Datasource) -> None:
    hook, platform = hook_on(datasources(as_stored(wanted)))
    assert hook.set_datasource(DATASET, wanted) is False
    assert asked(platform) == [("GET", f"/v1/datasets/{DATASET}/datasource/all")]


def test_no_thumbnails_and_an_empty_suffix_are_the_same(hook_on: HookOn) -> None:
    hook, _ = hook_on(datasources(as_stored(USER_ACCESS, thumbSuffix="")))
    assert hook.set_datasource(DATASET, USER_ACCESS) is False


@pytest.mark.parametrize(
    "stored",
    [
        [],
        [as_stored(USER_ACCESS, purpose="LIGHTLY")],
        [as_stored(USER_ACCESS, s3Region="us-east-1")],
        [as_stored(USER_ACCESS, s3AccessKeyId="AKIAOTHER")],
        [as_stored(USER_ACCESS, s3SecretAccessKey="***")],
        [as_stored(USER_ACCESS, thumbSuffix="x")],
        [as_stored(USER_ACCESS, s3ServerSideEncryptionKMSKey="arn:aws:kms:eu-central-1:123456789012:key/x")],
        [as_stored(DELEGATED_ACCESS, purpose="INPUT", fullPath=USER_ACCESS.full_path)],
    ],
)
def test_a_datasource_that_differs_or_hides_its_secret_is_set(hook_on: HookOn, stored: list[dict[str, Any]]) -> None:
    hook, platform = hook_on(datasources(*stored), Answer(200))
    assert hook.set_datasource(DATASET, USER_ACCESS) is True
    assert asked(platform)[1] == ("PUT", f"/v1/datasets/{DATASET}/datasource")
    assert platform.received[1].json == USER_ACCESS.to_wire()


@pytest.mark.parametrize(
    "stored",
    [
        [as_stored(USER_ACCESS, fullPath="s3://bucket/other/")],
        # INPUT, which is set, counts before it.
        [as_stored(USER_ACCESS, purpose="INPUT_OUTPUT", fullPath="s3://bucket/other/")],
    ],
)
def test_before_another_input_is_set_all_files_count_as_new(hook_on: HookOn, stored: list[dict[str, Any]]) -> None:
    # An OPEN run would read the new input.
    hook, platform = hook_on(datasources(*stored), schedule_of("CANCELED", "DONE", "OPEN"), Answer(204), Answer(200))
    before = time.time()
    assert hook.set_datasource(DATASET, USER_ACCESS) is True
    assert asked(platform)[2:] == [("PUT", PROCESSED_UNTIL), ("PUT", f"/v1/datasets/{DATASET}/datasource")]
    written = platform.received[2].json["processedUntilTimestamp"]
    # Before the first file of S3, as seconds and as milliseconds.
    assert 0 < written < 1_141_171_200
    assert int(before) <= (changed_at(written, time.time()) or 0) <= time.time()


@pytest.mark.parametrize("state", ["LOCKED", "SINCE_INVENTED"])
def test_while_a_worker_has_a_run_the_input_stays(hook_on: HookOn, state: str) -> None:
    moved = as_stored(USER_ACCESS, fullPath="s3://bucket/other/")
    hook, platform = hook_on(datasources(moved), schedule_of("OPEN", state))
    said = rf"run {SCHEDULED_RUN} on dataset {DATASET} \({state}\).*; the input was not changed\. Wait for the run"
    with pytest.raises(LightlyDatasetInUseError, match=said):
        hook.set_datasource(DATASET, USER_ACCESS)
    assert {method for method, _ in asked(platform)} == {"GET"}


@pytest.mark.parametrize(
    "stored",
    [
        [as_stored(USER_ACCESS, fullPath=USER_ACCESS.full_path.rstrip("/"))],
        [as_stored(USER_ACCESS, purpose="LIGHTLY", fullPath="s3://bucket/other/")],
    ],
)
def test_where_the_input_stays_no_file_becomes_new(hook_on: HookOn, stored: list[dict[str, Any]]) -> None:
    hook, platform = hook_on(datasources(*stored), Answer(200))
    assert hook.set_datasource(DATASET, USER_ACCESS) is True
    assert asked(platform)[1:] == [("PUT", f"/v1/datasets/{DATASET}/datasource")]


@pytest.mark.parametrize("processed_until", [0, 1_764_000_000, 1_764_000_000_000, 1_100_000_000])
def test_any_other_time_does_not_say_when_the_input_was_changed(processed_until: int) -> None:
    assert changed_at(processed_until, 1_790_000_000) is None


# --- workers ------------------------------------------------------------------------------------------------------

WORKERS, REGISTER = ("GET", "/v1/docker/worker"), ("POST", "/v1/docker/worker")
DELETE = ("DELETE", f"/v1/docker/worker/{WORKER}")


def workers(*found: dict[str, Any]) -> Answer:
    return Answer(200, documented_answer("get_docker_worker_registry_entries", *found))


def worker(*labels: str, name: str = "of my own") -> dict[str, Any]:
    return {"id": WORKER, "name": name, "labels": list(labels)}


@pytest.mark.parametrize("labels", [["gpu", "ü"], []])
def test_a_worker_that_is_not_there_is_registered_with_its_labels(labels: list[str], hook_on: HookOn) -> None:
    hook, platform = hook_on(workers(worker(name="another")), created(WORKER))
    outcome = hook.get_or_register_worker("of my own", labels)
    assert outcome == WorkerOutcome(worker_id=WORKER, registered=True)
    assert asked(platform) == [WORKERS, REGISTER]
    body = {"name": "of my own", "workerType": "FULL", "creator": "USER_PIP"}
    assert platform.received[1].json == body | ({"labels": labels} if labels else {})


def test_a_worker_that_is_there_is_found_and_not_registered_again(hook_on: HookOn) -> None:
    hook, platform = hook_on(workers(worker("b", "a")))
    assert hook.get_or_register_worker("of my own", ["a", "b"]) == WorkerOutcome(worker_id=WORKER, registered=False)
    assert asked(platform) == [WORKERS]


def test_a_lost_answer_to_the_registration_makes_no_second_worker(hook_on: HookOn) -> None:
    hook, platform = hook_on(workers(), NoAnswer(), created(WORKER))
    assert hook.get_or_register_worker("of my own", ["a"]).worker_id == WORKER
    assert asked(platform) == [WORKERS, REGISTER, REGISTER]


def test_a_worker_that_is_there_with_other_labels_is_refused(hook_on: HookOn) -> None:
    hook, platform = hook_on(workers(worker("gpu")))
    with pytest.raises(LightlyConflictError, match=r"labels \['gpu'\], and \['cpu'\] are wanted"):
        hook.get_or_register_worker("of my own", ["cpu"])
    assert asked(platform) == [WORKERS]


def test_a_worker_is_deleted_once_whatever_is_lost(hook_on: HookOn) -> None:
    hook, platform = hook_on(Answer(200), NoAnswer(), refusal(404, "NOT_FOUND"))
    assert hook.delete_worker(WORKER)
    assert not hook.delete_worker(WORKER)
    assert asked(platform) == [DELETE, DELETE, DELETE]


# --- runs ---------------------------------------------------------------------------------------------------------

STORE = ("POST", "/v1/docker/worker/config/vX")
SCHEDULE = ("POST", f"/v1/datasets/{DATASET}/docker/worker/schedule")
LOOK = ("GET", f"/v1/datasets/{DATASET}/docker/worker/schedule")


def scheduled(*items: dict[str, Any]) -> Answer:
    return Answer(200, documented_answer("get_docker_runs_scheduled_by_dataset_id", *items))


def schedule(hook: LightlyHook, *labels: str) -> str:
    return hook.schedule_run(DATASET, WorkerConfig(), priority=RunPriority.HIGH, runs_on=labels)


def test_a_run_is_scheduled_with_a_configuration_of_its_own(hook_on: HookOn) -> None:
    hook, platform = hook_on(created(CONFIG), created(SCHEDULED_RUN))
    assert schedule(hook, "gpu") == SCHEDULED_RUN
    assert asked(platform) == [STORE, SCHEDULE]
    assert platform.received[1].json == {
        "configId": CONFIG,
        "priority": "HIGH",
        "runsOn": ["gpu"],
        "creator": "USER_PIP",
    }


@pytest.mark.parametrize("lost", [NoAnswer(), Answer(500), Answer(502, b"<html>"), Answer(201, b"<html>")])
def test_a_run_whose_answer_is_lost_is_found_in_the_schedule_by_its_configuration(hook_on: HookOn, lost: Step) -> None:
    entries = scheduled(
        {"id": OTHER, "configId": OTHER}, {"id": SCHEDULED_RUN, "configId": CONFIG, "state": "CANCELED"}
    )
    hook, platform = hook_on(created(CONFIG), lost, entries)
    assert schedule(hook) == SCHEDULED_RUN
    assert asked(platform) == [STORE, SCHEDULE, LOOK]
    states = [value for name, value in platform.received[2].query if name == "states"]
    assert states == ["OPEN", "LOCKED", "DONE", "CANCELED"]


@pytest.mark.parametrize(("lost", "error"), [(NoAnswer(), LightlyConnectionError), (Answer(503), LightlyServerError)])
def test_a_run_that_is_not_in_the_schedule_is_not_scheduled_again(
    hook_on: HookOn, lost: Step, error: type[Exception]
) -> None:
    hook, platform = hook_on(created(CONFIG), lost, scheduled({"id": OTHER, "configId": OTHER}))
    with pytest.raises(error):
        schedule(hook)
    assert asked(platform).count(SCHEDULE) == 1


def test_a_run_that_came_too_early_is_scheduled_again(hook_on: HookOn) -> None:
    hook, platform = hook_on(created(CONFIG), Answer(429), Answer(429), created(SCHEDULED_RUN))
    assert schedule(hook) == SCHEDULED_RUN
    assert asked(platform) == [STORE, SCHEDULE, SCHEDULE, SCHEDULE]


def test_a_refused_run_is_not_looked_for(hook_on: HookOn) -> None:
    hook, platform = hook_on(created(CONFIG), refusal(403, "FORBIDDEN"))
    with pytest.raises(LightlyForbiddenError):
        schedule(hook)
    assert asked(platform) == [STORE, SCHEDULE]


RUN_OF = ("GET", f"/v1/docker/runs/schedule/{SCHEDULED_RUN}")


def run_answer(state: str, **changes: Any) -> Answer:
    return Answer(200, documented_answer("get_docker_run_by_scheduled_id", id=RUN, state=state, **changes))


def test_a_run_that_a_worker_took_is_seen_by_one_request(hook_on: HookOn) -> None:
    hook, platform = hook_on(run_answer("EMBEDDING", message="50 %"))
    seen = hook.observe_run(DATASET, SCHEDULED_RUN)
    assert seen.run is not None
    assert (seen.run.id, seen.run.state, seen.run.message) == (RUN, "EMBEDDING", "50 %")
    assert not seen.is_nothing
    assert asked(platform) == [RUN_OF]


@pytest.mark.parametrize(
    ("entries", "state"),
    [
        ([{"id": OTHER, "state": "DONE"}, {"id": SCHEDULED_RUN, "state": "OPEN"}], "OPEN"),
        ([{"id": SCHEDULED_RUN, "state": "CANCELED"}], "CANCELED"),
        ([{"id": OTHER, "state": "OPEN"}], None),
        ([], None),
    ],
)
def test_a_run_that_no_worker_took_is_seen_in_the_schedule(
    hook_on: HookOn, entries: list[dict[str, Any]], state: str | None
) -> None:
    hook, platform = hook_on(refusal(404, "DOCKER_RUN_UNKNOWN"), scheduled(*entries))
    assert hook.observe_run(DATASET, SCHEDULED_RUN) == Observation(scheduled_state=state)
    assert asked(platform) == [RUN_OF, LOOK]


def test_a_failed_look_says_nothing_of_the_run(hook_on: HookOn) -> None:
    hook, platform = hook_on(refusal(403, "FORBIDDEN"))
    with pytest.raises(LightlyForbiddenError):
        hook.observe_run(DATASET, SCHEDULED_RUN)
    assert asked(platform) == [RUN_OF]


def report(content: Any, *, status: int = 200) -> tuple[Run, Callable[[ScriptedPlatform], None]]:
    """A run with a report, and what makes a platform serve it."""
    artifact = {"id": ARTIFACT, "type": "REPORT_V2_JSON", "fileName": "report_v2.json"}
    run = Run.model_validate({"id": RUN, "state": "COMPLETED", "artifacts": [{"id": OTHER, "type": "LOG"}, artifact]})

    def serve(platform: ScriptedPlatform) -> None:
        platform.script[:] = [Answer(200, f"{platform.address}/signed?x=1"), Answer(status, content)]

    return run, serve


SIZES = {"nInput": 10, "nCorrupt": 1, "nDuplicate": 2, "nRemoved": 0, "nSelected": 7}


def test_the_reports_sizes_are_read_from_the_signed_address(hook_on: HookOn) -> None:
    hook, platform = hook_on(Answer())
    run, serve = report({"generalInformation": {"datasetInformation": {"datasetSizes": SIZES}}})
    serve(platform)
    assert hook.get_report_sizes(run) == SIZES
    assert asked(platform) == [("GET", f"/v1/docker/runs/{RUN}/artifacts/{ARTIFACT}/readurl"), ("GET", "/signed")]
    assert platform.received[1].url == "/signed?x=1"


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>", b"\xff\xfe\x00", [], {}, {"generalInformation": None}]
    + [{"generalInformation": {"datasetInformation": {"datasetSizes": sizes}}} for sizes in ([], None, {"n": "x"})],
)
def test_a_report_of_another_form_is_none(hook_on: HookOn, content: Any) -> None:
    hook, platform = hook_on(Answer())
    run, serve = report(content)
    serve(platform)
    assert hook.get_report_sizes(run) is None


def test_a_run_without_a_report_asks_for_none(hook_on: HookOn) -> None:
    hook, platform = hook_on(Answer(500))
    assert hook.get_report_sizes(Run(id=RUN, state="COMPLETED")) is None
    assert asked(platform) == []


# --- tags ---------------------------------------------------------------------------------------------------------


def tags(operation: str, *items: dict[str, Any]) -> Answer:
    return Answer(200, documented_answer(operation, *items))


def test_the_tags_of_a_run_are_those_in_its_dataset(hook_on: HookOn) -> None:
    hook, _ = hook_on(
        tags(
            "get_docker_run_tags",
            {"id": TAG, "datasetId": OTHER, "name": "crops"},
            {"id": TAG, "datasetId": DATASET, "name": "second"},
            {"id": TAG, "datasetId": DATASET, "name": "first"},
        )
    )
    assert [tag.name for tag in hook.get_run_tags(RUN, DATASET)] == ["second", "first"]


def test_all_tags_come_oldest_first(hook_on: HookOn) -> None:
    hook, _ = hook_on(tags("get_tags_by_dataset_id", {"name": "new", "createdAt": 2}, {"name": "old", "createdAt": 1}))
    assert [tag.name for tag in hook.get_tags(DATASET)] == ["old", "new"]


def tag_of(samples: int) -> dict[str, Any]:
    return {"id": TAG, "name": "initial-tag", "bitMaskData": hex((1 << samples) - 1)}


def test_filenames_come_page_by_page(hook_on: HookOn) -> None:
    names = [f"ordner/ü {number}.jpg" for number in range(PAGE_SIZE + 3)]
    hook, platform = hook_on(
        tags("get_tags_by_dataset_id", tag_of(len(names))),
        Answer(200, "\n".join(names[:PAGE_SIZE]).encode()),
        Answer(200, "\n".join(names[PAGE_SIZE:]).encode()),
    )
    assert hook.get_filenames(DATASET, "initial-tag") == names
    pages = [dict(received.query) for received in platform.received[1:]]
    assert [page["pageOffset"] for page in pages] == ["0", str(PAGE_SIZE)]
    assert len(asked(platform)) == 3


def test_filenames_that_fill_their_last_page_end_with_an_empty_one(hook_on: HookOn) -> None:
    names = [f"{number}.jpg" for number in range(PAGE_SIZE)]
    hook, platform = hook_on(
        tags("get_tags_by_dataset_id", tag_of(len(names))),
        Answer(200, "\n".join(names).encode()),
        Answer(200, b""),
    )
    assert hook.get_filenames(DATASET, "initial-tag") == names
    assert len(asked(platform)) == 3


def test_a_platform_with_smaller_pages_is_asked_until_the_tag_is_complete(hook_on: HookOn) -> None:
    hook, platform = hook_on(
        tags("get_tags_by_dataset_id", tag_of(3)), Answer(200, b"a\nb\n"), Answer(200, b"c\n"), Answer(500)
    )
    assert hook.get_filenames(DATASET, "initial-tag") == ["a", "b", "c"]
    assert len(asked(platform)) == 3


def test_a_platform_that_refuses_large_pages_is_asked_for_smaller_ones(hook_on: HookOn) -> None:
    refused = Answer(400, {"code": "MALFORMED_REQUEST", "error": "pageSize is too large"})
    hook, platform = hook_on(
        tags("get_tags_by_dataset_id", tag_of(3)), refused, Answer(200, b"a\nb"), Answer(200, b"c")
    )
    assert hook.get_filenames(DATASET, "initial-tag") == ["a", "b", "c"]
    sizes = [dict(received.query)["pageSize"] for received in platform.received[1:]]
    assert sizes == ["25000", str(PAGE_SIZE), str(PAGE_SIZE)]


def test_a_platform_that_refuses_every_page_is_asked_twice(hook_on: HookOn) -> None:
    hook, platform = hook_on(
        tags("get_tags_by_dataset_id", tag_of(3)), Answer(400, {"code": "BAD_REQUEST", "error": "x"})
    )
    with pytest.raises(LightlyBadRequestError):
        hook.get_filenames(DATASET, "initial-tag")
    assert len(platform.received) == 3


@pytest.mark.parametrize(
    ("pages", "returned"),
    [
        ([b""], 0),
        ([b"a\nb", b""], 2),
        ([b"a\nb\nc\nd"], 4),
        ([b"a\nb", b"c\nd"], 4),
        ([b"a", b"", b"b\nc"], 1),
    ],
)
def test_another_number_of_names_than_the_tag_has_samples_is_no_selection(
    hook_on: HookOn, pages: list[bytes], returned: int
) -> None:
    hook, _ = hook_on(tags("get_tags_by_dataset_id", tag_of(3)), *(Answer(200, page) for page in pages))
    with pytest.raises(LightlyResponseError, match=f"returned {returned} file names .* which has 3 samples"):
        hook.get_filenames(DATASET, "initial-tag")


def test_paging_that_is_ignored_ends(hook_on: HookOn) -> None:
    page = "\n".join(map(str, range(PAGE_SIZE))).encode()
    hook, platform = hook_on(tags("get_tags_by_dataset_id", tag_of(5 * PAGE_SIZE)), Answer(200, page))
    with pytest.raises(LightlyResponseError, match="begins with '0' twice"):
        hook.get_filenames(DATASET, "initial-tag")
    assert len(asked(platform)) == 3


@pytest.mark.parametrize("pages", [[b"a\nb", b"a\nb"], [b"a", b"b\nc", b"a"], [b"a\nb\nc", b"a"]])
def test_a_page_that_repeats_is_no_selection_even_if_the_number_is_right(hook_on: HookOn, pages: list[bytes]) -> None:
    hook, _ = hook_on(tags("get_tags_by_dataset_id", tag_of(4)), *(Answer(200, page) for page in pages))
    with pytest.raises(LightlyResponseError, match="begins with 'a' twice for tag 'initial-tag'"):
        hook.get_filenames(DATASET, "initial-tag")


def test_pages_grow_where_the_platform_fills_them(hook_on: HookOn) -> None:
    names = [f"{number}.jpg" for number in range(NAMES_PAGE_SIZE + 3)]
    hook, platform = hook_on(
        tags("get_tags_by_dataset_id", tag_of(len(names))),
        Answer(200, "\n".join(names[:NAMES_PAGE_SIZE]).encode()),
        Answer(200, "\n".join(names[NAMES_PAGE_SIZE:]).encode()),
    )
    assert hook.get_filenames(DATASET, "initial-tag") == names
    pages = [dict(received.query) for received in platform.received[1:]]
    assert [(page["pageSize"], page["pageOffset"]) for page in pages] == [("25000", "0"), ("100000", "25000")]


@pytest.mark.parametrize(
    "failure", [refusal(400, "MALFORMED_REQUEST", "pageSize"), Answer(502), NoAnswer(), Answer(200, b"a\0b")]
)
def test_a_larger_page_that_fails_is_asked_for_once(hook_on: HookOn, failure: Step) -> None:
    names = [f"{number}.jpg" for number in range(2 * NAMES_PAGE_SIZE + 3)]
    parts = names[:NAMES_PAGE_SIZE], names[NAMES_PAGE_SIZE : 2 * NAMES_PAGE_SIZE], names[2 * NAMES_PAGE_SIZE :]
    first, *others = (Answer(200, "\n".join(part).encode()) for part in parts)
    hook, platform = hook_on(tags("get_tags_by_dataset_id", tag_of(len(names))), first, failure, *others)
    assert hook.get_filenames(DATASET, "initial-tag") == names
    sizes = [dict(received.query)["pageSize"] for received in platform.received[1:]]
    assert sizes == ["25000", "100000", "25000", "25000"]


def test_a_list_of_datasets_whose_page_repeats_ends(hook_on: HookOn) -> None:
    items = [{"id": f"{number:024x}"} for number in range(PAGE_SIZE)]
    hook, platform = hook_on(Answer(200, documented_answer("get_datasets", *items)))
    with pytest.raises(LightlyResponseError, match="repeats the same page of get_datasets from 5000 on"):
        hook.get_datasets()
    assert len(asked(platform)) == 2


def test_a_dataset_that_moves_to_the_next_page_meanwhile_is_listed_once(hook_on: HookOn) -> None:
    items = [{"id": f"{number:024x}"} for number in range(PAGE_SIZE + 1)]
    first, second = items[:PAGE_SIZE], items[PAGE_SIZE - 1 :]
    hook, _ = hook_on(*(Answer(200, documented_answer("get_datasets", *page)) for page in (first, second)))
    assert [dataset.id for dataset in hook.get_datasets()] == [item["id"] for item in items]


@pytest.mark.parametrize(
    ("content", "place"),
    [(b"a\nb\x00c\nd", "file name 2 has NUL"), (b"a\nb\nc\xed\xa0\x80", "file name 3 has NUL in it, or is not UTF-8")],
)
def test_a_name_that_no_file_can_have_is_refused_with_its_place(hook_on: HookOn, content: bytes, place: str) -> None:
    hook, _ = hook_on(tags("get_tags_by_dataset_id", tag_of(3)), Answer(200, content))
    with pytest.raises(LightlyResponseError, match=place):
        hook.get_filenames(DATASET, "initial-tag")


@pytest.mark.parametrize(("present", "wording"), [(["initial-tag", "second"], "initial-tag, second"), ([], "none")])
def test_a_tag_that_is_not_there_is_told_with_those_that_are(hook_on: HookOn, present: list[str], wording: str) -> None:
    hook, _ = hook_on(tags("get_tags_by_dataset_id", *({"name": name} for name in present)))
    with pytest.raises(LightlyNotFoundError, match=f"has no tag 'first'; its tags: {wording}."):
        hook.get_filenames(DATASET, "first")


# --- connection ---------------------------------------------------------------------------------------------------

QUOTA = Answer(200, b"25000")


@pytest.mark.parametrize(
    ("steps", "who"),
    [
        ([Answer(200, documented_answer("get_datasets", {"userId": "somebody"}))], "as user somebody"),
        ([Answer(200, documented_answer("get_datasets", {"userId": "a\n::group::b"}))], r"as user a\n\x3a\x3agroup::b"),
        (
            [
                Answer(200, []),
                Answer(200, documented_answer("get_docker_worker_registry_entries", {"userId": "worker's owner"})),
            ],
            "as user worker's owner",
        ),
        ([Answer(200, []), Answer(200, [])], "as a user who owns no dataset and no worker yet"),
    ],
)
def test_testing_the_connection_says_who_we_are(hook_on: HookOn, steps: list[Step], who: str) -> None:
    hook, platform = hook_on(QUOTA, *steps)
    expected = f"Connected to {platform.address} {who}; datasets may have up to 25000 samples."
    assert hook.test_connection() == (True, expected)
    assert {method for method, _ in asked(platform)} == {"GET"}


@pytest.mark.parametrize(
    ("step", "wording"),
    [
        (refusal(401, "UNAUTHORIZED", "bad token"), "HTTP 401 UNAUTHORIZED: bad token. Check the API token"),
        (Answer(301), "check the host in the Airflow connection"),
        (NoAnswer(), "got no answer"),
    ],
)
def test_testing_the_connection_says_exactly_what_is_wrong(hook_on: HookOn, step: Step, wording: str) -> None:
    hook, _ = hook_on(step)
    works, message = hook.test_connection()
    assert not works
    assert wording in message


def test_a_web_page_in_place_of_the_platform_is_no_connection(hook_on: HookOn) -> None:
    hook, _ = hook_on(Answer(200, b"<html>Please log in</html>"))
    works, message = hook.test_connection()
    assert not works
    assert "breaks its contract" in message


@pytest.mark.parametrize(
    ("fields", "wording"),
    [
        ({}, "has no API token"),
        ({"password": "t", "host": "https://a b"}, "has a host that is not the address"),
        ({"password": "t", "extra": {"proxies": "x"}}, "has proxies in its extra"),
    ],
)
def test_a_connection_that_cannot_work_is_told_without_a_request(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], wording: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_BAD", json.dumps({"conn_type": "lightly", **fields}))
    works, message = LightlyHook("bad").test_connection()
    assert (works, wording in message, "'bad'" in message) == (False, True, True)
    with pytest.raises(LightlyConnectionConfigError):
        LightlyHook("bad").get_conn()


def test_the_connection_is_read_once(hook_on: HookOn, monkeypatch: pytest.MonkeyPatch) -> None:
    hook, _ = hook_on(QUOTA, Answer(200, []), Answer(200, []))
    assert hook.connection.is_local
    monkeypatch.delenv("AIRFLOW_CONN_LIGHTLY_DEFAULT")
    assert hook.test_connection()[0]
    assert hook.get_conn() is hook.client


class PlainlyLogged(LightlyHook):
    """Airflow 3 logs through structlog, past what pytest captures."""

    log = logging.getLogger("hook")


def test_what_looks_like_a_mistake_is_logged(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    fields = {"conn_type": "lightly", "host": "http://api.test", "password": "CANARY", "extra": {"zzz": "CANARY"}}
    monkeypatch.setenv("AIRFLOW_CONN_ODD", json.dumps(fields))
    hook = PlainlyLogged("odd")
    with caplog.at_level("WARNING"):
        assert hook.connection.settings.host == "http://api.test"
    assert "without TLS" in caplog.text
    assert "extra fields that nothing reads: zzz" in caplog.text
    assert "CANARY" not in caplog.text


# --- until when files have been processed -------------------------------------------------------------------------

PROCESSED_UNTIL = f"/v1/datasets/{DATASET}/datasource/processedUntilTimestamp"


def processed_until(seconds: int) -> Answer:
    return Answer(200, {"processedUntilTimestamp": seconds})


@pytest.mark.parametrize(
    ("present", "wanted"),
    [
        (1_764_000_000, 0),
        (0, 1_764_000_000),
        (1_764_000_000_000, 0),
        (1_764_000_000_000, all_files_new(1_764_000_000)),
    ],
)
def test_the_time_until_which_files_are_processed_is_set_where_it_differs(
    hook_on: HookOn, present: int, wanted: int
) -> None:
    hook, platform = hook_on(processed_until(present), Answer(204))

    assert hook.set_processed_until(DATASET, wanted) == present
    assert asked(platform) == [("GET", PROCESSED_UNTIL), ("PUT", PROCESSED_UNTIL)]
    assert platform.received[1].json == {"processedUntilTimestamp": wanted}


def test_a_time_that_is_already_so_is_not_set(hook_on: HookOn) -> None:
    hook, platform = hook_on(processed_until(1_764_000_000), processed_until(0))

    assert hook.set_processed_until(DATASET, 1_764_000_000) is None
    assert hook.get_processed_until(DATASET) == 0
    assert asked(platform) == [("GET", PROCESSED_UNTIL)] * 2


def test_nothing_is_set_where_the_platform_counts_in_milliseconds(hook_on: HookOn) -> None:
    hook, platform = hook_on(processed_until(1_764_000_000_000))

    with pytest.raises(LightlyResponseError, match="looks like milliseconds; nothing was changed"):
        hook.set_processed_until(DATASET, 1_764_000_000)
    assert asked(platform) == [("GET", PROCESSED_UNTIL)]


def test_a_time_before_the_epoch_is_never_sent(hook_on: HookOn) -> None:
    hook, platform = hook_on()

    with pytest.raises(ValueError, match="greater than or equal to 0"):
        hook.set_processed_until(DATASET, -1)
    assert asked(platform) == []
