"""What the hook's methods read and write, for Airflow's hook lineage; operators describe their lineage themselves."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from lightly_provider.assets import address_of, host_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lightly_provider.hooks.connection import LightlyBaseHook

_LISTENER = "airflow.providers.openlineage.plugins.listener"


def report_lineage(hook: LightlyBaseHook, *, read: Iterable[str] = (), wrote: Iterable[str] = ()) -> None:
    """
    Report what a call moved to Airflow's collector of hook lineage, if OpenLineage will send it. Never raises.

    The collector loads the asset handlers of all installed providers, which takes seconds. So this is only for calls
    that move data, and does nothing where nobody reads the collector.

    :param hook: The hook.
    :param read: Addresses of the assets that it read.
    :param wrote: Addresses of the assets that it wrote.
    """
    if not hook.reports_lineage or not is_openlineage_active():
        return
    from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector

    try:
        collector = get_hook_lineage_collector()  # type: ignore[no-untyped-call]
        for uri in read:
            collector.add_input_asset(context=hook, uri=uri)
        for uri in wrote:
            collector.add_output_asset(context=hook, uri=uri)
    except Exception as error:  # noqa: BLE001 - the call has succeeded, whatever becomes of its lineage
        hook.log.warning("The call's lineage was not reported: %s", type(error).__name__)


def dataset_asset(hook: LightlyBaseHook, dataset_id: str, tag: str | None = None) -> list[str]:
    """Return the address of a dataset or tag as an asset; none if it cannot have one."""
    address = address_of(host_of(hook.connection.settings.host), dataset_id, tag)
    return [address.uri] if address else []


def is_openlineage_active() -> bool:
    """Return whether OpenLineage sends this process's events. Imports nothing where it does not."""
    # Airflow loads its plugins before a task runs, and OpenLineage's plugin loads the listener only if it is enabled.
    if _LISTENER not in sys.modules:
        return False
    try:
        from airflow.providers.openlineage.api import is_openlineage_active as is_active
    except ImportError:  # before 2.16
        return False
    return bool(is_active())
