"""What the filters are to say to each call: the lists of `native/filters.h` a second time, on purpose. What is added to a
filter must be added here, and be seen."""

from __future__ import annotations

from typing import Final, NamedTuple

from plugins.ecs_backend.tests.jail.bpf import OWN_PID, Which


def words(text: str) -> list[str]:
    return text.split()


ALLOWED, KILLED, EPERM, EROFS, ENOTTY, ENOSYS, ZERO = (
    "allowed",
    "killed",
    "errno 1",
    "errno 30",
    "errno 25",
    "errno 38",
    "errno 0",
)

RUNNING: Final = words(
    """
    futex read write writev readv epoll_pwait epoll_ctl epoll_wait poll select ppoll pselect6 munmap mremap brk
    gettimeofday nanosleep times getrusage getrandom sched_yield
    restart_syscall rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack getpid getppid gettid getuid geteuid
    getgid getegid getresuid getresgid getgroups umask uname getcwd set_robust_list rseq fstat eventfd2
    epoll_create1 getsockname shutdown exit exit_group
    """
)
STARTING: Final = words(
    """
    mmap mprotect close dup dup2 dup3 pipe stat lstat access readlink arch_prctl newfstatat statx faccessat
    faccessat2 readlinkat getdents64 lseek pread64 chdir execve set_tid_address sched_getaffinity sysinfo
    capget seccomp
    """
)
WITHOUT_CONDITION: Final = {
    ("node", "boot"): {*RUNNING, *STARTING},
    ("node", "sealed"): {*RUNNING, "mprotect"},
    ("python", "boot"): {*RUNNING, *STARTING},
    ("python", "sealed"): {*RUNNING, "lseek"},
}
HOSTILE: Final = words(
    """
    ptrace process_vm_readv process_vm_writev kcmp pidfd_getfd bpf perf_event_open userfaultfd
    keyctl add_key request_key init_module finit_module delete_module kexec_load kexec_file_load mount umount2
    move_mount open_tree fsopen fsconfig fsmount fspick mount_setattr pivot_root chroot unshare setns
    open_by_handle_at swapon swapoff reboot acct quotactl settimeofday clock_settime adjtimex clock_adjtime
    syslog vhangup sethostname setdomainname lookup_dcookie iopl ioperm modify_ldt uselib _sysctl create_module
    """
)
PROBED: Final = words(
    """
    clone3 io_uring_setup io_uring_enter io_uring_register close_range openat2 epoll_pwait2 futex_waitv
    membarrier pkey_alloc pkey_mprotect pkey_free memfd_secret map_shadow_stack
    """
)
PRETENDED: Final = ("sched_getscheduler", "sched_getparam")
CONDITIONAL: Final = words(
    """
    clock_gettime clock_getres clock_nanosleep kill tgkill prlimit64 madvise mmap mprotect ioctl close fcntl pipe2 getsockopt prctl clone open openat
    socketpair sched_getaffinity
    """
)
NEWEST_REFUSED: Final = 462
"""mseal. Calls above it were not there when the lists were made."""

THREAD: Final = 0x3D0F00
"""The flags of pthread_create: glibc's sysdeps/unix/sysv/linux/createthread.c."""
CLOCK_CALLS: Final = ("clock_gettime", "clock_getres", "clock_nanosleep")
CLONE_DETACHED, CLONE_NEWUSER, CLONE_THREAD, SIGCHLD = 0x400000, 0x10000000, 0x10000, 17
PRIVATE_ANONYMOUS, SHARED, SHARED_VALIDATE, DROPPABLE, GROWS_DOWN, HUGE = 0x22, 0x21, 0x23, 0x28, 0x122, 0x40022
READ_WRITE, EXECUTE = 3, 4
AT_FDCWD, NULL, POINTER, HIGH_POINTER = -100, 0, 0x7F0012345678, 0x7F0000000000
LIFELINE: Final = 4
F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_SETOWN, F_SETSIG = 0, 1, 2, 3, 4, 8, 10
F_SETLEASE, F_NOTIFY, F_DUPFD_CLOEXEC, F_SETPIPE_SZ, F_ADD_SEALS = 1024, 1026, 1030, 1031, 1033


class Case(NamedTuple):
    """What is said to a call: when booting and when sealed. By one filter for Node, by the other for Python, if they differ."""

    call: str
    arguments: tuple[int, ...]
    boot: str
    sealed: str
    python_boot: str = ""
    python_sealed: str = ""

    def __str__(self) -> str:
        return f"{self.call}({', '.join(f'{argument:#x}' for argument in self.arguments)})"

    def expected(self, which: Which) -> str:
        node = self.boot if which.stage == "boot" else self.sealed
        python = self.python_boot if which.stage == "boot" else self.python_sealed
        return python or node if which.language == "python" else node


def always(call: str, *arguments: int, say: str = ALLOWED) -> Case:
    return Case(call, arguments, say, say)


CASES: Final = [
    *(always(call, clock) for call in CLOCK_CALLS for clock in (0, 1, 2, 3, 7, 11)),
    *(always(call, ~4711 << 3 | kind, say=EPERM) for call in CLOCK_CALLS for kind in (2, 6)),
    Case("sched_getaffinity", (4711, 128, POINTER), ALLOWED, ENOSYS),
    always("kill", OWN_PID, 9),
    always("kill", OWN_PID, 0),
    always("kill", 1, 9, say=EPERM),
    always("kill", 0, 9, say=EPERM),
    always("kill", -1, 9, say=EPERM),
    always("kill", -OWN_PID, 9, say=EPERM),
    always("tgkill", OWN_PID, 4711, 6),
    always("tgkill", 4711, 4711, 6, say=EPERM),
    always("prlimit64", 0, 7, NULL, POINTER),
    always("prlimit64", OWN_PID, 7, NULL, POINTER),
    always("prlimit64", 1, 7, NULL, POINTER, say=EPERM),
    always("prlimit64", 0, 7, POINTER, NULL, say=EPERM),
    always("prlimit64", 0, 7, HIGH_POINTER, NULL, say=EPERM),
    always("madvise", POINTER, 4096, 4),
    always("madvise", POINTER, 4096, 12, say=EPERM),
    always("clone", THREAD),
    always("clone", THREAD | CLONE_DETACHED),
    always("clone", SIGCHLD, say=EPERM),
    always("clone", CLONE_THREAD, say=EPERM),
    always("clone", THREAD | CLONE_NEWUSER, say=EPERM),
    always("clone", THREAD & ~0x400, say=EPERM),
    Case("mmap", (0, 4096, READ_WRITE, PRIVATE_ANONYMOUS), ALLOWED, ALLOWED),
    Case("mmap", (0, 4096, READ_WRITE | EXECUTE, PRIVATE_ANONYMOUS), ALLOWED, ALLOWED, python_sealed=EPERM),
    Case("mmap", (0, 4096, READ_WRITE, SHARED), ALLOWED, EPERM),
    Case("mmap", (0, 4096, READ_WRITE, SHARED_VALIDATE), ALLOWED, EPERM),
    Case("mmap", (0, 4096, READ_WRITE, DROPPABLE), ALLOWED, EPERM),
    Case("mmap", (0, 4096, READ_WRITE, GROWS_DOWN), ALLOWED, EPERM),
    Case("mmap", (0, 4096, READ_WRITE, HUGE), ALLOWED, EPERM),
    Case("mprotect", (POINTER, 4096, READ_WRITE), ALLOWED, ALLOWED),
    Case("mprotect", (POINTER, 4096, EXECUTE), ALLOWED, ALLOWED, python_sealed=EPERM),
    always("ioctl", 3, 0x5421),
    always("ioctl", 3, 0x5451),
    always("ioctl", 3, 0x541B),
    always("ioctl", 1, 0x5401, say=ENOTTY),
    always("ioctl", 1, 0x5412, say=ENOTTY),
    always("ioctl", LIFELINE, 0x5452, say=ENOTTY),
    Case("close", (3,), ALLOWED, ALLOWED),
    Case("close", (LIFELINE,), ALLOWED, EPERM),
    Case("close", (LIFELINE | 1 << 32,), ALLOWED, EPERM),
    always("fcntl", 3, F_GETFL),
    always("fcntl", 3, F_SETFL, 0x800),
    always("fcntl", 3, F_GETFD),
    always("fcntl", LIFELINE, F_SETFD, 1),
    Case("fcntl", (LIFELINE, F_SETFL, 0), ALLOWED, EPERM),
    Case("fcntl", (LIFELINE, F_DUPFD, 10), ALLOWED, EPERM),
    Case("fcntl", (LIFELINE, F_DUPFD_CLOEXEC, 10), ALLOWED, EPERM),
    always("fcntl", 3, F_SETOWN, 1, say=EPERM),
    always("fcntl", 3, F_SETSIG, 9, say=EPERM),
    always("fcntl", 3, F_SETLEASE, 1, say=EPERM),
    always("fcntl", 3, F_NOTIFY, 1, say=EPERM),
    always("fcntl", 3, F_SETPIPE_SZ, 1 << 20, say=EPERM),
    always("fcntl", 3, F_ADD_SEALS, 1, say=EPERM),
    always("pipe2", POINTER, 0x80800),
    always("pipe2", POINTER, 0),
    always("pipe2", POINTER, 0x80, say=EPERM),
    always("getsockopt", 3, 1, 3),
    always("getsockopt", 3, 1, 77, say=EPERM),
    always("getsockopt", 3, 6, 3, say=EPERM),
    always("prctl", 15, POINTER),
    always("prctl", 16, POINTER),
    Case("prctl", (38, 1), ALLOWED, EPERM),
    *(always("prctl", option, 1, say=EPERM) for option in (1, 4, 8, 22, 23, 24, 28, 35, 47, 0x53564D41, 0x59616D61)),
    Case("open", (POINTER, 0), ALLOWED, EPERM),
    *(Case("open", (POINTER, flags), EROFS, EPERM) for flags in (1, 2, 0o100, 0o1000)),
    Case("openat", (AT_FDCWD, POINTER, 0o2000000), ALLOWED, EPERM),
    *(Case("openat", (AT_FDCWD, POINTER, flags), EROFS, EPERM) for flags in (1, 2, 0o100, 0o1000, 0o20200002)),
    Case("socketpair", (1, 1, 0), EPERM, EPERM, python_boot=ALLOWED),
    Case("socketpair", (2, 1, 0), EPERM, EPERM),
]
