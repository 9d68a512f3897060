"""Every state in which a crash can leave a rotation, and the step that must follow."""

from __future__ import annotations

from typing import Any

import pytest

from lightly_provider.access.plans import ExternalIdPlan, KeyPlan, plan_external_id, plan_keys
from lightly_provider.access.principals import Key
from lightly_provider.exceptions import LightlyAccessError


def key(key_id: str, *, active: bool = True, used: bool = False) -> Key:
    return Key(key_id=key_id, active=active, used=used)


def plan(*keys: Key, **arguments: Any) -> KeyPlan:
    return plan_keys("lightly", keys, **{"kept": None, "replaces": None, **arguments})


# --- access keys --------------------------------------------------------------------------------------------------


def test_a_user_without_a_key_gets_one() -> None:
    assert plan() == KeyPlan(create=True)
    assert plan(rotate=True) == KeyPlan(create=True)


def test_a_key_that_is_kept_and_works_is_left_alone() -> None:
    assert plan(key("A", used=True), kept="A") == KeyPlan(create=False)
    assert plan(key("A"), key("B"), kept="A") == KeyPlan(create=False)
    assert plan(key("A"), key("B"), kept="B", replaces="A") == KeyPlan(create=False)


@pytest.mark.parametrize("kept", [None, "X"])
def test_a_key_whose_secret_is_lost_is_replaced(kept: str | None) -> None:
    assert plan(key("A", used=True), kept=kept) == KeyPlan(create=True)


def test_a_key_that_is_not_active_does_not_serve() -> None:
    assert plan(key("A", active=False), kept="A") == KeyPlan(create=True)


def test_a_rotation_begins_with_a_new_key_and_ends_with_the_old_one_going() -> None:
    assert plan(key("A", used=True), kept="A", in_use={"A"}, rotate=True) == KeyPlan(create=True, replaced=("A",))


def test_a_crash_before_the_new_key_was_kept_leaves_one_whose_secret_nobody_has() -> None:
    after = plan(key("A", used=True), key("B"), kept="A", in_use={"A"}, rotate=True)
    assert after == KeyPlan(create=True, delete_first=("B",), replaced=("A",))


@pytest.mark.parametrize("in_use", [{"A"}, {"A", "B"}, {"B"}, set()])
def test_a_crash_after_the_new_key_was_kept_is_followed_by_the_move(in_use: set[str]) -> None:
    after = plan(key("A", used=True), key("B"), kept="B", replaces="A", in_use=in_use, rotate=True)
    assert after == KeyPlan(create=False, replaced=("A",))


def test_a_crash_after_the_old_key_went_begins_anew() -> None:
    after = plan(key("B"), kept="B", replaces="A", in_use={"B"}, rotate=True)
    assert after == KeyPlan(create=True, replaced=("B",))


def test_a_key_that_datasources_have_is_moved_from_even_if_nothing_says_that_it_is_replaced() -> None:
    after = plan(key("A"), key("B"), kept="B", in_use={"A"}, rotate=True)
    assert after == KeyPlan(create=False, replaced=("A",))


def test_of_two_lost_keys_the_one_that_no_datasource_has_goes() -> None:
    after = plan(key("A"), key("B"), in_use={"A"}, rotate=True)
    assert after == KeyPlan(create=True, delete_first=("B",), replaced=("A",))


def test_of_two_lost_keys_none_goes_as_long_as_nobody_has_asked_which_is_in_use() -> None:
    with pytest.raises(LightlyAccessError, match=r"'lightly' has 2 access keys \(A and B\).*run RotateLightlyAccess"):
        plan(key("A"), key("B"))
    assert plan(key("A"), key("B", active=False)) == KeyPlan(create=True, delete_first=("B",))


@pytest.mark.parametrize("in_use", [{"A", "B"}, {"A"}, set()])
def test_a_key_that_somebody_uses_is_never_deleted_to_make_room(in_use: set[str]) -> None:
    with pytest.raises(LightlyAccessError, match="delete in IAM the one that nobody uses"):
        plan(key("A", used=True), key("B", used=True), in_use=in_use, rotate=True)
    with pytest.raises(LightlyAccessError, match="each may be in use"):
        plan(key("A", used=True), key("B", used=True), kept="A", in_use={"A"}, rotate=True)


# --- external IDs -------------------------------------------------------------------------------------------------


def ids(*trusted: str, **arguments: Any) -> ExternalIdPlan:
    return plan_external_id("lightly", trusted, **{"kept": None, "replaces": None, "given": None, **arguments})


def test_a_new_role_takes_what_is_given_or_kept_or_makes_one() -> None:
    assert ids() == ExternalIdPlan(present=None)
    assert ids(given="given") == ExternalIdPlan(present="given")
    assert ids(kept="kept") == ExternalIdPlan(present="kept")
    assert ids(rotate=True) == ExternalIdPlan(present=None)


@pytest.mark.parametrize("kept", [None, "old", "something else"])
def test_the_external_id_of_a_role_is_never_changed_without_rotate(kept: str | None) -> None:
    assert ids("old", kept=kept) == ExternalIdPlan(present="old")
    assert ids("old", kept=kept, given="old") == ExternalIdPlan(present="old")
    with pytest.raises(LightlyAccessError, match="another external ID than the given one") as refused:
        ids("CANARY-old", kept=kept, given="CANARY-new")
    assert "CANARY" not in str(refused.value)


def test_both_are_accepted_while_one_replaces_the_other() -> None:
    assert ids("old", kept="old", rotate=True) == ExternalIdPlan(present=None, replaced=("old",))
    assert ids("old", kept="old", given="new", rotate=True) == ExternalIdPlan(present="new", replaced=("old",))


def test_a_given_one_that_the_role_has_already_is_no_rotation() -> None:
    assert ids("given", kept="given", given="given", rotate=True) == ExternalIdPlan(present="given")


def test_a_crash_before_the_new_one_was_kept_goes_on_with_it() -> None:
    assert ids("new", "old", kept="old", rotate=True) == ExternalIdPlan(present="new", replaced=("old",))


def test_a_crash_after_the_new_one_was_kept_goes_on_with_it() -> None:
    after = ids("new", "old", kept="new", replaces="old", rotate=True)
    assert after == ExternalIdPlan(present="new", replaced=("old",))


@pytest.mark.parametrize(("kept", "replaces"), [("old", None), ("CANARY-new", "old")])
def test_an_unfinished_rotation_takes_no_other_one_than_it_began_with(kept: str, replaces: str | None) -> None:
    trusted = ("CANARY-new", "old")
    goes_on = ids(*trusted, kept=kept, replaces=replaces, given="CANARY-new", rotate=True)
    assert goes_on == ExternalIdPlan(present="CANARY-new", replaced=("old",))
    for given in ("CANARY-other", "old"):
        with pytest.raises(
            LightlyAccessError, match="is not finished; run the task once without external_id"
        ) as refused:
            ids(*trusted, kept=kept, replaces=replaces, given=given, rotate=True)
        assert "CANARY" not in str(refused.value)


def test_without_rotate_an_unfinished_rotation_stays_as_it_is() -> None:
    assert ids("new", "old", kept="new", replaces="old") == ExternalIdPlan(present="new", replaced=("old",))
    assert ids("new", "old", kept="old") == ExternalIdPlan(present="old", replaced=("new",))


def test_no_external_id_shows_in_a_plan() -> None:
    assert "CANARY" not in repr(ids("CANARY-old", kept="CANARY-old", given="CANARY-new", rotate=True))
