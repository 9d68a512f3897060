"""The file of a fleet: what is read, and every fault with its line."""

from __future__ import annotations

import json
import re
import textwrap
import time
from typing import TYPE_CHECKING

import pytest
import yaml

from lightly_provider.cli.printing import as_json
from lightly_provider.exceptions import LightlyFleetError
from lightly_provider.fleet import Fleet, FleetDataset
from lightly_provider.fleet.models import schema
from tests.unit.documents import REPOSITORY, blocks

if TYPE_CHECKING:
    from pathlib import Path

GUIDE = REPOSITORY / "docs" / "fleet.md"
SELECTION = "{n_samples: 5, strategies: [{input: {type: EMBEDDINGS}, strategy: {type: DIVERSITY}}]}"


def fleet_of(tmp_path: Path, text: str | bytes) -> Fleet:
    path = tmp_path / "lightly_fleet.yaml"
    path.write_bytes(text if isinstance(text, bytes) else textwrap.dedent(text).lstrip("\n").encode())
    return Fleet.read(path)


def faults_of(tmp_path: Path, text: str | bytes) -> list[str]:
    with pytest.raises(LightlyFleetError) as refused:
        fleet_of(tmp_path, text)
    first, *faults = str(refused.value).splitlines()
    assert re.fullmatch(r".*/lightly_fleet\.yaml has (a fault|\d+ faults), so nothing was started:", first)
    return faults


def named(*names: str) -> str:
    """A list of datasets with these names."""
    folders = [name if names.index(name) == number else f"{name}{number}" for number, name in enumerate(names)]
    return "datasets:\n" + "".join(
        f"- {{name: {name}, input: s3://bkt/{folder}/, access: c}}\n"
        for name, folder in zip(names, folders, strict=True)
    )


# The file, and for each fault its line and how it begins.
FAULTS: dict[str, tuple[str, list[tuple[int, str]]]] = {
    "two of one name": (named("birds", "cats", "birds"), [(4, "there is a dataset 'birds' already, in line 2")]),
    "a key twice": (
        """
        datasets:
        - name: birds
          input: s3://bkt/birds/
          access: c
          name: cats
        """,
        [(5, "the key 'name' is here a second time (first in line 2, column 3); leave one out.")],
    ),
    "an unknown key, with the nearest": (
        "datasets:\n- {name: birds, inptu: s3://bkt/b/,\n   access: c}\n",
        [(2, "there is no key 'inptu' here; did you mean 'input'?")],
    ),
    "an unknown key far from any": (
        named("birds") + "zzz: 1\n",
        [(3, "there is no key 'zzz' here; known are defaults, datasets; a key that begins with x- is ignored.")],
    ),
    "a key of a selection": (
        """
        datasets:
        - name: birds
          input: s3://bkt/birds/
          access: c
          selection:
            n_sample: 5
            strategies: [{input: {type: EMBEDDINGS}, strategy: {type: DIVERSITY}}]
        """,
        [(6, "selection.n_sample is not a member of the worker configuration V4; did you mean 'n_samples'?")],
    ),
    "a value in a list of a selection": (
        """
        datasets:
        - name: birds
          input: s3://bkt/birds/
          access: c
          selection:
            n_samples: 5
            strategies:
            - input: {type: EMBEDDINGS}
              strategy: {type: DIVERSE}
        """,
        [(9, "selection.strategies[0].strategy.type is not one of its allowed values; did you mean 'DIVERSITY'?")],
    ),
    "a selection without a size": (
        "datasets:\n- name: birds\n  input: s3://bkt/b/\n  access: c\n"
        f"  selection: {SELECTION.replace('n_samples: 5, ', '')}\n",
        [(5, "selection: set exactly one of 'n_samples' and 'proportion_samples'.")],
    ),
    "an unknown type": (
        named("birds").replace("access", "type: images, access"),
        [(2, "type is 'images'; did you mean 'Images'?")],
    ),
    "a number as a name": (named("2026"), [(2, "name is 2026, and a text is needed; put it between quotes.")]),
    "no as a name": (named("no"), [(2, "name is false, and a text is needed; put it between quotes.")]),
    "a name that the platform refuses": (
        named("a.b"),
        [(2, "name is 'a.b', which the platform does not allow; use 3")],
    ),
    "a text as a list": (
        named("birds").replace("access", "runs_on: gpu, access"),
        [(2, "runs_on is 'gpu', and a list is needed; write [gpu].")],
    ),
    "a text as a selection": (
        named("birds").replace("access", "selection: all, access"),
        [(2, "selection is 'all', and a mapping is needed.")],
    ),
    "a text as a flag": (
        named("birds").replace("access", "thumbnails: 'yes', access"),
        [(2, "thumbnails is 'yes', and true or false is needed.")],
    ),
    "no access": (
        "datasets:\n- {name: birds, input: s3://bkt/b/}\n",
        [(2, "access is missing: name the AWS connection")],
    ),
    "a wrong address": (
        named("birds").replace("s3://bkt", "s3:/bkt"),
        [(2, "input='s3:/bkt/birds/': the scheme must be written s3://; write s3://bkt/birds/ instead.")],
    ),
    "one input inside another": (
        "datasets:\n- {name: all, input: s3://bkt/, access: c}\n- {name: birds, input: s3://bkt/a/birds, access: c}\n",
        [(3, "this input lies inside the input of 'all' in line 2")],
    ),
    "one input twice": (
        "datasets:\n- {name: all, input: s3://bkt/a, access: c}\n- {name: birds, input: s3://bkt/a/, access: c}\n",
        [(3, "the input of 'all' in line 2 is the same; leave one of them out.")],
    ),
    "an output inside the input of another": (
        "datasets:\n- {name: all, input: s3://bkt/a/, access: c}\n"
        "- {name: birds, input: s3://bkt/b/, output: s3://bkt/a/out/, access: c}\n",
        [(3, "this output lies inside the input of 'all' in line 2, so that what Lightly writes would be read")],
    ),
    "an output inside its own input": (
        "datasets:\n- {name: all, input: s3://bkt/a/, output: s3://bkt/a/out/, access: c}\n",
        [(2, "this output lies inside its own input")],
    ),
    "an output that is the input": (
        "datasets:\n- {name: all, input: s3://bkt/a/, output: s3://bkt/a/, access: c}\n",
        [(2, "the output is the input itself; leave output out")],
    ),
    "one output twice": (
        "datasets:\n- {name: all, input: s3://bkt/a/, output: s3://out/, access: c}\n"
        "- {name: birds, input: s3://bkt/b/, output: s3://out/, access: c}\n",
        [(3, "the output of 'all' in line 2 is the same")],
    ),
    "a tab": (
        "datasets:\n- name: birds\n\tinput: s3://bkt/b/\n",
        [(3, "there is a tab in the indentation; write spaces.")],
    ),
    "no YAML": (
        "datasets:\n- name: birds\n  input: [s3://bkt\n",
        [(4, "this is not YAML: while parsing a flow sequence")],
    ),
    "two documents": (named("birds") + "---\n" + named("cats"), [(3, "this is not YAML: expected a single document")]),
    "an empty file": ("", [(1, "the file is empty; begin with datasets: and a list of datasets.")]),
    "comments only": ("# nothing\n", [(1, "the file is empty")]),
    "a list": ("- name: birds\n", [(1, "the file is a mapping with a list of datasets; begin with datasets:.")]),
    "no datasets": ("defaults: {access: c}\n", [(1, "datasets is missing")]),
    "an empty list of datasets": ("datasets: []\n", [(1, "datasets is empty; write - name: … for each dataset.")]),
    "a mapping of datasets": ("datasets: {birds: {input: s3://b}}\n", [(1, "datasets is not a list")]),
    "a dataset that is a text": ("datasets: [birds]\n", [(1, "a dataset is a mapping")]),
    "defaults that are a list": ("defaults: [a]\n" + named("birds"), [(1, "defaults is not a mapping")]),
    "a fault in the defaults, once": (
        "defaults:\n  schedule: daily\n" + named("birds", "cats"),
        [(2, "schedule: 'daily' is not a schedule; write @hourly, @daily, @weekly")],
    ),
    "a fault in defaults that nobody uses": (
        "defaults:\n  type: Pictures\n" + named("birds").replace("access", "type: Images, access"),
        [(2, "type is 'Pictures'")],
    ),
    "a time that never comes": (
        named("birds").replace("access", "schedule: 0 0 31 2 *, access"),
        [(2, "schedule: '0 0 31 2 *' is not a schedule")],
    ),
    "a time that croniter draws anew": (
        named("birds").replace("access", "schedule: R R(2-4)/1 * * FRI, access"),
        [(2, "schedule: 'R R(2-4)/1 * * FRI' is not a schedule")],
    ),
    "a schedule with seconds": (
        named("birds").replace("access", "schedule: '* * * * * *', access"),
        [(2, "schedule: '* * * * * *' is not a schedule")],
    ),
    "a tag": (
        "datasets:\n- name: !!python/object/apply:os.system [ls]\n  input: s3://bkt/a/\n  access: c\n",
        [(2, "the tag 'tag:yaml.org,2002:python/object/apply:os.system' is not allowed; leave it out.")],
    ),
    "a key that is a number": (named("birds") + "1: x\n", [(3, "the key 1 is not text; put it between quotes.")]),
    "a merge of a text": (
        "datasets:\n- <<: birds\n  name: birds\n  input: s3://bkt/b/\n  access: c\n",
        [(2, "'<<' merges mappings only")],
    ),
    "no number": (named("birds").replace("access", "owner: .nan, access"), [(2, ".nan is not a finite number")]),
    "a template, once": (
        "defaults:\n  owner: '{{ var.value.team }}'\n" + named("birds", "cats"),
        [(2, "Airflow's templates are not rendered here; write the value itself.")],
    ),
    "an anchor inside of itself": (
        "datasets: &a\n- name: birds\n  input: s3://bkt/b/\n  access: c\n  worker: {checkpoint: *a}\n",
        [(1, "this anchor contains an alias of itself; write the value out.")],
    ),
    "an unknown anchor": ("datasets: *nowhere\n", [(1, "this is not YAML: found undefined alias 'nowhere'")]),
    "a control character": ("datasets:\n- name: bi\x07rds\n", [(2, r"there is the control character")]),
    "an indentation": (
        "datasets:\n  - name: birds\n   input: s3://bkt/a/\n",
        [(3, "this is not YAML: while parsing a block collection that begins in line 2: expected")],
    ),
    "one input inside that of a dataset with another fault": (
        "datasets:\n- {name: a, input: s3://bkt/, access: c}\n- {name: birds, input: s3://bkt/b/, access: c}\n",
        [
            (2, "name is 'a', which the platform does not allow"),
            (3, "this input lies inside the input of 'a' in line 2"),
        ],
    ),
    "several at once, in the order of their lines": (
        """
        datasets:
        - name: birds
          type: Image
          input: s3://my-bucket/birds/
          acess: lightly_bucket
        - name: birds
          input: my-bucket/birds/2026/
          access: lightly_bucket
        """,
        [
            (3, "type is 'Image'; did you mean 'Images'?"),
            (5, "there is no key 'acess' here; did you mean 'access'?"),
            (6, "there is a dataset 'birds' already, in line 2; give each its own name."),
            (7, "input='my-bucket/birds/2026/': the scheme s3:// is missing"),
        ],
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_each_fault_is_a_sentence_with_its_line(case: str, tmp_path: Path) -> None:
    text, expected = FAULTS[case]
    faults = faults_of(tmp_path, text)
    assert len(faults) == len(expected), faults
    for fault, (line, begin) in zip(faults, expected, strict=True):
        match = re.match(r"line (\d+)(?:, column \d+)?: ", fault)
        assert match, fault
        assert (int(match[1]), fault[match.end() :][: len(begin)]) == (line, begin)


def test_a_value_of_an_anchor_has_the_line_where_it_is_written(tmp_path: Path) -> None:
    faults = faults_of(
        tmp_path,
        """
        x-common: &common
          access: c
          schedule: sometimes
        datasets:
        - <<: *common
          name: birds
          input: s3://bkt/birds/
        - {<<: *common, name: cats, input: s3://bkt/cats/}
        """,
    )
    assert faults == [faults[0]]
    assert faults[0].startswith("line 3, column 13: schedule: 'sometimes' is not a schedule")


def test_defaults_anchors_and_merges_are_filled_in_and_null_takes_a_default_away(tmp_path: Path) -> None:
    fleet = fleet_of(
        tmp_path,
        f"""
        defaults: {{access: c, owner: team, thumbnails: false, runs_on: [gpu], selection: &all {SELECTION}}}
        datasets:
        - name: 2026-11-28
          input: s3://bkt/a/
        - {{name: cats, input: s3://bkt/b/, owner: null, runs_on: null, selection: {{<<: *all, n_samples: 7}}}}
        - {{name: dogs, input: s3://bkt/c/, selection: null, thumbnails: true}}
        """,
    )
    dated, cats, dogs = fleet.datasets
    assert fleet.lines == {"2026-11-28": 3, "cats": 5, "dogs": 6}
    assert (dated.owner, cats.owner, dogs.owner) == ("team", None, "team")
    assert (dated.runs_on, cats.runs_on) == (["gpu"], [])
    assert (dated.thumbnails, dogs.thumbnails) == (False, True)
    assert dated.selection is not None
    assert cats.selection is not None
    assert (dated.selection.n_samples, cats.selection.n_samples, dogs.selection) == (5, 7, None)


def test_the_arguments_of_the_task_group_are_json(tmp_path: Path) -> None:
    (dataset,) = fleet_of(
        tmp_path,
        "datasets:\n- {name: birds, input: s3://bkt/a/, output: s3://out/, access: c, runs_on: [g], "
        f"selection: {SELECTION}}}\n",
    ).datasets
    arguments = dataset.onboard_arguments()
    assert json.loads(json.dumps(arguments)) == arguments
    assert arguments == {
        "dataset_name": "birds",
        "dataset_type": "Images",
        "resource_path": "s3://bkt/a/",
        "datasource_aws_conn_id": "c",
        "output_resource_path": "s3://out/",
        "output_aws_conn_id": None,
        "region": None,
        "generate_thumbnails": True,
        "selection_config": yaml.safe_load(SELECTION),
        "worker_config": {"use_datapool": True},
        "runs_on": ["g"],
    }
    without = FleetDataset(name="birds", input="s3://bkt/a/", access="c").onboard_arguments()
    assert (without["selection_config"], without["worker_config"]) == (None, None)


def test_the_task_group_takes_these_arguments() -> None:
    from lightly_provider.task_groups import onboard_s3_dataset

    arguments = FleetDataset(name="birds", input="s3://bkt/a/", access="c").onboard_arguments()
    assert set(arguments) <= set(onboard_s3_dataset.defaults)


def test_two_thousand_datasets_are_refused_with_the_limit_and_its_reason(tmp_path: Path) -> None:
    (fault,) = faults_of(tmp_path, "datasets:\n" + "- {}\n" * 2000)
    assert fault.startswith("line 1002, column 3: this is dataset 1,001 of 2,000, and a file has at most 1,000")
    assert "Airflow maps at most 1,024" in fault


def test_five_megabytes_are_refused_before_they_are_parsed(tmp_path: Path) -> None:
    begun = time.process_time()
    (fault,) = faults_of(tmp_path, b"# much\n" + b"- [[[" * 2**20)
    assert fault.startswith("line 2: the file has 5.0 MiB, and at most 1 MiB is read")
    assert time.process_time() - begun < 1


@pytest.mark.parametrize("levels", [9, 30])
def test_an_alias_bomb_is_refused(levels: int, tmp_path: Path) -> None:
    text = "x-0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
    text += "".join(f"x-{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, levels))
    (fault,) = faults_of(tmp_path, text + named("birds"))
    assert re.match(r"line \d+, column 6: with all aliases replaced .* more than 200,000 values", fault)


def test_defaults_that_are_large_in_each_of_many_datasets_are_refused(tmp_path: Path) -> None:
    defaults = f"defaults:\n  runs_on: [{', '.join(['a'] * 1000)}]\n"
    (fault,) = faults_of(tmp_path, defaults + named(*(f"birds {n}" for n in range(200))))
    assert fault.startswith("line 2, column 3: defaults has 1,002 values, and with them in each of the 200 datasets")


def test_what_is_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    assert faults_of(tmp_path, "x-a: " + "[" * 60 + "]" * 60 + "\n" + named("birds"))[0].startswith("line 1")
    assert faults_of(tmp_path, "[" * 1000)[0].startswith("line 1")


@pytest.mark.parametrize("item", ["[*a{}]", "{{b: *a{}}}", "{{<<: {{b: *a{}}}}}"])
def test_a_chain_of_aliases_that_is_nested_too_deeply_is_refused_with_its_line(item: str, tmp_path: Path) -> None:
    def chain(levels: int) -> str:
        return "x-0: &a0 [1]\n" + "".join(f"x-{n}: &a{n} {item.format(n - 1)}\n" for n in range(1, levels))

    faults = faults_of(tmp_path, f"{chain(600)}{named('birds')}")
    assert faults[0].endswith("the values are nested more than 40 levels deep; no dataset needs that.")
    line = re.match(r"line (\d+), column", faults[0])
    assert line
    assert 30 <= int(line[1]) <= 41
    assert not any("nested" in fault for fault in faults_of(tmp_path, f"{chain(30)}{named('birds')}  1: 1\n"))


def test_a_message_about_many_faults_is_bounded(tmp_path: Path) -> None:
    faults = faults_of(tmp_path, named(*["birds"] * 60).replace("s3://", "s4://"))
    assert len(faults) == 51
    assert faults[-1] == "… and 69 more; correct these first."


@pytest.mark.parametrize(
    ("path", "cause"), [("missing.yaml", "No such file"), (".", "is not a file"), ("/dev/zero", "is not a file")]
)
def test_a_path_that_is_no_file_is_refused(path: str, cause: str, tmp_path: Path) -> None:
    with pytest.raises(LightlyFleetError, match=cause):
        Fleet.read(tmp_path / path)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    assert faults_of(tmp_path, b"datasets:\n- name: \xff\n") == [
        "line 2: this is not UTF-8 text; save the file in that encoding."
    ]
    assert fleet_of(tmp_path, b"\xef\xbb\xbf" + named("birds").encode()).datasets


# --- the guide ---------------------------------------------------------------------------------------------------


def test_the_example_of_the_guide_is_a_fleet_and_its_faults_are_those_that_it_shows(tmp_path: Path) -> None:
    example, broken = blocks(GUIDE, "yaml")
    fleet = fleet_of(tmp_path, example.text)
    assert [dataset.name for dataset in fleet.datasets] == ["birds", "cats", "traffic cameras"]
    shown = next(block for block in blocks(GUIDE, "text") if "faults" in block.text)
    assert faults_of(tmp_path, broken.text) == shown.text.splitlines()[1:]


def test_the_guide_explains_every_key() -> None:
    keys = re.findall(r"^\| `(\w+)` \| ", GUIDE.read_text(), flags=re.MULTILINE)
    assert {*FleetDataset.model_fields} <= {*keys}


def test_the_schema_of_the_guide_is_current() -> None:
    current = as_json(schema()) + "\n"
    published = REPOSITORY / "docs" / "fleet.schema.json"
    assert published.read_text() == current, "run: python -m lightly_provider fleet schema > docs/fleet.schema.json"


def test_the_schema_takes_the_example() -> None:
    import jsonschema

    example = yaml.safe_load(blocks(GUIDE, "yaml")[0].text)
    jsonschema.Draft202012Validator(schema()).validate({**example, "x-anchors": []})


@pytest.mark.parametrize(
    "case",
    [
        "an unknown key, with the nearest",
        "an unknown key far from any",
        "a key of a selection",
        "a value in a list of a selection",
        "an unknown type",
        "a number as a name",
        "a name that the platform refuses",
        "a text as a list",
        "a text as a flag",
        "a mapping of datasets",
        "an empty list of datasets",
    ],
)
def test_an_editor_marks_with_the_schema_what_is_refused(case: str) -> None:
    import jsonschema

    value = yaml.safe_load(textwrap.dedent(FAULTS[case][0]))
    assert list(jsonschema.Draft202012Validator(schema()).iter_errors(value))
