"""The parser of what sandboxed processes send, given any bytes in any pieces: frames, or an error, and never more held than a frame."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout.sandbox.frames import Frame, FrameParser, FrameType, ProtocolBroken, head

LARGEST = 64
HEAD = 17

sent = st.builds(
    Frame,
    st.sampled_from([kind for kind in FrameType if kind < FrameType.JOB]),
    st.binary(min_size=8, max_size=8),
    st.binary(max_size=100),
    st.binary(max_size=LARGEST),
)


def in_pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in itertools.pairwise(places)]


def written(frame: Frame) -> bytes:
    return head(frame.type, frame.nonce, frame.meta, len(frame.body)) + frame.body


@given(frames=st.lists(sent, max_size=5), cuts=st.lists(st.integers(min_value=0), max_size=20))
def test_frames_come_out_as_they_went_in_however_they_are_cut(frames: list[Frame], cuts: list[int]) -> None:
    parser = FrameParser(LARGEST)
    data = b"".join(map(written, frames))

    assert [frame for piece in in_pieces(data, cuts) for frame in parser.feed(piece)] == frames


@given(
    frames=st.lists(sent, max_size=3),
    junk=st.binary(max_size=200),
    cuts=st.lists(st.integers(min_value=0), max_size=20),
)
def test_any_bytes_are_frames_or_an_error_and_the_same_in_whatever_pieces(
    frames: list[Frame], junk: bytes, cuts: list[int]
) -> None:
    data = b"".join(map(written, frames)) + junk

    def parsed(pieces: list[bytes]) -> tuple[list[Frame], bool]:
        parser, found = FrameParser(LARGEST), []
        try:
            for piece in pieces:
                found += parser.feed(piece)
        except ProtocolBroken:
            return found, True
        return found, False

    whole, broken = parsed([data])
    in_parts, broken_in_parts = parsed(in_pieces(data, cuts))

    assert broken_in_parts == broken
    assert broken or whole == in_parts


@given(kind=st.integers(0, 255), meta=st.integers(0, 2**32 - 1), body=st.integers(LARGEST + 1, 2**32 - 1))
def test_a_length_beyond_the_largest_is_refused_before_anything_is_gathered(kind: int, meta: int, body: int) -> None:
    parser = FrameParser(LARGEST)

    with pytest.raises(ProtocolBroken):
        parser.feed(bytes([kind]) + bytes(8) + meta.to_bytes(4) + body.to_bytes(4))
