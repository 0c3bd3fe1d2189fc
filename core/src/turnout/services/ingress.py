"""The ingress service: webhooks and callbacks, persisted before anything can refuse them."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

from turnout.codec import encode_event
from turnout.engine.backends import Backends
from turnout.engine.connections import connect
from turnout.engine.content import Content
from turnout.engine.history import History
from turnout.errors import BackendError, NotFound, Overloaded, StepError
from turnout.interfaces.connector import TriggerEvent
from turnout.interfaces.journal import Row
from turnout.interfaces.queue import Queue
from turnout.interfaces.service import Needs, Request, Response, Route, Service
from turnout.model.duration import parse_duration
from turnout.model.events import Ended, Signalled
from turnout.model.execution import ExecutionRecord
from turnout.model.payload import INLINE_BYTES, File
from turnout.model.trace import TraceContext, trace_context
from turnout.services.debounced import DEBOUNCED
from turnout.services.roots import root_of
from turnout.services.submission import Acceptance, Instance, Submission
from turnout.services.waiting import Endings
from turnout.values import Value

__all__ = ["CallbackUrls", "Ingress"]

_JSON_BYTES = 100 * 1024 * 1024
_LONGEST_WAIT_S = 300.0
_LOOK_S = 0.03
_LOOK_RARER = 1.2
"""So an answer is late by a fifth of what the execution took at most, or a second."""
_PRIVATE_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key"})
_PRIVATE_QUERY = frozenset({"access_token", "api_key", "apikey", "client_secret", "password", "secret", "token"})
_CONTENT_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+(;[ \w.+=\"-]*)?", re.ASCII)
_METHODS = ("POST", "GET", "PUT", "PATCH", "DELETE")


class CallbackUrls:
    """Addresses that end a waiting step: signed, so that nobody can make one up.

    `base_url` may be set until the first execution runs: a server that takes a free port learns late where it is.
    """

    def __init__(self, base_url: str, key: bytes) -> None:
        self.base_url = base_url
        self._key = key

    def url(self, execution: str, path: str) -> str:
        return f"{self.base_url.rstrip('/')}/callbacks/{execution}/{quote(path, safe='')}/{self.signature(execution, path)}"

    def signature(self, execution: str, path: str) -> str:
        return hmac.digest(self._key, f"callback\0{execution}\0{path}".encode(), hashlib.sha256).hex()[:40]


class Ingress(Service):
    """`POST /hooks/<instance>/<flow>` starts an execution: 202 with its id and where to follow it, once it is durable.

    `?wait=30s` answers with the output instead, or 303 to the record when it takes longer or a newer one took its place.
    """

    name = "ingress"
    needs = Needs(call_s=_LONGEST_WAIT_S, bodies=True)

    def __init__(
        self,
        backends: Backends,
        submission: Submission,
        queue: Queue,
        endings: Endings,
        callbacks: CallbackUrls,
        instance: Callable[[str], Awaitable[Instance]],
        recorded: Callable[[str], Awaitable[ExecutionRecord | None]],
    ) -> None:
        self._backends = backends
        self._submission = submission
        self._queue = queue
        self._endings = endings
        self._callbacks = callbacks
        self._instance = instance
        self._recorded = recorded

    def routes(self) -> Sequence[Route]:
        hooks = [Route(method=method, path="/hooks/{instance}/{flow}", handle=self.hook) for method in _METHODS]
        callback = Route(method="POST", path="/callbacks/{execution}/{path}/{signature}", handle=self.callback)
        return [*hooks, callback]

    async def start(self) -> None:
        """Nothing runs on its own."""

    async def stop(self) -> None:
        self._endings.close()

    async def hook(self, request: Request) -> Response:
        wait_s = _wait_s(request.query.get("wait"))
        if isinstance(wait_s, Response):
            return wait_s
        try:
            instance = await self._instance(request.parameters["instance"])
            flow = instance.integration.flows.get(request.parameters["flow"])
            if flow is None or flow.trigger.type in ("schedule", "call"):
                raise NotFound("webhook flow", request.parameters["flow"])
            trigger = await self._trigger(instance, flow.name, request)
            if isinstance(trigger, Response):
                return trigger
            accepted, ending = await self._accept(instance, flow.name, trigger, _span(request), wait=wait_s is not None)
        except NotFound as error:
            return _json(404, {"error": str(error)})
        except StepError as error:
            return _refused(error)
        except Overloaded as error:
            return _json(503, {"error": str(error)}, {"retry-after": f"{error.retry_after_s:.0f}"})
        if ending is None or wait_s is None:
            return _accepted(accepted.id, duplicate=accepted.duplicate)
        return await self._answer(accepted.id, instance.tenant, ending, wait_s)

    async def _accept(
        self, instance: Instance, flow: str, event: TriggerEvent, span: TraceContext | None, *, wait: bool
    ) -> tuple[Acceptance, asyncio.Future[Ended] | None]:
        async def accept() -> Acceptance:
            same = event.deduplication_id
            return await self._submission.accept(instance, flow, event.value, deduplication_id=same, span=span)

        if not wait:
            return await accept(), None
        # Whoever waits must be known before the execution can end.
        with self._endings.reserving() as reserved:
            accepted = await accept()
            return accepted, reserved.claim(accepted.id)

    async def _answer(self, id: str, tenant: str, ending: asyncio.Future[Ended], wait_s: float) -> Response:
        try:
            async with asyncio.timeout(wait_s):
                ended = await self._ended(id, ending)
        except (TimeoutError, asyncio.CancelledError):
            # Too long, or this service stops, which cancels what is waited for. If the sender has gone, so has the request.
            stopping = ending.cancelled()
            ending.cancel()
            if not stopping and (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            return Response(status=303, headers={"location": f"/api/executions/{id}"})
        if ended.error is not None and ended.error.kind == DEBOUNCED:
            return Response(status=303, headers={"location": f"/api/executions/{id}"})
        if ended.status.value != "succeeded":
            error = {"kind": ended.error.kind, "message": ended.error.message} if ended.error else None
            return _json(500, {"execution": id, "status": ended.status.value, "error": error})
        content = Content(self._backends.payloads, tenant)
        value = await content.unpack(ended.output) if ended.output is not None else Value(None)
        headers = {"turnout-execution": id}
        data = value.load() if value.files else None
        if isinstance(data, File):
            kind = data.content_type if _CONTENT_TYPE.fullmatch(data.content_type) else "application/octet-stream"
            return Response(headers={**headers, "content-type": kind}, body=content.open(data))
        return Response(headers={**headers, "content-type": "application/json"}, body=value.json)

    async def _ended(self, id: str, ending: asyncio.Future[Ended]) -> Ended:
        """The end: told here, or, where another process runs the execution, looked for in the journal, ever more rarely,
        and in the records once the journal has forgotten it. `TimeoutError` if neither has it: a person resumed it."""
        pause = _LOOK_S
        while True:
            done, _ = await asyncio.wait([ending], timeout=pause)
            if done:
                return ending.result()
            pause = min(_LOOK_RARER * pause, 1.0)
            try:
                rows = await self._backends.journal.rows(id)
                if not rows:
                    return await self._end_in_records(id)
            except BackendError:
                continue  # it is accepted already: an outage only delays the answer
            if (found := History.of(rows).ended) is not None:
                return found

    async def _end_in_records(self, id: str) -> Ended:
        record = await self._recorded(id)
        if record is None or record.ended_at is None:
            raise TimeoutError
        return Ended(at=record.ended_at, status=record.status, output=record.output, error=record.error)

    async def _trigger(self, instance: Instance, flow: str, request: Request) -> TriggerEvent | Response:
        """What the flow sees as `trigger`: made by the connector's trigger, or of the plain request."""
        trigger = instance.integration.flows[flow].trigger
        connector, _, name = trigger.type.partition(".")
        if not name:
            body = await body_value(request, Content(self._backends.payloads, instance.tenant))
            return TriggerEvent(value=_webhook(request, body))
        backends = self._backends
        found = backends.connectors[connector].triggers[name]
        connection = None
        if trigger.connection:
            slot, tenant = trigger.connection, instance.tenant
            settings = await backends.instances.settings(tenant, instance.settings)
            written = await backends.instances.fields(tenant, settings, slot)
            connection = await connect(instance.integration, backends.connectors, backends.secret, slot, written)
        return await found.receive(request, connection, found.inputs.model_validate(dict(trigger.options)))

    async def callback(self, request: Request) -> Response:
        """The body becomes the waiting step's output. The first callback counts; later ones are answered alike."""
        execution, path = request.parameters["execution"], unquote(request.parameters["path"])
        expected = self._callbacks.signature(execution, path)
        if not hmac.compare_digest(expected.encode(), request.parameters["signature"].encode()):
            return _json(404, {"error": "no such callback"})
        try:
            root, tenant = await root_of(self._backends.journal, execution)
        except NotFound:
            return _json(410, {"error": f"execution {execution} has ended; nobody waits for this callback"})
        content = Content(self._backends.payloads, tenant)
        try:
            value = await content.pack(_webhook(request, await body_value(request, content)))
        except StepError as error:
            return _refused(error)
        span = _span(request)
        sender = "" if span is None else span.traceparent
        event = Signalled(at=self._backends.clock.now(), path=path, value=value, traceparent=sender)
        if await self._backends.journal.signal(execution, Row(*encode_event(event))):
            self._backends.observe(execution, event)
        await self._queue.wake(root)
        return _accepted(execution)


def _span(request: Request) -> TraceContext | None:
    """The sender's span, where it names one."""
    return trace_context(request.headers.get("traceparent", ""), request.headers.get("tracestate", ""))


def _webhook(request: Request, body: Value) -> Value:
    """What expressions see of a request. Credentials of the sender are not kept."""
    headers = {name: "***" if name in _PRIVATE_HEADERS else value for name, value in request.headers.items()}
    query = {
        name: "***" if name.lower() in _PRIVATE_QUERY else value
        for name, value in request.query.items()
        if name != "wait"
    }
    return Value({"body": body, "headers": headers, "query": query, "method": request.method})


async def body_value(request: Request, content: Content) -> Value:
    """A request's body by its content type: JSON as it is, a form as an object, text as text, else a file.

    What says it is JSON and is not comes as text: refusing it would lose it.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        return _parsed(await _read(request, _JSON_BYTES))
    file = await content.create(request.body, content_type=kind or "application/octet-stream")
    if file.size == 0:
        return Value(None)
    if file.size <= INLINE_BYTES and (kind.startswith("text/") or kind in ("", "application/x-www-form-urlencoded")):
        try:
            text = (file.data or b"").decode()
        except UnicodeDecodeError:
            return Value(file)
        if kind == "application/x-www-form-urlencoded":
            return Value(dict(parse_qsl(text, keep_blank_values=True)))
        return _parsed(text.encode()) if not kind else Value(text)
    return Value(file)


def _parsed(data: bytes) -> Value:
    if not data.strip():
        return Value(None)
    try:
        return Value.parse(data)
    except StepError:
        return Value(data.decode(errors="replace"))


async def _read(request: Request, limit: int) -> bytes:
    chunks, size = [], 0
    async for chunk in request.body:
        chunks.append(chunk)
        size += len(chunk)
        if size > limit:
            raise StepError(
                f"a JSON body may have {limit:,} bytes; send larger content as a file (another type)", kind="too_large"
            )
    return b"".join(chunks)


def _wait_s(asked: str | None) -> float | Response | None:
    if asked is None:
        return None
    try:
        return min(parse_duration(asked), _LONGEST_WAIT_S)
    except ValueError as error:
        return _json(400, {"error": f"wait: {error}"})


def _refused(error: StepError) -> Response:
    """What the sender did wrong; a connection that cannot be used is not its fault, and it may send again."""
    status = {"too_large": 413, "connection": 503}.get(error.kind, 400)
    return _json(status, {"error": error.message if status != 503 else "not accepted, send it again"})


def _accepted(id: str, *, duplicate: bool = False) -> Response:
    where = f"/api/executions/{id}"
    said = {"execution": id, "follow": where, **({"duplicate": True} if duplicate else {})}
    return _json(202, said, {"location": where})


def _json(status: int, data: Any, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        status=status,
        headers={"content-type": "application/json", **(headers or {})},
        body=json.dumps(data, ensure_ascii=False).encode(),
    )
