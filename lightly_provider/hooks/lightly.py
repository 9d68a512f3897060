"""LightlyHook: the platform's operations through an Airflow connection."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import Any

from lightly_provider.contract import RunState, ScheduledRunState
from lightly_provider.exceptions import (
    LightlyDatasetConflictError,
    LightlyDatasetInUseError,
    LightlyError,
    LightlyNotFoundError,
)
from lightly_provider.foreign_text import shown
from lightly_provider.get_provider_info import CONNECTION_FORM
from lightly_provider.hooks.verbs.datasets import DatasetOutcome, DatasetVerbs, Sharing, SharingOutcome
from lightly_provider.hooks.verbs.datasources import DatasourceVerbs
from lightly_provider.hooks.verbs.own_files import OwnFileVerbs
from lightly_provider.hooks.verbs.runs import RunVerbs
from lightly_provider.hooks.verbs.tag_creation import TagCreationVerbs, TagOutcome
from lightly_provider.hooks.verbs.tags import TagVerbs
from lightly_provider.hooks.verbs.workers import WorkerOutcome, WorkerVerbs

__all__ = ["DatasetOutcome", "LightlyHook", "Sharing", "SharingOutcome", "TagOutcome", "WorkerOutcome"]


class LightlyHook(DatasetVerbs, DatasourceVerbs, OwnFileVerbs, RunVerbs, WorkerVerbs, TagVerbs, TagCreationVerbs):
    """
    Interact with the Lightly platform through an Airflow connection of type ``lightly``.

    The connection's password is the API token; its host is the API's address (default: the public API). Each method
    sends as few requests as possible, repeats only what is safe to repeat, and raises subclasses of
    :class:`~lightly_provider.exceptions.LightlyError`.

    :param lightly_conn_id: Id of the Airflow connection. Default: ``lightly_default``.
    """

    conn_type = CONNECTION_FORM["connection-type"]
    hook_name = CONNECTION_FORM["hook-name"]

    # Defined here, because Airflow before 3.3 looks for the form only in this class, not in its base classes (airflow
    # 2.11.2, providers_manager.py).
    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return the form's standard fields, for Airflow before 3.3; derived from the provider info."""
        behaviour = CONNECTION_FORM["ui-field-behaviour"]
        return {
            "hidden_fields": list(behaviour["hidden-fields"]),
            "relabeling": dict(behaviour["relabeling"]),
            "placeholders": dict(behaviour["placeholders"]),
        }

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form's extra fields, for Airflow before 3.3; derived from the provider info."""
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

    def delete_dataset(self, dataset_id: str, *, confirm_name: str) -> None:
        """
        Delete a dataset with its datasources, samples and tags. The files in the bucket stay.

        :param dataset_id: Id of the dataset.
        :param confirm_name: The dataset's name, as a confirmation. If it is not exactly that, nothing is deleted.
        :raises LightlyNotFoundError: There is no such dataset.
        :raises LightlyDatasetConflictError: The dataset has another name.
        :raises LightlyDatasetInUseError: A run on the dataset is scheduled or running.
        """
        from lightly_provider.api import calls

        dataset = self.get_dataset(dataset_id)
        if dataset.name != confirm_name:
            raise LightlyDatasetConflictError(
                f"Dataset {dataset_id} is called {shown(dataset.name, longest=100)!r}, and confirm_name is "
                f"{shown(confirm_name, longest=100)!r}, so it was not deleted; check which dataset is meant, and give "
                "its name."
            )
        if active := self._active_run(dataset_id):
            raise LightlyDatasetInUseError(
                f"Dataset {confirm_name!r} (id {dataset_id}) was not deleted: {active}; cancel it, or wait until it "
                "has ended."
            )
        try:
            self.client.send(calls.delete_dataset(dataset_id))
        except LightlyNotFoundError:
            # It was there a moment ago: the answer to the first attempt was lost, or somebody else deleted it.
            self.log.info("Dataset %s is gone already.", dataset_id)

    def _active_run(self, dataset_id: str) -> str:
        """Return what is active on the dataset; empty: nothing. An unknown state counts as active."""
        for entry in self.get_scheduled_runs(dataset_id):
            if entry.state not in (ScheduledRunState.DONE, ScheduledRunState.CANCELED):
                return f"scheduled run {entry.id} is {shown(entry.state, longest=100)}"
        # A worker can also start a run without a schedule.
        for run in self.get_runs(dataset_id):
            if (state := RunState.parse(run.state)) is None or not state.is_terminal:
                return f"run {run.id} is {shown(run.state, longest=100)}"
        return ""

    def test_connection(self) -> tuple[bool, str]:
        """
        Test the connection.

        :return: Whether the token works, and a sentence with the token's user or the exact error.
        """
        from lightly_provider.api import calls
        from lightly_provider.api.client import LightlyClient

        try:
            settings = self.connection.settings
            # A user waits at the button, so send each request only once.
            with closing(LightlyClient(replace(settings, max_attempts=1))) as client:
                quota = client.send(calls.get_quota())
                datasets = client.send(calls.list_datasets(page_size=1))
                workers = [] if datasets else client.send(calls.list_workers())
        except LightlyError as error:
            return False, str(error)
        owners = [dataset.user_id for dataset in datasets] + [worker.user_id for worker in workers]
        user = next(filter(None, owners), None)
        # The contract has no "who am I" operation, so read the user from a dataset or worker.
        who = f"as user {shown(user)}" if user else "as a user who owns no dataset and no worker yet"
        return True, f"Connected to {settings.host} {who}; datasets may have up to {quota} samples."
