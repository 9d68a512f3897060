"""Datasources: point a dataset at its S3 locations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from lightly_provider.aws.location import S3Location
from lightly_provider.foreign_text import shown
from lightly_provider.links import LightlyDatasetLink, push_dataset_link
from lightly_provider.operators.arguments import check_choice, check_id, is_static
from lightly_provider.operators.base import LightlyBaseOperator
from lightly_provider.operators.external_id import ExternalIdArgument

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

    from lightly_provider.api.models.datasource import Datasource, S3Datasource
    from lightly_provider.aws.credentials import DelegatedAccess, UserAccess
    from lightly_provider.contract import Purpose
    from lightly_provider.hooks.aws import AwsConnection, AwsConnections
    from lightly_provider.lineage import Moved, Platform

# Where the platform's own page puts thumbnails (lightly 1.5.26, api/api_workflow_datasources.py).
DEFAULT_THUMBNAIL_SUFFIX = ".lightly/thumbnails/[filename]_thumb.[extension]"
PURPOSES = ("INPUT", "LIGHTLY", "INPUT_OUTPUT")


class _Target(NamedTuple):
    """One datasource that is to be set, and the arguments that it comes from."""

    purpose: Purpose
    location: S3Location
    argument: str
    conn_id: str | None
    thumbnail_suffix: str | None
    kms_key_arn: str | None


class ConfigureS3DatasourceOperator(LightlyBaseOperator, ExternalIdArgument):
    """
    Make an S3 location the datasource of a dataset.

    Idempotent: what is up to date is not set again. (If the platform's response hides the secret, the secrets cannot
    be compared, and the datasource is set again.)

    How Lightly reaches the bucket is decided by what the AWS connection holds: an IAM user's keys (user access), or a
    ``role_arn`` with ``assume_role_kwargs.ExternalId`` in its extra (delegated access). Airflow itself neither
    reads the bucket nor assumes the role. The platform stores the keys and has no field for a session token, so
    temporary credentials are refused.

    :param dataset_id: Id of the dataset, e.g. ``create_dataset.output``. Templated.
    :param resource_path: ``s3://bucket/prefix/`` with the images or videos. Templated.
    :param purpose: ``INPUT`` (raw files, only read), ``LIGHTLY`` (what Lightly stores, and predictions), or
        ``INPUT_OUTPUT`` (both in one place). None (default): INPUT_OUTPUT, or INPUT if ``output_resource_path`` is
        given. Templated.
    :param datasource_aws_conn_id: AWS connection whose keys, or role and external ID, are handed over to Lightly; or
        the address of a secret that holds such a connection, e.g. ``secretsmanager://aws_default/lightly/photos``.
        Required unless ``role_arn`` is given, and not read then. Templated.
    :param role_arn: Role that Lightly assumes, instead of a connection; needs ``external_id``. Templated.
    :param external_id: The external ID that the role's trust policy asks for: at least 10 characters. It is a secret,
        and is kept out of rendered fields, logs and the serialized DAG; better still, keep it in a connection. Rendered
        as a template in ``execute``. A task's output is refused, because XCom would store it in clear text, and so is a
        mapped task (``partial``, ``expand``), whose arguments Airflow stores in clear text. Airflow also stores a DAG's
        ``default_args`` so: do not put it there.
    :param region: The bucket's AWS region. None (default): S3 is asked; failing that, the connection's
        ``region_name``. Templated.
    :param generate_thumbnails: Let Lightly store thumbnails, under ``.lightly/thumbnails/``. Default: False.
        Templated.
    :param thumbnail_suffix: Pattern of the thumbnails' paths with ``[filename]`` and ``[extension]``, instead of the
        default one; turns thumbnails on. Templated.
    :param kms_key_arn: KMS key with which Lightly encrypts what it writes. Templated.
    :param output_resource_path: ``s3://bucket/prefix/`` for what Lightly writes, so that the input stays clean: sets
        a second datasource, of purpose LIGHTLY, which gets the thumbnails and the KMS key. Templated.
    :param output_aws_conn_id: AWS connection for the output. Default: the same access as for the input. Templated.
    :param lightly_conn_id: Airflow connection of type ``lightly``. Default: ``lightly_default``. Templated.
    :return: ``{"dataset_id", "changed": [purposes], "datasources": {purpose: what is set, secrets left out}}``.
    :raises ValueError: An argument or a connection is invalid. Nothing was sent to Lightly.
    :raises LookupError: S3 says that the bucket does not exist. Nothing was sent to Lightly.
    :raises LightlyDatasetInUseError: The input would change, and a worker has taken a run on the dataset. Nothing was
        set.
    """

    template_fields: Sequence[str] = (
        "lightly_conn_id",
        "dataset_id",
        "resource_path",
        "purpose",
        "datasource_aws_conn_id",
        "role_arn",
        "region",
        "generate_thumbnails",
        "thumbnail_suffix",
        "kms_key_arn",
        "output_resource_path",
        "output_aws_conn_id",
    )
    operator_extra_links = (LightlyDatasetLink(),)
    custom_operator_name = "Lightly configure S3"
    ui_color = "#e8f4ff"
    instead = "put it into an AWS connection and pass datasource_aws_conn_id"

    def __init__(
        self,
        *,
        dataset_id: str,
        resource_path: str,
        purpose: str | None = None,
        datasource_aws_conn_id: str | None = None,
        role_arn: str | None = None,
        external_id: str | None = None,
        region: str | None = None,
        generate_thumbnails: bool = False,
        thumbnail_suffix: str | None = None,
        kms_key_arn: str | None = None,
        output_resource_path: str | None = None,
        output_aws_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.resource_path = resource_path
        self.purpose = purpose
        self.datasource_aws_conn_id = datasource_aws_conn_id
        self.role_arn = role_arn
        self.external_id = external_id
        self.region = region
        self.generate_thumbnails = generate_thumbnails
        self.thumbnail_suffix = thumbnail_suffix
        self.kms_key_arn = kms_key_arn
        self.output_resource_path = output_resource_path
        self.output_aws_conn_id = output_aws_conn_id
        self.check_arguments()

    def check_arguments(self) -> None:
        """See :meth:`CheckedArguments.check_arguments`."""
        super().check_arguments()
        if is_static(self.dataset_id):
            check_id(self.dataset_id, argument="dataset_id")
        if self.purpose and is_static(self.purpose):
            check_choice(self.purpose, PURPOSES, argument="purpose")
        if is_static(self.resource_path):
            S3Location.parse(self.resource_path, argument="resource_path")
        if self.output_resource_path and is_static(self.output_resource_path):
            S3Location.parse(self.output_resource_path, argument="output_resource_path")
        if self.region and is_static(self.region):
            from lightly_provider.aws.regions import check_region
            from lightly_provider.hooks.aws import regions_of_botocore

            check_region(self.region, argument="region", known=regions_of_botocore())
        if self.kms_key_arn and is_static(self.kms_key_arn):
            from lightly_provider.aws.credentials import check_kms_key_arn

            check_kms_key_arn(self.kms_key_arn, argument="kms_key_arn")
        if self.thumbnail_suffix and is_static(self.thumbnail_suffix) and "[filename]" not in self.thumbnail_suffix:
            raise ValueError(
                f"thumbnail_suffix is {self.thumbnail_suffix!r}, so that all thumbnails would be one file; put "
                f"[filename] into it, e.g. {DEFAULT_THUMBNAIL_SUFFIX!r}."
            )
        self._check_access_arguments()
        self._check_together()
        self._check_handed_over()

    def _check_access_arguments(self) -> None:
        # An empty role_arn counts as none: with a template that renders to nothing, the connection decides.
        if bool(self.role_arn) != bool(self.external_id):
            given, missing = ("role_arn", "external_id") if self.role_arn else ("external_id", "role_arn")
            raise ValueError(f"{given} is given without {missing}; Lightly assumes a role only with both.")
        if self.role_arn and is_static(self.role_arn):
            from lightly_provider.aws.credentials import check_role_arn

            check_role_arn(self.role_arn, argument="role_arn")

    def _check_together(self) -> None:
        if self.output_resource_path and self.purpose and is_static(self.purpose) and self.purpose != "INPUT":
            raise ValueError(
                f"purpose is {self.purpose!r} and output_resource_path is given, which makes resource_path the INPUT; "
                "leave purpose out, or set the two datasources by two tasks."
            )
        if self.output_aws_conn_id and not self.output_resource_path:
            raise ValueError("output_aws_conn_id is given without output_resource_path; add that, or leave it out.")
        thumbnails = self._thumbnails and is_static(self.generate_thumbnails)
        if self.purpose == "INPUT" and not self.output_resource_path and thumbnails:
            raise ValueError(
                "Thumbnails are asked for on a datasource of purpose INPUT, which is only read; "
                "ask for them on the LIGHTLY datasource, or give output_resource_path."
            )

    def _check_handed_over(self) -> None:
        conn_id = self.datasource_aws_conn_id
        if not (self.role_arn or conn_id) and is_static(self.role_arn) and is_static(conn_id):
            raise ValueError(
                f"datasource_aws_conn_id is {conn_id!r}; name the AWS connection whose keys, or role and external ID, "
                "are handed over to Lightly, which has no default."
            )

    @property
    def _thumbnails(self) -> str | None:
        return self.thumbnail_suffix or (DEFAULT_THUMBNAIL_SUFFIX if self.generate_thumbnails else None)

    def perform(self, context: Context) -> dict[str, Any]:
        """Set the datasources that are not up to date."""
        from lightly_provider.hooks.aws import AwsConnections

        # Determine all before setting any, so that a mistake in the output leaves the input unchanged.
        connections, external_id = AwsConnections(), self.rendered_external_id(context)
        wanted = self.wanted(connections, external_id)
        for target, request in zip(self._targets(), wanted, strict=True):
            access = self._access(target, external_id, connections).describe()
            self.log.info("%s is %s in %s: %s", target.purpose, target.location, request.s3_region, access)
        url = push_dataset_link(context, self.hook.connection.web_url, self.dataset_id, waits=False)
        changed = []
        present = self.hook.get_datasources(self.dataset_id)
        self._warn_of_specific(present, wanted)
        for request in wanted:
            if self.hook.set_datasource(self.dataset_id, request, present=present):
                changed.append(request.purpose)
                self.log.info("Set datasource %s of dataset %s: %s", request.purpose, self.dataset_id, request.public())
            else:
                self.log.info("Datasource %s is already up to date: %s", request.purpose, request.public())
        self.log.info("Dataset: %s", url)
        self.platform.announce_dataset(self, context, self.dataset_id)
        return {
            "dataset_id": self.dataset_id,
            "changed": changed,
            "datasources": {request.purpose: request.public() for request in wanted},
        }

    def _warn_of_specific(self, present: Sequence[Datasource], wanted: Sequence[S3Datasource]) -> None:
        from lightly_provider.hooks.verbs.datasources import elsewhere

        for each in elsewhere(present, wanted):
            self.log.warning(
                "Dataset %s still has a datasource %s, %s, which counts before INPUT_OUTPUT and cannot be removed; "
                "give output_resource_path, or use another dataset.",
                self.dataset_id,
                each.purpose,
                shown(each.full_path, longest=300),
            )

    def wanted(self, connections: AwsConnections, external_id: str | None = None) -> list[S3Datasource]:
        """
        Return the datasources that the arguments describe. They hold secrets: show only ``public()``.

        S3 is asked for the region, unless that is given; nothing else is read, and nothing is sent to Lightly.

        :param connections: The AWS connections, each read once.
        :param external_id: The external ID of ``role_arn``. None (default): there is none.
        :raises ValueError: See the class; likewise LookupError.
        """
        return [self._request(target, external_id, connections) for target in self._targets()]

    def moved(self, platform: Platform) -> Moved:
        """See :meth:`DescribedLineage.moved`."""
        from lightly_provider.contract import Purpose
        from lightly_provider.lineage import Moved, location

        # A datasource of purpose LIGHTLY is where Lightly writes.
        read = [location(target.location) for target in self._targets() if target.purpose is not Purpose.LIGHTLY]
        return Moved(inputs=read, outputs=[platform.dataset(self.dataset_id)])

    def _targets(self) -> list[_Target]:
        from lightly_provider.contract import Purpose

        location = S3Location.parse(self.resource_path, argument="resource_path")
        conn_id = None if self.role_arn else self.datasource_aws_conn_id
        single = Purpose(self.purpose) if self.purpose else Purpose.INPUT_OUTPUT
        if not self.output_resource_path:
            return [
                _Target(
                    purpose=single,
                    location=location,
                    argument="resource_path",
                    conn_id=conn_id,
                    thumbnail_suffix=self._thumbnails,
                    kms_key_arn=self.kms_key_arn,
                )
            ]
        return [
            _Target(
                purpose=Purpose.INPUT,
                location=location,
                argument="resource_path",
                conn_id=conn_id,
                thumbnail_suffix=None,
                kms_key_arn=None,
            ),
            _Target(
                purpose=Purpose.LIGHTLY,
                location=S3Location.parse(self.output_resource_path, argument="output_resource_path"),
                argument="output_resource_path",
                conn_id=self.output_aws_conn_id or conn_id,
                thumbnail_suffix=self._thumbnails,
                kms_key_arn=self.kms_key_arn,
            ),
        ]

    def _access(
        self, target: _Target, external_id: str | None, connections: AwsConnections
    ) -> UserAccess | DelegatedAccess:
        from lightly_provider.aws.credentials import DelegatedAccess

        if target.conn_id:
            return connections[target.conn_id].access
        return DelegatedAccess(str(self.role_arn), str(external_id))

    def _request(self, target: _Target, external_id: str | None, connections: AwsConnections) -> S3Datasource:
        from lightly_provider.api.models.datasource import S3DelegatedAccessDatasource, S3UserAccessDatasource
        from lightly_provider.aws.credentials import UserAccess, check_kms_key_arn

        if target.location.warning:
            self.log.warning(target.location.warning)
        access = self._access(target, external_id, connections)
        region = self._region(target, connections[target.conn_id])
        if target.kms_key_arn:
            check_kms_key_arn(target.kms_key_arn, argument="kms_key_arn", bucket_region=region)
        common: dict[str, Any] = {
            "purpose": target.purpose.value,
            "full_path": target.location.uri,
            "s3_region": region,
            "thumb_suffix": target.thumbnail_suffix,
            "kms_key_arn": target.kms_key_arn,
        }
        if isinstance(access, UserAccess):
            return S3UserAccessDatasource(
                s3_access_key_id=access.access_key_id, s3_secret_access_key=access.secret_access_key, **common
            )
        return S3DelegatedAccessDatasource(s3_arn=access.role_arn, s3_external_id=access.external_id, **common)

    def _region(self, target: _Target, connection: AwsConnection) -> str:
        from lightly_provider.aws.regions import check_region
        from lightly_provider.hooks.aws import find_bucket_region, regions_of_botocore

        region = self.region or find_bucket_region(target.location.bucket, connection) or connection.region
        if not region:
            raise ValueError(
                f"The region of bucket {target.location.bucket!r} ({target.argument}) could not be found: "
                "S3 did not return it, and no connection names one; set the argument region."
            )
        verdict = check_region(region, argument="region", known=regions_of_botocore())
        if verdict.warning:
            self.log.warning(verdict.warning)
        return region
