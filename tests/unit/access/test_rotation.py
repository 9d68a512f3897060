"""An old secret goes only when every dataset that was moved was seen to work with the new one, whatever ended a try."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.access.datasource_secrets import DatasourceSecrets
from lightly_provider.access.kept import OTHERS, KeptAccess
from lightly_provider.access.rotation import AccessRotation
from lightly_provider.api.models.datasource import Datasource, PermissionLights
from lightly_provider.contract import Permission
from lightly_provider.exceptions import LightlyAccessError
from tests.unit.access.aws_account import ROLE_ARN, USER_ARN, Iam
from tests.unit.access.memory_store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DATASET, OTHER = "a" * 24, "b" * 24
OLD_ID, NEW_ID, OLD_KEY = "the-old-external-id", "the-new-external-id", "AKIAOLD0000000000000"
SECRET = "CANARY".ljust(40, "0")
ROLE = KeptAccess(principal_arn=ROLE_ARN, role_arn=ROLE_ARN, external_id=OLD_ID)
USER = KeptAccess(principal_arn=USER_ARN, access_key_id=OLD_KEY, secret_access_key=SECRET)
ALL, READ_ONLY = frozenset(Permission), frozenset({Permission.LIST, Permission.READ})


def datasource(of: KeptAccess, purpose: str = "INPUT_OUTPUT", **members: Any) -> Datasource:
    access = {"type": "S3DelegatedAccess", "s3ARN": of.role_arn, "s3ExternalId": of.external_id}
    if not of.role_arn:
        access = {"type": "S3", "s3AccessKeyId": of.access_key_id, "s3SecretAccessKey": of.secret_access_key}
    place = {"purpose": purpose, "fullPath": f"s3://my-bucket/{purpose}/", "s3Region": "eu-central-1"}
    return Datasource.model_validate({**place, **access, **members})


def secret_of(found: Datasource) -> str:
    return str(found.s3_external_id or found.s3_access_key_id)


@dataclass
class Platform:
    """
    What the rotation asks of the platform.

    :param stored: The datasources, by dataset.
    :param works: Which permissions a secret gives.
    :param limits: The most that is granted in some datasets, whatever the secret is.
    :param after: Called after each change, with its number; may end the try.
    """

    stored: dict[str, list[Datasource]]
    works: Callable[[str], frozenset[Permission]] = lambda _: ALL
    after: Callable[[int], None] = lambda _: None
    masks: bool = False
    limits: dict[str, frozenset[Permission]] = field(default_factory=dict)
    verified: list[str] = field(default_factory=list)
    n_set: int = 0
    connection = SimpleNamespace(is_local=True)
    client = SimpleNamespace(send=lambda _: [])

    def get_datasets(self) -> list[Any]:
        return [SimpleNamespace(id=dataset_id) for dataset_id in self.stored]

    def get_datasources(self, dataset_id: str) -> list[Datasource]:
        hidden = {"s3_external_id": "***"} if self.masks else {}
        return [found.model_copy(update=hidden) for found in self.stored[dataset_id]]

    def set_datasource(self, dataset_id: str, wanted: Any) -> bool:
        others = [found for found in self.stored[dataset_id] if found.purpose != wanted.purpose]
        self.stored[dataset_id] = [*others, Datasource.model_validate(wanted.to_wire())]
        self.n_set += 1
        self.after(self.n_set)
        return True

    def verify_datasource(self, dataset_id: str) -> PermissionLights:
        self.verified.append(dataset_id)
        most = self.limits.get(dataset_id, ALL)
        granted = most.intersection(*(self.works(secret_of(found)) for found in self.stored[dataset_id]))
        return PermissionLights.model_validate({f"can{name.capitalize()}": name in granted for name in Permission})


@pytest.fixture(autouse=True)
def aws_accepts_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AccessRotation, "_wait_for_key", lambda *_: None)


class Ended(BaseException):
    """The process ended."""


@dataclass
class Scene:
    """An access of one kind, its datasets, and its rotation."""

    kept: KeptAccess
    platform: Platform
    dataset_ids: Sequence[str] | None = None

    def __post_init__(self) -> None:
        self.iam = Iam.with_role(OLD_ID) if self.kept.role_arn else Iam.with_user(OLD_KEY)
        self.store = MemoryStore("kept")
        self.store.present = self.kept

    def rotate(self) -> dict[str, Any]:
        hook: Any = self.platform
        secrets = DatasourceSecrets(hook=hook, dataset_ids=self.dataset_ids, timeout=0)
        rotation = AccessRotation(iam=self.iam, store=self.store, datasources=secrets, timeout=0)
        return (rotation.rotate_role("lightly") if self.kept.role_arn else rotation.rotate_user("lightly")).as_dict()

    @property
    def valid(self) -> set[str]:
        """The secrets that AWS takes."""
        if not self.kept.role_arn:
            return set(self.iam.keys)
        return {self.iam.trusted} if isinstance(self.iam.trusted, str) else set(self.iam.trusted)

    @property
    def old(self) -> str:
        return OLD_ID if self.kept.role_arn else OLD_KEY

    def works_only(self, secret: str, otherwise: frozenset[Permission] = frozenset()) -> None:
        self.platform.works = lambda given: ALL if given == secret else otherwise


def ended_after_the_first_change(scene: Scene) -> KeptAccess:
    """End a try after the first datasource that it sets; what is kept then."""
    scene.platform.after = lambda _: (_ for _ in ()).throw(Ended())
    with pytest.raises(Ended):
        scene.rotate()
    scene.platform.after = lambda _: None
    assert scene.store.present is not None
    return scene.store.present


@pytest.fixture(params=[ROLE, USER], ids=["role", "user"])
def scene(request: pytest.FixtureRequest) -> Scene:
    return Scene(request.param, Platform({DATASET: [datasource(request.param)], OTHER: [datasource(request.param)]}))


def test_each_dataset_is_verified_once_before_and_once_after_and_the_old_secret_goes(scene: Scene) -> None:
    outcome = scene.rotate()

    assert (outcome["moved"], outcome["to_delete"]) == ([DATASET, OTHER], [])
    assert sorted(scene.platform.verified) == sorted([DATASET, OTHER] * 2)
    assert len(scene.valid) == 1
    assert scene.old not in scene.valid
    assert scene.store.present is not None
    assert (scene.store.present.replaces, scene.store.present.granted_before) == (None, {})


@pytest.mark.parametrize("otherwise", [frozenset(), READ_ONLY], ids=["nothing", "no write"])
def test_a_retry_does_not_delete_an_old_secret_whose_successor_does_not_work(
    otherwise: frozenset[Permission], scene: Scene
) -> None:
    scene.works_only(scene.old, otherwise)
    for _ in range(3):
        with pytest.raises(LightlyAccessError, match="has the new secret, and after 0 s the platform cannot"):
            scene.rotate()
        assert scene.old in scene.valid

    scene.platform.works = lambda _: ALL
    assert scene.rotate()["to_delete"] == []
    assert scene.old not in scene.valid


@pytest.mark.parametrize(
    ("purposes", "after"),
    [
        (purposes, after)
        for purposes in (["INPUT_OUTPUT"], ["INPUT", "LIGHTLY"])
        for after in range(1, 2 * len(purposes) + 1)
    ],
)
def test_ended_before_a_verification_the_next_try_verifies(purposes: Sequence[str], after: int, scene: Scene) -> None:
    stored = [datasource(scene.kept, purpose) for purpose in purposes]
    scene.platform.stored = {DATASET: stored, OTHER: list(stored)}

    def end(n_set: int) -> None:
        if n_set == after:
            raise Ended

    scene.platform.after = end
    with pytest.raises(Ended):
        scene.rotate()
    scene.works_only(scene.old, READ_ONLY)
    with pytest.raises(LightlyAccessError, match="the platform cannot write, overwrite with it"):
        scene.rotate()
    assert scene.old in scene.valid


def test_a_retry_requires_no_more_than_there_was_before(scene: Scene) -> None:
    """A common datasource that is only read, or a worker inside a closed network, to which reading is denied, too."""
    scene.platform.works = lambda _: frozenset({Permission.LIST})
    ended_after_the_first_change(scene)
    assert scene.old in scene.valid

    assert scene.rotate()["to_delete"] == []
    assert scene.old not in scene.valid
    assert scene.store.present is not None
    assert scene.store.present.granted_before == {}


def test_a_dataset_that_got_the_new_secret_meanwhile_is_required_no_more_than_it_has(scene: Scene) -> None:
    kept = ended_after_the_first_change(scene)
    scene.platform.stored = {"c" * 24: [datasource(kept)], **scene.platform.stored}
    ended_after_the_first_change(scene)
    scene.platform.limits["c" * 24] = READ_ONLY

    assert scene.rotate()["to_delete"] == []
    assert scene.old not in scene.valid


def test_what_one_dataset_was_denied_before_is_still_required_of_the_others(scene: Scene) -> None:
    scene.platform.limits[OTHER] = READ_ONLY
    ended_after_the_first_change(scene)
    scene.works_only(scene.old, READ_ONLY)

    with pytest.raises(LightlyAccessError, match=f"^Dataset {DATASET} has the new .* cannot write, overwrite with it"):
        scene.rotate()
    assert scene.old in scene.valid


def test_of_many_datasets_the_common_measure_is_noted_once(scene: Scene) -> None:
    """What is kept must fit into a parameter of SSM."""
    several = [f"{number:024x}" for number in range(1000)]
    scene.platform.stored = {dataset_id: [datasource(scene.kept)] for dataset_id in several}
    scene.platform.limits[several[1]] = READ_ONLY
    kept = ended_after_the_first_change(scene)

    assert kept.granted_before == {several[1]: READ_ONLY, OTHERS: ALL}
    works = scene.platform.works
    scene.works_only(scene.old, READ_ONLY)
    with pytest.raises(LightlyAccessError, match=f"^Dataset {several[0]} has the new .* cannot write, overwrite"):
        scene.rotate()
    scene.platform.works = works
    assert scene.rotate()["to_delete"] == []


@pytest.mark.parametrize("granted", [READ_ONLY, frozenset({Permission.LIST})], ids=["no write", "only list"])
def test_a_rotation_that_an_earlier_version_began_is_finished(granted: frozenset[Permission], scene: Scene) -> None:
    """It noted nothing of what the datasets had before."""
    kept = ended_after_the_first_change(scene)
    scene.store.present = replace(kept, granted_before={})
    scene.platform.stored = {dataset_id: [datasource(kept)] for dataset_id in (DATASET, OTHER)}
    scene.platform.works = lambda _: granted

    assert scene.rotate()["to_delete"] == []
    assert scene.old not in scene.valid


@pytest.mark.parametrize("granted", [frozenset(), frozenset({Permission.READ})], ids=["nothing", "no list"])
def test_a_rotation_that_an_earlier_version_began_is_not_finished_with_a_secret_that_cannot_list(
    granted: frozenset[Permission], scene: Scene
) -> None:
    kept = ended_after_the_first_change(scene)
    scene.store.present = replace(kept, granted_before={})
    scene.platform.stored = {dataset_id: [datasource(kept)] for dataset_id in (DATASET, OTHER)}
    scene.platform.works = lambda _: granted

    for _ in range(2):
        with pytest.raises(LightlyAccessError, match="the platform cannot list"):
            scene.rotate()
        assert scene.old in scene.valid


def test_a_retry_knows_the_key_to_replace_also_if_the_note_of_it_was_lost() -> None:
    scene = Scene(USER, Platform({DATASET: [datasource(USER)]}))
    scene.store.present = replace(ended_after_the_first_change(scene), replaces=None, granted_before={})
    scene.platform.stored = {DATASET: [datasource(USER)]}
    scene.works_only(OLD_KEY, READ_ONLY)

    for _ in range(2):
        with pytest.raises(LightlyAccessError, match="the platform cannot write, overwrite with it"):
            scene.rotate()
        assert OLD_KEY in scene.valid


def test_where_the_platform_hides_the_external_id_a_retry_takes_no_broken_state_as_its_measure() -> None:
    scene = Scene(ROLE, Platform({DATASET: [datasource(ROLE)]}, masks=True))
    scene.works_only(OLD_ID, frozenset({Permission.LIST}))
    for _ in range(2):
        with pytest.raises(LightlyAccessError, match="cannot read, write, overwrite with it"):
            scene.rotate()
        assert OLD_ID in scene.valid


def test_a_rotation_that_only_waits_for_others_verifies_what_it_moved_before(scene: Scene) -> None:
    scene.dataset_ids = [DATASET]
    assert scene.rotate()["used_by"] == [OTHER]
    scene.works_only(scene.old)

    with pytest.raises(LightlyAccessError, match=f"^Dataset {DATASET} has the new secret"):
        scene.rotate()


def test_a_datasource_that_got_the_old_secret_again_keeps_it_valid(scene: Scene) -> None:
    """A task that had read what was kept before the rotation configures the datasource after it."""

    def configured_again(n_set: int) -> None:
        if n_set == 2:
            scene.platform.stored[DATASET] = [datasource(scene.kept)]

    scene.platform.after = configured_again
    with pytest.raises(LightlyAccessError, match=f"The datasources of {DATASET} still or again have the old"):
        scene.rotate()
    assert scene.old in scene.valid

    assert scene.rotate()["moved"] == [DATASET]
    assert scene.old not in scene.valid


def test_a_key_that_somebody_deleted_in_iam_is_replaced_where_datasources_have_it() -> None:
    scene = Scene(USER, Platform({DATASET: [datasource(USER)]}))
    scene.iam.keys = []
    scene.platform.works = lambda key: ALL if key in scene.iam.keys else frozenset()

    outcome = scene.rotate()

    assert (outcome["moved"], outcome["replaced"]) == ([DATASET], [])
    assert {secret_of(found) for found in scene.platform.stored[DATASET]} == scene.valid
