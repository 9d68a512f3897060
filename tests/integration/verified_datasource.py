"""A dataset with one datasource, the verification's output, and an administrator who applies its fixes."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightly_provider.contract import Purpose
from lightly_provider.exceptions import LightlyPermissionsError
from lightly_provider.operators.dataset import CreateLightlyDatasetOperator
from lightly_provider.operators.datasource import ConfigureS3DatasourceOperator
from lightly_provider.operators.verification import VerifyDatasourcePermissionsOperator
from tests.integration.access_situations import EXTERNAL_ID, Access
from tests.integration.printed_fixes import Administrator

if TYPE_CHECKING:
    import pytest


def name_of(access: Access) -> str:
    return access.principal.rpartition("/")[2]


def key_id_of(access: Access) -> str:
    keys = access.sandbox.aws("iam").list_access_keys(UserName=name_of(access))["AccessKeyMetadata"]
    return str(keys[0]["AccessKeyId"])


_TABLE = re.compile(r"Permissions of dataset '.*' \(id \w+\): [A-Z]+\n((?:(?:datasource| {2}).*\n?)+)")


@dataclass(frozen=True)
class TaskLog:
    """A task's log: written with logging on Airflow 2.11, and to standard output on Airflow 3."""

    caplog: pytest.LogCaptureFixture
    capsys: pytest.CaptureFixture[str]

    def clear(self) -> None:
        """Forget what was written so far."""
        self.caplog.clear()
        self.capsys.readouterr()

    def table(self) -> str:
        """Return the printed table, without the logger's name, which Airflow 3 writes at the end of a message."""
        messages = "\n".join(record.getMessage() for record in self.caplog.records)
        printed = self.capsys.readouterr().out
        said = messages if _TABLE.search(messages) else printed
        (text,) = _TABLE.findall(said)
        return re.sub(r" +\[airflow\.task\S*\].*", "", text)


class Datasource:
    """A dataset with one datasource, and the verification's output."""

    def __init__(
        self,
        access: Access,
        name: str,
        context: dict[str, Any],
        monkeypatch: pytest.MonkeyPatch,
        log: TaskLog,
        *,
        region: str | None = None,
    ) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_BUCKET", access.connection())
        self.access, self._context, self._log = access, context, log
        self._dataset_id = CreateLightlyDatasetOperator(task_id="create", dataset_name=name).execute(context)
        self.configure(region or access.sandbox.region)

    def configure(self, region: str) -> None:
        """Set the datasource."""
        ConfigureS3DatasourceOperator(
            task_id="configure",
            dataset_id=self._dataset_id,
            purpose=str(self.access.purpose),
            resource_path=self.access.uri,
            datasource_aws_conn_id="bucket",
            region=region,
            kms_key_arn=self.access.kms_key_arn,
            **({} if self.access.purpose is Purpose.INPUT else {"generate_thumbnails": True}),
        ).execute(self._context)

    def verify(self) -> tuple[dict[str, Any], str]:
        """The verdict, and the table in the task's log."""
        operator = VerifyDatasourcePermissionsOperator(
            task_id="verify",
            dataset_id=self._dataset_id,
            datasource_aws_conn_id="bucket",
            aws_conn_id="aws_default",
        )
        self._log.clear()
        with self._log.caplog.at_level("INFO"), suppress(LightlyPermissionsError):
            operator.execute(self._context)
        return dict(self._context["ti"].pushed["verdict"]), self._log.table()

    def administrator(self) -> Administrator:
        """The account's administrator, who knows the values of the placeholders."""
        known = {"<external ID of the datasource>": EXTERNAL_ID}
        if self.access.by == "user":
            known["<access key ID of the datasource>"] = key_id_of(self.access)
        return Administrator(self.access.sandbox, self.configure, known)


def lights(verdict: dict[str, Any]) -> dict[str, bool]:
    """Return the platform's lights for the required permissions."""
    return {check["permission"]: check["granted"] for check in verdict["checks"] if check["required"]}


def failed(verdict: dict[str, Any]) -> list[dict[str, Any]]:
    return [check for check in verdict["checks"] if check["required"] and check["status"] != "PASS"]
