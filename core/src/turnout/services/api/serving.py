"""From an endpoint to a route: let in, read, call, answer. Every refusal is a problem detail, and none is a traceback."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec

from turnout.errors import Changed, TurnoutError
from turnout.interfaces.catalog import LONGEST_NAME
from turnout.interfaces.service import Request, Response, Route
from turnout.services.api.access import Access
from turnout.services.api.endpoint import PREFIX, Answer, Call, Endpoint, Nothing
from turnout.services.api.parts import Parts
from turnout.services.api.problems import ProblemError, problem_of
from turnout.services.api_keys import Principal, Role

__all__ = ["route_of"]

_ANYBODY: Final = Principal(id="", role=Role.READ)
_ETAG: Final = re.compile(r'"([0-9]{1,18})(?:-[0-9a-f]{16})?"')

_NONE_SUCH: Final = -2

T = TypeVar("T")


def route_of(endpoint: Endpoint[Any, Any], parts: Parts, access: Access) -> Route:
    """The endpoint's route. Its handler raises nothing that is ours."""

    async def handle(request: Request) -> Response:
        try:
            return await _answer(endpoint, parts, access, request)
        except (ProblemError, TurnoutError) as error:
            return problem_of(error)

    return Route(method=endpoint.method, path=f"{PREFIX}{endpoint.path}", handle=handle)


async def _answer(endpoint: Endpoint[Any, Any], parts: Parts, access: Access, request: Request) -> Response:
    principal = _ANYBODY if endpoint.public else await access.principal(request)
    _require_names(request.parameters)
    _require_right(endpoint, principal)
    call = Call(
        principal=principal,
        path=request.parameters,
        query=_query(endpoint.query, request.query),
        body=await _body(endpoint.body, request, endpoint.body_bytes),
        expected=_expected(request) if endpoint.conditional else None,
    )
    try:
        return _encoded(await endpoint.handle(parts, call), request)
    except Changed as error:
        raise ProblemError(409 if call.expected is None else 412, str(error)) from None


def _require_names(parameters: Mapping[str, str]) -> None:
    """What no store can have as a name is the name of nothing."""
    for name in parameters.values():
        if len(name) > LONGEST_NAME or not name.isprintable():
            raise ProblemError(404, "there is nothing of that name")


def _require_right(endpoint: Endpoint[Any, Any], principal: Principal) -> None:
    if not principal.role.allows(endpoint.role):
        raise ProblemError(403, f"this needs a key of role {endpoint.role.value}, yours has {principal.role.value}")
    if endpoint.organisation and principal.customer is not None:
        raise ProblemError(403, "this needs a key of the organisation, yours is of one customer")


def _query(model: type[T], given: Mapping[str, str]) -> T:
    if any("\0" in value for value in given.values()):
        raise ProblemError(400, "the query has a NUL in it")
    try:
        return msgspec.convert(dict(given), model, strict=False)
    except msgspec.ValidationError as error:
        raise ProblemError(400, f"query: {error}") from None


async def _body(model: type[T], request: Request, most_bytes: int) -> T:
    """JSON alone: a browser sends no other type to a strange origin without asking first, which nobody here answers."""
    if model is Nothing:
        return model()
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    data = bytearray()
    async for chunk in request.body:
        data += chunk
        if len(data) > most_bytes:
            raise ProblemError(413, f"a body may have {most_bytes} bytes here")
    if (data or kind) and kind != "application/json":
        raise ProblemError(415, "send the body as JSON, with `Content-Type: application/json`")
    try:
        return msgspec.json.decode(bytes(data) or b"{}", type=model)
    except (msgspec.DecodeError, RecursionError) as error:
        # Which members there are and what they should be, never what was sent: it may be a secret.
        raise ProblemError(400, f"body: {error}") from None


def _expected(request: Request) -> int | None:
    """The revision in `If-Match`; what is no tag of ours matches nothing."""
    given = request.headers.get("if-match", "*").strip()
    if given == "*":
        return None
    match = _ETAG.fullmatch(given)
    return _NONE_SUCH if match is None else int(match[1])


def _encoded(answer: Answer, request: Request) -> Response:
    # What one key is shown must not be kept by anything in between and shown to another.
    headers = {"cache-control": "no-store", **answer.headers}
    if answer.revision is not None:
        headers["etag"] = tag = _tag(answer)
        if request.method == "GET" and _is_known(request, tag):
            return Response(status=304, headers=headers)
    if answer.body is None:
        return Response(status=answer.status, headers=headers)
    headers["content-type"] = "application/json"
    return Response(status=answer.status, headers=headers, body=msgspec.json.encode(answer.body))


def _tag(answer: Answer) -> str:
    more = f"-{hashlib.sha256(answer.depends.encode()).hexdigest()[:16]}" if answer.depends else ""
    return f'"{answer.revision}{more}"'


def _is_known(request: Request, tag: str) -> bool:
    """A weak tag will do here (RFC 9110, 13.1.2)."""
    given = request.headers.get("if-none-match", "")
    return given.strip() == "*" or tag in [one.strip().removeprefix("W/") for one in given.split(",")]
