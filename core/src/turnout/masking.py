"""Keeping secrets out of what leaves us: logs, records, error messages.

A secret is found as it is and in the ways in which it usually gets written: inside JSON (`\\"`, `\\/`, `\\u0041`), inside a
URL (`%2F`, and `+` for a space), several of these inside each other, in hex, and in base64 at any of the three
alignments, so that `Basic dXNlcjpwYXNz` is found by the password alone.

Secrets of fewer than `SHORTEST` characters are left alone: they would be found everywhere in innocent text, the gaps
would tell what they are, and a credential of three characters keeps nobody out.
"""

from __future__ import annotations

import re
from base64 import b64encode, urlsafe_b64encode
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Final

import msgspec

__all__ = ["MASK", "SHORTEST", "Mask"]

SHORTEST: Final = 4
"""Characters that a secret needs to be masked."""

MASK: Final = "***"
_MASKED_TOKEN: Final = b'"***"'

_LEVELS: Final = 3
"""How often escapes may be nested in each other: JSON in a JSON text in a URL."""

_JSON_ESCAPE: Final = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|[\"\\/bfnrt])"
)
_URL_ESCAPE: Final = re.compile(rb"%[0-9a-fA-F]{2}")
_ESCAPES: Final = ((b"\\", _JSON_ESCAPE), (b"%", _URL_ESCAPE))
_SHORT: Final = {
    b'\\"': b'"',
    b"\\\\": b"\\",
    b"\\/": b"/",
    b"\\b": b"\b",
    b"\\f": b"\f",
    b"\\n": b"\n",
    b"\\r": b"\r",
    b"\\t": b"\t",
}
_DISGUISED: Final = re.compile(rb"(?:u00|%(?:25)*)(?:3[0-9]|[46][1-9a-fA-F]|[57][0-9aA])")
"""An escaped letter or digit, at any level of nesting. Few programs write one: where there is none, the letters and
digits of a secret stand in the text as they are, which makes most texts quick to rule out."""

_LETTERS: Final = re.compile(rb"[A-Za-z0-9]*")
_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"|-?[0-9][-+.0-9eE]*+', re.DOTALL)
_BASE64: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")
_decode_text = msgspec.json.Decoder(str).decode
_skip = msgspec.json.Decoder(msgspec.Raw).decode
_encode = msgspec.json.Encoder().encode

_Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Form:
    """One way to write a secret: `core`, and the bytes that may stand before and after it (None: nothing is needed).

    In base64 the secret's first and last bits may share a character with their neighbours' bits.
    """

    core: bytes
    before: bytes | None = None
    after: bytes | None = None

    def spans(self, data: bytes) -> Iterator[_Span]:
        start = data.find(self.core)
        while start >= 0:
            first, last = start, start + len(self.core)
            if self.before is not None:
                first -= 1
            if self.after is not None:
                last += 1
            if self._fits(data, first, last):
                yield first, last
            start = data.find(self.core, start + 1)

    def _fits(self, data: bytes, first: int, last: int) -> bool:
        if first < 0 or last > len(data):
            return False
        return (self.before is None or data[first] in self.before) and (
            self.after is None or data[last - 1] in self.after
        )


class Mask:
    """Replaces secrets by `***`. Made once for a set of secrets, used for many texts, safe to share by threads."""

    __slots__ = ("_forms",)

    def __init__(self, secrets: Iterable[str]) -> None:
        plain = sorted({_bytes(secret) for secret in secrets if len(secret) >= SHORTEST})
        forms = dict.fromkeys(chain.from_iterable(map(_forms, plain)))
        self._forms = tuple((max(_LETTERS.findall(form.core), key=len), form) for form in forms)

    def __repr__(self) -> str:
        return f"Mask({len(self._forms)} forms)"

    def text(self, text: str) -> str:
        """The text with every secret replaced; the very same object if there is none."""
        data = _bytes(text)
        spans = self._spans(data)
        return _replaced(data, spans).decode("utf-8", "surrogatepass") if spans else text

    def json(self, data: bytes) -> bytes:
        """JSON text with every secret in its texts, keys and numbers replaced; the very same object if there is none.

        The result is JSON again: a number that holds a secret becomes the text `***`. Bytes that are not JSON are
        masked as text.
        """
        spans = self._spans(data)
        if not spans:
            return data
        try:
            _skip(data)
        except (msgspec.DecodeError, RecursionError):
            return _replaced(data, spans)
        starts = [start for start, _ in spans]

        def token(match: re.Match[bytes]) -> bytes:
            last = bisect_left(starts, match.end()) - 1
            return self._token(match[0]) if last >= 0 and spans[last][1] > match.start() else match[0]

        return _TOKEN.sub(token, data)

    def _token(self, written: bytes) -> bytes:
        """A text or number of a JSON document, masked."""
        if written[:1] != b'"':
            return _MASKED_TOKEN if self._spans(written) else written
        try:
            text = _decode_text(written)
            masked = self.text(text)
            return written if masked is text else _encode(masked)
        except (msgspec.DecodeError, UnicodeError):
            return _MASKED_TOKEN

    def _spans(self, data: bytes, levels: int = _LEVELS) -> list[_Span]:
        """Where secrets stand in `data`, as it is and with up to `levels` levels of escapes taken off; in order, apart.

        JSON's and URLs' are taken off one at a time: a secret may itself hold what looks like the other's.
        """
        escapes = [escape for sign, escape in _ESCAPES if levels and sign in data]
        disguised = escapes and _DISGUISED.search(data) is not None
        forms = [form for anchor, form in self._forms if disguised or anchor in data]
        if not forms:
            return []
        spans = [span for form in forms for span in form.spans(data)]
        for escape in escapes:
            flat, locate = _unescaped(data, escape)
            if flat != data:
                spans += map(locate, self._spans(flat, levels - 1))
        return _merged(spans)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _forms(secret: bytes) -> Iterator[_Form]:
    yield _Form(secret)
    if b" " in secret:
        yield _Form(secret.replace(b" ", b"+"))
    yield _Form(secret.hex().encode())
    yield _Form(secret.hex().upper().encode())
    for shift in range(3):
        for encode, alphabet in ((b64encode, _BASE64), (urlsafe_b64encode, _BASE64.translate(_URL_SAFE))):
            yield _base64_form(secret, shift, encode, alphabet)


def _base64_form(secret: bytes, shift: int, encode: Callable[[bytes], bytes], alphabet: bytes) -> _Form:
    """How base64 writes the secret when `shift` bytes (modulo 3) stand before it."""
    written = encode(bytes(shift) + secret + bytes(2))
    first, shared = divmod(8 * shift, 6)
    last, rest = divmod(8 * (shift + len(secret)), 6)
    before = after = None
    if shared:
        low = alphabet.index(written[first]) & (0b111111 >> shared)
        before = bytes(alphabet[high << (6 - shared) | low] for high in range(1 << shared))
        first += 1
    if rest:
        high = alphabet.index(written[last]) >> (6 - rest) << (6 - rest)
        after = bytes(alphabet[high | low] for low in range(1 << (6 - rest)))
    return _Form(written[first:last], before, after)


def _unescaped(data: bytes, escape: re.Pattern[bytes]) -> tuple[bytes, Callable[[_Span], _Span]]:
    """The data with one level of escapes taken off, and how a span of it is found in `data`."""
    pieces: list[bytes] = []
    starts: list[int] = []
    ends: list[int] = []
    position = 0
    for match in escape.finditer(data):
        start, end = match.span()
        pieces += (data[position:start], _meaning(match[0]))
        starts.append(start)
        ends.append(end)
        position = end
    pieces.append(data[position:])
    borders = list(accumulate(map(len, pieces)))
    flat_starts, flat_ends = borders[:-1:2], borders[1::2]

    def original(place: int, *, end: bool) -> int:
        unit = bisect_right(flat_starts, place) - 1
        if unit < 0:
            return place + end
        if place < flat_ends[unit]:
            return ends[unit] if end else starts[unit]
        return ends[unit] + place - flat_ends[unit] + end

    return b"".join(pieces), lambda span: (original(span[0], end=False), original(span[1] - 1, end=True))


def _meaning(escape: bytes) -> bytes:
    if escape[0] == ord("%"):
        return bytes([int(escape[1:], 16)])
    if escape[1] != ord("u"):
        return _SHORT[escape]
    units = b"".join(bytes.fromhex(unit.decode()) for unit in escape.split(b"\\u")[1:])
    return _bytes(units.decode("utf-16-be", "surrogatepass"))


def _merged(spans: list[_Span]) -> list[_Span]:
    """The spans in order, those that touch or overlap as one."""
    merged: list[_Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((start, end))
    return merged


def _replaced(data: bytes, spans: list[_Span]) -> bytes:
    """`***` in place of every span."""
    pieces: list[bytes] = []
    position = 0
    for start, end in spans:
        pieces += (data[position:start], MASK.encode())
        position = end
    return b"".join((*pieces, data[position:]))
