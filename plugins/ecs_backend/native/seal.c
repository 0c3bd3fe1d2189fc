// Stage 2 as a shared object: whoever opens it is sealed, with all the threads of the process, before dlopen returns.
//
// Built once a language: SEALED_FILTER says which list of filters.h. For Node it is also an empty addon, so that
// `process.dlopen({ exports: {} }, "/seal.node")` returns; that it throws means that the process is not sealed.
#include "filters.h"
#include "raw.h"

__attribute__((section("filter.sealed"), used)) static struct sock_filter sealed[] = SEALED_FILTER;

__attribute__((constructor)) static void seal(void) {
    long answer = call(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (answer) fail("turnout-seal", "no_new_privs", "errno ", answer);
    answer = load_filter(sealed, sizeof sealed / sizeof *sealed, SECCOMP_FILTER_FLAG_TSYNC);
    if (answer < 0) fail("turnout-seal", "seccomp", "errno ", answer);
    if (answer > 0) fail("turnout-seal", "seccomp", "not applied to thread ", answer);
}

__attribute__((visibility("default"))) void *napi_register_module_v1(void *env, void *exports) {
    (void)env;
    return exports;
}
