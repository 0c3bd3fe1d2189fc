"""Events and values come back from bytes as they were, whatever is in them, and across versions."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout.codec import (
    decode_event,
    encode_event,
    pack,
    pack_error,
    pack_info,
    unpack,
    unpack_error,
    unpack_info,
)
from turnout.errors import BackendError
from turnout.model.events import EVENTS, Event, Logged, StepEnded
from turnout.model.execution import ErrorInfo, ExecutionInfo, StepStatus
from turnout.model.payload import Encoded, File

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
TIMES = st.floats(allow_nan=False)
FILES = st.builds(
    File,
    sha256=TEXT,
    size=st.integers(0, 2**63),
    name=TEXT,
    content_type=TEXT,
    data=st.none() | st.binary(max_size=50),
)
ENCODED = st.builds(
    Encoded,
    json=st.binary(max_size=50),
    files=st.lists(st.tuples(TEXT, FILES), max_size=3).map(tuple),
    stored=st.none() | FILES,
)
SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXT,
    float: TIMES,
    int: st.integers(-(2**63), 2**64 - 1),
    bool: st.booleans(),
    Encoded: ENCODED,
    tuple[str, ...]: st.lists(TEXT, max_size=3).map(tuple),
    tuple[tuple[str, str], ...]: st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple),
}


def complete(kind: type) -> st.SearchStrategy[Any]:
    """Values of a dataclass with every field drawn, those with defaults too."""
    hints = get_type_hints(kind)
    return st.builds(kind, **{field.name: annotated(hints[field.name]) for field in fields(kind)})


def annotated(hint: Any) -> st.SearchStrategy[Any]:
    if hint in SCALARS:
        return SCALARS[hint]
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(hint)
    if isinstance(hint, type) and is_dataclass(hint):
        return complete(hint)
    if get_origin(hint) is tuple and hint.__args__[1:] == (Ellipsis,):
        return st.lists(annotated(hint.__args__[0]), max_size=3).map(tuple)
    [inner] = (option for option in hint.__args__ if option is not type(None))
    return st.none() | annotated(inner)


@pytest.mark.parametrize("name", EVENTS)
@given(data=st.data())
def test_every_event_comes_back_as_it_was(name: str, data: st.DataObject) -> None:
    event: Event = data.draw(complete(EVENTS[name]))

    kind, body = encode_event(event)

    assert kind == name
    assert decode_event(kind, body) == event


@given(ENCODED)
def test_a_value_comes_back_with_the_content_of_its_files(value: Encoded) -> None:
    again = unpack(pack(value))

    assert again == value
    assert [file.data for _, file in again.files] == [file.data for _, file in value.files]


@given(complete(ErrorInfo), complete(ExecutionInfo))
def test_errors_and_descriptions_come_back_as_they_were(error: ErrorInfo, info: ExecutionInfo) -> None:
    assert unpack_error(pack_error(error)) == error
    assert unpack_info(pack_info(info)) == info


def test_a_field_of_a_newer_version_is_ignored() -> None:
    body = msgspec.msgpack.encode(
        {
            "at": 1.0,
            "level": "info",
            "message": "hello",
            "colour": "green",
        }
    )

    assert decode_event("log", body) == Logged(at=1.0, level="info", message="hello")


def test_a_field_that_an_older_version_did_not_write_gets_its_default() -> None:
    body = msgspec.msgpack.encode(
        {"at": 1, "path": "a", "kind": "action", "status": "succeeded", "started_at": 0, "duration_ms": 2}
    )

    assert decode_event("step", body) == StepEnded(
        at=1.0, path="a", kind="action", status=StepStatus.SUCCEEDED, started_at=0.0, duration_ms=2.0
    )


def test_a_field_of_a_file_from_a_newer_version_is_ignored() -> None:
    body = msgspec.msgpack.encode({"stored": {"sha256": "ab", "size": 1, "colour": "green"}})

    assert unpack(body).stored == File(sha256="ab", size=1)


def test_text_that_is_not_unicode_is_written_with_replacement_characters() -> None:
    stray = File(sha256="ab", size=1, name="caf\udce9.csv", data=b"x")
    ended = StepEnded(
        at=1.0,
        path="a",
        kind="action",
        status=StepStatus.FAILED,
        started_at=0.0,
        duration_ms=2.0,
        output=Encoded(files=(("/f", stray),)),
        error=ErrorInfo(kind="E", message="no \ud83d\ude00 but \ud800"),
    )

    again = decode_event(*encode_event(ended))

    assert isinstance(again, StepEnded)
    assert again.error is not None
    assert again.error.message == "no 😀 but \ufffd"
    assert again.output is not None
    assert again.output.files[0][1].name == "caf\ufffd.csv"
    assert again.output.files[0][1].data == b"x"


def test_a_kind_of_a_newer_version_says_to_upgrade() -> None:
    with pytest.raises(BackendError, match=r"'teleported'.*upgrade"):
        decode_event("teleported", b"\x80")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\x80",
        msgspec.msgpack.encode(["at"]),
        msgspec.msgpack.encode({"at": "soon", "level": "info", "message": ""}),
        b"\x91" * 100_000,
        encode_event(Logged(at=1.0, level="info", message="hello"))[1][:-1],
    ],
)
def test_a_damaged_row_is_a_clear_error(body: bytes) -> None:
    with pytest.raises(BackendError, match="'log' cannot be read"):
        decode_event("log", body)


@pytest.mark.parametrize("file", ["ab", {"size": 1}, {"sha256": 1, "size": 1}, {"sha256": "ab", "size": "1"}])
def test_a_damaged_file_is_a_clear_error(file: object) -> None:
    with pytest.raises(BackendError, match="stored value cannot be read"):
        unpack(msgspec.msgpack.encode({"stored": file}))


def test_what_is_not_part_of_the_model_is_not_written() -> None:
    with pytest.raises(TypeError, match="object is not part of the model"):
        pack(Encoded(stored=object()))  # type: ignore[arg-type]  # wrong on purpose
