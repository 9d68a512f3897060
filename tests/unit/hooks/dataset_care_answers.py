"""What a scripted platform answers about a dataset that is deleted, shared or tagged."""

from __future__ import annotations

from typing import Any

from tests.contract.example_calls import CONFIG, DATASET, RUN, SCHEDULED_RUN, TAG
from tests.contract.samples import documented_answer
from tests.unit.api.scripted_platform import Answer
from tests.unit.hooks.scripted_answers import refusal

OTHER = "0" * 24

DONE = Answer(200, b"")

GONE = refusal(404, "DATASET_UNKNOWN", "no such dataset")


def dataset(name: str = "photos") -> Answer:
    return Answer(200, documented_answer("get_dataset_by_id", id=DATASET, type="Images") | {"name": name})


def schedule(*states: str) -> Answer:
    items = [{"id": SCHEDULED_RUN, "configId": CONFIG} for _ in states]
    answer = documented_answer("get_docker_runs_scheduled_by_dataset_id", *items)
    return Answer(200, [item | {"state": state} for item, state in zip(answer, states, strict=True)])


def runs(*states: str) -> Answer:
    answer = documented_answer("get_docker_runs_query_by_dataset_id", *({"id": RUN} for _ in states))
    return Answer(200, [item | {"state": state} for item, state in zip(answer, states, strict=True)])


def shared(emails: list[str], teams: list[str] | None = None, kind: str = "WRITE") -> dict[str, Any]:
    return {"accessType": kind, "users": emails, "teams": teams or []}


def sharing(*entries: dict[str, Any]) -> Answer:
    answer = documented_answer("get_shared_access_configs_by_dataset_id", *({} for _ in entries))
    return Answer(200, [item | entry for item, entry in zip(answer, entries, strict=True)])


WRITTEN = Answer(201, {"id": OTHER})

INITIAL = {"id": OTHER, "datasetId": DATASET, "name": "initial-tag", "bitMaskData": "0x3ff", "totSize": 10}


def tags(*items: dict[str, Any]) -> Answer:
    answer = documented_answer("get_tags_by_dataset_id", *items)
    return Answer(
        200, [item | {"prevTagId": given.get("prevTagId")} for item, given in zip(answer, items, strict=True)]
    )


CREATED = Answer(201, {"id": TAG})
