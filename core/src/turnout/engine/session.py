"""One execution in this process: its journal, history, values, sandboxes and connections in one place."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from turnout.engine.backends import Backends, Bundle, InstanceSettings
from turnout.engine.connections import connect
from turnout.engine.content import Content
from turnout.engine.egress import Reach, Secrecy, hosts_of, no_broker, reach_of
from turnout.engine.frame import Frame, Renderer
from turnout.engine.history import History
from turnout.engine.lanes import Lanes
from turnout.engine.pen import Pen
from turnout.engine.plan import FlowPlan
from turnout.engine.resources import Resources
from turnout.engine.running import Running
from turnout.engine.tracing import ExecutionTrace
from turnout.errors import SettingsError, StepError
from turnout.interfaces.connector import ConnectionType
from turnout.masking import Mask
from turnout.model.events import Event, Isolated, Logged, StepEnded
from turnout.model.execution import ErrorInfo, ExecutionInfo, StepStatus
from turnout.model.payload import Encoded
from turnout.values import NULL, Value

__all__ = ["Session"]


class Session:
    """What the steps of one execution share. `held` says whether the worker must let go of the execution: steps that are
    cancelled then write nothing."""

    def __init__(
        self,
        backends: Backends,
        resources: Resources,
        *,
        info: ExecutionInfo,
        history: History,
        plan: FlowPlan,
        bundle: Bundle,
        settings: InstanceSettings,
        token: int,
        worker: str,
        held: Running,
    ) -> None:
        self.backends = backends
        self.resources = resources
        self.info = info
        self.history = history
        self.plan = plan
        self.bundle = bundle
        self.token = token
        self.worker = worker
        self.held = held
        self.scope = held.scope or info.id
        self._secrets: tuple[str, ...] = ()
        self.mask = _mask(self._secrets)
        self.trace = ExecutionTrace(backends.tracing, history, plan)
        self.content = Content(backends.payloads, info.tenant)
        self.pen = Pen(
            backends.journal,
            info.id,
            token,
            observe=backends.observe if backends.tracing is None else self._observe,
            strict=backends.settings.strict,
            log_lines=backends.settings.log_lines,
        )
        self.renderer = Renderer(
            self.content,
            backends.key,
            info.id,
            lambda prefix, id: backends.callback_url(info.id, plan.path_of(id, prefix)),
        )
        self.lanes = Lanes(
            backends.sandbox, info.tenant, bundle.code, backends.settings.limits, backends.settings.lanes
        )
        self._settings = settings
        self._connections: dict[str, tuple[Mapping[str, Any] | None, ConnectionType]] = {}
        self._reaches: dict[tuple[str, ...], tuple[Sequence[ConnectionType], Reach]] = {}

    def _observe(self, execution: str, event: Event) -> None:
        self.backends.observe(execution, event)
        self.trace.observe(event)

    def now(self) -> float:
        return self.backends.clock.now()

    async def frame(self) -> Frame:
        """What the flow's first step sees."""
        info = self.info
        about = {
            "id": info.id,
            "integration": info.integration,
            "version": info.version,
            "flow": info.flow,
            "instance": info.instance,
            "customer": info.tenant,
            "created_at": info.created_at,
            "parent": info.parent or None,
        }
        roots: dict[str, Value | Mapping[str, Value]] = {
            "trigger": await self.content.unpack(info.trigger),
            "config": Value(dict(self._settings.config)),
            "execution": Value(about),
        }
        return Frame(roots, dict.fromkeys(self.plan.ids, NULL))

    def idempotency_key(self, path: str) -> str:
        """HMAC over tenant, execution and step path with its items, without the attempt: the same for every attempt in
        every process, telling nothing about what it was made of. A sub-execution counts by the call that it stands for,
        which may be tried again as well."""
        text = "\0".join(("effect", self.info.tenant, self.scope, path))
        return hmac.digest(self.backends.key, text.encode(), hashlib.sha256).hex()

    async def connection(self, slot: str) -> ConnectionType:
        """The instance's connection, its references resolved, its secrets masked from now on.

        `StepError` of kind `connection` says what is missing and never what is there.
        """
        backends = self.backends
        written = await backends.instances.fields(self.info.tenant, self._settings, slot)
        known = self._connections.get(slot)
        if known is not None and known[0] is written:
            return known[1]
        made = await connect(self.bundle.integration, backends.connectors, backends.secret, slot, written)
        self._secrets += made.secrets()
        self.mask = _mask(self._secrets)
        self._connections[slot] = (written, made)
        return made

    async def reach(self, connections: tuple[str, ...]) -> Reach:
        """What code that uses these connections may reach. `StepError` says why it must not run: of kind `sandbox`,
        `connection` or `config`."""
        try:
            self.backends.admit(self.info.tenant)
        except SettingsError as error:
            raise StepError(str(error), kind="sandbox", retryable=False) from error
        if connections and not self.backends.sandbox.brokers:
            raise StepError(no_broker(connections, "this worker's sandbox"), kind="connection", retryable=False)
        used = {name: await self.connection(name) for name in connections}
        known = self._reaches.get(connections)
        if known is not None and all(one is other for one, other in zip(known[0], used.values(), strict=True)):
            return known[1]
        try:
            hosts = hosts_of(self.bundle.integration, self._settings.config)
        except SettingsError as error:
            raise StepError(str(error), kind="config", retryable=False) from error
        secrecy = Secrecy(self.backends.key, self.info.tenant, self.info.id)
        reach = reach_of(hosts, used, secrecy.placeholder)
        self._reaches[connections] = (tuple(used.values()), reach)
        return reach

    def failure(self, error: StepError, path: str) -> ErrorInfo:
        """What may be kept and shown of an error."""
        details = self._details(error)
        return ErrorInfo(
            kind=error.kind,
            message=self.mask.text(error.message),
            step=path,
            stack=self.mask.text(error.stack),
            details=details,
        )

    def _details(self, error: StepError) -> Encoded | None:
        """Details are for people: what is too large, or no JSON, is left out, and the error still told."""
        if error.details is None:
            return None
        try:
            small = self.content.small(Value(error.details))
        except (StepError, TypeError, ValueError):
            return None
        return small and Encoded(json=self.mask.json(small.json), files=small.files)

    def log(self, path: str, level: str, message: str, at: float | None = None) -> None:
        """A line for the execution's log, secrets masked; it rides with the next row."""
        self.pen.log(
            Logged(at=self.now() if at is None else at, level=level, message=self.mask.text(message), path=path)
        )

    def leave_sandboxes(self) -> None:
        """Note what the sandboxes were and used; it rides with the row that ends, parks or suspends the execution."""
        now = self.now()
        for receipt in self.lanes.receipts():
            self.pen.note(Isolated(at=now, receipt=receipt))

    def end_waits(self) -> None:
        """Note the end of steps that still wait as the execution ends: nobody waits for them any more."""
        now = self.now()
        for path, wait in self.history.waits.items():
            if path and path not in self.history.ends:
                started = wait.started_at or wait.at
                self.pen.note(
                    StepEnded(
                        at=now,
                        path=path,
                        kind="wait",
                        status=StepStatus.CANCELLED,
                        started_at=started,
                        duration_ms=(now - started) * 1000,
                    )
                )

    def describe(self, path: str, attempt: int) -> Mapping[str, object]:
        """What customers' code may know about where it runs."""
        info = self.info
        about: dict[str, object] = {
            "execution": info.id,
            "step": path,
            "attempt": attempt,
            "integration": info.integration,
            "version": info.version,
            "flow": info.flow,
            "instance": info.instance,
        }
        span = self.trace.context(path, attempt)
        if span is not None:
            about |= span.headers
        return about


@lru_cache(maxsize=256)
def _mask(secrets: tuple[str, ...]) -> Mask:
    """Executions of one instance share a mask: making one costs more than most steps."""
    return Mask(secrets)
