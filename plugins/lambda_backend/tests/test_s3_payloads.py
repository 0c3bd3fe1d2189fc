"""Payloads in S3: the contract, and what is S3's own: uploads in parts, what is left behind, broken connections."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from turnout.errors import BackendError, PayloadMissing, SettingsError
from turnout.interfaces.opening import Opening
from turnout.model.durability import Durability
from turnout.testing.clock import ManualClock
from turnout.testing.payloads import PayloadStoreContract
from turnout_lambda.s3_payloads import S3PayloadStore, lifecycle_rules
from turnout_lambda.s3_writing import PART_BYTES, Bucket

from plugins.lambda_backend.tests.stand_in import StandIn

LARGE = 2 * PART_BYTES + 12_345


@pytest_asyncio.fixture
async def store(stand_in: StandIn, bucket: str, tmp_path: Path) -> AsyncIterator[S3PayloadStore]:
    store = await S3PayloadStore.connect(opening(tmp_path, bucket=bucket, endpoint_url=stand_in.url))
    yield store
    await store.close()


def opening(directory: Path, **options: object) -> Opening:
    return Opening(directory=directory, name="s3", options=options)


async def stream(size: int, *, chunk_bytes: int = 100_000) -> AsyncIterator[bytes]:
    for start in range(0, size, chunk_bytes):
        yield b"x" * min(chunk_bytes, size - start)


def keys(s3: Any, bucket: str) -> list[str]:
    return [found["Key"] for found in s3.list_objects_v2(Bucket=bucket).get("Contents", ())]


def uploads(s3: Any, bucket: str) -> list[str]:
    return [found["Key"] for found in s3.list_multipart_uploads(Bucket=bucket).get("Uploads", ())]


class TestS3Payloads(PayloadStoreContract):
    """S3 goes by a clock of its own, to the second."""

    @pytest.fixture
    def store(self, store: S3PayloadStore, stand_in: StandIn) -> S3PayloadStore:
        self.stand_in = stand_in
        return store

    async def pause(self, clock: ManualClock) -> None:
        self.stand_in.advance(10)

    def now(self, clock: ManualClock) -> float:
        return self.stand_in.now()


async def test_what_is_put_survives_what_a_host_does(store: S3PayloadStore) -> None:
    assert store.durability is Durability.HOST


async def test_a_large_stream_goes_up_in_parts_and_only_its_content_is_left(
    store: S3PayloadStore, s3: Any, bucket: str
) -> None:
    ref = await store.put("acme", stream(LARGE))

    assert keys(s3, bucket) == [f"payloads/customer=acme/{ref.sha256}"]
    assert uploads(s3, bucket) == []
    assert await store.read("acme", ref.sha256, limit=LARGE) == b"x" * LARGE


async def test_what_is_larger_than_s3_copies_at_once_is_copied_in_parts(s3: Any, bucket: str) -> None:
    store = S3PayloadStore(Bucket(client=s3, name=bucket, copy_bytes=PART_BYTES))

    ref = await store.put("acme", stream(LARGE))

    assert keys(s3, bucket) == [f"payloads/customer=acme/{ref.sha256}"]
    assert uploads(s3, bucket) == []
    assert await store.read("acme", ref.sha256, limit=LARGE) == b"x" * LARGE


@pytest.mark.parametrize("operation", ["UploadPart", "CompleteMultipartUpload", "CopyObject", "UploadPartCopy"])
async def test_when_s3_refuses_half_way_nothing_is_left_behind(s3: Any, bucket: str, operation: str) -> None:
    store = S3PayloadStore(
        Bucket(client=s3, name=bucket, copy_bytes=PART_BYTES * (1 if operation[-4:] == "Copy" else 9))
    )
    times = iter(range(100))

    def refuse(params: dict[str, Any], **_: object) -> None:
        if next(times) == (1 if operation.startswith("UploadPart") else 0):
            params["url"] = params["url"].replace(bucket, "no-such-bucket")

    s3.meta.events.register(f"before-call.s3.{operation}", refuse)

    with pytest.raises(BackendError, match=r"S3 did not .*NoSuchBucket"):
        await store.put("acme", stream(LARGE))

    assert (keys(s3, bucket), uploads(s3, bucket)) == ([], [])


async def test_who_is_cancelled_while_it_puts_leaves_nothing_behind(
    store: S3PayloadStore, s3: Any, bucket: str
) -> None:
    begun = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        async for chunk in stream(LARGE):
            yield chunk
        begun.set()
        await asyncio.Event().wait()

    putting = asyncio.create_task(store.put("acme", endless()))
    await begun.wait()
    before = uploads(s3, bucket)
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting

    assert len(before) == 1
    assert (keys(s3, bucket), uploads(s3, bucket)) == ([], [])


@pytest.mark.parametrize("size", [11, LARGE])
async def test_what_was_changed_in_the_bucket_is_not_used(
    store: S3PayloadStore, s3: Any, bucket: str, size: int
) -> None:
    ref = await store.put("acme", b"x" * size)
    s3.put_object(Bucket=bucket, Key=f"payloads/customer=acme/{ref.sha256}", Body=b"y" * size)
    seen = 0

    async def look() -> None:
        nonlocal seen
        async for chunk in store.open("acme", ref.sha256, chunk_bytes=10_000_000):
            seen += len(chunk)

    with pytest.raises(BackendError, match="was changed"):
        await store.read("acme", ref.sha256, limit=size)
    with pytest.raises(BackendError, match="was changed"):
        await look()

    assert seen < size


async def test_content_is_encrypted_as_the_settings_say(
    stand_in: StandIn, s3: Any, bucket: str, tmp_path: Path
) -> None:
    options: dict[str, object] = {"encryption": "aws:kms", "kms_key_id": "alias/turnout"}
    store = await S3PayloadStore.connect(opening(tmp_path, bucket=bucket, endpoint_url=stand_in.url, **options))

    refs = [await store.put("acme", stream(size)) for size in (10, LARGE)]
    await store.close()

    for ref in refs:
        found = s3.head_object(Bucket=bucket, Key=f"payloads/customer=acme/{ref.sha256}")
        assert (found["ServerSideEncryption"], found["SSEKMSKeyId"]) == ("aws:kms", "alias/turnout")


async def test_projects_with_different_prefixes_share_a_bucket(stand_in: StandIn, bucket: str, tmp_path: Path) -> None:
    one, two = [
        await S3PayloadStore.connect(opening(tmp_path, bucket=bucket, endpoint_url=stand_in.url, prefix=prefix))
        for prefix in ("one", "one/two")
    ]
    ref = await one.put("acme", b"<order/>")
    stand_in.advance(10)

    assert not await two.exists("acme", ref.sha256)
    assert [found async for found in two.listing(older_than=stand_in.now())] == []
    with pytest.raises(PayloadMissing):
        await two.read("acme", ref.sha256, limit=100)
    for store in (one, two):
        await store.close()


async def test_all_is_listed_however_much_there_is(s3: Any, bucket: str, stand_in: StandIn) -> None:
    store = S3PayloadStore(Bucket(client=s3, name=bucket))
    s3.meta.events.register("provide-client-params.s3.ListObjectsV2", lambda params, **_: params | {"MaxKeys": 2})
    refs = {(await store.put("acme", str(n).encode())).sha256 for n in range(5)}
    stand_in.advance(10)

    assert {ref.sha256 async for _, ref in store.listing(older_than=stand_in.now())} == refs


async def test_a_name_that_no_key_can_hold_is_refused(store: S3PayloadStore) -> None:
    with pytest.raises(BackendError, match="too long"):
        await store.put("ü" * 300, b"")


async def test_a_bucket_that_is_not_there_is_the_settings_fault(stand_in: StandIn, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no bucket 'no-such'") as raised:
        await S3PayloadStore.connect(opening(tmp_path, bucket="no-such", endpoint_url=stand_in.url))

    assert raised.value.setting == "backends.s3.bucket"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "backends.s3.bucket: it must be set"),
        ({"bucket": "UPPER"}, "backends.s3.bucket"),
        ({"bucket": "b-1", "prefix": "/a"}, "backends.s3.prefix"),
        ({"bucket": "b-1", "kms_key_id": "k"}, 'kms_key_id needs encryption = "aws:kms"'),
        ({"bucket": "b-1", "endpoint_url": "http://me:secret@there"}, "backends.s3.endpoint_url"),
        ({"bucket": "b-1", "bukcet": "b"}, "did you mean 'bucket'"),
    ],
)
async def test_a_wrong_setting_is_named(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=r"backends\.s3") as raised:
        await S3PayloadStore.connect(opening(tmp_path, **options))

    assert message in str(raised.value)
    assert "secret" not in str(raised.value)


def test_the_lifecycle_rules_are_such_that_s3_takes_them(s3: Any, bucket: str) -> None:
    rules = lifecycle_rules("payloads")

    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})

    taken = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert {rule["ID"]: rule for rule in taken} == {rule["ID"]: rule for rule in rules}
    assert all("Expiration" not in rule or rule["Filter"]["Prefix"] == "payloads/incoming/" for rule in rules)


CONTENT = bytes(range(256)) * 1000


class _BreaksOff(BaseHTTPRequestHandler):
    """Gives what is asked for, of `CONTENT`, and breaks off after `most` bytes of it; keeps the ranges asked for."""

    most = 100_000
    ranges: list[str | None]

    def do_GET(self) -> None:
        asked = self.headers["Range"]
        self.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.send_header("ETag", '"tag"')
        self.end_headers()
        self.wfile.write(CONTENT[start : start + self.most])

    def log_message(self, format: str, *args: object) -> None:
        """Nowhere."""


@pytest.fixture
def breaking() -> Iterator[Callable[[int], tuple[str, list[str | None]]]]:
    """A server that breaks off after so many bytes: its URL, and the ranges that it is asked for."""
    servers = []

    def start(most: int) -> tuple[str, list[str | None]]:
        ranges: list[str | None] = []
        handler = type("Handler", (_BreaksOff,), {"most": most, "ranges": ranges})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}", ranges

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


async def test_a_reader_goes_on_where_the_connection_broke_off(
    breaking: Callable[[int], tuple[str, list[str | None]]], tmp_path: Path
) -> None:
    url, ranges = breaking(100_000)
    store = S3PayloadStore(Bucket(client=_client(url), name="a-bucket"))

    content = await store.read("acme", hashlib.sha256(CONTENT).hexdigest(), limit=len(CONTENT))
    await store.close()

    assert content == CONTENT
    assert ranges == [None, "bytes=100000-", "bytes=200000-"]


async def test_a_reader_that_gets_nowhere_gives_up_and_says_how_far_it_came(
    breaking: Callable[[int], tuple[str, list[str | None]]],
) -> None:
    url, ranges = breaking(0)
    store = S3PayloadStore(Bucket(client=_client(url), name="a-bucket"))

    with pytest.raises(BackendError, match=f"after 0 of {len(CONTENT)} bytes"):
        await store.read("acme", hashlib.sha256(CONTENT).hexdigest(), limit=len(CONTENT))
    await store.close()

    assert len(ranges) == 4


def _client(url: str) -> Any:
    from turnout_lambda.clients import AwsOptions, make_client

    return make_client("s3", AwsOptions(endpoint_url=url), setting="backends.s3")


async def test_messages_name_neither_customers_nor_keys(s3: Any, bucket: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    store = S3PayloadStore(Bucket(client=_client(s3.meta.endpoint_url), name="no-such-bucket"))

    with pytest.raises(BackendError) as raised:
        await store.put("a-customer", b"their-content")

    assert "NoSuchBucket" in str(raised.value)
    assert "a-customer" not in str(raised.value) + json.dumps(caplog.messages)
    assert "their-content" not in str(raised.value) + json.dumps(caplog.messages)
    await store.close()
