"""The pool that bounds how many tasks of a fleet use the platform at once, deferred ones included."""

from __future__ import annotations

from dataclasses import dataclass

from lightly_provider.foreign_text import shown

# Enough that no worker waits for its next run, and few enough that the platform is asked by few at a time.
DEFAULT_SLOTS = 16
MOST_SLOTS = 10_000
_LONGEST_NAME = 256  # airflow 3.3.2, models/pool.py
_DESCRIPTION = "Tasks that use the Lightly platform through the connection {conn_id}; deferred tasks take a slot, too."


@dataclass(frozen=True, kw_only=True)
class PoolOutcome:
    """
    What :func:`set_up_pool` did.

    :param name: Name of the pool.
    :param slots: Its slots now.
    :param action: ``created``, ``changed`` or ``unchanged``.
    :param detail: What was changed, as a sentence.
    """

    name: str
    slots: int
    action: str
    detail: str


def name_of_pool(lightly_conn_id: str = "lightly_default") -> str:
    """
    Return the name of a connection's pool: what has the same API token shares the platform's rate limit.

    :param lightly_conn_id: Lightly connection. Default: ``lightly_default``.
    """
    return f"lightly_{lightly_conn_id}"


def set_up_pool(lightly_conn_id: str = "lightly_default", *, slots: int | None = None) -> PoolOutcome:
    """
    Create a connection's pool, or correct it: deferred tasks must take a slot of it.

    It needs Airflow's database, as Airflow's own command line does; a task of Airflow 3 cannot do it.

    :param lightly_conn_id: Lightly connection. Default: ``lightly_default``.
    :param slots: Number of slots. None (default): 16 for a new pool; an existing one keeps its own.
    :return: What was done. A second call changes nothing.
    :raises ValueError: An argument is invalid.
    """
    from lightly_provider.airflow_internals import stored_pools

    name = name_of_pool(lightly_conn_id)
    if not lightly_conn_id.strip() or not lightly_conn_id.isprintable() or len(name) > _LONGEST_NAME:
        raise ValueError(f"lightly_conn_id is {shown(repr(lightly_conn_id), longest=300)}; write a connection's id.")
    if slots is not None and not 1 <= slots <= MOST_SLOTS:
        raise ValueError(f"slots is {slots}; write a number from 1 to {MOST_SLOTS}.")
    with stored_pools() as pools:
        present = pools.get(name)
        wanted = slots if slots is not None else (present.slots if present is not None else DEFAULT_SLOTS)
        if present is not None and present.slots == wanted and present.include_deferred:
            detail = f"Pool {name!r} is already set up: {wanted} slots, deferred tasks included."
            return PoolOutcome(name=name, slots=wanted, action="unchanged", detail=detail)
        before = present and (present.slots, present.include_deferred)
        description = present.description if present is not None else None
        pools.put(name, slots=wanted, description=description or _DESCRIPTION.format(conn_id=lightly_conn_id))
    if before is None:
        detail = f"Created pool {name!r} with {wanted} slots, deferred tasks included."
        return PoolOutcome(name=name, slots=wanted, action="created", detail=detail)
    changes = [f"{wanted} slots instead of {before[0]}"] if before[0] != wanted else []
    changes += [] if before[1] else ["deferred tasks take a slot now"]
    detail = f"Changed pool {name!r}: {', and '.join(changes)}."
    return PoolOutcome(name=name, slots=wanted, action="changed", detail=detail)
