/* SPDX-License-Identifier: Apache-2.0 */
/* testing/calls.c -- system calls of the program and of weft, each of which asks faults.c first.
 *
 * Who waits for edges of epoll believes EAGAIN, and fewer bytes than asked for: no edge comes for what is there already. So after such a fault
 * the descriptor's registration is renewed, by EPOLL_CTL_MOD with what it was registered with, and the kernel tells of it anew: as if what the call
 * did not give had only now come. For that the latest registration of each descriptor is remembered.
 *
 * Threads: any, also in tasks; nothing is kept over a call. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "testing/testing.h"

#define REMEMBERED 65536

static struct {
    _Atomic(int) epoll; /* + 1; 0: none */
    _Atomic(uint32_t) events;
    _Atomic(uint64_t) data;
} registered[REMEMBERED];

/* REPLACED(type, name, parameters): both sides of the linker's --wrap. */
#define REPLACED(type, name, ...)                                                                                      \
    type __real_##name(__VA_ARGS__);                                                                                   \
    type __wrap_##name(__VA_ARGS__);                                                                                   \
    type __wrap_##name(__VA_ARGS__)

/* The usual form: fail with -1 and errno, or do it. */
#define SIMPLE(type, failed, call, name, parameters, arguments)                                                        \
    type __real_##name parameters;                                                                                     \
    type __wrap_##name parameters;                                                                                     \
    type __wrap_##name parameters                                                                                      \
    {                                                                                                                  \
        int error = weft__fault(call, -1);                                                                             \
        if (error != 0) {                                                                                              \
            errno = error;                                                                                             \
            return failed;                                                                                             \
        }                                                                                                              \
        return __real_##name arguments;                                                                                \
    }

SIMPLE(void *, MAP_FAILED, WEFT__MMAP, mmap,
       (void *address, size_t length, int protection, int flags, int fd, off_t at),
       (address, length, protection, flags, fd, at))
SIMPLE(int, -1, WEFT__MADVISE, madvise, (void *address, size_t length, int advice), (address, length, advice))
SIMPLE(int, -1, WEFT__MPROTECT, mprotect, (void *address, size_t length, int protection), (address, length, protection))
SIMPLE(int, -1, WEFT__EPOLL_CREATE, epoll_create1, (int flags), (flags))
SIMPLE(int, -1, WEFT__EVENTFD, eventfd, (unsigned count, int flags), (count, flags))
SIMPLE(int, -1, WEFT__SOCKET, socket, (int domain, int type, int protocol), (domain, type, protocol))
SIMPLE(int, -1, WEFT__BIND, bind, (int fd, const struct sockaddr *address, socklen_t size), (fd, address, size))
SIMPLE(int, -1, WEFT__LISTEN, listen, (int fd, int backlog), (fd, backlog))

/* ---- epoll --------------------------------------------------------------------------------------------------------- */

REPLACED(int, epoll_ctl, int epoll, int operation, int fd, struct epoll_event *event)
{
    int error = operation == EPOLL_CTL_DEL ? 0 : weft__fault(WEFT__EPOLL_CTL, -1);
    if (error != 0) {
        errno = error;
        return -1;
    }
    if (fd >= 0 && fd < REMEMBERED && operation != EPOLL_CTL_DEL && event != NULL) {
        atomic_store(&registered[fd].data, event->data.u64);
        atomic_store(&registered[fd].events, event->events);
        atomic_store(&registered[fd].epoll, epoll + 1);
    } else if (fd >= 0 && fd < REMEMBERED) {
        atomic_store(&registered[fd].epoll, 0);
    }
    return __real_epoll_ctl(epoll, operation, fd, event);
}

static void tell_anew(int fd)
{
    if (fd < 0 || fd >= REMEMBERED)
        return;
    int epoll = atomic_load(&registered[fd].epoll) - 1;
    struct epoll_event e = {.events = atomic_load(&registered[fd].events),
                            .data.u64 = atomic_load(&registered[fd].data)};
    if (epoll >= 0)
        (void)__real_epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &e); /* closed or gone meanwhile: then nobody waits */
}

static bool interrupted(void)
{
    if (weft__fault(WEFT__EPOLL_WAIT, -1) == 0)
        return false;
    errno = EINTR;
    return true;
}

REPLACED(int, epoll_wait, int epoll, struct epoll_event *events, int most, int timeout)
{
    return interrupted() ? -1 : __real_epoll_wait(epoll, events, most, timeout);
}

REPLACED(int, epoll_pwait2, int epoll, struct epoll_event *events, int most, const struct timespec *timeout,
         const sigset_t *mask)
{
    return interrupted() ? -1 : __real_epoll_pwait2(epoll, events, most, timeout, mask);
}

/* ---- connections --------------------------------------------------------------------------------------------------- */

REPLACED(int, accept4, int fd, struct sockaddr *restrict address, socklen_t *restrict size, int flags)
{
    int error = weft__fault(WEFT__ACCEPT, fd);
    if (error == ECONNABORTED) { /* it is taken out of the line, and gone */
        int taken = __real_accept4(fd, address, size, flags | SOCK_CLOEXEC);
        if (taken < 0)
            return taken;
        close(taken);
    } else if (error == EAGAIN) {
        tell_anew(fd);
    }
    if (error != 0) {
        errno = error;
        return -1;
    }
    return __real_accept4(fd, address, size, flags);
}

REPLACED(int, connect, int fd, const struct sockaddr *address, socklen_t size)
{
    int error = weft__fault(WEFT__CONNECT, fd);
    if (error == EINTR) { /* it goes on behind our back; nothing else can be told as interrupted */
        int rc = __real_connect(fd, address, size);
        if (rc != 0 && errno == EINPROGRESS)
            errno = EINTR;
        return rc;
    }
    if (error != 0) {
        errno = error;
        return -1;
    }
    return __real_connect(fd, address, size);
}

/* ---- bytes --------------------------------------------------------------------------------------------------------- */

/* Before: -1 and errno when it fails, else how many bytes it may move. */
static ssize_t before(enum weft__call call, int fd, size_t n)
{
    int error = weft__fault(call, fd);
    if (error == 0 || (error == WEFT__SHORT && n < 2))
        return (ssize_t)n;
    if (error == WEFT__SHORT)
        return (ssize_t)(n > 64 ? n / 3 : 1);
    if (error == EAGAIN)
        tell_anew(fd);
    errno = error;
    return -1;
}

/* After one that was made to move less. */
static ssize_t after(int fd, size_t asked, size_t allowed, ssize_t moved)
{
    if (allowed < asked && moved == (ssize_t)allowed) {
        int kept = errno;
        tell_anew(fd);
        errno = kept;
    }
    return moved;
}

#define MOVES(call, name, buffer, extra_parameters, extra_arguments)                                                   \
    REPLACED(ssize_t, name, int fd, buffer data, size_t n extra_parameters)                                            \
    {                                                                                                                  \
        ssize_t allowed = before(call, fd, n);                                                                         \
        if (allowed < 0)                                                                                               \
            return -1;                                                                                                 \
        return after(fd, n, (size_t)allowed, __real_##name(fd, data, (size_t)allowed extra_arguments));                \
    }
#define COMMA ,

MOVES(WEFT__READ, read, void *, , )
MOVES(WEFT__WRITE, write, const void *, , )
MOVES(WEFT__RECV, recv, void *, COMMA int flags, COMMA flags)
MOVES(WEFT__SEND, send, const void *, COMMA int flags, COMMA flags)

REPLACED(ssize_t, recvfrom, int fd, void *data, size_t n, int flags, struct sockaddr *from, socklen_t *size)
{
    ssize_t allowed = before(WEFT__RECV, fd, n);
    return allowed < 0 ? -1
                       : after(fd, n, (size_t)allowed, __real_recvfrom(fd, data, (size_t)allowed, flags, from, size));
}

REPLACED(ssize_t, sendto, int fd, const void *data, size_t n, int flags, const struct sockaddr *to, socklen_t size)
{
    ssize_t allowed = before(WEFT__SEND, fd, n);
    return allowed < 0 ? -1 : after(fd, n, (size_t)allowed, __real_sendto(fd, data, (size_t)allowed, flags, to, size));
}

/* Of several buffers fewer bytes means: the first one's only, and of a single one a part. */
#define PARTS 64

static size_t cut(struct iovec *out, const struct iovec *parts, size_t count, size_t allowed)
{
    size_t n = 0;
    for (; n < count && n < PARTS && allowed > 0; n++) {
        out[n] = parts[n];
        if (out[n].iov_len > allowed)
            out[n].iov_len = allowed;
        allowed -= out[n].iov_len;
    }
    return n;
}

static size_t total(const struct iovec *parts, size_t count)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        n += parts[i].iov_len;
    return n;
}

REPLACED(ssize_t, writev, int fd, const struct iovec *parts, int count)
{
    size_t n = total(parts, (size_t)count);
    ssize_t allowed = before(WEFT__WRITE, fd, n);
    if (allowed < 0)
        return -1;
    if ((size_t)allowed == n)
        return __real_writev(fd, parts, count);
    struct iovec some[PARTS];
    return after(fd, n, (size_t)allowed,
                 __real_writev(fd, some, (int)cut(some, parts, (size_t)count, (size_t)allowed)));
}

REPLACED(ssize_t, sendmsg, int fd, const struct msghdr *message, int flags)
{
    size_t n = total(message->msg_iov, message->msg_iovlen);
    ssize_t allowed = before(WEFT__SEND, fd, n);
    if (allowed < 0)
        return -1;
    if ((size_t)allowed == n)
        return __real_sendmsg(fd, message, flags);
    struct iovec some[PARTS];
    struct msghdr less = *message;
    less.msg_iovlen = cut(some, message->msg_iov, message->msg_iovlen, (size_t)allowed);
    less.msg_iov = some;
    return after(fd, n, (size_t)allowed, __real_sendmsg(fd, &less, flags));
}

REPLACED(ssize_t, recvmsg, int fd, struct msghdr *message, int flags)
{
    size_t n = total(message->msg_iov, message->msg_iovlen);
    ssize_t allowed = before(WEFT__RECV, fd, n);
    if (allowed < 0)
        return -1;
    if ((size_t)allowed == n)
        return __real_recvmsg(fd, message, flags);
    struct iovec some[PARTS], *all = message->msg_iov;
    size_t count = message->msg_iovlen;
    message->msg_iovlen = cut(some, all, count, (size_t)allowed);
    message->msg_iov = some;
    ssize_t got = after(fd, n, (size_t)allowed, __real_recvmsg(fd, message, flags));
    message->msg_iov = all;
    message->msg_iovlen = count;
    return got;
}

/* ---- others -------------------------------------------------------------------------------------------------------- */

REPLACED(int, getaddrinfo, const char *restrict host, const char *restrict service,
         const struct addrinfo *restrict hints, struct addrinfo **restrict out)
{
    int error = weft__fault(WEFT__GETADDRINFO, -1);
    if (error != 0)
        return error == ENOMEM ? EAI_MEMORY : EAI_AGAIN;
    return __real_getaddrinfo(host, service, hints, out);
}

REPLACED(int, pthread_create, pthread_t *restrict thread, const pthread_attr_t *restrict attributes,
         void *(*entry)(void *), void *restrict argument)
{
    int error = weft__fault(WEFT__PTHREAD_CREATE, -1);
    return error != 0 ? error : __real_pthread_create(thread, attributes, entry, argument);
}

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    int error = weft__fault(WEFT__OPEN, -1);
    if (error != 0) {
        errno = error;
        return -1;
    }
    va_list list;
    va_start(list, flags);
    unsigned mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(list, unsigned) : 0;
    va_end(list);
    return __real_open(path, flags, mode);
}
