"""Sharing on the wire (lightly 1.5.26, models/shared_access_config_*.py)."""

from __future__ import annotations

from lightly_sandbox.contract.enums import Creator, SharedAccessType
from lightly_sandbox.contract.wire import Count, Id, Wire


class SharedAccessConfigCreateRequest(Wire):
    access_type: SharedAccessType
    users: list[str] | None = None
    teams: list[str] | None = None
    creator: Creator | None = None


class SharedAccessConfigData(Wire):
    id: Id
    owner: str
    access_type: SharedAccessType
    users: list[str]
    teams: list[str]
    created_at: Count
    last_modified_at: Count
