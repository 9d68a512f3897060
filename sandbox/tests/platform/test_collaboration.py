from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.lab.sandbox import Api


def test_sharing_replaces_the_list_under_the_same_id(api: Api) -> None:
    path = f"/v1/datasets/{api.new_dataset()}/collaboration/access"
    assert api.ok("GET", path) == []
    first = {"accessType": "WRITE", "users": ["ann@example.com", "bob@example.com"], "creator": "USER_PIP"}
    answer = api.send("POST", path, first)
    assert answer.status_code == 201
    (shared,) = api.ok("GET", path)
    assert (shared["users"], shared["teams"]) == (first["users"], [])
    again = api.ok("POST", path, {"accessType": "WRITE", "users": ["bob@example.com"], "teams": ["a-team"]})
    assert again == answer.json() == {"id": shared["id"]}
    (shared,) = api.ok("GET", path)
    assert (shared["users"], shared["teams"]) == (["bob@example.com"], ["a-team"])
    assert set(shared) == {"id", "owner", "accessType", "users", "teams", "createdAt", "lastModifiedAt"}
    other = f"/v1/datasets/{api.new_dataset()}/collaboration/access"
    assert api.refused("DELETE", f"{other}/{shared['id']}")[:2] == (404, "NOT_FOUND")
    api.ok("DELETE", f"{path}/{shared['id']}")
    assert api.ok("GET", path) == []
    assert api.refused("DELETE", f"{path}/{shared['id']}")[:2] == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    "body", [{}, {"accessType": "READ"}, {"accessType": "WRITE", "users": "ann@example.com"}]
)
def test_sharing_outside_the_contract_is_refused(api: Api, body: Any) -> None:
    path = f"/v1/datasets/{api.new_dataset()}/collaboration/access"
    assert api.refused("POST", path, body)[:2] == (400, "MALFORMED_REQUEST")
