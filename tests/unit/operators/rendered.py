"""An operator in a DAG, its templates rendered."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.providers.common.compat.sdk import DAG

from tests.unit.operators.example_operators import needed


def in_a_dag(operator: type[Any], *, native: bool, params: dict[str, Any], **changes: Any) -> Any:
    """The operator in a DAG, its templates rendered."""
    with DAG("a_dag", schedule=None, start_date=datetime(2026, 1, 1), render_template_as_native_obj=native):
        made = operator(**needed(operator, **changes))
    made.render_template_fields({"params": params})
    return made
