"""The supervisor's side of a bundle without files: whatever a process asks, it gets files of its bundle and nothing else."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from turnout.interfaces.sandbox import CodeBundle
from turnout.sandbox.bundle_files import BundleFiles, OverChannel
from turnout.sandbox.code_view import CodeView
from turnout.sandbox.frames import Frame, FrameType
from turnout.sandbox.module_map import MAP_FILE

FILES = {
    "step.js": "import './near.js'; import 'pack'",
    "near.js": "require('./deep/far')",
    "deep/far.js": "export default 1",
    "data.txt": "data",
    ".bundle.json": "{}",
    MAP_FILE: "map",
}
LAYER = {
    "pack/package.json": '{"main": "./lib", "private": "not told"}',
    "pack/lib.js": "require('./more')",
    "pack/more.js": "",
}


@pytest.fixture
def code(tmp_path: Path) -> Path:
    for name, content in {
        **{f"code/{k}": v for k, v in FILES.items()},
        **{f"layer/{k}": v for k, v in LAYER.items()},
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "code" / "node_modules").symlink_to("../layer")
    (tmp_path / "code" / "out.txt").symlink_to("../secret.txt")
    (tmp_path / "code" / "up").symlink_to("..")
    (tmp_path / "code" / "loop").symlink_to(".")
    (tmp_path / "code" / "broken").symlink_to("nothing")
    os.mkfifo(tmp_path / "code" / "pipe")
    return tmp_path / "code"


def view_of(code: Path) -> CodeView:
    return OverChannel().view(CodeBundle(hash="b", directory=str(code)), mapped=False)


async def fetch(view: CodeView, place: str, start: int = 0) -> dict[str, bytes] | str:
    """The files that come as the answer, or why none do."""
    kind, meta, body = await view.answer(Frame(FrameType.FETCH, b"", json.dumps([place, start]).encode(), b""))
    if kind is FrameType.REFUSED:
        return meta.decode()
    at, files = 0, {}
    for name, length in json.loads(meta):
        files[name] = body[at : at + length]
        at += length
    return files


async def test_a_file_comes_with_what_it_leads_to_and_nothing_twice(code: Path) -> None:
    view = view_of(code)

    first = await fetch(view, "step.js")
    again = await fetch(view, "near.js")

    assert isinstance(first, dict)
    assert next(iter(first)) == "step.js"
    assert set(first) == {"step.js", "near.js", "deep/far.js", "node_modules/pack/lib.js", "node_modules/pack/more.js"}
    assert again == {"near.js": b"require('./deep/far')"}


async def test_the_index_names_every_file_and_what_finding_packages_needs(code: Path) -> None:
    kind, _, body = await view_of(code).answer(Frame(FrameType.INDEX, b"", b"", b""))

    index = json.loads(body)
    assert kind is FrameType.CONTENT
    assert index["packages"] == {"node_modules/pack": {"main": "./lib"}}
    assert index["files"] == {
        "data.txt": 4,
        "deep": {"far.js": 16},
        "near.js": 21,
        "step.js": 33,
        "node_modules": {"pack": {"lib.js": 17, "more.js": 0, "package.json": 40}},
    }


async def test_a_large_file_comes_in_pieces_and_alone(code: Path) -> None:
    content = b"import './near.js'".ljust(2_500_000, b"x")
    (code / "large.js").write_bytes(content)
    view = view_of(code)
    found = b""

    while len(found) < len(content):
        piece = await fetch(view, "large.js", len(found))
        assert isinstance(piece, dict)
        assert list(piece) == ["large.js"]
        assert 0 < len(piece["large.js"]) <= 1024 * 1024
        found += piece["large.js"]

    assert found == content
    for beyond in (2_500_000, 2**63, 2**80):
        assert await fetch(view, "large.js", beyond) in ({"large.js": b""}, "EINVAL")
    assert await fetch(view, "large.js", -5) == await fetch(view, "large.js", 0)


@pytest.mark.parametrize(
    "place",
    [
        "../secret.txt",
        "deep/../../secret.txt",
        "out.txt",
        "up/secret.txt",
        "loop/step.js",
        "/etc/hostname",
        "node_modules/../../secret.txt",
        "pipe",
        "broken",
        "deep",
        "",
        ".",
        "step.js/",
        "step.js\0",
        "./step.js",
        ".bundle.json",
        MAP_FILE,
    ],
)
async def test_what_is_no_file_of_the_bundle_is_refused(code: Path, place: str) -> None:
    assert await fetch(view_of(code), place) == "ENOENT"


@pytest.mark.parametrize("target", ["../secret.txt", "/etc/hostname", "out.txt"])
async def test_control_the_same_way_leads_there_on_the_disk(code: Path, target: str) -> None:
    assert (code / target).read_bytes()


async def test_a_source_that_names_what_lies_outside_brings_none_of_it(code: Path) -> None:
    (code / "step.js").write_text(
        "require('../secret.txt'); require('./out.txt'); import '../../etc/hostname'; require('./up/secret.txt')"
    )

    assert set(await fetch(view_of(code), "step.js")) == {"step.js"}


async def test_another_bundle_is_out_of_reach(code: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "own.js").write_text("own")
    source = OverChannel()
    ours = source.view(CodeBundle(hash="b", directory=str(code)), mapped=False)
    theirs = source.view(CodeBundle(hash="o", directory=str(other)), mapped=False)

    assert await fetch(theirs, "own.js") == {"own.js": b"own"}
    assert await fetch(ours, "own.js") == "ENOENT"
    assert await fetch(theirs, "step.js") == "ENOENT"


async def test_a_bundle_that_is_gone_is_refused_and_looked_for_again(tmp_path: Path) -> None:
    source = OverChannel()
    bundle = CodeBundle(hash="b", directory=str(tmp_path / "later"))

    assert str(await fetch(source.view(bundle, mapped=False), "step.js")).startswith("EIO")
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "step.js").write_text("")
    assert await fetch(source.view(bundle, mapped=False), "step.js") == {"step.js": b""}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    meta=st.one_of(
        st.binary(max_size=60),
        st.tuples(st.text(max_size=60), st.integers()).map(lambda asked: json.dumps(asked).encode()),
        st.recursive(st.none() | st.text(max_size=9), st.lists, max_leaves=9).map(
            lambda asked: json.dumps(asked).encode()
        ),
    )
)
async def test_whatever_is_asked_is_answered(code: Path, meta: bytes) -> None:
    kind, _, _ = await view_of(code).answer(Frame(FrameType.FETCH, b"", meta, b""))

    assert kind is FrameType.REFUSED or json.loads(meta)[0] in FILES


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(alphabet="./anodejs_mu\\\"'@#", max_size=40), manifest=st.text(max_size=60))
def test_no_text_of_a_module_names_anything_but_files_of_the_bundle(code: Path, text: str, manifest: str) -> None:
    (code.parent / "layer" / "pack" / "package.json").write_text(manifest)
    files = BundleFiles(str(code))

    named = files.named("deep/far.js", f"require('{text}'); import 'pack/{text}'; from \"{text}\"".encode())

    assert all(files.path(place) for place in named)
