"""What can be checked is checked when the DAG is parsed, without a network or a connection."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import socket
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import DAG, BaseHook

from lightly_provider.operators.access import CreateLightlyAccessRoleOperator, CreateLightlyAccessUserOperator
from lightly_provider.operators.arguments import is_static, moment_of, quoted, types_of_arguments
from lightly_provider.operators.base import CheckedArguments
from lightly_provider.operators.dataset import CreateLightlyDatasetOperator
from lightly_provider.operators.datasource import ConfigureS3DatasourceOperator
from lightly_provider.operators.verification import VerifyDatasourcePermissionsOperator
from lightly_provider.operators.worker import RunLightlyWorkerOperator
from lightly_provider.sensors.worker import LightlyRunSensor
from tests.thinning import thinned
from tests.unit.operators.example_operators import DATASET, EXTERNAL_ID, OPERATORS, ROLE, SELECTION, arguments, needed

if TYPE_CHECKING:
    from lightly_provider.operators.base import LightlyBaseOperator

Create, Configure = CreateLightlyDatasetOperator, ConfigureS3DatasourceOperator
Verify, Run = VerifyDatasourcePermissionsOperator, RunLightlyWorkerOperator

TEMPLATES = ["{{ params.x }}", "a {{ x }} b", "{% if x %}y{% endif %}"]


@pytest.fixture(autouse=True)
def _no_network_and_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a DAG that is parsed must not look anything up")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(BaseHook, "get_connection", refuse)


def refusal(operator: type[LightlyBaseOperator], **changes: Any) -> str:
    with pytest.raises(ValueError, match=r".") as refused:
        operator(**needed(operator, **changes))
    text = str(refused.value)
    assert refused.value.__cause__ is None
    assert "\n" not in text
    assert text.endswith((".", "?"))
    assert "CANARY" not in text
    # One sentence; a hint or a list of what is allowed may follow it.
    assert len(re.findall(r"[.?] [A-Z]", text)) <= 1, text
    return text


@pytest.mark.parametrize("operator", OPERATORS)
def test_right_arguments_pass(operator: type[LightlyBaseOperator]) -> None:
    operator(**needed(operator))
    operator(**arguments(operator))


# --- dataset ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["abc", "a-b", "my photos_2", "0-a", "A" * 300])
def test_a_dataset_name_of_the_contract_passes(name: str) -> None:
    Create(task_id="t", dataset_name=name)


@pytest.mark.parametrize("name", ["", "ab", "_abc", " abc", "-abc", "a.bc", "a/bc", "möwen", "abc\n", "a\tbc"])
def test_a_dataset_name_outside_the_contract_is_refused(name: Any) -> None:
    text = refusal(Create, dataset_name=name)
    assert text.startswith(f"dataset_name is {name!r}, which the platform does not allow; use at least 3 of letters")


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("images", "did you mean 'Images'? A"),
        ("Image", "did you mean 'Images'? A"),
        ("Video", "did you mean 'Videos'? A"),
        ("Crops", ""),
        ("", ""),
    ],
)
def test_another_dataset_type_is_refused(value: Any, hint: str) -> None:
    text = refusal(Create, dataset_type=value)
    assert text == f"dataset_type is {value!r}; {hint or 'a'}llowed: 'Images', 'Videos', 'auto'."


def test_auto_needs_the_files_that_decide() -> None:
    assert refusal(Create, dataset_type="auto") == (
        "dataset_type is 'auto' without resource_path; set the path of the files."
    )


def test_another_way_to_deal_with_an_existing_dataset_is_refused() -> None:
    assert refusal(Create, if_exists="re-use").startswith("if_exists is 're-use'; did you mean 'reuse'? Allowed:")


# --- ids ----------------------------------------------------------------------------------------------------------

WRONG_IDS = ["", "my-dataset", "a" * 23, "a" * 25, "A" * 24, "g" * 24, "a" * 24 + "\n"]


@pytest.mark.parametrize("operator", [Configure, Verify, Run])
@pytest.mark.parametrize("value", WRONG_IDS)
def test_what_is_no_id_is_refused(operator: type[LightlyBaseOperator], value: Any) -> None:
    text = refusal(operator, dataset_id=value)
    assert text.startswith(f"dataset_id is {value!r}, and an id of the platform is 24 hexadecimal digits; pass what")


# --- access -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operator", [CreateLightlyAccessRoleOperator, CreateLightlyAccessUserOperator])
@pytest.mark.parametrize("empty", [[], (), set()])
@pytest.mark.parametrize(
    ("argument", "result"),
    [
        ("source_ips", "so that the network would not be limited"),
        ("source_vpcs", "so that the network would not be limited"),
        ("output_resource_path", "so that Lightly could write to resource_path"),
    ],
)
def test_an_empty_list_does_not_widen_an_access(operator: Any, argument: str, result: str, empty: Any) -> None:
    text = refusal(operator, **{argument: empty})
    assert text == f"{argument} is {empty!r}, {result}; name at least one, or leave it out."


@pytest.mark.parametrize("operator", [CreateLightlyAccessRoleOperator, CreateLightlyAccessUserOperator])
@pytest.mark.parametrize("empty", ["", None, []])
@pytest.mark.parametrize(
    "argument", ["source_ips", "source_vpcs", "output_resource_path", "purpose", "permissions_boundary"]
)
def test_a_template_that_comes_out_as_nothing_does_not_widen_an_access(
    operator: Any, argument: str, empty: Any
) -> None:
    task = operator(**needed(operator, **{argument: "{{ x }}"}))
    setattr(task, argument, empty)
    with pytest.raises(ValueError, match=rf"^{argument} is "):
        task.check_arguments()


@pytest.mark.parametrize("argument", ["output_resource_path", "purpose", "permissions_boundary"])
def test_an_empty_text_is_not_what_is_left_out(argument: str) -> None:
    text = refusal(CreateLightlyAccessRoleOperator, **{argument: ""})
    assert text.startswith(f"{argument} is '', so that ")
    assert text.endswith("; name at least one, or leave it out.")


@pytest.mark.parametrize("address", ["1.2.3.0/255.255.255.0", "fe80::1%eth0", "1.2.3.4/8", "1", "localhost"])
def test_what_iam_takes_for_no_address_range_is_refused(address: str) -> None:
    text = refusal(CreateLightlyAccessRoleOperator, source_ips=[address])
    assert text.startswith(f"source_ips has {address!r}, which is not an address range: ")


@pytest.mark.parametrize("tags", [{"": "x"}, {"k" * 129: "x"}, {"k": "x" * 257}])
def test_tags_that_iam_does_not_take_are_refused(tags: dict[str, str]) -> None:
    assert "a key of a tag has 1 to 128 characters" in refusal(CreateLightlyAccessRoleOperator, tags=tags)


# --- datasource ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("argument", ["resource_path", "output_resource_path"])
@pytest.mark.parametrize(
    ("uri", "cause"),
    [
        ("my-bucket/photos/", "the scheme s3:// is missing; write s3://my-bucket/photos/ instead"),
        ("gs://my-bucket/", "gs:// is not the scheme of S3"),
        ("https://my-bucket.s3.amazonaws.com/photos/", "a web address is not a location"),
        ("arn:aws:s3:::my-bucket/photos/*", "an ARN is not a location; write s3://my-bucket/photos/ instead"),
        ("s3://My_Bucket/photos/", "no bucket can be called 'My_Bucket'"),
        ("s3://ab/photos/", "bucket names have 3 to 63 characters"),
        ("s3://192.168.0.1/photos/", "bucket names do not look like an IP address"),
        ("s3:///photos/", "no bucket stands between s3:// and the next slash"),
        ("s3://my-bucket/my-bucket/photos/", "the path repeats the bucket 'my-bucket'; write s3://my-bucket/photos/"),
        ("s3://my-bucket//photos/", "'//' makes a folder without a name"),
        ("s3://my-bucket/*.jpg", "a location takes no wildcard"),
        ("s3://AKIA:CANARY@my-bucket/", "neither credentials nor a port belong here"),
        (" s3://my-bucket/", "it begins or ends with a blank"),
    ],
)
def test_what_is_no_location_is_refused(argument: str, uri: Any, cause: str) -> None:
    text = refusal(Configure, **{argument: uri})
    assert text.startswith(f"{argument}=")
    assert cause in text


def test_a_missing_path_is_refused() -> None:
    assert refusal(Configure, resource_path="").startswith("resource_path='': it is empty; write s3://bucket/prefix/")


@pytest.mark.parametrize(
    ("region", "hint"),
    [
        ("eu-central", "'eu-central-1'"),
        ("eu-centrall-1", "did you mean 'eu-central-1'"),
        ("EU-WEST-1", "did you mean 'eu-west-1'"),
        ("eu-west-1a", "it is an availability zone of the region 'eu-west-1'"),
        ("Frankfurt", "write the code of the bucket's region"),
    ],
)
def test_what_is_no_region_is_refused(region: Any, hint: str) -> None:
    text = refusal(Configure, region=region)
    assert text.startswith(f"region={region!r} is not an AWS region; ")
    assert hint in text


@pytest.mark.parametrize("region", ["eu-central-1", "il-central-1", "us-gov-west-1", "us-gov-west"])
def test_a_region_that_only_the_contract_lacks_passes(region: str) -> None:
    Configure(**needed(Configure, region=region))


@pytest.mark.parametrize(
    ("arn", "cause"),
    [
        ("arn:aws-cn:iam::123456789012:role/x", "an ARN of the partition 'aws-cn'"),
        ("arn:aws-us-gov:iam::123456789012:role/x", "an ARN of the partition 'aws-us-gov'"),
        ("arn:aws:iam::123456789012:user/x", "the ARN of a 'user' and not of a role"),
        ("arn:aws:sts::123456789012:assumed-role/x/y", "it is a session of a role and not the role"),
        ("arn:aws:iam::1234:role/x", "its account is not a number of 12 digits"),
        ("Lightly", "it is not an ARN"),
    ],
)
def test_what_is_no_role_is_refused(arn: str, cause: str) -> None:
    text = refusal(Configure, role_arn=arn, external_id=EXTERNAL_ID)
    assert text.startswith(f"role_arn={arn!r}: ")
    assert cause in text


@pytest.mark.parametrize(
    "value", ["CANARY", "CANARY-ID", "CANARY with blanks", "CANARY-long-enough\n", "CANARY-ümlaut"]
)
def test_an_external_id_outside_the_contract_is_refused_without_repeating_it(value: str) -> None:
    text = refusal(Configure, role_arn=ROLE, external_id=value)
    assert text.startswith("external_id ")
    assert "choose another one and write the same into the role's trust policy." in text


@pytest.mark.parametrize(
    ("access", "text"),
    [
        ({"role_arn": ROLE}, "role_arn is given without external_id; "),
        ({"external_id": EXTERNAL_ID}, "external_id is given without role_arn; "),
        ({"external_id": EXTERNAL_ID, "role_arn": ""}, "external_id is given without role_arn; "),
        ({"external_id": "", "role_arn": ROLE}, "role_arn is given without external_id; "),
        ({"external_id": "{{ x }}"}, "external_id is given without role_arn; "),
        ({"external_id": 1234567890, "role_arn": ROLE}, "external_id is "),
    ],
)
def test_half_of_delegated_access_is_refused(access: dict[str, Any], text: str) -> None:
    assert refusal(Configure, **access).startswith(text)


@pytest.mark.parametrize(
    ("arn", "cause"),
    [
        ("alias/my-key", "the platform takes no alias"),
        ("1234abcd-12ab-34cd-56ef-1234567890ab", "a key's id alone does not say where the key lies"),
        ("arn:aws-cn:kms:cn-north-1:123456789012:key/x", "an ARN of the partition 'aws-cn'"),
        ("arn:aws:iam::123456789012:role/x", "it is an ARN of 'iam' and not of a KMS key"),
    ],
)
def test_what_is_no_kms_key_is_refused(arn: str, cause: str) -> None:
    text = refusal(Configure, kms_key_arn=arn)
    assert text.startswith(f"kms_key_arn={arn!r}: ")
    assert cause in text


@pytest.mark.parametrize(
    ("value", "hint"), [("input", "did you mean 'INPUT'? "), ("OUTPUT", "did you mean 'INPUT_OUTPUT'"), ("both", "")]
)
def test_another_purpose_is_refused(value: str, hint: str) -> None:
    text = refusal(Configure, purpose=value)
    assert text.startswith(f"purpose is {value!r}; {hint}")
    assert "llowed: " in text


def test_thumbnails_that_would_all_be_one_file_are_refused() -> None:
    text = refusal(Configure, thumbnail_suffix=".lightly/thumb.jpg")
    assert text.startswith("thumbnail_suffix is '.lightly/thumb.jpg', so that all thumbnails would be one file; put")


@pytest.mark.parametrize("thumbnails", [{"generate_thumbnails": True}, {"thumbnail_suffix": "[filename]"}])
def test_thumbnails_on_what_is_only_read_are_refused(thumbnails: dict[str, Any]) -> None:
    assert "purpose INPUT, which is only read" in refusal(Configure, purpose="INPUT", **thumbnails)
    Configure(**needed(Configure, purpose="INPUT", output_resource_path="s3://my-bucket/out/", **thumbnails))


@pytest.mark.parametrize("purpose", ["LIGHTLY", "INPUT_OUTPUT"])
def test_another_purpose_beside_an_output_is_refused(purpose: str) -> None:
    text = refusal(Configure, purpose=purpose, output_resource_path="s3://my-bucket/out/")
    assert text.startswith(f"purpose is {purpose!r} and output_resource_path is given")


def test_a_connection_for_an_output_that_is_not_there_is_refused() -> None:
    assert refusal(Configure, output_aws_conn_id="x").startswith("output_aws_conn_id is given without output_resource")


# --- verification -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("require", "text"),
    [
        ("automatic", "require='automatic' is neither 'auto' nor a list of permissions"),
        ("read", "require='read' is neither 'auto' nor a list of permissions; write ['read']."),
        ([], "require is empty, so nothing would be verified"),
        (["list", "reed"], "require names 'reed', which is not a permission"),
        (("list", "delete"), "require names 'delete', which is not a permission"),
    ],
)
def test_what_is_no_permission_is_refused(require: Any, text: str) -> None:
    assert refusal(Verify, require=require).startswith(text)


@pytest.mark.parametrize("value", [None, 0, 0.0, 90, "60", timedelta(0), timedelta(minutes=2)])
def test_a_propagation_timeout_is_seconds_or_a_timedelta(value: Any) -> None:
    Verify(**needed(Verify, propagation_timeout=value))


def test_another_reaction_to_a_failure_is_refused() -> None:
    assert refusal(Verify, on_failure="ignore").startswith("on_failure is 'ignore'; ")
    assert refusal(Verify, on_failure="Fail").startswith("on_failure is 'Fail'; did you mean 'fail'?")


# --- worker -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (SELECTION | {"n_sample": 5}, "selection_config.n_sample is not a member"),
        (SELECTION | {"proportion_samples": 0.1}, "selection_config: set exactly one of"),
        ({"strategies": SELECTION["strategies"]}, "selection_config: set exactly one of"),
        ({}, "selection_config.strategies is missing"),
        ("{}", "selection_config.strategies is missing"),
        ('{"n_samples": 1', "selection_config is '{\"n_samples\": 1', which is not valid JSON: Expecting"),
        (
            "[]",
            "selection_config is '[]', which is the text of a list and not of a mapping; give a mapping or",
        ),
        (
            "7",
            "selection_config is '7', which is the text of a int and not of a mapping; give a mapping or",
        ),
        ("[" * 100_000, f"selection_config is '{'[' * 199}… (100002 characters), which is nested too deeply; give"),
        ([], "selection_config is []; give a mapping or a text or None."),
        (7, "selection_config is 7; give a mapping or a text or None."),
        (SELECTION | {"n_samples": "5"}, "selection_config.n_samples does not fit the platform's contract"),
    ],
)
def test_a_selection_outside_the_contract_is_refused(config: Any, text: str) -> None:
    assert refusal(Run, selection_config=config).startswith(text)


def test_did_you_mean() -> None:
    entry = {"input": {"type": "EMBEDDING"}, "strategy": {"type": "DIVERSITY"}}
    text = refusal(Run, selection_config={"n_samples": 5, "strategies": [entry]})
    assert text.startswith("selection_config.strategies[0].input.type is not one of its allowed values; did you mean")
    assert "did you mean 'n_samples'?" in refusal(Run, selection_config=SELECTION | {"nsamples": 5})
    assert "did you mean 'use_datapool'?" in refusal(Run, worker_config={"use_data_pool": True})
    assert "did you mean 'max_epochs'?" in refusal(Run, lightly_config={"trainer": {"max_epoch": 1}})


@pytest.mark.parametrize("argument", ["worker_config", "lightly_config"])
@pytest.mark.parametrize("value", ["not json", [], 7, {"no_such_member": 1}, '{"no_such_member": 1}'])
def test_options_outside_the_contract_are_refused(argument: str, value: Any) -> None:
    assert refusal(Run, **{argument: value}).startswith(argument)


@pytest.mark.parametrize("argument", ["worker_config", "lightly_config"])
@pytest.mark.parametrize("value", [None, {}, "{}", "null"])
def test_no_options_are_no_fault(argument: str, value: Any) -> None:
    Run(**needed(Run, **{argument: value}))


@pytest.mark.parametrize(("value", "hint"), [("mid", "did you mean 'MID'? A"), ("MEDIUM", ""), ("URGENT", "")])
def test_another_priority_is_refused(value: Any, hint: str) -> None:
    assert (
        refusal(Run, priority=value) == f"priority is {value!r}; {hint or 'a'}llowed: 'LOW', 'MID', 'HIGH', 'CRITICAL'."
    )


def test_labels_are_a_list_of_texts() -> None:
    assert refusal(Run, runs_on="gpu") == "runs_on is 'gpu'; give a list, e.g. ['gpu']."
    for value in ([1], [None], {"gpu": 1}, 7, b"gpu"):
        assert refusal(Run, runs_on=value) == f"runs_on is {value!r}; give a list of texts or None."
    for value in ([""], ["gpu", " "]):
        assert refusal(Run, runs_on=value) == f"runs_on is {value!r}, which has an empty label; leave that out."
    for value in (None, [], (), ["gpu"], ("gpu", "big"), {"gpu"}):
        Run(**needed(Run, runs_on=value))


DURATIONS = [
    (operator, argument)
    for operator in OPERATORS
    for argument, types in types_of_arguments(operator).items()
    if "float" in types and "datetime" not in types
]
OF_SENSORS = [(LightlyRunSensor, "timeout"), (LightlyRunSensor, "poke_interval")]


@pytest.mark.parametrize(("operator", "argument"), [*DURATIONS, *OF_SENSORS])
@pytest.mark.parametrize(
    "value",
    [
        *(-1, float("nan"), float("inf"), 1e12, 1e308, 10**400, True, [60], timedelta.max, timedelta(seconds=-1)),
        *(timedelta(days=366, seconds=1), "soon", "", "nan", "1e12", "True"),
    ],
)
def test_what_is_no_duration_is_refused_with_the_bounds(operator: type[Any], argument: str, value: Any) -> None:
    text = refusal(operator, **{argument: value})
    assert text.startswith(f"{argument} is {quoted(value)}; give a number of seconds")
    if isinstance(value, (str, timedelta)) or (isinstance(value, (int, float)) and value is not True):
        assert re.search(r"to (31622400 \(366 days\)|86400 \(1 day\))\.$", text)


@pytest.mark.parametrize("argument", ["poll_interval", "timeout", "pickup_timeout"])
def test_a_wait_without_any_time_is_refused(argument: str) -> None:
    assert refusal(Run, **{argument: 0}).startswith(
        f"{argument} is 0; give a number of seconds or a timedelta, above 0"
    )


def test_durations_may_be_numbers_texts_and_timedeltas() -> None:
    for value in (1, 0.5, "45", timedelta(minutes=1)):
        Run(**needed(Run, poll_interval=value, timeout=value))
    Run(**needed(Run, timeout=None))


# --- types, of every argument of every operator -------------------------------------------------------------------

ODD = [
    None,
    "",
    " ",
    "x",
    "False",
    True,
    7,
    1.5,
    b"x",
    [],
    [7],
    ["x"],
    (),
    {},
    {"a": 1},
    {1: "a"},
    object(),
    Path("/x"),
]
ODD += ["a\0b", "\ud800", "{", [[]], {"a"}, range(3), float("nan"), 10**30, datetime(2026, 1, 1), "x" * 10_000]
EVERY = [(operator, argument) for operator in OPERATORS for argument in types_of_arguments(operator)]
FLAGS = [(operator, argument) for operator, argument in EVERY if "bool" in types_of_arguments(operator)[argument]]
FLAGS_OF_SENSORS = [(LightlyRunSensor, "soft_fail"), (LightlyRunSensor, "exponential_backoff")]


def test_every_operator_and_sensor_of_the_provider_is_among_the_examples() -> None:
    import lightly_provider

    for module in pkgutil.walk_packages(lightly_provider.__path__, "lightly_provider."):
        if module.name.split(".")[1] in {"operators", "sensors"}:
            for value in vars(importlib.import_module(module.name)).values():
                if (
                    isinstance(value, type)
                    and issubclass(value, CheckedArguments)
                    and value.__name__.endswith(("Operator", "Sensor"))
                ):
                    assert value in OPERATORS or inspect.isabstract(value), value


@pytest.mark.parametrize(("operator", "argument"), EVERY)
def test_whatever_is_given_for_an_argument_is_taken_or_refused_by_name_and_value(
    operator: type[Any], argument: str
) -> None:
    # "str | Sequence[str]" without the brackets, as the built-in types of what belongs there.
    belongs: dict[str, tuple[type, ...]] = {
        "str": (str,),
        "bool": (bool,),
        "int": (int,),
        "float": (int, float, str),
        "Share": (int, float),
        "timedelta": (timedelta,),
        "datetime": (datetime,),
        "Sequence[str]": (list, tuple, set),
        "Mapping[str, Any]": (dict,),
        "Mapping[str, str]": (dict,),
        "None": (type(None),),
    }
    types = types_of_arguments(operator)[argument]
    allowed = tuple(kind for name in types for kind in belongs[name])
    for value in ODD:
        try:
            operator(**needed(operator, **{argument: value}))
        except ValueError as refused:
            text = str(refused)
            if re.search("is given without|and not both", text):  # a wrong combination, not a wrong value
                continue
            assert argument in text, (value, text)
            # Of a list the item that is wrong; of a mapping the member, which the tests of the contract have.
            named = [quoted(value), *map(quoted, value if isinstance(value, (list, set)) else ())]
            named += [f"{argument}.", f"{argument}["] if isinstance(value, dict) else []
            assert argument == "external_id" or not value or any(name[:20] in text for name in named), (value, text)
            assert len(text) < 2500
        else:
            assert isinstance(value, allowed), (value, "was taken")
            assert type(value) is not bool or "bool" in types, (value, "was taken")


@pytest.mark.parametrize(
    ("operator", "argument", "value"),
    thinned(
        [
            (operator, argument, value)
            for operator, argument in [*FLAGS, *FLAGS_OF_SENSORS]
            for value in ("False", "True", "false", "no", "", 0, 1, None, [], [False])
        ],
        keep=60,
        covering=lambda operator, argument, _: (operator, argument),
    ),
)
def test_a_boolean_is_true_or_false_and_nothing_else(operator: type[Any], argument: str, value: Any) -> None:
    if value is None and "None" in types_of_arguments(operator).get(argument, ()):
        assert getattr(operator(**needed(operator)), argument) is None, "left open"
        return
    or_none = " or None" if "None" in types_of_arguments(operator).get(argument, ()) else ""
    assert refusal(operator, **{argument: value}) == f"{argument} is {value!r}; give True or False{or_none}."


@pytest.mark.parametrize(("operator", "argument"), FLAGS)
def test_a_template_is_no_boolean_where_the_argument_is_not_templated(operator: type[Any], argument: str) -> None:
    if argument in operator.template_fields:
        operator(**needed(operator, **{argument: "{{ params.x }}"}))
        return
    text = refusal(operator, **{argument: "{{ params.x }}"})
    assert text == f"{argument} is '{{{{ params.x }}}}', which is known only when the task runs; give True or False."


@pytest.mark.parametrize(
    ("operator", "argument"), [(operator, argument) for operator, argument in EVERY if argument.endswith("conn_id")]
)
def test_a_connection_has_an_id(operator: type[Any], argument: str) -> None:
    is_optional = "None" in types_of_arguments(operator)[argument]
    if (operator, argument) == (ConfigureS3DatasourceOperator, "datasource_aws_conn_id"):
        is_optional = False  # unless role_arn is given
    for nothing in (None, "", " "):
        if is_optional and nothing != " ":
            operator(**needed(operator, **{argument: nothing}))
        else:
            assert refusal(operator, **{argument: nothing}).startswith(f"{argument} is {nothing!r}; ")
    assert refusal(operator, **{argument: "None"}).startswith(f"{argument} is 'None', which a template renders to")


# --- templates and other tasks' outputs ---------------------------------------------------------------------------

TEMPLATED = [(operator, field) for operator in OPERATORS for field in operator.template_fields]


@pytest.mark.parametrize(
    ("operator", "field", "template"),
    thinned(
        [(operator, field, template) for operator, field in TEMPLATED for template in TEMPLATES],
        keep=160,
        covering=lambda operator, field, _: (operator, field),
    ),
)
def test_a_template_passes_when_the_dag_is_parsed(
    operator: type[LightlyBaseOperator], field: str, template: str
) -> None:
    assert getattr(operator(**arguments(operator, **{field: template})), field) == template


@pytest.mark.parametrize(("operator", "field"), TEMPLATED)
def test_another_tasks_output_passes_and_goes_before(operator: type[LightlyBaseOperator], field: str) -> None:
    with DAG("a_dag", schedule=None, start_date=datetime(2026, 1, 1)):
        first = Create(task_id="first", dataset_name="abc")
        for number, output in enumerate((first.output, first.output["some_key"])):
            then = operator(**arguments(operator, **{field: output}) | {"task_id": f"then_{number}"})
            assert getattr(then, field) is output
            assert then.upstream_task_ids == {"first"}


@pytest.mark.parametrize("field", ["selection_config", "worker_config", "lightly_config"])
def test_a_template_deep_inside_a_configuration_passes(field: str) -> None:
    deep = {"strategies": [{"input": {"type": "{{ params.type }}"}}]}
    assert getattr(Run(**arguments(Run, **{field: deep})), field) == deep


def test_labels_and_permissions_may_hold_templates() -> None:
    Run(**arguments(Run, runs_on=["gpu", "{{ params.label }}"]))
    Verify(**arguments(Verify, require=["list", "{{ params.permission }}"]))


def test_an_external_id_may_be_a_template_but_no_tasks_output() -> None:
    Configure(**needed(Configure, role_arn=ROLE, external_id="{{ var.value.external_id }}"))
    with DAG("a_dag", schedule=None, start_date=datetime(2026, 1, 1)):
        first = Create(task_id="first", dataset_name="abc")
        with pytest.raises(
            ValueError, match="external_id is the output of another task, which XCom would keep in clear"
        ):
            Configure(**needed(Configure, role_arn=ROLE, external_id=first.output))


@pytest.mark.parametrize(
    ("value", "static"),
    [
        ("text", True),
        ("{{ x }}", False),
        ("{% x %}", False),
        ("{x}", True),
        ('{"a": {"b": 1}}', True),
        (None, True),
        (7, True),
        ({"a": ["b", {"c": "{{ x }}"}]}, False),
        ({"a": ["b", {"c": "x"}]}, True),
        (("a", "{{ x }}"), False),
        ({"{{ x }}"}, False),
        ([], True),
        (Path("/photos"), True),
    ],
)
def test_what_is_known_when_the_dag_is_parsed(value: Any, static: bool) -> None:
    assert is_static(value) is static


def test_airflows_references_are_not_known_when_the_dag_is_parsed() -> None:
    with DAG("a_dag", schedule=None, start_date=datetime(2026, 1, 1)) as dag:
        output = Create(task_id="first", dataset_name="abc").output
        for reference in (output, output["key"], output.map(str), output.zip(output), dag.param("x", "y")):
            assert not is_static(reference)
            assert not is_static({"a": [reference]})


def test_each_operator_keeps_to_its_own_id() -> None:
    operator = Verify(**needed(Verify))
    assert (operator.task_id, operator.dataset_id, operator.lightly_conn_id) == ("a_task", DATASET, "lightly_default")


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (0, 0),
        ("0", 0),
        (1_764_201_600, 1_764_201_600),
        (1_764_201_600.9, 1_764_201_600),
        ("1764201600", 1_764_201_600),
        (" 2025-11-27 ", 1_764_201_600),
        ("2025-11-27T00:00:00Z", 1_764_201_600),
        ("2025-11-27T01:30:00.5+01:30", 1_764_201_600),
        ("2025-11-27 00:00:00+00:00", 1_764_201_600),
        (datetime(2025, 11, 27, tzinfo=UTC), 1_764_201_600),
        (datetime(2025, 11, 27, 2, tzinfo=timezone(timedelta(hours=2))), 1_764_201_600),
        (datetime(1970, 1, 1, tzinfo=UTC), 0),
        # As a number, it would be taken for something else.
        ("1986-12-07T00:00:00+00:00", 534_297_600),
    ],
)
def test_a_moment_may_be_written_in_several_ways(given: Any, seconds: int) -> None:
    assert moment_of(given, argument="since") == seconds


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ("yesterday", "since is 'yesterday'; give a datetime with a time zone"),
        ("", "since is ''; give"),
        ("nan", "since is 'nan'; give"),
        (float("inf"), "which looks like milliseconds"),
        (-1, "since is -1; give"),
        (True, "since is True; give"),
        # A date without hyphens would be a second of 1970.
        ("20251127", "since is '20251127'; give"),
        (1_764_201_600_000, "since is 1764201600000, which looks like milliseconds; give"),
        ("2025-11-27T00:00:00", "a time without a time zone; add it"),
        (datetime(2025, 11, 27), "a time without a time zone; add it"),
        ("2999-01-01", "which is in the future"),
        (datetime(2999, 1, 1, tzinfo=UTC), "which is in the future"),
    ],
)
def test_a_moment_that_is_ambiguous_or_in_the_future_is_refused(given: Any, fault: str) -> None:
    with pytest.raises(ValueError, match=re.escape(fault)):
        moment_of(given, argument="since")


def test_what_only_new_means_is_part_of_the_configuration() -> None:
    def options(**changes: Any) -> dict[str, Any]:
        config = Run(**needed(Run, **changes))._config().to_wire()
        docker: dict[str, Any] = config["docker"]
        return docker

    assert options() == {}
    assert options(only_new=True) == {"useDatapool": True, "datasource": {"processAll": False}}
    assert options(only_new=False) == {"datasource": {"processAll": True}}
    kept = {"use_datapool": True, "datasource": {"bypass_verify": True, "process_all": True}, "num_threads": 2}
    assert options(only_new=False, worker_config=kept) == {
        "useDatapool": True,
        "datasource": {"bypassVerify": True, "processAll": True},
        "numThreads": 2,
    }


@pytest.mark.parametrize(
    ("only_new", "worker_config"),
    [
        (True, {"use_datapool": False}),
        (True, {"datasource": {"process_all": True}}),
        (False, {"datasource": {"process_all": False}}),
    ],
)
def test_only_new_and_worker_config_must_not_contradict_each_other(
    only_new: bool, worker_config: dict[str, Any]
) -> None:
    text = refusal(Run, only_new=only_new, worker_config=worker_config)

    assert f"only_new is {only_new}, and worker_config says the opposite" in text


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (["a.jpg", "/b.jpg"], "relevant_filenames[1] is '/b.jpg'"),
        ([], "relevant_filenames has no file name"),
        ("names.txt", "relevant_filenames is"),
        ("s3://NoBucket/names.txt", "relevant_filenames="),
    ],
)
def test_relevant_filenames_that_cannot_be_right_are_refused_when_the_dag_is_parsed(given: Any, fault: str) -> None:
    assert fault in refusal(Run, relevant_filenames=given)


def test_relevant_filenames_have_one_place() -> None:
    given = {"relevant_filenames_file": ".lightly/names.txt"}

    assert Run(**needed(Run, worker_config=given))._config().docker.relevant_filenames_file == ".lightly/names.txt"
    assert "names a relevant_filenames_file too" in refusal(Run, worker_config=given, relevant_filenames=["a.jpg"])
