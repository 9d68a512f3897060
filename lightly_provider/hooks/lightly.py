"""LightlyHook: the platform's operations through an Airflow connection."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import Any

from lightly_provider.exceptions import LightlyError
from lightly_provider.foreign_text import shown
from lightly_provider.get_provider_info import CONNECTION_FORM
from lightly_provider.hooks.verbs.datasets import DatasetOutcome, DatasetVerbs
from lightly_provider.hooks.verbs.datasources import DatasourceVerbs
from lightly_provider.hooks.verbs.runs import RunVerbs
from lightly_provider.hooks.verbs.tags import TagVerbs
from lightly_provider.hooks.verbs.workers import WorkerOutcome, WorkerVerbs

__all__ = ["DatasetOutcome", "LightlyHook", "WorkerOutcome"]


class LightlyHook(DatasetVerbs, DatasourceVerbs, RunVerbs, WorkerVerbs, TagVerbs):
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
