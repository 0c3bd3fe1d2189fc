"""How senders of webhooks prove who they are, as values that a connector declares. Only arithmetic: nothing is sent or stored.

A `Signature` says what is signed and where the proof stands; it is checked while the body streams. The schemes of well-known
providers, by name, are in `turnout.interfaces.schemes`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from turnout.errors import Unauthenticated
from turnout.interfaces.service import Request

__all__ = [
    "ALGORITHMS",
    "ENCODINGS",
    "PIECES",
    "Basic",
    "Certificate",
    "Checking",
    "Signature",
    "Token",
    "signature_fault",
]

ALGORITHMS: Final = ("sha256", "sha1", "sha512")
ENCODINGS: Final = ("hex", "base64")
PIECES: Final = ("body", "timestamp", "id", "url", "decoded_url", "method", "form")
"""What `Signature.signed` may name in braces."""

_PIECE: Final = re.compile(r"\{([a-z_]+)\}")
_TIMESTAMP: Final = re.compile(r"[0-9]{1,15}")
_FORM_BYTES: Final = 1024 * 1024
_HEADER_CHARACTERS: Final = 8192
_MOST: Final = 16
"""Signatures of one header that are looked at: no provider sends more, and each costs a comparison."""
_FORM_TYPE: Final = "application/x-www-form-urlencoded"
_HUBSPOT: Final = re.compile("%(?:3A|2F|3F|40|21|24|27|28|29|2A|2C|3B)", re.IGNORECASE)
"""What HubSpot has decoded when it signs a URL: : / ? @ ! $ ' ( ) * , ;"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """An HMAC of a request. `ValueError` if its parts do not fit.

    `header` holds the signature, after `prefix`, or several of them between `separator`s, of which one must match one of the
    secrets. `signed` is what was signed, with pieces in braces: `{body}`, `{timestamp}` and `{id}` (of the headers of that
    name), `{method}`, `{url}` (as the sender was given it), `{decoded_url}` (as HubSpot decodes it), `{form}` (the sorted names
    and values of a form, as Twilio does; with another body its SHA-256 must be the query parameter `bodySHA256`).

    `timestamp` is the header with the seconds since the epoch (`timestamp_unit` says if not seconds), or, with
    `timestamp_prefix`, the signature's own header has it among its parts. It must be signed, and within `tolerance_s` of now,
    in both directions. With `key` `base64` the secret is base64, after `key_prefix` if it has it.
    """

    header: str
    algorithm: Literal["sha256", "sha1", "sha512"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    prefix: str = ""
    separator: str = ""
    signed: str = "{body}"
    timestamp: str = ""
    timestamp_prefix: str = ""
    timestamp_unit: Literal["s", "ms"] = "s"
    tolerance_s: float = 300.0
    id: str = ""
    key: Literal["text", "base64"] = "text"
    key_prefix: str = ""

    def __post_init__(self) -> None:
        if fault := signature_fault(self):
            raise ValueError(fault)

    @property
    def is_timed(self) -> bool:
        """Whether the sender signs the time, so that what is old is refused."""
        return bool(self.timestamp or self.timestamp_prefix)

    def keys(self, secrets: Sequence[str]) -> tuple[bytes, ...]:
        """The secrets as keys. `ValueError`, without them, if there is none, one is empty, or not of the form that `key` says."""
        keys = tuple(self._key(secret) for secret in secrets)
        if not keys or not all(keys):
            raise ValueError("a secret is empty: whatever it signs, anybody can sign")
        return keys

    def _key(self, secret: str) -> bytes:
        if self.key == "text":
            return secret.encode()
        try:
            return base64.b64decode(secret.removeprefix(self.key_prefix), validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("a secret is not base64") from None

    def begin(self, request: Request, url: str, keys: Sequence[bytes], now: float) -> Checking:
        """Check what the headers say, before the body is read. `url` is where the sender sent it, as it knows it.
        `Unauthenticated` if the proof is missing, malformed or too old."""
        written = request.headers.get(self.header.lower(), "")
        if not written:
            raise Unauthenticated(f"the header {self.header} with the signature is missing")
        if len(written) > _HEADER_CHARACTERS:
            raise Unauthenticated(f"the header {self.header} is too long")
        parts = [part.strip() for part in written.split(self.separator)] if self.separator else [written.strip()]
        given = [self._digest(part) for part in parts if part.startswith(self.prefix)][: _MOST + 1]
        if not given or len(given) > _MOST:
            raise Unauthenticated(f"the header {self.header} has no signature of the form {self._form()}")
        return Checking(self, given, keys, self._pieces(request, url, parts, now), request)

    def sign(self, body: bytes, keys: Sequence[bytes], pieces: Mapping[str, str]) -> str:
        """The header's value for a request: what the sender does. `pieces` has what `signed` names beside the body."""
        whole = _PIECE.sub(lambda match: "\0body\0" if match[1] == "body" else pieces[match[1]], self.signed)
        content = whole.encode().replace(b"\0body\0", body)
        shown = [self.prefix + self._shown(hmac.digest(key, content, self.algorithm)) for key in keys]
        if self.timestamp_prefix:
            shown.insert(0, self.timestamp_prefix + pieces["timestamp"])
        return self.separator.join(shown)

    def _shown(self, digest: bytes) -> str:
        return digest.hex() if self.encoding == "hex" else base64.b64encode(digest).decode()

    def _form(self) -> str:
        return f"{self.prefix}<{self.algorithm} in {self.encoding}>"

    def _digest(self, part: str) -> bytes:
        """What a part of the header says the digest is; nothing that matches where it is malformed."""
        text = part.removeprefix(self.prefix)
        try:
            return bytes.fromhex(text) if self.encoding == "hex" else base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            return b""

    def _pieces(self, request: Request, url: str, parts: Sequence[str], now: float) -> dict[str, str]:
        pieces = {"method": request.method, "url": url, "decoded_url": _HUBSPOT.sub(lambda m: unquote(m[0]), url)}
        if self.is_timed:
            pieces["timestamp"] = self._time(request, parts, now)
        if self.id:
            pieces["id"] = request.headers.get(self.id.lower(), "")
            if not pieces["id"]:
                raise Unauthenticated(f"the header {self.id} is missing")
        return pieces

    def _time(self, request: Request, parts: Sequence[str], now: float) -> str:
        if self.timestamp_prefix:
            start = self.timestamp_prefix
            found = [part.removeprefix(start) for part in parts if part.startswith(start)]
        else:
            found = [request.headers.get(self.timestamp.lower(), "").strip()]
        where = self.timestamp or self.header
        if len(found) != 1 or not _TIMESTAMP.fullmatch(found[0]):
            raise Unauthenticated(f"the header {where} has no time, or not in the form that was agreed")
        age = now - int(found[0]) * (1.0 if self.timestamp_unit == "s" else 0.001)
        if abs(age) > self.tolerance_s:
            how = "old" if age > 0 else "far in the future"
            raise Unauthenticated(
                f"the time in the header {where} is too {how}: {self.tolerance_s:g} seconds are allowed"
            )
        return found[0]


def signature_fault(signature: Signature) -> str:
    """What does not fit together in a signature; empty if nothing is wrong."""
    named = _PIECE.findall(signature.signed)
    if unknown := [name for name in named if name not in PIECES]:
        return f"`signed` has no {{{unknown[0]}}}: there are {', '.join(PIECES)}"
    if named.count("body") + named.count("form") != 1:
        return "`signed` must name {body} once: whoever does not sign the body lets others write it"
    if not signature.header:
        return "`header` must say where the signature stands"
    if signature.timestamp_prefix and not signature.separator:
        return "`timestamp_prefix` is for a header of several parts: say its `separator`"
    if signature.is_timed != ("timestamp" in named):
        return "`timestamp` and {timestamp} in `signed` go together: a time that is not signed can be changed"
    if bool(signature.id) != ("id" in named):
        return "`id` and {id} in `signed` go together"
    if signature.algorithm not in ALGORITHMS or signature.encoding not in ENCODINGS:
        return f"an algorithm is one of {', '.join(ALGORITHMS)}, an encoding one of {', '.join(ENCODINGS)}"
    return "" if signature.tolerance_s > 0 else "`tolerance` must be longer than nothing"


class Checking:
    """One request's signature, being checked: every chunk of the body through `update`, then `finish`."""

    def __init__(
        self,
        signature: Signature,
        given: Sequence[bytes],
        keys: Sequence[bytes],
        pieces: Mapping[str, str],
        request: Request,
    ) -> None:
        self._signature = signature
        self._given = given
        self._hashes: list[Any] = [hmac.new(key, digestmod=signature.algorithm) for key in keys]
        self._hashes.append(hashlib.sha256())  # of what is signed alone: the same whichever secret signed it
        self._form: bytearray | None = None
        self._plain: Any = None
        before, piece, after = _around(signature.signed)
        self._after = _rendered(after, pieces)
        self._feed(_rendered(before, pieces))
        if piece == "form":
            kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            self._form = bytearray() if kind == _FORM_TYPE else None
            self._plain = hashlib.sha256() if self._form is None else None
            query = parse_qsl(urlsplit(pieces["url"]).query)
            self._stated = [value for name, value in query if name == "bodySHA256"]

    def update(self, chunk: bytes) -> None:
        """The next part of the body. `Unauthenticated` if a form that must be sorted is too large for that."""
        if self._plain is not None:
            self._plain.update(chunk)
        elif self._form is not None:
            self._form += chunk
            if len(self._form) > _FORM_BYTES:
                raise Unauthenticated(f"a signed form may have {_FORM_BYTES:,} bytes")
        else:
            self._feed(chunk)

    def finish(self) -> str:
        """What stands for this request: the same for the same signed content, however it was signed; 64 hex characters.
        `Unauthenticated` unless one of the signatures is one of the keys'."""
        if self._form is not None:
            self._feed(_sorted_form(bytes(self._form)))
        elif self._plain is not None:
            self._check_stated(self._plain.hexdigest())
        self._feed(self._after)
        *expected, content = (item.digest() for item in self._hashes)
        matches = [hmac.compare_digest(one, other) for one in expected for other in self._given]
        if not any(matches):
            raise Unauthenticated("the signature does not match: another secret, or not the content that was signed")
        return bytes(content).hex()

    def _feed(self, data: bytes) -> None:
        for item in self._hashes:
            item.update(data)

    def _check_stated(self, digest: str) -> None:
        """A body that is no form is signed by its SHA-256 in the URL; a request without a body needs none."""
        if not self._stated and digest == hashlib.sha256().hexdigest():
            return
        if len(self._stated) != 1 or not hmac.compare_digest(
            digest, self._stated[0].lower().encode("ascii", "replace").decode()
        ):
            raise Unauthenticated("the body is not the one that `bodySHA256` in the URL says")


def _around(signed: str) -> tuple[str, str, str]:
    found = re.search(r"\{(body|form)\}", signed)
    assert found is not None  # `signature_fault` has seen it
    return signed[: found.start()], found[1], signed[found.end() :]


def _rendered(text: str, pieces: Mapping[str, str]) -> bytes:
    return _PIECE.sub(lambda match: pieces[match[1]], text).encode("utf-8", "surrogateescape")


def _sorted_form(form: bytes) -> bytes:
    """Names and values, sorted, one after the other; the values of a name that comes more than once too, each once."""
    try:
        pairs = parse_qsl(form.decode(), keep_blank_values=True, max_num_fields=10_000)
    except ValueError:
        raise Unauthenticated("the form cannot be read") from None
    return "".join(name + value for name, value in sorted(set(pairs))).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A secret as it is, in a header, after `prefix` (`Bearer `)."""

    header: str = "x-api-key"
    prefix: str = ""

    def check(self, request: Request, secrets: Sequence[str]) -> None:
        """`Unauthenticated` unless the header has one of the secrets. `ValueError` if one is empty."""
        if not secrets or not all(secrets):
            raise ValueError("a secret is empty: anybody has it")
        given = request.headers.get(self.header.lower(), "")
        if not given.startswith(self.prefix):
            raise Unauthenticated(f"the header {self.header} has no {self.prefix.strip()} key")
        if not _is_one_of(given.removeprefix(self.prefix), secrets):
            raise Unauthenticated(f"the key in the header {self.header} is missing or wrong")


@dataclass(frozen=True, slots=True, kw_only=True)
class Basic:
    """A user's name and password (RFC 7617); of the connection's fields the first is the name."""

    def check(self, request: Request, secrets: Sequence[str]) -> None:
        """`Unauthenticated` unless the header `Authorization` has both. `ValueError` if one is empty."""
        if len(secrets) < 2 or not all(secrets):
            raise ValueError("a name or a password is empty")
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        try:
            text = base64.b64decode(given.strip(), validate=True) if scheme.lower() == "basic" else b""
        except (binascii.Error, ValueError):
            text = b""
        pairs = [f"{secrets[0]}:{password}" for password in secrets[1:]]
        if not _is_one_of(text.decode(errors="replace"), pairs):
            raise Unauthenticated("name or password are missing or wrong")


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A message of AWS SNS: JSON that names the certificate that it is signed with. The ingress checks it, since it asks AWS
    for the certificate; the connection's field says of which topic messages are taken."""


def _is_one_of(given: str, secrets: Sequence[str]) -> bool:
    """In a time that tells nothing of the secrets but their length."""
    return any(hmac.compare_digest(given.encode("utf-8", "replace"), secret.encode()) for secret in secrets)
