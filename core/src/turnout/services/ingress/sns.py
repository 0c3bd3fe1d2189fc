"""Messages of AWS SNS: signed by a certificate that AWS serves, and a subscription that is confirmed by asking for an address.

The only module of the ingress that asks anybody anything, and it asks AWS alone: an address in a message is a stranger's until
its host is one of SNS's.
Source: https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from turnout.errors import BackendError, Unauthenticated
from turnout.interfaces.service import Response
from turnout.values import Value

__all__ = ["Fetch", "Sns", "fetch"]

Fetch = Callable[[str], Awaitable[bytes]]
"""Gets what stands at a URL; `BackendError` if it does not answer with it."""

_HOST: Final = re.compile(r"sns\.[a-z0-9-]{3,30}\.amazonaws\.com(\.cn)?")
_SIGNED: Final[Mapping[str, tuple[str, ...]]] = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
_HASHES: Final[Mapping[str, type[hashes.SHA1 | hashes.SHA256]]] = {"1": hashes.SHA1, "2": hashes.SHA256}
_OLDEST_S: Final = 23 * 3600.0
"""SNS tries again for an hour. A copy within a day is the same execution by its `MessageId`, and an older one is refused."""
_AHEAD_S: Final = 300.0
_CERTIFICATES: Final = 20
_BYTES: Final = 64 * 1024


async def fetch(url: str) -> bytes:
    """By HTTPS, from that host and no other."""
    import httpx

    try:
        async with (
            httpx.AsyncClient(timeout=5.0, follow_redirects=False) as client,
            client.stream("GET", url) as answer,
        ):
            content = b""
            async for chunk in answer.aiter_bytes():
                content += chunk
                if len(content) > _BYTES:
                    raise BackendError(f"{urlsplit(url).hostname} answers with more than {_BYTES:,} bytes")
            if answer.status_code != 200:
                raise BackendError(f"{urlsplit(url).hostname} answers with {answer.status_code}")
            return content
    except httpx.HTTPError as error:
        raise BackendError(f"{urlsplit(url).hostname} does not answer: {type(error).__name__}") from error


class Sns:
    """Checks messages and confirms subscriptions. Certificates are kept, a few, since each message names one."""

    def __init__(self, now: Callable[[], float], fetch: Fetch = fetch) -> None:
        self._now = now
        self._fetch = fetch
        self._keys: dict[str, rsa.RSAPublicKey] = {}

    async def check(self, body: Value, topic: str) -> Response | None:
        """None for a notification of that topic; the answer to anything else that SNS sends, a confirmed subscription among
        it. `Unauthenticated` if it is not signed by SNS, or of another topic: every AWS account has topics."""
        message = body.load()
        if not isinstance(message, dict) or message.get("Type") not in _SIGNED:
            raise Unauthenticated("this is no message of SNS")
        if not topic or message.get("TopicArn") != topic:
            raise Unauthenticated("the message is of another topic than the connection's `topic_arn`")
        self._check_time(message)
        await self._check_signature(message)
        if message["Type"] == "SubscriptionConfirmation":
            await self._fetch(_of_sns(message.get("SubscribeURL"), "SubscribeURL"))
        return None if message["Type"] == "Notification" else Response()

    def _check_time(self, message: Mapping[str, Any]) -> None:
        try:
            age = self._now() - datetime.fromisoformat(str(message.get("Timestamp"))).timestamp()
        except (ValueError, OverflowError):
            raise Unauthenticated("the message has no time") from None
        if not -_AHEAD_S <= age <= _OLDEST_S:
            raise Unauthenticated("the message is too old, or of the future")

    async def _check_signature(self, message: Mapping[str, Any]) -> None:
        digest = _HASHES.get(str(message.get("SignatureVersion")))
        if digest is None:
            raise Unauthenticated("the message has a signature of an unknown version")
        key = await self._key(_of_sns(message.get("SigningCertURL"), "SigningCertURL"))
        try:
            signature = base64.b64decode(str(message.get("Signature")), validate=True)
            key.verify(signature, _signed(message), padding.PKCS1v15(), digest())
        except (binascii.Error, ValueError, InvalidSignature):
            raise Unauthenticated("the signature does not match") from None

    async def _key(self, url: str) -> rsa.RSAPublicKey:
        if url not in self._keys:
            try:
                key = x509.load_pem_x509_certificate(await self._fetch(url)).public_key()
            except ValueError:
                raise Unauthenticated("at SigningCertURL there is no certificate") from None
            if not isinstance(key, rsa.RSAPublicKey):
                raise Unauthenticated("the certificate has no RSA key")
            if len(self._keys) >= _CERTIFICATES:
                self._keys.pop(next(iter(self._keys)))
            self._keys[url] = key
        return self._keys[url]


def _of_sns(url: Any, what: str) -> str:
    """The URL if it is one of SNS's own, to be asked for by HTTPS."""
    text = url if isinstance(url, str) and len(url) <= 2048 and url.isascii() and url.isprintable() else ""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    plain = parts.scheme == "https" and port in (None, 443) and "@" not in parts.netloc and "\\" not in text
    if not plain or not _HOST.fullmatch(parts.hostname or ""):
        raise Unauthenticated(f"{what} is no address of SNS")
    if what == "SigningCertURL" and not re.fullmatch(r"/SimpleNotificationService-[0-9a-zA-Z]+\.pem", parts.path):
        raise Unauthenticated(f"{what} is no certificate of SNS")
    return text


def _signed(message: Mapping[str, Any]) -> bytes:
    """Names and values, a line each, of those that are there."""
    names = _SIGNED[message["Type"]]
    found = {name: message[name] for name in names if name in message}
    if not all(isinstance(value, str) for value in found.values()):
        raise Unauthenticated("the message has a signed part that is no text")
    return "".join(f"{name}\n{value}\n" for name, value in found.items()).encode("utf-8", "surrogatepass")
