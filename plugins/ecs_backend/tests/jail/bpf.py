"""The compiled filters, read out of the binaries, and a machine that runs them: what a kernel would say to any call, of
either architecture. classic BPF as seccomp(2) and the kernel's Documentation/networking/filter.rst describe it."""

from __future__ import annotations

import csv
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import turnout_ecs.jail
from turnout_ecs.jail.launcher import Filter

__all__ = ["ARCHITECTURES", "FILTERS", "OWN_PID", "Instruction", "Which", "numbers", "program", "verdict"]

ARCHITECTURES: Final[Mapping[str, int]] = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""AUDIT_ARCH_X86_64 and AUDIT_ARCH_AARCH64."""
OWN_PID: Final = 0x7EED7EED
"""What stands in the binaries for the number of the process that loads a filter."""

_BINARIES: Final = Path(turnout_ecs.jail.__file__).parent / "bin"
_CALLS: Final = Path(__file__).with_name("syscalls.tsv")
_PLACES: Final[Mapping[tuple[Filter, str], tuple[str, str]]] = {
    ("node", "boot"): ("launch-{}", "filter.node"),
    ("node", "sealed"): ("seal-{}.node", "filter.sealed"),
    ("python", "boot"): ("launch-{}", "filter.python"),
    ("python", "sealed"): ("seal-python-{}.so", "filter.sealed"),
}
_ERRNO, _ALLOW, _KILL_PROCESS = 0x00050000, 0x7FFF0000, 0x80000000


@dataclass(frozen=True, slots=True)
class Which:
    """One compiled filter."""

    architecture: str
    language: Filter
    stage: str

    def __str__(self) -> str:
        return f"{self.architecture}-{self.language}-{self.stage}"


FILTERS: Final = [Which(architecture, *place) for architecture in ARCHITECTURES for place in _PLACES]


@dataclass(frozen=True, slots=True)
class Instruction:
    code: int
    if_true: int
    if_false: int
    k: int


@cache
def numbers(architecture: str) -> Mapping[str, int]:
    """The calls that this architecture has, by name: from the headers that zig 0.17 brings."""
    with _CALLS.open(newline="") as lines:
        rows = csv.DictReader(lines, delimiter="\t")
        return {row["call"]: int(row[architecture]) for row in rows if row[architecture] != "-"}


@cache
def program(which: Which) -> Sequence[Instruction]:
    """The instructions of a filter, as they are in the binary."""
    file, section = _PLACES[which.language, which.stage]
    content = _section((_BINARIES / file.format(which.architecture)).read_bytes(), section)
    return [Instruction(*fields) for fields in struct.iter_unpack("<HBBI", content)]


def verdict(which: Which, call: int, *arguments: int, architecture: int | None = None) -> str:
    """`allowed`, `killed` or `errno N` for a call with these arguments, 64 bits each; what is not given is 0."""
    audited = ARCHITECTURES[which.architecture] if architecture is None else architecture
    padded = [*arguments, 0, 0, 0, 0, 0, 0][:6]
    data = struct.pack("<IIQ6Q", call & 0xFFFFFFFF, audited, 0, *(value & (1 << 64) - 1 for value in padded))
    action = _run(program(which), data)
    if action & 0xFFFF0000 == _ERRNO:
        return f"errno {action & 0xFFFF}"
    return {_ALLOW: "allowed", _KILL_PROCESS: "killed"}[action]


def _run(instructions: Sequence[Instruction], data: bytes) -> int:
    accumulator, at = 0, 0
    while True:
        here = instructions[at]
        at += 1
        match here.code:
            case 0x20:  # load an absolute word
                accumulator = int.from_bytes(data[here.k : here.k + 4], "little")
            case 0x54:  # and
                accumulator &= here.k
            case 0x15:  # is equal
                at += here.if_true if accumulator == here.k else here.if_false
            case 0x35:  # is at least
                at += here.if_true if accumulator >= here.k else here.if_false
            case 0x25:  # is above
                at += here.if_true if accumulator > here.k else here.if_false
            case 0x45:  # has any of these bits
                at += here.if_true if accumulator & here.k else here.if_false
            case 0x06:  # return
                return here.k
            case other:
                raise AssertionError(f"instruction {at - 1} has the code {other:#x}, which no filter of ours uses")


def _section(elf: bytes, name: str) -> bytes:
    assert elf[:6] == b"\x7fELF\x02\x01", "a little-endian ELF of 64 bits"
    (table,) = struct.unpack_from("<Q", elf, 0x28)
    size, count, names_at = struct.unpack_from("<HHH", elf, 0x3A)
    headers = [struct.unpack_from("<IIQQQQ", elf, table + size * at) for at in range(count)]
    names = headers[names_at][4]
    for text, _, _, _, offset, length in headers:
        start = names + text
        if elf[start : elf.index(b"\0", start)].decode() == name:
            return elf[offset : offset + length]
    raise AssertionError(f"there is no section {name}")
