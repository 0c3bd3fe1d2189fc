"""What streams by is rewritten as if it were there at once, and held back no longer than it must be."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout_ecs.egress.errors import Refused
from turnout_ecs.egress.rewriting import Decoder, Rewriter

letters = st.binary(max_size=40).map(lambda data: bytes(byte % 3 + 97 for byte in data))
keys = st.dictionaries(letters.filter(bool), st.binary(max_size=8), min_size=1, max_size=5)


def pieces_of(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces, at = [], 0
    for size in sizes:
        pieces.append(data[at : at + size])
        at += size
    return [*pieces, data[at:]]


@given(keys, st.lists(letters, max_size=20).map(b"".join), st.lists(st.integers(0, 9), max_size=40))
def test_pieces_are_rewritten_as_the_whole(replacements: dict[bytes, bytes], data: bytes, sizes: list[int]) -> None:
    whole = Rewriter(replacements).whole(data)
    rewriter = Rewriter(replacements)

    assert b"".join([*map(rewriter.feed, pieces_of(data, sizes)), rewriter.finish()]) == whole


@given(keys, letters)
def test_only_what_may_begin_a_key_is_held_back(replacements: dict[bytes, bytes], data: bytes) -> None:
    rewriter = Rewriter(dict.fromkeys(replacements, b""))
    rewriter.feed(data)
    held = rewriter.finish()

    assert len(held) < max(map(len, replacements))


def test_the_longest_key_counts() -> None:
    rewriter = Rewriter({b"abc": b"1", b"abcd": b"2"})

    assert [rewriter.feed(b"abc"), rewriter.feed(b"dabc"), rewriter.finish()] == [b"", b"2", b"1"]


def test_what_cannot_begin_a_key_passes_at_once() -> None:
    assert Rewriter({b"secret": b"-"}).feed(b"data: 1\n\n") == b"data: 1\n\n"


@given(
    st.binary(max_size=2000),
    st.lists(st.integers(0, 50), max_size=50),
    st.sampled_from(["gzip", "members", "zlib", "bare"]),
)
def test_compressed_pieces_are_decoded(data: bytes, sizes: list[int], kind: str) -> None:
    bare = zlib.compressobj(wbits=-15)
    coded = {
        "gzip": gzip.compress(data),
        "members": gzip.compress(data[:9]) + gzip.compress(data[9:]),
        "zlib": zlib.compress(data),
        "bare": bare.compress(data) + bare.flush(),
    }[kind]
    decoder = Decoder()

    assert b"".join(piece for part in pieces_of(coded, sizes) for piece in decoder.pieces(part)) == data


@given(st.binary(max_size=300))
def test_anything_is_decoded_or_refused(data: bytes) -> None:
    try:
        Decoder().pieces(data)
    except Refused as refused:
        assert refused.code == "EPROTO"  # noqa: PT017


def test_a_bomb_is_refused() -> None:
    with pytest.raises(Refused, match="far more"):
        Decoder().pieces(gzip.compress(bytes(100 * 1024 * 1024)))
