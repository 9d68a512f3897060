"""Whether what lies under a location fits the dataset's type; no match never passes silently. Acts by listing only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightly_provider.aws.denials import denial_of
from lightly_provider.aws.findings import Finding, Status
from lightly_provider.aws.fixes import Remedy
from lightly_provider.aws.inventory import MediaType, expected_kind, survey
from lightly_provider.aws.near_misses import near_misses

if TYPE_CHECKING:
    from lightly_provider.aws.inventory import Inventory
    from lightly_provider.aws.listing import Lister
    from lightly_provider.aws.location import S3Location

# Further pages that are looked at while none of the first held a file of the dataset's type.
_PAGES_IN_SEARCH = 10


def check_content(lister: Lister, location: S3Location, dataset_type: str) -> Finding:
    """
    Compare what is there with what the dataset is made of. One request, where the first page holds such a file.

    :param lister: Lists the bucket.
    :param location: Where the files shall be.
    :param dataset_type: ``Images``, ``Videos`` or ``Crops``.
    :return: PASS with the counts; WARN where there is no such file, with prefixes that may be meant; UNKNOWN where
        listing is denied.
    """
    kind = expected_kind(dataset_type)
    try:
        inventory = survey(lister, location)
        if not inventory.counts[kind] and not inventory.is_complete:
            inventory = survey(lister, location, pages=_PAGES_IN_SEARCH)
    except Exception as failure:  # noqa: BLE001  (whatever botocore raises is the finding)
        denial = denial_of(failure)
        return Finding("content", Status.UNKNOWN, f"not listed: {denial.text or denial.cause}", denial)
    if inventory.counts[kind]:
        return Finding("content", Status.PASS, inventory.describe(), counts=inventory.numbers())
    return _no_match(lister, location, kind, inventory)


def _no_match(lister: Lister, location: S3Location, kind: MediaType, inventory: Inventory) -> Finding:
    what = "images" if kind is MediaType.IMAGES else "videos"
    message = f"no {what} under {location.uri} ({inventory.describe()})"
    other = MediaType.VIDEOS if kind is MediaType.IMAGES else MediaType.IMAGES
    if inventory.counts[other]:
        advice = f"It holds {inventory.counts[other]} files of {other.lower()}: create the dataset as {other}."
        return Finding("content", Status.WARN, message, remedy=Remedy(advice), counts=inventory.numbers())
    near: list[str] = []
    try:
        near = [] if inventory.n_objects else near_misses(lister, location)
    except Exception as failure:  # noqa: BLE001  (it may list under the prefix only)
        denial = denial_of(failure)
        message = f"{message}; beside it nothing could be listed ({denial.cause})"
    advice = f"Did you mean {' or '.join(near)}?" if near else "Check the path, or upload the files first."
    return Finding("content", Status.WARN, message, remedy=Remedy(advice), counts=inventory.numbers())
