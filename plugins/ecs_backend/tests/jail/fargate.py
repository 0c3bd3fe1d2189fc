"""Run a command as a container on Fargate would: with the capabilities and the seccomp profile that Docker leaves a root.

    python fargate.py docker-default|four-capabilities COMMAND [ARGUMENT …]

What a container has beside these (its own mounts, process and network namespaces, a read-only root, masked files in
/proc) is not there: `make test-images` runs the real image with all of it. Needs root and Debian's
libseccomp2, and the standard library alone, so that any Python can run it.

Docker's profile is not shipped with this project. Where its file is found, its allow-list is what is applied; where it
is not, what it refuses and a container's root would try is refused by name (`REFUSED_BY_DOCKER`).
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import struct
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

DOCKERS_CAPABILITIES: Final = 0xA80425FB
"""CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP, NET_BIND_SERVICE, NET_RAW, SYS_CHROOT, MKNOD,
AUDIT_WRITE, SETFCAP: what `docker run` and a task on Fargate give without being asked."""
FOUR_CAPABILITIES: Final = 1 << 5 | 1 << 6 | 1 << 7 | 1 << 18
"""KILL, SETGID, SETUID, SYS_CHROOT: all that the jail needs."""
ENVIRONMENTS: Final[Mapping[str, int]] = {
    "docker-default": DOCKERS_CAPABILITIES,
    "four-capabilities": FOUR_CAPABILITIES,
}
VARIABLE: Final = "TURNOUT_CONFINED_AS"
"""Set, in what is run, to the name of its environment."""
OPEN_FILES: Final = 1024

NEW_NAMESPACES: Final = 0x7E020000
REFUSED_BY_DOCKER: Final = (
    "_sysctl acct add_key bpf clock_settime create_module delete_module fanotify_init finit_module fsconfig fsmount "
    "fsopen fspick get_kernel_syms get_mempolicy init_module io_uring_enter io_uring_register io_uring_setup ioperm iopl "
    "kcmp kexec_file_load kexec_load keyctl lookup_dcookie mbind migrate_pages mount mount_setattr move_mount move_pages nfsservctl "
    "open_by_handle_at open_tree perf_event_open pidfd_getfd pivot_root process_madvise query_module quotactl quotactl_fd "
    "reboot request_key set_mempolicy set_mempolicy_home_node setdomainname sethostname setns settimeofday swapoff swapon "
    "sysfs syslog umount umount2 unshare uselib userfaultfd ustat vhangup"
)

_PR_SET_SECCOMP, _PR_CAPBSET_DROP, _SECCOMP_MODE_FILTER = 22, 24, 2
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_COMPARISONS: Final = {"NE": 1, "LT": 2, "LE": 3, "EQ": 4, "GE": 5, "GT": 6, "MASKED_EQ": 7}
_CAPABILITIES: Final = {
    "CAP_DAC_READ_SEARCH": 2,
    "CAP_SYS_MODULE": 16,
    "CAP_SYS_RAWIO": 17,
    "CAP_SYS_CHROOT": 18,
    "CAP_SYS_PTRACE": 19,
    "CAP_SYS_PACCT": 20,
    "CAP_SYS_ADMIN": 21,
    "CAP_SYS_BOOT": 22,
    "CAP_SYS_NICE": 23,
    "CAP_SYS_TIME": 25,
    "CAP_SYS_TTY_CONFIG": 26,
    "CAP_SYSLOG": 34,
    "CAP_PERFMON": 38,
    "CAP_BPF": 39,
}
_ARCHITECTURES: Final = {"x86_64": ("amd64", 0xC000003E), "aarch64": ("arm64", 0xC00000B7)}
_OTHERS_OF: Final = {"x86_64": ("x86", "x32"), "aarch64": ("arm",)}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Of one argument of a call, as libseccomp counts and names them."""

    argument: int
    operator: str
    value: int
    value_two: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """What becomes of the calls named if all comparisons hold: allowed, or refused with an error number."""

    names: Sequence[str]
    refusal: int = 0
    comparisons: Sequence[Comparison] = ()


@dataclass(frozen=True, slots=True)
class Profile:
    """What becomes of every call: `refusal` where no rule names it, 0 if it is allowed then."""

    refusal: int
    rules: Sequence[Rule]


def dockers_profile() -> Path | None:
    """Docker's default profile, as the moby project publishes it: `TURNOUT_DOCKER_SECCOMP`, or where this project's
    developers keep it, beside the work tree. None where it is not there."""
    named = os.environ.get("TURNOUT_DOCKER_SECCOMP")
    beside = Path(__file__).resolve().parents[4].parent / "shared" / "data" / "docker-default-seccomp.json"
    file = Path(named) if named else beside
    return file if file.is_file() else None


def profile(capabilities: int) -> Profile:
    """Docker's default for a container with these capabilities, or what we know of it by name."""
    file = dockers_profile()
    return _own_profile(capabilities) if file is None else _from_json(json.loads(file.read_bytes()), capabilities)


def _own_profile(capabilities: int) -> Profile:
    refused = REFUSED_BY_DOCKER.split()
    if not capabilities >> _CAPABILITIES["CAP_SYS_CHROOT"] & 1:
        refused.append("chroot")
    # One rule a bit: together they refuse a process in any new namespace.
    namespaces = [bit for bit in (1 << n for n in range(32)) if bit & NEW_NAMESPACES]
    cloning = [Rule(["clone"], errno.EPERM, [Comparison(0, "MASKED_EQ", bit, bit)]) for bit in namespaces]
    return Profile(0, [Rule(refused, errno.EPERM), *cloning, Rule(["clone3"], errno.ENOSYS)])


def _from_json(document: Mapping[str, Any], capabilities: int) -> Profile:
    architecture = _ARCHITECTURES[os.uname().machine][0]

    def holds(condition: Mapping[str, Any], *, of_any: bool) -> bool:
        said = [capabilities >> _CAPABILITIES[name] & 1 == 1 for name in condition.get("caps", ())]
        if "arches" in condition:
            said.append(architecture in condition["arches"])
        return any(said) if of_any else all(said)

    rules = [
        _rule(entry)
        for entry in document["syscalls"]
        if holds(entry.get("includes") or {}, of_any=False) and not holds(entry.get("excludes") or {}, of_any=True)
    ]
    return Profile(document.get("defaultErrnoRet", errno.EPERM), rules)


def _rule(entry: Mapping[str, Any]) -> Rule:
    refusal = 0 if entry["action"] == "SCMP_ACT_ALLOW" else entry.get("errnoRet", errno.EPERM)
    compared = [
        Comparison(one["index"], one["op"].removeprefix("SCMP_CMP_"), one["value"], one.get("valueTwo", 0))
        for one in entry.get("args") or ()
    ]
    return Rule(entry["names"], refusal, compared)


class _Compared(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("value", ctypes.c_uint64),
        ("value_two", ctypes.c_uint64),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def compiled(wanted: Profile) -> bytes:
    """The profile as a seccomp filter for this machine's architecture, by libseccomp. A call that libseccomp does not know
    is left out, and one newer than all of the profile's is absent (ENOSYS): both as runc does it."""
    library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(_action(wanted.refusal))))
    for name in _OTHERS_OF[os.uname().machine]:
        _checked(library.seccomp_arch_add(context, library.seccomp_arch_resolve_name(name.encode())), name)
    newest = 0
    for rule in wanted.rules:
        for name in rule.names:
            number = library.seccomp_syscall_resolve_name(name.encode())
            if number == -1:
                continue
            newest = max(newest, number)
            _add(library, context, rule, number)
    with os.fdopen(os.memfd_create("filter"), "rb") as file:
        _checked(library.seccomp_export_bpf(context, file.fileno()), "export")
        library.seccomp_release(context)
        file.seek(0)
        code = file.read()
    return (_newer_are_absent(newest) if wanted.refusal else b"") + code


def _add(library: ctypes.CDLL, context: ctypes.c_void_p, rule: Rule, number: int) -> None:
    compared = (_Compared * len(rule.comparisons))(
        *(_Compared(one.argument, _COMPARISONS[one.operator], one.value, one.value_two) for one in rule.comparisons)
    )
    action = ctypes.c_uint32(_action(rule.refusal))
    added = library.seccomp_rule_add_array(context, action, number, len(compared), compared)
    _checked(added, f"call {number}")


def _action(refusal: int) -> int:
    return _ERRNO | refusal if refusal else _ALLOW


def _checked(result: int, what: str) -> None:
    if result < 0:
        raise OSError(-result, f"libseccomp: {what}: {os.strerror(-result)}")


def _newer_are_absent(newest: int) -> bytes:
    """Before the filter: calls of this architecture beyond `newest` get ENOSYS."""
    load, equal, above, give = 0x20, 0x15, 0x25, 0x06
    instructions = (
        (load, 0, 0, 4),
        (equal, 0, 4, _ARCHITECTURES[os.uname().machine][1]),
        (load, 0, 0, 0),
        (above, 2, 0, 0x40000000 - 1),
        (above, 0, 1, newest),
        (give, 0, 0, _ERRNO | errno.ENOSYS),
    )
    return b"".join(struct.pack("=HBBI", *one) for one in instructions)


def confine(environment: str) -> None:
    """Put this process, and all that it starts, under what a container has there. It keeps what capabilities it holds until
    it executes a program. As in Docker, `no_new_privs` is not set."""
    capabilities = ENVIRONMENTS[environment]
    code = compiled(profile(capabilities))
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    libc = ctypes.CDLL(None, use_errno=True)
    program = _Program(len(code) // 8, code)
    _called(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0), "a filter cannot be set")
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text(encoding="ascii"))
    for number in range(last + 1):
        if not capabilities >> number & 1:
            _called(libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0), f"capability {number} cannot be dropped")
    os.environ[VARIABLE] = environment


def _called(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def main() -> None:
    if len(sys.argv) < 3 or sys.argv[1] not in ENVIRONMENTS:
        sys.exit(f"usage: fargate.py {'|'.join(ENVIRONMENTS)} COMMAND [ARGUMENT …]")
    confine(sys.argv[1])
    os.execvp(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
