"""The pool of a connection, in Airflow's database."""

from __future__ import annotations

import uuid

import pytest

from lightly_provider.airflow_internals import stored_pools
from lightly_provider.fleet import name_of_pool, set_up_pool

pytestmark = pytest.mark.usefixtures("airflow_db")


def test_a_pool_is_created_once_corrected_and_keeps_its_slots() -> None:
    conn_id = f"conn-{uuid.uuid4().hex[:8]}"
    name = name_of_pool(conn_id)
    assert name == f"lightly_{conn_id}"

    created = set_up_pool(conn_id)
    assert (created.action, created.slots) == ("created", 16)
    assert created.detail == f"Created pool {name!r} with 16 slots, deferred tasks included."
    assert set_up_pool(conn_id).action == "unchanged"

    changed = set_up_pool(conn_id, slots=3)
    assert changed.detail == f"Changed pool {name!r}: 3 slots instead of 16."
    assert (set_up_pool(conn_id).action, set_up_pool(conn_id).slots) == ("unchanged", 3)

    with stored_pools() as pools:
        pools.get(name).include_deferred = False
        pools.get(name).description = "ours"
    assert set_up_pool(conn_id).detail == f"Changed pool {name!r}: deferred tasks take a slot now."
    with stored_pools() as pools:
        pool = pools.get(name)
        assert (pool.slots, pool.include_deferred, pool.description) == (3, True, "ours")


@pytest.mark.parametrize(("conn_id", "slots"), [("", None), ("a\nb", None), ("c" * 250, None), ("c", 0), ("c", 10**6)])
def test_what_no_pool_can_have_is_refused(conn_id: str, slots: int | None) -> None:
    with pytest.raises(ValueError, match=r"^(lightly_conn_id|slots) is "):
        set_up_pool(conn_id, slots=slots)
