"""A rotation that is killed after any of its steps leaves a datasource that works, and the next run finishes it."""

from __future__ import annotations

import itertools
import os
import threading
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.exceptions import LightlyAccessError
from lightly_provider.hooks.lightly import LightlyHook
from lightly_provider.operators.access import RotateLightlyAccessOperator
from lightly_provider.operators.worker import RunLightlyWorkerOperator
from tests.integration.conftest import TaskInstance
from tests.integration.created_access import (
    create_role,
    create_user,
    kept,
    keys_of,
    places,
    rotate,
    verified,
)
from tests.integration.staged_worker import StagedWorker
from tests.thinning import thinned

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.conftest import Traffic
    from tests.integration.sandbox import Sandbox

pytestmark = pytest.mark.usefixtures("in_the_sandboxs_region", "no_other_datasets")

CRASHED, FINISHED = 9, 0
# With the new secret kept and no datasource moved; and with the first of two moved.
SAMPLED_STEPS = (2, 3)


def killed_after(n_writes: int, run: Callable[[], Any]) -> int:
    """Run in a process of its own, which dies right after so many changes in AWS and on the platform."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            die_after(n_writes)
            run()
            status = FINISHED
        except BaseException:  # noqa: BLE001 - nothing of the child may come back into the test
            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def die_after(n_writes: int) -> None:
    """Count every change once it is made, and end the process at the last of them."""
    import requests
    from botocore.client import BaseClient

    left = n_writes

    def changed() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os._exit(CRASHED)

    call, send = BaseClient._make_api_call, requests.Session.send

    def counted_call(client: Any, operation: str, arguments: Any) -> Any:
        answer = call(client, operation, arguments)
        if not operation.startswith(("Get", "List", "Head", "Describe")):
            changed()
        return answer

    def counted_send(session: Any, request: Any, **arguments: Any) -> Any:
        answer = send(session, request, **arguments)
        if request.method != "GET":
            changed()
        return answer

    BaseClient._make_api_call = counted_call
    requests.Session.send = counted_send  # type: ignore[method-assign]


def secret_of(sandbox: Sandbox, name: str) -> str:
    """What is kept: a key's id, or an external ID."""
    connection = kept(sandbox, "ssm", name)
    assert connection is not None
    return str(connection.get("login") or connection["extra"]["assume_role_kwargs"]["ExternalId"])


def secrets_on_the_platform(dataset_id: str) -> set[str]:
    """What the datasources have of it."""
    datasources = LightlyHook().get_datasources(dataset_id)
    return {str(datasource.s3_access_key_id or datasource.s3_external_id) for datasource in datasources}


def secrets_in_aws(sandbox: Sandbox, create: Any, name: str) -> set[str]:
    """What AWS accepts of it."""
    if create is create_user:
        return set(keys_of(sandbox, name))
    trust = sandbox.aws("iam").get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
    ids = trust["Statement"][0]["Condition"]["StringEquals"]["sts:ExternalId"]
    return {ids} if isinstance(ids, str) else set(ids)


def lights(dataset_id: str) -> list[bool]:
    """The platform's four lights."""
    answer = LightlyHook().verify_datasource(dataset_id)
    return [answer.can_list, answer.can_read, answer.can_write, answer.can_overwrite]


@pytest.mark.parametrize("create", thinned([create_role, create_user], keep=1, seed=2))
def test_a_rotation_moves_every_datasource_and_takes_the_old_secret_away(
    create: Any,
    lightly: Sandbox,
    bucket: str,
    name: str,
    dataset_name: str,
    context: dict[str, Any],
    traffic: Traffic,
) -> None:
    arguments = {"access_conn_id": f"ssm://aws_default/lightly/{name}", **places(bucket)}
    create(name, context, **arguments)
    datasets = [verified(f"{dataset_name} {n}", arguments["access_conn_id"], bucket, context) for n in range(2)]
    old = secret_of(lightly, name)

    outcome = rotate(create, name, context, access_conn_id=arguments["access_conn_id"])

    new = secret_of(lightly, name)
    assert new != old
    assert set(outcome["moved"]) == set(datasets), "all of the token's datasets are looked at"
    assert outcome["replaced"] == ([old] if create is create_user else ["external ID"])
    assert (outcome["to_delete"], outcome["used_by"], outcome["active_runs"]) == ([], [], {})
    assert outcome["changed_at"]
    assert secrets_in_aws(lightly, create, name) == {new}
    assert [secrets_on_the_platform(dataset_id) for dataset_id in datasets] == [{new}, {new}]
    assert [lights(dataset_id) for dataset_id in datasets] == [[True] * 4] * 2
    before = len(traffic.writes())
    assert create(name, context, **arguments)["changed"] == [], "nothing is left to change"
    assert traffic.writes()[before:] == []


@pytest.mark.exhaustive(sample="test_a_rotation_moves_every_datasource_and_takes_the_old_secret_away")
@pytest.mark.parametrize("create", thinned([create_role, create_user], keep=1))
@pytest.mark.parametrize("share", ["a sample", pytest.param("the rest", marks=pytest.mark.exhaustive)])
def test_killed_after_any_step_the_datasource_works_and_the_next_run_finishes(
    create: Any, share: str, lightly: Sandbox, bucket: str, name: str, dataset_name: str, context: dict[str, Any]
) -> None:
    arguments = {"access_conn_id": f"ssm://aws_default/lightly/{name}", **places(bucket)}
    create(name, context, **arguments)
    dataset_id = verified(dataset_name, arguments["access_conn_id"], bucket, context)
    steps = SAMPLED_STEPS if share == "a sample" else itertools.count(1)
    status = step = 0
    for step in steps:
        old = secret_of(lightly, name)
        moved = {"dataset_ids": [dataset_id], "access_conn_id": arguments["access_conn_id"]}

        status = killed_after(step, lambda moved=moved: rotate(create, name, context, **moved))

        assert lights(dataset_id) == [True] * 4, f"killed after {step} changes"
        if status == CRASHED:
            rotate(create, name, context, **moved)
        new = secret_of(lightly, name)
        assert new != old
        assert secrets_in_aws(lightly, create, name) == {new}
        assert secrets_on_the_platform(dataset_id) == {new}
        assert lights(dataset_id) == [True] * 4
        if status == FINISHED:
            break
    if share == "a sample":
        assert status == CRASHED, "there are that many steps"
    else:
        # A new secret, its keeping, two datasources, the old one's end, and the note of that.
        assert step > 6


@pytest.mark.exhaustive(sample="test_a_rotation_moves_every_datasource_and_takes_the_old_secret_away")
@pytest.mark.parametrize("create", thinned([create_role, create_user], keep=1))
def test_killed_after_any_step_a_creation_is_finished_by_the_next_run(
    create: Any, lightly: Sandbox, bucket: str, name: str, dataset_name: str, context: dict[str, Any]
) -> None:
    n_killed, status = 0, CRASHED
    while status == CRASHED:
        mine = f"{name}-{n_killed}"
        arguments = {"access_conn_id": f"ssm://aws_default/lightly/{mine}", **places(bucket)}

        status = killed_after(n_killed + 1, lambda mine=mine, arguments=arguments: create(mine, context, **arguments))

        if status == CRASHED:
            n_killed += 1
            create(mine, context, **arguments)
        assert secret_of(lightly, mine) in secrets_in_aws(lightly, create, mine)
    assert status == FINISHED
    assert n_killed >= 3, "the role or user, its policy, its key, and its keeping"
    verified(dataset_name, arguments["access_conn_id"], bucket, context)


def test_a_key_that_a_dataset_elsewhere_uses_is_kept_when_it_gets_no_new_one(
    lightly: Sandbox, bucket: str, name: str, dataset_name: str, context: dict[str, Any]
) -> None:
    """Two keys, both in use: AWS takes no third, and none may go."""
    arguments = {"access_conn_id": f"ssm://aws_default/lightly/{name}", **places(bucket)}
    create_user(name, context, **arguments)
    dataset_id = verified(dataset_name, arguments["access_conn_id"], bucket, context)
    first = secret_of(lightly, name)
    # Somebody makes a key by hand, gives it to the other datasource, and puts nothing into the parameter.
    second = lightly.aws("iam").create_access_key(UserName=name)["AccessKey"]
    hook = LightlyHook()
    (given,) = [d for d in hook.get_datasources(dataset_id) if d.purpose == "LIGHTLY"]
    from lightly_provider.api.models.datasource import S3UserAccessDatasource

    by_hand = S3UserAccessDatasource(
        purpose="LIGHTLY",
        full_path=given.full_path,
        s3_region=str(given.s3_region),
        s3_access_key_id=second["AccessKeyId"],
        s3_secret_access_key=second["SecretAccessKey"],
    )
    hook.set_datasource(dataset_id, by_hand)

    conn_id = arguments["access_conn_id"]
    outcome = rotate(create_user, name, context, access_conn_id=conn_id, dataset_ids=[dataset_id])

    assert (outcome["replaced"], outcome["to_delete"]) == ([second["AccessKeyId"]], [])

    assert secrets_on_the_platform(dataset_id) == {first}, "the kept key serves all, and the one by hand goes"
    assert keys_of(lightly, name) == [first]
    assert lights(dataset_id) == [True] * 4


@pytest.mark.exhaustive(sample="test_a_rotation_moves_every_datasource_and_takes_the_old_secret_away")
def test_a_given_external_id_replaces_the_old_one_only_in_a_rotation(
    lightly: Sandbox, bucket: str, name: str, dataset_name: str, context: dict[str, Any]
) -> None:
    arguments = {"access_conn_id": f"ssm://aws_default/lightly/{name}", **places(bucket)}
    create_role(name, context, external_id="CANARY-the-first-one", **arguments)
    dataset_id = verified(dataset_name, arguments["access_conn_id"], bucket, context)

    with pytest.raises(LightlyAccessError, match="another external ID") as refused:
        create_role(name, context, external_id="CANARY-the-second-one", **arguments)
    assert "CANARY" not in str(refused.value)
    assert secrets_in_aws(lightly, create_role, name) == {"CANARY-the-first-one"}

    given = {"external_id": "CANARY-the-second-one", "access_conn_id": arguments["access_conn_id"]}
    rotate(create_role, name, context, dataset_ids=[dataset_id], **given)
    assert secrets_in_aws(lightly, create_role, name) == {"CANARY-the-second-one"}
    assert secrets_on_the_platform(dataset_id) == {"CANARY-the-second-one"}
    again = rotate(create_role, name, context, dataset_ids=[dataset_id], **given)
    assert again["replaced"] == [], "it is the given one already"


# --- nothing is taken away that is in use -------------------------------------------------------------------------


@pytest.mark.exhaustive(sample="test_a_rotation_moves_every_datasource_and_takes_the_old_secret_away")
@pytest.mark.parametrize("create", thinned([create_role, create_user], keep=1))
def test_a_secret_that_another_dataset_has_stays_valid_and_is_reported(
    create: Any, lightly: Sandbox, bucket: str, name: str, dataset_name: str, context: dict[str, Any]
) -> None:
    conn_id = f"ssm://aws_default/lightly/{name}"
    create(name, context, access_conn_id=conn_id, **places(bucket))
    mine, other = (verified(f"{dataset_name} {n}", conn_id, bucket, context) for n in range(2))
    old = secret_of(lightly, name)

    outcome = rotate(create, name, context, access_conn_id=conn_id, dataset_ids=[mine])

    shown = old if create is create_user else "external ID"
    assert (outcome["moved"], outcome["to_delete"], outcome["used_by"]) == ([mine], [shown], [other])
    assert (secrets_on_the_platform(mine), secrets_on_the_platform(other)) == ({secret_of(lightly, name)}, {old})
    assert secrets_in_aws(lightly, create, name) == {old, secret_of(lightly, name)}
    assert (lights(mine), lights(other)) == ([True] * 4, [True] * 4)

    last = rotate(create, name, context, access_conn_id=conn_id)

    assert (last["moved"], last["to_delete"]) == ([other], [])
    assert secrets_in_aws(lightly, create, name) == {secret_of(lightly, name)}
    assert (lights(mine), lights(other)) == ([True] * 4, [True] * 4)


def schedule_run(dataset_id: str, label: str) -> None:
    """Schedule a run for the workers of a label."""
    strategies = [{"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY"}}]
    RunLightlyWorkerOperator(
        task_id="run",
        dataset_id=dataset_id,
        selection_config={"n_samples": 1, "strategies": strategies},
        runs_on=[label],
        wait_for_completion=False,
        durable=False,
    ).execute({"ti": TaskInstance()})


@pytest.mark.exhaustive(sample="test_a_rotation_moves_every_datasource_and_takes_the_old_secret_away")
def test_an_access_key_goes_only_when_no_run_that_began_with_it_is_left(
    lightly: Sandbox, bucket: str, name: str, dataset_name: str, context: dict[str, Any]
) -> None:
    conn_id = f"ssm://aws_default/lightly/{name}"
    create_user(name, context, access_conn_id=conn_id, **places(bucket))
    dataset_id = verified(dataset_name, conn_id, bucket, context)
    first = secret_of(lightly, name)
    worker = StagedWorker(lightly, name)
    schedule_run(dataset_id, name)
    run_id = worker.take(dataset_id)

    outcome = rotate(create_user, name, context, access_conn_id=conn_id)

    second = secret_of(lightly, name)
    assert (outcome["replaced"], outcome["to_delete"]) == ([first], [first])
    assert outcome["active_runs"] == {dataset_id: [run_id]}
    assert secrets_on_the_platform(dataset_id) == {second}
    assert secrets_in_aws(lightly, create_user, name) == {first, second}

    with pytest.raises(LightlyAccessError, match=r"(?s)Both access keys .* are in use") as refused:
        rotate(create_user, name, context, access_conn_id=conn_id)

    assert all(one in str(refused.value) for one in (first, second, run_id, dataset_id))
    assert secret_of(lightly, name) == second
    assert secrets_in_aws(lightly, create_user, name) == {first, second}

    # A run that is only scheduled, or begins meanwhile, has the new key.
    end = threading.Timer(3, worker.finish, (dataset_id, run_id), {"state": "FAILED"})
    end.start()
    done = rotate(create_user, name, context, access_conn_id=conn_id, grace=60)
    end.join()

    assert (done["replaced"], done["to_delete"], done["active_runs"]) == ([first], [], {})
    assert secrets_in_aws(lightly, create_user, name) == {second}


@pytest.mark.exhaustive(sample="test_a_rotation_moves_every_datasource_and_takes_the_old_secret_away")
def test_a_run_that_nobody_has_taken_yet_keeps_no_key(
    lightly: Sandbox, bucket: str, name: str, dataset_name: str, context: dict[str, Any]
) -> None:
    conn_id = f"ssm://aws_default/lightly/{name}"
    create_user(name, context, access_conn_id=conn_id, **places(bucket))
    dataset_id = verified(dataset_name, conn_id, bucket, context)
    StagedWorker(lightly, name)
    schedule_run(dataset_id, name)

    outcome = rotate(create_user, name, context, access_conn_id=conn_id)

    assert (outcome["moved"], outcome["to_delete"]) == ([dataset_id], [])
    assert secrets_in_aws(lightly, create_user, name) == {secret_of(lightly, name)}


@pytest.mark.parametrize(
    ("create", "given"),
    thinned(
        [(create, given) for create in (create_role, create_user) for given in ([], (), "{{ params.none }}")], keep=2
    ),
)
def test_an_empty_list_of_datasets_changes_nothing(
    create: Any, given: Any, lightly: Sandbox, bucket: str, name: str, dataset_name: str, context: dict[str, Any]
) -> None:
    conn_id = f"ssm://aws_default/lightly/{name}"
    create(name, context, access_conn_id=conn_id, **places(bucket))
    dataset_id = verified(dataset_name, conn_id, bucket, context)
    before = secret_of(lightly, name)

    def rotate_none() -> None:
        kind = "role_name" if create is create_role else "user_name"
        named = {kind: name, "access_conn_id": conn_id}
        operator = RotateLightlyAccessOperator(task_id="rotate", dataset_ids=given, **named)
        operator.render_template_fields({**context, "params": {"none": []}})
        operator.execute(context)

    with pytest.raises(ValueError, match=r"(?s)dataset_ids\s+is\s+(\[\]|\(\)).*name\s+at\s+least\s+one\s+dataset"):
        rotate_none()

    assert secret_of(lightly, name) == before
    assert secrets_in_aws(lightly, create, name) == {before}
    assert secrets_on_the_platform(dataset_id) == {before}


@pytest.mark.parametrize("create", thinned([create_role, create_user], keep=1))
def test_datasets_that_do_not_use_the_access_change_nothing(
    create: Any, lightly: Sandbox, bucket: str, name: str, dataset_name: str, context: dict[str, Any]
) -> None:
    conn_id = f"ssm://aws_default/lightly/{name}"
    create(name, context, access_conn_id=conn_id, **places(bucket))
    using = verified(dataset_name, conn_id, bucket, context)
    other = LightlyHook().get_or_create_dataset(f"{dataset_name} other", "Images").dataset_id
    before = secret_of(lightly, name)

    with pytest.raises(
        LightlyAccessError, match=rf"None\s+of\s+the\s+datasets\s+in\s+dataset_ids\s+uses\s+this\s+access\s+.{other}"
    ):
        rotate(create, name, context, access_conn_id=conn_id, dataset_ids=[other])

    assert secret_of(lightly, name) == before
    assert secrets_in_aws(lightly, create, name) == {before}
    assert secrets_on_the_platform(using) == {before}


def test_what_is_not_there_or_another_s_is_not_rotated(
    lightly: Sandbox, bucket: str, name: str, context: dict[str, Any]
) -> None:
    conn_id = f"ssm://aws_default/lightly/{name}"
    with pytest.raises(LightlyAccessError, match=r"There is no user .* to rotate"):
        rotate(create_user, name, context, access_conn_id=conn_id)
    create_user(name, context, access_conn_id=conn_id, **places(bucket))
    with pytest.raises(LightlyAccessError, match="Nothing is kept in"):
        rotate(create_user, name, context, access_conn_id=f"{conn_id}-other")
    # As if the token were another account's: every dataset that it sees is none of this access.
    with pytest.raises(
        LightlyAccessError, match=r"No\s+dataset\s+of\s+the\s+token\s+in\s+lightly_conn_id\s+uses\s+this\s+access"
    ):
        rotate(create_user, name, context, access_conn_id=conn_id)
    lightly.aws("iam").untag_user(UserName=name, TagKeys=["managed-by"])
    with pytest.raises(LightlyAccessError, match=r"without\s+the tag"):
        rotate(create_user, name, context, access_conn_id=conn_id)
    assert secrets_in_aws(lightly, create_user, name) == {secret_of(lightly, name)}
