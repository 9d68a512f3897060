"""The sandbox and the connections of the integration tests."""

from tests.integration.conftest import context, lightly, sandbox, traffic

__all__ = ["context", "lightly", "sandbox", "traffic"]
