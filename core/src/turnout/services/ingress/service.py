"""The ingress service: webhooks and callbacks, persisted before anything can refuse them."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import unquote

from turnout.codec import encode_event
from turnout.engine.backends import Backends
from turnout.engine.content import Content
from turnout.errors import NotFound, Overloaded, Paused, StepError, Unauthenticated
from turnout.interfaces.connector import TriggerEvent
from turnout.interfaces.journal import Row
from turnout.interfaces.queue import Queue
from turnout.interfaces.service import Needs, Request, Response, Route, Service
from turnout.model.definition import Flow
from turnout.model.duration import parse_duration
from turnout.model.events import Ended, Signalled
from turnout.model.execution import ExecutionRecord
from turnout.model.trace import TraceContext, trace_context
from turnout.model.webhook import Answer, Respond
from turnout.services.customers import LOCAL_TENANT
from turnout.services.ingress.answers import Answers, accepted, follow, json_answer, refused
from turnout.services.ingress.bodies import Place, Room, body_value, request_value
from turnout.services.ingress.browsers import METHODS, allowed, opened, preflight
from turnout.services.ingress.callbacks import CallbackUrls
from turnout.services.ingress.endings import Waiting
from turnout.services.ingress.gate import Gate, KeyCheck, open_gate
from turnout.services.ingress.sns import Fetch, Sns, fetch
from turnout.services.roots import root_of
from turnout.services.submission import Acceptance, Instance, Submission
from turnout.services.waiting import Endings
from turnout.values import NULL, Value

__all__ = ["Ingress"]

_log = logging.getLogger("turnout.ingress")
_LONGEST_WAIT_S: Final = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Taken:
    """A request that was accepted: with its execution, and what it waits for if it does."""

    instance: Instance
    flow: Flow
    acceptance: Acceptance
    trigger: Value
    ending: asyncio.Future[Ended] | None


class Ingress(Service):
    """`POST /hooks/<customer>/<instance>/<flow>` starts an execution: 202 with its id and where to follow it, once it is durable.
    Without the customer it is an instance of the project's own files. One that is paused answers 503 and when to come back.

    First the request is proved, as its trigger says (401), and while it is, nothing of it is kept; then it is written; then it
    is answered, as the trigger says. `?wait=30s` answers with the output instead, or 303 to the record when it takes longer or
    a newer one took its place. `keys` says whether a text is one of the platform's API keys for a customer.
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
        instance: Callable[[str, str], Awaitable[Instance]],
        recorded: Callable[[str], Awaitable[ExecutionRecord | None]],
        keys: KeyCheck | None = None,
        fetch: Fetch = fetch,
    ) -> None:
        self._backends = backends
        self._submission = submission
        self._queue = queue
        self._endings = endings
        self._callbacks = callbacks
        self._instance = instance
        self._waiting = Waiting(backends, recorded)
        self._answers = Answers(backends)
        self._keys = keys
        self._room = Room()
        self._sns = Sns(backends.clock.now, fetch)

    def routes(self) -> Sequence[Route]:
        # HEAD and OPTIONS first: a server may take HEAD for GET, and that would start an execution.
        methods = ("HEAD", "OPTIONS", *METHODS)
        paths = ("/hooks/{instance}/{flow}", "/hooks/{customer}/{instance}/{flow}")
        hooks = [Route(method=method, path=path, handle=self.hook) for path in paths for method in methods]
        callback = Route(method="POST", path="/callbacks/{execution}/{path}/{signature}", handle=self.callback)
        return [*hooks, callback]

    async def start(self) -> None:
        """Nothing runs on its own."""

    async def stop(self) -> None:
        self._endings.close()

    async def hook(self, request: Request) -> Response:
        try:
            instance = await self._instance(
                request.parameters.get("customer", LOCAL_TENANT), request.parameters["instance"]
            )
            flow = instance.integration.flows.get(request.parameters["flow"])
            if flow is None or not self._takes(flow):
                raise NotFound("webhook flow", request.parameters["flow"])
        except NotFound as error:
            return json_answer(404, {"error": str(error)})
        except Paused as error:
            return json_answer(503, {"error": str(error)}, {"retry-after": f"{error.retry_after_s:.0f}"})
        hook = flow.trigger.hook
        match request.method:
            case "OPTIONS":
                return preflight(request, hook)
            case "HEAD":
                return Response()
            case _:
                return opened(await self._hook(instance, flow, request), request, hook)

    def _takes(self, flow: Flow) -> bool:
        """Whether a request starts it: by a webhook, or a trigger of a connector that looks at requests."""
        connector, _, name = flow.trigger.type.partition(".")
        known = self._backends.connectors.get(connector)
        return flow.trigger.by_request and (not name or (known is not None and name in known.triggers))

    async def _hook(self, instance: Instance, flow: Flow, request: Request) -> Response:
        respond = flow.trigger.hook.respond
        wait_s = _wait_s(request.query.get("wait")) if respond is None else respond.wait_s
        if isinstance(wait_s, Response):
            return wait_s
        try:
            taken = await self._take(instance, flow, request, wait=wait_s is not None)
        except Unauthenticated as error:
            return json_answer(401, {"error": str(error)}, {"www-authenticate": _challenge(flow)})
        except StepError as error:
            if error.kind == "connection":
                _log.warning("instance %s, flow %s: %s", instance.name, flow.name, error.message)
            return refused(error)
        except Overloaded as error:
            return json_answer(503, {"error": str(error)}, {"retry-after": f"{error.retry_after_s:.0f}"})
        if isinstance(taken, Response):
            return taken
        return await (self._plain(taken, wait_s) if respond is None else self._respond(taken, respond))

    async def _take(self, instance: Instance, flow: Flow, request: Request, *, wait: bool) -> _Taken | Response:
        """Prove it, write it. A `Response` where it starts no execution."""
        trigger = flow.trigger
        gate = await open_gate(self._backends, instance, trigger, self._callbacks.base_url, self._keys, self._sns)
        if (answer := gate.asked(request)) is not None:
            return answer
        if request.method not in allowed(trigger.hook):
            methods = ", ".join((*allowed(trigger.hook), "HEAD", "OPTIONS"))
            return json_answer(405, {"error": f"this webhook takes {methods}"}, {"allow": methods})
        async with self._room.taking() as place:
            event = await self._trigger(instance, flow, gate, request, place)
            if isinstance(event, Response):
                return event
            acceptance, ending = await self._accept(instance, flow.name, event, _span(request), wait=wait)
        # What came is kept while its sender waits only where the answer is made of it.
        value = NULL if trigger.hook.respond is None else event.value
        return _Taken(instance=instance, flow=flow, acceptance=acceptance, trigger=value, ending=ending)

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
            taken = await accept()
            return taken, reserved.claim(taken.id)

    async def _plain(self, taken: _Taken, wait_s: float | None) -> Response:
        id = taken.acceptance.id
        if taken.ending is None or wait_s is None:
            return accepted(id, duplicate=taken.acceptance.duplicate)
        ended = await self._waiting.end(id, taken.ending, wait_s)
        if ended is None:
            return Response(status=303, headers={"location": follow(id)})
        return await self._answers.output(id, taken.instance.tenant, ended)

    async def _respond(self, taken: _Taken, respond: Respond) -> Response:
        """The answer that the flow describes."""
        id = taken.acceptance.id
        plain = accepted(id, duplicate=taken.acceptance.duplicate)
        if taken.ending is None or respond.wait_s is None:
            return await self._custom(taken, respond.answer, 202, None, plain)
        ended = await self._waiting.end(id, taken.ending, min(respond.wait_s, _LONGEST_WAIT_S))
        if ended is None:
            late = respond.late
            return plain if late is None else await self._custom(taken, late, 202, None, plain)
        output = await self._answers.output(id, taken.instance.tenant, ended)
        if ended.status.value == "succeeded":
            return await self._custom(taken, respond.answer, 200, ended, output)
        return output if respond.failed is None else await self._custom(taken, respond.failed, 500, ended, output)

    async def _custom(
        self, taken: _Taken, answer: Answer, status: int, ended: Ended | None, otherwise: Response
    ) -> Response:
        about = {
            "id": taken.acceptance.id,
            "status": "accepted" if ended is None else ended.status.value,
            "duplicate": taken.acceptance.duplicate,
        }
        return await self._answers.custom(answer, status, about, taken.instance, taken.trigger, ended, otherwise)

    async def _trigger(
        self, instance: Instance, flow: Flow, gate: Gate, request: Request, place: Place
    ) -> TriggerEvent | Response:
        """What the flow sees as `trigger`: made by the connector's trigger, or of the plain request."""
        passage = await gate.enter(request)
        content = Content(self._backends.payloads, instance.tenant)
        connector, _, name = flow.trigger.type.partition(".")
        if not name:
            body = await body_value(passage.request, content, place)
            if (answer := await gate.seen(body)) is not None:
                return answer
            value = request_value(request, gate.kept(body), gate.private)
            return TriggerEvent(value=value, deduplication_id=gate.delivery(passage, body))
        found = self._backends.connectors[connector].triggers[name]
        inputs = found.inputs.model_validate(dict(flow.trigger.options))
        if gate.scheme is None:
            return await found.receive(request, gate.connection, inputs)
        # The connector gets what was proved, so the body is read to its end before.
        file = await content.create(passage.request.body)
        body = await body_value(replace(request, body=content.open(file)), content, place)
        if (answer := await gate.seen(body)) is not None:
            return answer
        event = await found.receive(replace(request, body=content.open(file)), gate.connection, inputs)
        if isinstance(event, Response) or event.deduplication_id:
            return event
        return replace(event, deduplication_id=gate.delivery(passage, body))

    async def callback(self, request: Request) -> Response:
        """The body becomes the waiting step's output. The first callback counts; later ones are answered alike."""
        execution, path = request.parameters["execution"], unquote(request.parameters["path"])
        expected = self._callbacks.signature(execution, path)
        if not hmac.compare_digest(expected.encode(), request.parameters["signature"].encode()):
            return json_answer(404, {"error": "no such callback"})
        try:
            root, tenant = await root_of(self._backends.journal, execution)
        except NotFound:
            return json_answer(410, {"error": f"execution {execution} has ended; nobody waits for this callback"})
        content = Content(self._backends.payloads, tenant)
        try:
            async with self._room.taking() as place:
                value = await content.pack(request_value(request, await body_value(request, content, place)))
        except StepError as error:
            return refused(error)
        span = _span(request)
        sender = "" if span is None else span.traceparent
        event = Signalled(at=self._backends.clock.now(), path=path, value=value, traceparent=sender)
        if await self._backends.journal.signal(execution, Row(*encode_event(event))):
            self._backends.observe(execution, event)
        await self._queue.wake(root)
        return accepted(execution)


def _span(request: Request) -> TraceContext | None:
    """The sender's span, where it names one."""
    return trace_context(request.headers.get("traceparent", ""), request.headers.get("tracestate", ""))


def _challenge(flow: Flow) -> str:
    """What a 401 must say of how to prove oneself (RFC 9110, 11.6.1)."""
    verify = flow.trigger.hook.verify
    scheme = "" if verify is None else verify.scheme
    return {"basic": 'Basic realm="webhook", charset="UTF-8"', "bearer": "Bearer"}.get(scheme, "Signature")


def _wait_s(asked: str | None) -> float | Response | None:
    if asked is None:
        return None
    try:
        return min(parse_duration(asked), _LONGEST_WAIT_S)
    except ValueError as error:
        return json_answer(400, {"error": f"wait: {error}"})
