"""Access: the role or user that Lightly uses, created, rotated and deleted."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lightly_provider.access.principals import MARK_KEY, MARK_VALUE, PrincipalKind
from lightly_provider.aws.grants import access_policy, grants_for, network_of
from lightly_provider.aws.policy_documents import PolicyKind, check_size
from lightly_provider.aws.secret_address import check_access_conn_id
from lightly_provider.contract import Purpose
from lightly_provider.exceptions import LightlyAccessError
from lightly_provider.operators.arguments import check_choice, check_id, is_static, labels_of, quoted, seconds_of
from lightly_provider.operators.base import CheckedOperator, LightlyBaseOperator
from lightly_provider.operators.external_id import ExternalIdArgument

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from airflow.providers.common.compat.sdk import Context

    from lightly_provider.access.principals import Wanted
    from lightly_provider.access.provisioning import AccessOutcome, AccessProvisioning
    from lightly_provider.aws.grants import Grant
    from lightly_provider.aws.policies import PolicyDocument
    from lightly_provider.hooks.aws import AwsConnections


# AWS docs: IAM and STS quotas, "IAM name requirements" and "IAM object quotas".
_NAME = r"(?a)[\w+=,.@-]{1,64}"
_PATH = r"/|/[\x21-\x7e]{1,510}/"
_BOUNDARY = r"arn:aws[a-z-]*:iam::(?:[0-9]{12}|aws):policy/.+"
_MAX_TAGS = 50
# What an argument that comes out as nothing would lead to.
_WIDER_IF_EMPTY = {
    "source_ips": "the network would not be limited",
    "source_vpcs": "the network would not be limited",
    "output_resource_path": "Lightly could write to resource_path",
    "purpose": "Lightly could write to resource_path",
    "permissions_boundary": "nothing would limit the permissions",
}
_NAMES = {
    "inputs": "resource_path",
    "outputs": "output_resource_path",
    **{name: name for name in ("purpose", "kms_key_arn", "read_kms_key_arns", "source_ips", "source_vpcs")},
}


class CreateAccessOperator(CheckedOperator):
    """
    Base of the operators that create a role or a user; their docstrings say what each argument is.
    """

    template_fields: Sequence[str] = (
        "access_conn_id",
        "resource_path",
        "purpose",
        "output_resource_path",
        "kms_key_arn",
        "read_kms_key_arns",
        "source_ips",
        "source_vpcs",
        "aws_conn_id",
        "airflow_api_conn_id",
        "path",
        "permissions_boundary",
        "tags",
    )
    ui_color = "#fff4e0"

    def __init__(
        self,
        *,
        access_conn_id: str,
        resource_path: str | Sequence[str],
        purpose: str | None = None,
        output_resource_path: str | Sequence[str] | None = None,
        kms_key_arn: str | None = None,
        read_kms_key_arns: Sequence[str] | None = None,
        source_ips: Sequence[str] | None = None,
        source_vpcs: Sequence[str] | None = None,
        aws_conn_id: str = "aws_default",
        airflow_api_conn_id: str | None = None,
        path: str = "/",
        permissions_boundary: str | None = None,
        tags: Mapping[str, str] | None = None,
        allow_unmanaged: bool = False,
        propagation_timeout: float | timedelta = 60,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.access_conn_id = access_conn_id
        self.resource_path = resource_path
        self.purpose = purpose
        self.output_resource_path = output_resource_path
        self.kms_key_arn = kms_key_arn
        self.read_kms_key_arns = read_kms_key_arns
        self.source_ips = source_ips
        self.source_vpcs = source_vpcs
        self.aws_conn_id = aws_conn_id
        self.airflow_api_conn_id = airflow_api_conn_id
        self.path = path
        self.permissions_boundary = permissions_boundary
        self.tags = tags
        self.allow_unmanaged = allow_unmanaged
        self.propagation_timeout = propagation_timeout
        # A template or a task's output that comes out as nothing is not what the DAG's author left out.
        self._given = frozenset(name for name in _WIDER_IF_EMPTY if getattr(self, name) is not None)

    @property
    @abstractmethod
    def _kind(self) -> PrincipalKind: ...

    @property
    @abstractmethod
    def _name(self) -> str: ...

    def check_arguments(self) -> None:
        """See :meth:`CheckedArguments.check_arguments`."""
        super().check_arguments()
        if is_static(self._name):
            check_principal_name(self._name, argument=f"{self._kind}_name")
        if is_static(self.access_conn_id):
            check_access_conn_id(self.access_conn_id, argument="access_conn_id")
        if self.purpose and is_static(self.purpose):
            check_choice(self.purpose, [str(p) for p in Purpose], argument="purpose")
        if is_static(self.path) and not (isinstance(self.path, str) and re.fullmatch(_PATH, self.path)):
            raise ValueError(f"path is {self.path!r}; an IAM path begins and ends with a slash, e.g. '/lightly/'.")
        boundary = self.permissions_boundary
        if boundary and is_static(boundary) and not re.fullmatch(_BOUNDARY, boundary):
            raise ValueError(
                f"permissions_boundary is {boundary!r}; write the ARN of a managed policy, "
                "e.g. arn:aws:iam::123456789012:policy/boundary."
            )
        if self.tags is not None and is_static(self.tags):
            _check_tags(self.tags)
        seconds_of(self.propagation_timeout, argument="propagation_timeout", zero_allowed=True)
        self._check_limits()
        self._check_policy()

    def _check_limits(self) -> None:
        for argument, result in _WIDER_IF_EMPTY.items():
            value = getattr(self, argument)
            if argument in self._given and is_static(value) and not value:
                raise ValueError(f"{argument} is {value!r}, so that {result}; name at least one, or leave it out.")

    def _check_policy(self) -> None:
        decisive = [self.resource_path, self.purpose, self.output_resource_path, self.kms_key_arn]
        decisive += [self.read_kms_key_arns, self.source_ips, self.source_vpcs]
        if all(is_static(value) for value in decisive):
            inline = PolicyKind.ROLE_INLINE if self._kind is PrincipalKind.ROLE else PolicyKind.USER_INLINE
            check_size(self._policy("aws"), inline, argument="resource_path")

    def _policy(self, partition: str) -> PolicyDocument:
        network = network_of(
            source_ips=labels_of(self.source_ips, argument="source_ips"),
            source_vpcs=labels_of(self.source_vpcs, argument="source_vpcs"),
            names=_NAMES,
        )
        return access_policy(self._grants(), network=network, partition=partition)

    def _grants(self) -> list[Grant]:
        return grants_for(
            inputs=_listed(self.resource_path),
            outputs=_listed(self.output_resource_path),
            purpose=self.purpose,
            kms_key_arn=self.kms_key_arn or None,
            read_kms_key_arns=labels_of(self.read_kms_key_arns, argument="read_kms_key_arns"),
            names=_NAMES,
        )

    def _buckets(self) -> list[str]:
        return list(dict.fromkeys(grant.location.bucket for grant in self._grants()))

    def perform(self, context: Context) -> dict[str, Any]:
        """Create, compare and set, and wait."""
        from lightly_provider.hooks.aws import AwsConnections, refusals_explained

        began, connections = datetime.now(UTC), AwsConnections()
        with refusals_explained(connections[self.aws_conn_id]):
            outcome = self._provision(context, self._provisioning(connections))
        done = f"changed: {', '.join(outcome.changed)}" if outcome.changed else "already up to date"
        self.log.info("%s (%s); its secret is in %r.", outcome.arn, done, outcome.conn_id)
        result = outcome.as_dict()
        for key in ("arn", "conn_id"):
            context["ti"].xcom_push(key=key, value=result[key])
        # An earlier try may have ended after its change, which may still be propagating.
        is_recent = bool(outcome.changed) or int(getattr(context["ti"], "try_number", 1) or 1) > 1
        return result | {"changed_at": began.isoformat(timespec="seconds") if is_recent else None}

    @abstractmethod
    def _provision(self, context: Context, access: AccessProvisioning) -> AccessOutcome: ...

    def _provisioning(self, connections: AwsConnections) -> AccessProvisioning:
        from lightly_provider.access.provisioning import AccessProvisioning
        from lightly_provider.access.stores import access_store
        from lightly_provider.hooks.aws import find_bucket_region

        timeout = seconds_of(self.propagation_timeout, argument="propagation_timeout", zero_allowed=True)
        own = connections[self.aws_conn_id]
        endpoint = own.endpoint_extra
        # Detect a missing bucket before anything is created for it.
        regions = [find_bucket_region(bucket, own) for bucket in self._buckets()]
        if regions[0]:
            endpoint["region_name"] = regions[0]
        return AccessProvisioning(
            iam=own.client("iam"),
            store=access_store(self.access_conn_id, connections, self.airflow_api_conn_id),
            endpoint=endpoint,
            timeout=timeout,
            account=own.account,
        )

    def _wanted(self, partition: str) -> Wanted:
        from lightly_provider.access.principals import Wanted

        return Wanted(
            name=self._name,
            policy=self._policy(partition),
            path=self.path,
            permissions_boundary=self.permissions_boundary,
            tags=dict(self.tags or {}),
            allow_unmanaged=self.allow_unmanaged,
        )


def check_principal_name(name: Any, *, argument: str) -> None:
    """
    Refuse a text that is not the name of a role or user.

    :raises ValueError: With the characters that IAM takes.
    """
    if not (isinstance(name, str) and re.fullmatch(_NAME, name)):
        raise ValueError(
            f"{argument} is {name!r}; a name in IAM is 1 to 64 of letters, digits and _+=,.@- (not its ARN or path)."
        )


def _check_names(role_name: str | None, user_name: str | None, use: str) -> None:
    # A template may come out empty, so what it stands for is known in execute only.
    if is_static(role_name) and is_static(user_name) and bool(role_name) == bool(user_name):
        raise ValueError(f"Give one of role_name and user_name, and not both: {use}.")
    for argument, name in (("role_name", role_name), ("user_name", user_name)):
        if name and is_static(name):
            check_principal_name(name, argument=argument)


def _check_tags(tags: Any) -> None:
    if not isinstance(tags, Mapping) or not all(isinstance(text, str) for pair in tags.items() for text in pair):
        raise ValueError(f"tags is {tags!r}; give a mapping of texts to texts.")
    if tags.get(MARK_KEY, MARK_VALUE) != MARK_VALUE:
        raise ValueError(f"tags sets {MARK_KEY!r}, by which the provider knows what it made; leave that one out.")
    # AWS docs: IAM API reference, "Tag".
    if not all(0 < len(key) <= 128 and len(value) <= 256 for key, value in tags.items()):
        raise ValueError(f"tags is {quoted(tags)}; a key of a tag has 1 to 128 characters, and its value at most 256.")
    if len({*tags, MARK_KEY}) > _MAX_TAGS or any(key.lower().startswith("aws:") for key in tags):
        raise ValueError(
            f"tags has more than {_MAX_TAGS - 1} tags, or one whose key begins with 'aws:', which is AWS's."
        )


def _listed(value: str | Sequence[str] | None) -> list[str]:
    """One location or several as a list; a template that renders to nothing means none."""
    return [value] if value and isinstance(value, str) else list(value or [])


class CreateLightlyAccessRoleOperator(CreateAccessOperator, ExternalIdArgument):
    """
    Create the IAM role that Lightly assumes (delegated access), or update an existing one.

    Idempotent: what is up to date is not set again. The role trusts Lightly's account with an external ID, allows
    sessions of 12 hours, has no more permissions than the purposes need at these locations, and is tagged
    ``managed-by=airflow-provider-lightly``. A role without that tag is left unchanged.

    The external ID is kept where ``access_conn_id`` says, as an AWS connection, and nowhere else:
    ``ConfigureS3DatasourceOperator(datasource_aws_conn_id=…)`` takes the same text. Only
    :class:`RotateLightlyAccessOperator` changes it.

    As a setup task, its teardown is :class:`DeleteLightlyAccessOperator`.

    :param role_name: The role's name. Templated.
    :param access_conn_id: Where role and external ID are kept: ``secretsmanager://<aws_conn_id>/<name>``,
        ``ssm://<aws_conn_id>/<name>``, or the id of an Airflow connection. On Airflow 3 a task cannot write a
        connection itself, so that the latter needs ``airflow_api_conn_id`` there. Templated.
    :param resource_path: ``s3://bucket/prefix/`` with the files, or several of them. Templated.
    :param purpose: ``INPUT``, ``LIGHTLY`` or ``INPUT_OUTPUT`` of ``resource_path``. None (default): INPUT_OUTPUT, or
        INPUT if ``output_resource_path`` is given. Templated.
    :param output_resource_path: ``s3://bucket/prefix/`` for what Lightly writes, or several of them: LIGHTLY. Default:
        none. Templated.
    :param kms_key_arn: KMS key with which Lightly encrypts what it writes. Default: none. Templated.
    :param read_kms_key_arns: KMS keys with which the files that Lightly reads are encrypted. Default: none.
        Templated.
    :param source_ips: Address ranges (CIDR) from which objects may be read and written; list stays open. Default:
        everywhere. Templated.
    :param source_vpcs: VPCs from which objects may be read and written; list stays open. Default: everywhere.
        Templated.
    :param aws_conn_id: AWS connection of Airflow's own identity, which may manage roles. Default: ``aws_default``.
        Templated.
    :param airflow_api_conn_id: Connection of type ``http`` to Airflow's own API, of a user who may edit connections;
        needed on Airflow 3 where ``access_conn_id`` is an Airflow connection, and not used otherwise. Default: none.
        Templated.
    :param path: The role's IAM path. Default: ``/``. Templated.
    :param permissions_boundary: ARN of a managed policy that limits the role. None (default): none for a new role, and
        that of an existing one is left as it is; to remove it, use IAM. Templated.
    :param tags: Tags of the role, beside the provider's own. Default: none. Templated.
    :param allow_unmanaged: Whether a role without the provider's tag, and an access that somebody else keeps under
        ``access_conn_id``, may be taken over. Default: False.
    :param propagation_timeout: Seconds, or a timedelta, that a change may take until IAM shows it. 0 looks once.
        Default: 60.
    :param external_id: The external ID: at least 10 characters. None (default): the one that the role has, or a
        random one. It is a secret; see :class:`ConfigureS3DatasourceOperator` for how it is kept out of fields.
    :return: ``{"arn", "conn_id", "changed", "changed_at"}``, the last as ISO 8601, None if nothing changed in the first
        try; ``arn`` and ``conn_id`` are in XComs of their own, too, so that the next task takes
        ``create.output["conn_id"]``.
    :raises ValueError: An argument is invalid.
    :raises LookupError: S3 says that a bucket does not exist. Nothing was created.
    :raises LightlyAccessError: AWS denied a request, or the role or the stored access belongs to another owner.
    """

    template_fields: Sequence[str] = ("role_name", *CreateAccessOperator.template_fields)
    custom_operator_name = "Lightly create role"
    instead = "leave it out, and a random one is made"

    def __init__(self, *, role_name: str, external_id: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.role_name = role_name
        self.external_id = external_id
        self.check_arguments()

    @property
    def _kind(self) -> PrincipalKind:
        return PrincipalKind.ROLE

    @property
    def _name(self) -> str:
        return self.role_name

    def _provision(self, context: Context, access: AccessProvisioning) -> AccessOutcome:
        partition = str(access.iam.meta.partition)
        if partition != "aws":
            raise LightlyAccessError(
                f"The connection {self.aws_conn_id!r} is of the partition {partition!r}, and the platform takes roles "
                "of the partition 'aws' only; use CreateLightlyAccessUserOperator instead."
            )
        return access.create_role(self._wanted(partition), self.rendered_external_id(context))


class CreateLightlyAccessUserOperator(CreateAccessOperator):
    """
    Create the IAM user whose keys Lightly uses (user access), or update an existing one.

    Idempotent: what is up to date is not set again. The user has no more permissions than the purposes need at
    these locations, and is tagged ``managed-by=airflow-provider-lightly``. A user without that tag is left unchanged.

    The secret key is kept where ``access_conn_id`` says, as an AWS connection, and nowhere else:
    ``ConfigureS3DatasourceOperator(datasource_aws_conn_id=…)`` takes the same text. A key whose secret is not kept
    there any more is replaced by a new one. The task succeeds only when the keys list every location.

    As a setup task, its teardown is :class:`DeleteLightlyAccessOperator`.

    :param user_name: The user's name. Templated.
    :param access_conn_id: Where the key is kept: ``secretsmanager://<aws_conn_id>/<name>``,
        ``ssm://<aws_conn_id>/<name>``, or the id of an Airflow connection. On Airflow 3 a task cannot write a
        connection itself, so that the latter needs ``airflow_api_conn_id`` there. Templated.
    :param resource_path: ``s3://bucket/prefix/`` with the files, or several of them. Templated.
    :param purpose: ``INPUT``, ``LIGHTLY`` or ``INPUT_OUTPUT`` of ``resource_path``. None (default): INPUT_OUTPUT, or
        INPUT if ``output_resource_path`` is given. Templated.
    :param output_resource_path: ``s3://bucket/prefix/`` for what Lightly writes, or several of them: LIGHTLY. Default:
        none. Templated.
    :param kms_key_arn: KMS key with which Lightly encrypts what it writes. Default: none. Templated.
    :param read_kms_key_arns: KMS keys with which the files that Lightly reads are encrypted. Default: none.
        Templated.
    :param source_ips: Address ranges (CIDR) from which objects may be read and written; list stays open. Default:
        everywhere. Templated.
    :param source_vpcs: VPCs from which objects may be read and written; list stays open. Default: everywhere.
        Templated.
    :param aws_conn_id: AWS connection of Airflow's own identity, which may manage users. Default: ``aws_default``.
        Templated.
    :param airflow_api_conn_id: Connection of type ``http`` to Airflow's own API, of a user who may edit connections;
        needed on Airflow 3 where ``access_conn_id`` is an Airflow connection, and not used otherwise. Default: none.
        Templated.
    :param path: The user's IAM path. Default: ``/``. Templated.
    :param permissions_boundary: ARN of a managed policy that limits the user. None (default): none for a new user, and
        that of an existing one is left as it is; to remove it, use IAM. Templated.
    :param tags: Tags of the user, beside the provider's own. Default: none. Templated.
    :param allow_unmanaged: Whether a user without the provider's tag, and an access that somebody else keeps under
        ``access_conn_id``, may be taken over. Default: False.
    :param propagation_timeout: Seconds, or a timedelta, that a change may take until the keys can list. 0 looks once.
        Default: 60.
    :return: ``{"arn", "conn_id", "changed", "changed_at"}``, the last as ISO 8601, None if nothing changed in the first
        try; ``arn`` and ``conn_id`` are in XComs of their own, too, so that the next task takes
        ``create.output["conn_id"]``.
    :raises ValueError: An argument is invalid.
    :raises LookupError: S3 says that a bucket does not exist. Nothing was created.
    :raises LightlyAccessError: AWS denied a request, the keys did not take effect in time, or the user or the stored
        access belongs to another owner.
    """

    template_fields: Sequence[str] = ("user_name", *CreateAccessOperator.template_fields)
    custom_operator_name = "Lightly create user"

    def __init__(self, *, user_name: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.user_name = user_name
        self.check_arguments()

    @property
    def _kind(self) -> PrincipalKind:
        return PrincipalKind.USER

    @property
    def _name(self) -> str:
        return self.user_name

    def _provision(self, context: Context, access: AccessProvisioning) -> AccessOutcome:
        grants = self._grants()
        return access.create_user(
            self._wanted(str(access.iam.meta.partition)), list(dict.fromkeys(grant.location for grant in grants))
        )


class RotateLightlyAccessOperator(LightlyBaseOperator, ExternalIdArgument):
    """
    Replace the secret of a role or user that the creating operators made, and move the datasources to the new one.

    The new access key, or external ID, is kept under ``access_conn_id``, given to every datasource that has the old
    one, and verified by the platform: what was green before must be green again. Both secrets are valid until then. The
    old one is deleted when every moved dataset was verified, no datasource of the token's datasets has it and, for an
    access key, no run is active that began with it, whose signed URLs would fail. Otherwise it is reported in
    ``to_delete``, and the next rotation deletes it.

    A task that is killed leaves datasources that work, and the next run verifies them again and finishes the same
    rotation. Do not rotate one access in two tasks at once: set ``max_active_runs=1``.

    :param role_name: The role, which gets another external ID. Templated.
    :param user_name: The user, which gets another access key; either this or ``role_name``. Templated.
    :param access_conn_id: Where the access is kept, as the creating operator has it. Templated.
    :param dataset_ids: The datasets to move; never empty. Others that use the same secret are left alone, and keep the
        old one from being deleted. None (default): every dataset of the token's own that uses it. Templated.
    :param grace: How long to wait for active runs that began with the old access key, in seconds or as a timedelta. 0
        (default): the task does not wait. A worker slot is taken meanwhile.
    :param aws_conn_id: AWS connection of Airflow's own identity. Default: ``aws_default``. Templated.
    :param airflow_api_conn_id: Connection to Airflow's own API, as the creating operator has it. Default: none.
        Templated.
    :param propagation_timeout: Seconds, or a timedelta, that the new secret may take until AWS and the platform can use
        it. 0 looks once. Default: 60.
    :param external_id: The role's new external ID: at least 10 characters. None (default): a random one. It is a
        secret; see :class:`ConfigureS3DatasourceOperator` for how it is kept out of fields.
    :param lightly_conn_id: Airflow connection of type ``lightly``. Default: ``lightly_default``. Templated.
    :return: ``{"arn", "conn_id", "replaced", "moved", "to_delete", "used_by", "active_runs", "changed_at"}``: what was
        replaced (ids of access keys, or ``external ID``), the ids of the datasets that were moved, what of the replaced
        is still valid, and the ids of the datasets and the runs, by dataset, that use it.
    :raises ValueError: An argument is invalid, e.g. ``dataset_ids`` is empty. Nothing was changed.
    :raises LightlyAccessError: AWS denied a request; there is nothing to rotate, or it belongs to another owner; both
        keys that AWS allows are in use; or the platform cannot use the new secret.
    """

    template_fields: Sequence[str] = (
        "lightly_conn_id",
        "role_name",
        "user_name",
        "access_conn_id",
        "dataset_ids",
        "aws_conn_id",
        "airflow_api_conn_id",
    )
    custom_operator_name = "Lightly rotate access"
    ui_color = "#fff4e0"
    instead = "leave it out, and a random one is made"

    def __init__(
        self,
        *,
        role_name: str | None = None,
        user_name: str | None = None,
        access_conn_id: str,
        dataset_ids: Sequence[str] | None = None,
        grace: float | timedelta = 0,
        aws_conn_id: str = "aws_default",
        airflow_api_conn_id: str | None = None,
        propagation_timeout: float | timedelta = 60,
        external_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.role_name = role_name
        self.user_name = user_name
        self.access_conn_id = access_conn_id
        self.dataset_ids = dataset_ids
        self.grace = grace
        self.aws_conn_id = aws_conn_id
        self.airflow_api_conn_id = airflow_api_conn_id
        self.propagation_timeout = propagation_timeout
        self.external_id = external_id
        # A template or a task's output that comes out as None is not what the DAG's author wrote as "all".
        self._means_all = dataset_ids is None
        self.check_arguments()

    def check_arguments(self) -> None:
        """See :meth:`CheckedArguments.check_arguments`."""
        super().check_arguments()
        _check_names(self.role_name, self.user_name, "it is what gets another secret")
        if is_static(self.access_conn_id):
            check_access_conn_id(self.access_conn_id, argument="access_conn_id")
        if self.external_id and self.user_name and is_static(self.user_name):
            raise ValueError("external_id is given with user_name, and a user has none; leave it out.")
        if is_static(self.dataset_ids):
            self._check_dataset_ids()
        seconds_of(self.grace, argument="grace", zero_allowed=True)
        seconds_of(self.propagation_timeout, argument="propagation_timeout", zero_allowed=True)

    def _check_dataset_ids(self) -> None:
        if self._means_all:
            return
        if not self.dataset_ids:
            raise ValueError(
                f"dataset_ids is {self.dataset_ids!r}, so no dataset would be moved before the old secret is deleted; "
                "name at least one dataset, or leave it out for every dataset that uses the access."
            )
        for dataset_id in labels_of(self.dataset_ids, argument="dataset_ids"):
            check_id(dataset_id, argument="dataset_ids")

    def perform(self, context: Context) -> dict[str, Any]:
        """Rotate, move, wait, and delete."""
        from lightly_provider.access.datasource_secrets import DatasourceSecrets
        from lightly_provider.access.rotation import AccessRotation
        from lightly_provider.access.stores import access_store
        from lightly_provider.hooks.aws import AwsConnections, refusals_explained

        began, connections = datetime.now(UTC), AwsConnections()
        external_id = self.rendered_external_id(context)
        timeout = seconds_of(self.propagation_timeout, argument="propagation_timeout", zero_allowed=True)
        ids = None if self._means_all else labels_of(self.dataset_ids, argument="dataset_ids")
        own = connections[self.aws_conn_id]
        with refusals_explained(own):
            rotation = AccessRotation(
                iam=own.client("iam"),
                store=access_store(self.access_conn_id, connections, self.airflow_api_conn_id),
                datasources=DatasourceSecrets(hook=self.hook, dataset_ids=ids, timeout=timeout),
                timeout=timeout,
                grace=seconds_of(self.grace, argument="grace", zero_allowed=True),
            )
            if self.role_name:
                outcome = rotation.rotate_role(self.role_name, external_id)
            else:
                outcome = rotation.rotate_user(str(self.user_name))
        self.log.info(
            "%s has a new secret, stored in %r. Datasets moved: %s. Still to be deleted: %s.",
            outcome.arn,
            outcome.conn_id,
            ", ".join(outcome.moved) or "none",
            ", ".join(outcome.to_delete) or "nothing",
        )
        return outcome.as_dict() | {"changed_at": began.isoformat(timespec="seconds")}


class DeleteLightlyAccessOperator(CheckedOperator):
    """
    Delete a role or user that one of the creating operators made, and its stored secret.

    Deletes exactly what they created: the role or user, its policy, its access keys, and the secret under
    ``access_conn_id``. What no longer exists is skipped, so this can be their teardown whatever they did.

    :param role_name: The role. Templated.
    :param user_name: The user; either this or ``role_name``. Templated.
    :param access_conn_id: Where the access is kept, as the creating operator has it. Templated.
    :param aws_conn_id: AWS connection of Airflow's own identity. Default: ``aws_default``. Templated.
    :param airflow_api_conn_id: Connection to Airflow's own API, as the creating operator has it. Default: none.
        Templated.
    :param allow_unmanaged: Whether a role or user without the provider's tag, and an access that somebody else keeps
        under ``access_conn_id``, may be deleted. Default: False.
    :return: What was deleted: some of ``role``, ``user`` and ``kept access``.
    :raises ValueError: An argument is invalid.
    :raises LightlyAccessError: AWS denied a request, it belongs to another owner or another AWS account, or others
        attached something to it.
    """

    template_fields: Sequence[str] = (
        "role_name",
        "user_name",
        "access_conn_id",
        "aws_conn_id",
        "airflow_api_conn_id",
    )
    custom_operator_name = "Lightly delete access"
    ui_color = "#fff4e0"

    def __init__(
        self,
        *,
        role_name: str | None = None,
        user_name: str | None = None,
        access_conn_id: str,
        aws_conn_id: str = "aws_default",
        airflow_api_conn_id: str | None = None,
        allow_unmanaged: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.role_name = role_name
        self.user_name = user_name
        self.access_conn_id = access_conn_id
        self.aws_conn_id = aws_conn_id
        self.airflow_api_conn_id = airflow_api_conn_id
        self.allow_unmanaged = allow_unmanaged
        self.check_arguments()

    def check_arguments(self) -> None:
        """See :meth:`CheckedArguments.check_arguments`."""
        super().check_arguments()
        _check_names(self.role_name, self.user_name, "it is what will be deleted")
        if is_static(self.access_conn_id):
            check_access_conn_id(self.access_conn_id, argument="access_conn_id")

    def perform(self, context: Context) -> list[str]:
        """Delete what is there."""
        from lightly_provider.access.provisioning import AccessProvisioning
        from lightly_provider.access.stores import access_store
        from lightly_provider.hooks.aws import AwsConnections, refusals_explained

        connections = AwsConnections()
        kind = PrincipalKind.ROLE if self.role_name else PrincipalKind.USER
        name = str(self.role_name or self.user_name)
        own = connections[self.aws_conn_id]
        with refusals_explained(own):
            access = AccessProvisioning(
                iam=own.client("iam"),
                store=access_store(self.access_conn_id, connections, self.airflow_api_conn_id),
                endpoint={},
                timeout=0,
                account=own.account,
            )
            gone = access.delete(kind, name, allow_unmanaged=self.allow_unmanaged)
        self.log.info(
            "The %s %r: %s.", kind, name, f"deleted {' and '.join(gone)}" if gone else "there was nothing to delete"
        )
        return list(gone)
