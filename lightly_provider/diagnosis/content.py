"""Checks whether the files under a location match the dataset's type, and suggests prefixes if none do."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lightly_provider.aws.bucket import MediaType, expected_kind, survey
from lightly_provider.aws.location import S3Location
from lightly_provider.diagnosis.causes import Cause
from lightly_provider.diagnosis.failures import Failure, failure_of
from lightly_provider.diagnosis.findings import Finding, Status
from lightly_provider.diagnosis.remedies import Remedy
from lightly_provider.suggestions import nearest

if TYPE_CHECKING:
    from lightly_provider.aws.bucket import Inventory, Lister

# The number of further pages to search if the first page has no file of the dataset's type.
_PAGES_IN_SEARCH = 10


def check_content(lister: Lister, location: S3Location, dataset_type: str, *, required: bool = False) -> Finding:
    """
    Compare the files at a location with the dataset's type. One request is enough if the first page has a matching
    file.

    :param lister: Lists the bucket.
    :param location: Where the files are expected.
    :param dataset_type: ``Images``, ``Videos`` or ``Crops``.
    :param required: Whether there must be a matching file. Default: False.
    :return: PASS with the counts; if no matching file can be read, WARN, or FAIL if one is required, with suggested
        prefixes; WARN if some of the files are archived; UNKNOWN if listing is denied, or FAIL.
    """
    kind = expected_kind(dataset_type)
    none = Status.FAIL if required else Status.WARN
    try:
        inventory = survey(lister, location)
        if not inventory.counts[kind] and not inventory.is_complete:
            inventory = survey(lister, location, pages=_PAGES_IN_SEARCH)
    except Exception as raised:  # noqa: BLE001  (whatever botocore raises is the finding)
        failure = failure_of(raised)
        message = f"not listed: {failure.text or failure.cause}"
        return Finding("content", Status.FAIL if required else Status.UNKNOWN, message, failure, Remedy())
    matches, archived = inventory.counts[kind], inventory.archived[kind]
    if not matches:
        return replace(_no_match(lister, location, kind, inventory), status=none)
    if archived:
        message = f"{archived} of {matches} {kind.lower()} are archived, and cannot be read ({inventory.describe()})"
        status = none if archived == matches and inventory.is_complete else Status.WARN
        return Finding("content", status, message, Failure(Cause.ARCHIVED), counts=inventory.numbers())
    return Finding("content", Status.PASS, inventory.describe(), counts=inventory.numbers())


def _no_match(lister: Lister, location: S3Location, kind: MediaType, inventory: Inventory) -> Finding:
    what = "images" if kind is MediaType.IMAGES else "videos"
    message = f"no {what} under {location.uri} ({inventory.describe()})"
    other = MediaType.VIDEOS if kind is MediaType.IMAGES else MediaType.IMAGES
    if inventory.counts[other]:
        advice = f"It holds {inventory.counts[other]} files of {other.lower()}: create the dataset as {other}."
        return Finding("content", Status.WARN, message, remedy=Remedy((advice,)), counts=inventory.numbers())
    near: list[str] = []
    try:
        near = [] if inventory.n_objects else near_misses(lister, location)
    except Exception as raised:  # noqa: BLE001  (it may list under the prefix only)
        message = f"{message}; beside it nothing could be listed ({failure_of(raised).cause})"
    advice = f"Did you mean {' or '.join(near)}?" if near else "Check the path, or upload the files first."
    return Finding("content", Status.WARN, message, remedy=Remedy((advice,)), counts=inventory.numbers())


def near_misses(lister: Lister, location: S3Location) -> list[str]:
    """
    Suggest prefixes with files for a location that has none.

    :param lister: Lists the bucket. It raises if it may not list outside the location; then there are no suggestions.
    :param location: The location without files.
    :return: Locations as a user writes them, the most likely first; each has files below it.
    """
    prefix = location.prefix
    guesses = []
    bare = prefix.strip("/")
    without_bucket = bare.removeprefix(f"{location.bucket}/") if bare != location.bucket else ""
    if without_bucket != bare:
        guesses.append(f"{without_bucket}/" if without_bucket else "")
    single = "/".join(filter(None, prefix.split("/")))
    guesses += [f"{single}/" if single else "", f"/{single}/", single]
    if walked := _walk(lister, single):
        guesses.append(walked)
    tried = [guess for guess in dict.fromkeys(guesses) if guess != prefix and (guess or not prefix or not bare)]
    found = []
    for guess in tried:
        page = lister.page(guess)
        # "raw" without its slash also finds "raw-2024/"; then suggest the folder.
        if guess and not guess.endswith("/"):
            found += [f"{key[: key.index('/', len(guess)) + 1]}" for key, _ in page.objects if "/" in key[len(guess) :]]
        elif any(not key.endswith("/") for key, _ in page.objects):
            found.append(guess)
    names = [name for name in dict.fromkeys(found) if name != prefix][:3]
    return [S3Location(location.bucket, name).written for name in names]


def _walk(lister: Lister, path: str) -> str | None:
    """Find the existing path, folder by folder, that differs only in case or by a letter."""
    walked = ""
    for name in path.split("/"):
        names = {folder[len(walked) : -1]: folder for folder in lister.page(walked, by_folder=True).folders}
        near = [name] if name in names else nearest(name, names, n=1)
        if not near:
            return None
        walked = names[near[0]]
    return walked
