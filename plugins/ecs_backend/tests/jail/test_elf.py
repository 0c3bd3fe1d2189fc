"""What a program needs, read from it and asked of its loader."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from turnout.errors import BackendError
from turnout.sandbox.node import node_binary
from turnout_ecs.jail.elf import interpreter, libraries
from turnout_ecs.jail.launcher import launcher_binary


def test_node_names_its_loader_which_finds_its_libraries() -> None:
    loader = interpreter(Path(node_binary()))
    found = libraries(Path(node_binary()), loader)

    assert Path(loader).is_file()
    assert loader in found
    assert any(path.endswith("/libc.so.6") for path in found)
    assert all(Path(path).is_file() for path in found)


def test_a_static_program_has_no_loader() -> None:
    assert interpreter(Path(launcher_binary())) == ""


@pytest.mark.parametrize(
    "content",
    [b"", b"#!/bin/sh\n", b"\x7fELF", b"\x7fELF\x01\x01" + bytes(100), b"\x7fELF\x02\x02" + bytes(100)],
    ids=["nothing", "a script", "cut off", "of 32 bits", "big-endian"],
)
def test_what_is_no_program_of_this_machine_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "program").write_bytes(content)

    with pytest.raises(BackendError, match="is no program of this machine"):
        interpreter(tmp_path / "program")


def test_segments_that_are_not_in_the_file_are_refused(tmp_path: Path) -> None:
    with Path(node_binary()).open("rb") as node:
        (tmp_path / "program").write_bytes(node.read(64))

    with pytest.raises(BackendError, match="is no program of this machine"):
        interpreter(tmp_path / "program")
    with pytest.raises(BackendError, match="No such file"):
        interpreter(tmp_path / "gone")


def test_a_library_that_the_machine_lacks_is_named(tmp_path: Path) -> None:
    loader = interpreter(Path(node_binary()))
    library = next(path for path in libraries(Path(node_binary()), loader) if "libstdc++" in path)
    content = Path(library).read_bytes()
    (tmp_path / "lacking.so").write_bytes(content.replace(b"\0libm.so.6\0", b"\0libm.so.9\0"))
    shutil.copymode(library, tmp_path / "lacking.so")

    with pytest.raises(BackendError, match=r"cannot load .*lacking\.so: .*libm\.so\.9: cannot open"):
        libraries(tmp_path / "lacking.so", loader)


def test_what_the_loader_cannot_load_is_refused_with_its_words(tmp_path: Path) -> None:
    (tmp_path / "program").write_text("#!/bin/sh\n")

    with pytest.raises(BackendError, match=r"cannot load .*program: .*invalid ELF header|file too short"):
        libraries(tmp_path / "program", interpreter(Path(node_binary())))
