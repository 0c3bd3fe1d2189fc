"""One request and its answer: the URL made whole, credentials placed, redirects followed.

Credentials go to one origin only, `Exchange.trusted`: the connection's base URL's, or without one the origin that the step's `url`
names. Whatever a server answers, a redirect or the address of a next page, cannot lead them elsewhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote

import httpx
from turnout.connectors import ActionContext, StepError

from turnout_connectors import transport
from turnout_connectors.http.bodies import Body, body_of, query_text
from turnout_connectors.http.connections import HttpConnection
from turnout_connectors.http.inputs import RequestInputs

__all__ = ["Call", "Exchange", "Origin", "origin_of"]

_REDIRECTS: Final = 10
_ABSOLUTE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_CREDENTIAL_HEADERS: Final = {"authorization", "cookie", "proxy-authorization"}
_DEFAULT_HEADERS: Final = (("User-Agent", transport.USER_AGENT), ("Accept", "*/*"))

Origin = tuple[str, str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request of an exchange, without the connection's credentials: they are added as it is sent."""

    method: str
    url: httpx.URL
    headers: tuple[tuple[str, str], ...]
    body: Body | None


class Exchange:
    """The requests of one step, over the worker's pool, with one connection."""

    def __init__(self, context: ActionContext, inputs: RequestInputs, pool: httpx.AsyncBaseTransport) -> None:
        self._context = context
        self._pool = pool
        self._connection: HttpConnection | None = context.connection
        self._inputs = inputs
        self.first = self._first_call()
        base = self._connection.base_url if self._connection is not None else None
        self.trusted: Origin = origin_of(self.first.url if base is None else httpx.URL(base))

    async def send(self, call: Call, *, timeout_s: float | None) -> tuple[httpx.Response, httpx.URL]:
        """The answer, its body still to be read, and the URL that gave it. The caller closes the answer."""
        for _ in range(_REDIRECTS + 1):
            response = await transport.send(self._pool, self._request(call), timeout_s=timeout_s)
            if not (self._inputs.follow_redirects and response.has_redirect_location):
                return response, call.url
            await response.aclose()
            call = _redirected(call, response)
        raise StepError(
            f"{call.method} {transport.masked_url(call.url)}: more than {_REDIRECTS} redirects",
            kind="too_many_redirects",
            retryable=False,
        )

    def next_call(self, url: httpx.URL) -> Call:
        """The same request to the address of another page."""
        return _moved(self.first, _requestable(url))

    def shown_url(self, url: httpx.URL) -> str:
        """A URL for the step's output: the connection's secrets, should a server repeat them in one, are masked."""
        text = str(url)
        for secret in self._connection.secrets() if self._connection is not None else ():
            text = text.replace(secret, "***").replace(quote(secret, safe=""), "***")
        return text

    def _first_call(self) -> Call:
        inputs = self._inputs
        headers = list(transport.traced(self._context, inputs.headers).items())
        set_here = {name.lower() for name in inputs.headers}
        headers.extend((name, value) for name, value in _DEFAULT_HEADERS if name.lower() not in set_here)
        if inputs.idempotency_header is not None:
            headers.append((inputs.idempotency_header, self._context.idempotency_key))
        body = body_of(inputs)
        if body is not None and "content-type" not in set_here:
            headers.append(("Content-Type", body.content_type))
        for name, _ in self._connection.headers() if self._connection is not None else ():
            if name.lower() in set_here:
                raise _invalid(f"headers sets {name}, which the connection sets: remove it there or use no connection")
        return Call(method=inputs.method, url=self._url(), headers=tuple(headers), body=body)

    def _url(self) -> httpx.URL:
        text = self._inputs.url.strip()
        if not _ABSOLUTE.match(text):
            base = self._connection.base_url if self._connection is not None else None
            if base is None:
                raise _invalid(
                    f"url {text.partition('?')[0]!r} is relative, and the connection has no base_url: write the whole URL"
                )
            text = f"{base.rstrip('/')}/{text.lstrip('/')}"
        text = text.partition("#")[0]
        if self._inputs.query and (query := query_text(self._inputs.query)):
            text += ("&" if "?" in text else "?") + query
        try:
            return _requestable(httpx.URL(text))
        except httpx.InvalidURL:
            raise _invalid(f"url {text.partition('?')[0]!r} is not a URL") from None

    def _request(self, call: Call) -> httpx.Request:
        headers = [(name.encode(), value.encode()) for name, value in call.headers]
        headers.append((b"Accept-Encoding", b"gzip"))
        url = call.url
        if self._connection is not None and origin_of(url) == self.trusted:
            headers += [(name.encode(), value.encode()) for name, value in self._connection.headers()]
            for parameter in self._connection.parameters():
                url = url.copy_set_param(*parameter)
        if call.body is None:
            return httpx.Request(call.method, url, headers=headers)
        if call.body.data is not None:
            return httpx.Request(call.method, url, headers=headers, content=call.body.data)
        headers.append((b"Content-Length", str(call.body.size).encode()))
        return httpx.Request(call.method, url, headers=headers, content=call.body.chunks(self._context))


def origin_of(url: httpx.URL) -> Origin:
    """Scheme, host and port (RFC 6454)."""
    return url.scheme, url.host, url.port or _DEFAULT_PORTS.get(url.scheme, 0)


def _redirected(call: Call, response: httpx.Response) -> Call:
    """The request that a redirect asks for (RFC 9110, 15.4; POST becomes GET at 301 and 302 as in every client)."""
    what = f"{call.method} {transport.masked_url(call.url)}"
    try:
        target = call.url.join(response.headers["location"])
    except httpx.InvalidURL:
        raise _refused(f"{what}: redirected to what is not a URL") from None
    if target.scheme not in {"https", call.url.scheme} or not target.host or target.userinfo:
        raise _refused(f"{what}: a redirect from {call.url.scheme}:// to {target.scheme}://{target.host} is refused")
    moved = _moved(call, target)
    if (response.status_code == 303 and call.method != "HEAD") or (
        response.status_code in {301, 302} and call.method == "POST"
    ):
        kept = tuple((name, value) for name, value in moved.headers if not name.lower().startswith("content-"))
        return replace(moved, method="GET", headers=kept, body=None)
    return moved


def _moved(call: Call, url: httpx.URL) -> Call:
    """The same request elsewhere: to another origin without the step's own credential headers."""
    if origin_of(url) == origin_of(call.url):
        return replace(call, url=url)
    kept = tuple((name, value) for name, value in call.headers if name.lower() not in _CREDENTIAL_HEADERS)
    return replace(call, url=url, headers=kept)


def _requestable(url: httpx.URL) -> httpx.URL:
    if url.scheme not in {"http", "https"} or not url.host:
        raise _invalid(f"only http:// and https:// URLs can be requested, not {url.scheme or 'an empty scheme'}:")
    if url.userinfo:
        raise _invalid(f"the URL of {url.host} holds credentials: put them into a connection of type basic")
    return url


def _refused(message: str) -> StepError:
    return StepError(message, kind="redirect_refused", retryable=False)


def _invalid(message: str) -> StepError:
    return StepError(message, kind="input", retryable=False)
