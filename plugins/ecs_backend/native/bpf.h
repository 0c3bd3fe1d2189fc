// Words for writing a seccomp filter as a constant array. A filter is a list of blocks; a block compares the call's
// number and, if it is the one, decides: every block ends in a return, so none falls through into the next.
//
// Arguments are compared by their low half: that is all the kernel takes of an `int` or `unsigned int`, and filters.h
// compares both halves where a pointer is meant. Both architectures are little-endian.
#pragma once

#include <asm/unistd.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#if defined(__x86_64__)
#define THIS_ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define THIS_ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#error "There are filters for x86-64 and aarch64 alone."
#endif

#define EPERM_ 1
#define EROFS_ 30
#define ENOTTY_ 25
#define ENOSYS_ 38

#define RETURN(action) {BPF_RET | BPF_K, 0, 0, (action)}
#define ALLOWED RETURN(SECCOMP_RET_ALLOW)
#define REFUSED RETURN(SECCOMP_RET_ERRNO | EPERM_)
#define READ_ONLY RETURN(SECCOMP_RET_ERRNO | EROFS_)
#define NO_TERMINAL RETURN(SECCOMP_RET_ERRNO | ENOTTY_)
#define UNKNOWN RETURN(SECCOMP_RET_ERRNO | ENOSYS_)
#define ZERO RETURN(SECCOMP_RET_ERRNO | 0)
#define KILLED RETURN(SECCOMP_RET_KILL_PROCESS)

#define LOAD(offset) {BPF_LD | BPF_W | BPF_ABS, 0, 0, (offset)}
#define LOAD_ARCHITECTURE LOAD(__builtin_offsetof(struct seccomp_data, arch))
#define LOAD_NUMBER LOAD(__builtin_offsetof(struct seccomp_data, nr))
#define ARGUMENT(n) LOAD(__builtin_offsetof(struct seccomp_data, args) + 8 * (n))
#define ARGUMENT_HIGH(n) LOAD(__builtin_offsetof(struct seccomp_data, args) + 8 * (n) + 4)

// What follows one of these is one instruction, taken only if the condition holds.
#define IF_IS(value) {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, (value)}
#define IF_IS_NOT(value) {BPF_JMP | BPF_JEQ | BPF_K, 1, 0, (value)}
#define IF_ANY_OF(bits) {BPF_JMP | BPF_JSET | BPF_K, 0, 1, (bits)}
#define IF_AT_LEAST(value) {BPF_JMP | BPF_JGE | BPF_K, 0, 1, (value)}
#define IF_ABOVE(value) {BPF_JMP | BPF_JGT | BPF_K, 0, 1, (value)}
#define ONLY(bits) {BPF_ALU | BPF_AND | BPF_K, 0, 0, (bits)}

#define LENGTH(...) (sizeof((struct sock_filter[]){__VA_ARGS__}) / sizeof(struct sock_filter))
#define CALL(name, ...) {BPF_JMP | BPF_JEQ | BPF_K, 0, LENGTH(__VA_ARGS__), __NR_##name}, __VA_ARGS__

#define ALLOW(name) CALL(name, ALLOWED)
#define REFUSE(name) CALL(name, REFUSED)
#define ABSENT(name) CALL(name, UNKNOWN)
#define KILL(name) CALL(name, KILLED)

// Stands for the process's own number, which `with_own_pid` (raw.h) puts in its place when a filter is loaded.
#define OWN_PID 0x7eed7eed

// 32-bit and x32 calls have other numbers: a process that makes one is up to no good.
#define X32_BIT 0x40000000
#define BEGIN LOAD_ARCHITECTURE, IF_IS_NOT(THIS_ARCHITECTURE), KILLED, LOAD_NUMBER, IF_AT_LEAST(X32_BIT), KILLED
