"""Tags: create one from filenames, or from other tags."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from lightly_provider.links import LightlyDatasetLink, push_dataset_link
from lightly_provider.operators.arguments import check_id, is_static, names_of
from lightly_provider.operators.base import LightlyBaseOperator, push_members

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

    from lightly_provider.lineage import Moved, Platform

# lightly 1.5.26, models/tag_create_request.py
_TAG_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9 .:;=@_-]{2,}")
_OPERATIONS = ("union_with", "intersect_with", "subtract")


class CreateLightlyTagOperator(LightlyBaseOperator):
    """
    Create a tag: a named subset of a dataset's samples, from filenames or from other tags.

    From other tags: the samples of ``from_tag`` and of any of ``union_with``; of these, those that are in all of
    ``intersect_with``; and of these, those that are in none of ``subtract``.

    Idempotent: if the dataset has a tag of this name with exactly these samples, it is reused. A tag of this name with
    other samples is left as it is, and the task fails.

    :param dataset_id: Id of the dataset, e.g. ``create_dataset.output``. Templated.
    :param tag_name: The tag's name: at least 3 of letters, digits, space and ``.:;=@_-``, the first a letter or digit.
        Templated.
    :param filenames: Filenames of the samples, relative to the input datasource's path, as ``get_filenames`` and the
        exports return them; each must be in the dataset. None (default): create the tag from other tags. Templated.
    :param from_tag: Name of the tag to begin with; instead of ``filenames``. Templated.
    :param union_with: Names of tags whose samples to add. None (default): none. Templated.
    :param intersect_with: Names of tags that a sample must be in. None (default): none. Templated.
    :param subtract: Names of tags whose samples to leave out. None (default): none. Templated.
    :param lightly_conn_id: Airflow connection of type ``lightly``. Default: ``lightly_default``. Templated.
    :return: ``{"dataset_id", "tag_id", "tag_name", "n_selected", "created"}``, and each of them as an XCom of its own.
    :raises ValueError: An argument is invalid.
    :raises LightlyNotFoundError: A filename or a tag is not in the dataset, or no sample is left.
    :raises LightlyConflictError: The dataset has a tag of this name with other samples.
    """

    template_fields: Sequence[str] = (
        "lightly_conn_id",
        "dataset_id",
        "tag_name",
        "filenames",
        "from_tag",
        *_OPERATIONS,
    )
    operator_extra_links = (LightlyDatasetLink(),)
    custom_operator_name = "Lightly create tag"
    ui_color = "#e8f4ff"

    def __init__(
        self,
        *,
        dataset_id: str,
        tag_name: str,
        filenames: Sequence[str] | None = None,
        from_tag: str | None = None,
        union_with: Sequence[str] | None = None,
        intersect_with: Sequence[str] | None = None,
        subtract: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.tag_name = tag_name
        self.filenames = filenames
        self.from_tag = from_tag
        self.union_with = union_with
        self.intersect_with = intersect_with
        self.subtract = subtract
        self._n_selected: int | None = None
        # Before Airflow renders them: a template that renders to nothing is not the same as an argument left out.
        self._given = {name for name in ("filenames", "from_tag", *_OPERATIONS) if getattr(self, name) is not None}
        self.check_arguments()

    def check_arguments(self) -> None:
        """See :meth:`CheckedArguments.check_arguments`."""
        super().check_arguments()
        if is_static(self.dataset_id):
            check_id(self.dataset_id, argument="dataset_id")
        if is_static(self.tag_name) and not _TAG_NAME.fullmatch(self.tag_name):
            raise ValueError(
                f"tag_name is {self.tag_name!r}, which the platform does not allow; use at least 3 of letters, digits, "
                "spaces and '.:;=@_-', and begin with a letter or digit (no slashes, plus signs or umlauts)."
            )
        if all(is_static(getattr(self, argument)) for argument in self._given):
            self._check_combination()
        if "from_tag" in self._given and is_static(self.from_tag) and not (self.from_tag or "").strip():
            raise ValueError(f"from_tag is {self.from_tag!r}; give the name of a tag.")
        for argument in ("filenames", *_OPERATIONS):
            if argument in self._given and is_static(value := getattr(self, argument)):
                names_of(value, argument=argument)

    def _check_combination(self) -> None:
        if not {"filenames", "from_tag"} & self._given:
            raise ValueError("Neither filenames nor from_tag is given; give what the tag's samples are.")
        if "filenames" in self._given and len(self._given) > 1:
            others = ", ".join(sorted(self._given - {"filenames"}))
            raise ValueError(f"filenames is given with {others}; give filenames or other tags, and not both.")

    def perform(self, context: Context) -> dict[str, Any]:
        """Find or create the tag."""
        url = push_dataset_link(context, self.hook.connection.web_url, self.dataset_id, waits=False)
        if self.filenames is not None:
            outcome = self.hook.create_tag_from_filenames(self.dataset_id, self.tag_name, self.filenames)
        else:
            outcome = self.hook.create_tag_from_tags(
                self.dataset_id,
                self.tag_name,
                from_tag=str(self.from_tag),
                union_with=self.union_with or (),
                intersect_with=self.intersect_with or (),
                subtract=self.subtract or (),
            )
        self.log.info(
            "%s tag %r of %d samples in dataset %s: %s",
            "Created" if outcome.created else "Reusing",
            self.tag_name,
            outcome.n_selected,
            self.dataset_id,
            url,
        )
        self._n_selected = outcome.n_selected
        self.platform.announce_tag(self, context, self.dataset_id, tag=self.tag_name, n_selected=outcome.n_selected)
        return push_members(
            context,
            {
                "dataset_id": self.dataset_id,
                "tag_id": outcome.tag_id,
                "tag_name": self.tag_name,
                "n_selected": outcome.n_selected,
                "created": outcome.created,
            },
        )

    def moved(self, platform: Platform) -> Moved:
        """See :meth:`DescribedLineage.moved`."""
        from lightly_provider.lineage import Moved

        given = [self.from_tag] if self.from_tag else []
        for argument in _OPERATIONS:
            given += getattr(self, argument) or ()
        done = self._n_selected is not None
        return Moved(
            inputs=[platform.tag(self.dataset_id, name) for name in dict.fromkeys(given)]
            or [platform.dataset(self.dataset_id)],
            outputs=[platform.tag(self.dataset_id, self.tag_name, rows=self._n_selected)] if done else [],
        )
