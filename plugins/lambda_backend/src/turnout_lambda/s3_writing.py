"""Content on its way into S3: in parts of a bounded size, whatever comes, and gone without a trace when it fails."""

from __future__ import annotations

import base64
import hashlib
import io
import secrets
from dataclasses import dataclass, field
from typing import Any, Final

from turnout.errors import BackendError
from turnout.interfaces.payloads import PayloadRef

from turnout_lambda.clients import CallFailed, call

__all__ = ["PART_BYTES", "Bucket", "Upload"]

PART_BYTES: Final = 5 * 1024 * 1024
"""The smallest part that S3 takes: so much of a stream is held in memory."""
_MOST_PARTS: Final = 10_000
COPY_BYTES: Final = 5 * 1024 * 1024 * 1024
"""The most that S3 copies by one request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """Where objects are; `encryption` is what each request that makes one says of it. `copy_bytes`: the largest copy at once."""

    client: Any
    name: str
    encryption: dict[str, str] = field(default_factory=dict)
    copy_bytes: int = COPY_BYTES

    async def call(self, what: str, operation: str, **parameters: Any) -> Any:
        """What S3 answers. `CallFailed` says what could not be done, and names no key."""
        function = getattr(self.client, operation)
        return await call(f"S3 did not {what} (bucket {self.name})", function, Bucket=self.name, **parameters)


class Upload:
    """One content. `add` chunks, `send` when it says so, `finish` at its place; or `discard`."""

    def __init__(self, bucket: Bucket, *, incoming: str) -> None:
        self._bucket = bucket
        self._incoming = f"{incoming}/{secrets.token_hex(16)}"
        self._buffer = io.BytesIO()
        self._digest = hashlib.sha256()
        self._size = 0
        self._upload_id = ""
        self._parts: list[dict[str, Any]] = []
        self._copying: tuple[str, str] | None = None

    @property
    def ref(self) -> PayloadRef:
        """Of what was added so far."""
        return PayloadRef(sha256=self._digest.hexdigest(), size=self._size)

    def add(self, chunk: bytes) -> bool:
        """Whether enough has gathered to be sent."""
        self._digest.update(chunk)
        self._size += len(chunk)
        self._buffer.write(chunk)
        return self._buffer.tell() > PART_BYTES

    async def send(self) -> None:
        """Send a part."""
        if len(self._parts) == _MOST_PARTS:
            raise BackendError(f"a payload has at most {_MOST_PARTS * PART_BYTES} bytes in S3")
        if not self._upload_id:
            self._upload_id = await self._begin(self._incoming)
        number = len(self._parts) + 1
        self._buffer.seek(0)
        answer = await self._bucket.call(
            "take a part of a payload",
            "upload_part",
            Key=self._incoming,
            UploadId=self._upload_id,
            PartNumber=number,
            Body=self._buffer,
        )
        self._parts.append(_part(number, answer))
        self._empty()

    async def finish(self, key: str) -> None:
        """Give the content its place. What is small goes there at once, with its digest for S3 to check."""
        if not self._upload_id:
            checksum = base64.b64encode(self._digest.digest()).decode()
            self._buffer.seek(0)
            await self._bucket.call(
                "take a payload",
                "put_object",
                Key=key,
                Body=self._buffer,
                ChecksumSHA256=checksum,
                **self._bucket.encryption,
            )
            self._empty()
            return
        if self._buffer.tell():
            await self.send()
        await self._complete(self._incoming, self._upload_id, self._parts)
        self._upload_id = ""
        await self._copy(key)
        await self._remove()

    async def discard(self) -> None:
        """Leave nothing behind; what cannot be removed now is left to the bucket's lifecycle rule."""
        try:
            if self._upload_id:
                await self._abort(self._incoming, self._upload_id)
            if self._copying is not None:
                await self._abort(*self._copying)
            if self._parts:
                await self._remove()
        except CallFailed:
            return

    def _empty(self) -> None:
        """Of the same buffer: boto3 leaves requests in cycles, which would hold one part each until they are collected."""
        self._buffer.seek(0)
        self._buffer.truncate()

    async def _copy(self, key: str) -> None:
        source = {"Bucket": self._bucket.name, "Key": self._incoming}
        if self._size <= self._bucket.copy_bytes:
            await self._bucket.call(
                "move a payload", "copy_object", Key=key, CopySource=source, **self._bucket.encryption
            )
            return
        upload_id = await self._begin(key)
        self._copying = key, upload_id
        parts = []
        for number, start in enumerate(range(0, self._size, self._bucket.copy_bytes), 1):
            end = min(start + self._bucket.copy_bytes, self._size) - 1
            answer = await self._bucket.call(
                "move a part of a payload",
                "upload_part_copy",
                Key=key,
                UploadId=upload_id,
                PartNumber=number,
                CopySource=source,
                CopySourceRange=f"bytes={start}-{end}",
            )
            parts.append(_part(number, answer["CopyPartResult"]))
        await self._complete(key, upload_id, parts)
        self._copying = None

    async def _begin(self, key: str) -> str:
        answer = await self._bucket.call(
            "begin an upload", "create_multipart_upload", Key=key, **self._bucket.encryption
        )
        upload_id: str = answer["UploadId"]
        return upload_id

    async def _complete(self, key: str, upload_id: str, parts: list[dict[str, Any]]) -> None:
        await self._bucket.call(
            "complete an upload",
            "complete_multipart_upload",
            Key=key,
            UploadId=upload_id,
            MultipartUpload={"Parts": parts},
        )

    async def _abort(self, key: str, upload_id: str) -> None:
        await self._bucket.call("abort an upload", "abort_multipart_upload", Key=key, UploadId=upload_id)

    async def _remove(self) -> None:
        await self._bucket.call("remove what was uploaded", "delete_object", Key=self._incoming)


def _part(number: int, answer: dict[str, Any]) -> dict[str, Any]:
    checksums = {
        name: value for name, value in answer.items() if name.startswith("Checksum") and name != "ChecksumType"
    }
    return {"PartNumber": number, "ETag": answer["ETag"]} | checksums
