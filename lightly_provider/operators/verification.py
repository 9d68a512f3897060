"""Verify Lightly's permissions on a dataset's datasources: by the platform's check, and from this worker."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from lightly_provider.exceptions import LightlyPermissionsError
from lightly_provider.foreign_text import shown, storable
from lightly_provider.links import LightlyDatasetLink, push_dataset_link
from lightly_provider.operators.arguments import check_choice, check_id, is_static, seconds_of
from lightly_provider.operators.base import LightlyBaseOperator, failing_for_good
from lightly_provider.operators.earlier_xcom import pushed_before

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

    from lightly_provider.api.models.dataset import Dataset
    from lightly_provider.api.models.datasource import Datasource, PermissionLights
    from lightly_provider.contract import Permission
    from lightly_provider.diagnosis.failures import Failure
    from lightly_provider.diagnosis.findings import Finding
    from lightly_provider.diagnosis.target import Target
    from lightly_provider.hooks.aws import AwsConnections
    from lightly_provider.verification.requirements import DatasetUse
    from lightly_provider.verification.verdict import Verdict

# AWS docs: IAM, troubleshooting: a change needs some time to be seen everywhere; a minute covers what is reported.
PROPAGATION_SECONDS = 60.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 2.0, 15.0
_XCOM_KEY = "verdict"
# Tasks that may have granted something in this very DAG run; by name, as this module need not import theirs.
_GRANTING = frozenset(
    {"CreateLightlyAccessRoleOperator", "CreateLightlyAccessUserOperator", "RotateLightlyAccessOperator"}
)


class VerifyDatasourcePermissionsOperator(LightlyBaseOperator):
    """
    Verify what Lightly may do in the dataset's datasources, and fail if a permission that this use requires is missing.

    The log has the verdict as a table: what Lightly reports and, with an AWS connection, what this worker sees. A
    failure names the permission, the bucket and prefix, the cause, and the statement to add. Sends three requests to
    the platform, and one more for each further try.

    :param dataset_id: Id of the dataset, e.g. ``create_dataset.output``. Templated.
    :param require: Permissions that the datasources must grant, of ``list``, ``read``, ``write`` and ``overwrite``; or
        ``auto`` (default), what this use of the dataset needs: list and read always; write and overwrite where Lightly
        writes, that is on LIGHTLY, and on INPUT_OUTPUT for thumbnails, videos and crops. Templated.
    :param datasource_aws_conn_id: AWS connection that holds what Lightly uses, as in ``ConfigureS3DatasourceOperator``.
        With an IAM user's keys, this worker tries the same operations, and deletes what it writes. With a role, it
        inspects the role. None (default): this worker tries nothing. Templated.
    :param output_aws_conn_id: The same for the datasource of purpose LIGHTLY. None (default): the same connection.
        Templated.
    :param aws_conn_id: AWS connection of Airflow's own identity, to inspect a role (``iam:GetRole``,
        ``iam:SimulatePrincipalPolicy``) and its bucket. None (default): the keys that are stored with the role in
        ``datasource_aws_conn_id``, if any. Templated.
    :param object_level: Whether runs cut crops of objects out of the images. Default: False.
    :param relevant_filenames: Whether runs are restricted to a file of filenames. Default: False.
    :param bypass_verify: Whether the Lightly Worker runs inside a closed network with ``datasource.bypass_verify``, so
        that Lightly itself needs to list only. Default: False.
    :param require_files: Whether the task fails if no file of the dataset's type can be read under the input, or if
        nothing could look for one. Needs ``datasource_aws_conn_id`` or ``aws_conn_id``. Default: False, a warning in
        the log.
    :param propagation_timeout: How long a denial is tried again, in seconds or as a timedelta, because access that was
        just granted takes effect within about a minute. None (default): 60 s if a task before this one created, changed
        or rotated access in the same DAG run, else one try. 0: one try. An explicit deny is never tried again.
    :param on_failure: ``fail`` the task (default), ``skip`` it and what follows, or ``warn`` in the log and go on.
        An AWS connection that is missing or not usable fails the task in any case. Templated.
    :param deferrable: Whether a wait of more than 60 s gives the worker's slot back. Default: Airflow's
        ``operators.default_deferrable``.
    :param lightly_conn_id: Airflow connection of type ``lightly``. Default: ``lightly_default``. Templated.
    :return: The verdict: ``{"dataset_id", "ok", "status", "checks": [...], "from_this_worker": [...], "dataset_name",
        "changes": [...]}``. It is also pushed as XCom ``verdict``, even if the task fails; ``changes`` lists what
        differs from the previous run.
    :raises ValueError: An argument or an AWS connection is invalid, or the dataset has no datasource in S3.
    :raises LightlyPermissionsError: Something required is missing, and ``on_failure`` is ``fail``.
    """

    template_fields: Sequence[str] = (
        "lightly_conn_id",
        "dataset_id",
        "require",
        "datasource_aws_conn_id",
        "output_aws_conn_id",
        "aws_conn_id",
        "on_failure",
    )
    operator_extra_links = (LightlyDatasetLink(),)
    custom_operator_name = "Lightly verify permissions"
    ui_color = "#e9fbe9"

    def __init__(
        self,
        *,
        dataset_id: str,
        require: str | Sequence[str] = "auto",
        datasource_aws_conn_id: str | None = None,
        output_aws_conn_id: str | None = None,
        aws_conn_id: str | None = None,
        object_level: bool = False,
        relevant_filenames: bool = False,
        bypass_verify: bool = False,
        require_files: bool = False,
        propagation_timeout: float | timedelta | None = None,
        on_failure: str = "fail",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.require = require
        self.datasource_aws_conn_id = datasource_aws_conn_id
        self.output_aws_conn_id = output_aws_conn_id
        self.aws_conn_id = aws_conn_id
        self.object_level = object_level
        self.relevant_filenames = relevant_filenames
        self.bypass_verify = bypass_verify
        self.require_files = require_files
        self.propagation_timeout = propagation_timeout
        self.on_failure = on_failure
        self.deferrable = deferrable
        self.check_arguments()

    def check_arguments(self) -> None:
        """See :meth:`CheckedArguments.check_arguments`."""
        super().check_arguments()
        if is_static(self.dataset_id):
            check_id(self.dataset_id, argument="dataset_id")
        if is_static(self.require):
            from lightly_provider.verification.requirements import check_require

            check_require(self.require)
        if self.propagation_timeout is not None:
            seconds_of(self.propagation_timeout, argument="propagation_timeout", zero_allowed=True)
        if is_static(self.on_failure):
            check_choice(self.on_failure, ("fail", "skip", "warn"), argument="on_failure")
        if self.require_files and not self.datasource_aws_conn_id and not self.aws_conn_id:
            raise ValueError(
                "require_files=True needs an AWS connection to look with; set datasource_aws_conn_id or aws_conn_id."
            )

    def perform(self, context: Context) -> dict[str, Any]:
        """Verify, and try again while a grant may still be propagating."""
        started, granted = time.time(), self._granted_in_this_run(context)
        patience = self._patience(granted)
        push_dataset_link(context, self.hook.connection.web_url, self.dataset_id, waits=patience > 0)
        return self._verify_until(context, started, patience, granted)

    def resume(
        self, context: Context, event: Any, started: float, patience: float, granted: float | None = None
    ) -> dict[str, Any]:
        """
        Continue after a pause in the triggerer.

        :param context: The task's context.
        :param event: The trigger's event; it only says that the time is over.
        :param started: When the first try was, in seconds since 1970.
        :param patience: For how many seconds after that a denial is tried again.
        :param granted: When access was granted in this DAG run, in seconds since 1970; None: not in this one.
        """
        self.log.debug("Continuing after the pause: %s", event)
        with failing_for_good():
            self.name_map_index(context)
            return self._verify_until(context, started, patience, granted, _LONGEST_PAUSE_S)

    def _verify_until(
        self,
        context: Context,
        started: float,
        patience: float,
        granted: float | None,
        pause: float = _FIRST_PAUSE_S,
    ) -> dict[str, Any]:
        dataset, datasources, n_left_out = self._read()
        self._dataset_name = dataset.name
        while True:
            verdict = self._look(dataset, datasources, n_left_out)
            left = started + patience - time.time()
            # The time of the grant may come from another machine's clock.
            age = time.time() - (started if granted is None else min(started, granted))
            if verdict.ok or left <= 0 or not verdict.is_transient:
                return self._conclude(context, verdict, age if patience else None)
            self.log.info(
                "Denied, but it may still be propagating (age %.0f s); trying again for %.0f s: %s",
                age,
                left,
                ", ".join(f"{check.subject} in {check.datasource.purpose}" for check in verdict.failed),
            )
            wait = min(pause, left)
            pause = min(pause * 2, _LONGEST_PAUSE_S)
            if self.deferrable and patience > PROPAGATION_SECONDS and wait >= _LONGEST_PAUSE_S:
                self._defer_for(wait, started, patience, granted)
            time.sleep(wait)

    def _defer_for(self, seconds: float, started: float, patience: float, granted: float | None) -> None:
        from lightly_provider.triggers.verification import DateTimeTrigger

        self.defer(
            trigger=DateTimeTrigger(datetime.now(UTC) + timedelta(seconds=seconds)),
            method_name="resume",
            kwargs={"started": started, "patience": patience, "granted": granted},
        )

    def _conclude(self, context: Context, verdict: Verdict, age: float | None) -> dict[str, Any]:
        from lightly_provider.diagnosis.findings import Status
        from lightly_provider.verification.report import changes_between, failure_message, table

        self.log.info(
            "Permissions of dataset %r (id %s): %s\n%s",
            shown(self._dataset_name, longest=200),
            self.dataset_id,
            verdict.status,
            table(verdict),
        )
        for check in verdict.from_this_worker:
            if check.subject == "content" and check.status is not Status.PASS:
                self.log.warning(
                    "%s of dataset %r: %s", check.datasource.purpose, shown(self._dataset_name), shown(check.message)
                )
        for check in verdict.checks:
            if check.is_explained:
                self.log.warning("%s in %s: %s", check.subject, check.datasource.purpose, shown(check.message))
        self._measure(verdict)
        result = verdict.as_dict()
        result["dataset_name"] = storable(self._dataset_name)
        earlier = pushed_before(context["ti"], _XCOM_KEY)
        result["changes"] = changes_between(earlier if isinstance(earlier, dict) else None, result)
        for change in result["changes"]:
            self.log.warning("Changed since the last verdict: %s", change)
        context["ti"].xcom_push(key=_XCOM_KEY, value=result)
        if verdict.ok:
            return result
        note = f"It may still be propagating (age {age:.0f} s)." if age and verdict.is_transient else ""
        message = failure_message(verdict, self._dataset_name, note=note)
        if self.on_failure == "skip":
            from airflow.providers.common.compat.sdk import AirflowSkipException

            raise AirflowSkipException(message)
        if self.on_failure == "warn":
            self.log.warning(message)
            return result
        raise LightlyPermissionsError(message)

    def _measure(self, verdict: Verdict) -> None:
        from lightly_provider import metrics

        connection = self.lightly_conn_id
        metrics.count(metrics.VERDICTS, connection=connection, status=str(verdict.status))
        for cause in {str(check.cause or "unknown") for check in verdict.failed}:
            metrics.count(metrics.VERDICT_CAUSES, connection=connection, cause=cause)

    def _patience(self, granted: float | None) -> float:
        if self.propagation_timeout is not None:
            return seconds_of(self.propagation_timeout, argument="propagation_timeout", zero_allowed=True)
        return 0.0 if granted is None else PROPAGATION_SECONDS

    def _granted_in_this_run(self, context: Context) -> float | None:
        """When the tasks before this one last created or changed access, as their own results say; None if none did."""
        if not self.has_dag():  # type: ignore[no-untyped-call]
            return None
        times = []
        for task in self.get_flat_relatives(upstream=True):
            if type(task).__name__ in _GRANTING or getattr(task, "task_type", None) in _GRANTING:
                times += [
                    datetime.fromisoformat(outcome["changed_at"]).timestamp()
                    for outcome in self._outcomes_of(task, context["ti"])
                    if isinstance(outcome, dict) and outcome.get("changed_at")
                ]
        return max(times, default=None)

    @cached_property
    def _connections(self) -> AwsConnections:
        from lightly_provider.hooks.aws import AwsConnections

        return AwsConnections()

    def _outcomes_of(self, task: Any, ti: Any) -> list[Any]:
        """The results of a task before this one: in the same mapped task group that of the same index, else all."""
        group = self.get_closest_mapped_task_group() if ti.map_index >= 0 else None
        if group is not None and task.get_closest_mapped_task_group() is group:
            return [ti.xcom_pull(task_ids=task.task_id, map_indexes=ti.map_index)]
        pulled = ti.xcom_pull(task_ids=task.task_id)
        return [pulled] if isinstance(pulled, dict) else list(pulled or [])

    def _read(self) -> tuple[Dataset, list[Datasource], int]:
        """Return the dataset, the datasources to verify, and the number of those that cannot be verified."""
        from lightly_provider.contract import Purpose

        dataset = self.hook.get_dataset(self.dataset_id)
        datasources, left_out = [], []
        for datasource in self.hook.get_datasources(self.dataset_id):
            # What is not in S3, or serves a purpose that this version does not know, has no rules here.
            if datasource.type.startswith("S3") and datasource.purpose in list(Purpose):
                datasources.append(datasource)
            else:
                left_out.append(f"{shown(datasource.purpose, longest=50)} of type {shown(datasource.type, longest=50)}")
        if left_out and not datasources:
            raise ValueError(
                f"Dataset {self.dataset_id} has no datasource in S3 of a known purpose, so there is nothing to "
                f"verify; it has {', '.join(left_out)}."
            )
        if left_out:
            self.log.warning("Only datasources in S3 are verified, so these are not: %s", ", ".join(left_out))
        return dataset, datasources, len(left_out)

    def _look(self, dataset: Dataset, datasources: Sequence[Datasource], n_left_out: int) -> Verdict:
        from lightly_provider.contract import Purpose
        from lightly_provider.verification.judging import judge
        from lightly_provider.verification.requirements import DatasetUse, required_of
        from lightly_provider.verification.verdict import target_of

        use = DatasetUse(
            dataset.type,
            object_level=self.object_level,
            relevant_filenames=self.relevant_filenames,
            bypass_verify=self.bypass_verify,
        )
        # First, because the platform's text may name the policy to read.
        lights = self.hook.verify_datasource(self.dataset_id) if datasources else None
        targets, findings = [], {}
        purposes = [Purpose(datasource.purpose) for datasource in datasources]
        for datasource in datasources:
            target = target_of(datasource)
            required = required_of(use, target.purpose, target.thumbnails, purposes, self.require)
            seen, target = self._diagnose(datasource, target, required, use, lights)
            targets.append(target)
            findings[target.purpose] = seen
        return judge(self.dataset_id, use, targets, lights, self.require, findings, n_others=n_left_out)

    def _diagnose(
        self,
        datasource: Datasource,
        target: Target,
        required: frozenset[Permission],
        use: DatasetUse,
        lights: PermissionLights | None,
    ) -> tuple[list[Finding], Target]:
        # A template may render to nothing.
        conn_id, own_conn_id = self.datasource_aws_conn_id or None, self.aws_conn_id or None
        if target.purpose == "LIGHTLY" and self.output_aws_conn_id:
            conn_id = self.output_aws_conn_id
        if conn_id is None and own_conn_id is None:
            return [], target
        from lightly_provider.diagnosis.diagnose import Vantage, diagnose
        from lightly_provider.verification.judging import failures_reported

        reported: Sequence[Failure] = tuple(failures_reported(lights).values()) if lights else ()
        vantage = Vantage(
            connection=self._connections[conn_id] if conn_id else None,
            own=self._connections[own_conn_id] if own_conn_id else None,
            platform_is_local=self.hook.connection.is_local,
            require_files=self.require_files,
        )
        return diagnose(
            target,
            required,
            use.dataset_type,
            vantage,
            access_key_id=datasource.s3_access_key_id,
            external_id=datasource.s3_external_id,
            reported=reported,
        )
