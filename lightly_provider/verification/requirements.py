"""Which permissions each use of a dataset requires of each of its datasources. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightly_provider.aws.policies import PURPOSE_PERMISSIONS
from lightly_provider.contract import Permission, Purpose
from lightly_provider.suggestions import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

AUTO = "auto"
_READ_ONLY = frozenset({Permission.LIST, Permission.READ})
# If there is no separate output, video frames and object crops are written to the input's datasource (the vendor's
# guides to videos and to object-level runs).
_TYPES_THAT_WRITE = frozenset({"Videos", "Crops"})


@dataclass(frozen=True)
class DatasetUse:
    """
    How a dataset is used, as far as it affects the required permissions.

    :param dataset_type: The dataset's type on the platform: ``Images``, ``Videos``, ``Crops``.
    :param object_level: Whether runs cut objects out of the images and store the crops.
    :param relevant_filenames: Whether runs are restricted to the filenames in a file that Lightly reads.
    :param bypass_verify: Whether the worker runs inside a closed network and is configured for it
        (``datasource.bypass_verify``); then Lightly itself only needs to list.
    """

    dataset_type: str
    object_level: bool = False
    relevant_filenames: bool = False
    bypass_verify: bool = False


def required_permissions(
    dataset_type: str,
    purpose: Purpose,
    thumbnails: bool,
    *,
    separate_output: bool = False,
    object_level: bool = False,
    relevant_filenames: bool = False,
    bypass_verify: bool = False,
) -> frozenset[Permission]:
    """
    Return the permissions that a datasource must grant for this use of the dataset.

    :param dataset_type: The dataset's type on the platform: ``Images``, ``Videos``, ``Crops``.
    :param purpose: What the datasource is for.
    :param thumbnails: Whether the platform stores thumbnails there.
    :param separate_output: Whether the dataset also has a datasource of purpose LIGHTLY, which is written to instead
        of the common one.
    :param object_level: See :class:`DatasetUse`.
    :param relevant_filenames: See :class:`DatasetUse`.
    :param bypass_verify: See :class:`DatasetUse`.
    """
    if bypass_verify:
        # The vendor's guide to minimum policies: list must be granted. A file of relevant filenames must be readable;
        # it is stored with Lightly's own files.
        if relevant_filenames and (purpose is Purpose.LIGHTLY or (purpose != Purpose.INPUT and not separate_output)):
            return _READ_ONLY
        return frozenset({Permission.LIST})
    writes = (thumbnails or object_level or dataset_type in _TYPES_THAT_WRITE) and not separate_output
    if purpose == Purpose.INPUT_OUTPUT and not writes:
        return _READ_ONLY
    return PURPOSE_PERMISSIONS[purpose]


def required_of(
    use: DatasetUse,
    purpose: Purpose,
    thumbnails: bool,
    purposes: Collection[Purpose],
    require: str | Sequence[str],
) -> frozenset[Permission]:
    """
    Return the permissions that are required of one of a dataset's datasources.

    Named permissions are required exactly, each on the datasources whose purpose uses it. So ``write`` is not required
    of a read-only input if there is a separate output. A permission that no datasource's purpose uses is required of
    all datasources.

    :param use: How the dataset is used.
    :param purpose: What the datasource is for.
    :param thumbnails: Whether the platform stores thumbnails there.
    :param purposes: The purposes of all the dataset's datasources.
    :param require: ``"auto"``, or the names of permissions.
    :raises ValueError: ``require`` contains an unknown permission.
    """
    wanted = check_require(require)
    if wanted is None:
        return required_permissions(
            use.dataset_type,
            purpose,
            thumbnails,
            separate_output=Purpose.LIGHTLY in purposes,
            object_level=use.object_level,
            relevant_filenames=use.relevant_filenames,
            bypass_verify=use.bypass_verify,
        )
    used = frozenset[Permission]().union(*(PURPOSE_PERMISSIONS[one] for one in purposes))
    return wanted & (PURPOSE_PERMISSIONS[purpose] | (wanted - used))


def why_not(use: DatasetUse, purpose: Purpose, purposes: Collection[Purpose], require: str | Sequence[str]) -> str:
    """Return the reason why a permission is not required of a datasource."""
    if require != AUTO:
        return f"not required of {purpose}"
    if use.bypass_verify:
        return "not needed with bypass_verify"
    if purpose == Purpose.INPUT_OUTPUT:
        beside = " beside a LIGHTLY" if Purpose.LIGHTLY in purposes else " without thumbnails"
        return f"not needed for {purpose} of {use.dataset_type}{beside}"
    return f"not needed for {purpose}"


def check_require(require: str | Sequence[str], *, argument: str = "require") -> frozenset[Permission] | None:
    """
    Parse the permissions that a user requires.

    :param require: ``"auto"``, or the names of permissions, at least one.
    :param argument: The name of the operator's argument, for the message.
    :return: The permissions; None for ``"auto"``.
    :raises ValueError: It contains an unknown permission; the message suggests a name.
    """
    if require == AUTO:
        return None
    if isinstance(require, str):
        remedy = f"write [{require!r}]." if require in list(Permission) else _did_you_mean(require, AUTO)
        raise ValueError(f"{argument}={require!r} is neither {AUTO!r} nor a list of permissions; {remedy}")
    if not require:
        raise ValueError(f"{argument} is empty, so nothing would be verified; name a permission, or write {AUTO!r}.")
    for name in require:
        if name not in list(Permission):
            raise ValueError(f"{argument} names {name!r}, which is not a permission; {_did_you_mean(name)}")
    return frozenset(map(Permission, require))


def _did_you_mean(name: str, *more: str) -> str:
    names = [*map(str, Permission), *more]
    return did_you_mean(name, names, otherwise=f"the names are {', '.join(names)}.")
