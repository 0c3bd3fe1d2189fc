"""How flows verify and answer requests: schemes whose parts fit, secrets that a connection has, expressions over what is known."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import SecretStr

from turnout.definition.expressions_in import Written, texts
from turnout.definition.nearest import hint_for
from turnout.definition.places import Places, Way
from turnout.definition.schemes import scheme_said
from turnout.definition.webhook_grammar import METHODS
from turnout.errors import ExpressionError, Problem
from turnout.expressions import compile_template
from turnout.interfaces.connector import ConnectionType, Connector
from turnout.interfaces.schemes import SCHEMES, Scheme
from turnout.interfaces.signatures import Signature
from turnout.model.definition import Flow, Integration
from turnout.model.webhook import Answer, Hook, Respond, Verify

__all__ = ["WebhookChecks"]

_EARLY: Final = ("trigger", "config", "execution")
_AFTERWARDS: Final = ("output", "error")
_LONGEST_WAIT_S: Final = 300.0
_HEADER: Final = re.compile(r"[A-Za-z0-9-]{1,100}")
_OURS: Final = (
    "connection",
    "content-length",
    "date",
    "keep-alive",
    "proxy-authenticate",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
)
"""Headers that the server writes by itself: another's would break the connection."""

ConfigFault = Callable[[list[str]], tuple[str, str, str] | None]


class WebhookChecks:
    """Checks the triggers of one integration. `config_fault` says what is wrong with a reference to the config."""

    def __init__(
        self,
        integration: Integration,
        connectors: Mapping[str, Connector],
        places: Places,
        config_fault: ConfigFault,
    ) -> None:
        self._integration = integration
        self._connectors = connectors
        self._places = places
        self._config_fault = config_fault

    def check(self, flow: Flow) -> Iterator[Problem]:
        """The problems of how a flow verifies and answers requests."""
        hook = flow.trigger.hook
        if hook == Hook():
            return
        if hook.verify is not None:
            yield from self._verify(flow, hook.verify)
            yield from self._window(flow, hook.verify)
        yield from self._origins(flow, hook)
        for number, method in enumerate(hook.methods):
            if method not in METHODS:
                yield self._problem(flow, ("methods", number), f"no webhook takes the method {method!r}")
        if hook.respond is not None:
            yield from self._respond(flow, hook.respond)

    def _verify(self, flow: Flow, verify: Verify) -> Iterator[Problem]:
        try:
            scheme = scheme_said(verify)
        except ValueError as error:
            hint = hint_for(verify.scheme, (*SCHEMES, "hmac")) if verify.scheme not in (*SCHEMES, "hmac") else ""
            yield self._problem(flow, ("verify",), f"`verify`: {error}", hint)
            return
        name, slots = flow.trigger.connection, self._integration.connections
        if not name:
            if verify.scheme != "bearer":
                needed = " and ".join(f"`{field}`" for field in scheme.fields[: 2 if verify.scheme == "basic" else 1])
                hint = (
                    f"add `connection:` with one whose field {needed} holds the secret; a definition never holds it. "
                    "The connector `webhook` has such connections"
                )
                yield self._problem(flow, ("verify",), f"`verify`: {verify.scheme!r} needs a connection", hint)
        elif name not in slots:
            message = f"`verify`: there is no connection {name!r}"
            yield self._problem(flow, ("verify", "connection"), message, hint_for(name, slots))
        else:
            yield from self._fields(flow, verify, scheme, name)

    def _fields(self, flow: Flow, verify: Verify, scheme: Scheme, name: str) -> Iterator[Problem]:
        """Whether the connection can hold the secrets."""
        slot = self._integration.connections[name]
        connector = self._connectors.get(slot.connector)
        if connector is None or (slot.type and slot.type not in connector.connections):
            return  # told at the connection
        types = [connector.connections[slot.type]] if slot.type else list(connector.connections.values())
        known = {field for kind in types for field in kind.model_fields}
        for number, field in enumerate(verify.fields):
            if field not in known:
                message = f"`verify`: the connection {name!r} has no field {field!r}"
                yield self._problem(flow, ("verify", "fields", number), message, hint_for(field, sorted(known)))
        if not verify.fields and not any(_holds(kind, scheme.fields[:1]) for kind in types):
            secrets = sorted({field for kind in types for field in kind.model_fields if _is_secret(kind, field)})
            message = f"`verify`: the connection {name!r} has no field {scheme.fields[0]!r}"
            hint = hint_for("", secrets, there_are="name the one with the secret in `fields`:")
            yield self._problem(flow, ("verify", "connection"), message, hint)

    def _window(self, flow: Flow, verify: Verify) -> Iterator[Problem]:
        """A copy of a request counts as one execution only as long as `deduplicate` remembers it."""
        deduplicate = flow.limits.deduplicate
        try:
            proof = scheme_said(verify).proof
        except ValueError:
            return
        if deduplicate is None or not (isinstance(proof, Signature) and proof.is_timed):
            return
        yield from self._unsigned(flow, deduplicate.key, proof)
        if deduplicate.window_s < 2 * proof.tolerance_s:
            message = (
                f"`deduplicate` forgets after {deduplicate.window_s:g} s, and a signature is good for up to "
                f"{2 * proof.tolerance_s:g} s: a copy sent in between would run again"
            )
            ways: tuple[Way, ...] = (("limits", "deduplicate", "window"), ("limits", "deduplicate"), ("limits",))
            yield self._places.problem(
                f"flow {flow.name!r}: {message}", below=flow, ways=ways, hint="make `window` longer"
            )

    def _unsigned(self, flow: Flow, key: Any, proof: Signature) -> Iterator[Problem]:
        """Who sends a copy can change what is not signed, and then it is no copy any more."""
        signed = {"headers": proof.id.lower() or None, "query": "*" if "url}" in proof.signed else None}
        for written in texts(key, (("limits", "deduplicate", "key"), ("limits", "deduplicate"))):
            try:
                references = compile_template(written.text).references
            except ExpressionError:
                return  # told by the checks of limits
            for root, *rest in sorted(references):
                if root != "trigger" or not rest or rest[0] not in signed or signed[rest[0]] in ("*", *rest[1:2]):
                    continue
                message = (
                    f"`deduplicate` goes by trigger.{rest[0]}, which the sender does not sign: a copy may have another"
                )
                hint = "take something of the body, or leave `deduplicate` to the signature"
                yield self._places.problem(
                    f"flow {flow.name!r}: {message}", below=flow, ways=written.ways, hint=hint, severity="warning"
                )

    def _origins(self, flow: Flow, hook: Hook) -> Iterator[Problem]:
        for number, origin in enumerate(hook.cors):
            parts = urlsplit(origin)
            bare = f"{parts.scheme}://{parts.netloc}"
            if origin != "*" and (parts.scheme not in ("http", "https") or not parts.netloc or origin != bare):
                message = f"`cors`: {origin!r} is no origin"
                hint = "an origin is scheme, host and port, such as https://shop.example; * stands for all"
                yield self._problem(flow, ("cors", number), message, hint)

    def _respond(self, flow: Flow, respond: Respond) -> Iterator[Problem]:
        wait_s = respond.wait_s
        if wait_s is not None and not 0 < wait_s <= _LONGEST_WAIT_S:
            message = f"`respond`: `wait` is longer than nothing and at most {_LONGEST_WAIT_S / 60:g}m"
            yield self._problem(flow, ("respond", "wait"), message)
        later = ("failed", respond.failed), ("late", respond.late)
        for name, answer in later:
            if answer is not None and wait_s is None:
                message = f"`respond`: `{name}` is for answers that wait for the end"
                yield self._problem(flow, ("respond", name), message, "add `wait`, such as `wait: 10s`")
        ended = (*_EARLY, *_AFTERWARDS)
        yield from self._answer(flow, ("respond",), respond.answer, _EARLY if wait_s is None else ended)
        for name, answer in later:
            if answer is not None:
                yield from self._answer(flow, ("respond", name), answer, ended if name == "failed" else _EARLY)

    def _answer(self, flow: Flow, way: Way, answer: Answer, roots: tuple[str, ...]) -> Iterator[Problem]:
        status = answer.status
        if isinstance(status, int) and not 200 <= status <= 599:
            yield self._problem(flow, (*way, "status"), f"`status` must be from 200 to 599, not {status}")
        for name, text in answer.headers.items():
            if not _HEADER.fullmatch(name) or name.lower() in _OURS:
                yield self._problem(flow, (*way, "headers"), f"`respond`: the header {name!r} cannot be set")
            elif not re.fullmatch(r"[\x20-\x7e\t]*", text):
                message = f"`respond`: the header {name!r} must be printable ASCII on one line"
                yield self._problem(flow, (*way, "headers"), message)
        for key, data in (("status", status), ("headers", dict(answer.headers)), ("body", answer.body)):
            for written in texts(data, ((*way, key),)):
                yield from self._expression(flow, written, roots)

    def _expression(self, flow: Flow, written: Written, roots: tuple[str, ...]) -> Iterator[Problem]:
        who = f"flow {flow.name!r}: `respond`"
        kind = flow.trigger.type
        ways = tuple(whole for way in written.ways for whole in (("trigger", kind, *way), ("trigger", *way)))
        try:
            compiled = compile_template(written.text)
        except ExpressionError as error:
            text = f"{who}: {error.reason or error.message}"
            yield self._places.problem(text, below=flow, ways=ways, offset=error.offset, hint=error.hint)
            return
        for reference in sorted(compiled.references):
            if fault := self._fault(reference, roots):
                message, hint, bad = fault
                yield self._places.problem(f"{who}: {message}", below=flow, ways=ways, find=bad, hint=hint)

    def _fault(self, reference: tuple[str, ...], roots: tuple[str, ...]) -> tuple[str, str, str] | None:
        root, *rest = reference
        if root == "config":
            return self._config_fault(rest)
        if root in roots:
            return None
        if root in _AFTERWARDS:
            return f"{root!r} is not known yet", "add `wait`: the answer is then given at the end", root
        if root == "steps":
            return "steps are not seen here", "`output` is what the flow gives: a `stop` step's `output`", root
        return f"nothing is called {root!r} here", hint_for(root, roots), root

    def _problem(self, flow: Flow, way: Way, message: str, hint: str = "") -> Problem:
        kind = flow.trigger.type
        bare = tuple(part for part in way if not isinstance(part, int))
        ends = (way, bare, way[:-1], way[:1])
        ways = (*(whole for end in ends for whole in (("trigger", kind, *end), ("trigger", *end))), ("trigger",))
        return self._places.problem(f"flow {flow.name!r}: {message}", below=flow, ways=ways, hint=hint)


def _holds(kind: type[ConnectionType], names: tuple[str, ...]) -> bool:
    return all(name in kind.model_fields for name in names)


def _is_secret(kind: type[ConnectionType], name: str) -> bool:
    annotation: Any = kind.model_fields[name].annotation
    return annotation is SecretStr or SecretStr in getattr(annotation, "__args__", ())
