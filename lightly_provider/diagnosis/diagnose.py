"""What this worker can see of a datasource: makes the AWS clients, and lets the probes and the inspection look."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lightly_provider.aws.bucket import S3Lister, expected_kind
from lightly_provider.aws.credentials import DelegatedAccess, InvalidAccessError, UserAccess
from lightly_provider.contract import Permission, Purpose
from lightly_provider.diagnosis.content import check_content
from lightly_provider.diagnosis.findings import Finding, Status
from lightly_provider.diagnosis.remedies import Remedy
from lightly_provider.diagnosis.up_front import judge_up_front
from lightly_provider.exceptions import LightlyConnectionConfigError
from lightly_provider.hooks.aws import AwsConnection, Identity

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from lightly_provider.diagnosis.failures import Failure
    from lightly_provider.diagnosis.target import Target

# A probe answers at once or not at all.
_CONFIG: Mapping[str, Any] = {"connect_timeout": 5, "read_timeout": 15, "retries": {"total_max_attempts": 2}}


@dataclass(frozen=True, kw_only=True)
class Vantage:
    """
    With what this worker looks, and for what.

    :param connection: AWS connection that holds what Lightly uses; None: nothing is tried with it.
    :param own: AWS connection of Airflow's own, to look at a role and into the bucket; None: the keys beside the role
        in ``connection``, if there are any.
    :param platform_is_local: Whether the platform runs on this machine, so that another S3 than AWS's may do.
    :param require_files: Whether a location without a file of the dataset's type fails.
    """

    connection: AwsConnection | None
    own: AwsConnection | None = None
    platform_is_local: bool = False
    require_files: bool = False


def diagnose(
    target: Target,
    required: Collection[Permission],
    dataset_type: str,
    vantage: Vantage,
    *,
    access_key_id: str | None = None,
    reported: Collection[Failure] = (),
) -> tuple[list[Finding], Target]:
    """
    Look at one datasource from this worker.

    With user access the same keys do what Lightly needs to do. With delegated access the role is looked at with
    Airflow's own identity, as only Lightly can assume it.

    :param target: The datasource's location, and who reaches it.
    :param required: The permissions that are needed there; no other is tried.
    :param dataset_type: The dataset's type on the platform.
    :param vantage: With what to look, and for what.
    :param access_key_id: The key that the platform has, for user access; None if it is not known.
    :param reported: What the platform says that AWS refused to it.
    :return: What was found, and ``target`` with the ARN of the IAM user and the policies that deny, as far as they are
        known now. Empty where there is nothing to look with.
    """
    connection = vantage.connection
    if connection is None:
        if target.role_arn and vantage.own:
            seen, target = _inspect(target, required, dataset_type, vantage, reported, external_id=None)
            return [*_up_front(target, vantage, vantage.own, Identity.OWN), *seen], target
        return [], target
    try:
        access = connection.access
    except (InvalidAccessError, LightlyConnectionConfigError) as refused:
        return [Finding("credentials", Status.FAIL, str(refused))], target
    if other := _is_another(access, target, access_key_id, connection):
        seen = []
        if target.role_arn and vantage.own:
            seen, target = _inspect(target, required, dataset_type, vantage, reported, external_id=None)
        return [other, *seen], target
    key_id = access.access_key_id if isinstance(access, UserAccess) else None
    identity = Identity.KEYS if connection.has_keys else Identity.NOBODY
    findings = _up_front(target, vantage, connection, identity, access_key_id=key_id)
    if isinstance(access, DelegatedAccess):
        seen, target = _inspect(target, required, dataset_type, vantage, reported, external_id=access.external_id)
        return [*findings, *seen], target
    probed, target = _probe(target, required, dataset_type, vantage, connection)
    failures = [finding.failure for finding in probed if finding.failure and finding.status is Status.FAIL]
    if any(failure.is_traceable for failure in [*failures, *reported]) and (
        own := _own_clients(vantage, target.region)
    ):
        target = _with_surroundings([*failures, *reported], target, own, access_key_id=access.access_key_id)
    return [*findings, *probed], target


def count_files(target: Target, vantage: Vantage) -> Finding:
    """
    Count all files of a location, however many, folder beside folder.

    :param target: Where.
    :param vantage: With what to list.
    :return: The counts; UNKNOWN where listing is denied.
    """
    from lightly_provider.aws.bucket import count_all
    from lightly_provider.diagnosis.failures import failure_of

    try:
        inventory = count_all(lister_of(target, vantage), target.location)
    except Exception as raised:  # noqa: BLE001  (whatever botocore raises is the finding)
        failure = failure_of(raised)
        message = f"not listed: {failure.text or failure.cause}"
        return Finding("count", Status.UNKNOWN, message, failure, Remedy())
    return Finding("count", Status.PASS, inventory.describe(), counts=inventory.numbers())


def lister_of(target: Target, vantage: Vantage) -> S3Lister:
    """
    What lists a location from this worker.

    :param target: Where.
    :param vantage: With what: the keys that Lightly uses, or Airflow's own identity.
    :raises InvalidAccessError: There is no identity to list with.
    """
    connection = vantage.connection
    if connection and not vantage.own and isinstance(connection.access, UserAccess):
        return S3Lister(_client("s3", connection, target.region), target.location.bucket)
    own = _own_clients(vantage, target.region)
    if own is None:
        raise InvalidAccessError(
            f"{connection.name if connection else 'The datasource'} holds a role that only Lightly can assume, so "
            f"nothing can list {target.location.uri} from here; give aws_conn_id, a connection of Airflow's own."
        )
    return S3Lister(own["s3"], target.location.bucket)


def _is_another(
    access: UserAccess | DelegatedAccess, target: Target, access_key_id: str | None, connection: AwsConnection
) -> Finding | None:
    """What another access can or cannot do says nothing about Lightly's."""
    if isinstance(access, DelegatedAccess):
        same = access.role_arn == target.role_arn
    else:
        same = target.role_arn is None and access_key_id in (None, access.access_key_id)
    if same:
        return None
    return Finding(
        "connection",
        Status.WARN,
        f"{connection.name} holds {access.describe()}, and the datasource uses {target.access}, so nothing was tried",
        remedy=Remedy(("Run ConfigureS3DatasourceOperator again if the connection is the newer one.",)),
    )


def _probe(
    target: Target, required: Collection[Permission], dataset_type: str, vantage: Vantage, connection: AwsConnection
) -> tuple[list[Finding], Target]:
    from lightly_provider.diagnosis.probes import probe_keys, probe_location

    keys, target = probe_keys(_client("sts", connection, target.region), target)
    if keys.status is Status.FAIL:
        return [keys], target
    s3 = _client("s3", connection, target.region)
    has_input = target.purpose is not Purpose.LIGHTLY
    findings = [keys, *probe_location(s3, target, required, kind=expected_kind(dataset_type) if has_input else None)]
    listed = next((one for one in findings if one.subject == Permission.LIST), None)
    if has_input and (vantage.require_files or (listed and listed.status is Status.PASS)):
        lister = S3Lister(s3, target.location.bucket)
        findings.append(check_content(lister, target.location, dataset_type, required=vantage.require_files))
    return findings, target


def _inspect(
    target: Target,
    required: Collection[Permission],
    dataset_type: str,
    vantage: Vantage,
    reported: Collection[Failure],
    *,
    external_id: str | None,
) -> tuple[list[Finding], Target]:
    from lightly_provider.diagnosis.probes import probe_bucket
    from lightly_provider.diagnosis.role import inspect_role, inspect_surroundings, keys_in_use

    own = _own_clients(vantage, target.region)
    if own is None:
        why = "only Lightly can assume the role, and Airflow has no identity of its own here to look at it"
        advice = "Give aws_conn_id, a connection that may do iam:GetRole and iam:SimulatePrincipalPolicy."
        return [Finding("role", Status.UNKNOWN, why, remedy=Remedy((advice,)))], target
    findings = inspect_role(own["iam"], own["sts"], target, external_id, required)
    findings += probe_bucket(own["s3"], target)
    keys = keys_in_use(own["s3"], target, required)
    failures = [finding.failure for finding in findings if finding.failure]
    target = _with_surroundings([*failures, *reported], target, own, key_arns=list(keys.values()))
    findings += inspect_surroundings(own["iam"], target, keys, required)
    if target.purpose is not Purpose.LIGHTLY:
        lister = S3Lister(own["s3"], target.location.bucket)
        content = check_content(lister, target.location, dataset_type, required=vantage.require_files)
        findings.append(replace(content, message=f"{content.message} (as Airflow's own identity sees it)"))
    return findings, target


def _with_surroundings(
    failures: Collection[Failure],
    target: Target,
    own: Mapping[str, Any],
    *,
    key_arns: Collection[str] = (),
    access_key_id: str | None = None,
) -> Target:
    """The target with the very statements that deny, where Airflow's own identity may read them."""
    from lightly_provider.diagnosis.surroundings import look_around

    around = look_around(own, target, failures, key_arns=key_arns, access_key_id=access_key_id)
    return replace(target, surroundings=around)


def _own_clients(vantage: Vantage, region: str | None) -> dict[str, Any] | None:
    """Clients of Airflow's own identity; None if it has none."""
    services = ("iam", "sts", "s3", "kms")
    if vantage.own:
        return {service: vantage.own.client(service, region=region, config=_CONFIG) for service in services}
    # The keys that stand beside a role are how Airflow would reach AWS.
    if vantage.connection and vantage.connection.has_keys:
        return {service: _client(service, vantage.connection, region) for service in services}
    return None


def _client(service: str, connection: AwsConnection, region: str | None) -> Any:
    return connection.client(service, region=region, identity=Identity.KEYS, config=_CONFIG)


def _up_front(
    target: Target, vantage: Vantage, connection: AwsConnection, identity: Identity, *, access_key_id: str | None = None
) -> list[Finding]:
    """What cannot work. The AWS SDK itself says where it finds S3: by the connection, its profile, the environment."""
    s3 = connection.client("s3", region=target.region, identity=identity, config=_CONFIG)
    return judge_up_front(
        target.location,
        target.region,
        access_key_id=access_key_id,
        role_arn=target.role_arn,
        kms_key_arn=target.kms_key_arn,
        endpoint_url=None if vantage.platform_is_local else str(s3.meta.endpoint_url),
    )
