"""Datasources that change their secret and nothing else: found by the old one, set to the new one, verified."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightly_provider.access.propagation import wait_until
from lightly_provider.aws.credentials import DelegatedAccess, UserAccess
from lightly_provider.contract import Purpose
from lightly_provider.exceptions import LightlyAccessError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from lightly_provider.api.models.datasource import Datasource, PermissionLights, S3Datasource
    from lightly_provider.hooks.lightly import LightlyHook

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class DatasourceSecrets:
    """
    The datasources of some datasets, as far as their secrets go.

    :param hook: The platform.
    :param dataset_ids: The datasets; None: all of the token's own.
    :param timeout: Seconds that a new secret may take until the platform can use it.
    """

    hook: LightlyHook
    dataset_ids: Sequence[str] | None
    timeout: float

    def key_ids(self) -> set[str]:
        """The ids of the access keys that the datasources have."""
        return {datasource.s3_access_key_id for _, datasource in self._all() if datasource.s3_access_key_id}

    def move(self, uses_old: Callable[[Datasource], bool], access: UserAccess | DelegatedAccess) -> list[str]:
        """
        Give the new access to all datasources with an old one, and let the platform verify it.

        What the platform could do before, it must be able to do again within the timeout.

        :param uses_old: Whether a datasource has an old one.
        :param access: The new one.
        :return: The ids of the datasets that were changed.
        :raises LightlyAccessError: The platform cannot use the new one, or some datasource got an old one meanwhile.
        """
        found = [(dataset_id, datasource) for dataset_id, datasource in self._all() if uses_old(datasource)]
        datasets = list(dict.fromkeys(dataset_id for dataset_id, _ in found))
        for dataset_id in datasets:
            before = self.hook.verify_datasource(dataset_id)
            for _, datasource in (pair for pair in found if pair[0] == dataset_id):
                self.hook.set_datasource(dataset_id, _with_access(datasource, access))
                log.info("Datasource %s of dataset %s has %s now.", datasource.purpose, dataset_id, access.describe())
            self._verify(dataset_id, before)
        late = sorted({dataset_id for dataset_id, datasource in self._all() if uses_old(datasource)})
        # Where the platform hides the external ID, nothing tells the old one from the new one.
        if isinstance(access, UserAccess) and late:
            raise LightlyAccessError(
                f"The datasources of {', '.join(late)} have the old access key still or again, so it is kept; run the "
                "task again when nothing else configures them."
            )
        return datasets

    def _verify(self, dataset_id: str, before: PermissionLights) -> None:
        required = {name for name, green in _lights(before).items() if green} or {"list"}
        seen: list[PermissionLights] = []

        def missing() -> str | None:
            seen.append(self.hook.verify_datasource(dataset_id))
            red = [name for name, green in _lights(seen[-1]).items() if not green and name in required]
            return ", ".join(red) or None

        denied, waited = wait_until(missing, timeout=self.timeout)
        if denied:
            errors = seen[-1].errors.model_dump(exclude_none=True)
            said = f" ({' | '.join(dict.fromkeys(errors.values()))})" if errors else ""
            raise LightlyAccessError(
                f"Dataset {dataset_id} has the new secret, and after {waited:.0f} s the platform cannot {denied} with "
                f"it{said}; the old one is valid still. Run the task again, which goes on from here."
            )

    def _all(self) -> Iterator[tuple[str, Datasource]]:
        ids = self.dataset_ids
        for dataset_id in (dataset.id for dataset in self.hook.get_datasets()) if ids is None else ids:
            for datasource in self.hook.get_datasources(dataset_id):
                if datasource.type.startswith("S3") and datasource.purpose in list(Purpose):
                    yield dataset_id, datasource


def _lights(answer: PermissionLights) -> dict[str, bool]:
    return {
        "list": answer.can_list,
        "read": answer.can_read,
        "write": answer.can_write,
        "overwrite": answer.can_overwrite,
    }


def _with_access(datasource: Datasource, access: UserAccess | DelegatedAccess) -> S3Datasource:
    from lightly_provider.api.models.datasource import S3DelegatedAccessDatasource, S3UserAccessDatasource

    same: dict[str, Any] = {
        "purpose": datasource.purpose,
        "full_path": datasource.full_path,
        "s3_region": datasource.s3_region or "",
        "thumb_suffix": datasource.thumb_suffix,
        "kms_key_arn": datasource.kms_key_arn,
    }
    if isinstance(access, UserAccess):
        return S3UserAccessDatasource(
            s3_access_key_id=access.access_key_id, s3_secret_access_key=access.secret_access_key, **same
        )
    return S3DelegatedAccessDatasource(s3_arn=access.role_arn, s3_external_id=access.external_id, **same)
