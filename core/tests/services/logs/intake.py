"""Stand-ins for Datadog's intake and for a collector, over real HTTP, which refuse what the real ones document that they refuse."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from turnout.interfaces.service import Request, Response, Route
from turnout.local.asgi import application
from turnout.local.http import HttpServer
from turnout.testing.log_sink import Arrived, OtherSide

Taken = tuple[int, Sequence[Arrived], bytes]
Read = Callable[[Request, bytes], Taken]


class Refused(Exception):
    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(str(status))


@dataclass
class Intake(OtherSide):
    """Answers with `answers` first, one a request: a status and a `Retry-After`. Then it takes what it should."""

    path: str
    read: Read
    credential: str = ""
    taken: list[Arrived] = field(default_factory=list)
    requests: list[int] = field(default_factory=list)
    answers: list[tuple[int, str]] = field(default_factory=list)
    port: int = 0
    server: HttpServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def come_back(self) -> None:
        routes = [Route(method="POST", path=self.path, handle=self._handle)]
        self.server = HttpServer(application(routes, request_bytes=10**9), host="127.0.0.1", port=self.port)
        self.port = self.server.port
        await self.server.start()

    async def go_down(self) -> None:
        if self.server is not None:
            await self.server.stop()
            self.server = None

    async def arrived(self) -> Sequence[Arrived]:
        return list(self.taken)

    async def _handle(self, request: Request) -> Response:
        body = b"".join([chunk async for chunk in request.body])
        self.requests.append(len(body))
        if self.answers:
            status, after = self.answers.pop(0)
            return Response(status=status, headers={"retry-after": after} if after else {})
        try:
            if request.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            status, arrived, answer = self.read(request, body)
        except Refused as refused:
            return Response(status=refused.status)
        except (ValueError, KeyError, TypeError, OSError):
            return Response(status=400)
        self.taken += arrived
        return Response(status=status, headers={"content-type": "application/json"}, body=answer)


def datadog(key: str) -> Intake:
    """https://docs.datadoghq.com/api/latest/logs/#send-logs"""

    def read(request: Request, body: bytes) -> Taken:
        if request.headers.get("dd-api-key") != key:
            raise Refused(403)
        if len(body) > 5_000_000:
            raise Refused(413)
        entries = json.loads(body)
        if not isinstance(entries, list) or len(entries) > 1000:
            raise Refused(413)
        for entry in entries:
            # The real one cuts it, and what follows is lost.
            if len(json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode()) > 1_000_000:
                raise Refused(413)
        return 202, [_of_datadog(entry) for entry in entries], b"{}"

    return Intake("/api/v2/logs", read, credential=key)


def _of_datadog(entry: dict[str, Any]) -> Arrived:
    tags = dict(tag.split(":", 1) for tag in entry["ddtags"].split(",") if tag)
    assert entry["ddsource"] == "turnout"
    assert isinstance(entry["timestamp"], int)
    assert entry["service"]
    level = {"warn": "warning"}.get(entry["status"], entry["status"])
    return Arrived(id=entry["turnout"]["id"], customer=tags.get("customer", ""), level=level, message=entry["message"])


def collector(token: str, *, refuse: int = 0) -> Intake:
    """https://opentelemetry.io/docs/specs/otlp/#otlphttp; it tells that it refused so many records of each request."""

    def read(request: Request, body: bytes) -> Taken:
        if request.headers.get("authorization") != token:
            raise Refused(401)
        if len(body) > 5_000_000:
            raise Refused(413)
        assert request.headers["content-type"] == "application/json"
        records = [
            record
            for resource in json.loads(body)["resourceLogs"]
            for scope in resource["scopeLogs"]
            for record in scope["logRecords"]
        ]
        answer = {"partialSuccess": {"rejectedLogRecords": str(refuse), "errorMessage": "too old"}} if refuse else {}
        return 200, [_of_otlp(record) for record in records][refuse:], json.dumps(answer).encode()

    return Intake("/v1/logs", read, credential=token)


_LEVELS = {5: "debug", 9: "info", 13: "warning", 17: "error"}


def _of_otlp(record: dict[str, Any]) -> Arrived:
    attributes = {one["key"]: next(iter(one["value"].values())) for one in record["attributes"]}
    if not re.fullmatch(r"\d{19}", record["timeUnixNano"]) or not re.fullmatch(r"[0-9a-f]{32}", record["traceId"]):
        raise ValueError("not as the protocol's JSON")
    return Arrived(
        id=attributes["turnout.id"],
        customer=attributes.get("turnout.customer", ""),
        level=_LEVELS[record["severityNumber"]],
        message=record["body"]["stringValue"],
    )
