"""The launcher, on this machine's kernel: every layer is looked for from outside, and what it does not understand it refuses."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Final

import pytest
from turnout.errors import BackendError
from turnout_ecs.jail import launcher
from turnout_ecs.jail.launcher import FAILED, LAUNCHER_ENVIRONMENT, Layers, launcher_binary, seal_binary
from turnout_ecs.jail.tree import find

from plugins.ecs_backend.tests.jail.launching import DATA_BYTES, UID, Launched, inherited, launched, order

WAITING: Final = ("--disable-sigusr1", "-e", "fs.writeSync(3, 'R'); fs.readSync(3, Buffer.alloc(1))")
FARGATE: Final = str(Path(__file__).with_name("fargate.py"))
NONE: Final = "0" * 16
TO_LOOK: Final = "SYS_PTRACE, to see which root and files a process of another user has"
_PT_DYNAMIC, _PT_INTERP, _PT_GNU_STACK, _DT_NEEDED = 2, 3, 0x6474E551, 1

GOOD: Final[Mapping[str, str]] = {
    "root": "/",
    "uid": "70000",
    "data": "1000000000",
    "cpu": "10",
    "nproc": "32",
    "keep": "5",
    "layers": "chroot,uid,caps,rlimits,no_new_privs,seccomp",
    "filter": "node",
}
"""Words that the launcher takes, to put one wrong one among them."""
BAD: Final = [
    ({"root": "relative"}, "not an absolute path: relative"),
    ({"root": "-"}, "a root and the layer chroot go together"),
    ({"root": ""}, "unexpected argument: root="),
    ({"layers": "uid", "filter": "-"}, "a root and the layer chroot go together"),
    ({"uid": "0"}, "not a number in range: uid"),
    ({"uid": "-1"}, "not a number in range: uid"),
    ({"uid": "+7"}, "not a number in range: uid"),
    ({"uid": "007"}, "not a number in range: uid"),
    ({"uid": "-"}, "not a number in range: uid"),
    ({"uid": " 7"}, "not a number in range: uid"),
    ({"uid": "7 "}, "not a number in range: uid"),
    ({"uid": "4294967295"}, "not a number in range: uid"),
    ({"uid": "4294967297"}, "not a number in range: uid"),
    ({"uid": "18446744073709551617"}, "not a number in range: uid"),
    ({"uid": "1e3"}, "not a number in range: uid"),
    ({"data": "0"}, "not a number in range: data"),
    ({"data": "9223372036854775808"}, "not a number in range: data"),
    ({"cpu": "99999999999"}, "not a number in range: cpu"),
    ({"nproc": "0x10"}, "not a number in range: nproc"),
    ({"keep": "1"}, "not a number in range: keep"),
    ({"keep": "64"}, "not a number in range: keep"),
    ({"keep": "-"}, "not a number in range: keep"),
    ({"layers": "chroot,nothing"}, "unknown layers, or not in order, from: nothing"),
    ({"layers": "uid,chroot"}, "unknown layers, or not in order, from: chroot"),
    ({"layers": "chroot,chroot"}, "unknown layers, or not in order, from: chroot"),
    ({"layers": "chroot,"}, "unknown layers, or not in order, from: "),
    ({"layers": "chrootuid"}, "unknown layers, or not in order, from: chrootuid"),
    ({"layers": "-", "root": "-"}, "no such filter for these layers: node"),
    ({"filter": "-"}, "no such filter for these layers: -"),
    ({"filter": "ruby"}, "no such filter for these layers: ruby"),
]


@pytest.fixture
def root(jail: Path) -> Path:
    return find(jail).root


def _seen(process: Launched) -> dict[str, str]:
    process.ready()
    return process.status()


def _limits(process: Launched) -> dict[str, tuple[str, str]]:
    lines = Path(f"/proc/{process.pid}/limits").read_text().splitlines()[1:]
    return {line[:26].strip(): (line[26:47].strip(), line[47:68].strip()) for line in lines}


def _run(*argv: str) -> tuple[int, str]:
    done = subprocess.run([*argv], capture_output=True, text=True, timeout=30, check=False)
    return done.returncode, done.stderr


def _words(changed: Mapping[str, str] = {}, *, program: Sequence[str] = ("--", "/node")) -> list[str]:
    return [str(launcher_binary()), *(f"{name}={value}" for name, value in {**GOOD, **changed}.items()), *program]


@pytest.mark.withheld(TO_LOOK)
def test_every_layer_stands_around_the_program(root: Path) -> None:
    with launched(order(root).argv(("/node", *WAITING))) as process:
        seen = _seen(process)

        assert seen["Uid"] == seen["Gid"] == "\t".join([str(UID)] * 4)
        assert seen["Groups"] == ""
        assert [seen[f"Cap{name}"] for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")] == [NONE] * 5
        assert (seen["NoNewPrivs"], seen["Seccomp"], seen["Seccomp_filters"]) == ("1", "2", "1")
        assert Path(f"/proc/{process.pid}", "root").readlink() == root
        assert Path(f"/proc/{process.pid}/cwd").readlink() == root
        assert os.getsid(process.pid) == process.pid


@pytest.mark.withheld(TO_LOOK)
def test_nothing_of_the_supervisors_is_left(root: Path) -> None:
    with contextlib.ExitStack() as stack:
        for target in (6, 7, 63, 250):
            if not os.path.exists(f"/proc/self/fd/{target}"):  # noqa: PTH110 - a descriptor, not a file
                os.dup2(inherited(stack, os.open(os.devnull, os.O_RDONLY)), target, inheritable=True)
                inherited(stack, target)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        stack.callback(signal.pthread_sigmask, signal.SIG_UNBLOCK, {signal.SIGTERM})
        process = stack.enter_context(launched(order(root).argv(("/node", *WAITING))))
        seen = _seen(process)

        links = {int(fd.name): str(fd.readlink()) for fd in Path(f"/proc/{process.pid}/fd").iterdir()}
        assert {fd: link.split(":")[0] for fd, link in links.items() if fd <= 5} == {
            0: "/dev/null",
            1: "pipe",
            2: "pipe",
            3: "socket",
            4: "pipe",
            5: "socket",
        }
        assert {link.split(":")[0] for fd, link in links.items() if fd > 5} <= {
            "pipe",
            "anon_inode",
        }  # the event loop's
        environment = Path(f"/proc/{process.pid}/environ").read_bytes().rstrip(b"\0").split(b"\0")
        assert dict(one.decode().split("=", 1) for one in environment) == LAUNCHER_ENVIRONMENT
        assert not int(seen["SigBlk"], 16) >> signal.SIGTERM - 1 & 1
        assert seen["Umask"] == "0077"
        assert Path(f"/proc/{process.pid}/oom_score_adj").read_text().strip() == "1000"


def test_limits_are_those_that_were_asked_for(root: Path) -> None:
    with launched(order(root).argv(("/node", *WAITING))) as process:
        process.ready()
        limits = _limits(process)

    nothing = ("0", "0")
    assert limits["Max data size"] == (str(DATA_BYTES), str(DATA_BYTES))
    assert limits["Max cpu time"] == ("60", "61")
    assert limits["Max processes"] == ("64", "64")
    assert limits["Max open files"] == ("64", "64")
    assert limits["Max stack size"] == ("8388608", "8388608")
    assert limits["Max core file size"] == limits["Max file size"] == limits["Max locked memory"] == nothing
    assert limits["Max msgqueue size"] == limits["Max nice priority"] == limits["Max realtime priority"] == nothing


def test_limits_only_go_down_and_what_is_not_asked_for_is_left(root: Path) -> None:
    lower = "import os, resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (40, 48)); os.execv(sys.argv[1], sys.argv[1:])"
    given = replace(order(root), data_bytes=None, cpu_s=None, processes=None)

    with launched([sys.executable, "-c", lower, *given.argv(("/node", *WAITING))]) as process:
        process.ready()
        limits = _limits(process)
        ours = Path("/proc/self/limits").read_text()

    assert limits["Max open files"] == ("48", "48")
    for name in ("Max data size", "Max cpu time", "Max processes"):
        assert limits[name] == next(
            (line[26:47].strip(), line[47:68].strip()) for line in ours.splitlines() if name in line
        )


@pytest.mark.withheld(TO_LOOK)
@pytest.mark.parametrize("off", [field.name for field in fields(Layers)])
def test_a_layer_that_is_off_is_seen_to_be_missing_and_no_other(root: Path, off: str) -> None:
    """The controls of the attacks turn one off: this shows that it is one."""
    layers = {"no_new_privs": Layers(no_new_privs=False, seccomp=False)}.get(off) or replace(Layers(), **{off: False})
    inside = "" if layers.chroot else str(root)

    with launched(order(root, layers).argv((f"{inside}/node", *WAITING))) as process:
        seen = _seen(process)
        limits = _limits(process)
        here = Path(f"/proc/{process.pid}", "root").readlink()

    assert (here == root) is layers.chroot
    assert (seen["Uid"].split()[0] == str(UID)) is layers.uid
    assert (seen["CapBnd"] == NONE) is layers.caps
    assert (limits["Max core file size"] == ("0", "0")) is layers.rlimits
    assert (limits["Max data size"][0] == str(DATA_BYTES)) is layers.rlimits
    assert (seen["NoNewPrivs"] == "1") is layers.no_new_privs
    assert (seen["Seccomp_filters"] == "1") is layers.seccomp


@pytest.mark.withheld("SETPCAP, without which the bounding set stays")
def test_capabilities_go_from_a_process_that_stays_root(root: Path) -> None:
    with launched(order(root, Layers(uid=False)).argv(("/node", *WAITING))) as process:
        seen = _seen(process)

    assert seen["Uid"].split() == ["0"] * 4
    assert [seen[f"Cap{name}"] for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")] == [NONE] * 5


@pytest.mark.withheld("SYS_ADMIN, to set a filter without no_new_privs")
def test_four_capabilities_are_enough(root: Path) -> None:
    """SYS_CHROOT, SETUID, SETGID, KILL: without SETPCAP the bounding set stays, and nothing can be had from it."""
    with launched([sys.executable, FARGATE, "four-capabilities", *order(root).argv(("/node", *WAITING))]) as process:
        seen = _seen(process)

        assert seen["Uid"] == "\t".join([str(UID)] * 4)
        assert seen["CapBnd"] != NONE
        assert [seen[f"Cap{name}"] for name in ("Inh", "Prm", "Eff", "Amb")] == [NONE] * 4
        assert seen["NoNewPrivs"] == "1"
        assert Path(f"/proc/{process.pid}", "root").readlink() == root


def test_a_process_that_already_is_that_user_needs_no_right_where_the_root_has_been_changed(needs_root: None) -> None:
    """As in bubblewrap: the user namespace has one user, and lets no group go."""
    given = ["/usr/bin/setpriv", f"--reuid={UID}", f"--regid={UID}", "--groups=12"]
    words = order(None).argv(("/bin/true",))

    assert _run(*given, *words) == (0, "")
    status, said = _run("/usr/bin/setpriv", "--reuid=70999", f"--regid={UID}", "--clear-groups", *words)
    assert (status, said) == (FAILED, "turnout-launch: setgroups: errno 1\n")


@pytest.mark.parametrize(("changed", "message"), BAD, ids=str)
def test_words_that_it_does_not_understand_are_refused(changed: dict[str, str], message: str) -> None:
    status, said = _run(*_words(changed))

    assert status == FAILED
    assert said.startswith(f"turnout-launch: {message}")
    assert said.count("\n") == 1


@pytest.mark.parametrize("name", GOOD)
def test_a_word_that_is_missing_or_twice_or_called_otherwise_is_refused(name: str) -> None:
    words = _words()
    at = 1 + list(GOOD).index(name)

    for wrong in ([*words[:at], *words[at + 1 :]], [*words[: at + 1], *words[at:]]):
        status, said = _run(*wrong)
        assert status == FAILED
        assert "unexpected argument" in said
    assert _run(*words[:at])[1] == f"turnout-launch: missing argument: {name}\n"
    assert "unexpected argument" in _run(*words[:at], f"{name}x=1", *words[at + 1 :])[1]


@pytest.mark.parametrize("program", [(), ("--",), ("--", "node"), ("/node",), ("--", "")])
def test_a_program_has_an_absolute_path_behind_two_dashes(program: tuple[str, ...]) -> None:
    status, said = _run(*_words(program=program))

    assert status == FAILED
    assert "argument" in said or "no program with an absolute path" in said


def test_a_long_word_is_told_in_part_and_never_as_control_characters() -> None:
    status, said = _run(*_words({"filter": "\x1b[31m\n" + "x" * 5000}))

    assert status == FAILED
    assert len(said) < 330
    assert said.rstrip("\n").isprintable()


def test_the_call_that_failed_is_named(root: Path, tmp_path: Path) -> None:
    assert _run(*_words({"root": str(tmp_path / "none")})) == (FAILED, "turnout-launch: chroot: errno 2\n")
    assert _run(*_words({"root": str(root)}, program=("--", "/none"))) == (FAILED, "turnout-launch: execve: errno 2\n")
    without_rights = ("/usr/bin/setpriv", "--reuid=70999", "--regid=70999", "--clear-groups")
    assert _run(*without_rights, *_words()) == (FAILED, "turnout-launch: chroot: errno 1\n")
    bare = {"root": "-", "layers": "seccomp"}
    assert _run(*without_rights, *_words(bare)) == (FAILED, "turnout-launch: seccomp: errno 13\n")


def test_who_hears_nothing_still_gets_the_status() -> None:
    closing = "import os, sys; os.close(2); os.execv(sys.argv[1], sys.argv[1:])"

    assert _run(sys.executable, "-c", closing, *_words({"uid": "0"})) == (FAILED, "")


def test_a_machine_without_a_launcher_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(launcher, "_BINARIES", tmp_path)
    with pytest.raises(BackendError, match="install the package again"):
        launcher_binary()
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(BackendError, match="choose another sandbox"):
        seal_binary("node")


@pytest.mark.parametrize("architecture", ["x86_64", "aarch64"])
def test_the_programs_need_nothing_and_tell_nothing_of_where_they_were_built(architecture: str) -> None:
    """No loader, no library, no stack that is executable; no path. The same sources give the same bytes anywhere."""
    binaries = launcher_binary().parent
    for name in (f"launch-{architecture}", f"seal-{architecture}.node", f"seal-python-{architecture}.so"):
        content = (binaries / name).read_bytes()
        headers = [struct.unpack_from("<IIQQQQ", content, 64 + 56 * at) for at in range(content[0x38])]
        flags = {kind: flags for kind, flags, *_ in headers}

        assert content[:6] == b"\x7fELF\x02\x01"
        assert content[0x12] == {"x86_64": 62, "aarch64": 183}[architecture]
        assert _PT_INTERP not in flags
        assert not flags[_PT_GNU_STACK] & 1
        for kind, _, offset, _, _, length in headers:
            if kind == _PT_DYNAMIC:
                tags = {tag for tag, _ in struct.iter_unpack("<QQ", content[offset : offset + length])}
                assert _DT_NEEDED not in tags
        for trace in (b"/home", b"/tmp", b".c\0", str(Path.cwd()).encode()):
            assert trace not in content
