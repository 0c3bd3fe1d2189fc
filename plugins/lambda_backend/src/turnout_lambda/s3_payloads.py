"""The payload store in a bucket of S3: one object for each content of each customer, named by its hash.

    PREFIX/customer=<name>/<hash>    the content; the customer's name percent-encoded
    PREFIX/incoming/<random>         a stream whose hash is not known before its end; then copied to its place

A content has its name once it is whole: what carries a hash's name was put by who had hashed it, and is hashed again by
who reads it.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, Final, Literal, Self
from urllib.parse import quote, unquote

from pydantic import Field, model_validator
from turnout.errors import BackendError, PayloadMissing, SettingsError
from turnout.interfaces.opening import Opening
from turnout.interfaces.payloads import PayloadRef, PayloadStore
from turnout.interfaces.permission import Permission
from turnout.model.durability import Durability

from turnout_lambda.clients import AwsOptions, CallFailed, call, make_client
from turnout_lambda.s3_reading import Download
from turnout_lambda.s3_writing import PART_BYTES, Bucket, Upload

__all__ = ["S3Options", "S3PayloadStore", "lifecycle_rules"]

_HASH: Final = re.compile("[0-9a-f]{64}")
_LONGEST_CUSTOMER: Final = 800
"""Bytes of a customer's encoded name: a key has 1024 at most."""
_CUSTOMER: Final = "customer="
_ABSENT: Final = frozenset({"404", "NoSuchKey"})


class S3Options(AwsOptions):
    """`[backends.s3]`."""

    bucket: str = Field(
        pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", description="The bucket. It is not made: your templates do."
    )
    prefix: str = Field(
        default="payloads",
        pattern=r"^[A-Za-z0-9!_.*'()-]+(/[A-Za-z0-9!_.*'()-]+)*$",
        max_length=100,
        description="What the keys of all content begin with. Projects that share a bucket differ in it.",
    )
    encryption: Literal["bucket", "AES256", "aws:kms"] = Field(
        default="bucket", description="How content is encrypted at rest; `bucket`: as the bucket's default says."
    )
    kms_key_id: str | None = Field(
        default=None, min_length=1, description="The key of `aws:kms`; without it the account's own for S3."
    )

    @model_validator(mode="after")
    def _key_where_it_is_used(self) -> Self:
        if self.kms_key_id is not None and self.encryption != "aws:kms":
            raise ValueError('kms_key_id needs encryption = "aws:kms"')
        return self


def lifecycle_rules(prefix: str = "payloads") -> list[dict[str, Any]]:
    """What a template gives the bucket as its lifecycle rules, in the words of S3's API: what a killed process left of an
    upload goes after a day. Content itself goes by the project's retention, which knows what is still needed."""
    return [
        {
            "ID": "turnout-unfinished-uploads",
            "Status": "Enabled",
            "Filter": {"Prefix": f"{prefix}/"},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
        },
        {
            "ID": "turnout-incoming",
            "Status": "Enabled",
            "Filter": {"Prefix": f"{prefix}/incoming/"},
            "Expiration": {"Days": 1},
        },
        {
            "ID": "turnout-former-versions",
            "Status": "Enabled",
            "Filter": {"Prefix": f"{prefix}/"},
            "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
        },
    ]


class S3PayloadStore(PayloadStore):
    """Payloads in `bucket`. Safe for any number of processes. S3's clock says when content was put, to the second."""

    def __init__(self, bucket: Bucket, *, prefix: str = "payloads") -> None:
        self._bucket = bucket
        self._prefix = prefix

    @classmethod
    def permissions(cls, opening: Opening) -> Sequence[Permission]:
        options = opening.read(S3Options)
        bucket = f"arn:${{AWS::Partition}}:s3:::{options.bucket}"
        actions = ("s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject")
        needed = [
            Permission(actions=actions, resources=(f"{bucket}/{options.prefix}/*",)),
            Permission(actions=("s3:ListBucket",), resources=(bucket,)),
        ]
        if options.kms_key_id is not None and options.kms_key_id.startswith("arn:"):
            use = ("kms:Decrypt", "kms:GenerateDataKey")
            needed.append(Permission(actions=use, resources=(options.kms_key_id,)))
        return needed

    @classmethod
    async def connect(cls, opening: Opening) -> Self:
        options = opening.read(S3Options)
        setting = f"backends.{opening.name}"
        client = make_client("s3", options, setting=setting)
        bucket = Bucket(
            client=client, name=options.bucket, encryption=_encryption(options.encryption, options.kms_key_id)
        )
        try:
            await call(
                f"{setting}.bucket: S3 does not open the bucket {options.bucket!r}",
                client.head_bucket,
                Bucket=options.bucket,
            )
        except CallFailed as error:
            if error.code in ("404", "NoSuchBucket"):
                message = f"{setting}.bucket: there is no bucket {options.bucket!r}: make it, in the region of Turnout"
                raise SettingsError(message, setting=f"{setting}.bucket") from error
            raise
        return cls(bucket, prefix=options.prefix)

    @property
    def durability(self) -> Durability:
        return Durability.HOST

    def describe(self) -> str:
        return f"S3, bucket {self._bucket.name}"

    async def put(self, tenant: str, chunks: AsyncIterator[bytes] | bytes) -> PayloadRef:
        if isinstance(chunks, bytes):
            chunks = _pieces(chunks)
        upload = Upload(self._bucket, incoming=f"{self._prefix}/incoming")
        try:
            async for chunk in chunks:
                if upload.add(chunk):
                    await upload.send()
            ref = upload.ref
            await upload.finish(self._key(tenant, ref.sha256))
        except BaseException:
            # Also for who cancelled: what was sent so far would be paid for until the lifecycle rule finds it.
            await asyncio.shield(upload.discard())
            raise
        return ref

    async def open(self, tenant: str, sha256: str, *, chunk_bytes: int = 256 * 1024) -> AsyncIterator[bytes]:
        download = await self._download(tenant, sha256)
        async with aclosing(self._verified(download, sha256, chunk_bytes)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def read(self, tenant: str, sha256: str, *, limit: int) -> bytes:
        download = await self._download(tenant, sha256)
        if download.size > limit:
            await download.close()
            raise BackendError(
                f"the payload {sha256} has {download.size} bytes, more than the {limit} allowed: stream it"
            )
        async with aclosing(self._verified(download, sha256, PART_BYTES)) as chunks:
            return b"".join([chunk async for chunk in chunks])

    async def exists(self, tenant: str, sha256: str) -> bool:
        if not _HASH.fullmatch(sha256):
            return False
        try:
            await self._bucket.call("look for a payload", "head_object", Key=self._key(tenant, sha256))
        except CallFailed as error:
            if error.code in _ABSENT:
                return False
            raise
        return True

    async def delete(self, tenant: str, sha256: str) -> None:
        if _HASH.fullmatch(sha256):
            await self._bucket.call("remove a payload", "delete_object", Key=self._key(tenant, sha256))

    async def listing(self, *, older_than: float) -> AsyncIterator[tuple[str, PayloadRef]]:
        start = f"{self._prefix}/{_CUSTOMER}"
        token: dict[str, str] = {}
        while True:
            answer = await self._bucket.call("list payloads", "list_objects_v2", Prefix=start, **token)
            for found in answer.get("Contents", ()):
                customer, _, sha256 = found["Key"][len(start) :].rpartition("/")
                if found["LastModified"].timestamp() < older_than and _HASH.fullmatch(sha256):
                    yield unquote(customer, errors="surrogatepass"), PayloadRef(sha256=sha256, size=found["Size"])
            if not answer.get("IsTruncated"):
                return
            token = {"ContinuationToken": answer["NextContinuationToken"]}

    async def close(self) -> None:
        self._bucket.client.close()

    def _key(self, tenant: str, sha256: str) -> str:
        customer = quote(tenant, safe="", errors="surrogatepass")
        if len(customer) > _LONGEST_CUSTOMER:
            raise BackendError(f"the customer's name {tenant[:40]!r}… is too long for a key of S3: use a shorter one")
        return f"{self._prefix}/{_CUSTOMER}{customer}/{sha256}"

    async def _download(self, tenant: str, sha256: str) -> Download:
        if not _HASH.fullmatch(sha256):
            raise PayloadMissing(sha256)
        try:
            return await Download.begin(self._bucket, self._key(tenant, sha256))
        except CallFailed as error:
            if error.code in _ABSENT:
                raise PayloadMissing(sha256) from error
            raise

    async def _verified(self, download: Download, sha256: str, chunk_bytes: int) -> AsyncGenerator[bytes, None]:
        """The chunks, the last of them only once the digest of all is right."""
        digest = hashlib.sha256()
        held = b""
        try:
            while chunk := await download.read(chunk_bytes):
                digest.update(chunk)
                if held:
                    yield held
                held = chunk
        finally:
            await download.close()
        if digest.hexdigest() != sha256:
            raise BackendError(f"the payload {sha256} was changed in the bucket {self._bucket.name}: it is not used")
        if held:
            yield held


async def _pieces(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), PART_BYTES):
        yield content[start : start + PART_BYTES]


def _encryption(kind: str, key: str | None) -> dict[str, str]:
    if kind == "bucket":
        return {}
    return {"ServerSideEncryption": kind} | ({"SSEKMSKeyId": key} if key else {})
