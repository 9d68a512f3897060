"""
Cluster policies of the Airflow that ``make airflow`` runs; the example DAGs stay as they are.

Airflow imports a module of this name from its Python path, and calls ``dag_policy`` for each DAG that it parses
(https://airflow.apache.org/docs/apache-airflow/stable/administration-and-deployment/cluster-policies.html).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from demo import form_values

if TYPE_CHECKING:
    from airflow.sdk import DAG


def dag_policy(dag: DAG) -> None:
    """Fill the trigger form, and pause what would start by itself, before anybody has opened the page."""
    # A task has a copy of the DAG's parameters, which a run that is triggered without a form takes.
    for params in (dag.params, *(task.params for task in dag.tasks)):
        form_values.fill(dag.dag_id, params)
    watched = any(getattr(asset, "watchers", ()) for asset in dag.schedule) if isinstance(dag.schedule, list) else False
    if isinstance(dag.schedule, str) or watched:
        dag.is_paused_upon_creation = True
