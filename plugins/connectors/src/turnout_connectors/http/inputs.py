"""The inputs of `http.request`, checked as far as that can be done without sending anything."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import jmespath
from jmespath.exceptions import JMESPathError
from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from turnout.connectors import File, Inputs, Value

__all__ = ["Paginate", "RequestInputs", "Scalar"]

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_OWN_HEADERS = {"content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "accept-encoding"}
_METHODS_REFUSED = {"CONNECT", "TRACE"}
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

Scalar = bool | int | float | str | None


def _method(text: str) -> str:
    method = text.upper()
    if not _TOKEN.fullmatch(method) or method in _METHODS_REFUSED:
        raise ValueError(f"{text!r} is not a method that can be requested")
    return method


def _headers(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"{name!r} is not a header name")
        if name.lower() in _OWN_HEADERS:
            raise ValueError(f"the header {name!r} is written by the connector and cannot be set")
        if any((character < " " and character != "\t") or character == "\x7f" for character in value):
            raise ValueError(f"the header {name!r} has a control character in its value")
    return headers


def _header_name(name: str | None) -> str | None:
    if name is not None and not _TOKEN.fullmatch(name):
        raise ValueError(f"{name!r} is not a header name")
    return name


def _seconds(value: object) -> object:
    if isinstance(value, str):
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)", value.strip())
        if match is None:
            raise ValueError(f"{value!r} is not a duration: write 500ms, 30s, 5m")
        return float(match[1]) * _UNITS_S[match[2]]
    return value


def _text_of_numbers(headers: object) -> object:
    """Numbers in headers are written as text; an expression may well give one."""
    if not isinstance(headers, Mapping):
        return headers
    return {
        name: str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
        for name, value in headers.items()
    }


def _expected(expect: list[int | str]) -> list[int | str]:
    for item in expect:
        if isinstance(item, str) and not re.fullmatch(r"[1-5]xx", item):
            raise ValueError(f"{item!r} is not a status: write 404 or 4xx")
    return expect


def _successes() -> list[int | str]:
    return ["2xx"]


def _path(path: str | None) -> str | None:
    if path is not None:
        try:
            jmespath.compile(path)
        except JMESPathError as error:
            raise ValueError(f"not a JMESPath: {error}") from error
    return path


class Paginate(Inputs):
    """How to get all pages of a list; `json` is then the whole list."""

    by: Literal["link", "next_url", "page", "cursor"] = Field(
        description="`link`: the Link header's `next`; `next_url`: a URL in the body; `page`: a page number in the query, until a "
        "page is empty; `cursor`: a value in the body that goes into the query"
    )
    items: Annotated[str | None, AfterValidator(_path)] = Field(
        default=None, description="JMESPath of the list in the body; the body itself if left out"
    )
    next: Annotated[str | None, AfterValidator(_path)] = Field(
        default=None, description="JMESPath of the next URL (`next_url`) or cursor (`cursor`) in the body"
    )
    parameter: str | None = Field(default=None, description="Query parameter of the page number or cursor")
    start: int = Field(default=1, ge=0, description="Number of the first page")
    max_pages: int = Field(default=1000, ge=1, description="Pages to get at most")
    beyond: Literal["fail", "stop"] = Field(
        default="fail", description="What to do where there are more: `fail` the step, or `stop` with what there is"
    )

    @model_validator(mode="after")
    def _complete(self) -> Paginate:
        if self.by in {"next_url", "cursor"} and self.next is None:
            raise ValueError(f"`next` is needed with by: {self.by}")
        if self.by in {"page", "cursor"} and not self.parameter:
            raise ValueError(f"`parameter` is needed with by: {self.by}")
        return self


class RequestInputs(Inputs):
    """One request. At most one of `json`, `form`, `multipart` and `body` makes its body."""

    method: Annotated[str, AfterValidator(_method)] = Field(default="GET", description="Any method, `GET` by default")
    url: str = Field(
        min_length=1, max_length=16_384, description="The URL; with a base URL in the connection, what follows it"
    )
    query: dict[str, Scalar | list[Scalar]] = Field(
        default_factory=dict,
        description="Query parameters, added to those of the URL; a list repeats one, null leaves it out",
    )
    headers: Annotated[dict[str, str], BeforeValidator(_text_of_numbers), AfterValidator(_headers)] = Field(
        default_factory=dict, description="Request headers"
    )
    json_body: Value | None = Field(
        default=None, alias="json", description="Any value, sent as JSON; null sends no body"
    )
    form: dict[str, Scalar | list[Scalar]] | None = Field(
        default=None, description="Fields, sent as `application/x-www-form-urlencoded`"
    )
    multipart: dict[str, Any] | None = Field(
        default=None,
        description="Texts, numbers and files by field name (a list repeats one), sent as `multipart/form-data`",
    )
    body: str | File | None = Field(default=None, description="Text or a file, sent as it is; a file is streamed")
    timeout: Annotated[float | None, BeforeValidator(_seconds)] = Field(
        default=None,
        gt=0,
        description="Time for the whole exchange, redirects and body included: `30s`, or a number of seconds",
    )
    follow_redirects: bool = Field(default=True, description="Follow redirects, at most ten")
    expect: Annotated[list[int | str], AfterValidator(_expected)] = Field(
        default_factory=_successes, description="Statuses that are a success: `404`, `4xx`; `2xx` by default"
    )
    idempotency_header: Annotated[str | None, AfterValidator(_header_name)] = Field(
        default=None,
        description="Header in which the server takes an idempotency key: the step's own key is sent in it, and the "
        "request is safe to repeat after a crash",
    )
    response: Literal["auto", "json", "text", "file"] = Field(
        default="auto", description="What to make of the body: by its content type (`auto`), or always this"
    )
    max_bytes: int = Field(
        default=1024**3, ge=1, description="Largest answer that is taken, in bytes; 1 GiB by default"
    )
    paginate: Paginate | None = Field(default=None, description="Get all pages of a list")

    @model_validator(mode="after")
    def _consistent(self) -> RequestInputs:
        given = [
            name
            for name, field in (("json", "json_body"), ("form", "form"), ("multipart", "multipart"), ("body", "body"))
            if getattr(self, field) is not None
        ]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} cannot both be the body: keep one")
        if self.paginate is not None and self.method != "GET":
            raise ValueError(f"paginate is for GET, not {self.method}")
        if self.idempotency_header is not None and any(
            name.lower() == self.idempotency_header.lower() for name in self.headers
        ):
            raise ValueError(f"{self.idempotency_header} is set in headers and by idempotency_header: keep one")
        return self
