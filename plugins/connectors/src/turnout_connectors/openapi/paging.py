"""How an operation gives a list in pages: as the declaration says, or as the document lets one guess."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from turnout_connectors.http.inputs import Paginate
from turnout_connectors.openapi.document import Document
from turnout_connectors.openapi.naming import snake
from turnout_connectors.openapi.operations import Operation

__all__ = ["guess"]

_CURSORS: Final = (
    "cursor",
    "page_token",
    "after",
    "starting_after",
    "next_token",
    "continuation_token",
    "start_cursor",
)
_NEXT_CURSORS: Final = ("next_cursor", "next_page_token", "next_token", "cursor", "end_cursor", "continuation_token")
_NEXT_URLS: Final = ("next", "next_url", "next_page_url", "next_link", "next_page", "odata_next_link")
_PAGES: Final = ("page", "page_number", "page_no", "pagenum")
_AROUND: Final = ("paging", "pagination", "meta", "response_metadata", "page_info", "links")


def guess(document: Document, operation: Operation) -> Paginate | None:
    """None where nothing hints at pages, or only an offset does, which nothing says how to count."""
    if operation.method != "GET" or operation.answer is None:
        return None
    parameters = {snake(one.name): one.name for one in operation.parameters if one.place == "query"}
    answer = _schema(document, operation.answer)
    properties = _properties(document, answer)
    items = None if answer.get("type") == "array" else _list_of(properties)
    if items is None and answer.get("type") != "array":
        return None
    cursor = next((parameters[name] for name in _CURSORS if name in parameters), None)
    found = _path(document, properties, _NEXT_CURSORS)
    if cursor is not None and found is not None:
        return Paginate(by="cursor", items=items, next=found, parameter=cursor)
    found = _path(document, properties, _NEXT_URLS, url=True)
    if found is not None:
        return Paginate(by="next_url", items=items, next=found)
    if "link" in operation.headers:
        return Paginate(by="link", items=items)
    page = next((parameters[name] for name in _PAGES if name in parameters), None)
    if page is None:
        return None
    return Paginate(by="page", items=items, parameter=page, start=_start(document, operation, page))


def _start(document: Document, operation: Operation, page: str) -> int:
    """Of the number of the first page: what it is without being said."""
    told = next(
        _schema(document, one.schema) for one in operation.parameters if one.name == page and one.place == "query"
    )
    first = told.get("default", told.get("minimum"))
    return 0 if first == 0 and first is not False else 1


def _schema(document: Document, schema: Any) -> Mapping[str, Any]:
    return document.resolve(schema, ("schema",)) if isinstance(schema, Mapping) else {}


def _properties(document: Document, schema: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """Those of an object, and of the parts that `allOf` makes it of."""
    found: dict[str, Mapping[str, Any]] = {}
    for part in document.parts(schema, "allOf", ("schema",)):
        found |= _properties(document, _schema(document, part))
    told = schema.get("properties")
    if isinstance(told, Mapping):
        found |= {name: _schema(document, one) for name, one in told.items()}
    return found


def _list_of(properties: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The only list in an answer, or the one whose name says that it is it."""
    lists = [name for name, one in properties.items() if one.get("type") == "array"]
    if len(lists) == 1:
        return _quoted(lists[0])
    return next((_quoted(name) for name in ("data", "items", "results", "values", "records") if name in lists), None)


def _path(
    document: Document, properties: Mapping[str, Mapping[str, Any]], names: Sequence[str], *, url: bool = False
) -> str | None:
    """The JMESPath of a text of such a name, at the top or in what goes around a list."""
    for name, one in properties.items():
        if snake(name) in names and _is_text(one) and (not url or one.get("format") in ("uri", "url", None)):
            return _quoted(name)
    for name, one in properties.items():
        if snake(name) in _AROUND:
            inner = _path(document, _properties(document, one), names, url=url)
            if inner is not None:
                return f"{_quoted(name)}.{inner}"
    return None


def _is_text(schema: Mapping[str, Any]) -> bool:
    kind = schema.get("type", "string")
    return "string" in kind if isinstance(kind, list) else kind == "string"


def _quoted(name: str) -> str:
    """An identifier of JMESPath."""
    return (
        name if name.isidentifier() and name.isascii() else '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    )
