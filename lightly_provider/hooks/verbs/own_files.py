"""Hook methods for a dataset's files: those of its input, and Lightly's own of predictions and metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightly_provider.hooks.connection import LightlyBaseHook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lightly_provider.api.calls import Call, FilePage
    from lightly_provider.api.client import StoredObject

# Predictions of one image; the platform publishes no limit.
_LARGEST_FILE = 64 * 2**20


class OwnFileVerbs(LightlyBaseHook):
    """The hook's methods for the files of a dataset. No method returns a signed URL."""

    def list_input_files(self, dataset_id: str) -> Iterator[str]:
        """
        Yield the names of all images or videos in the dataset's input, page by page, exactly as in the bucket.

        .. code-block:: python

            n_files = sum(1 for _ in hook.list_input_files(dataset_id))

        :param dataset_id: Id of the dataset.
        """
        from lightly_provider.api import calls

        return self._file_names(lambda cursor: calls.list_input_files(dataset_id, cursor=cursor))

    def list_prediction_files(self, dataset_id: str, task_name: str) -> Iterator[str]:
        """
        Yield the names of a prediction task's files, relative to the task's folder: ``subdir/image.json``.

        .. code-block:: python

            predicted = set(hook.list_prediction_files(dataset_id, "boxes"))

        :param dataset_id: Id of the dataset.
        :param task_name: Name of the task.
        """
        from lightly_provider.api import calls

        return self._file_names(lambda cursor: calls.list_prediction_files(dataset_id, task_name, cursor=cursor))

    def list_metadata_files(self, dataset_id: str) -> Iterator[str]:
        """
        Yield the names of the metadata files, relative to their folder: ``subdir/image.json``.

        .. code-block:: python

            described = set(hook.list_metadata_files(dataset_id))

        :param dataset_id: Id of the dataset.
        """
        from lightly_provider.api import calls

        return self._file_names(lambda cursor: calls.list_metadata_files(dataset_id, cursor=cursor))

    def read_prediction_file(self, dataset_id: str, file_name: str) -> StoredObject | None:
        """
        Read a file below ``.lightly/predictions/``.

        .. code-block:: python

            schema = hook.read_prediction_file(dataset_id, "boxes/schema.json")
            if schema is not None:
                categories = json.loads(schema.content)["categories"]

        :param dataset_id: Id of the dataset.
        :param file_name: Name, e.g. ``tasks.json`` or ``boxes/subdir/image.json``.
        :return: The content and its ETag; None if there is no such file.
        """
        from lightly_provider.api import calls

        call = calls.get_prediction_file_url(dataset_id, file_name)
        return self.client.read_object(call.operation, self.client.send(call), most=_LARGEST_FILE)

    def read_metadata_file(self, dataset_id: str, file_name: str) -> StoredObject | None:
        """
        Read a file below ``.lightly/metadata/``.

        .. code-block:: python

            schema = hook.read_metadata_file(dataset_id, "schema.json")

        :param dataset_id: Id of the dataset.
        :param file_name: Name, e.g. ``schema.json`` or ``subdir/image.json``.
        :return: The content and its ETag; None if there is no such file.
        """
        from lightly_provider.api import calls

        call = calls.get_metadata_file_url(dataset_id, file_name)
        return self.client.read_object(call.operation, self.client.send(call), most=_LARGEST_FILE)

    def write_prediction_file(
        self,
        dataset_id: str,
        file_name: str,
        content: bytes,
        *,
        kms_key_arn: str | None = None,
        if_match: str | None = None,
        if_none: bool = False,
    ) -> bool:
        """
        Write a file below ``.lightly/predictions/`` by a signed address of the platform, without keys of the bucket.

        .. code-block:: python

            prediction = {"category_id": 0, "bbox": [10, 20, 30, 40], "score": 0.8}
            content = {"file_name": "subdir/image.png", "predictions": [prediction]}
            hook.write_prediction_file(dataset_id, "boxes/subdir/image.json", json.dumps(content).encode())

        :param dataset_id: Id of the dataset.
        :param file_name: Name, e.g. ``boxes/subdir/image.json``.
        :param content: Content of the file.
        :param kms_key_arn: KMS key that encrypts it: that of the datasource. None (default): the bucket's own setting.
        :param if_match: Write only if the file still has this ETag. None (default): whatever is there.
        :param if_none: Write only if there is no such file. Default: False.
        :return: Whether it was written; False: the condition was not met.
        """
        from lightly_provider.api import calls

        call = calls.get_prediction_file_write_url(dataset_id, file_name)
        headers = {"Content-Type": "application/json"}
        if kms_key_arn:
            # The vendor's own client adds these headers to a signed URL (lightly 1.5.26, api/api_workflow_client.py).
            headers["x-amz-server-side-encryption"] = "aws:kms"
            headers["x-amz-server-side-encryption-aws-kms-key-id"] = kms_key_arn
        if if_match is not None:
            headers["If-Match"] = if_match
        elif if_none:
            headers["If-None-Match"] = "*"
        return self.client.write_object(call.operation, self.client.send(call), content, headers=headers)

    def _file_names(self, page_of: Callable[[str | None], Call[FilePage]]) -> Iterator[str]:
        page = self.client.send(page_of(None))
        while True:
            yield from page.names
            if page.cursor is None:
                return
            before, page = page.cursor, self.client.send(page_of(page.cursor))
            # A platform that ignores the cursor would send the same page forever.
            if page.cursor == before:
                from lightly_provider.exceptions import LightlyResponseError

                call = page_of(before)
                raise LightlyResponseError(
                    f"The platform returned the same cursor twice to {call.operation}; run the task again later.",
                    operation=call.operation,
                )
