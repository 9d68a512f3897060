"""A platform whose messages hold what PostgreSQL, UTF-8, a terminal and Airflow's log page do not keep as it is."""

from __future__ import annotations

from tests.integration.lossy_proxy import LossyProxy

# What the worker writes, and what the provider reads in its place.
WRITTEN = "POISON"
READ = rb"nul \u0000 byte, surrogate \ud800, \u001b]0;escape\u0007, \n::group::hidden"
SHOWN = r"nul \x00 byte, surrogate \ud800, \x1b]0;escape\x07, \n\x3a\x3agroup::hidden"


class PoisoningProxy(LossyProxy):
    """
    Forwards everything, and poisons the worker's messages.

    :param target: The platform's address.
    """

    def __init__(self, target: str) -> None:
        super().__init__(target, lambda _method, _path: False)

    def changed(self, content: bytes) -> bytes:
        """See :class:`LossyProxy`."""
        return content.replace(WRITTEN.encode(), READ)
