"""A Dropbox that lives in memory: the documented HTTP shape of API v2's file endpoints, errors and paging included.

    standin = DropboxStandIn(token="secret")
    standin.put("/orders.xml", b"<orders/>")
    async with serving(standin.app) as url:   # turnout_connectors.standins.serving
        ...                                   # connection: {access_token: secret, base_url: url}

`python -m turnout_connectors.standins.dropbox --port 8601 --token secret --file /orders.xml=orders.xml` runs it alone.
Source: https://www.dropbox.com/developers/documentation/http/documentation
"""

from __future__ import annotations

import json
import posixpath
import re
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from turnout_connectors.standins.dropbox_tree import Conflict, Tree, WriteMode

__all__ = ["DropboxStandIn"]

_PATH = re.compile(r"/(.|[\r\n])*|id:.+")
_REQUEST_BYTES = 150 * 1024 * 1024

_Endpoint = Callable[[Request, dict[str, Any]], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """What a cursor stands for: a listing, what of it is still to be shown, and what was there (path and revision) when it
    was made, with which later changes are compared."""

    path: str
    recursive: bool
    deleted: bool
    size: int
    left: tuple[dict[str, Any], ...]
    seen: Mapping[str, str]


class DropboxStandIn:
    """One account's Dropbox. `app` is the ASGI application of both of its hosts; `calls` names the endpoints called.

    `page_size` entries make a page of a listing; `request_bytes` is the most that one request may carry.
    """

    def __init__(self, *, token: str = "token", page_size: int = 500, request_bytes: int = _REQUEST_BYTES) -> None:  # noqa: S107 - a stand-in's
        self.token = token
        self.expired_tokens: set[str] = set()
        self.page_size = page_size
        self.request_bytes = request_bytes
        self.calls: list[str] = []
        self._tree = Tree()
        self._cursors: dict[str, _Place] = {}
        self._sessions: dict[str, bytearray] = {}
        self._failures: deque[Response] = deque()
        self.app = Starlette(
            routes=[
                self._rpc("list_folder", self._list_folder),
                self._rpc("list_folder/continue", self._continue),
                self._rpc("list_folder/get_latest_cursor", self._latest_cursor),
                self._rpc("get_metadata", self._get_metadata),
                self._rpc("create_folder_v2", self._create_folder),
                self._rpc("move_v2", self._move),
                self._rpc("delete_v2", self._delete),
                self._content("download", self._download),
                self._content("upload", self._upload),
                self._content("upload_session/start", self._session_start),
                self._content("upload_session/append_v2", self._session_append),
                self._content("upload_session/finish", self._session_finish),
            ]
        )

    def put(self, path: str, content: bytes) -> None:
        """Place a file, over whatever file is there."""
        self._tree.write(path, content, WriteMode(tag="overwrite"))

    def content(self, path: str) -> bytes | None:
        """The content of the file at the path; None where there is none."""
        entry = self._tree.get(path)
        return entry.content if entry is not None else None

    def paths(self) -> list[str]:
        """The paths of all files and folders."""
        return [entry.path for entry in self._tree.children("", recursive=True)]

    def fail_next(self, status: int, body: object = "", *, headers: dict[str, str] | None = None) -> None:
        """Answer one of the next calls with this status instead, in the order asked for."""
        answer = PlainTextResponse(body, status) if isinstance(body, str) else JSONResponse(body, status)
        answer.headers.update(headers or {})
        self._failures.append(answer)

    def _rpc(self, name: str, endpoint: _Endpoint) -> Route:
        async def handle(request: Request) -> Response:
            if not request.headers.get("content-type", "").startswith("application/json"):
                return _bad_request(name, 'Bad HTTP "Content-Type" header: expecting "application/json"')
            return await self._answer(name, endpoint, request, (await request.body()).decode())

        return Route(f"/2/files/{name}", handle, methods=["POST"])

    def _content(self, name: str, endpoint: _Endpoint) -> Route:
        async def handle(request: Request) -> Response:
            kind = request.headers.get("content-type", "")
            if name == "download" and kind not in {"", "text/plain; charset=utf-8", "application/octet-stream"}:
                return _bad_request(name, f'Bad HTTP "Content-Type" header: "{kind}"')
            if name != "download" and kind != "application/octet-stream":
                return _bad_request(
                    name, f'Bad HTTP "Content-Type" header: "{kind}". Expecting "application/octet-stream"'
                )
            return await self._answer(name, endpoint, request, request.headers.get("dropbox-api-arg", ""))

        return Route(f"/2/files/{name}", handle, methods=["POST"])

    async def _answer(self, name: str, endpoint: _Endpoint, request: Request, text: str) -> Response:
        self.calls.append(name)
        if self._failures:
            return self._failures.popleft()
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not token:
            return _bad_request(name, 'Must provide HTTP header "Authorization" or URL parameter "authorization".')
        if token in self.expired_tokens:
            return _error(401, "expired_access_token", {".tag": "expired_access_token"})
        if token != self.token:
            return _error(401, "invalid_access_token", {".tag": "invalid_access_token"})
        if not text.isascii():
            return _bad_request(name, 'HTTP header "Dropbox-API-Arg": not ASCII')
        try:
            argument = json.loads(text)
        except ValueError:
            return _bad_request(name, "could not decode input as JSON")
        if not isinstance(argument, dict):
            return _bad_request(name, "request body: expected object")
        return await endpoint(request, argument)

    async def _list_folder(self, request: Request, argument: dict[str, Any]) -> Response:
        path = argument.get("path", "")
        if path == "/":
            return _bad_request(
                "list_folder",
                'request body: path: Specify the root folder as an empty string rather than as "/".',
            )
        folder = self._tree.get(path) if path else None
        if path and folder is None:
            return _lookup("path", "not_found")
        if folder is not None and folder.content is not None:
            return _lookup("path", "not_folder")
        return self._page(self._place(argument, path if folder is None else folder.path))

    def _place(self, argument: dict[str, Any], path: str) -> _Place:
        """The whole of a listing, to be shown from its begin."""
        recursive = bool(argument.get("recursive"))
        entries = self._tree.children(path, recursive=recursive)
        return _Place(
            path=path,
            recursive=recursive,
            deleted=bool(argument.get("include_deleted")),
            size=min(int(argument.get("limit") or self.page_size), self.page_size),
            left=tuple(entry.metadata() for entry in entries),
            seen={entry.path: entry.rev for entry in entries},
        )

    async def _continue(self, request: Request, argument: dict[str, Any]) -> Response:
        place = self._cursors.get(argument.get("cursor", ""))
        if place is None:
            return _error(409, "reset", {".tag": "reset"})
        return self._page(place if place.left else self._changed_since(place))

    async def _latest_cursor(self, request: Request, argument: dict[str, Any]) -> Response:
        return JSONResponse({"cursor": self._keep(replace(self._place(argument, argument.get("path", "")), left=()))})

    def _changed_since(self, place: _Place) -> _Place:
        entries = self._tree.children(place.path, recursive=place.recursive)
        changed = [entry.metadata() for entry in entries if place.seen.get(entry.path) != entry.rev]
        gone = place.seen.keys() - {entry.path for entry in entries} if place.deleted else ()
        deleted = [
            {".tag": "deleted", "name": posixpath.basename(path), "path_lower": path.lower()} for path in sorted(gone)
        ]
        return replace(place, left=(*changed, *deleted), seen={entry.path: entry.rev for entry in entries})

    def _page(self, place: _Place) -> Response:
        shown, left = place.left[: place.size], place.left[place.size :]
        cursor = self._keep(replace(place, left=left, size=self.page_size))
        return JSONResponse({"entries": shown, "cursor": cursor, "has_more": bool(left)})

    def _keep(self, place: _Place) -> str:
        cursor = secrets.token_urlsafe(24)
        self._cursors[cursor] = place
        return cursor

    async def _get_metadata(self, request: Request, argument: dict[str, Any]) -> Response:
        entry = self._tree.get(argument.get("path", ""))
        return JSONResponse(entry.metadata()) if entry is not None else _lookup("path", "not_found")

    async def _create_folder(self, request: Request, argument: dict[str, Any]) -> Response:
        path = argument.get("path", "")
        if not _PATH.fullmatch(path):
            return _malformed("path", path)
        if self._tree.get(path) is not None:
            return _conflict("path", Conflict("folder"))
        return JSONResponse({"metadata": self._tree.make_folder(path).metadata(tag=False)})

    async def _move(self, request: Request, argument: dict[str, Any]) -> Response:
        source = self._tree.get(argument.get("from_path", ""))
        if source is None:
            return _lookup("from_lookup", "not_found")
        target = argument.get("to_path", "")
        if not _PATH.fullmatch(target) or target.startswith("id:"):
            return _malformed("to", target)
        try:
            moved = self._tree.move(source, target, autorename=bool(argument.get("autorename")))
        except Conflict as conflict:
            return _conflict("to", conflict)
        return JSONResponse({"metadata": moved.metadata()})

    async def _delete(self, request: Request, argument: dict[str, Any]) -> Response:
        entry = self._tree.get(argument.get("path", ""))
        if entry is None:
            return _lookup("path_lookup", "not_found")
        if argument.get("parent_rev") not in {None, entry.rev}:
            return _conflict("path_write", Conflict("file"))
        self._tree.delete(entry)
        return JSONResponse({"metadata": entry.metadata()})

    async def _download(self, request: Request, argument: dict[str, Any]) -> Response:
        entry = self._tree.get(argument.get("path", ""))
        if entry is None:
            return _lookup("path", "not_found")
        if entry.content is None:
            return _lookup("path", "not_file")
        result = json.dumps(entry.metadata(tag=False)).replace("\x7f", "\\u007f")
        headers = {"dropbox-api-result": result, "original-content-length": str(len(entry.content))}
        return Response(entry.content, media_type="application/octet-stream", headers=headers)

    async def _upload(self, request: Request, argument: dict[str, Any]) -> Response:
        content = await self._body(request)
        if content is None:
            return _error(409, "payload_too_large", {".tag": "payload_too_large"})
        return self._commit(argument, content)

    async def _session_start(self, request: Request, argument: dict[str, Any]) -> Response:
        content = await self._body(request)
        if content is None:
            return _error(409, "payload_too_large", {".tag": "payload_too_large"})
        session = secrets.token_urlsafe(16)
        self._sessions[session] = bytearray(content)
        return JSONResponse({"session_id": session})

    async def _session_append(self, request: Request, argument: dict[str, Any]) -> Response:
        session, refusal = self._session(argument, "")
        if refusal is not None:
            return refusal
        content = await self._body(request)
        if content is None:
            return _error(409, "payload_too_large", {".tag": "payload_too_large"})
        session += content
        return JSONResponse(None)

    async def _session_finish(self, request: Request, argument: dict[str, Any]) -> Response:
        session, refusal = self._session(argument, "lookup_failed")
        if refusal is not None:
            return refusal
        content = await self._body(request)
        if content is None:
            return _error(409, "payload_too_large", {".tag": "payload_too_large"})
        answer = self._commit(argument.get("commit", {}), bytes(session + content))
        if answer.status_code == 200:
            del self._sessions[argument["cursor"]["session_id"]]
        return answer

    def _session(self, argument: dict[str, Any], wrapper: str) -> tuple[bytearray, Response | None]:
        """The session that the cursor names, or the refusal to answer with, inside `wrapper` if there is one."""
        cursor = argument.get("cursor", {})
        session = self._sessions.get(cursor.get("session_id", ""))
        if session is not None and cursor.get("offset") == len(session):
            return session, None
        reason = (
            {".tag": "not_found"} if session is None else {".tag": "incorrect_offset", "correct_offset": len(session)}
        )
        error = {".tag": wrapper, wrapper: reason} if wrapper else reason
        return bytearray(), _error(409, "/".join(filter(None, (wrapper, str(reason[".tag"])))), error)

    async def _body(self, request: Request) -> bytes | None:
        """The body; None where it is larger than a request may be."""
        content = bytearray()
        async for chunk in request.stream():
            content += chunk
        return bytes(content) if len(content) <= self.request_bytes else None

    def _commit(self, argument: dict[str, Any], content: bytes) -> Response:
        path = argument.get("path", "")
        if not _PATH.fullmatch(path) or path.endswith("/"):
            return _malformed("path", path)
        mode = argument.get("mode", "add")
        tag, rev = (mode, "") if isinstance(mode, str) else (mode.get(".tag", ""), mode.get("update", ""))
        if tag not in {"add", "overwrite", "update"}:
            return _bad_request("upload", f"mode: unknown tag {tag!r}")
        try:
            entry = self._tree.write(
                path, content, WriteMode(tag=tag, rev=rev, autorename=bool(argument.get("autorename")))
            )
        except Conflict as conflict:
            return _conflict("path", conflict, inside="reason")
        return JSONResponse(entry.metadata(tag=False))


def _bad_request(name: str, message: str) -> Response:
    return PlainTextResponse(f'Error in call to API function "files/{name}": {message}', 400)


def _error(status: int, summary: str, error: object) -> Response:
    return JSONResponse({"error_summary": f"{summary}/...", "error": error}, status)


def _lookup(wrapper: str, reason: str) -> Response:
    return _error(409, f"{wrapper}/{reason}", {".tag": wrapper, wrapper: {".tag": reason}})


def _malformed(wrapper: str, path: object) -> Response:
    reason = {".tag": "malformed_path", "malformed_path": path}
    return _error(409, f"{wrapper}/malformed_path", {".tag": wrapper, wrapper: reason})


def _conflict(wrapper: str, conflict: Conflict, *, inside: str = "") -> Response:
    reason = {".tag": "conflict", "conflict": {".tag": conflict.what}}
    return _error(409, f"{wrapper}/conflict/{conflict.what}", {".tag": wrapper, inside or wrapper: reason})


def _main() -> None:
    import argparse
    from pathlib import Path

    import uvicorn

    parser = argparse.ArgumentParser(description="A Dropbox in memory.")
    parser.add_argument("--port", type=int, default=8601)
    parser.add_argument("--token", default="token")
    parser.add_argument("--file", action="append", default=[], metavar="PATH=FILE", help="a file to begin with")
    options = parser.parse_args()
    standin = DropboxStandIn(token=options.token)
    for item in options.file:
        path, _, file = item.partition("=")
        standin.put(path, Path(file).read_bytes())
    uvicorn.run(standin.app, host="127.0.0.1", port=options.port, log_level="warning")


if __name__ == "__main__":
    _main()
