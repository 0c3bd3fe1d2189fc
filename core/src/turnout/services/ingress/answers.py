"""What senders are told: plain answers, and those that a flow's `respond` describes."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from typing import Any, Final

from turnout.engine.backends import Backends
from turnout.engine.content import Content
from turnout.engine.frame import Frame, Renderer
from turnout.errors import ExpressionError, StepError, TurnoutError
from turnout.expressions import compile_template
from turnout.interfaces.service import Response
from turnout.model.events import Ended
from turnout.model.payload import File
from turnout.model.webhook import Answer
from turnout.services.submission import Instance
from turnout.values import NULL, Value

__all__ = ["Answers", "accepted", "follow", "json_answer", "refused"]

_log = logging.getLogger("turnout.ingress")
_CONTENT_TYPE: Final = re.compile(r"[\w.+-]+/[\w.+-]+(;[ \w.+=\"-]*)?", re.ASCII)
_HEADER_TEXT: Final = re.compile(r"[\x20-\x7e\t]*")
_BODILESS: Final = (204, 304)


def json_answer(status: int, data: Any, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        status=status,
        headers={"content-type": "application/json", **(headers or {})},
        body=json.dumps(data, ensure_ascii=False).encode("utf-8", "replace"),
    )


def follow(id: str) -> str:
    """Where an execution's record is."""
    return f"/api/v1/executions/{id}"


def accepted(id: str, *, duplicate: bool = False) -> Response:
    said = {"execution": id, "follow": follow(id), **({"duplicate": True} if duplicate else {})}
    return json_answer(202, said, {"location": follow(id)})


def refused(error: StepError) -> Response:
    """What the sender did wrong; a connection that cannot be used is not its fault, and it may send again."""
    status = {"too_large": 413, "connection": 503}.get(error.kind, 400)
    return json_answer(status, {"error": error.message if status != 503 else "not accepted, send it again"})


class Answers:
    """Makes answers of what an execution began with and came to."""

    def __init__(self, backends: Backends) -> None:
        self._backends = backends

    async def output(self, id: str, tenant: str, ended: Ended) -> Response:
        """The plain answer once an execution has ended: its output, or its error."""
        if ended.status.value != "succeeded":
            error = {"kind": ended.error.kind, "message": ended.error.message} if ended.error else None
            return json_answer(500, {"execution": id, "status": ended.status.value, "error": error})
        content = Content(self._backends.payloads, tenant)
        value = await content.unpack(ended.output) if ended.output is not None else Value(None)
        headers = {"turnout-execution": id}
        data = value.load() if value.files else None
        if isinstance(data, File):
            return Response(headers={**headers, **_file_headers(data)}, body=content.open(data))
        return Response(headers={**headers, "content-type": "application/json"}, body=value.json)

    async def custom(
        self,
        answer: Answer,
        status: int,
        about: Mapping[str, Any],
        instance: Instance,
        trigger: Value,
        ended: Ended | None,
        otherwise: Response,
    ) -> Response:
        """The answer that a flow describes; `otherwise` if it cannot be made of what came, which is told in the log: what is
        accepted stays accepted, and the sender must not take it for refused."""
        try:
            return await self._custom(answer, status, about, instance, trigger, ended)
        except (TurnoutError, ValueError) as error:
            where = f"instance {instance.name}, execution {about['id']}"
            # Of what was evaluated only the kind is told: the message may quote what was sent.
            kind = error.kind if isinstance(error, StepError) else type(error).__name__
            _log.warning("%s: `respond` gives no answer (%s), the plain one is sent", where, kind)
            return otherwise

    async def _custom(
        self,
        answer: Answer,
        status: int,
        about: Mapping[str, Any],
        instance: Instance,
        trigger: Value,
        ended: Ended | None,
    ) -> Response:
        content = Content(self._backends.payloads, instance.tenant)
        renderer = Renderer(content, self._backends.key, str(about["id"]), _no_callback)
        frame = await self._frame(content, about, instance, trigger, ended)

        async def render(written: Any) -> Value:
            return await renderer.render(compile_template(written), frame, "respond", self._backends.clock.now())

        if answer.status is not None:
            status = _status((await render(answer.status)).load())
        headers = {"turnout-execution": str(about["id"])}
        headers |= {name: _header((await render(text)).load()) for name, text in answer.headers.items()}
        body = await render(answer.body)
        return _response(status, headers, body, content)

    async def _frame(
        self, content: Content, about: Mapping[str, Any], instance: Instance, trigger: Value, ended: Ended | None
    ) -> Frame:
        settings = await self._backends.instances.settings(instance.tenant, instance.settings)
        roots: dict[str, Value | Mapping[str, Value]] = {
            "trigger": trigger,
            "config": Value(dict(settings.config)),
            "execution": Value(dict(about)),
            "output": NULL,
            "error": NULL,
        }
        if ended is not None and ended.output is not None:
            roots["output"] = await content.unpack(ended.output)
        if ended is not None and ended.error is not None:
            roots["error"] = Value({"kind": ended.error.kind, "message": ended.error.message, "step": ended.error.step})
        return Frame(roots, {})


def _response(status: int, headers: dict[str, str], body: Value, content: Content) -> Response:
    if status in _BODILESS:
        return Response(status=status, headers=headers)
    data = body.load() if body.files else None
    if isinstance(data, File):
        return Response(status=status, headers={**_file_headers(data), **headers}, body=content.open(data))
    plain = body.load()
    if plain is None:
        return Response(status=status, headers=headers)
    if isinstance(plain, str):
        kind = {"content-type": "text/plain; charset=utf-8", "x-content-type-options": "nosniff"}
        return Response(status=status, headers={**kind, **headers}, body=plain.encode("utf-8", "replace"))
    return Response(status=status, headers={"content-type": "application/json", **headers}, body=body.json)


def _file_headers(file: File) -> dict[str, str]:
    """Its type as far as it can stand in a header; it may be what a stranger sent, so no browser is to guess another."""
    kind = file.content_type if _CONTENT_TYPE.fullmatch(file.content_type) else "application/octet-stream"
    return {"content-type": kind, "x-content-type-options": "nosniff"}


def _status(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value) or not 200 <= value <= 599:
        raise ValueError("a status is a whole number from 200 to 599")
    return int(value)


def _header(value: Any) -> str:
    """Text that ends no header and begins no other."""
    text = value if isinstance(value, str) else json.dumps(value)
    if not _HEADER_TEXT.fullmatch(text):
        raise ValueError("a header's text is printable ASCII on one line")
    return text


def _no_callback(_prefix: str, _id: str) -> str:
    raise ExpressionError("no step waits for a callback here")
