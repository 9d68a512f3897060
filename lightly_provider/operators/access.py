"""Access: the role or user that Lightly uses, created, rotated and deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightly_provider.aws.credentials import check_external_id
from lightly_provider.aws.principals import PrincipalKind
from lightly_provider.exceptions import LightlyAccessError
from lightly_provider.hooks.access_address import check_access_conn_id
from lightly_provider.operators.access_base import CreateAccessOperator, check_principal_name
from lightly_provider.operators.arguments import is_static
from lightly_provider.operators.base import CheckedOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

    from lightly_provider.hooks.access import AccessOutcome, AccessProvisioning


class CreateLightlyAccessRoleOperator(CreateAccessOperator):
    """
    Create the IAM role that Lightly assumes (delegated access), or make an existing one so.

    Idempotent: what is so already is not set again. The role trusts Lightly's account with an external ID, allows
    sessions of 12 hours, may do what the purposes need at these locations and no more, and is tagged
    ``managed-by=airflow-provider-lightly``. A role without that tag is left alone.

    The external ID is kept where ``access_conn_id`` says, as an AWS connection, and nowhere else:
    ``ConfigureS3DatasourceOperator(datasource_aws_conn_id=…)`` takes the same text. It is never changed unless
    ``rotate``.

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
    :param kms_key_arn: KMS key with which Lightly shall encrypt what it writes. Default: none. Templated.
    :param read_kms_key_arns: KMS keys with which the files are encrypted that Lightly shall read. Default: none.
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
    :param permissions_boundary: ARN of a managed policy that limits the role; None (default): no boundary. Templated.
    :param tags: Tags of the role, beside the provider's own. Default: none. Templated.
    :param allow_unmanaged: Whether a role without the provider's tag, and an access that somebody else keeps under
        ``access_conn_id``, may be taken over. Default: False.
    :param propagation_timeout: Seconds, or a timedelta, that a change may take until IAM shows it and, in a rotation,
        the platform can use it. 0 looks once. Default: 60.
    :param rotate: Whether the external ID shall be another one: both are accepted until all datasources have the new
        one and the platform has verified it. A run that was interrupted is finished by the next. Default: False.
    :param dataset_ids: With ``rotate``: the datasets whose datasources use the role, and no others are looked at. None
        (default): all of the token's own. Templated.
    :param external_id: The external ID: at least 10 characters. None (default): the one that the role has, or a
        random one. It is a secret; see :class:`ConfigureS3DatasourceOperator` for how it is kept out of fields.
    :param lightly_conn_id: Airflow connection of type ``lightly``; used with ``rotate`` only. Default:
        ``lightly_default``.
    :return: ``{"arn", "conn_id", "changed", "rotated_datasets", "changed_at"}``, the last as ISO 8601, None if nothing
        changed; ``arn`` and ``conn_id`` are in XComs of their own, too, so that ``create.output["conn_id"]`` is what
        the next task takes.
    :raises ValueError: An argument cannot be right.
    :raises LookupError: S3 says that a bucket does not exist. Nothing was created.
    :raises LightlyAccessError: AWS refused, or what is there is another's.
    """

    template_fields: Sequence[str] = ("role_name", *CreateAccessOperator.template_fields)

    def __init__(self, *, role_name: str, external_id: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.role_name = role_name
        self.external_id = external_id
        self.check_arguments()

    @classmethod
    def partial(cls, *, external_id: None = None, **kwargs: Any) -> Any:
        """A mapped task; see Airflow's dynamic task mapping."""
        if external_id is not None:
            raise ValueError(
                "external_id is given to a mapped task, whose arguments Airflow stores in clear; leave it out, and a "
                "random one is made."
            )
        # What is given here cannot be given to expand() any more.
        return super().partial(external_id=None, **kwargs)

    @property
    def _kind(self) -> PrincipalKind:
        return PrincipalKind.ROLE

    @property
    def _name(self) -> str:
        return self.role_name

    def check_arguments(self) -> None:
        """See :meth:`CheckedOperator.check_arguments`."""
        super().check_arguments()
        if self.external_id is not None and not isinstance(self.external_id, str):
            raise ValueError(
                "external_id is the output of another task, which XCom would keep in clear; leave it out, and a random "
                "one is made."
            )
        if self.external_id and is_static(self.external_id):
            check_external_id(self.external_id, argument="external_id")

    def _provision(self, context: Context, access: AccessProvisioning) -> AccessOutcome:
        from airflow.providers.common.compat.sdk import mask_secret

        partition = str(access.iam.meta.partition)
        if partition != "aws":
            raise LightlyAccessError(
                f"The connection {self.aws_conn_id!r} is of the partition {partition!r}, and the platform takes roles "
                "of the partition 'aws' only; use CreateLightlyAccessUserOperator instead."
            )
        external_id = None
        if self.external_id:
            external_id = str(self.render_template(self.external_id, context))
            mask_secret(external_id)
            check_external_id(external_id, argument="external_id")
        return access.create_role(self._wanted(partition), external_id)


class CreateLightlyAccessUserOperator(CreateAccessOperator):
    """
    Create the IAM user whose keys Lightly uses (user access), or make an existing one so.

    Idempotent: what is so already is not set again. The user may do what the purposes need at these locations and no
    more, and is tagged ``managed-by=airflow-provider-lightly``. A user without that tag is left alone.

    The secret key is kept where ``access_conn_id`` says, as an AWS connection, and nowhere else:
    ``ConfigureS3DatasourceOperator(datasource_aws_conn_id=…)`` takes the same text. A key whose secret is not kept
    there any more is replaced by a new one. What is new is waited for: the keys must list every location.

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
    :param kms_key_arn: KMS key with which Lightly shall encrypt what it writes. Default: none. Templated.
    :param read_kms_key_arns: KMS keys with which the files are encrypted that Lightly shall read. Default: none.
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
    :param permissions_boundary: ARN of a managed policy that limits the user; None (default): no boundary. Templated.
    :param tags: Tags of the user, beside the provider's own. Default: none. Templated.
    :param allow_unmanaged: Whether a user without the provider's tag, and an access that somebody else keeps under
        ``access_conn_id``, may be taken over. Default: False.
    :param propagation_timeout: Seconds, or a timedelta, that a change may take until the keys can list and, in a
        rotation, the platform can use them. 0 looks once. Default: 60.
    :param rotate: Whether the key shall be a new one: it is kept, given to all datasources that have the old one, and
        verified by the platform; then the old one is deleted. A run that was interrupted is finished by the next.
        Default: False.
    :param dataset_ids: With ``rotate``: the datasets whose datasources use the user, and no others are looked at. None
        (default): all of the token's own. Templated.
    :param lightly_conn_id: Airflow connection of type ``lightly``; used with ``rotate`` only. Default:
        ``lightly_default``.
    :return: ``{"arn", "conn_id", "changed", "rotated_datasets", "changed_at"}``, the last as ISO 8601, None if nothing
        changed; ``arn`` and ``conn_id`` are in XComs of their own, too, so that ``create.output["conn_id"]`` is what
        the next task takes.
    :raises ValueError: An argument cannot be right.
    :raises LookupError: S3 says that a bucket does not exist. Nothing was created.
    :raises LightlyAccessError: AWS refused, the keys took no effect in time, or what is there is another's.
    """

    template_fields: Sequence[str] = ("user_name", *CreateAccessOperator.template_fields)

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


class DeleteLightlyAccessOperator(CheckedOperator):
    """
    Delete a role or user that one of the other two created, and what is kept of it.

    What goes is what they made: the role or user, its policy, its access keys, and the secret under ``access_conn_id``.
    What is gone already is passed over, so that it serves as a teardown of any of their outcomes.

    :param role_name: The role. Templated.
    :param user_name: The user; either this or ``role_name``. Templated.
    :param access_conn_id: Where the access is kept, as the creating operator has it. Templated.
    :param aws_conn_id: AWS connection of Airflow's own identity. Default: ``aws_default``. Templated.
    :param airflow_api_conn_id: Connection to Airflow's own API, as the creating operator has it. Default: none.
        Templated.
    :param allow_unmanaged: Whether a role or user without the provider's tag, and an access that somebody else keeps
        under ``access_conn_id``, may be deleted. Default: False.
    :return: What was there and is gone: some of ``role``, ``user`` and ``kept access``.
    :raises ValueError: An argument cannot be right.
    :raises LightlyAccessError: AWS refused, what is there is another's, or something that others made hangs on it.
    """

    template_fields: Sequence[str] = (
        "role_name",
        "user_name",
        "access_conn_id",
        "aws_conn_id",
        "airflow_api_conn_id",
    )
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
        """See :meth:`CheckedOperator.check_arguments`."""
        # A template may come out empty, so what it stands for is known in execute only.
        names_known = is_static(self.role_name) and is_static(self.user_name)
        if names_known and bool(self.role_name) == bool(self.user_name):
            raise ValueError("Give one of role_name and user_name, and not both: it is what will be deleted.")
        for argument, name in (("role_name", self.role_name), ("user_name", self.user_name)):
            if name and is_static(name):
                check_principal_name(name, argument=argument)
        if is_static(self.access_conn_id):
            check_access_conn_id(self.access_conn_id, argument="access_conn_id")

    def perform(self, context: Context) -> list[str]:
        """Delete what is there."""
        from lightly_provider.hooks.access import AccessProvisioning
        from lightly_provider.hooks.access_store import access_store
        from lightly_provider.hooks.aws import aws_client, refusals_explained, secrets_kept_from_the_log

        kind = PrincipalKind.ROLE if self.role_name else PrincipalKind.USER
        name = str(self.role_name or self.user_name)
        with secrets_kept_from_the_log(), refusals_explained(self.aws_conn_id):
            access = AccessProvisioning(
                iam=aws_client(self.aws_conn_id, "iam"),
                store=access_store(self.access_conn_id, self.airflow_api_conn_id),
                endpoint={},
                timeout=0,
            )
            gone = access.delete(kind, name, allow_unmanaged=self.allow_unmanaged)
        self.log.info("The %s %r: %s.", kind, name, f"deleted {' and '.join(gone)}" if gone else "nothing was there")
        return list(gone)
