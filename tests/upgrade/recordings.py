"""
What an earlier version left behind, as it was recorded, brought into the present: the ids are those of the test's own
platform, and times are as far away as they were then.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = Path(__file__).with_name("recorded")
_TIMES = ("deadline", "pickup_deadline", "started", "granted")


@dataclass(frozen=True)
class Recording:
    """What one version left on one Airflow; ``folder`` is ``<commit or version>/airflow-<version>``."""

    folder: Path

    @property
    def airflow(self) -> tuple[int, ...]:
        """The version of Airflow that stored it."""
        return tuple(map(int, self.folder.name.removeprefix("airflow-").split(".")))

    def names(self, file: str) -> list[str]:
        """The names of a file's scenes."""
        return list(json.loads((self.folder / f"{file}.json").read_text()))

    def scene(
        self, file: str, name: str, instead: Mapping[str, str] = MappingProxyType({}), *, at: float | None = None
    ) -> Scene:
        """
        A scene.

        :param file: Its file.
        :param name: Its name.
        :param instead: For each text that was recorded, the one to read instead.
        :param at: When it was recorded, in seconds since 1970; None: just now.
        """
        text = json.dumps(json.loads((self.folder / f"{file}.json").read_text())[name], ensure_ascii=False)
        for recorded, present in instead.items():
            text = text.replace(recorded, present)
        content = json.loads(text)
        shift = (time.time() if at is None else at) - content.get("recorded_at", time.time())
        return Scene(_moved(content, shift))


def recordings() -> list[tuple[Recording, bool]]:
    """
    All that the running Airflow can read, its own and those of older ones; and whether it is, of that version of the
    provider, what the newest Airflow stored.
    """
    running = tuple(map(int, version("apache-airflow").split(".")[:3]))
    found = [Recording(folder) for folder in sorted(FOLDER.glob("*/airflow-*"))]
    readable = sorted((one for one in found if one.airflow <= running), key=lambda one: one.airflow)
    newest = {one.folder.parent: one for one in readable}
    return [(one, one == newest[one.folder.parent]) for one in readable]


def scenes(file: str, *, ending: str | tuple[str, ...] = "", once: bool = False) -> list[Any]:
    """
    The recorded scenes of a file, as pytest's parameters ``recording`` and ``name``.

    What an older Airflow stored, and the running one reads as well, is exhaustive.

    :param file: The file.
    :param ending: How their names end.
    :param once: Of each version of the provider only what the newest Airflow stored, where all store the same.
    """
    return [
        pytest.param(
            recording,
            name,
            id=f"{recording.folder.parent.name}-{recording.folder.name}-{name}",
            marks=() if is_newest else pytest.mark.exhaustive,
        )
        for recording, is_newest in recordings()
        for name in recording.names(file)
        if name.endswith(ending) and (is_newest or not once)
    ]


@dataclass(frozen=True)
class Scene:
    """What was recorded at one moment."""

    content: dict[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.content[name]

    def trigger(self) -> Any:
        """The trigger, as a triggerer makes it from its row."""
        module, _, name = self["trigger"]["classpath"].rpartition(".")
        return getattr(import_module(module), name)(**as_airflow_reads(self["trigger"]["kwargs"]))

    def next_kwargs(self) -> dict[str, Any]:
        """What the method gets with which the task is resumed."""
        return as_airflow_reads(self["next_kwargs"] or {})

    def task(self) -> Any:
        """The task, with its templates rendered."""
        from tests.upgrade.recorded_tasks import DAG_OF_TASKS

        ready = DAG_OF_TASKS.task_dict[self["task_id"]].prepare_for_execution()
        scheduled_run_id = self["schedule"][0]["id"] if self.content.get("schedule") else ""
        conf = {
            "dataset_id": self["dataset_id"],
            "label": self.content.get("label"),
            "scheduled_run_id": scheduled_run_id,
        }
        ready.render_template_fields({"dag_run": SimpleNamespace(conf=conf)})
        return ready


def as_airflow_reads(stored: dict[str, Any]) -> dict[str, Any]:
    """What Airflow makes of the stored arguments of a trigger, or of a method."""
    from airflow.models.trigger import Trigger

    read: dict[str, Any] = Trigger._decrypt_kwargs(json.dumps(stored))
    return read


def fingerprint_as_of_31d450a(dataset_id: str, label: str, config: Mapping[str, Any]) -> str:
    """What the fingerprint of the recorded tasks' request was; never to be changed, as stored forms hold it."""
    asked = {"dataset_id": dataset_id, "config": config, "priority": "HIGH", "runs_on": [label]}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def _moved(value: Any, shift: float) -> Any:
    match value:
        case dict():
            return {
                name: one + shift
                if name in _TIMES and isinstance(one, float)
                else _later(one, shift)
                if name == "until"
                else _moved(one, shift)
                for name, one in value.items()
            }
        case list():
            return [_moved(one, shift) for one in value]
    return value


def _later(moment: str, shift: float) -> str:
    return (datetime.fromisoformat(moment).astimezone(UTC) + timedelta(seconds=shift)).isoformat()
