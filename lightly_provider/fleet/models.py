"""The form of a fleet's file, as pydantic models: what is checked, and what its JSON Schema says."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from lightly_provider.api.models.dataset import DatasetName
from lightly_provider.api.models.worker_config import SelectionConfig, WorkerOptions
from lightly_provider.aws.location import S3Location
from lightly_provider.fleet.schedule import check_schedule

# One DAG run maps a task for each dataset, and Airflow maps at most 1,024 (its option core.max_map_length).
MOST_DATASETS = 1000
_LONGEST_NAME = 250  # as a partition key of Airflow may be
_DATAPOOL: dict[str, Any] = {"use_datapool": True}


def _location(argument: str) -> Any:
    def check(uri: str) -> str:
        S3Location.parse(uri, argument=argument)
        return uri

    return AfterValidator(check)


def _printable(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("it is empty or holds a control character; type it again")
    return text


Text = Annotated[str, StringConstraints(max_length=250), AfterValidator(_printable)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, loc_by_alias=False, allow_inf_nan=False)


class FleetDefaults(_Section):
    """What each dataset has that does not say otherwise."""

    type: Annotated[
        Literal["Images", "Videos"], Field(description="Content of the input. It cannot be changed later.")
    ] = "Images"
    access: Annotated[
        Text | None,
        Field(
            description="AWS connection of Airflow's whose keys, or role and external ID, are handed over to Lightly; "
            "or the address of a secret with such a connection."
        ),
    ] = None
    output_access: Annotated[
        Text | None, Field(description="The same for the output. Default: the access of the input.")
    ] = None
    region: Annotated[
        Text | None,
        Field(description="AWS region of the buckets. Default: S3 is asked, then the connection's region_name."),
    ] = None
    thumbnails: Annotated[bool, Field(description="Whether Lightly stores thumbnails.")] = True
    selection: Annotated[
        SelectionConfig | None,
        Field(description="What a run of the Lightly Worker selects. Default: none, and no run."),
    ] = None
    worker: Annotated[
        WorkerOptions | None,
        Field(description="Options of the Lightly Worker. Default: {use_datapool: true}."),
    ] = None
    schedule: Annotated[
        Annotated[str, AfterValidator(check_schedule)] | None,
        Field(
            description="How often a run is due: @hourly, @daily, @weekly, @monthly, @yearly, or a cron expression of "
            "five fields, in UTC. Default: one run, and another one only after a change or a failure."
        ),
    ] = None
    runs_on: Annotated[
        list[Text], Field(description="Labels, all of which a worker must have to take the run. Default: any worker.")
    ] = []
    owner: Annotated[Text | None, Field(description="Who is responsible; shown in the plan and in the report.")] = None


class FleetDataset(FleetDefaults):
    """One dataset of a fleet, with the defaults filled in."""

    name: Annotated[
        DatasetName,
        StringConstraints(max_length=_LONGEST_NAME),
        Field(description="Name of the dataset on the platform."),
    ]
    input: Annotated[
        str,
        _location("input"),
        Field(description="s3://bucket/prefix/ with the images or videos, only read if there is an output."),
    ]
    output: Annotated[
        Annotated[str, _location("output")] | None,
        Field(
            description="s3://bucket/prefix/ to which Lightly writes. Default: the input, below .lightly/, which then "
            "needs permission to write."
        ),
    ] = None

    @property
    def connections(self) -> tuple[str, ...]:
        """The AWS connections that are handed over to Lightly; ``output_access`` counts only with an output."""
        return tuple(filter(None, (self.access, self.output_access if self.output else None)))

    @property
    def worker_options(self) -> dict[str, Any]:
        """The worker's options, by Python name."""
        return dict(_DATAPOOL) if self.worker is None else self.worker.model_dump(mode="json", exclude_unset=True)

    @property
    def selection_config(self) -> dict[str, Any] | None:
        """The selection as it is written, by Python name; None: no run."""
        return None if self.selection is None else self.selection.model_dump(mode="json", exclude_unset=True)

    def onboard_arguments(self) -> dict[str, Any]:
        """Return the arguments of ``onboard_s3_dataset`` for this dataset, in JSON types."""
        return {
            "dataset_name": self.name,
            "dataset_type": self.type,
            "resource_path": self.input,
            "datasource_aws_conn_id": self.access,
            "output_resource_path": self.output,
            "output_aws_conn_id": self.output_access if self.output else None,
            "region": self.region,
            "generate_thumbnails": self.thumbnails,
            "selection_config": self.selection_config,
            "worker_config": None if self.selection is None else self.worker_options,
            "runs_on": list(self.runs_on),
        }


class FleetFile(_Section):
    """The datasets of a team, and how each is onboarded into Lightly."""

    defaults: Annotated[FleetDefaults, Field(description="What each dataset has that does not say otherwise.")] = (
        FleetDefaults()
    )
    datasets: Annotated[list[FleetDataset], Field(min_length=1, max_length=MOST_DATASETS)]


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a fleet's file, for editors. Its member names are those of Python, as in the guide."""
    generated = FleetFile.model_json_schema(by_alias=False)
    generated["patternProperties"] = {"^x-": {"description": "Ignored: a place for anchors."}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **generated,
        "title": "A fleet of Lightly datasets",
    }
