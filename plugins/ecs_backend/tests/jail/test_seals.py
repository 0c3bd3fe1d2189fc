"""The seals, on this machine's kernel: what they forbid to Node and CPython, what they leave, and that they hold or say so."""

from __future__ import annotations

import json
import platform
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from turnout_ecs.jail.launcher import FAILED, Filter, LaunchOptions, Layers, seal_binary
from turnout_ecs.jail.tree import find

from plugins.ecs_backend.tests.jail.bpf import Which, numbers, verdict
from plugins.ecs_backend.tests.jail.expected_calls import ENOSYS, EPERM
from plugins.ecs_backend.tests.jail.launching import Launched, filters_around, launched, order

HERE: Final = Path(__file__).parent
FORBIDDEN: Final = ("open", "open later", "look at", "list", "ask for rights", "change directory", "close the lifeline")
NEVER: Final = (
    "write", "start a program", "start a program later", "connect", "listen", "abstract socket", "signal init", "signal the group",
)  # fmt: skip
FROM_WITHIN: Final = Layers(chroot=False, uid=False)
"""CPython is not in a jail's tree yet: these run the tests' own, which only root may read."""


@pytest.fixture
def root(jail: Path) -> Path:
    return find(jail).root


@pytest.fixture
def python(needs_root: None, tmp_path: Path) -> LaunchOptions:
    shutil.copy(seal_binary("python"), tmp_path / "seal.so")
    return replace(order(None, FROM_WITHIN), filter="python")


def _node(root: Path, *, sealed: bool) -> list[str]:
    """Node with `sealing.cjs`, which is given as text: the jail's tree is not written to."""
    text = HERE.joinpath("sealing.cjs").read_text()
    return order(root).argv(("/node", "--disable-sigusr1", "-e", text, "--", *(("/seal.node",) if sealed else ())))


def _python(options: LaunchOptions, directory: Path, what: str, *rest: int) -> list[str]:
    script, given = str(HERE / "sealing.py"), ",".join(map(str, rest))
    return options.argv((sys.executable, "-I", "-S", "-B", script, str(directory), what, given))


def _told(process: Launched) -> tuple[dict[str, Any], int, str]:
    """Let it go on, and give what it told, its status and what it printed."""
    process.ready()
    process.channel.send(b"x")
    process.egress.send(b"ping")
    said = process.said()
    status, printed = process.end()
    assert said, (status, printed)
    return json.loads(said), status, printed


def test_node_goes_on_when_it_is_sealed_and_opens_nothing_more(root: Path) -> None:
    with launched(_node(root, sealed=True)) as process:
        told, status, printed = _told(process)
        answered = process.egress.recv(10)

    assert {name: told.pop(name) for name in FORBIDDEN} == dict.fromkeys(FORBIDDEN, "EPERM")
    assert {name: told.pop(name) for name in NEVER} == dict.fromkeys(NEVER, "EPERM")
    assert len(told) == 18
    assert set(told.values()) == {"done"}, told
    assert answered == b"pong"
    assert status == 1
    assert "printed" in printed
    assert "Error: at the end" in printed


def test_before_it_is_sealed_it_reads_the_jail_and_can_do_no_more(root: Path) -> None:
    """The control: what the seal forbids is possible without it; what the first filter forbids is not."""
    with launched(_node(root, sealed=False)) as process:
        told, _, _ = _told(process)

    assert {name: told.pop(name) for name in FORBIDDEN} == dict.fromkeys(FORBIDDEN, "done")
    refused = {name: told.pop(name) for name in NEVER}
    assert refused.pop("write") == "EROFS"
    assert set(refused.values()) == {"EPERM"}
    assert set(told.values()) == {"done"}, told


def test_all_threads_are_sealed_at_once(root: Path) -> None:
    waiting = "process.dlopen({ exports: {} }, '/seal.node'); fs.writeSync(3, 'R'); fs.readSync(3, Buffer.alloc(1))"
    with launched(order(root).argv(("/node", "-e", waiting))) as process:
        process.ready()
        filters = [process.status(task)["Seccomp_filters"] for task in process.threads()]

    assert len(filters) > 4
    assert set(filters) == {str(filters_around() + 2)}


def test_a_seal_that_is_missing_is_an_exception(root: Path) -> None:
    with launched(order(root).argv(("/node", "-e", "process.dlopen({ exports: {} }, '/none.node')"))) as process:
        status, printed = process.end()

    assert status == 1
    assert "/none.node: cannot open shared object file" in printed


def _refusing(*, thread: bool, seal: Path) -> tuple[int, str]:
    """A process that another filter is in the way of: it refuses to load a filter, or one thread has it for itself."""
    call = numbers(platform.machine())["seccomp"]
    argv = [sys.executable, "-I", "-S", "-c", _REFUSING, str(call), str(int(thread)), str(seal)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    return done.returncode, done.stdout + done.stderr


_REFUSING: Final = """
import ctypes, struct, sys, threading
call, thread, seal = int(sys.argv[1]), sys.argv[2] == "1", sys.argv[3]
libc, loaded, never = ctypes.CDLL(None), threading.Event(), threading.Event()
steps = (0x20, 0, 0, 0), (0x15, 0, 1, call), (6, 0, 0, 0x50001), (6, 0, 0, 0x7fff0000)
program = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *step) for step in steps))
def load(wait):
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.prctl(22, 2, struct.pack("<HxxxxxxQ", 4, ctypes.addressof(program))) == 0
    loaded.set()
    if wait: never.wait()
if thread: threading.Thread(target=load, args=(True,), daemon=True).start()
else: load(False)
loaded.wait()
ctypes.CDLL(seal)
print("not sealed")
"""


@pytest.mark.parametrize("language", ["node", "python"])
def test_a_seal_that_the_kernel_refuses_ends_the_process_and_says_why(language: Filter) -> None:
    refused = _refusing(thread=False, seal=seal_binary(language))
    divided = _refusing(thread=True, seal=seal_binary(language))

    assert refused == (FAILED, "turnout-seal: seccomp: errno 1\n")
    assert divided[0] == FAILED
    assert re.fullmatch(r"turnout-seal: seccomp: not applied to thread \d+\n", divided[1])


def _refused(stage: str) -> dict[int, str]:
    """The calls of this machine that Python's filter refuses whatever their arguments, and how.

    Newer kernels never ask a filter about the calls of uprobes (335, 336), which kill whoever was not probed.
    """
    which = Which(platform.machine(), "python", stage)
    calls = set(range(600)) - {335, 336} if which.architecture == "x86_64" else range(600)
    said = {call: {verdict(which, call, *[argument] * 6) for argument in (0, -1)} for call in calls}
    return {call: one.pop() for call, one in said.items() if len(one) == 1 and one <= {EPERM, ENOSYS}}


def test_python_goes_on_when_it_is_sealed_and_the_kernel_says_what_the_table_says(
    python: LaunchOptions, tmp_path: Path
) -> None:
    """What `test_filters.py` finds by running the filters is what this kernel does with them."""
    expected = _refused("sealed")
    with launched(_python(python, tmp_path, "try", *expected)) as process:
        told, status, printed = _told(process)

    calls = {number: f"errno {code}" for number, code in told.pop("calls")}
    forbidden = ("open", "look at", "fork", "start a program", "signal init", "close the lifeline")
    assert {name: told.pop(name) for name in forbidden} == dict.fromkeys(forbidden, EPERM)
    assert told == dict.fromkeys(("signal itself", "thread", "sleep", "100 MB", "compute"), "done")
    assert len(expected) > 300
    assert calls == expected
    assert (status, printed) == (0, "")


@pytest.mark.parametrize(
    "name", ["ptrace", "process_vm_writev", "bpf", "mount", "unshare", "kexec_load", "init_module"]
)
def test_what_only_an_exploit_calls_ends_the_process(python: LaunchOptions, tmp_path: Path, name: str) -> None:
    number = numbers(platform.machine())[name]

    with launched(_python(python, tmp_path, "call", number)) as process:
        assert process.end() == (-signal.SIGSYS, "")
    without = replace(python, layers=replace(FROM_WITHIN, seccomp=False))
    with launched(_python(without, tmp_path, "call", number)) as process:
        assert process.end() == (0, "")
