"""`source = "openapi"`: the connector that a document describes. Each operation is an action."""

from __future__ import annotations

import difflib
import shutil
from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from turnout.connectors import (
    DESCRIPTIONS,
    Action,
    ActionContext,
    AfterCrash,
    Connector,
    ConnectorSource,
    Effect,
    Effects,
    Inputs,
)
from turnout.errors import SettingsError, UserError

from turnout_connectors.http import request
from turnout_connectors.http.inputs import Paginate
from turnout_connectors.openapi.document import Document, read
from turnout_connectors.openapi.inputs import ALL_PAGES, BODY, answer_of, shape_of
from turnout_connectors.openapi.operations import Operation, operations
from turnout_connectors.openapi.paging import guess
from turnout_connectors.openapi.requests import request_of
from turnout_connectors.openapi.schemas import Schemas
from turnout_connectors.openapi.security import Server, connection_types, server_of

__all__ = ["OpenApiSource"]

_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_REPEATABLE: Final = frozenset({"PUT", "DELETE"})
_ONCE: Final = frozenset({"POST", "PATCH"})
_SIZE: Final = 1024**3
_HeaderName = Annotated[str, Field(pattern=r"^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$")]


def _inside(document: str) -> str:
    path = PurePosixPath(document)
    if path.is_absolute() or path.parts[:1] != (DESCRIPTIONS,) or ".." in path.parts:
        raise ValueError(f"must be a file in the project's directory {DESCRIPTIONS}/, which is packaged with it")
    return document


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OperationOptions(_Options):
    """What the document does not say of one operation, or says wrongly."""

    name: str = Field(default="", pattern=r"^([a-z][a-z0-9_]*)?$")
    effect: Effect | None = None
    after_crash: AfterCrash | None = None
    idempotency_header: _HeaderName | None = None
    pagination: Paginate | Literal[False] | None = None


class Options(_Options):
    """`document` is a file in the project's directory `connectors/`. `only` are patterns of actions' names, all without it.
    `idempotency_header` is the header in which the API takes a key for requests that must not be done twice (POST and PATCH).
    `operations` are by name, or by `GET /pets`."""

    document: Annotated[str, AfterValidator(_inside)]
    title: str = ""
    base_url: str = Field(default="", pattern=r"^(https?://[^?#\s]+)?$")
    only: tuple[str, ...] = ()
    idempotency_header: _HeaderName | None = None
    operations: Mapping[str, OperationOptions] = Field(default_factory=dict)


class OpenApiSource(ConnectorSource):
    Options: ClassVar[type[BaseModel]] = Options

    @classmethod
    def connector(cls, name: str, options: Any, root: Path) -> Connector:
        given: Options = options
        try:
            document = read(root / given.document, given.document)
            return _connector(name, given, document)
        except SettingsError:
            raise
        except UserError as error:
            setting = f"connectors.{name}.document"
            raise SettingsError(f"{setting}: {error}", setting=setting) from error

    @classmethod
    def declare(cls, name: str, description: str, root: Path) -> Mapping[str, str]:
        source = Path(description)
        document = read(source)
        made = _connector(name, Options(document=f"{DESCRIPTIONS}/{name}"), document)
        if not made.actions:
            raise UserError(f"{description}: it has no operations")
        place = Path(DESCRIPTIONS) / f"{name}{source.suffix or '.json'}"
        if (root / place).resolve() != source.resolve():
            (root / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, root / place)
        return {"document": place.as_posix()}


def _connector(name: str, options: Options, document: Document) -> Connector:
    found = operations(document)
    _require_known(name, options.operations, {key for one in found for key in (one.name, one.key)})
    server = server_of(document, document.parts(document.data, "servers", ()), options.base_url)
    made = Connector(
        name,
        title=options.title or str(document.info.get("title") or name),
        description=str(document.info.get("description") or "").strip(),
        docs=str(document.part(document.data, "externalDocs", ()).get("url") or ""),
    )
    made.connections.update(connection_types(document, found, server))
    made.connection_required = not any(() in one.requirements for one in found)
    schemas = Schemas(document)
    for operation in found:
        one = options.operations.get(operation.name) or options.operations.get(operation.key) or OperationOptions()
        action = one.name or operation.name
        if options.only and not any(fnmatchcase(action, pattern) for pattern in options.only):
            continue
        if action in made.actions:
            raise document.fault(("operations", operation.key), f"there is an action {action!r} already")
        if one.idempotency_header is None and operation.method in _ONCE:
            one = one.model_copy(update={"idempotency_header": options.idempotency_header})
        made.actions[action] = _action(document, action, operation, one, schemas, server)
    return made


def _require_known(name: str, given: Iterable[str], known: Collection[str]) -> None:
    for one in given:
        if one not in known:
            setting = f"connectors.{name}.operations.{one}"
            near = difflib.get_close_matches(one, known, n=1)
            advice = f"did you mean {near[0]!r}?" if near else f"`turnout connectors show {name}` lists them"
            raise SettingsError(f"{setting}: the document has no such operation: {advice}", setting=setting)


def _action(
    document: Document,
    name: str,
    operation: Operation,
    options: OperationOptions,
    schemas: Schemas,
    server: Server,
) -> Action:
    paginate = guess(document, operation) if options.pagination is None else options.pagination or None
    shape = shape_of(operation, schemas, paged=paginate is not None)
    header = options.idempotency_header or shape.idempotency_header
    worst = _effects(operation, options, header)

    async def run(context: ActionContext, inputs: Inputs) -> Any:
        whole = paginate if paginate is not None and getattr(inputs, ALL_PAGES) else None
        base_url = None if context.connection is not None else server.filled({})
        answer = await request(
            context,
            request_of(
                operation,
                {place: getattr(inputs, field) for place, field in shape.fields.items()},
                getattr(inputs, BODY, None),
                base_url=base_url,
                idempotency_header=header if operation.method not in _READS else None,
                paginate=whole,
                max_bytes=_SIZE,
            ),
        )
        if operation.method == "HEAD":
            return {"status": answer["status"], "headers": answer["headers"]}
        parts = (answer["json"], answer["text"], answer["file"])
        return next((part for part in parts if part is not None), None)

    return Action(
        name=name,
        title=operation.title.rstrip("."),
        description=_description(operation),
        run=run,
        inputs=shape.model,
        output=answer_of(operation, schemas),
        effects=lambda inputs: worst,
        worst=worst,
        timeout_s=300.0,
        is_async=True,
    )


def _effects(operation: Operation, options: OperationOptions, header: str | None) -> Effects:
    """By RFC 9110, 9.2: safe methods read; PUT and DELETE may be repeated; others only with a key that the server knows."""
    effect = options.effect or (Effect.READ if operation.method in _READS else Effect.EFFECT)
    if effect is not Effect.EFFECT:
        return Effects(effect=effect)
    native = AfterCrash.NATIVE if header is not None else AfterCrash.NONE
    usual = AfterCrash.UPSERT if operation.method in _REPEATABLE else native
    return Effects(effect=effect, after_crash=options.after_crash or usual)


def _description(operation: Operation) -> str:
    parts = [operation.key, "Deprecated." if operation.deprecated else "", operation.description]
    return "\n\n".join(part for part in parts if part)
