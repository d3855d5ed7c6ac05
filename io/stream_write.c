/* SPDX-License-Identifier: Apache-2.0 */
/* io/stream_write.c -- the writing half of a stream: everything or an error, and no memory in between.
 *
 * send comes first, whatever epoll has told: the usual write costs one system call and no atomic write to the interest. Only
 * when the kernel takes less than all, READY is cleared and send asked once more; its EAGAIN is the one to believe, for room
 * made after it comes as a new edge. A writer that waits holds nothing but its caller's buffers: backpressure is that the
 * task does not go on.
 *
 * A peer that is gone is -EPIPE or -ECONNRESET and never a signal: MSG_NOSIGNAL on sockets. For other descriptors (pipes,
 * terminals), which have no such flag, SIGPIPE is blocked in the thread around the call, and one that the call raised is
 * taken away again; one that was pending before stays.
 *
 * Threads: the stream's one writer (WRITER of `users`), a task on any worker. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "io/calls.h"
#include "io/stream.h"

#define MOST_PARTS 64

static const struct weft__wait_kind write_wait = {"a stream (write)", NULL, weft__registration_tell};

static ssize_t writev_without_signal(int fd, const struct iovec *parts, int n)
{
    sigset_t pipe_signal, before, pending;
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    sigpending(&pending);
    if (sigismember(&pending, SIGPIPE)) { /* raised by us or not, it is one signal */
        ssize_t sent = writev(fd, parts, n);
        return sent < 0 ? -errno : sent;
    }
    pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
    ssize_t sent = writev(fd, parts, n);
    if (sent < 0)
        sent = -errno;
    if (sent == -EPIPE) {
        struct timespec at_once = {0, 0};
        while (sigtimedwait(&pipe_signal, NULL, &at_once) < 0 && errno == EINTR)
            ;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return sent;
}

/* One system call. Bytes sent, or a negative errno. */
static ssize_t send_some(struct weft_stream *s, struct iovec *parts, int n)
{
    ssize_t sent;
    do {
        if (!weft__stream_is_socket(s)) {
            sent = writev_without_signal(s->reg.fd, parts, n);
        } else if (n == 1) {
            sent = weft__send(s->reg.fd, parts->iov_base, parts->iov_len);
        } else {
            struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)n};
            sent = sendmsg(s->reg.fd, &message, MSG_NOSIGNAL);
            sent = sent < 0 ? -errno : sent;
        }
    } while (sent == -EINTR);
    return sent == -EWOULDBLOCK ? -EAGAIN : sent;
}

/* Step over what was sent, and over empty parts. */
static void advance(struct iovec **parts, int *n, size_t sent)
{
    while (*n > 0 && sent >= (*parts)->iov_len) {
        sent -= (*parts)->iov_len;
        (*parts)++;
        (*n)--;
    }
    if (*n > 0) {
        (*parts)->iov_base = (char *)(*parts)->iov_base + sent;
        (*parts)->iov_len -= sent;
    }
}

int weft__stream_write_all(struct weft_stream *s, struct weft__fiber *f, struct iovec *parts, int n)
{
    struct weft__registration *reg = &s->reg;
    advance(&parts, &n, 0);
    while (n > 0) {
        uint64_t told = weft__interest_look(reg, WEFT__WRITE);
        if ((told & WEFT__CLOSED) != 0)
            return -EBADF;
        ssize_t sent = send_some(s, parts, n);
        if (sent >= 0) {
            weft__count(&s->written, (uint64_t)sent);
            advance(&parts, &n, (size_t)sent);
            if (n == 0)
                return 0;
            (void)weft__interest_consume(reg, WEFT__WRITE);
            int rc = weft__budget_spent(f) ? weft__yield(f) : 0;
            if (rc < 0)
                return rc;
        } else if (sent != -EAGAIN) {
            return weft__stream_broken(s, (int)-sent);
        } else if ((told & WEFT__READY) != 0) {
            (void)weft__interest_consume(reg, WEFT__WRITE);
        } else {
            int rc = weft__registration_wait(reg, f, 1u << WEFT__WRITE, &write_wait, WEFT_FOREVER);
            if (rc < 0)
                return rc;
        }
    }
    return 0;
}

static int write_parts(struct weft_stream *s, struct iovec *parts, int n)
{
    struct weft__fiber *f = weft__fiber_require("weft_writev");
    int rc = weft__stream_enter(s, WEFT__WRITER);
    if (rc < 0)
        return rc;
    if (weft__budget_spent(f))
        rc = weft__yield(f);
    if (rc == 0)
        rc = weft__stream_write_all(s, f, parts, n);
    weft__stream_leave(s, WEFT__WRITER);
    return rc;
}

/* The kernel mostly takes all of it at once. */
static inline __attribute__((always_inline)) int write_one(struct weft_stream *s, struct weft__fiber *f,
                                                           const char *buf, size_t n)
{
    if (weft__likely(weft__stream_is_socket(s) && n != 0)) {
        if (weft__unlikely((weft__interest_look(&s->reg, WEFT__WRITE) & WEFT__CLOSED) != 0))
            return -EBADF;
        ssize_t sent = weft__send(s->reg.fd, buf, n);
        if (weft__likely(sent > 0)) {
            weft__count(&s->written, (uint64_t)sent);
            if (weft__likely((size_t)sent == n))
                return 0;
            buf += sent;
            n -= (size_t)sent;
        } else if (sent < 0 && sent != -EAGAIN && sent != -EWOULDBLOCK && sent != -EINTR) {
            return weft__stream_broken(s, (int)-sent);
        }
        (void)weft__interest_consume(&s->reg, WEFT__WRITE);
    }
    struct iovec rest = {.iov_base = (void *)(uintptr_t)buf, .iov_len = n};
    return weft__stream_write_all(s, f, &rest, 1);
}

int weft_write(weft_stream *s, const void *buf, size_t n)
{
    struct weft__fiber *f = weft__fiber_require("weft_write");
    int rc = weft__stream_enter(s, WEFT__WRITER);
    if (rc < 0)
        return rc;
    if (weft__budget_spent(f))
        rc = weft__yield(f);
    if (weft__likely(rc == 0))
        rc = write_one(s, f, buf, n);
    weft__stream_leave(s, WEFT__WRITER);
    return rc;
}

int weft_writev(weft_stream *s, const struct iovec *parts, int n)
{
    struct iovec copy[MOST_PARTS];
    if (n < 0 || n > MOST_PARTS)
        return -EINVAL;
    size_t total = 0;
    for (int i = 0; i < n; i++) {
        if (parts[i].iov_len > SSIZE_MAX - total)
            return -EINVAL;
        total += parts[i].iov_len;
    }
    if (n > 0)
        memcpy(copy, parts, (size_t)n * sizeof *parts);
    return write_parts(s, copy, n);
}
