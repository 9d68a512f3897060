"""What this worker can see of a datasource: makes the AWS clients, and lets the probes and the inspection look."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lightly_provider.aws.bucket import S3Lister, expected_kind
from lightly_provider.aws.credentials import DelegatedAccess, InvalidAccessError, UserAccess
from lightly_provider.contract import Permission, Purpose
from lightly_provider.diagnosis.content import check_content
from lightly_provider.diagnosis.findings import Finding, Remedy, Status
from lightly_provider.diagnosis.up_front import judge_up_front
from lightly_provider.exceptions import LightlyConnectionConfigError
from lightly_provider.hooks.aws import AwsConnection, Identity

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from lightly_provider.diagnosis.target import Place

# A probe answers at once or not at all.
_CONFIG: Mapping[str, Any] = {"connect_timeout": 5, "read_timeout": 15, "retries": {"total_max_attempts": 2}}


@dataclass(frozen=True, kw_only=True)
class Vantage:
    """
    With what this worker looks.

    :param connection: AWS connection that holds what Lightly uses; None: nothing is tried with it.
    :param own: AWS connection of Airflow's own, to look at a role and into the bucket; None: the keys beside the role
        in ``connection``, if there are any.
    :param platform_is_local: Whether the platform runs on this machine, so that another S3 than AWS's may do.
    """

    connection: AwsConnection | None
    own: AwsConnection | None = None
    platform_is_local: bool = False


def observe(
    place: Place,
    purpose: Purpose,
    required: Collection[Permission],
    dataset_type: str,
    vantage: Vantage,
    *,
    access_key_id: str | None = None,
) -> tuple[list[Finding], Place]:
    """
    Look at one datasource from this worker.

    With user access the same keys do what Lightly needs to do. With delegated access the role is looked at with
    Airflow's own identity, as only Lightly can assume it.

    :param place: The datasource's location, and who reaches it.
    :param purpose: What it is for.
    :param required: The permissions that are needed there; no other is tried.
    :param dataset_type: The dataset's type on the platform.
    :param vantage: With what to look.
    :param access_key_id: The key that the platform has, for user access; None if it is not known.
    :return: What was found, and ``place`` with the ARN of the IAM user and the policies that deny, as far as they are
        known now. Empty where there is nothing to look with.
    """
    connection = vantage.connection
    if connection is None:
        if place.role_arn and vantage.own:
            return _inspect(place, purpose, required, dataset_type, vantage, external_id=None)
        return [], place
    try:
        access = connection.access
    except (InvalidAccessError, LightlyConnectionConfigError) as refused:
        return [Finding("credentials", Status.FAIL, str(refused))], place
    if other := _is_another(access, place, access_key_id, connection):
        seen: list[Finding] = []
        if place.role_arn and vantage.own:
            seen, place = _inspect(place, purpose, required, dataset_type, vantage, external_id=None)
        return [other, *seen], place
    findings = judge_up_front(
        place.location,
        place.region,
        access_key_id=access.access_key_id if isinstance(access, UserAccess) else None,
        role_arn=place.role_arn,
        kms_key_arn=place.kms_key_arn,
        endpoint_url=None if vantage.platform_is_local else connection.endpoint_url("s3"),
    )
    if isinstance(access, DelegatedAccess):
        seen, place = _inspect(place, purpose, required, dataset_type, vantage, external_id=access.external_id)
        return [*findings, *seen], place
    probed, place = _probe(place, purpose, required, dataset_type, connection)
    if any(map(_is_traceable, probed)) and (own := _own_clients(vantage, place.region)):
        probed, place = _with_culprits(probed, place, own, access_key_id=access.access_key_id)
    return [*findings, *probed], place


def count_files(place: Place, vantage: Vantage) -> Finding:
    """
    Count all files of a location, however many, folder beside folder.

    :param place: Where.
    :param vantage: With what to list.
    :return: The counts; UNKNOWN where listing is denied.
    """
    from lightly_provider.aws.bucket import count_all
    from lightly_provider.diagnosis.denials import denial_of

    try:
        inventory = count_all(lister_of(place, vantage), place.location)
    except Exception as failure:  # noqa: BLE001  (whatever botocore raises is the finding)
        denial = denial_of(failure)
        return Finding("count", Status.UNKNOWN, f"not listed: {denial.text or denial.cause}", denial)
    return Finding("count", Status.PASS, inventory.describe(), counts=inventory.numbers())


def lister_of(place: Place, vantage: Vantage) -> S3Lister:
    """
    What lists a location from this worker.

    :param place: Where.
    :param vantage: With what: the keys that Lightly uses, or Airflow's own identity.
    :raises InvalidAccessError: There is no identity to list with.
    """
    connection = vantage.connection
    if connection and not vantage.own and isinstance(connection.access, UserAccess):
        return S3Lister(_client("s3", connection, place.region), place.location.bucket)
    own = _own_clients(vantage, place.region)
    if own is None:
        raise InvalidAccessError(
            f"{connection.name if connection else 'The datasource'} holds a role that only Lightly can assume, so "
            f"nothing can list {place.location.uri} from here; give aws_conn_id, a connection of Airflow's own."
        )
    return S3Lister(own["s3"], place.location.bucket)


def _is_another(
    access: UserAccess | DelegatedAccess, place: Place, access_key_id: str | None, connection: AwsConnection
) -> Finding | None:
    """What another access can or cannot do says nothing about Lightly's."""
    if isinstance(access, DelegatedAccess):
        same = access.role_arn == place.role_arn
    else:
        same = place.role_arn is None and access_key_id in (None, access.access_key_id)
    if same:
        return None
    return Finding(
        "connection",
        Status.WARN,
        f"{connection.name} holds {access.describe()}, and the datasource uses {place.access}, so nothing was tried",
        remedy=Remedy("Run ConfigureS3DatasourceOperator again if the connection is the newer one."),
    )


def _probe(
    place: Place,
    purpose: Purpose,
    required: Collection[Permission],
    dataset_type: str,
    connection: AwsConnection,
) -> tuple[list[Finding], Place]:
    from lightly_provider.diagnosis.probes import probe_keys, probe_location

    keys, place = probe_keys(_client("sts", connection, place.region), place)
    if keys.status is Status.FAIL:
        return [keys], place
    s3 = _client("s3", connection, place.region)
    kind = expected_kind(dataset_type) if purpose is not Purpose.LIGHTLY else None
    findings = [keys, *probe_location(s3, place, required, kind=kind)]
    listed = next((one for one in findings if one.subject == Permission.LIST), None)
    if purpose is not Purpose.LIGHTLY and listed and listed.status is Status.PASS:
        findings.append(check_content(S3Lister(s3, place.location.bucket), place.location, dataset_type))
    return findings, place


def _inspect(
    place: Place,
    purpose: Purpose,
    required: Collection[Permission],
    dataset_type: str,
    vantage: Vantage,
    *,
    external_id: str | None,
) -> tuple[list[Finding], Place]:
    from lightly_provider.diagnosis.probes import probe_bucket
    from lightly_provider.diagnosis.role import inspect_role, inspect_surroundings, keys_in_use

    own = _own_clients(vantage, place.region)
    if own is None:
        why = "only Lightly can assume the role, and Airflow has no identity of its own here to look at it"
        advice = "Give aws_conn_id, a connection that may do iam:GetRole and iam:SimulatePrincipalPolicy."
        return [Finding("role", Status.UNKNOWN, why, remedy=Remedy(advice))], place
    findings = inspect_role(own["iam"], own["sts"], place, external_id, required)
    findings += probe_bucket(own["s3"], place)
    keys = keys_in_use(own["s3"], place, required)
    findings, place = _with_culprits(findings, place, own, key_arns=list(keys.values()))
    findings += inspect_surroundings(own["iam"], place, keys)
    if purpose is not Purpose.LIGHTLY:
        lister = S3Lister(own["s3"], place.location.bucket)
        content = check_content(lister, place.location, dataset_type)
        findings.append(replace(content, message=f"{content.message} (as Airflow's own identity sees it)"))
    return findings, place


def _is_traceable(finding: Finding) -> bool:
    from lightly_provider.diagnosis.denying_policies import TRACEABLE

    return finding.status is Status.FAIL and finding.denial is not None and finding.denial.cause in TRACEABLE


def _with_culprits(
    findings: list[Finding],
    place: Place,
    own: Mapping[str, Any],
    *,
    key_arns: Collection[str] = (),
    access_key_id: str | None = None,
) -> tuple[list[Finding], Place]:
    """The findings with fixes that name the very statement which denies, where Airflow's own identity may read it."""
    from lightly_provider.diagnosis.denying_policies import look_around
    from lightly_provider.diagnosis.remedies import remedy_for

    denials = [finding.denial for finding in findings if finding.denial]
    around = look_around(own, place, denials, key_arns=key_arns, access_key_id=access_key_id)
    if around == place.surroundings:
        return findings, place
    place = replace(place, surroundings=around)
    return [
        replace(finding, remedy=remedy_for(finding.denial, _permissions_of(finding), place))
        if _is_traceable(finding)
        else finding
        for finding in findings
    ], place


def _permissions_of(finding: Finding) -> list[Permission]:
    if finding.subject == "delete":
        return [Permission.OVERWRITE]
    return [Permission(finding.subject)] if finding.subject in list(Permission) else []


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
