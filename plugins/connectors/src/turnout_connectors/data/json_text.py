"""JSON and NDJSON (one JSON value a line)."""

from __future__ import annotations

import json
from typing import Any

from pydantic import Field
from turnout.connectors import ActionContext, Effect, File, Inputs, StepError, Value

from turnout_connectors.data.connector import connector
from turnout_connectors.data.content import Content, Encoding, faulty, in_thread, text_of

__all__: list[str] = []


class ParseJson(Inputs):
    content: Content
    encoding: Encoding = "utf-8"


class WriteJson(Inputs):
    value: Value | None = Field(default=None, description="Any JSON value")
    name: str = Field(default="data.json", description="Name of the file")
    indent: int = Field(default=0, ge=0, le=8, description="Spaces a level; 0 for one line")


class ParseNdjson(Inputs):
    content: Content
    encoding: Encoding = "utf-8"


class WriteNdjson(Inputs):
    items: Value = Field(description="A list; each element becomes a line")
    name: str = Field(default="data.ndjson", description="Name of the file")


@connector.action(effect=Effect.PURE)
async def parse_json(context: ActionContext, inputs: ParseJson) -> Any:
    """Parse JSON."""
    return Value.parse(await text_of(context, inputs.content, inputs.encoding))


@connector.action(effect=Effect.PURE)
async def write_json(context: ActionContext, inputs: WriteJson) -> File:
    """Write JSON to a file."""
    value = inputs.value if inputs.value is not None else Value(None)
    text = _without_files(value)
    if inputs.indent:
        text = await in_thread(_indented, value, inputs.indent)
    return await context.files.create(text, name=inputs.name, content_type="application/json")


@connector.action(effect=Effect.PURE)
async def parse_ndjson(context: ActionContext, inputs: ParseNdjson) -> list[Any]:
    """Parse NDJSON to a list.

    Empty lines are skipped.
    """
    text = await text_of(context, inputs.content, inputs.encoding)
    return await in_thread(_lines, text)


@connector.action(effect=Effect.PURE)
async def write_ndjson(context: ActionContext, inputs: WriteNdjson) -> File:
    """Write a list to a file, an element a line."""
    _without_files(inputs.items)
    text = b"".join(item.json.replace(b"\n", b" ") + b"\n" for item in inputs.items.items())
    return await context.files.create(text, name=inputs.name, content_type="application/x-ndjson")


def _lines(text: str) -> list[Value]:
    values = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                values.append(Value.parse(line))
            except StepError as error:
                raise faulty(error.kind, f"line {number}: {error.message}") from error
    return values


def _indented(value: Value, indent: int) -> bytes:
    return json.dumps(value.load(), indent=indent, ensure_ascii=False).encode()


def _without_files(value: Value) -> bytes:
    encoded = value.encode()
    if encoded.files:
        raise faulty("input", f"there is a file at {encoded.files[0][0] or 'the top'}, and JSON has no bytes")
    return encoded.json
