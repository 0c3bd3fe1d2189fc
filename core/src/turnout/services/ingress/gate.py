"""Who may start a flow: the scheme of its trigger, the secrets of its connection, and the check of one request."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic import SecretStr

from turnout.definition.schemes import scheme_of
from turnout.engine.backends import Backends
from turnout.engine.connections import connect
from turnout.errors import StepError, Unauthenticated
from turnout.interfaces.connector import ConnectionType
from turnout.interfaces.schemes import Scheme
from turnout.interfaces.service import Request, Response
from turnout.interfaces.signatures import Basic, Certificate, Checking, Signature, Token
from turnout.masking import Mask
from turnout.model.definition import Trigger
from turnout.services.api_keys import ApiKeys, Role
from turnout.services.ingress.sns import Sns
from turnout.services.submission import Instance
from turnout.values import Value

__all__ = ["Gate", "KeyCheck", "Passage", "may_start", "open_gate"]

KeyCheck = Callable[[str, str], Awaitable[bool]]
"""Whether a text is one of the platform's API keys that may start executions of a customer."""

_MOST_CHARACTERS: Final = 200
_SEEN_BYTES: Final = 1024 * 1024
_BEARER: Final = re.compile(r"bearer +(\S+)", re.IGNORECASE)


def may_start(keys: ApiKeys) -> KeyCheck:
    """By API keys: one of the customer's, or of the organisation, that may operate."""

    async def check(text: str, customer: str) -> bool:
        principal = await keys.check(text)
        return principal is not None and principal.sees(customer) and principal.role.allows(Role.OPERATE)

    return check


@dataclass(slots=True, kw_only=True)
class Passage:
    """One request on its way in: `request` has a body that ends with the check, so whoever has read it to its end has what
    was proved. `Unauthenticated` comes out of the body's stream otherwise, and what was being stored of it is dropped."""

    request: Request
    content_id: str = ""
    """What stands for the signed content, once the body was read; empty where nothing or no time is signed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What a request must prove. `fields` are the connection's, as text; `url` is where senders reach the platform."""

    scheme: Scheme | None
    connection: ConnectionType | None
    fields: Mapping[str, str]
    url: str
    now: Callable[[], float]
    sns: Sns
    keys: Callable[[str], Awaitable[bool]] | None = None
    """Asks for one of the platform's API keys, where the scheme is `bearer` without a connection."""

    @property
    def private(self) -> tuple[str, ...]:
        """Headers that hold a credential."""
        proof = None if self.scheme is None else self.scheme.proof
        return (proof.header.lower(),) if isinstance(proof, Token) else ()

    def asked(self, request: Request) -> Response | None:
        """The answer to a handshake that needs no body."""
        return None if self.scheme is None or self.scheme.asked is None else self.scheme.asked(request, self.fields)

    async def seen(self, body: Value) -> Response | None:
        """The answer to a proved request that starts no execution. `Unauthenticated` if the proof is in the body, and is none."""
        if self.scheme is not None and isinstance(self.scheme.proof, Certificate):
            return await self.sns.check(body, self.fields.get(self.scheme.fields[0], ""))
        return None if self.scheme is None or self.scheme.seen is None else self.scheme.seen(body, self.fields)

    def kept(self, body: Value) -> Value:
        """The body without the secret, where that is what it proves itself by."""
        if self.scheme is None or self.scheme.proof is not None or not (secrets := self._secrets()):
            return body
        return Value.from_json(Mask(secrets).json(body.json))

    async def enter(self, request: Request) -> Passage:
        """Check what can be checked before the body is read. `Unauthenticated`, or `StepError` of kind `connection` if the
        secrets cannot be used."""
        proof = None if self.scheme is None else self.scheme.proof
        if self.keys is not None:
            found = _BEARER.fullmatch(request.headers.get("authorization", "").strip())
            if found is None or not await self.keys(found[1]):
                raise Unauthenticated("the header Authorization has no API key that may start this")
            return Passage(request=request)
        try:
            match proof:
                case Signature():
                    keys = proof.keys(self._secrets())
                    checking = proof.begin(request, self._sent_to(request), keys, self.now())
                    return _checked(request, checking, timed=proof.is_timed)
                case Basic():
                    name, *passwords = (self.fields.get(field, "") for field in self._names())
                    proof.check(request, [name, *filter(None, passwords)])
                case Token():
                    proof.check(request, self._secrets())
                case Certificate():
                    return Passage(request=_to_be_seen(request))
                case None if self.scheme is not None and self.scheme.seen is not None:
                    return Passage(request=_to_be_seen(request))
                case None:
                    pass
        except ValueError as error:
            raise StepError(f"the webhook cannot be verified: {error}", kind="connection", retryable=False) from None
        return Passage(request=request)

    def delivery(self, passage: Passage, body: Value | None) -> str:
        """The id under which the same delivery is one execution; empty if it has none."""
        kind, _, name = ("" if self.scheme is None else self.scheme.delivery).partition(":")
        given: Any = None
        if kind == "header":
            given = passage.request.headers.get(name.lower())
        elif kind == "body" and body is not None and (found := body.get(name)) is not None:
            given = found.load()
        if isinstance(given, str) and given:
            return (
                given
                if len(given) <= _MOST_CHARACTERS
                else hashlib.sha256(given.encode("utf-8", "replace")).hexdigest()
            )
        return passage.content_id

    def _names(self) -> tuple[str, ...]:
        return () if self.scheme is None else self.scheme.fields

    def _secrets(self) -> list[str]:
        return [self.fields[name] for name in self._names() if self.fields.get(name)]

    def _sent_to(self, request: Request) -> str:
        """The address as its sender knows it: a proxy in front of us may have another, and `Host` is the sender's to choose."""
        query = request.url.partition("?")[2]
        return f"{self.url.rstrip('/')}{request.path}{'?' if query else ''}{query}"


def _checked(request: Request, checking: Checking, *, timed: bool) -> Passage:
    passage = Passage(request=request)

    async def body() -> AsyncIterator[bytes]:
        async for chunk in request.body:
            checking.update(chunk)
            yield chunk
        content_id = checking.finish()
        passage.content_id = content_id if timed else ""

    passage.request = replace(request, body=body())
    return passage


def _to_be_seen(request: Request) -> Request:
    """A request whose proof is in its body: that is JSON, whatever it says, and no more of it than such messages have is read
    of a stranger."""

    async def body() -> AsyncIterator[bytes]:
        size = 0
        async for chunk in request.body:
            size += len(chunk)
            if size > _SEEN_BYTES:
                raise StepError(f"a body with its proof in it may have {_SEEN_BYTES:,} bytes", kind="too_large")
            yield chunk

    headers = {name: value for name, value in request.headers.items() if name != "content-encoding"}
    return replace(request, headers={**headers, "content-type": "application/json"}, body=body())


async def open_gate(
    backends: Backends, instance: Instance, trigger: Trigger, url: str, keys: KeyCheck | None, sns: Sns
) -> Gate:
    """The gate of a flow. `StepError` of kind `connection` says what is missing of its connection and never what is there."""
    scheme = scheme_of(trigger, backends.connectors)
    connection = None
    if trigger.connection:
        slot, tenant = trigger.connection, instance.tenant
        settings = await backends.instances.settings(tenant, instance.settings)
        written = await backends.instances.fields(tenant, settings, slot)
        connection = await connect(instance.integration, backends.connectors, backends.secret, slot, written)
    elif keys is not None and trigger.hook.verify is not None and trigger.hook.verify.scheme == "bearer":

        async def check(text: str) -> bool:
            return await keys(text, instance.tenant)

        return Gate(scheme=scheme, connection=None, fields={}, url=url, now=backends.clock.now, sns=sns, keys=check)
    return Gate(
        scheme=scheme, connection=connection, fields=_texts(connection), url=url, now=backends.clock.now, sns=sns
    )


def _texts(connection: ConnectionType | None) -> dict[str, str]:
    if connection is None:
        return {}
    values = {name: getattr(connection, name) for name in type(connection).model_fields}
    plain = {name: item.get_secret_value() if isinstance(item, SecretStr) else item for name, item in values.items()}
    return {name: item for name, item in plain.items() if isinstance(item, str)}
