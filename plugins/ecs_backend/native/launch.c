// Puts itself into a jail and becomes the program that was asked for. Static and without a libc: nothing is loaded,
// so it starts in microseconds and reads no file but the program.
//
//   launch root=/srv/jail uid=70000 data=1073741824 cpu=30 nproc=64 keep=5
//          layers=chroot,uid,caps,rlimits,no_new_privs,seccomp filter=node -- /node ...
//
// Every word is required, in this order. `-` means none for root (bubblewrap has changed it), data, cpu, nproc, layers
// and filter. A layer that is not listed is left out: only a test's control does that. What is not understood, and a
// step that fails, is told in one line on descriptor 2, and the status is 125. All limits only ever go down.
#include <linux/capability.h>
#include <linux/fcntl.h>
#include <linux/resource.h>
#include <linux/signal.h>

#include "filters.h"
#include "raw.h"

#define NAME "turnout-launch"
#define NONE (~0UL)
#define LARGEST_ID 0xfffffffeUL
#define OPEN_FILES 64
#define STACK_BYTES (8UL << 20)
#define SIGNALS 64
#define LENGTH_OF(array) (sizeof(array) / sizeof *(array))

__attribute__((section("filter.node"), used)) static struct sock_filter node_boot[] = NODE_BOOT_FILTER;
__attribute__((section("filter.python"), used)) static struct sock_filter python_boot[] = PYTHON_BOOT_FILTER;

enum layer { CHROOT, UID, CAPS, RLIMITS, NO_NEW_PRIVS, SECCOMP, LAYERS };
static const char *const layer_names[] = {"chroot", "uid", "caps", "rlimits", "no_new_privs", "seccomp"};

struct order {
    const char *root;
    word uid, data, cpu, nproc, keep;
    unsigned layers;
    struct sock_filter *filter;
    unsigned short filter_length;
    char **program;
};

#define TRY(what, number, a, b, c, d, e)                                        \
    do {                                                                        \
        long answer_ = call(__NR_##number, (word)(a), (word)(b), (word)(c), (word)(d), (word)(e)); \
        if (answer_ < 0) fail(NAME, what, "errno ", answer_);                   \
    } while (0)

// --- the order: strictly read ---

static int same(const char *a, const char *b) {
    while (*a && *a == *b) a++, b++;
    return *a == *b;
}

/// The value of the next word, which must be called `name`.
static const char *value_of(char ***words, const char *name) {
    const char *given = **words;
    if (!given) fail(NAME, "missing argument", name, 0);
    word length = length_of(name);
    for (word at = 0; at < length; at++)
        if (given[at] != name[at]) fail(NAME, "unexpected argument", given, 0);
    if (given[length] != '=' || !given[length + 1]) fail(NAME, "unexpected argument", given, 0);
    ++*words;
    return given + length + 1;
}

/// A decimal number without sign or leading zero, within its range; NONE for `-` where that is `optional`.
static word number_of(char ***words, const char *name, word least, word most, int optional) {
    const char *text = value_of(words, name);
    if (optional && same(text, "-")) return NONE;
    if (*text == '0' && text[1]) fail(NAME, "not a number in range", name, 0);
    word value = 0;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || value > most / 10) fail(NAME, "not a number in range", name, 0);
        value = value * 10 + (word)(*text - '0');
    }
    if (value < least || value > most) fail(NAME, "not a number in range", name, 0);
    return value;
}

/// The bits of the layers in `text`, which are named in their order, each at most once.
static unsigned layers_of(const char *text) {
    unsigned found = 0;
    if (same(text, "-")) return 0;
    for (int layer = 0; layer < LAYERS; layer++) {
        word length = length_of(layer_names[layer]), at = 0;
        while (at < length && text[at] == layer_names[layer][at]) at++;
        if (at < length || (text[at] && text[at] != ',')) continue;
        found |= 1U << layer;
        text += at;
        if (!*text) return found;
        text++;
    }
    fail(NAME, "unknown layers, or not in order, from", text, 0);
}

static void read_filter(struct order *order, const char *text) {
    int wanted = order->layers >> SECCOMP & 1;
    if (wanted && same(text, "node")) order->filter = node_boot, order->filter_length = LENGTH_OF(node_boot);
    else if (wanted && same(text, "python")) order->filter = python_boot, order->filter_length = LENGTH_OF(python_boot);
    else if (wanted || !same(text, "-")) fail(NAME, "no such filter for these layers", text, 0);
}

static void read_order(struct order *order, char **words) {
    order->root = value_of(&words, "root");
    order->uid = number_of(&words, "uid", 1, LARGEST_ID, 0);
    order->data = number_of(&words, "data", 1, NONE >> 1, 1);
    order->cpu = number_of(&words, "cpu", 1, 1UL << 31, 1);
    order->nproc = number_of(&words, "nproc", 1, 1UL << 22, 1);
    order->keep = number_of(&words, "keep", 2, OPEN_FILES - 1, 0);
    order->layers = layers_of(value_of(&words, "layers"));
    read_filter(order, value_of(&words, "filter"));
    if (same(order->root, "-") == (order->layers >> CHROOT & 1)) fail(NAME, "a root and the layer chroot go together, not", order->root, 0);
    if (!same(order->root, "-") && *order->root != '/') fail(NAME, "not an absolute path", order->root, 0);
    if (!*words || !same(*words, "--")) fail(NAME, "unexpected argument", *words ? *words : "(none)", 0);
    order->program = words + 1;
    if (!*order->program || **order->program != '/') fail(NAME, "no program with an absolute path", *order->program ? *order->program : "(none)", 0);
}

// --- the layers, in the order in which each still has the rights it takes ---

/// Nothing of the supervisor's: descriptors, blocked and ignored signals, the umask.
static void let_go(word keep) {
    TRY("close_range", close_range, keep + 1, ~0U, 0, 0, 0);
    word none = 0;
    TRY("rt_sigprocmask", rt_sigprocmask, 2 /* SIG_SETMASK */, &none, 0, sizeof none, 0);
    struct { word handler, flags, restorer, mask; } standard = {0, 0, 0, 0};
    for (int signal = 1; signal <= SIGNALS; signal++) call(__NR_rt_sigaction, signal, (word)&standard, 0, sizeof none, 0);
    call(__NR_umask, 077, 0, 0, 0, 0);
}

/// When memory is short the kernel takes jails first. A machine without /proc has no say in it.
static void volunteer(void) {
    long file = call(__NR_openat, AT_FDCWD, (word) "/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC, 0, 0);
    if (file < 0) return;
    call(__NR_write, file, (word) "1000", 4, 0, 0);
    call(__NR_close, file, 0, 0, 0, 0);
}

static void limit(const char *name, int which, word soft, word hard) {
    struct { word soft, hard; } now, wanted;
    TRY(name, prlimit64, 0, which, 0, &now, 0);
    wanted.hard = hard < now.hard ? hard : now.hard;
    wanted.soft = soft < wanted.hard ? soft : wanted.hard;
    TRY(name, prlimit64, 0, which, &wanted, 0, 0);
}

static void set_limits(const struct order *order) {
    static const struct { const char *name; int which; word value; } fixed[] = {
        {"RLIMIT_CORE", RLIMIT_CORE, 0},         {"RLIMIT_FSIZE", RLIMIT_FSIZE, 0},
        {"RLIMIT_MEMLOCK", RLIMIT_MEMLOCK, 0},   {"RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE, 0},
        {"RLIMIT_NICE", RLIMIT_NICE, 0},         {"RLIMIT_RTPRIO", RLIMIT_RTPRIO, 0},
        {"RLIMIT_SIGPENDING", RLIMIT_SIGPENDING, SIGNALS},
        {"RLIMIT_STACK", RLIMIT_STACK, STACK_BYTES}, {"RLIMIT_NOFILE", RLIMIT_NOFILE, OPEN_FILES},
    };
    for (word at = 0; at < LENGTH_OF(fixed); at++) limit(fixed[at].name, fixed[at].which, fixed[at].value, fixed[at].value);
    if (order->data != NONE) limit("RLIMIT_DATA", RLIMIT_DATA, order->data, order->data);
    if (order->nproc != NONE) limit("RLIMIT_NPROC", RLIMIT_NPROC, order->nproc, order->nproc);
    if (order->cpu != NONE) limit("RLIMIT_CPU", RLIMIT_CPU, order->cpu, order->cpu + 1);
}

/// What no program could be given any more. Where CAP_SETPCAP is lacking the set stays; no_new_privs makes it useless.
static void empty_bounding_set(void) {
    for (int capability = 0; capability < 64; capability++) {
        long answer = call(__NR_prctl, PR_CAPBSET_DROP, capability, 0, 0, 0);
        if (answer == -22 /* EINVAL: the last one was before */ || answer == -EPERM_) return;
        if (answer) fail(NAME, "PR_CAPBSET_DROP", "errno ", answer);
    }
}

/// The user, the group and no other group. In a user namespace that already is that user, other groups cannot be let
/// go; they open nothing there, for the root is the jail's tree alone.
static void become(const struct order *order) {
    unsigned real, effective, saved, groups[3];
    TRY("getresuid", getresuid, &real, &effective, &saved, 0, 0);
    TRY("getresgid", getresgid, groups, groups + 1, groups + 2, 0, 0);
    unsigned id = (unsigned)order->uid;
    int already = real == id && effective == id && saved == id && groups[0] == id && groups[1] == id && groups[2] == id;
    long answer = call(__NR_setgroups, 0, 0, 0, 0, 0);
    if (answer && !(already && order->root[0] == '-')) fail(NAME, "setgroups", "errno ", answer);
    if (!already) {
        TRY("setresgid", setresgid, id, id, id, 0, 0);
        TRY("setresuid", setresuid, id, id, id, 0, 0);
    }
}

static void check_user(void) {
    if (!call(__NR_setuid, 0, 0, 0, 0, 0)) fail(NAME, "setuid", "root can be had again", 0);
    if (!call(__NR_setgid, 0, 0, 0, 0, 0)) fail(NAME, "setgid", "root's group can be had again", 0);
}

static void drop_capabilities(void) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[2] = {{0, 0, 0}, {0, 0, 0}}, left[2];
    call(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    TRY("capset", capset, &header, none, 0, 0, 0);
    TRY("capget", capget, &header, left, 0, 0, 0);
    for (int half = 0; half < 2; half++)
        if (left[half].effective | left[half].permitted | left[half].inheritable) fail(NAME, "capget", "capabilities are left", 0);
}

static void enter(const struct order *order) {
#define WITH(layer) (order->layers >> (layer) & 1)
    let_go(order->keep);
    volunteer();
    if (WITH(CHROOT)) {
        TRY("chroot", chroot, order->root, 0, 0, 0, 0);
        TRY("chdir", chdir, "/", 0, 0, 0, 0);
    }
    if (WITH(RLIMITS)) set_limits(order);
    if (WITH(CAPS)) empty_bounding_set();
    if (WITH(UID)) become(order);
    if (WITH(CAPS)) drop_capabilities();
    if (WITH(UID)) check_user();
    if (WITH(NO_NEW_PRIVS)) TRY("no_new_privs", prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (WITH(SECCOMP)) {
        long answer = load_filter(order->filter, order->filter_length, 0);
        if (answer) fail(NAME, "seccomp", "errno ", answer);
    }
}

__attribute__((noreturn, used)) static void begin(word *stack) {
    static char *const environment[] = {"PATH=/", "HOME=/", "TZ=UTC", "LANG=C.UTF-8", "UV_THREADPOOL_SIZE=2", 0};
    struct order order = {0};
    if (!*stack) fail(NAME, "missing argument", "root", 0);
    read_order(&order, (char **)(stack + 2));
    enter(&order);
    long answer = call(__NR_execve, (word)*order.program, (word)order.program, (word)environment, 0, 0);
    fail(NAME, "execve", "errno ", answer);
}

__attribute__((naked, noreturn)) void _start(void) {
#if defined(__x86_64__)
    __asm__ volatile("xor %ebp, %ebp\n mov %rsp, %rdi\n and $-16, %rsp\n call begin");
#else
    __asm__ volatile("mov x29, #0\n mov x30, #0\n mov x0, sp\n bl begin");
#endif
}
