"""Connection types, from the security schemes of a document and the addresses of its servers."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Final, Literal
from urllib.parse import urljoin

from pydantic import AfterValidator, Field, SecretStr, create_model, model_validator
from turnout.connectors import ConnectionType, Grant, OAuth2, OAuth2Provider

from turnout_connectors.http.connections import HttpConnection, header_text
from turnout_connectors.openapi.document import Document, Place
from turnout_connectors.openapi.naming import snake
from turnout_connectors.openapi.operations import Operation, Requirement

__all__ = ["Server", "connection_types", "server_of"]

_VARIABLE: Final = re.compile(r"\{([^{}]+)\}")
_PART: Final = r"^[A-Za-z0-9._~-]*$"
"""Nothing in it leads to another host than the document's."""
_OWN_FIELDS: Final = frozenset({"base_url", "client_id", "client_secret", "access_token", "authentication"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A part of the address that a customer says: `default` is empty where it must be said."""

    name: str
    default: str
    choices: tuple[str, ...]
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """`url` has `{name}` for each of the variables; empty where the document names no server."""

    url: str
    variables: tuple[Variable, ...] = ()

    def filled(self, given: Mapping[str, Any]) -> str | None:
        """The address, or None as long as a variable is missing."""
        values = {one.name: str(given.get(one.name) or one.default) for one in self.variables}
        if not self.url or not all(values.values()):
            return None
        return _VARIABLE.sub(lambda found: values.get(snake(found[1]), ""), self.url)


def server_of(document: Document, servers: Sequence[Any], base_url: str) -> Server:
    """The first that is named, `base_url` in its place where that is set."""
    if base_url:
        return Server(url=base_url)
    if document.version == "2.0":
        host = document.data.get("host")
        schemes = document.texts(document.data, "schemes", ()) or ["https"]
        scheme = "https" if "https" in schemes else schemes[0]
        return Server(url=f"{scheme}://{host}{document.data.get('basePath', '')}" if host else "")
    for number, one in enumerate(servers):
        at = ("servers", str(number))
        told = document.resolve(one, at)
        url = str(told.get("url", ""))
        if _VARIABLE.sub("x", url).startswith(("http://", "https://")):
            return Server(url=url, variables=tuple(_variables(document, told, url, at)))
    return Server(url="")


def _variables(document: Document, server: Mapping[str, Any], url: str, place: Place) -> Iterable[Variable]:
    told = document.part(server, "variables", place)
    for name in dict.fromkeys(_VARIABLE.findall(url)):
        at = (*place, "variables", name)
        one = document.part(told, name, at[:-1])
        yield Variable(
            name=snake(name),
            default=str(one.get("default", "")),
            choices=tuple(map(str, document.parts(one, "enum", at))),
            description=str(one.get("description") or f"The part {{{name}}} of {url}"),
        )


def connection_types(
    document: Document, operations: Iterable[Operation], server: Server
) -> dict[str, type[ConnectionType]]:
    """By name: one for each way in which some operation may be asked, the most used first; `none` has an address alone.

    A scheme that cannot be used here (mutual TLS) leaves out the ways that need it. `UserError` names a scheme that there is not.
    """
    schemes = _schemes(document)
    uses: dict[Requirement, int] = {(name,): 0 for name in schemes} if schemes is _USUAL else {}
    for operation in operations:
        for requirement in operation.requirements:
            uses[requirement] = uses.get(requirement, 0) + 1
    found: dict[str, type[ConnectionType]] = {}
    for requirement in sorted(uses, key=lambda one: (not one, -uses[one])):
        for scheme in requirement:
            if scheme not in schemes:
                raise document.fault(("security", scheme), "there is no security scheme of this name")
        for name, made in _types(document, requirement, schemes, server):
            found.setdefault(name, made)
    return found


_USUAL: Final[Mapping[str, Mapping[str, Any]]] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "basic": {"type": "http", "scheme": "basic"},
}
"""Of a document that says nothing of them, as many public ones do."""


def _schemes(document: Document) -> Mapping[str, Mapping[str, Any]]:
    if document.version == "2.0":
        where: Place = ()
        holder, key = document.data, "securityDefinitions"
    else:
        holder, key, where = document.components, "securitySchemes", ("components",)
    told = document.part(holder, key, where)
    if not told and document.version != "2.0":
        return _USUAL
    return {name: document.part(told, name, (*where, key)) for name in told}


def _types(
    document: Document, requirement: Requirement, schemes: Mapping[str, Mapping[str, Any]], server: Server
) -> Iterable[tuple[str, type[ConnectionType]]]:
    proofs: list[Proof] = []
    providers: list[tuple[str, OAuth2Provider]] = []
    for name in requirement:
        if schemes[name].get("type") == "oauth2":
            providers = list(_providers(document, schemes[name], server))
            proofs += (
                [] if providers else [Proof(field="token", kind="bearer", description=_description(schemes[name]))]
            )
        elif proof := _proof(name, schemes[name], alone=len(requirement) == 1):
            proofs.append(proof)
        else:
            return
    name = "_and_".join(snake(one) for one in requirement) or "none"
    title = f"{document.info.get('title', document.name)}: {name.replace('_', ' ')}"
    if not providers:
        yield name, _type(name, title, (_Proved,), tuple(proofs), server)
    for suffix, provider in providers:
        bases = (_Account, _Proved)
        whole = name if len(providers) == 1 else f"{name}_{suffix}"
        yield whole, _type(whole, title, bases, tuple(proofs), server, provider=provider)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """One secret of a connection, and where it goes: `name` is the header's, parameter's or cookie's."""

    field: str
    kind: Literal["bearer", "basic", "header", "query", "cookie"]
    name: str = ""
    description: str


def _proof(name: str, scheme: Mapping[str, Any], *, alone: bool) -> Proof | None:
    kind, description = scheme.get("type"), _description(scheme)
    own = snake(name) if snake(name) not in _OWN_FIELDS else f"{snake(name)}_key"
    http = str(scheme.get("scheme", "")).lower()
    if kind == "basic" or (kind == "http" and http == "basic"):
        return Proof(field="password", kind="basic", description=description or "The password")
    if kind == "openIdConnect" or (kind == "http" and http == "bearer"):
        return Proof(field="token" if alone else own, kind="bearer", description=description or "The token")
    place = str(scheme.get("in", ""))
    if kind == "apiKey" and place in {"header", "query", "cookie"}:
        return Proof(
            field="key" if alone else own,
            kind=place,  # type: ignore[arg-type]  # one of the three
            name=str(scheme.get("name", "")),
            description=description or f"The {place} {scheme.get('name', '')}",
        )
    return None


def _description(scheme: Mapping[str, Any]) -> str:
    return " ".join(str(scheme.get("description") or "").split())


def _providers(document: Document, scheme: Mapping[str, Any], server: Server) -> Iterable[tuple[str, OAuth2Provider]]:
    """For the flows that a platform can go through: where a person signs in, and where a client stands for itself."""
    place = ("oauth2",)
    flows = document.part(scheme, "flows", place) or {str(scheme.get("flow", "")): scheme}
    for name in ("authorizationCode", "accessCode", "clientCredentials", "application"):
        flow = flows.get(name)
        if not isinstance(flow, Mapping):
            continue
        base = server.filled({}) or ""
        code = name in {"authorizationCode", "accessCode"}
        try:
            yield (
                "account" if code else "client",
                OAuth2Provider(
                    token_url=urljoin(base, str(flow.get("tokenUrl", ""))),
                    authorization_url=urljoin(base, str(flow.get("authorizationUrl", ""))) if code else "",
                    scopes=tuple(document.part(flow, "scopes", (*place, name))),
                    grant=Grant.AUTHORIZATION_CODE if code else Grant.CLIENT_CREDENTIALS,
                ),
            )
        except ValueError:
            continue  # its URLs are none: a token that somebody has made is taken instead


class _Proved(HttpConnection):
    proofs: ClassVar[tuple[Proof, ...]] = ()
    server: ClassVar[Server]

    @model_validator(mode="before")
    @classmethod
    def _with_address(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or given.get("base_url"):
            return given
        url = cls.server.filled(given)
        return {**given, **({"base_url": url} if url else {})}

    @model_validator(mode="after")
    def _has_address(self) -> _Proved:
        if self.base_url is None:
            missing = [one.name for one in self.server.variables if not one.default]
            raise ValueError(
                f"base_url must be set{f', or {missing}' if missing else ''}: the document names no server"
            )
        return self

    def secrets(self) -> tuple[str, ...]:
        encoded = [self._basic()] if any(proof.kind == "basic" for proof in self.proofs) else []
        return (*super().secrets(), *encoded)

    def hosts(self) -> tuple[str, ...]:
        return _Address(base_url=self.base_url).hosts()

    def headers(self) -> Sequence[tuple[str, str]]:
        found = list(super().headers())
        cookies = []
        for proof in self.proofs:
            match proof.kind:
                case "bearer":
                    found.append(("Authorization", f"Bearer {self._secret(proof)}"))
                case "basic":
                    found.append(("Authorization", f"Basic {self._basic()}"))
                case "header":
                    found.append((proof.name, self._secret(proof)))
                case "cookie":
                    cookies.append(f"{proof.name}={self._secret(proof)}")
        return [*found, *([("Cookie", "; ".join(cookies))] if cookies else [])]

    def parameters(self) -> Sequence[tuple[str, str]]:
        return [(proof.name, self._secret(proof)) for proof in self.proofs if proof.kind == "query"]

    def _secret(self, proof: Proof) -> str:
        secret: SecretStr = getattr(self, proof.field)
        return secret.get_secret_value()

    def _basic(self) -> str:
        fields = self.model_dump()
        return b64encode(f"{fields['username']}:{fields['password'].get_secret_value()}".encode()).decode()


class _Address(HttpConnection):
    """A base URL alone."""


class _Account(OAuth2, HttpConnection):
    scopes: str = Field(
        default="", description="What is asked for, with spaces between; all that the document lists otherwise"
    )

    @classmethod
    def provider_of(cls, fields: Mapping[str, Any]) -> OAuth2Provider:
        provider = super().provider_of(fields)
        scopes = tuple(str(fields.get("scopes", "")).split())
        return replace(provider, scopes=scopes) if scopes else provider

    def headers(self) -> Sequence[tuple[str, str]]:
        return (("Authorization", f"Bearer {self.access_token.get_secret_value()}"), *super().headers())


def _type(
    name: str,
    title: str,
    bases: tuple[type[HttpConnection], ...],
    proofs: tuple[Proof, ...],
    server: Server,
    *,
    provider: OAuth2Provider | None = None,
) -> type[ConnectionType]:
    fields: dict[str, Any] = {}
    default = server.filled({})
    about = f"Another address than {default}" if default else "Where the API is"
    fields["base_url"] = (str | None, Field(default=None, description=about))
    for one in server.variables:
        kind: Any = Literal[one.choices] if one.choices else Annotated[str, Field(pattern=_PART)]
        fields[one.name] = (kind, Field(default=one.default, description=one.description))
    for proof in proofs:
        if proof.kind == "basic":
            fields["username"] = (str, Field(description="The user's name", pattern="^[^:]*$"))
        checked = SecretStr if proof.kind == "basic" else Annotated[SecretStr, AfterValidator(header_text)]
        fields[proof.field] = (checked, Field(description=proof.description))
    make: Any = create_model
    made = make(name, __base__=bases, __doc__=f"{title}.", **fields)
    made.proofs, made.server = proofs, server
    if provider is not None:
        made.provider = provider
    typed: type[ConnectionType] = made
    return typed
