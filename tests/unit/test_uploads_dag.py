"""The example DAGs of ``dags/lightly_uploads.py``."""

from __future__ import annotations

import pytest

from tests.unit.documents import REPOSITORY, dags_in


def test_the_form_takes_no_manifest_from_elsewhere() -> None:
    """Who may only start the DAG does not choose what it reads with Airflow's keys."""
    dags, errors = dags_in(REPOSITORY / "dags" / "lightly_uploads.py")
    assert not errors
    params = dags["lightly_curate_uploads"].params
    params["manifest"] = "s3://my-bucket/lightly-uploads/my-photos/another.jsonl"
    for elsewhere in (
        "s3://my-bucket/lightly-uploadsX/a.jsonl",
        "s3://another-bucket/lightly-uploads/a.jsonl",
        "/a.jsonl",
    ):
        with pytest.raises(Exception, match="does not match"):
            params["manifest"] = elsewhere
