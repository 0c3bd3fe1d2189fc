"""The executions' HTTP API: look up, follow, stop, run anew."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from turnout.errors import NotFound, Overloaded, UserError
from turnout.interfaces.payloads import PayloadStore
from turnout.interfaces.records import ExecutionQuery, RecordStore
from turnout.interfaces.service import Request, Response, Route, Service
from turnout.model.execution import Status
from turnout.services.metadata import Metadata
from turnout.services.record_json import record_json, time_text

__all__ = ["Changes", "Executions"]

_MOST = 500
_NUMBER = re.compile(r"[0-9]{1,15}")


class Changes(Protocol):
    """What people do with executions, as `turnout.local.operations` does it."""

    async def cancel(self, id: str, reason: str = "") -> bool: ...

    async def replay(self, id: str, *, step: str = "") -> str: ...


class Executions(Service):
    """`GET /api/executions[/<id>[/logs]]`, `POST /api/executions/<id>/cancel|replay`. Answers are as of the moment."""

    name = "executions"

    def __init__(self, records: RecordStore, payloads: PayloadStore, operations: Changes, metadata: Metadata) -> None:
        self._records = records
        self._payloads = payloads
        self._operations = operations
        self._metadata = metadata

    def routes(self) -> Sequence[Route]:
        return [
            Route(method="GET", path="/api/executions", handle=self.search),
            Route(method="GET", path="/api/executions/{id}", handle=self.show),
            Route(method="GET", path="/api/executions/{id}/logs", handle=self.logs),
            Route(method="POST", path="/api/executions/{id}/cancel", handle=self.cancel),
            Route(method="POST", path="/api/executions/{id}/replay", handle=self.replay),
        ]

    async def start(self) -> None:
        """Nothing runs on its own."""

    async def stop(self) -> None:
        """Nothing to stop."""

    async def show(self, request: Request) -> Response:
        await self._metadata.catch_up()
        record = await self._records.get(request.parameters["id"])
        if record is None:
            return _json(404, {"error": f"no execution {request.parameters['id']!r}"})
        return _json(200, await record_json(record, self._payloads))

    async def search(self, request: Request) -> Response:
        await self._metadata.catch_up()
        query = request.query
        try:
            statuses = tuple(Status(status) for status in query.get("status", "").split(",") if status)
            limit = min(int(query.get("limit", "50")), _MOST)
        except ValueError as error:
            return _json(400, {"error": str(error)})
        found = await self._records.search(
            ExecutionQuery(
                instance=query.get("instance", ""),
                integration=query.get("integration", ""),
                flow=query.get("flow", ""),
                text=query.get("text", ""),
                before=query.get("before", ""),
                statuses=statuses,
                limit=max(1, limit),
            )
        )
        listed = [await record_json(record, self._payloads) for record in found]
        unknown = ("steps", "sandboxes")  # a search does not look them up
        return _json(200, {"executions": [{k: v for k, v in one.items() if k not in unknown} for one in listed]})

    async def logs(self, request: Request) -> Response:
        await self._metadata.catch_up()
        after = request.query.get("after", "0")
        if not _NUMBER.fullmatch(after):
            return _json(400, {"error": "after: a line's number is needed"})
        if await self._records.get(request.parameters["id"]) is None:
            return _json(404, {"error": f"no execution {request.parameters['id']!r}"})
        lines = await self._records.logs(request.parameters["id"], after=int(after))
        shown = [
            {
                "number": number,
                "at": time_text(line.at),
                "level": line.level,
                "step": line.path,
                "message": line.message,
            }
            for number, line in lines
        ]
        return _json(200, {"logs": shown})

    async def cancel(self, request: Request) -> Response:
        try:
            stopped = await self._operations.cancel(request.parameters["id"])
        except NotFound as error:
            return _json(404, {"error": str(error)})
        except UserError as error:
            return _json(409, {"error": str(error)})
        return _json(202 if stopped else 200, {"cancelled": stopped})

    async def replay(self, request: Request) -> Response:
        """Whoever asks for it can wait, so it is held to the customer's capacity."""
        try:
            id = await self._operations.replay(request.parameters["id"], step=request.query.get("step", ""))
        except NotFound as error:
            return _json(404, {"error": str(error)})
        except Overloaded as error:
            return _json(429, {"error": str(error)}, {"retry-after": f"{error.retry_after_s:.0f}"})
        where = f"/api/executions/{id}"
        return _json(202, {"execution": id, "follow": where}, {"location": where})


def _json(status: int, data: Any, headers: Mapping[str, str] | None = None) -> Response:
    text = json.dumps(data, ensure_ascii=False)
    return Response(status=status, headers={"content-type": "application/json", **(headers or {})}, body=text.encode())
