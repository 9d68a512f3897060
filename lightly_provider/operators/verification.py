"""Verification: let Lightly try what it may do in a dataset's datasources."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from lightly_provider.aws.credentials import DelegatedAccess, UserAccess
from lightly_provider.aws.location import S3Location
from lightly_provider.aws.policies import Permission, Purpose
from lightly_provider.aws.regions import partition_of
from lightly_provider.exceptions import LightlyPermissionsError
from lightly_provider.links import LightlyDatasetLink, push_dataset_link
from lightly_provider.operators.arguments import check_choice, check_id, is_static, seconds_of
from lightly_provider.operators.base import LightlyBaseOperator
from lightly_provider.verification import DatasourceFacts, Lights, check_require, judge

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from airflow.providers.common.compat.sdk import Context

    from lightly_provider.api.models.datasource import Datasource, PermissionLights
    from lightly_provider.verification import Verdict


class VerifyDatasourcePermissionsOperator(LightlyBaseOperator):
    """
    Let Lightly try what it may do in the dataset's datasources, and fail if something that this use needs is missing.

    The log has the verdict as a table. A failure names the permission, the bucket and prefix, and the IAM
    statement to add.

    :param dataset_id: Dataset. Templated.
    :param require: Permissions that the datasources must grant, of ``list``, ``read``, ``write`` and ``overwrite``; or
        ``auto`` (default), what this use of the dataset needs: list and read always; write and overwrite where Lightly
        writes, that is on LIGHTLY, and on INPUT_OUTPUT for thumbnails and videos. Templated.
    :param propagation_timeout: For how long a denial is tried again, in seconds or as a timedelta, because access
        that was granted a moment ago takes effect within about a minute. Default: 0, one try.
    :param on_failure: ``fail`` the task (default), ``skip`` it and what follows, or ``warn`` in the log and go on.
    :param lightly_conn_id: Airflow connection of type ``lightly``. Default: ``lightly_default``.
    :return: The verdict: ``{"dataset_id", "ok", "checks": [...]}``. It is pushed as XCom ``verdict`` as well, also when
        the task fails.
    :raises ValueError: An argument cannot be right.
    :raises LightlyPermissionsError: Something required is missing, and ``on_failure`` is ``fail``.
    """

    template_fields: Sequence[str] = ("lightly_conn_id", "dataset_id", "require", "on_failure")
    operator_extra_links = (LightlyDatasetLink(),)
    ui_color = "#e9fbe9"

    def __init__(
        self,
        *,
        dataset_id: str,
        require: str | Sequence[str] = "auto",
        propagation_timeout: float | timedelta = 0.0,
        on_failure: str = "fail",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.require = require
        self.propagation_timeout = propagation_timeout
        self.on_failure = on_failure
        self.check_arguments()

    def check_arguments(self) -> None:
        """See :meth:`LightlyBaseOperator.check_arguments`."""
        if is_static(self.dataset_id):
            check_id(self.dataset_id, argument="dataset_id")
        if is_static(self.require):
            check_require(self.require)
        seconds_of(self.propagation_timeout, argument="propagation_timeout", zero_allowed=True)
        if is_static(self.on_failure):
            check_choice(self.on_failure, ("fail", "skip", "warn"), argument="on_failure")

    def perform(self, context: Context) -> dict[str, Any]:
        """Verify, again and again while the grant may still be on its way."""
        push_dataset_link(context, self.hook.connection.web_url, self.dataset_id)
        verdict = self._verdict_within_propagation()
        self.log.info("What Lightly may do in dataset %s:\n%s", self.dataset_id, verdict.table())
        result = verdict.as_dict()
        context["ti"].xcom_push(key="verdict", value=result)
        if verdict.ok:
            return result
        if self.on_failure == "skip":
            from airflow.providers.common.compat.sdk import AirflowSkipException

            raise AirflowSkipException(verdict.failure_message())
        if self.on_failure == "warn":
            self.log.warning(verdict.failure_message())
            return result
        raise LightlyPermissionsError(verdict.failure_message())

    def _verdict_within_propagation(self) -> Verdict:
        dataset = self.hook.get_dataset(self.dataset_id)
        # What is not in S3, or serves a purpose that this version does not know, has no rules here.
        datasources = [
            _facts(datasource)
            for datasource in self.hook.get_datasources(self.dataset_id)
            if datasource.type.startswith("S3") and datasource.purpose in list(Purpose)
        ]
        patience = seconds_of(self.propagation_timeout, argument="propagation_timeout", zero_allowed=True)
        deadline = time.monotonic() + patience
        pause = 2.0
        while True:
            lights = _lights(self.hook.verify_datasource(self.dataset_id))
            verdict = judge(self.dataset_id, dataset.type, datasources, lights, self.require)
            left = deadline - time.monotonic()
            if verdict.ok or left <= 0:
                return verdict
            self.log.info("Denied, which may be a grant still on its way; trying again for %.0f s.", left)
            time.sleep(min(pause, left))
            pause = min(pause * 2, 15.0)


def _facts(datasource: Datasource) -> DatasourceFacts:
    access: UserAccess | DelegatedAccess
    if datasource.s3_arn:
        access = DelegatedAccess(datasource.s3_arn, datasource.s3_external_id or "")
    else:
        access = UserAccess(datasource.s3_access_key_id or "", datasource.s3_secret_access_key or "")
    return DatasourceFacts(
        purpose=Purpose(datasource.purpose),
        location=S3Location.from_stored(datasource.full_path),
        access=access.describe(),
        thumbnails=bool(datasource.thumb_suffix),
        kms_key_arn=datasource.kms_key_arn,
        partition=partition_of(datasource.s3_region or ""),
    )


def _lights(answer: PermissionLights) -> Lights:
    errors = {
        Permission.LIST: answer.errors.can_list,
        Permission.READ: answer.errors.can_read,
        Permission.WRITE: answer.errors.can_write,
        Permission.OVERWRITE: answer.errors.can_overwrite,
    }
    return Lights(
        list=answer.can_list,
        read=answer.can_read,
        write=answer.can_write,
        overwrite=answer.can_overwrite,
        errors={permission: text for permission, text in errors.items() if text},
    )
