"""LightlyHook: an Airflow connection in, domain verbs out."""

from __future__ import annotations

import json
import time
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import BaseHook

from lightly_provider.exceptions import (
    LightlyApiError,
    LightlyConflictError,
    LightlyConnectionError,
    LightlyDatasetConflictError,
    LightlyError,
    LightlyNotFoundError,
    LightlyRateLimitError,
    LightlyResponseError,
    LightlyServerError,
)
from lightly_provider.get_provider_info import CONNECTION_FORM
from lightly_provider.worker_run import Observation, ScheduledRunState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightly_provider.api.client import LightlyClient
    from lightly_provider.api.models.dataset import Dataset, DatasetType, Tag
    from lightly_provider.api.models.datasource import Datasource, PermissionLights, S3Datasource
    from lightly_provider.api.models.run import LogPage, Run, RunPriority, ScheduledRun, Worker
    from lightly_provider.api.models.worker_config import WorkerConfig
    from lightly_provider.hooks.connection import LightlyConnection

# Longest time for canceling, in seconds.
LONGEST_CANCEL = 18.0
_MAY_PASS = (
    LightlyConnectionError,
    LightlyServerError,
    LightlyRateLimitError,
    LightlyResponseError,
    LightlyConflictError,
)


@dataclass(frozen=True, kw_only=True)
class DatasetOutcome:
    """
    What find-or-create came to.

    :param dataset_id: The dataset's id.
    :param created: Whether it was created just now; False: it was there.
    """

    dataset_id: str
    created: bool


@dataclass(frozen=True, kw_only=True)
class WorkerOutcome:
    """
    What find-or-register came to.

    :param worker_id: The worker's id.
    :param registered: Whether it was registered just now; False: it was there.
    """

    worker_id: str
    registered: bool


class LightlyHook(BaseHook):
    """
    Talk to the Lightly platform through an Airflow connection of type ``lightly``.

    The connection's password is the API token; its host is the API's address (default: the public API). Each verb sends
    as few requests as it can, repeats only what is safe to repeat, and raises subclasses of
    :class:`~lightly_provider.exceptions.LightlyError`.

    :param lightly_conn_id: Airflow connection. Default: ``lightly_default``.
    """

    conn_name_attr = "lightly_conn_id"
    default_conn_name = "lightly_default"
    conn_type = CONNECTION_FORM["connection-type"]
    hook_name = CONNECTION_FORM["hook-name"]

    def __init__(self, lightly_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.lightly_conn_id = lightly_conn_id

    # --- connection ----------------------------------------------------------------------------------------------

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """The form's standard fields, for Airflow before 3.3; derived from the provider info."""
        behaviour = CONNECTION_FORM["ui-field-behaviour"]
        return {
            "hidden_fields": list(behaviour["hidden-fields"]),
            "relabeling": dict(behaviour["relabeling"]),
            "placeholders": dict(behaviour["placeholders"]),
        }

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """The form's extra fields, for Airflow before 3.3; derived from the provider info."""
        from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
        from wtforms import IntegerField, StringField
        from wtforms.validators import Optional

        widgets = {}
        for name, field in CONNECTION_FORM["conn-fields"].items():
            cls_of_field = IntegerField if "integer" in field["schema"]["type"] else StringField
            widgets[name] = cls_of_field(
                field["label"],
                description=field["description"],
                widget=BS3TextFieldWidget(),
                validators=[Optional()],
            )
        return widgets

    @cached_property
    def connection(self) -> LightlyConnection:
        """What the Airflow connection says; read once."""
        from airflow.providers.common.compat.sdk import mask_secret

        from lightly_provider.hooks.connection import parse_connection

        airflow_connection = self.get_connection(self.lightly_conn_id)
        parsed = parse_connection(
            self.lightly_conn_id,
            host=airflow_connection.host,
            port=airflow_connection.port,
            password=airflow_connection.password,
            extra=airflow_connection.extra_dejson,
        )
        mask_secret(parsed.settings.token)
        for address in (parsed.settings.proxies or {}).values():
            if password := urlsplit(address).password:
                mask_secret(password)
        for warning in parsed.warnings:
            self.log.warning(warning)
        return parsed

    @cached_property
    def client(self) -> LightlyClient:
        """The client that sends this hook's calls."""
        from lightly_provider.api.client import LightlyClient

        return LightlyClient(self.connection.settings)

    def get_conn(self) -> LightlyClient:
        """The client, under the name that Airflow gives to it in all hooks."""
        return self.client

    def test_connection(self) -> tuple[bool, str]:
        """
        Ask the platform who we are.

        :return: Whether the token works, and a sentence that says whose it is or exactly what is wrong.
        """
        from lightly_provider.api import calls
        from lightly_provider.api.client import LightlyClient

        try:
            settings = self.connection.settings
            # Somebody waits at a button: one attempt each.
            with closing(LightlyClient(replace(settings, max_attempts=1))) as client:
                quota = client.send(calls.get_quota())
                datasets = client.send(calls.list_datasets(page_size=1))
                workers = [] if datasets else client.send(calls.list_workers())
        except LightlyError as error:
            return False, str(error)
        owners = [dataset.user_id for dataset in datasets] + [worker.user_id for worker in workers]
        user = next(filter(None, owners), None)
        # No operation of the contract answers "who am I"; what the token's user owns names it.
        who = f"as user {user}" if user else "as a user who owns no dataset and no worker yet"
        return True, f"Connected to {settings.host} {who}; datasets may have up to {quota} samples."

    # --- datasets ------------------------------------------------------------------------------------------------

    def find_dataset(self, name: str) -> Dataset | None:
        """
        The token's own dataset of exactly this name.

        :param name: Dataset name.
        :return: The dataset; None if there is none.
        :raises LightlyDatasetConflictError: Several match, and taking any could be wrong.
        """
        from lightly_provider.api import calls

        found = [dataset for dataset in self.client.send(calls.find_datasets(name)) if dataset.name == name]
        if len(found) > 1:
            ids = ", ".join(dataset.id for dataset in found)
            raise LightlyDatasetConflictError(
                f"{len(found)} datasets are called {name!r} ({ids}); rename all but one, or give this one another name."
            )
        return found[0] if found else None

    def get_or_create_dataset(self, name: str, dataset_type: DatasetType, *, reuse: bool = True) -> DatasetOutcome:
        """
        Find the dataset of this name, or create it.

        Safe against a lost answer and against two tasks at once: names are unique per owner on the platform, so a
        creation that is refused for its name means that the dataset is there.

        :param name: Dataset name.
        :param dataset_type: Images or Videos.
        :param reuse: Whether one that exists may serve. Default: True.
        :raises LightlyDatasetConflictError: One exists and may not serve, or has another type.
        """
        from lightly_provider.api import calls
        from lightly_provider.api.models.dataset import DatasetCreateRequest

        existing = self.find_dataset(name)
        if existing is None:
            try:
                request = DatasetCreateRequest(name=name, type=dataset_type)
                return DatasetOutcome(dataset_id=self.client.send(calls.create_dataset(request)), created=True)
            except LightlyConflictError:
                existing = self.find_dataset(name)
                if existing is None:
                    raise
        if not reuse:
            raise LightlyDatasetConflictError(
                f"Dataset {name!r} exists already (id {existing.id}), and if_exists is 'fail'; "
                "choose another dataset_name, delete it, or set if_exists='reuse'."
            )
        if existing.type != dataset_type:
            raise LightlyDatasetConflictError(
                f"Dataset {name!r} (id {existing.id}) exists with type {existing.type}, and {dataset_type} is wanted; "
                "a dataset's type cannot be changed, so choose another dataset_name or delete it."
            )
        return DatasetOutcome(dataset_id=existing.id, created=False)

    def get_dataset(self, dataset_id: str) -> Dataset:
        """A dataset by id."""
        from lightly_provider.api import calls

        return self.client.send(calls.get_dataset(dataset_id))

    def get_datasets(self) -> list[Dataset]:
        """All of the token's own datasets, oldest first."""
        from lightly_provider.api import calls

        datasets: list[Dataset] = []
        while True:
            page = self.client.send(calls.list_datasets(page_size=calls.PAGE_SIZE, page_offset=len(datasets)))
            datasets += page
            if len(page) < calls.PAGE_SIZE:
                return sorted(datasets, key=lambda dataset: dataset.id)

    # --- datasources ---------------------------------------------------------------------------------------------

    def get_datasources(self, dataset_id: str) -> list[Datasource]:
        """The dataset's datasources, at most one per purpose. They may hold secrets in clear: publish ``public()``."""
        from lightly_provider.api import calls

        return self.client.send(calls.get_datasources(dataset_id))

    def set_datasource(self, dataset_id: str, wanted: S3Datasource) -> bool:
        """
        Set a dataset's datasource for one purpose, unless it is exactly so already.

        :param dataset_id: Dataset.
        :param wanted: What it shall be.
        :return: Whether it was set; False: nothing had to change. Where the platform's answer hides the secret,
            nothing proves that it is the same, and it is set again.
        """
        from lightly_provider.api import calls

        current = next((d for d in self.get_datasources(dataset_id) if d.purpose == wanted.purpose), None)
        if current is not None and current.same_as(wanted):
            return False
        self.client.send(calls.set_datasource(dataset_id, wanted))
        return True

    def verify_datasource(self, dataset_id: str) -> PermissionLights:
        """Let the platform try what it can do with the dataset's datasource."""
        from lightly_provider.api import calls

        return self.client.send(calls.verify_datasource(dataset_id))

    # --- runs ----------------------------------------------------------------------------------------------------

    def schedule_run(
        self, dataset_id: str, config: WorkerConfig, *, priority: RunPriority, runs_on: Sequence[str] = ()
    ) -> str:
        """
        Schedule a run of the Lightly Worker, exactly once.

        The platform has no idempotency key. So a configuration of its own is stored first, whose id marks this very
        submission: when the answer to the scheduling is lost, the dataset's schedule is searched for that id.

        :param dataset_id: Dataset.
        :param config: The worker's configuration.
        :param priority: Scheduled runs of higher priority are taken first.
        :param runs_on: Labels that a worker must all have to take it; none: any worker.
        :return: The scheduled run's id.
        """
        config_id = self.store_worker_config(config)
        return self.schedule_stored_config(dataset_id, config_id, priority=priority, runs_on=runs_on)

    def store_worker_config(self, config: WorkerConfig) -> str:
        """Store a worker configuration, which does nothing by itself; its id."""
        from lightly_provider.api import calls
        from lightly_provider.api.models.worker_config import WorkerConfigCreateRequest

        return self.client.send(calls.create_worker_config(WorkerConfigCreateRequest(config=config)))

    def schedule_stored_config(
        self, dataset_id: str, config_id: str, *, priority: RunPriority, runs_on: Sequence[str] = ()
    ) -> str:
        """
        Schedule a run of a stored configuration, exactly once if the configuration serves this run alone.

        :param dataset_id: Dataset.
        :param config_id: What :meth:`store_worker_config` returned.
        :param priority: Scheduled runs of higher priority are taken first.
        :param runs_on: Labels that a worker must all have to take it; none: any worker.
        :return: The scheduled run's id.
        """
        from lightly_provider.api import calls
        from lightly_provider.api.models.run import ScheduleRequest

        request = ScheduleRequest(config_id=config_id, priority=priority, runs_on=list(runs_on) or None)
        lost: LightlyApiError
        try:
            return self.client.send(calls.schedule_run(dataset_id, request))
        except LightlyConnectionError as error:
            if not error.maybe_applied:
                raise
            lost = error
        except (LightlyServerError, LightlyResponseError) as error:
            lost = error
        self.log.warning("It is open whether the run was scheduled, looking for it in the schedule: %s", lost)
        found = self.find_scheduled_run(dataset_id, config_id)
        if found is None:
            raise lost
        return found

    def find_scheduled_run(self, dataset_id: str, config_id: str) -> str | None:
        """
        Look for what was scheduled with a configuration: in the dataset's schedule, in all states, and in its runs.

        :param dataset_id: Dataset.
        :param config_id: The configuration.
        :return: The scheduled run's id; None if there is none.
        """
        from lightly_provider.api import calls

        for entry in self.client.send(calls.get_scheduled_runs(dataset_id)):
            if entry.config_id == config_id:
                return entry.id
        for run in self.client.send(calls.list_runs_of_dataset(dataset_id)):
            if run.config_id == config_id and run.scheduled_id:
                return run.scheduled_id
        return None

    def find_equal_run(
        self, dataset_id: str, config: WorkerConfig, *, runs_on: Sequence[str], since: float
    ) -> ScheduledRun | None:
        """
        The dataset's newest scheduled run whose configuration and labels are equal, in whatever state.

        :param dataset_id: Dataset.
        :param config: The worker's configuration.
        :param runs_on: Labels, in any order.
        :param since: Only what was scheduled since then, in seconds since the epoch by the platform's clock.
        :return: The scheduled run; None if there is none.
        """
        from lightly_provider.api import calls

        entries = [
            entry
            for entry in self.client.send(calls.get_scheduled_runs(dataset_id))
            if entry.created_at >= since * 1000 and sorted(entry.runs_on) == sorted(runs_on)
        ]
        for entry in sorted(entries, key=lambda e: e.created_at, reverse=True):
            try:
                stored = self.client.send(calls.get_worker_config(entry.config_id))
            except LightlyNotFoundError:
                continue
            if stored.is_of(config):
                return entry
        return None

    def get_workers(self) -> list[Worker]:
        """The registered workers."""
        from lightly_provider.api import calls

        return self.client.send(calls.list_workers())

    def get_or_register_worker(self, name: str, labels: Sequence[str]) -> WorkerOutcome:
        """
        Find the worker of this name, or register it.

        :param name: The worker's name. The platform answers a second registration of a name with the same id, so that
            neither a lost answer nor two tasks at once make two workers.
        :param labels: Its labels. They are given when a worker is registered, and cannot be changed later
            (https://docs.lightly.ai/docs/assign-scheduled-runs-to-specific-workers).
        :raises LightlyConflictError: A worker of this name is registered with other labels.
        """
        from lightly_provider.api import calls
        from lightly_provider.api.models.run import WorkerRegistration

        existing = next((worker for worker in self.get_workers() if worker.name == name), None)
        if existing is None:
            request = WorkerRegistration(name=name, labels=list(labels) or None)
            return WorkerOutcome(worker_id=self.client.send(calls.register_worker(request)), registered=True)
        if sorted(existing.labels) != sorted(labels):
            raise LightlyConflictError(
                f"Worker {name!r} (id {existing.id}) is registered with the labels {sorted(existing.labels)}, and "
                f"{sorted(labels)} are wanted; a worker's labels cannot be changed, so choose another worker_name or "
                "delete it.",
                operation="register_docker_worker",
            )
        return WorkerOutcome(worker_id=existing.id, registered=False)

    def delete_worker(self, worker_id: str) -> bool:
        """
        Take a worker off the registry. Its container, if one runs, is not stopped by that.

        :param worker_id: The worker's id.
        :return: Whether it was there.
        """
        from lightly_provider.api import calls

        try:
            self.client.send(calls.delete_worker(worker_id))
        except LightlyNotFoundError:
            return False
        return True

    def observe_run(self, dataset_id: str, scheduled_run_id: str) -> tuple[Observation, Run | None]:
        """
        Look where a scheduled run is. One request once a worker took it, two before.

        :param dataset_id: Dataset.
        :param scheduled_run_id: Id that scheduling returned.
        :return: What was seen, and the run if there is one.
        """
        from lightly_provider.api import calls

        try:
            run = self.client.send(calls.get_run_of_scheduled_run(scheduled_run_id))
        except LightlyNotFoundError:
            entries = self.client.send(calls.get_scheduled_runs(dataset_id))
            state = next((entry.state for entry in entries if entry.id == scheduled_run_id), None)
            return Observation(scheduled_state=state), None
        return Observation(run_id=run.id, run_state=run.state, run_message=run.message), run

    def get_run_logs(self, run_id: str, cursor: int = 0) -> LogPage:
        """The run's log lines since ``cursor``, and the next cursor."""
        from lightly_provider.api import calls

        return self.client.send(calls.get_run_logs(run_id, cursor))

    def cancel_scheduled_run(self, dataset_id: str, scheduled_run_id: str) -> str | None:
        """
        Cancel a scheduled run, and look whether it is canceled. The platform can do it only while no worker took it.

        Tried for less than 20 s, as Airflow waits 60 s for a task that it kills before it kills it hard
        (``core.killed_task_cleanup_time``), and 30 s for a trigger (``triggerer.on_kill_timeout``).

        :param dataset_id: Dataset.
        :param scheduled_run_id: Id that scheduling returned.
        :return: The state that the schedule shows afterwards: ``CANCELED`` if it worked, ``LOCKED`` or ``DONE`` if a
            worker took it; None if it is not there any more.
        :raises LightlyApiError: Neither could be found out.
        """
        from lightly_provider.api import calls
        from lightly_provider.api.client import LightlyClient

        settings = self.connection.settings
        hasty = replace(
            settings,
            connect_timeout=min(settings.connect_timeout, 2.0),
            read_timeout=min(settings.read_timeout, 3.0),
            max_attempts=1,
        )
        give_up_at = time.monotonic() + LONGEST_CANCEL - 2 * (hasty.connect_timeout + hasty.read_timeout)
        with closing(LightlyClient(hasty)) as client:
            while True:
                failure: LightlyApiError | None = None
                try:
                    client.send(calls.cancel_scheduled_run(dataset_id, scheduled_run_id))
                except LightlyApiError as error:
                    failure = error
                try:
                    # A refusal may mean that an attempt whose answer was lost did cancel it.
                    entries = client.send(calls.get_scheduled_runs(dataset_id))
                except LightlyApiError as error:
                    failure = failure or error
                else:
                    state = next((entry.state for entry in entries if entry.id == scheduled_run_id), None)
                    if state != ScheduledRunState.OPEN:
                        return state
                if (failure and not isinstance(failure, _MAY_PASS)) or time.monotonic() >= give_up_at:
                    raise failure or LightlyServerError(
                        f"Scheduled run {scheduled_run_id} stays OPEN though the platform took its cancelation.",
                        operation="cancel_scheduled_docker_run_state_by_id",
                    )
                time.sleep(0.5)

    def get_report_sizes(self, run: Run) -> dict[str, int] | None:
        """
        How many samples the run read, dropped and selected, from its report (artifact REPORT_V2_JSON).

        :param run: The completed run.
        :return: ``nInput``, ``nCorrupt``, ``nDuplicate``, ``nRemoved``, ``nSelected`` … as the report names them;
            None if the run left no such report.
        """
        from lightly_provider.api import calls

        artifact = next((a for a in run.artifacts if a.type == "REPORT_V2_JSON"), None)
        if artifact is None:
            return None
        call = calls.get_artifact_url(run.id, artifact.id)
        content = self.client.download(call.operation, self.client.send(call))
        try:
            sizes = json.loads(content)["generalInformation"]["datasetInformation"]["datasetSizes"]
            return {str(name): int(value) for name, value in sizes.items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    # --- tags ----------------------------------------------------------------------------------------------------

    def get_run_tags(self, run_id: str, dataset_id: str) -> list[Tag]:
        """The tags that a run made in this dataset, newest first."""
        from lightly_provider.api import calls

        # A run's tags may lie in several datasets: that of its object crops is another one.
        return [tag for tag in self.client.send(calls.get_run_tags(run_id)) if tag.dataset_id == dataset_id]

    def get_tags(self, dataset_id: str) -> list[Tag]:
        """All tags of a dataset, oldest first."""
        from lightly_provider.api import calls

        tags = self.client.send(calls.get_tags(dataset_id))
        return sorted(tags, key=lambda tag: tag.created_at)

    def get_filenames(self, dataset_id: str, tag_name: str) -> list[str]:
        """
        The filenames of a tag's samples.

        :param dataset_id: Dataset.
        :param tag_name: The tag's name.
        :return: Names relative to the input datasource's path.
        :raises LightlyNotFoundError: The dataset has no such tag.
        """
        from lightly_provider.api import calls

        tags = self.get_tags(dataset_id)
        tag = next((t for t in tags if t.name == tag_name), None)
        if tag is None:
            names = ", ".join(t.name for t in tags) or "none"
            raise LightlyNotFoundError(
                f"Dataset {dataset_id} has no tag {tag_name!r}; its tags: {names}.",
                operation="get_tags_by_dataset_id",
            )
        filenames: list[str] = []
        while True:
            page = self.client.send(calls.export_filenames(dataset_id, tag.id, page_offset=len(filenames)))
            filenames.extend(page)
            if len(page) < calls.PAGE_SIZE:
                return filenames
