"""Values that JSON can say and that hardly anything can keep: refused or kept, and never a failure of ours."""

from __future__ import annotations

import pytest

from core.tests.api.town import Town

ODD = [
    rb'"\ud800"',
    rb'"\u0000"',
    b"1" + b"0" * 400,
    b"1e308",
    b"-0.0",
    b"null",
    b"[" * 60 + b"]" * 60,
    b'{"": {"a": [1, null, true]}}',
    b'"' + "\u202e\ufeff\U0001f600".encode() + b'"',
    b'"${{ config.size }} ${env:HOME} env:HOME"',
    b'"' + b"x" * 300_000 + b'"',
]


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
async def test_an_odd_value_is_refused_or_kept_as_it_is(town: Town, odd: bytes) -> None:
    await town.publish()
    await town.connect("acme")
    await town.deploy("acme")
    headers = {"content-type": "application/json"}
    requests = [
        ("PATCH", "/customers/acme", b'{"title": %b}'),
        ("PATCH", "/customers/acme", b'{"metadata": {"a": %b}}'),
        ("POST", "/customers/acme/connections", b'{"name": "n", "connector": "erp", "fields": {"token": %b}}'),
        ("PATCH", "/customers/acme/connections/erp", b'{"fields": {"user": %b}}'),
        ("PATCH", "/customers/acme/connections/erp", b'{"unset": [%b]}'),
        ("PATCH", "/customers/acme/instances/orders", b'{"config": {"greeting": %b}}'),
        ("PATCH", "/customers/acme/instances/orders", b'{"config": {"size": %b}}'),
        ("PATCH", "/customers/acme/instances/orders", b'{"connections": {"erp": %b}}'),
    ]
    for method, path, body in requests:
        answer = await town.ask(method, path, "/admin", content=body % odd, headers=headers)
        assert answer.status_code in (200, 201, 400), answer.text
    assert (await town.ask("GET", "/customers/acme/instances/orders")).status_code == 200
    assert (await town.ask("GET", "/customers/acme/connections/erp")).status_code == 200
