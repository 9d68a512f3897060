"""Onboard a bucket, or many, with one call in one's own DAG: a task group of this provider's operators."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, cast

from airflow.providers.common.compat.sdk import (
    DAG,
    AirflowSkipException,
    TaskGroup,
    XComArg,
    conf,
    task_group,
)

from lightly_provider.airflow_internals import read_mapped_list_once
from lightly_provider.operators.arguments import is_static, mapping_of, quoted
from lightly_provider.operators.dataset import DATASET_TYPES, CreateLightlyDatasetOperator
from lightly_provider.operators.datasource import ConfigureS3DatasourceOperator
from lightly_provider.operators.verification import VerifyDatasourcePermissionsOperator
from lightly_provider.operators.worker import RunLightlyWorkerOperator
from lightly_provider.suggestions import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from airflow.providers.common.compat.sdk import Context

    from lightly_provider.operators.base import LightlyBaseOperator

    class OnboardingGroup(TaskGroup):
        """The task group that a call makes."""

        output: XComArg
        """The result of the group's last task."""


_Arguments = ParamSpec("_Arguments")
_REQUIRED = inspect.Parameter.empty

# Any id: only for the check of arguments, no task is made of it.
_ANY_ID = "0" * 24
# So many names of datasets are shown in a tooltip.
_SHOWN_NAMES = 5
# Airflow's database holds 250 characters of a name in place of a map index.
_LONGEST_NAME = 200


@dataclass(frozen=True)
class _Step:
    """One task of the group: its operator, and which of the group's arguments the operator takes."""

    task_id: str
    operator: type[LightlyBaseOperator]
    takes: tuple[str, ...]


_CREATE = _Step("create_dataset", CreateLightlyDatasetOperator, ("lightly_conn_id", "dataset_name", "dataset_type"))
_CONFIGURE = _Step(
    "configure",
    ConfigureS3DatasourceOperator,
    (
        *("lightly_conn_id", "resource_path", "datasource_aws_conn_id", "region", "kms_key_arn"),
        *("generate_thumbnails", "thumbnail_suffix", "output_resource_path", "output_aws_conn_id"),
    ),
)
_VERIFY = _Step(
    "verify_permissions",
    VerifyDatasourcePermissionsOperator,
    (
        *("lightly_conn_id", "datasource_aws_conn_id", "output_aws_conn_id", "aws_conn_id", "require"),
        *("require_files", "object_level", "bypass_verify", "propagation_timeout", "deferrable"),
    ),
)
_RUN = _Step(
    "run_worker",
    RunLightlyWorkerOperator,
    (
        *("lightly_conn_id", "selection_config", "worker_config", "lightly_config", "only_new"),
        *("reset_processed_until", "runs_on", "priority"),
        *("poll_interval", "wait_for_completion", "deferrable", "timeout", "pickup_timeout", "worker_presence"),
    ),
)
_STEPS = (_CREATE, _CONFIGURE, _VERIFY, _RUN)
# These arguments are for a run of the worker, which there is only with a selection_config.
_ONLY_WITH_A_RUN = ("worker_config", "lightly_config", "only_new", "reset_processed_until")


class _Mappable(Generic[_Arguments]):
    """
    A function that makes a task group, which can also be mapped: ``.partial(...).expand_kwargs(...)``.

    :param function: The function. All its parameters are keyword-only.
    """

    def __init__(self, function: Callable[_Arguments, OnboardingGroup]) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        #: The arguments by name, each with its default; ``_REQUIRED``: it has none.
        self.defaults = {name: each.default for name, each in inspect.signature(function).parameters.items()}

    def __call__(self, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> OnboardingGroup:
        """Make the task group of one dataset."""
        return self._function(*args, **kwargs)

    def partial(self, **arguments: Any) -> _Partial:
        """
        Set the arguments that all datasets of a mapped group have in common.

        :param arguments: As for one dataset.
        :raises TypeError: There is no such argument.
        """
        if unknown := [name for name in arguments if name not in self.defaults]:
            raise TypeError(f"partial() of onboard_s3_dataset: {_unknown(unknown[0], self.defaults)}")
        return _Partial(self.defaults, arguments)

    def expand_kwargs(self, datasets: Sequence[Mapping[str, Any]] | XComArg) -> OnboardingGroup:
        """
        Make a mapped task group without arguments in common, see :meth:`_Partial.expand_kwargs`.

        :param datasets: The arguments of each dataset.
        """
        return self.partial().expand_kwargs(datasets)


class _Partial:
    """
    Arguments that all datasets have in common, and what is made of them.

    :param defaults: The arguments of the function, with their defaults.
    :param common: What all datasets have in common.
    """

    def __init__(self, defaults: Mapping[str, Any], common: Mapping[str, Any]) -> None:
        self._defaults = defaults
        self._common = dict(common)

    def expand_kwargs(self, datasets: Sequence[Mapping[str, Any]] | XComArg) -> OnboardingGroup:
        """
        Make one task group that is mapped over datasets, so that one which fails stops no other.

        :param datasets: A list with the arguments of each dataset; or the output of a task that returns such a list.
            A list in the DAG file is checked when the DAG is parsed.
        :raises ValueError: The list is empty, an argument is not valid, or two datasets have the same name.
        """
        if "dataset_name" in self._common:
            raise ValueError(
                "dataset_name is in partial(), so that all datasets would be one; give it for each dataset."
            )
        if isinstance(datasets, XComArg):
            (source, _), *_ = datasets.iter_references()
            defaults = {name: self._default_of(name, source) for name in self._free()}

            def completed(dataset: Any) -> dict[str, Any]:
                return self._completed(dataset, defaults)

            return self._mapped(datasets.map(completed), list(defaults), f"what {source.task_id} returns")
        if isinstance(datasets, (str, Mapping)) or not isinstance(datasets, Sequence):
            raise ValueError(
                f"expand_kwargs got {quoted(datasets)}; give a list with the arguments of each dataset, or the output "
                "of a task that returns one."
            )
        return self._of_list(datasets)

    def _free(self) -> list[str]:
        """The arguments that can differ from dataset to dataset: templated ones that are not set for all."""
        return [
            name
            for name in self._defaults
            if name not in self._common
            and (takers := [step for step in _STEPS if name in step.takes])
            and all(name in step.operator.template_fields for step in takers)
        ]

    def _of_list(self, datasets: Sequence[Any]) -> OnboardingGroup:
        if not datasets:
            raise ValueError("expand_kwargs got an empty list; give the arguments of at least one dataset.")
        given = {name for dataset in datasets if isinstance(dataset, Mapping) for name in dataset}
        defaults = {
            name: self._defaults[name] for name in self._free() if name in given or self._defaults[name] is _REQUIRED
        }
        positions: dict[str, int] = {}
        completed: list[dict[str, Any]] = []
        checked: set[tuple[str, str]] = set()
        with DAG("lightly_check_of_arguments", schedule=None, auto_register=False):
            for position, dataset in enumerate(datasets, start=1):
                try:
                    completed.append(self._completed(dataset, defaults))
                    name = completed[-1]["dataset_name"]
                    if (first := positions.setdefault(str(name), position)) != position:
                        raise ValueError(
                            f"dataset_name is {quoted(name)}, as in entry {first}; give each dataset a name of its own."
                        )
                    self._check(completed[-1], position, checked)
                except ValueError as error:
                    raise ValueError(f"expand_kwargs, entry {position} of {len(datasets)}: {error}") from None
        # What all entries have in common need not be mapped.
        fixed = {
            name: completed[0][name]
            for name in defaults
            if name != "dataset_name" and all(each[name] == completed[0][name] for each in completed)
        }
        varying = [name for name in defaults if name not in fixed]
        names = [str(each["dataset_name"]) for each in completed[:_SHOWN_NAMES]]
        more = f" and {len(completed) - len(names)} more" if len(completed) > len(names) else ""
        return _Partial(self._defaults, self._common | fixed)._mapped(
            [{name: each[name] for name in varying} for each in completed], varying, f"{', '.join(names)}{more}"
        )

    def _completed(self, dataset: Any, defaults: Mapping[str, Any]) -> dict[str, Any]:
        """
        Return the arguments of one dataset of a list, with the defaults of those that it leaves out.

        :param dataset: The entry of the list.
        :param defaults: The arguments that the entries have, with their defaults.
        :raises ValueError: An argument is unknown, belongs into ``partial``, is a template, or is missing.
        """
        if not isinstance(dataset, Mapping):
            raise ValueError(f"{quoted(dataset)} is not a mapping; give the arguments of a dataset by their names.")
        for name, value in dataset.items():
            if name in self._common:
                raise ValueError(f"{name} is in partial(), too; leave out one of them.")
            if name not in self._defaults:
                raise ValueError(_unknown(name, self._free()))
            if name not in defaults:
                raise ValueError(f"{name} is {quoted(value)}, and must be the same for all datasets; use partial().")
            if not is_static(value):
                raise ValueError(
                    f"{name} is {quoted(value)}, and Airflow renders nothing inside a list; put it into partial(), or "
                    "return the list from a task."
                )
        completed = {**defaults, **dataset}
        if missing := [name for name, value in completed.items() if value is _REQUIRED]:
            raise ValueError(f"{missing[0]} is missing; give it for each dataset, or for all of them in partial().")
        return completed

    def _check(self, dataset: Mapping[str, Any], position: int, checked: set[tuple[str, str]]) -> None:
        """Let the operators check the arguments, each combination once."""
        arguments = self._complete(dataset)
        for step in _steps_of(arguments):
            taken = _taken(step, arguments, self._defaults)
            if (key := (step.task_id, repr(sorted(taken.items())))) not in checked:
                checked.add(key)
                _make(step, taken, dataset_id=_ANY_ID, task_id=f"{step.task_id}_{position}")

    def _mapped(self, datasets: Any, mapped: Sequence[str], described: str) -> OnboardingGroup:
        outputs: list[XComArg] = []

        def onboard(**each: Any) -> None:
            read_mapped_list_once(each.values())
            outputs.append(_fill(self._complete(each), self._defaults))

        # Airflow takes from the signature which arguments are mapped.
        onboard.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in mapped]
        )
        options = _group_options(self._complete({}), tooltip=f"Onboard each by itself: {described}")
        group = cast("OnboardingGroup", task_group(**options)(onboard).expand_kwargs(datasets))
        (group.output,) = outputs
        return group

    def _complete(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return {**self._defaults, **self._common, **arguments}

    def _default_of(self, name: str, source: Any) -> Any:
        """The default of an argument that a returned list may leave out: that of the DAG, or that of the operators."""
        for default_args in (self._common.get("default_args") or {}, getattr(source.dag, "default_args", None) or {}):
            if name in default_args:
                return default_args[name]
        return self._defaults[name]


def _unknown(name: Any, known: Iterable[str]) -> str:
    names = list(known)
    hint = did_you_mean(name, names, otherwise=f"there are: {', '.join(names)}.")
    return f"there is no argument {quoted(name)}; {hint}"


def _steps_of(arguments: Mapping[str, Any]) -> tuple[_Step, ...]:
    """The group's tasks: without a selection there is no run of the worker."""
    return _STEPS[:-1] if arguments["selection_config"] is None else _STEPS


def _taken(step: _Step, arguments: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """
    The arguments that a step's operator gets.

    Those with their default are left to the operator, which takes the ``default_args`` of the DAG into account.
    """
    names: tuple[str, ...] = step.takes
    if step is _CREATE and arguments["dataset_type"] not in DATASET_TYPES:
        names = (*names, "resource_path", "datasource_aws_conn_id")
    return {name: arguments[name] for name in names if not _is_default(arguments[name], defaults[name])}


def _is_default(value: Any, default: Any) -> bool:
    return value is default or (type(value) is type(default) and is_static(value) and value == default)


def _make(step: _Step, taken: Mapping[str, Any], *, dataset_id: Any, **options: Any) -> LightlyBaseOperator:
    if step is not _CREATE:
        options["dataset_id"] = dataset_id
    if step is _RUN and not is_static(taken["selection_config"]):
        options["pre_execute"] = skip_without_selection
    return step.operator(**{"task_id": step.task_id, **taken, **options})


def _fill(arguments: Mapping[str, Any], defaults: Mapping[str, Any]) -> XComArg:
    """Make the tasks of the current group, one after the other; return the result of the last one."""
    options = {} if arguments["pool"] is None else {"pool": arguments["pool"]}
    create_id, dataset_id = "", ""
    previous: Any = None
    for step in _steps_of(arguments):
        task = _make(step, _taken(step, arguments, defaults), dataset_id=dataset_id, **options)
        if previous is None:
            create_id = task.task_id
            # A template, because the task's output would be another arrow in the graph, which is one line.
            dataset_id = f"{{{{ ti.xcom_pull(task_ids={create_id!r}, map_indexes=ti.map_index) }}}}"
        else:
            previous >> task
        previous = task
        if task.get_closest_mapped_task_group() is not None:
            task.map_index_template = _name_of_member(task, create_id)
    return cast("XComArg", previous.output)


def _name_of_member(task: LightlyBaseOperator, create_id: str) -> str:
    """The template of the dataset's name, which Airflow shows in place of a map index."""
    name = "task.dataset_name"
    if task.task_id != create_id:
        # What the first task pushed; no request to the platform.
        name = f"(ti.xcom_pull(task_ids={create_id!r}, key='dataset_name', map_indexes=ti.map_index) or ti.map_index)"
    # In such a DAG, 20260101 would become a number, which Airflow refuses; nothing after a blank is a literal.
    blank = " " if getattr(task.dag, "render_template_as_native_obj", False) else ""
    return f"{blank}{{{{ ({name} | string)[:{_LONGEST_NAME}] }}}}"


def skip_without_selection(context: Context) -> None:
    """
    Skip the task if its dataset has no selection: a mapped group is the same for all datasets.

    :param context: The task's context.
    :raises AirflowSkipException: ``selection_config`` is None.
    """
    values: Any = context
    if mapping_of(values["task"].selection_config, argument="selection_config") is None:
        raise AirflowSkipException("The dataset has no selection_config, so no run of the worker is scheduled.")


def _group_options(arguments: Mapping[str, Any], *, tooltip: str, name: str = "") -> dict[str, Any]:
    options: dict[str, Any] = {
        "group_id": arguments["group_id"],
        "prefix_group_id": arguments["prefix_group_id"],
        "default_args": arguments["default_args"] or {},
        "tooltip": tooltip,
    }
    # Airflow 2.11 has no names of groups beside their ids.
    if name and hasattr(TaskGroup, "group_display_name"):
        options["group_display_name"] = name
    return options


@_Mappable
def onboard_s3_dataset(
    *,
    dataset_name: str,
    resource_path: str,
    datasource_aws_conn_id: str,
    dataset_type: str = "Images",
    output_resource_path: str | None = None,
    output_aws_conn_id: str | None = None,
    region: str | None = None,
    generate_thumbnails: bool = False,
    thumbnail_suffix: str | None = None,
    kms_key_arn: str | None = None,
    require: str | Sequence[str] = "auto",
    aws_conn_id: str | None = None,
    require_files: bool = False,
    object_level: bool = False,
    bypass_verify: bool = False,
    propagation_timeout: float | timedelta | None = None,
    selection_config: Mapping[str, Any] | str | None = None,
    worker_config: Mapping[str, Any] | str | None = None,
    lightly_config: Mapping[str, Any] | str | None = None,
    only_new: bool | None = None,
    reset_processed_until: str | float | datetime | None = None,
    runs_on: Sequence[str] | None = (),
    priority: str = "MID",
    wait_for_completion: bool = True,
    deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
    poll_interval: float | timedelta | str = 60.0,
    timeout: float | timedelta | None = timedelta(hours=24),
    pickup_timeout: float | timedelta | None = None,
    worker_presence: str = "warn",
    lightly_conn_id: str = "lightly_default",
    pool: str | None = None,
    default_args: Mapping[str, Any] | None = None,
    group_id: str = "onboard",
    prefix_group_id: bool = True,
) -> OnboardingGroup:
    """
    Onboard a bucket: a task group that creates the dataset, sets its datasources, verifies the permissions, and runs
    the Lightly Worker if there is a selection.

    The tasks are ``create_dataset``, ``configure``, ``verify_permissions`` and ``run_worker``, one after the other.
    Each is the operator of this provider, and gets the arguments of its name; so all of it is idempotent, and a second
    run changes nothing that is up to date. ``onboard_s3_dataset.partial(...).expand_kwargs(...)`` makes a mapped group
    of many datasets: the arguments that all have in common, and a list with those of each one, or the output of a task
    that returns such a list.

    :param dataset_name: The dataset's name: at least 3 of letters, digits, space, ``_`` and ``-``. Templated.
    :param resource_path: ``s3://bucket/prefix/`` with the images or videos. Templated.
    :param datasource_aws_conn_id: AWS connection whose keys, or role and external ID, are handed over to Lightly; the
        verification looks with it from this worker, too. Templated.
    :param dataset_type: ``Images`` (default), ``Videos``, or ``auto`` to derive it from the files. Templated.
    :param output_resource_path: ``s3://bucket/prefix/`` for what Lightly writes, so that the input is only read.
        None (default): Lightly writes below ``resource_path``. Templated.
    :param output_aws_conn_id: AWS connection for the output. Default: the same access as for the input. Templated.
    :param region: The bucket's AWS region. None (default): S3 is asked. Templated.
    :param generate_thumbnails: Let Lightly store thumbnails. Default: False. Templated.
    :param thumbnail_suffix: Pattern of the thumbnails' paths instead of the default one; turns them on. Templated.
    :param kms_key_arn: KMS key with which Lightly encrypts what it writes. Templated.
    :param require: Permissions that must be granted, or ``auto`` (default), what this use needs. Templated.
    :param aws_conn_id: AWS connection of Airflow's own, with which the verification looks at a role. Default: None.
        Templated.
    :param require_files: Whether the verification fails if there is no file of the dataset's type. Default: False.
    :param object_level: Whether runs cut crops of objects out of the images. Default: False.
    :param bypass_verify: Whether the worker runs inside a closed network with ``datasource.bypass_verify``. Default:
        False.
    :param propagation_timeout: For how long the verification tries a denial again, in seconds or as a timedelta.
        Default: None, as the operator decides.
    :param selection_config: What the worker selects; a mapping, or JSON. None (default): no run of the worker.
        Templated.
    :param worker_config: The worker's options, e.g. ``{"use_datapool": True}``; a mapping, or JSON. Default: none.
        Templated.
    :param lightly_config: Options of the embedding model's training; a mapping, or JSON. Default: none. Templated.
    :param only_new: Which files the run reads: True only new ones, False all. Default: None, as ``worker_config`` says.
        Templated.
    :param reset_processed_until: Moment in the past: files that were last modified after it are new again; 0: all
        files. Refused while another run on the dataset is active. Default: None, left as it is. Templated.
    :param runs_on: Labels, all of which a worker must have to take the run. Default: none. Templated.
    :param priority: ``LOW``, ``MID`` (default), ``HIGH`` or ``CRITICAL``. Templated.
    :param wait_for_completion: Wait until the run has ended (default), or go on once it is scheduled.
    :param deferrable: Wait in the triggerer, without a slot of a worker. Default: Airflow's configuration
        ``[operators] default_deferrable``.
    :param poll_interval: Seconds between two polls of the run. Default: 60. Templated.
    :param timeout: Longest wait for the run, in seconds or as a timedelta; None: no limit. Default: 24 hours.
    :param pickup_timeout: Longest wait for a worker to take the run, in seconds or as a timedelta. Default: None.
    :param worker_presence: If no running worker has the labels: ``warn`` (default), ``require`` or ``ignore``.
    :param lightly_conn_id: Airflow connection of type ``lightly``. Default: ``lightly_default``. Templated.
    :param pool: Airflow pool of all tasks of the group. Default: None, that of the DAG.
    :param default_args: Arguments of Airflow's operators for all tasks of the group, e.g. ``{"retries": 3}``. Default:
        None.
    :param group_id: Id of the task group. If the DAG has it already, Airflow adds a number. Default: ``onboard``.
    :param prefix_group_id: Whether the tasks' ids begin with that of the group. Default: True.
    :return: The task group. Its attribute ``output`` is the result of its last task, ``run_worker`` or
        ``verify_permissions``, for other tasks; of a mapped group, that of all datasets.
    :raises ValueError: An argument is not valid, as the operators say it.
    """
    arguments = dict(locals())
    if selection_config is None and (useless := [name for name in _ONLY_WITH_A_RUN if arguments[name] is not None]):
        raise ValueError(
            f"{useless[0]} is given without selection_config, so that no run is scheduled; add that, or leave it out."
        )
    is_named = isinstance(dataset_name, str)
    options = _group_options(
        arguments,
        tooltip=f"Onboard {dataset_name}: {resource_path}"
        if is_named and isinstance(resource_path, str)
        else "Onboard",
        name=f"{group_id} {dataset_name}" if is_named and is_static(dataset_name) else "",
    )
    with TaskGroup(add_suffix_on_collision=True, **options) as made:
        group = cast("OnboardingGroup", made)
        group.output = _fill(arguments, onboard_s3_dataset.defaults)
    return group
