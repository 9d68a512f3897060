"""Datasets: create one, or find it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from lightly_provider.aws.location import S3Location
from lightly_provider.links import LightlyDatasetLink, push_dataset_link
from lightly_provider.operators.arguments import check_choice, is_static
from lightly_provider.operators.base import LightlyBaseOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

    from lightly_provider.lineage import Moved, Platform

AUTO = "auto"
DATASET_TYPES = ("Images", "Videos")
IF_EXISTS = ("reuse", "fail")

# lightly 1.5.26, models/dataset_create_request.py
_DATASET_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9 _-]{2,}")


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
    :param lightly_conn_id: Airflow connection of type ``lightly``. Default: ``lightly_default``.
    :return: The id of the dataset.
    :raises ValueError: An argument is invalid; or ``auto`` finds neither images nor videos, or as many of both.
    :raises LightlyDatasetConflictError: The name is taken by a dataset of another type, or ``if_exists="fail"``.
    """

    template_fields: Sequence[str] = (
        "lightly_conn_id",
        "dataset_name",
        "dataset_type",
        "resource_path",
        "datasource_aws_conn_id",
        "if_exists",
    )
    operator_extra_links = (LightlyDatasetLink(),)
    ui_color = "#e8f4ff"

    def __init__(
        self,
        *,
        dataset_name: str,
        dataset_type: str = "Images",
        resource_path: str | None = None,
        datasource_aws_conn_id: str = "aws_default",
        if_exists: str = "reuse",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset_name = dataset_name
        self.dataset_type = dataset_type
        self.resource_path = resource_path
        self.datasource_aws_conn_id = datasource_aws_conn_id
        self.if_exists = if_exists
        self._dataset_id: str | None = None
        self.check_arguments()

    def check_arguments(self) -> None:
        """See :meth:`CheckedArguments.check_arguments`."""
        super().check_arguments()
        if is_static(self.dataset_name) and not (
            isinstance(self.dataset_name, str) and _DATASET_NAME.fullmatch(self.dataset_name)
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

    def perform(self, context: Context) -> str:
        """Find or create the dataset."""
        from lightly_provider.contract import DatasetType

        dataset_type = self._type_of_content() if self.dataset_type == AUTO else self.dataset_type
        outcome = self.hook.get_or_create_dataset(
            self.dataset_name, DatasetType(dataset_type), reuse=self.if_exists == "reuse"
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
