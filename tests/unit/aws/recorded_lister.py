"""A bucket's listing from a sorted list of keys, as S3 gives it: pages, folders, tokens; with a count of requests."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from lightly_provider.aws.bucket import PAGE_SIZE, Listed

if TYPE_CHECKING:
    from collections.abc import Sequence


class RecordedLister:
    """
    Lists keys that are kept in memory.

    :param keys: The keys, sorted as S3 sorts them, by their bytes.
    :param page_size: Keys and folders in one answer.
    """

    def __init__(self, keys: Sequence[str], page_size: int = PAGE_SIZE) -> None:
        self._keys = keys
        self._page_size = page_size
        self.requests = 0

    def page(
        self, prefix: str, *, token: str | None = None, start_after: str | None = None, by_folder: bool = False
    ) -> Listed:
        """See ``Lister``; a token is the key or folder that came last."""
        self.requests += 1
        at = bisect_left(self._keys, prefix)
        if after := token or start_after:
            # What follows a folder is what follows all that is in it.
            last = f"{after}\U0010ffff" if by_folder and after.endswith("/") else after
            at = max(at, bisect_right(self._keys, last))
        objects: list[tuple[str, int]] = []
        folders: list[str] = []
        while at < len(self._keys) and self._keys[at].startswith(prefix):
            if len(objects) + len(folders) == self._page_size:
                return Listed(objects, folders, max([key for key, _ in objects[-1:]] + folders[-1:]))
            key = self._keys[at]
            slash = key.find("/", len(prefix)) if by_folder else -1
            if slash >= 0:
                folders.append(key[: slash + 1])
                at = bisect_right(self._keys, f"{folders[-1]}\U0010ffff")
            else:
                objects.append((key, 0 if key.endswith(("/", ".empty.jpg")) else 7))
                at += 1
        return Listed(objects, folders)
