"""Files in expressions: facts at once, content when it is there."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from turnout.errors import ExpressionError
from turnout.expressions import ContentNeeded, Scope, compile_template
from turnout.model.payload import File
from turnout.values import Value


def file_of(content: bytes, *, inline: bool = True, **facts: Any) -> File:
    sha256 = hashlib.sha256(content).hexdigest()
    return File(sha256=sha256, size=len(content), data=content if inline else None, **facts)


def render(text: str, file: File, content: dict[str, bytes] | None = None) -> Any:
    steps = {"fetch": Value(file), "more": Value({"files": [file]})}
    scope = Scope(roots={"steps": steps}, now=0.0, unique=str, content=content or {})
    return compile_template(text).render(scope).load()


@pytest.mark.parametrize("path", ["steps.fetch", "steps.more.files[0]", "steps.more.files[?size > `1`] | [0]"])
def test_a_file_answers_its_fields_however_it_is_reached(path: str) -> None:
    file = file_of(b'{"a": [1]}', name="a.json", content_type="application/json")

    def ask(field: str) -> Any:
        return render(f"${{{{ {path}{field} }}}}", file)

    assert ask("") == file
    assert [ask(".name"), ask(".size"), ask(".content_type")] == ["a.json", 10, "application/json"]
    assert ask(".sha256") == file.sha256
    assert ask(".text") == '{"a": [1]}'
    assert ask(".json") == {"a": [1]}
    assert ask(".json.a[0]") == 1
    assert ask(".base64") == base64.b64encode(b'{"a": [1]}').decode()
    assert ask(".owner") is None


def test_a_file_in_an_encoded_value_answers_too() -> None:
    encoded = Value({"nested": file_of(b"hello")}).encode()
    scope = Scope(roots={"trigger": Value.from_encoded(encoded)}, now=0.0, unique=str)

    assert compile_template("${{ trigger.nested.text }}").render(scope).load() == "hello"


@pytest.mark.parametrize("text", ["${{ steps.fetch.text }}", "<${{ steps.more.files[*].text | [0] }}>"])
def test_content_that_is_not_in_memory_is_asked_for_once(text: str) -> None:
    file = file_of(b"large", inline=False)

    with pytest.raises(ContentNeeded) as needed:
        render(text, file)

    assert needed.value.file == file
    assert "large" in render(text, file, {file.sha256: b"large"})


def test_facts_of_a_large_file_need_no_content() -> None:
    assert render("${{ steps.fetch.size }}", file_of(b"large", inline=False)) == 5


def test_content_beyond_the_limit_is_never_asked_for() -> None:
    file = File(sha256="0" * 64, size=500_000_000, name="big.bin")

    with pytest.raises(ExpressionError, match=r"'big.bin' has 500,000,000 bytes"):
        render("${{ steps.fetch.text }}", file)


@pytest.mark.parametrize(
    ("content", "content_type", "text"),
    [
        ("grüß".encode(), "text/plain", "grüß"),
        ("grüß".encode("latin-1"), 'text/plain; charset="ISO-8859-1"', "grüß"),
        ("grüß".encode("utf-16"), "text/plain", "grüß"),
        (b"\xef\xbb\xbfgr", "text/csv; charset=utf-8", "gr"),
        (b"", "text/plain", ""),
    ],
)
def test_text_is_read_by_its_mark_its_charset_or_as_utf_8(content: bytes, content_type: str, text: str) -> None:
    assert render("${{ steps.fetch.text }}", file_of(content, content_type=content_type)) == text


def test_json_with_a_byte_order_mark_or_another_charset_is_read() -> None:
    assert render("${{ steps.fetch.json }}", file_of(b'\xef\xbb\xbf{"a":1}')) == {"a": 1}
    assert render("${{ steps.fetch.json.a }}", file_of('{"a":"é"}'.encode("utf-16"))) == "é"


@pytest.mark.parametrize(
    ("content", "content_type", "field", "reason", "hint"),
    [
        (b"\xff\xfa\x00", "image/png", "text", "the file 'f' is not text in utf-8: byte 0 cannot be read", "base64"),
        (b"a", "text/plain; charset=klingon", "text", "the file 'f' has the unknown charset 'klingon'", "base64"),
        (b"a", "text/plain; charset=zlib", "text", "the file 'f' has the unknown charset 'zlib'", "base64"),
        (b"a", "text/plain; charset=idna", "text", "the file 'f' has the unknown charset 'idna'", "base64"),
        (b"<a/>", "text/xml", "json", "the file 'f' is not JSON", "text"),
    ],
)
def test_content_that_is_something_else_is_explained(
    content: bytes, content_type: str, field: str, reason: str, hint: str
) -> None:
    with pytest.raises(ExpressionError) as caught:
        render(f"${{{{ steps.fetch.{field} }}}}", file_of(content, name="f", content_type=content_type))

    assert caught.value.reason.startswith(reason)
    assert hint in caught.value.hint


@pytest.mark.parametrize("expression", ["to_string(steps.fetch)", "to_json([steps.fetch])", "join('', [steps.fetch])"])
def test_a_file_never_becomes_text_by_accident(expression: str) -> None:
    with pytest.raises(ExpressionError):
        render(f"${{{{ {expression} }}}}", file_of(b"a"))
