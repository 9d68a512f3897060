"""Reads what a task pushed to XCom in an earlier DAG run, without an error in the log where there is nothing."""

from __future__ import annotations

from typing import Any


def pushed_before(ti: Any, key: str) -> Any:
    """
    Return what this task last pushed to XCom under a key, in this DAG run or an earlier one; None: nothing.

    Airflow 3 logs an ERROR ``XCom not found`` for a single value that does not exist (airflow 3.3.2,
    ``sdk/api/client.py``, ``XComOperations.get``), and Airflow's overview page shows it. So the value is only requested
    if the task has succeeded before, and otherwise looked for among all values of the previous DAG run, which may have
    failed: a list may be empty. Airflow 2 reads its database, and logs nothing.

    :param ti: The running task instance.
    :param key: Key of the XCom.
    """
    of_this_index = {"task_ids": ti.task_id, "key": key, "map_indexes": ti.map_index, "include_prior_dates": True}
    if not hasattr(ti, "get_ti_count"):
        return ti.xcom_pull(**of_this_index)
    if ti.get_ti_count(dag_id=ti.dag_id, task_ids=[ti.task_id], map_index=ti.map_index, states=["success"]):
        return ti.xcom_pull(**of_this_index)
    previous = ti.get_previous_dagrun()
    if previous is None:
        return None
    # Without a map index, Airflow 3 returns the values of all indexes, or the value of the only one.
    found = ti.xcom_pull(task_ids=ti.task_id, key=key, run_id=previous.run_id)
    return None if ti.map_index >= 0 or isinstance(found, list) else found
