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
from lightly_provider.hooks.aws import connection_wrapper, secrets_kept_from_the_log

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from lightly_provider.diagnosis.target import Place

# A probe answers at once or not at all.
_CONNECT_TIMEOUT_S, _READ_TIMEOUT_S, _ATTEMPTS = 5, 15, 2


@dataclass(frozen=True, kw_only=True)
class Vantage:
    """
    With what this worker looks.

    :param conn_id: AWS connection that holds what Lightly uses; None: nothing is tried with it.
    :param own_conn_id: AWS connection of Airflow's own, to look at a role and into the bucket; None: the keys beside
        the role in ``conn_id``, if there are any.
    :param platform_is_local: Whether the platform runs on this machine, so that another S3 than AWS's may do.
    """

    conn_id: str | None
    own_conn_id: str | None = None
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
    if vantage.conn_id is None:
        if place.role_arn and vantage.own_conn_id:
            return _inspect(place, purpose, required, dataset_type, vantage, external_id=None)
        return [], place
    from lightly_provider.hooks.aws import read_aws_connection

    try:
        connection = read_aws_connection(vantage.conn_id)
    except InvalidAccessError as refused:
        return [Finding("credentials", Status.FAIL, str(refused))], place
    access = connection.access
    if other := _is_another(access, place, access_key_id, vantage.conn_id):
        seen: list[Finding] = []
        if place.role_arn and vantage.own_conn_id:
            seen, place = _inspect(place, purpose, required, dataset_type, vantage, external_id=None)
        return [other, *seen], place
    findings = judge_up_front(
        place.location,
        place.region,
        access_key_id=access.access_key_id if isinstance(access, UserAccess) else None,
        role_arn=place.role_arn,
        kms_key_arn=place.kms_key_arn,
        endpoint_url=None if vantage.platform_is_local else _endpoint(vantage.conn_id),
    )
    if isinstance(access, DelegatedAccess):
        seen, place = _inspect(place, purpose, required, dataset_type, vantage, external_id=access.external_id)
        return [*findings, *seen], place
    probed, place = _probe(place, purpose, required, dataset_type, vantage.conn_id, access)
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
    from lightly_provider.hooks.aws import read_aws_connection

    if vantage.conn_id and not vantage.own_conn_id:
        access = read_aws_connection(vantage.conn_id).access
        if isinstance(access, UserAccess):
            return S3Lister(_client("s3", vantage.conn_id, access, place.region), place.location.bucket)
    own = _own_clients(vantage, place.region)
    if own is None:
        raise InvalidAccessError(
            f"AWS connection {vantage.conn_id!r} holds a role that only Lightly can assume, so nothing can list "
            f"{place.location.uri} from here; give aws_conn_id, a connection of Airflow's own."
        )
    return S3Lister(own["s3"], place.location.bucket)


def _is_another(
    access: UserAccess | DelegatedAccess, place: Place, access_key_id: str | None, conn_id: str
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
        f"AWS connection {conn_id!r} holds {access.describe()}, and the datasource uses {place.access}, so nothing "
        "was tried",
        remedy=Remedy("Run ConfigureS3DatasourceOperator again if the connection is the newer one."),
    )


def _probe(
    place: Place,
    purpose: Purpose,
    required: Collection[Permission],
    dataset_type: str,
    conn_id: str,
    access: UserAccess,
) -> tuple[list[Finding], Place]:
    from lightly_provider.diagnosis.probes import probe_keys, probe_location

    keys, place = probe_keys(_client("sts", conn_id, access, place.region), place)
    if keys.status is Status.FAIL:
        return [keys], place
    s3 = _client("s3", conn_id, access, place.region)
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
    with secrets_kept_from_the_log():  # IAM's answer holds the external ID that the role asks for
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
    if vantage.own_conn_id:
        session, wrapper = _own_session(vantage.own_conn_id, region), connection_wrapper(vantage.own_conn_id)
        return {
            service: session.client(
                service,
                endpoint_url=wrapper.get_service_endpoint_url(service),
                verify=wrapper.verify,
                config=_config(),
            )
            for service in services
        }
    # The keys that stand beside a role are how Airflow would reach AWS.
    keys = _keys_beside_role(str(vantage.conn_id))
    return {service: _client(service, str(vantage.conn_id), keys, region) for service in services} if keys else None


def _own_session(conn_id: str, region: str | None) -> Any:
    """One session for all clients: each reads the AWS services' descriptions anew."""
    from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook

    return AwsBaseHook(aws_conn_id=conn_id, client_type="sts").get_session(region_name=region or "us-east-1")


def _keys_beside_role(conn_id: str) -> UserAccess | None:
    wrapper = connection_wrapper(conn_id)
    if wrapper.aws_access_key_id and wrapper.aws_secret_access_key and not wrapper.aws_session_token:
        return UserAccess(wrapper.aws_access_key_id, wrapper.aws_secret_access_key)
    return None


def _client(service: str, conn_id: str, access: UserAccess, region: str | None) -> Any:
    import boto3

    wrapper = connection_wrapper(conn_id)
    return boto3.client(
        service,
        region_name=region or wrapper.region_name or "us-east-1",
        endpoint_url=wrapper.get_service_endpoint_url(service),
        verify=wrapper.verify,
        aws_access_key_id=access.access_key_id,
        aws_secret_access_key=access.secret_access_key,
        config=_config(),
    )


def _endpoint(conn_id: str) -> str | None:
    return connection_wrapper(conn_id).get_service_endpoint_url("s3")


def _config() -> Any:
    from botocore.config import Config

    return Config(
        connect_timeout=_CONNECT_TIMEOUT_S, read_timeout=_READ_TIMEOUT_S, retries={"total_max_attempts": _ATTEMPTS}
    )
