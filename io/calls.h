/* SPDX-License-Identifier: Apache-2.0 */
/* io/calls.h -- see calls.c: recv and send of a stream's request, inline. Private to io/. */
#ifndef WEFT_IO_CALLS_H
#define WEFT_IO_CALLS_H

#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "executor/atomic.h"
#include "executor/fiber_tools.h"

/* Find out how they are to be called, before the workers start. */
void weft__calls_init(void);

#if defined __x86_64__ && !WEFT__FIBER_TOOLS
extern _Atomic(bool) weft__calls_direct;

static inline ssize_t weft__call_kernel(long number, int fd, const void *data, size_t n, long flags)
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
#define WEFT__CALLS_DIRECT                                                                                             \
    weft__likely(weft__load_relaxed(&weft__calls_direct)) /* relaxed: written before the threads start */
#else
#define WEFT__CALLS_DIRECT false
#define weft__call_kernel(number, fd, data, n, flags) 0
#endif

/* recv(fd, to, n, 0) and send(fd, from, n, MSG_NOSIGNAL): a count, or a negative errno. Any thread. */
static inline ssize_t weft__recv(int fd, void *to, size_t n)
{
    if (WEFT__CALLS_DIRECT)
        return weft__call_kernel(SYS_recvfrom, fd, to, n, 0);
    ssize_t got = recv(fd, to, n, 0);
    return got < 0 ? -errno : got;
}

static inline ssize_t weft__send(int fd, const void *from, size_t n)
{
    if (WEFT__CALLS_DIRECT)
        return weft__call_kernel(SYS_sendto, fd, from, n, MSG_NOSIGNAL);
    ssize_t sent = send(fd, from, n, MSG_NOSIGNAL);
    return sent < 0 ? -errno : sent;
}

#endif
