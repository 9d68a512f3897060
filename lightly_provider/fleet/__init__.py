"""
A fleet: many datasets from one file, checked as a whole, planned, and applied by a DAG.

Nothing is imported until it is used, because a DAG file may need no more than the pool's name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightly_provider.fleet.file import Fleet
    from lightly_provider.fleet.models import FleetDataset
    from lightly_provider.fleet.plan import plan_fleet
    from lightly_provider.fleet.planned import FleetPlan, PlannedDataset
    from lightly_provider.fleet.pool import name_of_pool, set_up_pool

__all__ = ["Fleet", "FleetDataset", "FleetPlan", "PlannedDataset", "name_of_pool", "plan_fleet", "set_up_pool"]

_MODULES = {
    "Fleet": "file",
    "FleetDataset": "models",
    "FleetPlan": "planned",
    "PlannedDataset": "planned",
    "plan_fleet": "plan",
    "name_of_pool": "pool",
    "set_up_pool": "pool",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
