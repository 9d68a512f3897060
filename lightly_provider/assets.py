"""
The asset scheme ``lightly``: the addresses of datasets and of their tags, and the asset events of a task.

    lightly://api.lightly.ai/<dataset id>
    lightly://api.lightly.ai/<dataset id>/tag/<name of the tag, percent-encoded>

Airflow imports this module in every process that creates an asset with an address, whatever its scheme. So it uses only
the standard library, and imports Airflow's classes inside functions.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import quote, unquote, urlsplit

from lightly_provider.airflow_internals import classes_of_assets
from lightly_provider.contract import ID_PATTERN
from lightly_provider.foreign_text import shown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from urllib.parse import SplitResult

    from airflow.providers.common.compat.openlineage.facet import Dataset as OpenLineageDataset
    from airflow.providers.common.compat.sdk import Asset, Context

SCHEME = "lightly"
DEFAULT_HOST = "api.lightly.ai"

_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
# Airflow takes no longer ones (airflow 3.3.2, sdk/definitions/asset, `_validate_identifier`).
LONGEST_ADDRESS = 1500
# The longest name of a tag, so that its address is never longer than that.
_LONGEST_TAG = 300
# These may stand in a path as they are (RFC 3986, section 3.3), and in a tag's name (contract.TAG_NAME_PATTERN).
_PLAIN_IN_TAG = ":;=@"
_FORM = (
    f"write {SCHEME}://<host of the API>/<dataset id>, or {SCHEME}://<host of the API>/<dataset id>/tag/<name> with "
    "the tag's name percent-encoded"
)


class Address(NamedTuple):
    """
    What an asset's address names.

    :param host: Host of the platform's API, and its port if it is not the usual one: ``api.lightly.ai``.
    :param dataset_id: Id of the dataset.
    :param tag: Name of the tag, as the platform shows it; None (default): the dataset itself.
    """

    host: str
    dataset_id: str
    tag: str | None = None

    @property
    def uri(self) -> str:
        """The address in its one normal form."""
        return f"{SCHEME}://{self.host}{self.path}"

    @property
    def path(self) -> str:
        """The address's path, percent-encoded."""
        return f"/{self.dataset_id}" if self.tag is None else f"/{self.dataset_id}/tag/{quote(self.tag, _PLAIN_IN_TAG)}"


def parse(uri: str) -> Address:
    """
    Parse an asset's address.

    :param uri: Address of a dataset or tag, with the scheme ``lightly``.
    :raises ValueError: It is none. The message does not repeat a login or a query.
    """
    return _read(urlsplit(uri))


def host_of(api_url: str) -> str:
    """
    Return the host of the platform's API, as it stands in an asset's address.

    :param api_url: Base URL of the API: ``https://api.lightly.ai``.
    """
    return _normal_host(urlsplit(api_url).netloc)


def address_of(host: str, dataset_id: str, tag: str | None = None) -> Address | None:
    """
    Return the address of a dataset or tag.

    :param host: Host of the API.
    :param dataset_id: Id of the dataset.
    :param tag: Name of the tag. Default: None, the dataset itself.
    :return: The address; None if the host or the tag's name cannot stand in one.
    """
    try:
        return parse(Address(host, dataset_id, tag).uri)
    except ValueError:
        return None


def create_asset(
    *, host: str = DEFAULT_HOST, dataset_id: str, tag: str | None = None, extra: dict[str, Any] | None = None
) -> Asset:
    """
    Return the asset of a dataset or of a tag.

    The first asset with an address in a process takes seconds, because Airflow then loads the handlers of all installed
    providers; so call this in a task, not when a module is imported.

    :param host: Host of the platform's API. Default: ``api.lightly.ai``.
    :param dataset_id: Id of the dataset.
    :param tag: Name of the tag, as the platform shows it. Default: None, the dataset itself.
    :param extra: Extra of the asset. Default: None, no extra.
    :raises ValueError: An argument is not valid.
    """
    from airflow.providers.common.compat.sdk import Asset

    # Airflow 2.11 would take a wrong address with a warning.
    return Asset(uri=parse(Address(_normal_host(host), dataset_id, tag).uri).uri, extra=extra)


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """
    Return an asset's address in its one normal form; Airflow calls this for each asset with this scheme.

    :raises ValueError: The address names neither a dataset nor a tag, or has a login or a query, which may hold a
        secret: Airflow 3 would keep it in the asset's name. (Before this, Airflow drops a fragment and a login with a
        password. Airflow 2.11 makes a warning of the error, unless ``[core] strict_dataset_uri_validation`` is set.)
    """
    address = _read(uri)
    if uri.query or "@" in uri.netloc:
        raise ValueError(
            f"The asset {address.uri!r} is written with a login or a query, which is not repeated here because it may "
            "be a secret; leave it out."
        )
    return uri._replace(scheme=SCHEME, netloc=address.host, path=address.path, query="", fragment="")


def convert_asset_to_openlineage(asset: Asset, lineage_context: Any) -> OpenLineageDataset:
    """
    Return the OpenLineage dataset of an asset: the one that the operators report.

    :param asset: An asset with an address of this scheme.
    :param lineage_context: The hook that reported the asset, or None; not used.
    """
    from airflow.providers.common.compat.openlineage.facet import Dataset

    namespace, name = openlineage_name(parse(asset.uri))
    return Dataset(namespace=namespace, name=name)


def openlineage_name(address: Address) -> tuple[str, str]:
    """
    Return namespace and name of a dataset or tag in OpenLineage.

    They are ``lightly://<host>`` and ``<dataset id>`` or ``<dataset id>/tag/<name>``, where the name is not
    percent-encoded.
    """
    name = address.dataset_id if address.tag is None else f"{address.dataset_id}/tag/{address.tag}"
    return f"{SCHEME}://{address.host}", name


def announce(
    context: Context, outlets: Iterable[Any], *, made: str | None, about: Collection[str], extra: Mapping[str, Any]
) -> list[str]:
    """
    Fill the asset events of a task that is about to succeed. Without outlets, nothing is imported or created.

    The event of each asset among the outlets gets the extra; what the DAG's author has put there stays. Each alias
    among them gets an event of the asset that the task made.

    :param context: Context of the task.
    :param outlets: The task's outlets.
    :param made: Address of the asset for the aliases. None: they get no event.
    :param about: All addresses of this scheme that the events are about.
    :param extra: What the events say: JSON values without secrets.
    :return: The addresses of this scheme among the outlets that the events are not about.
    """
    outlets, events = list(outlets), cast("Any", context.get("outlet_events"))
    if not outlets or events is None:
        return []
    from airflow.providers.common.compat.sdk import Asset, AssetAlias

    others = []
    for outlet in outlets:
        if isinstance(outlet, AssetAlias):
            if made is not None:
                events[outlet].add(Asset(uri=made), extra=dict(extra))
        elif isinstance(outlet, classes_of_assets()):
            event = events[outlet]
            event.extra = {**extra, **(event.extra or {})}
            uri = str(getattr(outlet, "uri", ""))
            if uri.startswith(f"{SCHEME}://") and uri not in about:
                others.append(uri)
    return others


def _read(uri: SplitResult) -> Address:
    host = _normal_host(uri.netloc)
    _, _, path = uri.path.rstrip("/").partition("/")
    dataset_id, *rest = path.split("/")
    dataset_id = dataset_id.lower()
    where = f"{SCHEME}://{shown(host, longest=100)}{shown(uri.path, longest=200)}"
    if uri.scheme.lower() != SCHEME or not _HOST.fullmatch(host):
        raise ValueError(f"The asset {where!r} names no host of a Lightly API; {_FORM}.")
    if not re.fullmatch(ID_PATTERN, dataset_id):
        raise ValueError(f"The asset {where!r} names no dataset, whose id has 24 of 0-9 and a-f; {_FORM}.")
    if not rest:
        return Address(host, dataset_id)
    kind, *name = rest
    if kind != "tag" or len(name) != 1:
        raise ValueError(f"The asset {where!r} has a path that is neither a dataset's nor a tag's; {_FORM}.")
    try:
        tag = unquote(name[0], errors="strict")
    except UnicodeDecodeError:
        tag = ""
    if not tag.strip() or not tag.isprintable() or len(tag) > _LONGEST_TAG:
        raise ValueError(
            f"The asset {where!r} names no tag: its name must be of 1 to {_LONGEST_TAG} printable characters; {_FORM}."
        )
    return Address(host, dataset_id, tag)


def _normal_host(netloc: str) -> str:
    host = netloc.rpartition("@")[2].lower()
    # The port that a web address need not name.
    return host.removesuffix(":443").removesuffix(":80")
