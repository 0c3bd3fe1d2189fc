"""XML to JSON and back, by one convention.

    <order id="7"><item>a</item><item>b</item><note/></order>
    {"order": {"@id": "7", "item": ["a", "b"], "note": null}}

Attributes begin with `@`; repeated elements are a list; an element with text alone is that text, an empty one is null; text beside
attributes or elements is `#text`, without the white space around it. Everything is text. Elements that should be lists even when there is one
of them are named in `lists`. Entities that a document defines itself, and references to outside, are refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal
from xml.etree.ElementTree import ParseError
from xml.sax.saxutils import escape, quoteattr

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser
from pydantic import Field
from turnout.connectors import ActionContext, Effect, File, Inputs, Value

from turnout_connectors.data.connector import connector
from turnout_connectors.data.content import MEMORY_BYTES, Content, Spool, faulty, in_thread, spooled

__all__: list[str] = []

_DEPTH: Final = 95
"""Elements inside elements: each costs up to two levels of a value, which has 200."""
_CHUNK_BYTES: Final = 256 * 1024
_NAME: Final = re.compile(r"[^\W\d][\w.\-]*(:[^\W\d][\w.\-]*)?")
_FORBIDDEN: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class ParseXml(Inputs):
    content: Content
    lists: list[str] = Field(default_factory=list, description="Names of elements that are always a list")
    namespaces: Literal["strip", "keep"] = Field(
        default="strip", description="`strip` leaves namespaces out of names; `keep` writes `{namespace}name`"
    )


class WriteXml(Inputs):
    value: dict[str, Any] = Field(description="An object with one key: the root element's name")
    name: str = Field(default="data.xml", description="Name of the file")
    declaration: bool = Field(default=True, description="Begin with the XML declaration")


@connector.action(effect=Effect.PURE)
async def parse_xml(context: ActionContext, inputs: ParseXml) -> dict[str, Any]:
    """Parse XML to JSON.

    Attributes begin with `@`, repeated elements become lists, text beside them is `#text`. Everything stays text.
    """
    size = len(inputs.content) if isinstance(inputs.content, str) else inputs.content.size
    if size > MEMORY_BYTES:
        raise faulty("too_large", f"the document has {size} bytes; at most {MEMORY_BYTES} can be parsed")
    with await spooled(context, inputs.content) as spool:
        parsed: dict[str, Any] = await in_thread(_parse, inputs, spool)
        return parsed


@connector.action(effect=Effect.PURE)
async def write_xml(context: ActionContext, inputs: WriteXml) -> File:
    """Write JSON to an XML file, by the same convention as `parse_xml`."""
    if len(inputs.value) != 1 or isinstance(next(iter(inputs.value.values())), list):
        raise faulty("xml", f"a document has one root element, not {', '.join(map(repr, inputs.value)) or 'none'}")
    parts = ['<?xml version="1.0" encoding="UTF-8"?>\n'] if inputs.declaration else []
    for name, value in inputs.value.items():
        await in_thread(_write, parts, name, value, 0)
    return await context.files.create("".join(parts).encode(), name=inputs.name, content_type="application/xml")


class _Builder:
    """A parser's target that makes the JSON as it reads, with no tree in between."""

    def __init__(self, inputs: ParseXml) -> None:
        self._always = frozenset(inputs.lists)
        self._strip = inputs.namespaces == "strip"
        self._open: list[tuple[str, dict[str, Any], list[str]]] = [("", {}, [])]

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        if len(self._open) > _DEPTH:
            raise faulty("too_deep", f"elements are nested deeper than {_DEPTH} levels")
        members = {f"@{self._name(name)}": value for name, value in attributes.items()}
        self._open.append((self._name(tag), members, []))

    def data(self, text: str) -> None:
        self._open[-1][2].append(text)

    def end(self, tag: str) -> None:
        name, members, texts = self._open.pop()
        text = "".join(texts)
        value: Any = members
        if not members:
            value = text if text.strip() else None
        elif text.strip():
            members["#text"] = text.strip()
        parent = self._open[-1][1]
        if name in parent:
            there = parent[name]
            parent[name] = there if isinstance(there, list) else [there]
            parent[name].append(value)
        else:
            parent[name] = [value] if name in self._always else value

    def close(self) -> dict[str, Any]:
        return self._open[0][1]

    def _name(self, name: str) -> str:
        return name.rpartition("}")[2] if self._strip else name


def _parse(inputs: ParseXml, spool: Spool) -> dict[str, Any]:
    encoding = (
        "utf-8" if isinstance(inputs.content, str) else None
    )  # text has been decoded, whatever its declaration says
    parser: Any = DefusedXMLParser(target=_Builder(inputs), encoding=encoding)
    try:
        while chunk := spool.read(_CHUNK_BYTES):
            parser.feed(chunk)
        parsed: dict[str, Any] = parser.close()
    except ParseError as error:
        raise faulty("not_xml", f"not XML: {error}") from error
    except DefusedXmlException as error:
        raise faulty(
            "xml_refused", f"refused: the document defines or references entities ({type(error).__name__})"
        ) from error
    except (ValueError, LookupError) as error:
        raise faulty("not_xml", f"not XML that can be read: {error}") from error
    return parsed


def _write(parts: list[str], name: str, value: Any, depth: int) -> None:
    if depth > _DEPTH:
        raise faulty("too_deep", f"nested deeper than {_DEPTH} levels")
    _check_name(name)
    if isinstance(value, list):
        for item in value:
            if isinstance(item, list):
                raise faulty("xml", f"{name}: a list inside a list has no form in XML")
            _write(parts, name, item, depth)
        return
    members = value if isinstance(value, Mapping) else {"#text": value}
    parts.append(f"<{name}")
    for key, member in members.items():
        if key.startswith("@"):
            _check_name(key[1:])
            parts.append(f" {key[1:]}={quoteattr(_text(key, member))}")
    inner = {key: member for key, member in members.items() if not key.startswith("@")}
    if not any(member is not None for member in inner.values()) and "#text" in (inner or {"#text": None}):
        parts.append("/>")
        return
    parts.append(">")
    for key, member in inner.items():
        if key == "#text":
            parts.append(escape(_text(key, member)))
        else:
            _write(parts, key, member, depth + 1)
    parts.append(f"</{name}>")


def _text(key: str, value: Any) -> str:
    match value:
        case None:
            return ""
        case str():
            text = value
        case bool() | int() | float():
            text = Value(value).json.decode()
        case _:
            raise faulty("xml", f"{key} must be text, a number, true or false, not {type(value).__name__}")
    if _FORBIDDEN.search(text):
        raise faulty("xml", f"{key} has a character that XML does not allow")
    return text


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise faulty("xml", f"{name!r} cannot be a name in XML")
