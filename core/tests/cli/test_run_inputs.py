"""What `turnout run` takes: payloads of any kind, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from turnout.cli.inputs import read_payload
from turnout.cli.project import load_project, load_registry
from turnout.errors import UserError
from turnout.local.platform import Platform
from turnout.model.payload import File


async def read(path: Path) -> Any:
    platform = await Platform.open(load_project(path.parent), load_registry(load_project(path.parent)))
    try:
        return (await read_payload(path, platform)).load()
    finally:
        await platform.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "turnout.toml").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.json", b'{"n": 123456789012345678901}', {"n": 123456789012345678901}),
        ("a.json", b"\xef\xbb\xbf[1]", [1]),
        ("a.txt", b"[1]", [1]),
        ("a.xml", "<a>ä</a>".encode(), "<a>ä</a>"),
    ],
)
async def test_a_payload_is_json_or_text(folder: Path, name: str, content: bytes, expected: Any) -> None:
    (folder / name).write_bytes(content)

    assert await read(folder / name) == expected


@pytest.mark.parametrize("content", [b"\xff\x00", b"x" * (1024 * 1024 + 1)])
async def test_what_is_no_text_or_large_is_a_file(folder: Path, content: bytes) -> None:
    (folder / "photo.png").write_bytes(content)

    file = await read(folder / "photo.png")

    assert isinstance(file, File)
    assert (file.name, file.size, file.content_type) == ("photo.png", len(content), "image/png")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b'{"a": }', "malformed"),
        (b'{"a": NaN}', "malformed"),
        (b'["\\ud83d"]', "half of a surrogate pair"),
        (b"[" * 1000 + b"]" * 1000, "nested deeper than 200 levels"),
        (b"\xff", "not UTF-8"),
    ],
)
async def test_a_json_file_that_is_not_json_is_refused_by_name(folder: Path, content: bytes, message: str) -> None:
    (folder / "in.json").write_bytes(content)

    with pytest.raises(UserError, match=message) as refusal:
        await read(folder / "in.json")

    assert "in.json" in str(refusal.value)
