"""No secret leaves in any of the ways it usually gets written, and nothing else is touched."""

from __future__ import annotations

import json
import time
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import msgspec
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from turnout.masking import MASK, Mask

UNICODE = st.characters(codec="utf-8")
SECRETS = st.text(UNICODE, min_size=4, max_size=40)
CONTEXTS = st.text("αβγ .:;", max_size=9)
"""Characters that appear in no encoding of anything."""


def everything_escaped(text: str) -> str:
    units = text.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def every_byte_quoted(text: str) -> str:
    return "".join(f"%{byte:02x}" for byte in text.encode())


WRITINGS: dict[str, Callable[[str], str]] = {
    "plain": lambda secret: secret,
    "json": lambda secret: json.dumps(secret)[1:-1],
    "json in unicode": lambda secret: json.dumps(secret, ensure_ascii=False)[1:-1],
    "json of php": lambda secret: json.dumps(secret)[1:-1].replace("/", "\\/"),
    "json in json": lambda secret: json.dumps(json.dumps(secret)[1:-1])[1:-1],
    "every character escaped": everything_escaped,
    "every character escaped, upper case": lambda secret: everything_escaped(secret).upper().replace("\\U", "\\u"),
    "url": lambda secret: quote(secret, safe=""),
    "path of a url": quote,
    "form": quote_plus,
    "every byte quoted": every_byte_quoted,
    "url in url": lambda secret: quote(every_byte_quoted(secret)),
    "url in json": lambda secret: json.dumps(quote(secret))[1:-1],
    "json in url": lambda secret: quote(json.dumps(secret)[1:-1]),
    "hex": lambda secret: secret.encode().hex(),
    "upper hex": lambda secret: secret.encode().hex().upper(),
    "base64": lambda secret: b64encode(secret.encode()).decode(),
    "base64 behind one byte": lambda secret: b64encode(b"x" + secret.encode()).decode(),
    "base64 behind two bytes": lambda secret: b64encode(b"xy" + secret.encode()).decode(),
    "base64 in the middle": lambda secret: b64encode(b"xyz12" + secret.encode() + b"!").decode(),
    "base64 for urls": lambda secret: urlsafe_b64encode(b"\xfb\xff" + secret.encode() + b"\xff\xff").decode(),
    "base64 in json of php": lambda secret: b64encode(secret.encode()).decode().replace("/", "\\/"),
    "base64 in a form": lambda secret: quote_plus(b64encode(secret.encode()).decode()),
    "basic": lambda secret: b64encode(f"user:{secret}".encode()).decode(),
}


@pytest.mark.parametrize("writing", WRITINGS)
@example(secret='a"b\\n\\\\/ +%25c', before="", after="")
@example(secret="🚂" * 4, before="", after="")
@given(secret=SECRETS, before=CONTEXTS, after=CONTEXTS)
def test_a_secret_is_found_in_every_writing(writing: str, secret: str, before: str, after: str) -> None:
    assume(not set(secret) & set(before + after))
    written = WRITINGS[writing](secret)

    masked = Mask([secret]).text(f"{before}{written}{after}")

    assert MASK in masked
    assert written not in masked
    assert masked.startswith(before)
    assert masked.removesuffix("=").removesuffix("=").endswith(after) or "base64" in writing or writing == "basic"


@given(user=st.text("abcdef", min_size=1, max_size=9), password=st.text(UNICODE, min_size=8, max_size=40))
def test_a_masked_basic_header_does_not_give_the_password_back(user: str, password: str) -> None:
    header = b64encode(f"{user}:{password}".encode()).decode()

    masked = Mask([password]).text(f"Basic {header}")

    left = masked.removeprefix("Basic ").split(MASK)[0]
    assert header.startswith(left)
    assert len(left) * 6 // 8 <= len(user.encode()) + 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(UNICODE),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(UNICODE, max_size=5), inner, max_size=4),
    max_leaves=10,
)


@given(JSON, SECRETS, st.booleans())
def test_masked_json_is_json_without_the_secret(data: object, secret: str, ascii_only: bool) -> None:
    text = json.dumps({"of": data, "token": f"Bearer {secret}!", secret: 1}, ensure_ascii=ascii_only).encode()

    masked = json.loads(Mask([secret]).json(text))

    assert not any(secret in part for part in texts(masked))
    assert "of" in masked or secret in "of"


def texts(data: object) -> list[str]:
    if isinstance(data, dict):
        return [text for key, value in data.items() for text in (key, *texts(value))]
    if isinstance(data, list):
        return [text for value in data for text in texts(value)]
    return [data] if isinstance(data, str) else []


@given(JSON, st.lists(SECRETS, max_size=3))
def test_json_without_the_secret_is_the_same_object(data: object, secrets: list[str]) -> None:
    text = json.dumps(data).encode()
    assume(not any(secret in written for secret in secrets for written in (text.decode(), "\n".join(texts(data)))))
    mask = Mask(secrets)
    assume(mask.text(text.decode()) == text.decode())

    assert mask.json(text) is text


def test_json_keeps_every_digit_and_the_shape_around_a_secret() -> None:
    text = b'{ "n": 123456789012345678901234567890, "e": 1e400, "t": "\\u0041 hunter22", "d": 1.10 }'

    masked = Mask(["hunter22"]).json(text)

    assert masked == b'{ "n": 123456789012345678901234567890, "e": 1e400, "t": "A ***", "d": 1.10 }'


def test_a_number_that_is_a_secret_becomes_text() -> None:
    assert Mask(["90210"]).json(b'{"pin": 90210, "more": [-1902105, 7]}') == b'{"pin": "***", "more": ["***", 7]}'


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        ("null", b'{"a": null}'),
        ('a","b', b'["xa","by"]'),
        ("nabc", b'"\\nabcd"'),
        ('abc\\"', b'["abc\\\\", 1]'),
    ],
)
def test_what_only_looks_like_a_secret_in_json_text_stays(secret: str, text: bytes) -> None:
    assert Mask([secret]).json(text) == text


@pytest.mark.parametrize(
    "text", [b'{"token": "hunter22', b"hunter22", b"\xff hunter22", b"[" * 100_000 + b'"hunter22"']
)
def test_bytes_that_are_not_json_are_masked_as_text(text: bytes) -> None:
    assert Mask(["hunter22"]).json(text) == text.replace(b"hunter22", b"***")


def test_overlapping_secrets_leave_nothing_of_each_other() -> None:
    mask = Mask(["abcdef", "defghi", "abc", "abab", "abcdefgh"])

    assert mask.text("<abcdefghi> <ababab> <abcdefgh>") == "<***> <***> <***>"


def test_short_secrets_are_left_alone() -> None:
    text = "a cat and a 123"

    assert Mask(["a", "cat", "123", ""]).text(text) is text


def test_a_secret_of_spaces_and_signs_alone_is_masked() -> None:
    assert Mask(["++++", "    ", "%%%%"]).text("a%2B%2B++b%20%20%20%20c%25%25%25%25d") == "a***b***c***d"


def test_lone_surrogates_are_kept() -> None:
    assert Mask(["hunter22"]).text("\udcff hunter22 \ud800") == "\udcff *** \ud800"


def test_a_mask_does_not_show_its_secrets() -> None:
    assert "hunter22" not in repr(Mask(["hunter22"]))


def test_large_json_without_a_secret_is_ruled_out_quickly() -> None:
    row = {"id": 1, "name": "Müller", "text": 'a "quoted" line\n', "url": "https://example.com/a?b=%2F", "flag": True}
    text = msgspec.json.encode([row | {"id": number} for number in range(100_000)])
    mask = Mask(["correct horse battery/1", "sk_live_4f9aK2Lm8Zq1", 'p@ss"word é'])

    started = time.process_time()
    masked = mask.json(text)

    assert masked is text
    assert time.process_time() - started < 1.0
