"""The `dropbox` connector: files of a Dropbox account, by its API v2.

Uploads, moves and deletions are safe to repeat after a crash: Dropbox takes identical content at a path for no conflict, and
a move or deletion that finds its source gone in a repeated step is known to have happened. With `autorename` neither holds.
"""

from __future__ import annotations

import mimetypes
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final, Literal

from pydantic import Field, model_validator
from turnout.connectors import (
    ActionContext,
    AfterCrash,
    Connector,
    Effect,
    Effects,
    File,
    Found,
    Inputs,
    Poll,
    StepError,
)
from typing_extensions import TypedDict

from turnout_connectors import transport
from turnout_connectors.dropbox.api import Account, Dropbox, Token, path_missing

__all__ = ["connector"]

connector = Connector(
    "dropbox",
    title="Dropbox",
    description="List, download, upload, move and delete files of a Dropbox account.",
    docs="https://www.dropbox.com/developers/documentation/http/documentation",
)
connector.connection("token", Token)
connector.connection("oauth2", Account)

_WHOLE_BYTES: Final = 256 * 1024
_REQUEST_BYTES: Final = 150 * 1024 * 1024
_SESSION_CHUNK_BYTES: Final = 8 * 1024 * 1024
"""A multiple of 4 MiB, as Dropbox asks."""
_FILE_BYTES: Final = 350 * 1024**3

_PathField = Annotated[str, Field(pattern=r"^(/|id:|rev:|ns:)", description="Path, `/in/orders.xml`, or `id:…`")]


class List(Inputs):
    path: str = Field(default="", pattern=r"^($|/|id:|ns:)", description="Path of the folder; empty for the root")
    recursive: bool = Field(default=False, description="Everything below it too")
    kind: Literal["all", "files", "folders"] = Field(default="all", description="What to list")
    limit: int = Field(default=100_000, ge=1, description="Entries to list at most; more fail the step")


class Changes(Inputs):
    path: str = Field(default="", pattern=r"^($|/|id:|ns:)", description="Path of the folder; empty for the root")
    recursive: bool = Field(default=True, description="Everything below it too")
    start: Literal["now", "beginning"] = Field(
        default="now", description="Whether the first look finds what is there already, or only what comes later"
    )
    deleted: bool = Field(default=False, description="Start the flow for what was deleted too")


class Download(Inputs):
    path: _PathField


class Upload(Inputs):
    path: Annotated[str, Field(pattern=r"^/.*[^/]$", description="Path of the file to write, `/out/report.csv`")]
    content: str | File = Field(description="Text, or a file, which is streamed")
    mode: Literal["add", "overwrite", "update"] = Field(
        default="add",
        description="Where other content is there already: `add` fails, `overwrite` replaces it, `update` replaces it if its "
        "revision is still `rev`",
    )
    rev: str | None = Field(default=None, description="The revision to be replaced, with mode: update")
    autorename: bool = Field(default=False, description="Take a free name instead of failing")
    mute: bool = Field(default=False, description="Do not notify the account's user")

    @model_validator(mode="after")
    def _update_has_rev(self) -> Upload:
        if (self.mode == "update") != (self.rev is not None):
            raise ValueError("`rev` belongs to mode: update, and is needed there")
        return self


class Move(Inputs):
    from_path: _PathField
    to_path: Annotated[str, Field(pattern="^/", description="New path, with the name")]
    autorename: bool = Field(default=False, description="Take a free name instead of failing")


class Delete(Inputs):
    path: _PathField
    missing_ok: bool = Field(default=False, description="Succeed where nothing is at the path")


class Entries(TypedDict):
    entries: Annotated[list[dict[str, Any]], Field(description="Metadata of each, as Dropbox describes it")]


class Changed(TypedDict):
    metadata: Annotated[dict[str, Any] | None, Field(description="Metadata; null where nothing was there any more")]


@connector.action(effect=Effect.READ, name="list")
async def list_folder(context: ActionContext, inputs: List) -> Entries:
    """List a folder."""
    dropbox = await Dropbox.of(context)
    wanted = {"all": {"file", "folder"}, "files": {"file"}, "folders": {"folder"}}[inputs.kind]
    path = inputs.path if inputs.path != "/" else ""
    page = await dropbox.call("list_folder", {"path": path, "recursive": inputs.recursive})
    entries: list[dict[str, Any]] = []
    while True:
        entries += [entry for entry in page.get("entries", []) if entry.get(".tag") in wanted]
        if len(entries) > inputs.limit:
            raise StepError(
                f"dropbox.list: there are more than {inputs.limit} entries in {inputs.path or 'the root'}: raise `limit`",
                kind="too_many_entries",
                retryable=False,
            )
        if not page.get("has_more"):
            return {"entries": entries}
        page = await dropbox.call("list_folder/continue", {"cursor": page["cursor"]})


@connector.polling()
async def changed(context: ActionContext, inputs: Changes, cursor: Any) -> Poll:
    """A file is new or changed.

    The flow's `trigger` is the file's metadata, as Dropbox describes it; `dropbox.download` gets its content.
    """
    dropbox = await Dropbox.of(context)
    path = inputs.path if inputs.path != "/" else ""
    argument = {"path": path, "recursive": inputs.recursive, "include_deleted": inputs.deleted}
    if cursor is None and inputs.start == "now":
        return Poll(cursor=(await dropbox.call("list_folder/get_latest_cursor", argument))["cursor"])
    if cursor is None:
        page = await dropbox.call("list_folder", argument)
    else:
        page = await dropbox.call("list_folder/continue", {"cursor": cursor})
    wanted = {"file", "deleted"} if inputs.deleted else {"file"}
    items = [_found(entry, page["cursor"]) for entry in page.get("entries", []) if entry.get(".tag") in wanted]
    return Poll(items=items, cursor=page["cursor"], more=bool(page.get("has_more")))


def _found(entry: dict[str, Any], cursor: str) -> Found:
    """A file is known by its revision; a deletion has none, and comes in one page of changes alone."""
    return Found(id=f"{entry.get('id', entry.get('path_lower'))} {entry.get('rev', cursor)}", value=entry)


@connector.action(effect=Effect.READ)
async def download(context: ActionContext, inputs: Download) -> File:
    """Download a file.

    Its content type goes by its name's ending.
    """
    dropbox = await Dropbox.of(context)
    async with dropbox.download("download", {"path": inputs.path}) as (metadata, response):
        name = str(metadata.get("name", ""))
        body = transport.content(response, limit_bytes=_FILE_BYTES)
        small = metadata.get("size", _WHOLE_BYTES + 1) <= _WHOLE_BYTES
        content = b"".join([chunk async for chunk in body]) if small else body
        return await context.files.create(content, name=name, content_type=_content_type(name))


def _upload_effects(inputs: Upload) -> Effects:
    return Effects(effect=Effect.EFFECT, after_crash=AfterCrash.NONE if inputs.autorename else AfterCrash.UPSERT)


@connector.action(effect=_upload_effects)
async def upload(context: ActionContext, inputs: Upload) -> dict[str, Any]:
    """Upload a file.

    Folders on the way are made. Up to 150 MB go in one request, more in an upload session. Returns the file's metadata.
    """
    dropbox = await Dropbox.of(context)
    mode = {".tag": "update", "update": inputs.rev} if inputs.mode == "update" else inputs.mode
    commit = {"path": inputs.path, "mode": mode, "autorename": inputs.autorename, "mute": inputs.mute}
    if isinstance(inputs.content, str):
        data = inputs.content.encode()
        return await dropbox.upload("upload", commit, data, len(data))
    file = inputs.content
    if file.size <= _REQUEST_BYTES:
        return await dropbox.upload("upload", commit, context.files.open(file), file.size)
    return await _upload_in_session(context, dropbox, file, commit)


async def _upload_in_session(
    context: ActionContext, dropbox: Dropbox, file: File, commit: dict[str, Any]
) -> dict[str, Any]:
    session = (await dropbox.upload("upload_session/start", {"close": False}, b"", 0))["session_id"]
    offset = 0
    async for chunk in _chunks(context.files.open(file)):
        cursor = {"session_id": session, "offset": offset}
        await dropbox.upload("upload_session/append_v2", {"cursor": cursor, "close": False}, chunk, len(chunk))
        offset += len(chunk)
    cursor = {"session_id": session, "offset": offset}
    return await dropbox.upload("upload_session/finish", {"cursor": cursor, "commit": commit}, b"", 0)


def _move_effects(inputs: Move) -> Effects:
    return Effects(effect=Effect.EFFECT, after_crash=AfterCrash.NONE if inputs.autorename else AfterCrash.QUERY)


@connector.action(effect=_move_effects)
async def move(context: ActionContext, inputs: Move) -> Changed:
    """Move or rename a file or folder."""
    dropbox = await Dropbox.of(context)
    argument = {"from_path": inputs.from_path, "to_path": inputs.to_path, "autorename": inputs.autorename}
    try:
        return {"metadata": (await dropbox.call("move_v2", argument)).get("metadata")}
    except StepError as error:
        if not (path_missing(error) and _may_have_happened(context)) or inputs.autorename:
            raise
        context.log.info(f"dropbox.move: {inputs.from_path} is gone already; looking at {inputs.to_path}")
        return {"metadata": await dropbox.call("get_metadata", {"path": inputs.to_path})}


@connector.action(effect=Effect.EFFECT, after_crash=AfterCrash.QUERY)
async def delete(context: ActionContext, inputs: Delete) -> Changed:
    """Delete a file or folder."""
    dropbox = await Dropbox.of(context)
    try:
        return {"metadata": (await dropbox.call("delete_v2", {"path": inputs.path})).get("metadata")}
    except StepError as error:
        if not path_missing(error) or not (inputs.missing_ok or _may_have_happened(context)):
            raise
        return {"metadata": None}


def _may_have_happened(context: ActionContext) -> bool:
    """An earlier attempt may have reached Dropbox: its process died, or its answer was lost and it is tried again."""
    return context.repeated or context.attempt > 1


async def _chunks(content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in chunks of the session's size, the last one shorter."""
    buffer = bytearray()
    async for part in content:
        buffer += part
        while len(buffer) >= _SESSION_CHUNK_BYTES:
            yield bytes(buffer[:_SESSION_CHUNK_BYTES])
            del buffer[:_SESSION_CHUNK_BYTES]
    if buffer:
        yield bytes(buffer)


_TYPES: Final = mimetypes.MimeTypes(filenames=())
"""Python's own table: the machine's mime.types would give other types on other machines."""


def _content_type(name: str) -> str:
    return _TYPES.guess_type(name)[0] or "application/octet-stream"
