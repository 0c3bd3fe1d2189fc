"""Dropbox's API v2 over HTTP: its two hosts, its way with arguments, and its documented errors.

Source: https://www.dropbox.com/developers/documentation/http/documentation
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx
from pydantic import Field, SecretStr, field_validator
from turnout.connectors import ActionContext, ConnectionType, OAuth2, OAuth2Provider, StepError

from turnout_connectors import transport

__all__ = ["Account", "Dropbox", "Token", "path_missing"]

_API: Final = "https://api.dropboxapi.com"
_CONTENT: Final = "https://content.dropboxapi.com"
_ANSWER_BYTES: Final = 32 * 1024 * 1024
_TRANSIENT: Final = ("too_many_write_operations", "internal_error")


class _Account(ConnectionType):
    base_url: str | None = Field(
        default=None, description="Takes the place of Dropbox's two hosts: a proxy's, or a stand-in's for tests"
    )

    def hosts(self) -> tuple[str, ...]:
        return super().hosts() or tuple(url.removeprefix("https://") for url in (_API, _CONTENT))

    @field_validator("base_url")
    @classmethod
    def _is_url(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return url.rstrip("/") if url is not None else None


class Token(_Account):
    """An access token of a Dropbox app that somebody has made."""

    access_token: SecretStr = Field(description="Access token")

    @field_validator("access_token")
    @classmethod
    def _is_token(cls, token: SecretStr) -> SecretStr:
        if not token.get_secret_value().isascii() or not token.get_secret_value().isprintable() or not token:
            raise ValueError("must be visible ASCII characters, without line breaks")
        return token


class Account(_Account, OAuth2):
    """A Dropbox account that its owner connects in a browser; its access token is renewed every few hours.

    Source: https://developers.dropbox.com/oauth-guide
    """

    provider = OAuth2Provider(
        authorization_url="https://www.dropbox.com/oauth2/authorize",
        token_url="https://api.dropboxapi.com/oauth2/token",  # noqa: S106 - an address
        scopes=("files.metadata.read", "files.content.read", "files.content.write"),
        authorize={"token_access_type": "offline"},
    )


class Dropbox:
    """One connection's calls."""

    def __init__(self, context: ActionContext, pool: httpx.AsyncBaseTransport) -> None:
        self._context = context
        self._pool = pool
        connection: Token | Account = context.connection
        self._authorization = f"Bearer {connection.access_token.get_secret_value()}"
        self._api = f"{connection.base_url or _API}/2/files/"
        self._content = f"{connection.base_url or _CONTENT}/2/files/"

    @classmethod
    async def of(cls, context: ActionContext) -> Dropbox:
        return cls(context, await transport.open_pool(context, "dropbox"))

    async def call(self, endpoint: str, argument: dict[str, Any]) -> dict[str, Any]:
        """An RPC endpoint: JSON in, JSON out. `StepError` as Dropbox's answer says."""
        headers = {"Authorization": self._authorization, "Content-Type": "application/json"}
        request = httpx.Request("POST", self._api + endpoint, headers=headers, content=json.dumps(argument).encode())
        async with self._answer(request) as response:
            return await _json(response)

    async def upload(
        self, endpoint: str, argument: dict[str, Any], content: AsyncIterator[bytes] | bytes, size: int
    ) -> dict[str, Any]:
        """A content-upload endpoint: the argument in a header, `size` bytes in the body."""
        headers = {
            "Authorization": self._authorization,
            "Content-Type": "application/octet-stream",
            "Content-Length": str(size),
            "Dropbox-API-Arg": _header_json(argument),
        }
        request = httpx.Request("POST", self._content + endpoint, headers=headers, content=content)
        async with self._answer(request) as response:
            return await _json(response)

    @asynccontextmanager
    async def download(
        self, endpoint: str, argument: dict[str, Any]
    ) -> AsyncIterator[tuple[dict[str, Any], httpx.Response]]:
        """A content-download endpoint: the metadata of the header, and the answer whose body is the content."""
        headers = {"Authorization": self._authorization, "Dropbox-API-Arg": _header_json(argument)}
        request = httpx.Request("POST", self._content + endpoint, headers=headers)
        async with self._answer(request) as response:
            metadata = json.loads(response.headers.get("dropbox-api-result", "{}"))
            yield metadata, response

    @asynccontextmanager
    async def _answer(self, request: httpx.Request) -> AsyncIterator[httpx.Response]:
        remaining = self._context.remaining_s
        async with transport.within(remaining, "POST", request.url):
            request.headers.update(self._context.trace_headers)
            response = await transport.send(self._pool, request, timeout_s=remaining)
            try:
                if response.status_code != 200:
                    raise await _refusal(response)
                yield response
            finally:
                await response.aclose()


def path_missing(error: StepError) -> bool:
    """Whether Dropbox said that nothing is at the path."""
    return error.kind in {"dropbox_path_lookup_not_found", "dropbox_from_lookup_not_found", "dropbox_path_not_found"}


def _header_json(argument: dict[str, Any]) -> str:
    """JSON that is safe in a header: all but ASCII escaped, and 0x7f too, as Dropbox's page on JSON encoding asks."""
    return json.dumps(argument).replace("\x7f", "\\u007f")


async def _json(response: httpx.Response) -> dict[str, Any]:
    text = b"".join([chunk async for chunk in transport.content(response, limit_bytes=_ANSWER_BYTES)])
    try:
        answer = json.loads(text or b"null")
    except ValueError:
        raise StepError(f"dropbox {response.request.url.path}: the answer is not JSON", kind="dropbox_answer") from None
    return answer if isinstance(answer, dict) else {}


async def _refusal(response: httpx.Response) -> StepError:
    """The documented errors: 400 text, 401 and 403 access, 409 the endpoint's own, 429 a limit, 5xx Dropbox's."""
    status = response.status_code
    text = b"".join([chunk async for chunk in transport.content(response, limit_bytes=_ANSWER_BYTES)])
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    answer = body if isinstance(body, dict) else {}
    summary = str(answer.get("error_summary", "")).strip("./")
    endpoint = response.request.url.path.removeprefix("/2/files/")
    said = summary or " ".join(text[:300].decode("utf-8", "replace").split())
    match status:
        case 401:
            hint = (
                "the access token has expired: renew the connection" if "expired" in summary else "renew the connection"
            )
            kind, retryable = f"dropbox_{summary or 'unauthorized'}", False
            said = f"{said} ({hint})"
        case 409:
            tags = [tag for tag in summary.split("/") if tag]
            kind, retryable = "_".join(["dropbox", *tags]), any(tag in _TRANSIENT for tag in tags)
        case 429:
            kind, retryable = "dropbox_rate_limited", True
        case _:
            kind, retryable = f"http_{status}", status >= 500
    return StepError(
        f"dropbox {endpoint} answered {status}: {said}",
        kind=kind,
        retryable=retryable,
        retry_after_s=_retry_after_s(response, answer),
        details={"status": status, "endpoint": endpoint, "error": answer.get("error")},
    )


def _retry_after_s(response: httpx.Response, answer: dict[str, Any]) -> float | None:
    """Of the header, or of the body of a 429, where Dropbox repeats it."""
    header = transport.retry_after_s(response.headers)
    error = answer.get("error")
    inside = error.get("retry_after") if isinstance(error, dict) else None
    return header if header is not None else float(inside) if isinstance(inside, int | float) else None
