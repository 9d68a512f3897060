"""Checks a datasource from this worker: creates the AWS clients, and runs the probes and inspections."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lightly_provider.aws.bucket import S3Lister, expected_kind
from lightly_provider.aws.credentials import DelegatedAccess, InvalidAccessError, UserAccess
from lightly_provider.contract import EXTERNAL_ID_PATTERN, SHORTEST_EXTERNAL_ID, Permission, Purpose
from lightly_provider.diagnosis.content import check_content
from lightly_provider.diagnosis.findings import Finding, Status
from lightly_provider.diagnosis.remedies import Remedy
from lightly_provider.diagnosis.up_front import judge_up_front
from lightly_provider.hooks.aws import AwsConnection, Identity

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from lightly_provider.diagnosis.failures import Failure
    from lightly_provider.diagnosis.target import Target

# A probe that does not get a response at once will not get one.
_CONFIG: Mapping[str, Any] = {"connect_timeout": 5, "read_timeout": 15, "retries": {"total_max_attempts": 2}}


@dataclass(frozen=True, kw_only=True)
class Vantage:
    """
    The AWS connections with which this worker checks, and how strictly.

    :param connection: AWS connection with the access that Lightly uses; None: it is not tried.
    :param own: Airflow's own AWS connection, to inspect a role and the bucket; None: use the keys stored with the role
        in ``connection``, if there are any.
    :param platform_is_local: Whether the platform runs on this machine, so that an S3 other than AWS's is allowed.
    :param require_files: Whether a location without a file of the dataset's type fails, also if nothing can look.
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
    external_id: str | None = None,
    reported: Collection[Failure] = (),
) -> tuple[list[Finding], Target]:
    """
    Check one datasource from this worker.

    With user access, the same keys try what Lightly needs to do. With delegated access, Airflow's own identity
    inspects the role, because only Lightly can assume it.

    :param target: The datasource's location, and who accesses it.
    :param required: The permissions that are needed there; no others are tried.
    :param dataset_type: The dataset's type on the platform.
    :param vantage: The AWS connections to check with.
    :param access_key_id: The key that the platform has, for user access; None if it is not known.
    :param external_id: The external ID that the platform has, for delegated access, also if it is masked; None if it is
        not known. It is compared and never shown.
    :param reported: The AWS errors that the platform reported.
    :return: The findings, and ``target`` with the ARN of the IAM user and the denying policies, as far as they are
        now known. No findings if there is no connection to check with, and no files are required.
    :raises InvalidAccessError: Lightly cannot use the access that a connection holds.
    :raises LightlyConnectionConfigError: A connection does not exist, or is not usable.
    """
    held = external_id if target.role_arn else access_key_id
    findings, target = _seen(target, required, dataset_type, vantage, held, reported)
    looked = any(finding.subject == "content" for finding in findings)
    if vantage.require_files and target.purpose is not Purpose.LIGHTLY and not looked:
        findings = [*findings, _files(target, dataset_type, vantage, findings)]
    return findings, target


def _seen(
    target: Target,
    required: Collection[Permission],
    dataset_type: str,
    vantage: Vantage,
    held: str | None,
    reported: Collection[Failure],
) -> tuple[list[Finding], Target]:
    connection = vantage.connection
    if connection is None:
        if target.role_arn and vantage.own:
            seen, target = _inspect(target, required, dataset_type, vantage, reported, external_id=None)
            return [*_up_front(target, vantage, vantage.own, Identity.OWN), *seen], target
        return [], target
    access = connection.access
    if other := _is_another(access, target, held, connection):
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


def _files(target: Target, dataset_type: str, vantage: Vantage, findings: Collection[Finding]) -> Finding:
    """Look for the required files with Airflow's own identity, as nothing else did; without one, say why."""
    if vantage.own:
        s3 = vantage.own.client("s3", region=target.region, config=_CONFIG)
        return _content_for_airflow(s3, target, dataset_type, vantage)
    why = next((one for one in findings if one.subject in _NOT_LOOKED), None)
    said = why.message if why else "there is no AWS connection to look with"
    # What makes the other check pass later does so here, too.
    return Finding(
        "content", Status.FAIL, f"the files were not looked for: {said}", why.failure if why else None, Remedy()
    )


# The findings that end a check before it looks for files.
_NOT_LOOKED = ("connection", "keys", "role", "bucket")


def _content_for_airflow(s3: Any, target: Target, dataset_type: str, vantage: Vantage) -> Finding:
    lister = S3Lister(s3, target.location.bucket)
    content = check_content(lister, target.location, dataset_type, required=vantage.require_files)
    return replace(content, message=f"{content.message} (as Airflow's own identity sees it)")


def count_files(target: Target, vantage: Vantage) -> Finding:
    """
    Count all files of a location, however many, listing its folders in parallel.

    :param target: The location.
    :param vantage: The AWS connections to list with.
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
    Return a lister of a location for this worker.

    :param target: The location.
    :param vantage: The AWS connections: the keys that Lightly uses, or Airflow's own identity.
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
    access: UserAccess | DelegatedAccess, target: Target, held: str | None, connection: AwsConnection
) -> Finding | None:
    """Return a finding if this access is not Lightly's: then its results prove nothing about Lightly's."""
    if isinstance(access, DelegatedAccess):
        same_role = access.role_arn == target.role_arn
        if same_role and (not _is_external_id(held) or held == access.external_id):
            return None
        uses = "another external ID for it" if same_role else target.access
    elif target.role_arn is None and held in (None, access.access_key_id):
        return None
    else:
        uses = target.access
    return Finding(
        "connection",
        Status.WARN,
        f"{connection.name} holds {access.describe()}, and the datasource uses {uses}, so nothing was tried",
        remedy=Remedy(("Run ConfigureS3DatasourceOperator again if the connection is the newer one.",)),
    )


def _is_external_id(held: str | None) -> bool:
    """Whether this is an external ID, and not what a platform sends in its place to hide it."""
    if held is None or len(held) < SHORTEST_EXTERNAL_ID or len(set(held)) == 1:
        return False
    return re.fullmatch(EXTERNAL_ID_PATTERN, held) is not None


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
        findings.append(_content_for_airflow(own["s3"], target, dataset_type, vantage))
    return findings, target


def _with_surroundings(
    failures: Collection[Failure],
    target: Target,
    own: Mapping[str, Any],
    *,
    key_arns: Collection[str] = (),
    access_key_id: str | None = None,
) -> Target:
    """Return the target with the denying statements, as far as Airflow's own identity may read them."""
    from lightly_provider.diagnosis.surroundings import look_around

    around = look_around(own, target, failures, key_arns=key_arns, access_key_id=access_key_id)
    return replace(target, surroundings=around)


def _own_clients(vantage: Vantage, region: str | None) -> dict[str, Any] | None:
    """Return AWS clients for Airflow's own identity; None if it has none."""
    services = ("iam", "sts", "s3", "kms")
    if vantage.own:
        return {service: vantage.own.client(service, region=region, config=_CONFIG) for service in services}
    # Airflow would use the keys that are stored with the role.
    if vantage.connection and vantage.connection.has_keys:
        return {service: _client(service, vantage.connection, region) for service in services}
    return None


def _client(service: str, connection: AwsConnection, region: str | None) -> Any:
    return connection.client(service, region=region, identity=Identity.KEYS, config=_CONFIG)


def _up_front(
    target: Target, vantage: Vantage, connection: AwsConnection, identity: Identity, *, access_key_id: str | None = None
) -> list[Finding]:
    """Return what cannot work. The AWS SDK resolves the S3 endpoint from the connection, profile or environment."""
    s3 = connection.client("s3", region=target.region, identity=identity, config=_CONFIG)
    return judge_up_front(
        target.location,
        target.region,
        access_key_id=access_key_id,
        role_arn=target.role_arn,
        kms_key_arn=target.kms_key_arn,
        endpoint_url=None if vantage.platform_is_local else str(s3.meta.endpoint_url),
    )
