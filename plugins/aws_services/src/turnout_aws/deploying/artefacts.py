"""Artefacts in a bucket: each at the key of its content, uploaded where it is not there."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from turnout_aws.clients import CallFailed, call
from turnout_aws.deploying.packages import Artefact

__all__ = ["Bucket"]

_ABSENT: Final = frozenset({"404", "NoSuchKey", "NotFound"})


class Bucket:
    """`client` is boto3's for S3."""

    def __init__(self, client: Any, name: str, prefix: str, tell: Callable[[str], None]) -> None:
        self.name = name
        self._client = client
        self._prefix = prefix.strip("/")
        self._tell = tell

    def key(self, project: str, sha256: str, suffix: str) -> str:
        return "/".join(part for part in (self._prefix, project, f"{sha256}{suffix}") if part)

    async def put(self, project: str, artefact: Artefact) -> None:
        key = self.key(project, artefact.sha256, artefact.path.suffix)
        if await self._has(key):
            return
        self._tell(f"uploading {artefact.path} to s3://{self.name}/{key}")
        await call(f"s3://{self.name}/{key}", self._upload, path=artefact.path, key=key, sha256=artefact.sha256)

    async def put_template(self, project: str, body: bytes) -> str:
        """Its URL, as CloudFormation takes it."""
        key = self.key(project, hashlib.sha256(body).hexdigest(), ".json")
        await call(f"s3://{self.name}/{key}", self._client.put_object, Bucket=self.name, Key=key, Body=body)
        return f"{self._client.meta.endpoint_url}/{self.name}/{key}"

    async def _has(self, key: str) -> bool:
        try:
            await call(f"s3://{self.name}/{key}", self._client.head_object, Bucket=self.name, Key=key)
        except CallFailed as error:
            if error.code in _ABSENT:
                return False
            raise
        return True

    def _upload(self, *, path: Path, key: str, sha256: str) -> None:
        """In one request, which S3 refuses where other bytes arrive than were packaged. A zip for Lambda has 250 MB at most."""
        digest = base64.b64encode(bytes.fromhex(sha256)).decode()
        with path.open("rb") as body:
            self._client.put_object(Bucket=self.name, Key=key, Body=body, ChecksumSHA256=digest)
