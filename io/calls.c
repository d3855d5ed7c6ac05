/* SPDX-License-Identifier: Apache-2.0 */
/* io/calls.c -- the two system calls of a request.
 *
 * recv and send of the C library are points at which a thread can be cancelled (pthread_cancel), and in a program of several threads they say so
 * before and after: with glibc up to 2.40 two locked instructions a call, four a request. Workers are never cancelled, so the kernel is called
 * directly; but only if these names mean the C library's. Where something has put itself in between (a preloaded library, sanitizers,
 * weft_testing), or the program is static and that cannot be told, they are called.
 *
 * They are inline, and so is what leads to them from weft_peek_or_park and weft_write: the kernel uses up the processor's memory of where calls return
 * to, so each return out of a function that has made a system call is a branch that was not foreseen.
 *
 * Threads: init by the one that starts a runtime; the others any. */
#include "io/calls.h"

#include <dlfcn.h>
#include <unistd.h>

#if defined __x86_64__ && !WEFT__FIBER_TOOLS
_Atomic(bool) weft__calls_direct;

static const void *library_of(const void *code)
{
    Dl_info info;
    return dladdr(code, &info) != 0 ? info.dli_fbase : NULL;
}

void weft__calls_init(void)
{
    const void *libc = library_of((const void *)(uintptr_t)syscall);
    bool direct = libc != NULL && libc != library_of((const void *)(uintptr_t)weft__calls_init) &&
                  libc == library_of((const void *)(uintptr_t)recv) &&
                  libc == library_of((const void *)(uintptr_t)send);
    weft__store_relaxed(&weft__calls_direct, direct); /* relaxed: before the threads start; the same for each runtime */
}
#else
void weft__calls_init(void)
{
}
#endif
