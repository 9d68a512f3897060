"""What creating a role and creating a user have in common: the arguments, their checks, and the policy of them."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lightly_provider.aws.grant_arguments import grants_for, network_of
from lightly_provider.aws.grants import access_policy
from lightly_provider.aws.policies import Purpose
from lightly_provider.aws.policy_documents import PolicyKind, check_size
from lightly_provider.aws.principals import MARK_KEY, MARK_VALUE, PrincipalKind
from lightly_provider.hooks.access_address import check_access_conn_id
from lightly_provider.operators.arguments import check_choice, check_id, is_static, labels_of, seconds_of
from lightly_provider.operators.base import LightlyBaseOperator

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from airflow.providers.common.compat.sdk import Context

    from lightly_provider.aws.access import Wanted
    from lightly_provider.aws.grants import Grant
    from lightly_provider.aws.policies import PolicyDocument
    from lightly_provider.hooks.access import AccessOutcome, AccessProvisioning

# AWS docs: IAM and STS quotas, "IAM name requirements" and "IAM object quotas".
_NAME = r"(?a)[\w+=,.@-]{1,64}"
_PATH = r"/|/[\x21-\x7e]{1,510}/"
_BOUNDARY = r"arn:aws[a-z-]*:iam::(?:[0-9]{12}|aws):policy/.+"
_MAX_TAGS = 50
_NAMES = {
    "inputs": "resource_path",
    "outputs": "output_resource_path",
    **{name: name for name in ("purpose", "kms_key_arn", "read_kms_key_arns", "source_ips", "source_vpcs")},
}


class CreateAccessOperator(LightlyBaseOperator):
    """
    Base of the operators that create a role or a user; their docstrings say what each argument is.
    """

    template_fields: Sequence[str] = (
        "lightly_conn_id",
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
        "dataset_ids",
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
        rotate: bool = False,
        dataset_ids: Sequence[str] | None = None,
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
        self.rotate = rotate
        self.dataset_ids = dataset_ids

    @property
    @abstractmethod
    def _kind(self) -> PrincipalKind: ...

    @property
    @abstractmethod
    def _name(self) -> str: ...

    def check_arguments(self) -> None:
        """See :meth:`CheckedOperator.check_arguments`."""
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
        if self.dataset_ids is not None and is_static(self.dataset_ids):
            if not self.rotate:
                raise ValueError(
                    "dataset_ids is given without rotate=True, and says whose datasources get a new secret; add that, "
                    "or leave it out."
                )
            for dataset_id in labels_of(self.dataset_ids, argument="dataset_ids"):
                check_id(dataset_id, argument="dataset_ids")
        seconds_of(self.propagation_timeout, argument="propagation_timeout", zero_allowed=True)
        self._check_policy()

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
            purpose=self.purpose or None,
            kms_key_arn=self.kms_key_arn or None,
            read_kms_key_arns=labels_of(self.read_kms_key_arns, argument="read_kms_key_arns"),
            names=_NAMES,
        )

    def _buckets(self) -> list[str]:
        return list(dict.fromkeys(grant.location.bucket for grant in self._grants()))

    def perform(self, context: Context) -> dict[str, Any]:
        """Create, compare and set, wait, and rotate."""
        from lightly_provider.hooks.aws import refusals_explained, secrets_kept_from_the_log

        began = datetime.now(UTC)
        with secrets_kept_from_the_log(), refusals_explained(self.aws_conn_id):
            outcome = self._provision(context, self._provisioning())
        done = f"changed: {', '.join(outcome.changed)}" if outcome.changed else "all is so already"
        self.log.info("%s (%s); its secret is in %r.", outcome.arn, done, outcome.conn_id)
        if outcome.rotated_datasets:
            self.log.info("Datasets with the new secret: %s", ", ".join(outcome.rotated_datasets))
        result = outcome.as_dict()
        for key in ("arn", "conn_id"):
            context["ti"].xcom_push(key=key, value=result[key])
        return result | {"changed_at": began.isoformat(timespec="seconds") if outcome.changed else None}

    @abstractmethod
    def _provision(self, context: Context, access: AccessProvisioning) -> AccessOutcome: ...

    def _provisioning(self) -> AccessProvisioning:
        from lightly_provider.hooks.access import AccessProvisioning
        from lightly_provider.hooks.access_store import access_store
        from lightly_provider.hooks.aws import aws_client, endpoint_extra, find_bucket_region
        from lightly_provider.hooks.datasource_secrets import DatasourceSecrets

        timeout = seconds_of(self.propagation_timeout, argument="propagation_timeout", zero_allowed=True)
        ids = None if self.dataset_ids is None else labels_of(self.dataset_ids, argument="dataset_ids")
        endpoint = endpoint_extra(self.aws_conn_id)
        # A bucket that does not exist is found out here, before anything is created for it.
        regions = [find_bucket_region(bucket, self.aws_conn_id) for bucket in self._buckets()]
        if regions[0]:
            endpoint["region_name"] = regions[0]
        return AccessProvisioning(
            iam=aws_client(self.aws_conn_id, "iam"),
            store=access_store(self.access_conn_id, self.airflow_api_conn_id),
            endpoint=endpoint,
            timeout=timeout,
            datasources=DatasourceSecrets(hook=self.hook, dataset_ids=ids, timeout=timeout) if self.rotate else None,
        )

    def _wanted(self, partition: str) -> Wanted:
        from lightly_provider.aws.access import Wanted

        return Wanted(
            name=self._name,
            policy=self._policy(partition),
            path=self.path,
            permissions_boundary=self.permissions_boundary or None,
            tags=dict(self.tags or {}),
            allow_unmanaged=self.allow_unmanaged,
        )


def check_principal_name(name: Any, *, argument: str) -> None:
    """
    Refuse what is no name of a role or user.

    :raises ValueError: With the characters that IAM takes.
    """
    if not (isinstance(name, str) and re.fullmatch(_NAME, name)):
        raise ValueError(
            f"{argument} is {name!r}; a name in IAM is 1 to 64 of letters, digits and _+=,.@- (not its ARN or path)."
        )


def _check_tags(tags: Any) -> None:
    if not isinstance(tags, Mapping) or not all(isinstance(text, str) for pair in tags.items() for text in pair):
        raise ValueError(f"tags is {tags!r}; give a mapping of texts to texts.")
    if tags.get(MARK_KEY, MARK_VALUE) != MARK_VALUE:
        raise ValueError(f"tags sets {MARK_KEY!r}, by which the provider knows what it made; leave that one out.")
    if len({*tags, MARK_KEY}) > _MAX_TAGS or any(key.lower().startswith("aws:") for key in tags):
        raise ValueError(
            f"tags has more than {_MAX_TAGS - 1} tags, or one whose key begins with 'aws:', which is AWS's."
        )


def _listed(value: str | Sequence[str] | None) -> list[str]:
    """One location or several as a list; a template that renders to nothing means none."""
    return [value] if value and isinstance(value, str) else list(value or [])
