"""
What a task reads and writes, for OpenLineage: from the bucket to the Lightly dataset, its tag, and the exported file.

Operators describe it from what they already know, without a request, and only when OpenLineage asks for it. Nothing of
OpenLineage is imported before.

=====================  =============================  =====================================
dataset                namespace                      name
=====================  =============================  =====================================
Lightly dataset        ``lightly://<host of the API>``  ``<dataset id>``
tag                    the same                       ``<dataset id>/tag/<name of the tag>``
location in S3         ``s3://<bucket>``              the prefix, or ``/``
object in S3           ``s3://<bucket>``              the key
=====================  =============================  =====================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from lightly_provider.assets import LONGEST_ADDRESS, SCHEME, Address, address_of, announce, host_of, openlineage_name
from lightly_provider.foreign_text import shown
from lightly_provider.links import dataset_page, runs_page

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Protocol

    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage

    from lightly_provider.aws.location import S3Location
    from lightly_provider.hooks.connection import LightlyConnection
    from lightly_provider.runs.follower import Log

    class Task(Protocol):
        """The attributes of an operator that has outlets."""

        outlets: list[Any]

        @property
        def log(self) -> Log: ...


class Node(NamedTuple):
    """
    A dataset in the sense of OpenLineage.

    :param namespace: Namespace.
    :param name: Name.
    :param page: URL of its web page. Default: None, it has none.
    :param rows: Number of samples that the task put into it. Default: None, not known.
    :param size: Number of bytes that the task wrote. Default: None, not known.
    """

    namespace: str
    name: str
    page: str | None = None
    rows: int | None = None
    size: int | None = None


class Moved(NamedTuple):
    """
    What a task read and wrote.

    :param inputs: What it read.
    :param outputs: What it wrote.
    :param run_id: Id of the run, or of the scheduled run, that did the work on the platform. Default: None, no run.
    :param platform: Namespace of the platform. Default: None; needed with ``run_id``.
    """

    inputs: Sequence[Node] = ()
    outputs: Sequence[Node] = ()
    run_id: str | None = None
    platform: str | None = None

    def to_openlineage(self) -> OperatorLineage[Any, Any]:
        """Return what OpenLineage's extractors take."""
        from airflow.providers.common.compat.openlineage.facet import (
            Dataset,
            ExternalQueryRunFacet,
            OutputDataset,
            OutputStatisticsOutputDatasetFacet,
        )
        from airflow.providers.openlineage.extractors import OperatorLineage

        outputs = []
        for node in self.outputs:
            statistics = OutputStatisticsOutputDatasetFacet(rowCount=node.rows, size=node.size)
            is_known = (node.rows, node.size) != (None, None)
            outputs.append(
                OutputDataset(
                    namespace=node.namespace,
                    name=node.name,
                    facets=_facets(node),
                    outputFacets={"outputStatistics": statistics} if is_known else {},
                )
            )
        run_facets = {}
        if self.run_id and self.platform:
            run_facets["externalQuery"] = ExternalQueryRunFacet(externalQueryId=self.run_id, source=self.platform)
        return OperatorLineage(
            inputs=[Dataset(namespace=node.namespace, name=node.name, facets=_facets(node)) for node in self.inputs],
            outputs=outputs,
            run_facets=run_facets,
        )


class Platform(NamedTuple):
    """
    The platform of a connection, as lineage and asset events name it.

    :param host: Host of its API.
    :param web_url: Base URL of the web pages.
    """

    host: str
    web_url: str

    @classmethod
    def of(cls, connection: LightlyConnection) -> Platform:
        """Return the platform that a connection leads to."""
        return cls(host_of(connection.settings.host), connection.web_url)

    @property
    def namespace(self) -> str:
        """The namespace of its datasets in OpenLineage."""
        return f"{SCHEME}://{self.host}"

    def dataset(self, dataset_id: str) -> Node:
        """Return a dataset."""
        return self._node(Address(self.host, dataset_id), None)

    def tag(self, dataset_id: str, name: str, *, rows: int | None = None) -> Node:
        """Return a tag of a dataset."""
        return self._node(Address(self.host, dataset_id, name), rows)

    def run(self, dataset_id: str, scheduled_run_id: str | None, outcome: Mapping[str, Any] | None) -> Moved | None:
        """
        Return what a run moved: from the dataset to the tag that it created, if it has.

        :param dataset_id: Id of the dataset.
        :param scheduled_run_id: Id of the scheduled run. None: nothing was scheduled yet, so nothing was moved.
        :param outcome: See :func:`lightly_provider.runs.follower.result`; None: it has not completed.
        """
        if scheduled_run_id is None:
            return None
        ended = outcome or {}
        tag = ended.get("tag_name")
        return Moved(
            inputs=[self.dataset(dataset_id)],
            outputs=[self.tag(dataset_id, tag, rows=ended["n_selected"])] if tag else [],
            run_id=ended.get("run_id") or scheduled_run_id,
            platform=self.namespace,
        )

    def announce_dataset(self, task: Task, context: Context, dataset_id: str) -> None:
        """Fill the events of the outlets of a task that created a dataset or set its datasources."""
        uri = self.address(dataset_id)
        extra = {"report_url": dataset_page(self.web_url, dataset_id)}
        self.announce(task, context, dataset_id, made=uri, about=[uri], extra=extra)

    def announce_run(self, task: Task, context: Context, dataset_id: str, outcome: Mapping[str, Any]) -> None:
        """Fill the events of the outlets of a task that waited for a run. Without a tag, an alias gets no event."""
        self.announce_tag(
            task,
            context,
            dataset_id,
            tag=outcome["tag_name"],
            run_id=outcome["run_id"],
            n_selected=outcome["n_selected"],
            report_url=runs_page(self.web_url),
        )

    def announce_tag(
        self,
        task: Task,
        context: Context,
        dataset_id: str,
        *,
        tag: str | None,
        run_id: str | None = None,
        n_selected: int | None,
        report_url: str | None = None,
    ) -> None:
        """
        Fill the events of the outlets of a task that created a tag.

        :param task: The task.
        :param context: Its context.
        :param dataset_id: Id of the dataset.
        :param tag: Name of the tag. None: there is none, so that an alias gets no event.
        :param run_id: Id of the run that created it. Default: None, no run.
        :param n_selected: Number of its samples; None: not known yet.
        :param report_url: URL of the page about it. Default: None, the dataset's page.
        """
        made = self.address(dataset_id, tag) if tag else None
        if tag and made is None:
            task.log.warning("The tag %r has a name that cannot stand in an asset's address.", shown(tag, longest=100))
        extra = {
            "run_id": run_id,
            "tag": tag,
            "n_selected": n_selected,
            "report_url": report_url or dataset_page(self.web_url, dataset_id),
        }
        self.announce(task, context, dataset_id, made=made, about=[self.address(dataset_id), made], extra=extra)

    def announce_export(
        self,
        task: Task,
        context: Context,
        dataset_id: str,
        *,
        tag: str | None,
        run_id: str | None,
        n_selected: int,
        uri: str | None,
    ) -> None:
        """
        Fill the events of the outlets of a task that exported a tag.

        :param task: The task.
        :param context: Its context.
        :param dataset_id: Id of the dataset.
        :param tag: Name of the tag. None: nothing was selected.
        :param run_id: Id of the run that created the tag; None: no run, or not known.
        :param n_selected: Number of samples in the file.
        :param uri: Address of the file. None: there is none, so that an alias gets no event.
        """
        made = file_asset(uri) if uri else None
        extra = {
            "run_id": run_id,
            "tag": tag,
            "n_selected": n_selected,
            "report_url": dataset_page(self.web_url, dataset_id),
        }
        about = [made, self.address(dataset_id), self.address(dataset_id, tag) if tag else None]
        self.announce(task, context, dataset_id, made=made, about=about, extra=extra)

    def announce_files(self, task: Task, context: Context, dataset_id: str, *, run_id: str, folder: str | None) -> None:
        """
        Fill the events of the outlets of a task that saved the files of a run.

        :param task: The task.
        :param context: Its context.
        :param dataset_id: Id of the run's dataset.
        :param run_id: Id of the run.
        :param folder: Address of the folder with the files. None: the run has none, so that an alias gets no event.
        """
        made = file_asset(folder) if folder else None
        extra = {"run_id": run_id, "report_url": runs_page(self.web_url)}
        self.announce(task, context, dataset_id, made=made, about=[made, self.address(dataset_id)], extra=extra)

    def announce(
        self,
        task: Task,
        context: Context,
        dataset_id: str,
        *,
        made: str | None,
        about: Sequence[str | None],
        extra: Mapping[str, Any],
    ) -> None:
        """
        Fill the events of a task's outlets, and log which outlets the events do not fit.

        :param task: The task.
        :param context: Its context.
        :param dataset_id: Id of the dataset.
        :param made: Address of the asset that the task made, for the aliases. None: it made none.
        :param about: The addresses that the events are about; None among them: there is none.
        :param extra: What the events say beside the dataset's id: JSON values without secrets.
        """
        known = [uri for uri in about if uri]
        others = announce(context, task.outlets, made=made, about=known, extra={"dataset_id": dataset_id, **extra})
        for uri in others:
            task.log.warning(
                "The outlet %s is not what this task worked on (%s); Airflow sends its event all the same.",
                uri,
                ", ".join(known),
            )

    def address(self, dataset_id: str, tag: str | None = None) -> str | None:
        """Return the address of a dataset or tag as an asset; None if there is none, see :func:`address_of`."""
        found = address_of(self.host, dataset_id, tag)
        return found.uri if found else None

    def _node(self, address: Address, rows: int | None) -> Node:
        namespace, name = openlineage_name(address)
        return Node(namespace, name, page=dataset_page(self.web_url, address.dataset_id), rows=rows)


def location(place: S3Location) -> Node:
    """Return a location in S3. Airflow drops the last slash of an asset's address, and so does its name here."""
    return Node(f"s3://{place.bucket}", place.prefix.rstrip("/") or "/")


def file(uri: str, *, rows: int | None = None, size: int | None = None) -> Node:
    """
    Return a file.

    :param uri: Its address; a path without a scheme is one of this machine. A connection id in it is left out.
    :param rows: Number of samples in it. Default: None, not known.
    :param size: Its bytes. Default: None, not known.
    """
    scheme, host, path = _parts(uri)
    if scheme == "file":
        return Node("file", path, rows=rows, size=size)
    return Node(f"{scheme}://{host}", path.strip("/") or "/", rows=rows, size=size)


def file_asset(uri: str) -> str | None:
    """
    Return the address of a file as an asset, percent-encoded where Airflow would cut or refuse it.

    :param uri: See :func:`file`.
    :return: The address; None if it is longer than an asset's may be.
    """
    scheme, host, path = _parts(uri)
    encoded = "".join(quote(sign) if sign in "?#%" or not sign.isascii() else sign for sign in path)
    address = f"{scheme}://{host}{encoded}"
    return address if len(address) <= LONGEST_ADDRESS else None


def folder_of_pattern(uri: str) -> str:
    """Return the folder in which the files of a pattern with ``*`` are; an address without one is returned as it is."""
    before, star, _ = uri.partition("*")
    return before.rpartition("/")[0] if star else uri


def _parts(uri: str) -> tuple[str, str, str]:
    """Return scheme, host and path of a file's address."""
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return "file", "", uri
    authority, slash, path = rest.partition("/")
    # An object storage path may name its connection before the host.
    return scheme, authority.rpartition("@")[2], f"{slash}{path}"


def _facets(node: Node) -> dict[str, Any]:
    if node.page is None:
        return {}
    from openlineage.client.facet_v2 import datasource_dataset

    return {"dataSource": datasource_dataset.DatasourceDatasetFacet(name=node.namespace, uri=node.page)}
