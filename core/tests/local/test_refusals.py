"""Requests that a failing backend keeps from being taken: the sender learns that, and who runs the server learns why."""

from __future__ import annotations

from typing import Any

import pytest
from turnout.errors import BackendError
from turnout.interfaces.service import Request, Response, Route
from turnout.local.asgi import application


async def _out_of_space(_: Request) -> Response:
    raise BackendError("/srv/payloads: content cannot be kept there: No space left on device")


async def test_the_reason_is_in_the_log_and_not_in_the_answer(caplog: pytest.LogCaptureFixture) -> None:
    app = application([Route(method="POST", path="/hooks/a", handle=_out_of_space)], request_bytes=1000)

    status, body = await answer(app, "POST", "/hooks/a")

    assert status == 503
    assert b"space" not in body
    assert "No space left on device" in caplog.text


async def answer(app: Any, method: str, path: str) -> tuple[int, bytes]:
    """What the ASGI application answers to a request without a body."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": [], "query_string": b"", "root_path": ""}
    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)
