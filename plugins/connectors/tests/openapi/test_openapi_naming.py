"""Names that a person would choose."""

from __future__ import annotations

import pytest
from turnout_connectors.openapi.naming import name_of, unique


@pytest.mark.parametrize(
    ("operation", "method", "path", "name"),
    [
        ("listOrderItems", "get", "/orders/{id}/items", "list_order_items"),
        ("repos/list-for-user", "get", "/users/{username}/repos", "repos_list_for_user"),
        ("getHTTPStatus", "get", "/status", "get_http_status"),
        ("read_item_items__item_id__get", "get", "/items/{item_id}", "read_item"),
        ("PetsController_findAll", "get", "/pets", "pets_find_all"),
        ("listPetsUsingGET_1", "get", "/pets", "list_pets"),
        ("GetAccountsAccount", "get", "/v1/accounts/{account}", "get_account"),
        ("PostCharges", "post", "/v1/charges", "create_charge"),
        ("", "get", "/pets", "list_pets"),
        ("", "get", "/pets/{id}", "get_pet"),
        ("", "post", "/pets", "create_pet"),
        ("", "post", "/pets/{id}", "update_pet"),
        ("", "put", "/pets/{id}", "replace_pet"),
        ("", "patch", "/companies/{id}", "update_company"),
        ("", "delete", "/boxes/{id}", "delete_box"),
        ("", "get", "/api/v2/users/{id}/posts", "list_user_posts"),
        ("", "post", "/orders/{id}/cancel", "cancel_order"),
        ("", "get", "/orders/{id}/status", "get_order_status"),
        ("", "get", "/", "get"),
        ("***", "get", "/pets", "list_pets"),
        ("x" * 200, "get", "/pets", "x" * 80),
    ],
)
def test_an_operation_is_called(operation: str, method: str, path: str, name: str) -> None:
    assert name_of(operation, method, path) == name


def test_no_two_are_alike() -> None:
    given = [
        ("sync", "get", "/a"),
        ("sync", "post", "/a"),
        ("sync", "post", "/b"),
        ("sync", "post", "/b "),
        ("sync_get", "get", "/c"),
        ("one", "get", "/d"),
    ]

    names = unique(given)

    assert len(set(names)) == len(names)
    assert names[0] == "sync"
    assert names[4:] == ["sync_get", "one"]
