/* SPDX-License-Identifier: Apache-2.0 */
/* io/calls.c -- the two system calls of a request.
 *
 * recv and send of the C library are points at which a thread can be cancelled (pthread_cancel), and in a program of several threads they say so
 * before and after: with glibc up to 2.40 two locked instructions a call, four a request. Workers are never cancelled, so the kernel is called
 * directly; but only if these names mean the C library's. Where something has put itself in between (a preloaded library, sanitizers,
 * weft_testing), or the program is static and that cannot be told, they are called.
 *
 * Threads: init by the one that starts a runtime; the others any. */
#include "io/calls.h"

#include <dlfcn.h>
#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "executor/atomic.h"
#include "executor/fiber_tools.h"

#if defined __x86_64__ && !WEFT__FIBER_TOOLS
static _Atomic(bool) direct;

static const void *library_of(const void *code)
{
    Dl_info info;
    return dladdr(code, &info) != 0 ? info.dli_fbase : NULL;
}

void weft__calls_init(void)
{
    const void *libc = library_of((const void *)(uintptr_t)syscall);
    bool plain = libc != NULL && libc != library_of((const void *)(uintptr_t)weft__calls_init) &&
                 libc == library_of((const void *)(uintptr_t)recv) && libc == library_of((const void *)(uintptr_t)send);
    weft__store_relaxed(&direct, plain); /* relaxed: before the threads start; of each runtime the same */
}

static inline ssize_t call(long number, int fd, const void *data, size_t n, long flags)
{
    register long r10 __asm__("r10") = flags;
    register long r8 __asm__("r8") = 0; /* no address */
    register long r9 __asm__("r9") = 0;
    long result = number;
    __asm__ volatile("syscall"
                     : "+a"(result)
                     : "D"((long)fd), "S"(data), "d"(n), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}
#define DIRECT weft__likely(weft__load_relaxed(&direct)) /* relaxed: see init */
#else
void weft__calls_init(void)
{
}
#define DIRECT false
#define call(number, fd, data, n, flags) 0
#endif

ssize_t weft__recv(int fd, void *to, size_t n)
{
    if (DIRECT)
        return call(SYS_recvfrom, fd, to, n, 0);
    ssize_t got = recv(fd, to, n, 0);
    return got < 0 ? -errno : got;
}

ssize_t weft__send(int fd, const void *from, size_t n)
{
    if (DIRECT)
        return call(SYS_sendto, fd, from, n, MSG_NOSIGNAL);
    ssize_t sent = send(fd, from, n, MSG_NOSIGNAL);
    return sent < 0 ? -errno : sent;
}
