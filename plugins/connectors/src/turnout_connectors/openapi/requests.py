"""An operation's inputs as a request, by the rules of OpenAPI's `style` and `explode`.

https://spec.openapis.org/oas/v3.1.0.html#style-values
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

from turnout.connectors import File, StepError, Value

from turnout_connectors.http.inputs import Paginate, RequestInputs
from turnout_connectors.openapi.operations import Operation, Parameter

__all__ = ["request_of"]

_BETWEEN: Final = {"form": ",", "spaceDelimited": " ", "pipeDelimited": "|", "tabDelimited": "\t"}
_SAFE: Final = "-._~"
_FIELDS: Final = {"json": "json", "form": "form", "multipart": "multipart", "raw": "body"}


def request_of(
    operation: Operation,
    given: Mapping[str, Any],
    body: Any,
    *,
    base_url: str | None,
    idempotency_header: str | None,
    paginate: Paginate | None,
    max_bytes: int,
) -> RequestInputs:
    """`given` are the parameters that there are, by `Parameter.name` within its place: `(place, name)` joined by a colon.
    `base_url` is the server's, where no connection has one. `StepError` of kind `input` names a value that cannot be written."""
    path, query, headers, cookies = operation.path, [], {}, []
    for parameter in operation.parameters:
        value = given.get(f"{parameter.place}:{parameter.name}")
        if value is None:
            continue
        match parameter.place:
            case "path":
                path = path.replace(f"{{{parameter.name}}}", _path(parameter, value))
            case "query":
                query += list(_pairs(parameter, value))
            case "header":
                headers[parameter.name] = _joined(parameter, value)
            case _:
                cookies.append(f"{parameter.name}={quote(_joined(parameter, value), safe=_SAFE)}")
    if cookies:
        headers["Cookie"] = "; ".join(cookies)
    written = "&".join(f"{quote(name, safe=_SAFE + '[]')}={quote(value, safe=_SAFE)}" for name, value in query)
    url = f"{(base_url or '').rstrip('/')}{path}" + (f"?{written}" if written else "")
    request: dict[str, Any] = {"method": operation.method, "url": url, "headers": headers, "max_bytes": max_bytes}
    if body is not None and operation.payload is not None:
        request |= _body(operation, body, headers)
    return RequestInputs.model_validate({**request, "idempotency_header": idempotency_header, "paginate": paginate})


def _body(operation: Operation, body: Any, headers: dict[str, str]) -> dict[str, Any]:
    assert operation.payload is not None
    kind, content_type = operation.payload.kind, operation.payload.content_type
    if kind == "json":
        if content_type not in {"application/json", "*/*"}:
            headers["Content-Type"] = content_type
        return {"json": body if isinstance(body, Value) else Value(body)}
    if kind == "raw":
        if not isinstance(body, File) and "*" not in content_type:
            headers["Content-Type"] = content_type
        return {"body": body}
    fields = body.load() if isinstance(body, Value) else body
    if not isinstance(fields, Mapping):
        raise _fault("body", "an object of its fields is expected")
    written: dict[str, Any] = {}
    for name, value in fields.items():
        if name in operation.payload.deep:
            written |= dict(_bracketed(name, value))
        elif value is not None:
            written[name] = _field(value)
    return {_FIELDS[kind]: written}


def _bracketed(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """`a[b][0]`, as deep as it goes (the specification leaves that open; this is what APIs that use it take)."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _bracketed(f"{name}[{key}]", one)
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _bracketed(f"{name}[{number}]", one)
    elif value is not None:
        yield name, value


def _field(value: Any) -> Any:
    """A field of a form: texts, numbers, files and lists of them as they are, objects as JSON (3.1: `contentType`)."""
    if isinstance(value, Mapping):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return [_field(one) for one in value]
    return value


def _path(parameter: Parameter, value: Any) -> str:
    style = parameter.style
    if parameter.as_json or style == "simple":
        text = _joined(parameter, value, quoted=True)
        if text in {"", ".", ".."}:
            raise _fault(parameter.name, "a part of the path cannot be empty or dots")
        return text
    lead, between = (".", ".") if style == "label" else (";", ";")
    if style not in {"label", "matrix"}:
        raise _fault(parameter.name, f"the style {style!r} is not for paths")
    if style == "label":
        parts = _exploded(value) if parameter.explode else [",".join(_flat(value))]
        return lead + between.join(quote(one, safe=_SAFE + "=,") for one in parts)
    if isinstance(value, Mapping) and parameter.explode:
        return "".join(f"{lead}{quote(key, safe=_SAFE)}={quote(_text(one), safe=_SAFE)}" for key, one in value.items())
    parts = [_text(one) for one in value] if isinstance(value, list) and parameter.explode else [",".join(_flat(value))]
    return "".join(f"{lead}{parameter.name}={quote(one, safe=_SAFE + ',')}" for one in parts)


def _pairs(parameter: Parameter, value: Any) -> Iterator[tuple[str, str]]:
    """Names and values of the query, not yet quoted."""
    name, style = parameter.name, parameter.style
    if parameter.as_json:
        yield name, json.dumps(value, ensure_ascii=False)
    elif style == "deepObject" and isinstance(value, Mapping):
        for key, one in value.items():
            for part in one if isinstance(one, list) else [one]:
                if part is not None:
                    yield f"{name}[{key}]", _text(part)
    elif isinstance(value, Mapping) and parameter.explode:
        yield from ((key, _text(one)) for key, one in value.items() if one is not None)
    elif isinstance(value, list) and parameter.explode:
        yield from ((name, _text(one)) for one in value if one is not None)
    elif isinstance(value, list | Mapping):
        yield name, _BETWEEN.get(style, ",").join(_flat(value))
    else:
        yield name, _text(value)


def _joined(parameter: Parameter, value: Any, *, quoted: bool = False) -> str:
    """Style `simple`: with commas."""
    if parameter.as_json:
        text = json.dumps(value, ensure_ascii=False)
        return quote(text, safe=_SAFE) if quoted else text
    parts = _exploded(value) if parameter.explode and isinstance(value, Mapping) else _flat(value)
    return ",".join(quote(one, safe=_SAFE + "=") if quoted else one for one in parts)


def _exploded(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [f"{key}={_text(one)}" for key, one in value.items() if one is not None]
    return _flat(value)


def _flat(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [part for key, one in value.items() if one is not None for part in (str(key), _text(one))]
    return [_text(one) for one in value if one is not None] if isinstance(value, list) else [_text(value)]


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, File):
        raise _fault("file", "a file goes into the body, not into a parameter")
    return json.dumps(value, ensure_ascii=False)


def _fault(name: str, what: str) -> StepError:
    return StepError(f"input {name!r}: {what}", kind="input", retryable=False)
