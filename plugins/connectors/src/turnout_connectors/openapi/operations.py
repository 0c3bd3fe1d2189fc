"""The operations of a document, whatever its version, in one form."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from turnout_connectors.openapi.document import Document, Place
from turnout_connectors.openapi.naming import name_of, unique

__all__ = ["METHODS", "Operation", "Parameter", "Payload", "Requirement", "operations"]

_TAG: Final = re.compile(r"</?[A-Za-z][^>]*>")
_TITLE: Final = 80
METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch")

Requirement = tuple[str, ...]
"""Names of security schemes that a request needs together; none: nothing is needed."""
PayloadKind = Literal["json", "form", "multipart", "raw"]
_ORDER: Final[Sequence[PayloadKind]] = ("json", "form", "multipart", "raw")
_STYLES: Final = {"path": "simple", "query": "form", "header": "simple", "cookie": "form"}
_COLLECTIONS: Final = {
    "csv": ("form", False),
    "ssv": ("spaceDelimited", False),
    "tsv": ("tabDelimited", False),
    "pipes": ("pipeDelimited", False),
    "multi": ("form", True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """`place` is `path`, `query`, `header` or `cookie`; `style` and `explode` as OpenAPI 3 has them; `as_json`: its value is
    written as JSON."""

    name: str
    place: str
    required: bool
    schema: Mapping[str, Any]
    description: str
    style: str
    explode: bool
    as_json: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """The body of a request. A `raw` one is text or a file. `deep` are the fields of a form whose objects are written with
    brackets, `metadata[colour]`."""

    kind: PayloadKind
    content_type: str
    schema: Mapping[str, Any]
    required: bool
    description: str
    deep: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """`key` is `GET /pets`. `requirements` are alternatives. `answer` is the schema of what it gives, None where it is no JSON
    or nothing is said. `headers` are names of an answer's headers, in lower case."""

    key: str
    name: str
    method: str
    path: str
    title: str
    description: str
    deprecated: bool
    parameters: tuple[Parameter, ...]
    payload: Payload | None
    answer: Mapping[str, Any] | None
    headers: frozenset[str]
    requirements: tuple[Requirement, ...]
    servers: Sequence[Any]


def operations(document: Document) -> list[Operation]:
    """All of them in the document's order, each with a name of its own. `UserError` names the place that is wrong."""
    found = [
        (method, path, place, document.resolve(told, place), shared)
        for path, place, item, shared in _paths(document)
        for method, told in item.items()
        if method in METHODS
        for place in [(*place, method)]
    ]
    names = unique(
        (name_of(str(told.get("operationId") or ""), method, path), method, path) for method, path, _, told, _ in found
    )
    return [
        _operation(document, name, method, path, place, told, shared)
        for name, (method, path, place, told, shared) in zip(names, found, strict=True)
    ]


def _paths(document: Document) -> Iterator[tuple[str, Place, Mapping[str, Any], Mapping[str, Any]]]:
    for path, told in document.part(document.data, "paths", ()).items():
        if path.startswith("x-"):
            continue
        place = ("paths", path)
        item = document.resolve(told, place)
        yield path, place, item, item


def _operation(
    document: Document,
    name: str,
    method: str,
    path: str,
    place: Place,
    told: Mapping[str, Any],
    item: Mapping[str, Any],
) -> Operation:
    read = _read_swagger if document.version == "2.0" else _read_openapi
    parameters, payload = read(document, place, told, item)
    answer, headers = _answer(document, place, told)
    return Operation(
        key=f"{method.upper()} {path}",
        name=name,
        method=method.upper(),
        path=path,
        title=_line(told.get("summary")) or _line(told.get("description")) or f"{method.upper()} {path}",
        description=str(told.get("description") or "").strip(),
        deprecated=told.get("deprecated") is True,
        parameters=tuple(parameters),
        payload=payload,
        answer=answer,
        headers=headers,
        requirements=_requirements(document, place, told),
        servers=document.parts(told, "servers", place)
        or document.parts(item, "servers", place[:-1])
        or document.parts(document.data, "servers", ()),
    )


def _line(text: object) -> str:
    """The first line, without what marks it up."""
    first = _TAG.sub("", str(text or "").strip().partition("\n")[0]).strip()
    return first if len(first) <= _TITLE else f"{first[: _TITLE - 1]}…"


def _given(
    document: Document, place: Place, told: Mapping[str, Any], item: Mapping[str, Any]
) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    """The parameters: those of the path, unless the operation has them itself, and the operation's."""
    found: dict[tuple[str, str], tuple[Place, Mapping[str, Any]]] = {}
    for where, holder in ((place[:-1], item), (place, told)):
        for number, one in enumerate(document.parts(holder, "parameters", where)):
            at = (*where, "parameters", str(number))
            parameter = document.resolve(one, at)
            name, location = parameter.get("name"), parameter.get("in")
            if not isinstance(name, str) or not name or not isinstance(location, str):
                raise document.fault(at, "a parameter has `name` and `in`")
            found[name, location] = (at, parameter)
    yield from found.values()


def _read_openapi(
    document: Document, place: Place, told: Mapping[str, Any], item: Mapping[str, Any]
) -> tuple[list[Parameter], Payload | None]:
    parameters = []
    for at, one in _given(document, place, told, item):
        location = one["in"]
        if location not in _STYLES:
            raise document.fault((*at, "in"), f"{location!r} is none of {', '.join(_STYLES)}")
        if location == "header" and one["name"].lower() in _OURS:
            continue  # OpenAPI says that these are ignored
        style = str(one.get("style") or _STYLES[location])
        content = document.part(one, "content", at)
        media = next((document.part(content, kind, (*at, "content")) for kind in content), {})
        parameters.append(
            Parameter(
                name=one["name"],
                place=location,
                required=location == "path" or one.get("required") is True,
                schema=_schema(media.get("schema") if content else one.get("schema")),
                description=str(one.get("description") or ""),
                style=style,
                explode=bool(one.get("explode", style == "form")),
                as_json=bool(content),
            )
        )
    if not told.get("requestBody"):
        return parameters, None
    at = (*place, "requestBody")
    body = document.resolve(told["requestBody"], at)
    content = document.part(body, "content", at)
    choices = [
        Payload(
            kind=_kind(content_type),
            content_type=content_type,
            schema=_schema(media.get("schema")),
            required=body.get("required") is True,
            description=str(body.get("description") or ""),
            deep=_deep(media),
        )
        for content_type in content
        for media in [document.part(content, content_type, (*at, "content"))]
    ]
    return parameters, min(choices, key=lambda one: _ORDER.index(one.kind), default=None)


def _deep(media: Mapping[str, Any]) -> frozenset[str]:
    encoding = media.get("encoding")
    told = encoding.items() if isinstance(encoding, Mapping) else ()
    return frozenset(name for name, one in told if isinstance(one, Mapping) and one.get("style") == "deepObject")


_OURS: Final = frozenset({"accept", "content-type", "authorization"})


def _read_swagger(
    document: Document, place: Place, told: Mapping[str, Any], item: Mapping[str, Any]
) -> tuple[list[Parameter], Payload | None]:
    parameters: list[Parameter] = []
    payload: Payload | None = None
    fields: dict[str, Mapping[str, Any]] = {}
    needed: list[str] = []
    consumes = document.texts(told, "consumes", place) or document.texts(document.data, "consumes", ())
    for at, one in _given(document, place, told, item):
        name, location, required = one["name"], one["in"], one.get("required") is True
        match location:
            case "body":
                content_type = next((kind for kind in consumes if _kind(kind) == "json"), "application/json")
                payload = Payload(
                    kind="json",
                    content_type=content_type,
                    schema=_schema(one.get("schema")),
                    required=required,
                    description=str(one.get("description") or ""),
                )
            case "formData":
                fields[name] = one
                needed += [name] if required else []
            case "header" if name.lower() in _OURS:
                continue
            case "path" | "query" | "header":
                style, explode = _COLLECTIONS.get(str(one.get("collectionFormat") or "csv"), ("form", False))
                parameters.append(
                    Parameter(
                        name=name,
                        place=location,
                        required=required or location == "path",
                        schema={key: value for key, value in one.items() if key not in _NO_SCHEMA},
                        description=str(one.get("description") or ""),
                        style="simple" if location != "query" else style,
                        explode=explode,
                    )
                )
            case _:
                raise document.fault((*at, "in"), f"{location!r} is none of path, query, header, body, formData")
    return parameters, payload or _fields_payload(fields, needed, consumes)


_NO_SCHEMA: Final = frozenset({"name", "in", "required", "description", "collectionFormat", "allowEmptyValue"})


def _fields_payload(
    fields: Mapping[str, Mapping[str, Any]], needed: Sequence[str], consumes: Sequence[str]
) -> Payload | None:
    if not fields:
        return None
    schemas = {}
    for name, one in fields.items():
        schema = {key: value for key, value in one.items() if key not in _NO_SCHEMA - {"description"}}
        schemas[name] = {**schema, "type": "string", "format": "binary"} if one.get("type") == "file" else schema
    files = any(one.get("type") == "file" for one in fields.values())
    kind: PayloadKind = "multipart" if files or "multipart/form-data" in consumes else "form"
    content_type = "multipart/form-data" if kind == "multipart" else "application/x-www-form-urlencoded"
    schema = {"type": "object", "properties": schemas, **({"required": list(needed)} if needed else {})}
    return Payload(kind=kind, content_type=content_type, schema=schema, required=bool(needed), description="")


def _schema(told: Any) -> Mapping[str, Any]:
    """OpenAPI 3.1 has `true` and `false` too; nothing said is anything."""
    if told is False:
        return {"not": {}}
    return told if isinstance(told, Mapping) else {}


def _kind(content_type: str) -> PayloadKind:
    mime = content_type.partition(";")[0].strip().lower()
    if mime == "application/json" or mime.endswith("+json") or mime == "*/*":
        return "json"
    if mime == "application/x-www-form-urlencoded":
        return "form"
    return "multipart" if mime == "multipart/form-data" else "raw"


def _answer(
    document: Document, place: Place, told: Mapping[str, Any]
) -> tuple[Mapping[str, Any] | None, frozenset[str]]:
    """Of the first success."""
    answers = document.part(told, "responses", place)
    successes = sorted(status for status in answers if status.startswith("2"))
    status = next(iter([*successes, *(["default"] if "default" in answers else [])]), None)
    if status is None:
        return None, frozenset()
    at = (*place, "responses", status)
    answer = document.resolve(answers[status], at)
    headers = frozenset(name.lower() for name in document.part(answer, "headers", at))
    if document.version == "2.0":
        return (_schema(answer["schema"]) if answer.get("schema") else None), headers
    content = document.part(answer, "content", at)
    for content_type in content:
        if _kind(content_type) == "json":
            return _schema(document.part(content, content_type, (*at, "content")).get("schema")), headers
    return None, headers


def _requirements(document: Document, place: Place, told: Mapping[str, Any]) -> tuple[Requirement, ...]:
    holder, where = (told, place) if told.get("security") is not None else (document.data, ())
    listed = document.parts(holder, "security", where)
    at = (*where, "security")
    return tuple(tuple(sorted(document.resolve(one, at))) for one in listed) or ((),)
