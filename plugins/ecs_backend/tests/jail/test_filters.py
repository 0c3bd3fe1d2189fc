"""What each compiled filter says to every call there is, on both architectures: run in `bpf.py`'s machine, from the binaries."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.ecs_backend.tests.jail.bpf import ARCHITECTURES, FILTERS, OWN_PID, Which, numbers, program, verdict
from plugins.ecs_backend.tests.jail.expected_calls import (
    ALLOWED,
    CASES,
    CONDITIONAL,
    ENOSYS,
    ENOTTY,
    EPERM,
    EROFS,
    HOSTILE,
    KILLED,
    LIFELINE,
    NEWEST_REFUSED,
    PRETENDED,
    PROBED,
    WITHOUT_CONDITION,
    ZERO,
    Case,
    words,
)

every_filter = pytest.mark.parametrize("which", FILTERS, ids=str)
every_case = pytest.mark.parametrize(
    ("which", "case"),
    [
        pytest.param(which, case, id=f"{which}-{case}")
        for which in FILTERS
        for case in CASES
        if case.call in numbers(which.architecture)
    ],
)


def _present(names: Iterable[str], which: Which) -> list[tuple[str, int]]:
    known = numbers(which.architecture)
    return [(name, known[name]) for name in names if name in known]


@every_filter
def test_what_is_listed_is_allowed_whatever_its_arguments(which: Which) -> None:
    for name, call in _present(WITHOUT_CONDITION[which.language, which.stage], which):
        for value in (0, 1, LIFELINE, OWN_PID, (1 << 64) - 1):
            assert verdict(which, call, *[value] * 6) == ALLOWED, name


@every_filter
def test_what_only_an_exploit_calls_ends_the_process(which: Which) -> None:
    for name, call in _present(HOSTILE, which):
        assert verdict(which, call) == KILLED, name


@every_filter
def test_what_is_only_probed_for_is_absent(which: Which) -> None:
    for name, call in _present(PROBED, which):
        assert verdict(which, call) == ENOSYS, name


@every_filter
def test_questions_about_other_threads_are_answered_without_looking(which: Which) -> None:
    for name, call in _present(PRETENDED, which):
        assert verdict(which, call, 1) == ZERO, name


@every_filter
def test_every_other_call_is_refused(which: Which) -> None:
    """All that the kernel has and no list names: the sockets, signals, files and clocks of this year's kernel and the next's."""
    listed = {*WITHOUT_CONDITION[which.language, which.stage], *HOSTILE, *PROBED, *PRETENDED, *CONDITIONAL}
    rest = {name: call for name, call in numbers(which.architecture).items() if name not in listed}

    for name, call in rest.items():
        assert verdict(which, call) == (EPERM if call <= NEWEST_REFUSED else ENOSYS), name

    assert {
        "socket",
        "connect",
        "sendmsg",
        "recvmsg",
        "sendto",
        "memfd_create",
        "setpriority",
        "rt_sigqueueinfo",
    } <= set(rest)
    assert {"sched_setaffinity", "pidfd_send_signal", "timer_create", "setuid", "capset", "mincore", "splice"} <= set(
        rest
    )


@every_filter
def test_numbers_that_no_call_has_are_refused(which: Which) -> None:
    known = set(numbers(which.architecture).values())
    for call in set(range(2000)) - known:
        assert verdict(which, call) == (EPERM if call <= NEWEST_REFUSED else ENOSYS), call


@every_case
def test_arguments_decide(which: Which, case: Case) -> None:
    call = numbers(which.architecture)[case.call]

    assert verdict(which, call, *case.arguments) == case.expected(which)


@every_case
def test_the_half_of_an_argument_that_the_kernel_cuts_off_decides_nothing(which: Which, case: Case) -> None:
    """Where all the kernel reads is 32 bits, junk above them must not make another call of it; a pointer has 64."""
    pointer = 2 if case.call == "prlimit64" else -1
    junk = [value if at == pointer else value | 0x5A5A5A5A << 32 for at, value in enumerate(case.arguments)]

    assert verdict(which, numbers(which.architecture)[case.call], *junk) == case.expected(which)


@every_filter
def test_calls_of_other_architectures_end_the_process(which: Which) -> None:
    foreign = [one for one in ARCHITECTURES.values() if one != ARCHITECTURES[which.architecture]]
    for architecture in (*foreign, 0x40000003, 0x40000028, 0):  # i386 and 32-bit ARM
        for call in (0, 1, 3, 4, 11, 39, 63, 64):
            assert verdict(which, call, architecture=architecture) == KILLED


@every_filter
def test_x32_calls_and_the_number_minus_one_end_the_process(which: Which) -> None:
    for call in (0x40000000, 0x40000001, 0x40000207, 0x7FFFFFFF, 0x80000000, -1):
        assert verdict(which, call) == KILLED


@every_filter
def test_the_kernel_would_take_it(which: Which) -> None:
    """At most 4096 instructions, no jump beyond the last one, a return at the end."""
    instructions = program(which)

    assert len(instructions) < 1024
    assert instructions[-1].code == 0x06
    for at, one in enumerate(instructions):
        if one.code & 0x07 == 0x05:
            assert at + 1 + max(one.if_true, one.if_false) < len(instructions)


@every_filter
@given(call=st.integers(0, 1 << 32), arguments=st.lists(st.integers(0, (1 << 64) - 1), max_size=6))
def test_there_is_an_answer_to_anything(which: Which, call: int, arguments: list[int]) -> None:
    assert verdict(which, call, *arguments) in {ALLOWED, KILLED, EPERM, EROFS, ENOTTY, ENOSYS, ZERO}


@pytest.mark.parametrize("language", ["node", "python"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_nothing_is_opened_looked_at_or_started_when_sealed(architecture: str, language: str) -> None:
    which = next(
        one for one in FILTERS if (one.architecture, one.language, one.stage) == (architecture, language, "sealed")
    )
    names = words(
        """
    open openat openat2 creat stat lstat newfstatat statx access faccessat faccessat2 readlink readlinkat
    getdents getdents64 chdir fchdir execve execveat fork vfork clone3 unlink unlinkat rename renameat2 mkdir
    mkdirat link linkat symlink symlinkat truncate mknod mknodat chmod fchmodat chown fchownat utimensat statfs
    inotify_add_watch dup dup2 dup3 socket socketpair connect bind listen accept accept4 sendmsg recvmsg seccomp
    sched_getaffinity
    """
    )

    for name, call in _present(names, which):
        assert verdict(which, call) in {EPERM, ENOSYS}, name
