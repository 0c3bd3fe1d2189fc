"""Content on its way out of S3: read as it is wanted, and from where it broke off when a connection does."""

from __future__ import annotations

import asyncio
from typing import Any, Final, Self

from turnout.errors import BackendError

from turnout_lambda.clients import CallFailed
from turnout_lambda.s3_writing import Bucket

__all__ = ["Download"]

_RESUMES: Final = 3
"""How often in a row a reader goes on where the connection broke off, without a byte in between."""


class Download:
    """One object, from its beginning. Its bytes may come over several connections; they are of the same object."""

    def __init__(self, bucket: Bucket, key: str, answer: dict[str, Any]) -> None:
        self._bucket = bucket
        self._key = key
        self._body = answer["Body"]
        self._tag = answer["ETag"]
        self._at = 0
        self.size = int(answer["ContentLength"])

    @classmethod
    async def begin(cls, bucket: Bucket, key: str) -> Self:
        """`CallFailed` with S3's code if there is none."""
        return cls(bucket, key, await bucket.call("give a payload", "get_object", Key=key))

    async def read(self, size: int) -> bytes:
        """The next bytes, at most `size`; none at the end."""
        for resumed in range(_RESUMES + 1):
            if self._at >= self.size:
                return b""
            try:
                chunk = await asyncio.to_thread(self._read, size)
            except BackendError:
                if resumed == _RESUMES:
                    raise
                chunk = b""
            if chunk:
                self._at += len(chunk)
                return chunk
            await self._resume()
        raise BackendError(f"S3 broke off a payload after {self._at} of {self.size} bytes, again and again")

    async def close(self) -> None:
        await asyncio.to_thread(self._body.close)

    def _read(self, size: int) -> bytes:
        from botocore.exceptions import (  # type: ignore[import-untyped]
            BotoCoreError,
            FlexibleChecksumError,
            HTTPClientError,
        )
        from urllib3.exceptions import HTTPError

        try:
            chunk: bytes = self._body.read(size)
        except FlexibleChecksumError as error:
            raise BackendError(f"S3 gave a payload that is not what was put: {error}") from error
        except (BotoCoreError, HTTPClientError, HTTPError, OSError) as error:
            raise BackendError(f"S3 broke off a payload after {self._at} of {self.size} bytes: {error}") from error
        return chunk

    async def _resume(self) -> None:
        await self.close()
        try:
            answer = await self._bucket.call(
                "go on with a payload", "get_object", Key=self._key, Range=f"bytes={self._at}-", IfMatch=self._tag
            )
        except CallFailed as error:
            raise BackendError(f"a payload was removed while it was read: {error}") from error
        self._body = answer["Body"]
