"""Which prefix was probably meant, where a location has no files."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightly_provider.aws.listing import Lister
    from lightly_provider.aws.location import S3Location


def near_misses(lister: Lister, location: S3Location) -> list[str]:
    """
    Prefixes with files that were probably meant, where a location has none.

    :param lister: Lists the bucket. Where it may not list beside the location, it raises, and nothing is known.
    :param location: Where nothing is.
    :return: URIs, the likeliest first; each has files below it.
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
        # "raw" without its slash finds "raw-2024/" too, whose folder is what is worth naming.
        if guess and not guess.endswith("/"):
            found += [f"{key[: key.index('/', len(guess)) + 1]}" for key, _ in page.objects if "/" in key[len(guess) :]]
        elif any(not key.endswith("/") for key, _ in page.objects):
            found.append(guess)
    return [f"s3://{location.bucket}/{name}" for name in dict.fromkeys(found) if name != prefix][:3]


def _walk(lister: Lister, path: str) -> str | None:
    """The path folder by folder as it is really written: in another case, or a letter off."""
    walked = ""
    for name in path.split("/"):
        names = {folder[len(walked) : -1]: folder for folder in lister.page(walked, by_folder=True).folders}
        by_fold = {one.casefold(): one for one in names}
        near = difflib.get_close_matches(name, names, n=1)
        real = name if name in names else by_fold.get(name.casefold()) or (near[0] if near else None)
        if real is None:
            return None
        walked = names[real]
    return walked
