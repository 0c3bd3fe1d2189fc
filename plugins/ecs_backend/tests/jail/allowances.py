"""What a process may do here, tried: prints JSON for whoever started it. Nothing that it tries lasts.

Calls are made with arguments that the kernel refuses with another error than EPERM if it gets to look at them, so that a
call that is allowed does no harm, and its error tells that it was.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

_NEW_NAMESPACES: Final = {"mnt": 0x20000, "user": 0x10000000, "pid": 0x20000000, "net": 0x40000000, "ipc": 0x8000000}
_CLONE_SIGHAND: Final = 0x800
"""Without CLONE_VM no process is made: EINVAL."""
_SOMEBODY: Final = 65000
_BEYOND_ALL: Final = 4000
_PR_CAPBSET_DROP, _PR_CAPBSET_READ, _CAP_MKNOD = 24, 23, 27

CALLS: Final[Mapping[str, tuple[int, ...]]] = {
    "mount": (0, 0, 0, 0, 0),
    "umount2": (0, 0),
    "pivot_root": (0, 0),
    "setns": (-1, 0),
    "open_by_handle_at": (-1, 0, 0),
    "keyctl": (0, 0, 0),
    "bpf": (-1, 0, 0),
    "perf_event_open": (0, 0, -1, -1, 0),
    "userfaultfd": (-1,),
    "io_uring_setup": (0, 0),
    "init_module": (0, 0, 0),
    "kcmp": (-1, -1, 0, 0, 0),
    "clone3": (0, 0),
}


def main() -> None:
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    seen = {
        "capabilities": int(status["CapEff"], 16),
        "bounding": int(status["CapBnd"], 16),
        "ambient": int(status["CapAmb"], 16),
        "no_new_privs": status["NoNewPrivs"] == "1",
        "filters": int(status.get("Seccomp_filters", "0")),
        "files": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        "calls": {name: _call(name, *arguments) for name, arguments in CALLS.items()},
        "namespaces": {
            name: [_call("unshare", flag | 1), _call("clone", flag | _CLONE_SIGHAND, 0, 0, 0, 0)]
            for name, flag in _NEW_NAMESPACES.items()
        },
        "absent": _syscall(_BEYOND_ALL),
        "chroot": _in_child(lambda: os.chroot("/")),
        "become somebody": _in_child(_become_somebody),
        "kill somebody's": _kill_somebodys(),
        "give away": _in_child(_give_away),
        "drop from the bounding set": _in_child(_drop),
    }
    json.dump(seen, sys.stdout)


def _call(name: str, *arguments: int) -> str:
    number = ctypes.CDLL("libseccomp.so.2").seccomp_syscall_resolve_name(name.encode())
    return _syscall(number, *arguments)


def _syscall(number: int, *arguments: int) -> str:
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(one) for one in arguments))
    return "done" if result >= 0 else errno.errorcode[ctypes.get_errno()]


def _in_child(attempt: Callable[[], object]) -> str:
    """`done`, or the error's name, of an attempt that would change this process."""
    child = os.fork()
    if child == 0:
        try:
            attempt()
        except OSError as error:
            os._exit(error.errno or 255)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return errno.errorcode.get(code, str(code)) if code else "done"


def _become_somebody() -> None:
    os.setgroups([])
    os.setresgid(_SOMEBODY, _SOMEBODY, _SOMEBODY)
    os.setresuid(_SOMEBODY, _SOMEBODY, _SOMEBODY)


def _kill_somebodys() -> str:
    """Kill a process of another user, which waits to be killed."""
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        _become_somebody()
        os.write(told, b"1")
        signal.pause()
    os.close(told)
    os.read(ready, 1)
    os.close(ready)
    try:
        os.kill(child, signal.SIGKILL)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    os.waitpid(child, 0)
    return "done"


def _give_away() -> None:
    read, write = os.pipe()
    os.fchown(write, _SOMEBODY, _SOMEBODY)
    os.close(read)
    os.close(write)


def _drop() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_CAPBSET_DROP, _CAP_MKNOD, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "")


if __name__ == "__main__":
    main()
