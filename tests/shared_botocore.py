"""
What botocore reads and builds anew for every client, built once per test process.

Half of the time of the tests of access was spent building boto3 clients: each session parses the JSON of the services
again, and each client turns it into methods and endpoint rules again. None of that depends on a client's keys, region
or endpoint, so one copy serves all clients of a process. What does depend on them (configuration, credentials, event
handlers, connections) is built per client as always.
"""

from __future__ import annotations

from functools import cache
from typing import Any


def share() -> None:
    """Make every botocore session of this process use the same loader, service models, methods and endpoint rules."""
    import botocore.client
    import botocore.endpoint_provider
    import botocore.hooks
    import botocore.session

    create_loader = botocore.session.create_loader

    @cache
    def shared_loader(search_path: str | None = None) -> Any:
        loader = create_loader(search_path)
        loader._search_paths = _Paths(loader._search_paths)
        return loader

    botocore.session.create_loader = shared_loader
    botocore.client.ServiceModel = _shared(botocore.client.ServiceModel)
    botocore.endpoint_provider.RuleSet = _shared(botocore.endpoint_provider.RuleSet)

    creator = botocore.client.ClientCreator
    create_methods, methods = creator._create_methods, {}

    def shared_methods(self: Any, service_model: Any) -> dict[str, Any]:
        if service_model not in methods:
            methods[service_model] = create_methods(self, service_model)
        return dict(methods[service_model])  # the session's handlers add to it

    creator._create_methods = shared_methods


class _Paths(list[str]):
    """The folders of a loader, to which every boto3 session adds boto3's."""

    def append(self, path: str) -> None:
        """Add a folder that is not in it."""
        if path not in self:
            super().append(path)


def _shared(cls: type[Any]) -> Any:
    """The class, with one object for the same arguments: equal strings, the very same of all else."""
    made: dict[tuple[Any, ...], tuple[Any, Any]] = {}

    def make(*args: Any, **kwargs: Any) -> Any:
        values = [*args, *kwargs.values()]
        key = (*kwargs, *(value if isinstance(value, str) else id(value) for value in values))
        if key not in made:
            # The arguments are kept, so that no other object ever gets their identity.
            made[key] = (cls(*args, **kwargs), values)
        return made[key][0]

    return make
