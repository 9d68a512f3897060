"""A store of an access in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightly_provider.access.stores import AccessStore

if TYPE_CHECKING:
    from lightly_provider.access.kept import KeptAccess


class MemoryStore(AccessStore):
    """A place in memory, to try what all places have in common."""

    present: KeptAccess | None = None
    writes = 0

    def read(self) -> KeptAccess | None:
        return self.present

    def create(self, access: KeptAccess) -> bool:
        if self.present is not None:
            return False
        self.write(access)
        return True

    def write(self, access: KeptAccess) -> None:
        self.present, self.writes = access, self.writes + 1

    def remove(self) -> None:
        self.present = None
