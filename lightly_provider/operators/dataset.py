"""Datasets: create one or find it, share it, delete it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from lightly_provider.aws.location import S3Location
from lightly_provider.exceptions import LightlyNotFoundError
from lightly_provider.foreign_text import shown
from lightly_provider.links import LightlyDatasetLink, push_dataset_link
from lightly_provider.operators.arguments import check_choice, check_id, is_static, names_of, quoted
from lightly_provider.operators.base import LightlyBaseOperator
from lightly_provider.operators.map_index import is_mapped, show_dataset_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

    from lightly_provider.lineage import Moved, Platform

AUTO = "auto"
DATASET_TYPES = ("Images", "Videos")
IF_EXISTS = ("reuse", "fail")
IF_MISSING = ("create", "fail")

# lightly 1.5.26, models/dataset_create_request.py
_DATASET_NAME = r"[a-zA-Z0-9][a-zA-Z0-9 _-]{2,}"
# Only distinguishes an address from a name; the platform decides.
_EMAIL = r"[^@\s]+@[^@\s]+"


class CreateLightlyDatasetOperator(LightlyBaseOperator):
    """
    Create a dataset, or find the one of this name.

    Idempotent: a retry, a clear or a second run finds the existing dataset. A lost answer or two tasks at once do not
    create two datasets, because names are unique per owner on the platform.

    :param dataset_name: The dataset's name: at least 3 of letters, digits, space, ``_`` and ``-``, the first a
        letter or digit. Templated.
    :param dataset_type: Content of the bucket: ``Images`` or ``Videos``; or ``auto`` to derive it from the first 1000
        files under ``resource_path``. It cannot be changed later. Default: ``Images``. Templated.
    :param resource_path: ``s3://bucket/prefix/`` with the files; only for ``dataset_type="auto"``. Templated.
    :param datasource_aws_conn_id: AWS connection that lists it, as for ``ConfigureS3DatasourceOperator``: an IAM user's
        keys. A role is Lightly's to assume, so that beside it Airflow needs keys. Only for ``dataset_type="auto"``.
        Default: ``aws_default``. Templated.
    :param if_exists: ``reuse`` the dataset of this name (default), or ``fail``. With ``fail``, a lost answer to the
        creation fails the task as well, because the dataset is there then. Templated.
    :param if_missing: ``create`` a missing dataset (default), or ``fail`` with the nearest names, so that a wrong name
        creates nothing. Templated.
    :param lightly_conn_id: Airflow connection of type ``lightly``. Default: ``lightly_default``. Templated.
    :return: The id of the dataset. An instance of a mapped task also pushes its name as XCom ``dataset_name``.
    :raises ValueError: An argument is invalid; or ``auto`` finds neither images nor videos, or as many of both.
    :raises LightlyDatasetConflictError: The name is taken by a dataset of another type, or ``if_exists="fail"``.
    :raises LightlyNotFoundError: There is no dataset of this name, and ``if_missing="fail"``.
    """

    template_fields: Sequence[str] = (
        "lightly_conn_id",
        "dataset_name",
        "dataset_type",
        "resource_path",
        "datasource_aws_conn_id",
        "if_exists",
        "if_missing",
    )
    operator_extra_links = (LightlyDatasetLink(),)
    custom_operator_name = "Lightly create dataset"
    ui_color = "#e8f4ff"

    def __init__(
        self,
        *,
        dataset_name: str,
        dataset_type: str = "Images",
        resource_path: str | None = None,
        datasource_aws_conn_id: str = "aws_default",
        if_exists: str = "reuse",
        if_missing: str = "create",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset_name = dataset_name
        self.dataset_type = dataset_type
        self.resource_path = resource_path
        self.datasource_aws_conn_id = datasource_aws_conn_id
        self.if_exists = if_exists
        self._dataset_id: str | None = None
        self.if_missing = if_missing
        self.check_arguments()

    def check_arguments(self) -> None:
        """See :meth:`CheckedArguments.check_arguments`."""
        super().check_arguments()
        if is_static(self.dataset_name) and not (
            isinstance(self.dataset_name, str) and re.fullmatch(_DATASET_NAME, self.dataset_name)
        ):
            raise ValueError(
                f"dataset_name is {self.dataset_name!r}, which the platform does not allow; use at least 3 of letters, "
                "digits, spaces, '_' and '-', and begin with a letter or digit (no dots, slashes or umlauts)."
            )
        if is_static(self.dataset_type):
            check_choice(self.dataset_type, (*DATASET_TYPES, AUTO), argument="dataset_type")
            if self.dataset_type == AUTO and not self.resource_path:
                raise ValueError("dataset_type is 'auto' without resource_path; set the path of the files.")
        if self.resource_path and is_static(self.resource_path):
            S3Location.parse(self.resource_path, argument="resource_path")
        if is_static(self.if_exists):
            check_choice(self.if_exists, IF_EXISTS, argument="if_exists")
        if is_static(self.if_missing):
            check_choice(self.if_missing, IF_MISSING, argument="if_missing")
        if self.if_exists == self.if_missing == "fail":
            raise ValueError(
                "if_exists and if_missing are both 'fail', so the task would fail in any case; leave one of them out."
            )

    def name_map_index(self, context: Context) -> None:
        """See :meth:`LightlyBaseOperator.name_map_index`."""
        show_dataset_name(context, self.dataset_name)

    def perform(self, context: Context) -> str:
        """Find or create the dataset."""
        from lightly_provider.contract import DatasetType

        dataset_type = self._type_of_content() if self.dataset_type == AUTO else self.dataset_type
        outcome = self.hook.get_or_create_dataset(
            self.dataset_name,
            DatasetType(dataset_type),
            reuse=self.if_exists == "reuse",
            create=self.if_missing == "create",
        )
        self._dataset_id = outcome.dataset_id
        url = push_dataset_link(context, self.hook.connection.web_url, outcome.dataset_id, waits=False)
        done = "Created" if outcome.created else "Reusing"
        self.log.info(
            "%s dataset %r (%s), id %s: %s",
            done,
            self.dataset_name,
            dataset_type,
            outcome.dataset_id,
            url,
        )
        self.platform.announce_dataset(self, context, outcome.dataset_id)
        if is_mapped(context):
            # Other tasks do not see the arguments of an instance.
            context["ti"].xcom_push(key="dataset_name", value=self.dataset_name)
        return outcome.dataset_id

    def moved(self, platform: Platform) -> Moved | None:
        """See :meth:`DescribedLineage.moved`."""
        from lightly_provider.lineage import Moved, location

        if self._dataset_id is None:
            return None
        read = [location(S3Location.parse(self.resource_path, argument="resource_path"))] if self.resource_path else []
        return Moved(inputs=read, outputs=[platform.dataset(self._dataset_id)])

    def _type_of_content(self) -> str:
        from lightly_provider.aws.bucket import choose_dataset_type, survey
        from lightly_provider.contract import Purpose
        from lightly_provider.diagnosis.diagnose import Vantage, lister_of
        from lightly_provider.diagnosis.target import Target
        from lightly_provider.hooks.aws import AwsConnection, find_bucket_region

        location = S3Location.parse(str(self.resource_path), argument="resource_path")
        if location.warning:
            self.log.warning(location.warning)
        connection = AwsConnection(self.datasource_aws_conn_id)
        region = find_bucket_region(location.bucket, connection)
        target = Target(location=location, access="", purpose=Purpose.INPUT, region=region)
        inventory = survey(lister_of(target, Vantage(connection=connection)), location)
        chosen = choose_dataset_type(inventory, location)
        self.log.info("%s contains %s; dataset type: %s", location, inventory.describe(), chosen)
        return str(chosen)


class ShareLightlyDatasetOperator(LightlyBaseOperator):
    """
    Share a dataset with users and teams, in addition to those it is shared with.

    The platform can only replace the whole list. The operator reads it, adds, writes it, and reads it again, so that
    nobody loses access by accident. A retry or a clear changes nothing that is up to date.

    :param dataset_id: Id of the dataset; the token's user must own it. Templated.
    :param emails: Email addresses of users, as they log in. None (default): none. Templated.
    :param teams: Teams. None (default): none. Templated.
    :param replace: Share with these ``emails`` and ``teams`` only; everybody else loses access. Default: False.
    :param share_with_nobody: Take the access away from everybody but the owner; instead of the other arguments.
        Default: False.
    :param lightly_conn_id: Airflow connection of type ``lightly``. Default: ``lightly_default``. Templated.
    :return: ``{"emails", "teams", "added", "removed"}``: whom the dataset is shared with now, and which email addresses
        and teams are new or gone.
    :raises ValueError: An argument is invalid, or nobody is given.
    :raises LightlyNotFoundError: There is no such dataset.
    :raises LightlyResponseError: The platform accepted the list, and does not return it.
    """

    template_fields: Sequence[str] = ("lightly_conn_id", "dataset_id", "emails", "teams")
    operator_extra_links = (LightlyDatasetLink(),)
    custom_operator_name = "Lightly share dataset"
    ui_color = "#e8f4ff"

    def __init__(
        self,
        *,
        dataset_id: str,
        emails: Sequence[str] | None = None,
        teams: Sequence[str] | None = None,
        replace: bool = False,
        share_with_nobody: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.emails = emails
        self.teams = teams
        self.replace = replace
        self.share_with_nobody = share_with_nobody
        # Before Airflow renders them: a template that renders to nothing is not the same as an argument left out.
        self._given = {name for name in ("emails", "teams") if getattr(self, name) is not None}
        self.check_arguments()

    def check_arguments(self) -> None:
        """See :meth:`CheckedArguments.check_arguments`."""
        super().check_arguments()
        if is_static(self.dataset_id):
            check_id(self.dataset_id, argument="dataset_id")
        if self.share_with_nobody:
            if self._given or self.replace:
                raise ValueError(
                    "share_with_nobody is True with emails, teams or replace; give whom to share the dataset with or "
                    "share_with_nobody, and not both."
                )
            return
        if not self._given:
            raise ValueError(
                "Neither emails nor teams are given; give whom to share the dataset with, or share_with_nobody=True."
            )
        for argument in sorted(self._given):
            if is_static(value := getattr(self, argument)):
                names = names_of(value, argument=argument)
                if argument == "emails" and (wrong := [name for name in names if not re.fullmatch(_EMAIL, name)]):
                    raise ValueError(f"emails has {quoted(wrong[0])}; give email addresses, e.g. 'ann@example.com'.")

    def perform(self, context: Context) -> dict[str, Any]:
        """Share it."""
        push_dataset_link(context, self.hook.connection.web_url, self.dataset_id, waits=False)
        outcome = self.hook.share_dataset(
            self.dataset_id,
            emails=self.emails or (),
            teams=self.teams or (),
            replace=self.replace or self.share_with_nobody,
        )
        added, removed = ([*each.emails, *each.teams] for each in (outcome.added, outcome.removed))
        self.log.info(
            "Dataset %s is shared with %d users and %d teams; added: %s; removed: %s",
            self.dataset_id,
            len(outcome.now.emails),
            len(outcome.now.teams),
            ", ".join(map(shown, added)) or "-",
            ", ".join(map(shown, removed)) or "-",
        )
        return {
            "emails": list(outcome.now.emails),
            "teams": list(outcome.now.teams),
            "added": added,
            "removed": removed,
        }


class DeleteLightlyDatasetOperator(LightlyBaseOperator):
    """
    Delete a dataset with its datasources, samples and tags. The files in the bucket stay.

    Nothing is deleted unless ``confirm_name`` is exactly the dataset's name, nor while a run on the dataset is
    scheduled or running. It cannot be undone.

    :param dataset_id: Id of the dataset; the token's user must own it. Templated.
    :param confirm_name: The dataset's name, as a confirmation that this is the dataset which is meant. Templated.
    :param ignore_if_missing: Succeed if there is no such dataset, e.g. because an earlier try deleted it. Default:
        False, so that a wrong id is noticed. Templated.
    :param lightly_conn_id: Airflow connection of type ``lightly``. Default: ``lightly_default``. Templated.
    :return: Whether the dataset existed.
    :raises ValueError: An argument is invalid.
    :raises LightlyDatasetConflictError: The dataset has another name.
    :raises LightlyDatasetInUseError: A run on the dataset is scheduled or running.
    :raises LightlyNotFoundError: There is no such dataset, and ``ignore_if_missing`` is False.
    """

    template_fields: Sequence[str] = ("lightly_conn_id", "dataset_id", "confirm_name", "ignore_if_missing")
    custom_operator_name = "Lightly delete dataset"
    ui_color = "#e8f4ff"

    def __init__(self, *, dataset_id: str, confirm_name: str, ignore_if_missing: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.confirm_name = confirm_name
        self.ignore_if_missing = ignore_if_missing
        self.check_arguments()

    def check_arguments(self) -> None:
        """See :meth:`CheckedArguments.check_arguments`."""
        super().check_arguments()
        if is_static(self.dataset_id):
            check_id(self.dataset_id, argument="dataset_id")
        if is_static(self.confirm_name) and not self.confirm_name.strip():
            raise ValueError(f"confirm_name is {self.confirm_name!r}; give the name of the dataset to delete.")

    def name_map_index(self, context: Context) -> None:
        """See :meth:`LightlyBaseOperator.name_map_index`."""
        show_dataset_name(context, self.confirm_name)

    def perform(self, context: Context) -> bool:
        """Delete it."""
        try:
            self.hook.delete_dataset(self.dataset_id, confirm_name=self.confirm_name)
        except LightlyNotFoundError:
            if not self.ignore_if_missing:
                raise
            self.log.info("Dataset %s does not exist.", self.dataset_id)
            return False
        self.log.info(
            "Dataset %r, id %s, was deleted; its files in the bucket stay.", self.confirm_name, self.dataset_id
        )
        return True
