// System calls without a libc, for programs that have none: the launcher and the seal. Nothing here keeps state.
#pragma once

#include <asm/unistd.h>
#include <linux/filter.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>

#include "bpf.h"

#define PROGRAM_FAILED 125

typedef unsigned long word;

/// The kernel's answer: a result, or a negated errno.
static inline long call(long number, word a, word b, word c, word d, word e) {
#if defined(__x86_64__)
    long answer = number;
    register word r10 __asm__("r10") = d;
    register word r8 __asm__("r8") = e;
    __asm__ volatile("syscall"
                     : "+a"(answer)
                     : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return answer;
#else
    register long x8 __asm__("x8") = number;
    register word x0 __asm__("x0") = a;
    register word x1 __asm__("x1") = b;
    register word x2 __asm__("x2") = c;
    register word x3 __asm__("x3") = d;
    register word x4 __asm__("x4") = e;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory", "cc");
    return (long)x0;
#endif
}

static inline word length_of(const char *text) {
    word length = 0;
    while (text[length]) length++;
    return length;
}

/// Say why on descriptor 2, in one line, and end with status 125. Descriptor 2 may be closed: then nobody hears it.
__attribute__((noreturn)) static void fail(const char *program, const char *what, const char *detail, long number) {
    char line[320], digits[20];
    word at = 0, count = 0;
    const char *parts[] = {program, ": ", what, ": ", detail};
    for (word part = 0; part < sizeof parts / sizeof *parts; part++)
        for (const char *from = parts[part]; *from && at < 280; from++)
            line[at++] = *from >= ' ' && *from <= '~' ? *from : '?';
    if (number) {
        for (word rest = number < 0 ? -(word)number : (word)number; rest; rest /= 10) digits[count++] = '0' + rest % 10;
        while (count) line[at++] = digits[--count];
    }
    line[at++] = '\n';
    call(__NR_write, 2, (word)line, at, 0, 0);
    for (;;) call(__NR_exit_group, PROGRAM_FAILED, 0, 0, 0, 0);
}

/// Put this process's number where the filter compares one with it, and load it, for all threads or for this one.
static long load_filter(struct sock_filter *filter, unsigned short length, word flags) {
    long own = call(__NR_getpid, 0, 0, 0, 0, 0);
    for (unsigned short at = 0; at < length; at++)
        if (filter[at].code == (BPF_JMP | BPF_JEQ | BPF_K) && filter[at].k == OWN_PID) filter[at].k = (unsigned)own;
    struct sock_fprog program = {length, filter};
    return call(__NR_seccomp, SECCOMP_SET_MODE_FILTER, flags, (word)&program, 0, 0);
}
