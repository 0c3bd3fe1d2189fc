"""The `http` connector: any request to any API.

Without a `base_url` in the connection, its credentials go to whatever origin a step's `url` names: name the base URL where URLs
come from data.
"""

from __future__ import annotations

import httpx
from turnout.connectors import ActionContext, AfterCrash, Connector, Effect, Effects

from turnout_connectors import transport
from turnout_connectors.http.answers import Answer, answer_of, refusal
from turnout_connectors.http.connections import Account, ApiKey, Basic, Bearer, ClientAccount, NoCredentials
from turnout_connectors.http.exchange import Call, Exchange
from turnout_connectors.http.inputs import RequestInputs
from turnout_connectors.http.pages import Pages

__all__ = ["connector", "request"]

connector = Connector(
    "http",
    title="HTTP",
    description="Requests to any HTTP API: JSON, forms, multipart, files by stream, pages of lists.",
    docs="https://www.rfc-editor.org/rfc/rfc9110",
    connection_required=False,
)
connector.connection("none", NoCredentials)
connector.connection("bearer", Bearer)
connector.connection("basic", Basic)
connector.connection("api_key", ApiKey)
connector.connection("oauth2", Account)
connector.connection("oauth2_client", ClientAccount)

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_IDEMPOTENT = frozenset({"PUT", "DELETE"})


def effects(inputs: RequestInputs) -> Effects:
    """By RFC 9110, 9.2: safe methods read; PUT and DELETE may be repeated; others only with a key the server knows."""
    if inputs.method in _READS:
        return Effects(effect=Effect.READ)
    if inputs.method in _IDEMPOTENT:
        return Effects(effect=Effect.EFFECT, after_crash=AfterCrash.UPSERT)
    named = inputs.idempotency_header is not None
    return Effects(effect=Effect.EFFECT, after_crash=AfterCrash.NATIVE if named else AfterCrash.NONE)


@connector.action(effect=effects)
async def request(context: ActionContext, inputs: RequestInputs) -> Answer:
    """Send a request.

    A status that `expect` does not name fails the step with kind `http_404` and so on. 408, 425, 429, 5xx and broken
    connections can be retried, and a Retry-After header is honoured; other statuses are not retried.
    """
    pool = await transport.open_pool(context, connector.name)
    exchange = Exchange(context, inputs, pool)
    remaining = context.remaining_s
    limits = [limit for limit in (inputs.timeout, remaining) if limit is not None]
    timeout_s = min(limits) if limits else None
    async with transport.within(timeout_s, inputs.method, exchange.first.url):
        if inputs.paginate is None:
            answer, _, _ = await _one(context, inputs, exchange, exchange.first, timeout_s)
            return answer
        pages = Pages(inputs.paginate, exchange)
        call: Call | None = pages.first
        while call is not None:
            answer, response, url = await _one(context, inputs, exchange, call, timeout_s)
            call = pages.add(answer, response, url)
        return pages.whole(answer)


async def _one(
    context: ActionContext, inputs: RequestInputs, exchange: Exchange, call: Call, timeout_s: float | None
) -> tuple[Answer, httpx.Response, httpx.URL]:
    response, url = await exchange.send(call, timeout_s=timeout_s)
    try:
        if not _expected(inputs, response.status_code):
            raise await refusal(response, context.connection.secrets() if context.connection is not None else ())
        return await answer_of(context, inputs, response, exchange.shown_url(url)), response, url
    finally:
        await response.aclose()


def _expected(inputs: RequestInputs, status: int) -> bool:
    if 300 <= status < 400 and status != 304 and not inputs.follow_redirects:
        return True
    return any(item == status or item == f"{status // 100}xx" for item in inputs.expect)
