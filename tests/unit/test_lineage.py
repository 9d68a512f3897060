"""What the operators say to OpenLineage, and when the hook reports to Airflow's collector."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import Asset

from lightly_provider.aws.location import S3Location
from lightly_provider.hooks.lightly import LightlyHook
from lightly_provider.hooks.lineage import is_openlineage_active
from lightly_provider.lineage import Moved, Node, Platform, file, file_asset, folder_of_pattern, location
from tests.contract.example_calls import DATASET, USER_ACCESS
from tests.contract.samples import documented_answer
from tests.unit.api.scripted_platform import Answer, ScriptedPlatform

if TYPE_CHECKING:
    from collections.abc import Iterator

PLATFORM = Platform("api.lightly.ai", "https://app.lightly.ai")
NAMESPACE = "lightly://api.lightly.ai"
RUN = "7" * 24


def test_datasets_and_tags_are_named_by_the_api_and_lead_to_their_page() -> None:
    page = f"https://app.lightly.ai/dataset/{DATASET}"

    assert PLATFORM.dataset(DATASET) == Node(NAMESPACE, DATASET, page=page)
    assert PLATFORM.tag(DATASET, "a b", rows=3) == Node(NAMESPACE, f"{DATASET}/tag/a b", page=page, rows=3)


@pytest.mark.parametrize(
    ("uri", "name"), [("s3://bucket/raw/2026/", "raw/2026"), ("s3://bucket", "/"), ("s3://bucket/a#b/", "a#b")]
)
def test_a_location_is_named_as_the_asset_of_its_address(uri: str, name: str) -> None:
    assert location(S3Location.from_stored(uri)) == Node("s3://bucket", name)


@pytest.mark.parametrize(
    ("uri", "namespace", "name"),
    [
        ("s3://bucket/curated/a.jsonl", "s3://bucket", "curated/a.jsonl"),
        ("gs://team_conn@bucket/a.jsonl", "gs://bucket", "a.jsonl"),
        ("file:///data/a.jsonl", "file", "/data/a.jsonl"),
        ("/data/a.jsonl", "file", "/data/a.jsonl"),
    ],
)
def test_a_file_is_named_by_its_address_without_the_connection(uri: str, namespace: str, name: str) -> None:
    assert file(uri, rows=2, size=90) == Node(namespace, name, rows=2, size=90)


@pytest.mark.parametrize(
    ("uri", "address"),
    [
        ("s3://bucket/a b/c=1.jsonl", "s3://bucket/a b/c=1.jsonl"),
        ("s3://bucket/a#b?c%20ü", "s3://bucket/a%23b%3Fc%2520%C3%BC"),
        ("gs://team_conn@bucket/a", "gs://bucket/a"),
        ("/data/a.jsonl", "file:///data/a.jsonl"),
        (f"s3://bucket/{'a' * 1500}", None),
    ],
)
def test_an_exported_file_is_an_asset_that_airflow_takes_as_it_is(uri: str, address: str | None) -> None:
    assert file_asset(uri) == address
    if address and not address.startswith("gs"):
        assert Asset(address).uri == address


@pytest.mark.parametrize(
    ("uri", "folder"),
    [("s3://bucket/a/*.json", "s3://bucket/a"), ("s3://bucket/a/b*/c.json", "s3://bucket/a"), ("/data/a/", "/data/a/")],
)
def test_the_files_of_a_pattern_are_those_of_its_folder(uri: str, folder: str) -> None:
    assert folder_of_pattern(uri) == folder


def test_a_run_moves_from_its_dataset_to_the_tag_that_it_created() -> None:
    outcome = {"run_id": RUN, "tag_name": "a", "n_selected": 3}

    assert PLATFORM.run(DATASET, None, None) is None
    scheduled = PLATFORM.run(DATASET, "1" * 24, None)
    assert scheduled == Moved(inputs=[PLATFORM.dataset(DATASET)], outputs=[], run_id="1" * 24, platform=NAMESPACE)
    ended = PLATFORM.run(DATASET, "1" * 24, outcome)
    assert ended is not None
    assert (ended.outputs, ended.run_id) == ([PLATFORM.tag(DATASET, "a", rows=3)], RUN)


def test_openlineage_gets_inputs_outputs_statistics_and_the_run() -> None:
    moved = Moved([PLATFORM.dataset(DATASET)], [file("s3://bucket/a", rows=2, size=9)], run_id=RUN, platform=NAMESPACE)

    told = moved.to_openlineage()

    assert [(d.namespace, d.name) for d in told.inputs] == [(NAMESPACE, DATASET)]
    (output,) = told.outputs
    statistics = output.outputFacets["outputStatistics"]
    assert (output.namespace, output.name, statistics.rowCount, statistics.size) == ("s3://bucket", "a", 2, 9)
    assert told.run_facets["externalQuery"].externalQueryId == RUN
    nothing = Moved().to_openlineage()
    assert (nothing.inputs, nothing.outputs, nothing.run_facets) == ([], [], {})


# --- hook lineage -------------------------------------------------------------------------------------------------


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedPlatform]:
    """A platform on which a dataset is found, and its datasource set."""
    found = {"id": DATASET, "name": "photos", "type": "Images"}
    steps = [
        Answer(200, documented_answer("get_datasets_query_by_name", found)),
        Answer(200, documented_answer("get_dataset_by_id", **found)),
        Answer(200, []),
        Answer(200, {"id": DATASET}),
    ]
    with ScriptedPlatform(steps) as started:
        connection = {"conn_type": "lightly", "host": started.address, "password": "a-token-of-the-tests"}
        monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_DEFAULT", json.dumps(connection))
        yield started


class Collector:
    """Stands for Airflow's collector, which exists once in a process and keeps all that it was told."""

    def __init__(self) -> None:
        self.made = 0
        self.assets: list[tuple[str, str]] = []

    def get(self) -> Collector:
        self.made += 1
        return self

    def add_input_asset(self, *, context: Any, uri: str) -> None:
        self.assets.append(("read", uri))

    def add_output_asset(self, *, context: Any, uri: str) -> None:
        self.assets.append(("wrote", uri))


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Collector:
    """What Airflow's own function returns in these tests."""
    from airflow.providers.common.compat.lineage import hook

    made = Collector()
    monkeypatch.setattr(hook, "get_hook_lineage_collector", made.get)
    return made


@pytest.fixture
def active_openlineage(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """OpenLineage as in a task whose Airflow has a transport for it."""
    from airflow.providers.openlineage import conf

    cached = [value for value in vars(conf).values() if hasattr(value, "cache_clear")]
    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__TRANSPORT", '{"type": "console"}')
    for function in cached:
        function.cache_clear()
    import airflow.providers.openlineage.plugins.listener  # noqa: F401

    yield
    for function in cached:
        function.cache_clear()


def use(hook: LightlyHook) -> None:
    """Two calls that move data, and one that reads."""
    hook.get_or_create_dataset("photos", "Images")
    assert hook.get_dataset(DATASET).name == "photos"
    hook.set_datasource(DATASET, USER_ACCESS)


@pytest.mark.usefixtures("active_openlineage")
def test_calls_that_move_data_are_reported_and_reads_never_ask_for_the_collector(
    platform: ScriptedPlatform, collector: Collector
) -> None:
    hook = LightlyHook()
    use(hook)
    hook.client.close()

    dataset = f"{platform.address.replace('http', 'lightly')}/{DATASET}"
    assert collector.assets == [("wrote", dataset), ("read", USER_ACCESS.full_path), ("wrote", dataset)]
    assert collector.made == 2


@pytest.mark.usefixtures("active_openlineage")
def test_names_that_leave_the_platform_are_reported_as_read_from_their_tags(
    monkeypatch: pytest.MonkeyPatch, collector: Collector
) -> None:
    tags = [{"id": str(number) * 24, "name": f"tag {number}", "bitMaskData": "0x3"} for number in (1, 2)]
    with ScriptedPlatform(
        [Answer(200, documented_answer("get_tags_by_dataset_id", *tags)), Answer(200, b"a\nb")]
    ) as started:
        connection = {"conn_type": "lightly", "host": started.address, "password": "a-token-of-the-tests"}
        monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_DEFAULT", json.dumps(connection))
        hook = LightlyHook()
        assert list(hook.iter_filenames(DATASET, "tag 1", union_with=["tag 2"])) == ["a", "b"]
        hook.client.close()
        dataset = f"{started.address.replace('http', 'lightly')}/{DATASET}"

    assert collector.assets == [("read", f"{dataset}/tag/tag%20{number}") for number in (1, 2)]


@pytest.mark.usefixtures("active_openlineage")
def test_the_hook_of_an_operator_reports_nothing(platform: ScriptedPlatform, collector: Collector) -> None:
    hook = LightlyHook()
    hook.reports_lineage = False
    use(hook)
    hook.client.close()

    assert collector.made == 0


def test_without_an_active_openlineage_nothing_is_reported(platform: ScriptedPlatform, collector: Collector) -> None:
    assert not is_openlineage_active()
    hook = LightlyHook()
    use(hook)
    hook.client.close()

    assert collector.made == 0


@pytest.mark.usefixtures("active_openlineage")
def test_a_collector_that_fails_does_not_fail_the_call(
    platform: ScriptedPlatform, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: Any) -> None:
        raise RuntimeError("no collector today")

    monkeypatch.setattr(collector, "add_output_asset", fail)
    hook = LightlyHook()
    use(hook)
    hook.client.close()

    assert collector.made == 2


@pytest.mark.exhaustive(sample="test_without_an_active_openlineage_nothing_is_reported")
def test_a_hook_without_an_active_openlineage_imports_nothing_of_it() -> None:
    script = (
        "import sys\n"
        "from lightly_provider.hooks.lightly import LightlyHook\n"
        "from lightly_provider.hooks.lineage import report_lineage\n"
        "hook, before = LightlyHook(), set(sys.modules)\n"
        "report_lineage(hook, wrote=['lightly://api.lightly.ai/' + '0' * 24])\n"
        "print(*set(sys.modules) - before)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == ""
