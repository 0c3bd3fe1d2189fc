// The calls that a jailed process may make: allow-lists by name, one for each language and stage.
//
//   boot    applied by the launcher: what the language's runtime needs to start and to load its code from the jail's
//           read-only tree. Nothing is written to, no process is started, no socket opened.
//   sealed  applied by the runtime to all its threads when it has started: no file is opened or looked at any more.
//
// What is not listed gets EPERM, so that code sees an error it can handle; what a libc or runtime only probes for, and
// every call newer than this file, gets ENOSYS, so that it does without; what only an exploit calls ends the process.
// An aarch64 kernel lacks the calls in the ARCHITECTURE lists: its libc uses the others.
#pragma once

#include <linux/fcntl.h>
#include <linux/fs.h>
#include <linux/mman.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/socket.h>
#include <asm/ioctls.h>

#include "bpf.h"

// The descriptor whose end kills the process group when its supervisor is gone (turnout.sandbox.lifeline). Sealed code
// can neither close nor duplicate it, nor switch its signal off.
#define LIFELINE_FD 4

#define NEWEST_KNOWN_CALL __NR_mseal

// --- arguments that matter ---

#define WRITING (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)
#define PIPE_FLAGS (O_CLOEXEC | O_NONBLOCK)
#define SOCK_TYPE 3  // SO_TYPE of SOL_SOCKET, in <asm/socket.h> under a name that libc headers have too
#define SOL_SOCKET_ 1
#define AF_UNIX_ 1

// A thread as glibc and musl (with CLONE_DETACHED) make it, flag by flag: no process, no namespace, no table of its own.
#define THREAD                                                                                                 \
    (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS |         \
     CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)
#define THREADS_ALONE                                                                                          \
    CALL(clone, ARGUMENT(0), ONLY(~CLONE_DETACHED), IF_IS(THREAD), ALLOWED, REFUSED), ABSENT(clone3)

#define OWN_SIGNALS                                                                                            \
    CALL(kill, ARGUMENT(0), IF_IS(OWN_PID), ALLOWED, REFUSED),                                                 \
    CALL(tgkill, ARGUMENT(0), IF_IS(OWN_PID), ALLOWED, REFUSED)

// Read one's own limits (the pointer to new ones is null, in both halves).
#define READING_OWN_LIMITS                                                                                     \
    CALL(prlimit64, ARGUMENT(2), IF_IS_NOT(0), REFUSED, ARGUMENT_HIGH(2), IF_IS_NOT(0), REFUSED, ARGUMENT(0),  \
         IF_IS(0), ALLOWED, IF_IS(OWN_PID), ALLOWED, REFUSED)

// Clocks by number. The negative ones stand for a process's processor time, any process's, and no right is asked for.
#define FEW_CLOCKS 16
#define CLOCK(name) CALL(name, ARGUMENT(0), IF_AT_LEAST(FEW_CLOCKS), REFUSED, ALLOWED)
#define CLOCKS CLOCK(clock_gettime), CLOCK(clock_getres), CLOCK(clock_nanosleep)

// Merging equal pages (MADV_MERGEABLE) lets one process measure what another holds.
#define ADVICE CALL(madvise, ARGUMENT(2), IF_IS(MADV_MERGEABLE), REFUSED, ALLOWED)

// RLIMIT_DATA counts private mappings that do not grow.
#define UNCOUNTED ((MAP_TYPE & ~MAP_PRIVATE) | MAP_GROWSDOWN | MAP_LOCKED | MAP_HUGETLB)
#define COUNTED_MEMORY CALL(mmap, ARGUMENT(3), IF_ANY_OF(UNCOUNTED), REFUSED, ALLOWED)

#define COUNTED_MEMORY_WITHOUT_CODE                                                                            \
    CALL(mmap, ARGUMENT(3), IF_ANY_OF(UNCOUNTED), REFUSED, ARGUMENT(2), IF_ANY_OF(PROT_EXEC), REFUSED, ALLOWED), \
    CALL(mprotect, ARGUMENT(2), IF_ANY_OF(PROT_EXEC), REFUSED, ALLOWED)

// No descriptor is a terminal: all that asks whether one is gets the truth, whatever it asks.
#define DEVICES                                                                                                \
    CALL(ioctl, ARGUMENT(1), IF_IS(FIONBIO), ALLOWED, IF_IS(FIOCLEX), ALLOWED, IF_IS(FIONCLEX), ALLOWED,       \
         IF_IS(FIONREAD), ALLOWED, NO_TERMINAL)

#define SEALED_DESCRIPTORS                                                                                     \
    CALL(close, ARGUMENT(0), IF_IS(LIFELINE_FD), REFUSED, ALLOWED),                                            \
    CALL(fcntl, ARGUMENT(1), IF_IS(F_GETFL), ALLOWED, IF_IS(F_GETFD), ALLOWED, IF_IS(F_SETFD), ALLOWED,        \
         IF_IS_NOT(F_SETFL), REFUSED, ARGUMENT(0), IF_IS(LIFELINE_FD), REFUSED, ALLOWED)

#define BOOT_DESCRIPTORS                                                                                       \
    ALLOW(close), ALLOW(dup), ALLOW(dup3),                                                                     \
    CALL(fcntl, ARGUMENT(1), IF_IS(F_GETFL), ALLOWED, IF_IS(F_GETFD), ALLOWED, IF_IS(F_SETFD), ALLOWED,        \
         IF_IS(F_SETFL), ALLOWED, IF_IS(F_DUPFD), ALLOWED, IF_IS(F_DUPFD_CLOEXEC), ALLOWED, REFUSED)

// A pipe of a kind that carries the kernel's own messages (O_EXCL) is none that a runtime makes.
#define PIPES CALL(pipe2, ARGUMENT(1), ONLY(~PIPE_FLAGS), IF_IS(0), ALLOWED, REFUSED)

// How a runtime finds out what an inherited descriptor is. Nothing else is asked of a socket, nor sent with sendmsg:
// what Node and CPython need of a stream are read and write.
#define INHERITED_SOCKETS                                                                                      \
    ALLOW(getsockname), ALLOW(shutdown),                                                                       \
    CALL(getsockopt, ARGUMENT(1), IF_IS_NOT(SOL_SOCKET_), REFUSED, ARGUMENT(2), IF_IS(SOCK_TYPE), ALLOWED, REFUSED)

// Asked by absl's mutexes, about threads of any process. The answer 0 (SCHED_OTHER) is given without looking.
#define ORDINARY_SCHEDULING CALL(sched_getscheduler, ZERO), CALL(sched_getparam, ZERO)

#define OWN_NAMES CALL(prctl, ARGUMENT(0), IF_IS(PR_SET_NAME), ALLOWED, IF_IS(PR_GET_NAME), ALLOWED, REFUSED)
#define BOOT_NAMES                                                                                             \
    CALL(prctl, ARGUMENT(0), IF_IS(PR_SET_NAME), ALLOWED, IF_IS(PR_GET_NAME), ALLOWED,                         \
         IF_IS(PR_SET_NO_NEW_PRIVS), ALLOWED, REFUSED)

// --- lists ---

#if defined(__x86_64__)
#define LEGACY_WAITING ALLOW(epoll_wait), ALLOW(poll), ALLOW(select),
#define LEGACY_TREE                                                                                            \
    CALL(open, ARGUMENT(1), IF_ANY_OF(WRITING), READ_ONLY, ALLOWED), ALLOW(stat), ALLOW(lstat), ALLOW(access), \
    ALLOW(readlink), ALLOW(dup2), ALLOW(pipe), ALLOW(arch_prctl),
#define LEGACY_HOSTILE KILL(iopl), KILL(ioperm), KILL(modify_ldt), KILL(uselib), KILL(_sysctl), KILL(create_module),
#else
#define LEGACY_WAITING
#define LEGACY_TREE
#define LEGACY_HOSTILE
#endif

// What computing, waiting, threads and the inherited descriptors take. The busiest calls come first.
#define RUNNING                                                                                                \
    ALLOW(futex), ALLOW(read), ALLOW(write), ALLOW(writev), ALLOW(readv), ALLOW(epoll_pwait), ALLOW(epoll_ctl), \
    LEGACY_WAITING ALLOW(ppoll), ALLOW(pselect6), ALLOW(munmap), ALLOW(mremap), ALLOW(brk), ADVICE, CLOCKS,    \
    ALLOW(gettimeofday), ALLOW(nanosleep), ALLOW(times), ALLOW(getrusage), ALLOW(getrandom),                   \
    ALLOW(sched_yield), ALLOW(restart_syscall), ALLOW(rt_sigaction), ALLOW(rt_sigprocmask),                    \
    ALLOW(rt_sigreturn), ALLOW(sigaltstack), OWN_SIGNALS, ALLOW(getpid), ALLOW(getppid), ALLOW(gettid),        \
    ALLOW(getuid), ALLOW(geteuid), ALLOW(getgid), ALLOW(getegid), ALLOW(getresuid), ALLOW(getresgid),          \
    ALLOW(getgroups), ALLOW(umask), ALLOW(uname), ALLOW(getcwd), THREADS_ALONE, ALLOW(set_robust_list),        \
    ALLOW(rseq), ALLOW(fstat), READING_OWN_LIMITS, ORDINARY_SCHEDULING, ALLOW(eventfd2), ALLOW(epoll_create1), \
    PIPES, DEVICES, INHERITED_SOCKETS, ALLOW(exit), ALLOW(exit_group)

// What reading the jail's tree and starting a program take.
#define STARTING                                                                                               \
    ALLOW(mmap), ALLOW(mprotect), BOOT_DESCRIPTORS, BOOT_NAMES, LEGACY_TREE                                    \
    CALL(openat, ARGUMENT(2), IF_ANY_OF(WRITING), READ_ONLY, ALLOWED), ALLOW(newfstatat), ALLOW(statx),        \
    ALLOW(faccessat), ALLOW(faccessat2), ALLOW(readlinkat), ALLOW(getdents64), ALLOW(lseek), ALLOW(pread64),   \
    ALLOW(chdir), ALLOW(execve), ALLOW(set_tid_address), ALLOW(sched_getaffinity), ALLOW(sysinfo),             \
    ALLOW(capget), ALLOW(seccomp)

// What only an attempt to get out calls: into other processes, the kernel, mounts and namespaces.
#define HOSTILE                                                                                                \
    LEGACY_HOSTILE KILL(ptrace), KILL(process_vm_readv), KILL(process_vm_writev), KILL(kcmp),                  \
    KILL(pidfd_getfd), KILL(bpf), KILL(perf_event_open), KILL(userfaultfd), KILL(keyctl), KILL(add_key),       \
    KILL(request_key), KILL(init_module), KILL(finit_module), KILL(delete_module), KILL(kexec_load),           \
    KILL(kexec_file_load), KILL(mount), KILL(umount2), KILL(move_mount), KILL(open_tree), KILL(fsopen),        \
    KILL(fsconfig), KILL(fsmount), KILL(fspick), KILL(mount_setattr), KILL(pivot_root), KILL(chroot),          \
    KILL(unshare), KILL(setns), KILL(open_by_handle_at), KILL(swapon), KILL(swapoff), KILL(reboot),            \
    KILL(acct), KILL(quotactl), KILL(settimeofday), KILL(clock_settime), KILL(adjtimex),                       \
    KILL(clock_adjtime), KILL(syslog), KILL(vhangup), KILL(sethostname), KILL(setdomainname),                  \
    KILL(lookup_dcookie)

#define PROBED                                                                                                 \
    ABSENT(io_uring_setup), ABSENT(io_uring_enter), ABSENT(io_uring_register), ABSENT(close_range),            \
    ABSENT(openat2), ABSENT(epoll_pwait2), ABSENT(futex_waitv), ABSENT(membarrier), ABSENT(pkey_alloc),        \
    ABSENT(pkey_mprotect), ABSENT(pkey_free), ABSENT(memfd_secret), ABSENT(map_shadow_stack)

#define END HOSTILE, PROBED, IF_ABOVE(NEWEST_KNOWN_CALL), UNKNOWN, REFUSED

// glibc asks it about a thread whose stack it is to find (pthread_getattr_np), which V8 does in each: any other error than
// ENOSYS leaves V8 without the stack, and it crashes in its next collection of garbage.
#define NO_AFFINITY ABSENT(sched_getaffinity)

#define NODE_BOOT_FILTER {BEGIN, RUNNING, STARTING, END}
#define NODE_SEALED_FILTER                                                                                     \
    {BEGIN, RUNNING, COUNTED_MEMORY, ALLOW(mprotect), SEALED_DESCRIPTORS, OWN_NAMES, NO_AFFINITY, END}

// CPython's event loop wakes itself through a pair of sockets, made before it is sealed. It compiles nothing to machine
// code, so once its modules are loaded no memory may become executable any more.
#define PYTHON_BOOT_FILTER                                                                                     \
    {BEGIN, RUNNING, STARTING, CALL(socketpair, ARGUMENT(0), IF_IS(AF_UNIX_), ALLOWED, REFUSED), END}
#define PYTHON_SEALED_FILTER                                                                                   \
    {BEGIN, RUNNING, COUNTED_MEMORY_WITHOUT_CODE, SEALED_DESCRIPTORS, OWN_NAMES, NO_AFFINITY, ALLOW(lseek), END}
