"""What a step gets of an answer: JSON unparsed, text decoded, everything large or binary as a file."""

from __future__ import annotations

import codecs
import posixpath
from collections.abc import AsyncIterator, Sequence
from email.message import Message
from typing import Annotated, Any, Final
from urllib.parse import unquote

import httpx
from pydantic import Field
from turnout.connectors import ActionContext, File, StepError, Value
from typing_extensions import TypedDict

from turnout_connectors import transport
from turnout_connectors.http.inputs import RequestInputs

__all__ = ["Answer", "answer_of", "json_of", "refusal"]

_JSON_BYTES: Final = 64 * 1024 * 1024
_TEXT_BYTES: Final = 1024 * 1024
_EXCERPT_BYTES: Final = 2048
_RETRYABLE: Final = {408, 425, 429}


class Answer(TypedDict):
    """The output of `http.request`. What the answer does not have is null."""

    status: Annotated[int, Field(description="Status code")]
    headers: Annotated[dict[str, str], Field(description="Headers by lower-case name")]
    json: Annotated[Any, Field(description="The body, if it is JSON of at most 64 MiB")]
    text: Annotated[str | None, Field(description="The body, if it is text of at most 1 MiB")]
    file: Annotated[File | None, Field(description="The body, if it is neither")]
    url: Annotated[str, Field(description="URL that answered, after redirects")]
    pages: Annotated[int, Field(description="Pages that were got")]


async def answer_of(context: ActionContext, inputs: RequestInputs, response: httpx.Response, url: str) -> Answer:
    """Read the body as the inputs say."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in response.headers.raw:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("utf-8", "replace")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    answer: Answer = {
        "status": response.status_code,
        "headers": headers,
        "json": None,
        "text": None,
        "file": None,
        "url": url,
        "pages": 1,
    }
    if response.request.method == "HEAD" or response.status_code in {204, 304}:
        return answer
    mime, charset = _content_type(headers.get("content-type", ""))
    match inputs.response:
        case "file":
            form, limit = "file", 0
        case "json":
            form, limit = "json", min(_JSON_BYTES, inputs.max_bytes)
        case "text":
            form, limit = "text", min(_JSON_BYTES, inputs.max_bytes)
        case "auto":
            form = "json" if _is_json(mime) else "text" if _is_text(mime) else "file"
            limit = {"json": _JSON_BYTES, "text": _TEXT_BYTES, "file": 0}[form]
    body = transport.content(response, limit_bytes=inputs.max_bytes)
    start = [] if form == "file" else await _read(body, limit)
    if form == "file" or sum(map(len, start)) > limit:
        if inputs.response in {"json", "text"}:
            raise StepError(
                f"{transport.describe(response.request)}: the answer is larger than {limit} bytes; as response: {inputs.response} "
                "it must fit in memory: take it as a file (response: file)",
                kind="response_too_large",
                retryable=False,
            )
        answer["file"] = await _file(context, response, start, body)
    elif form == "json":
        answer["json"] = json_of(response, b"".join(start))
    else:
        answer["text"] = b"".join(start).decode(charset, "replace")
    return answer


def json_of(response: httpx.Response, text: bytes) -> Value | None:
    """The body as JSON, unparsed; None of an empty one. `StepError` of kind `not_json` names the request."""
    if not text.strip():
        return None
    try:
        return Value.parse(text.removeprefix(codecs.BOM_UTF8))
    except StepError as error:
        raise StepError(
            f"{transport.describe(response.request)}: the answer is {error.message}", kind=error.kind, retryable=False
        ) from error


async def refusal(response: httpx.Response, secrets: Sequence[str]) -> StepError:
    """The error for a status that was not expected; secrets that the server repeats are masked."""
    status = response.status_code
    excerpt = ""
    try:
        start = await _read(transport.content(response, limit_bytes=_EXCERPT_BYTES * 64), _EXCERPT_BYTES)
        excerpt = b"".join(start)[:_EXCERPT_BYTES].decode("utf-8", "replace")
    except StepError:
        excerpt = "(the answer could not be read)"
    for secret in secrets:
        excerpt = excerpt.replace(secret, "***")
    reason = httpx.codes.get_reason_phrase(status)
    brief = " ".join(excerpt[:200].split())
    return StepError(
        f"{transport.describe(response.request)} answered {status}{f' {reason}' if reason else ''}"
        + (f": {brief}" if brief else ""),
        kind=f"http_{status}",
        retryable=status in _RETRYABLE or status >= 500,
        retry_after_s=transport.retry_after_s(response.headers),
        details={"status": status, "body": excerpt},
    )


async def _read(body: AsyncIterator[bytes], limit: int) -> list[bytes]:
    """Chunks until the end or until there are more than `limit` bytes."""
    chunks, size = [], 0
    async for chunk in body:
        chunks.append(chunk)
        size += len(chunk)
        if size > limit:
            break
    return chunks


async def _file(
    context: ActionContext, response: httpx.Response, start: list[bytes], rest: AsyncIterator[bytes]
) -> File:
    async def whole() -> AsyncIterator[bytes]:
        while start:
            yield start.pop(0)
        async for chunk in rest:
            yield chunk

    kind = response.headers.get("content-type", "") or "application/octet-stream"
    return await context.files.create(whole(), name=_name(response), content_type=kind)


def _name(response: httpx.Response) -> str:
    """The file's name: of Content-Disposition (RFC 6266), or the last part of the URL's path. Never a path."""
    header = Message()
    header["content-disposition"] = response.headers.get("content-disposition", "")
    name = header.get_filename() or unquote(posixpath.basename(response.request.url.path))
    name = posixpath.basename(name.replace("\\", "/"))
    return "".join(character for character in name if character.isprintable())[:255]


def _content_type(text: str) -> tuple[str, str]:
    """MIME type in lower case, and a charset that Python knows; UTF-8 where none is named."""
    mime, _, parameters = text.partition(";")
    charset = "utf-8"
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            try:
                charset = codecs.lookup(value.strip().strip("\"'")).name
            except LookupError:
                charset = "utf-8"
    return mime.strip().lower(), charset


def _is_json(mime: str) -> bool:
    return mime == "application/json" or mime.endswith("+json")


def _is_text(mime: str) -> bool:
    return (
        mime.startswith("text/")
        or mime.endswith("+xml")
        or mime in {"", "application/xml", "application/javascript", "application/x-ndjson", "application/yaml"}
    )
