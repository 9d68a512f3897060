"""A run's findings, read from where its artifacts are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightly_sandbox.platform.errors import ApiError
from lightly_sandbox.platform.routes.artifacts import artifact_place
from lightly_sandbox.platform.run_findings import NEEDED, Findings, Shelf, read_object

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from lightly_sandbox.contract.enums import DockerRunArtifactType
    from lightly_sandbox.platform.s3_access import S3Access
    from lightly_sandbox.platform.settings import Settings
    from lightly_sandbox.platform.tables import Run


def findings_of(session: Session, shelf: Shelf, access: S3Access, config: Settings, run: Run) -> Findings:
    """Return what the artifacts of a run say; nothing for those that are missing or cannot be read."""
    uploaded = {artifact.type: artifact for artifact in run.artifacts if artifact.uploaded}

    def content(kind: DockerRunArtifactType) -> bytes | None:
        artifact = uploaded.get(kind)
        if artifact is None:
            return None
        try:
            place, path = artifact_place(session, access, config, artifact)
        except ApiError:
            return None  # It is with Lightly's own files in a datasource that has gone or refuses.
        return read_object(place, path)

    key = ("run", run.id, *(uploaded[kind].id if kind in uploaded else "" for kind in NEEDED))
    return shelf.get(key, lambda: Findings.of(*map(content, NEEDED)))
