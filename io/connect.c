/* SPDX-License-Identifier: Apache-2.0 */
/* io/connect.c -- connecting: each address of the name in turn, the last error if none answers.
 *
 * The socket is registered once connect has said "in progress" (before that epoll would call it hung up). A wake is only a
 * reason to look: SO_ERROR tells a failure, a peer address tells success, neither means to wait on. A unix socket whose
 * listener's queue is full says EAGAIN and cannot be waited for: it is tried again after pauses of 1 to 64 ms. Whatever ends
 * the call, cancellation too, a socket that became no stream is closed.
 *
 * Threads: tasks, on any worker. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>
#include <weft/task.h>

#include "io/address.h"
#include "io/stream.h"

#define FIRST_PAUSE WEFT_MS(1)
#define LAST_PAUSE WEFT_MS(64)

static const struct weft__wait_kind connect_wait = {"a connection (connect)", NULL, weft__registration_tell};

/* 1: connected, 0: not yet, else a negative errno. */
static int outcome(int fd)
{
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        return -errno;
    if (error != 0)
        return -error;
    struct sockaddr_storage peer;
    size = sizeof peer;
    if (getpeername(fd, (struct sockaddr *)&peer, &size) == 0)
        return 1;
    return errno == ENOTCONN ? 0 : -errno;
}

static int wait_connected(struct weft__registration *reg, struct weft__fiber *f)
{
    for (;;) {
        (void)weft__interest_consume(reg, WEFT__WRITE);
        int rc = outcome(reg->fd);
        if (rc != 0)
            return rc < 0 ? rc : 0;
        rc = weft__registration_wait(reg, f, 1u << WEFT__WRITE, &connect_wait, WEFT_FOREVER);
        if (rc < 0)
            return rc;
    }
}

/* 0: connected, 1: in progress, -EAGAIN: the listener's queue is full (unix). */
static int start(int fd, const struct weft__address *a)
{
    if (connect(fd, (const struct sockaddr *)&a->storage, a->size) == 0)
        return 0;
    return errno == EINPROGRESS || errno == EINTR ? 1 : -errno;
}

static int start_patiently(int fd, const struct weft__address *a)
{
    for (weft_ns pause = FIRST_PAUSE;; pause = pause < LAST_PAUSE ? pause * 2 : pause) {
        int rc = start(fd, a);
        if (rc != -EAGAIN || a->storage.ss_family != AF_UNIX)
            return rc;
        rc = weft_sleep(pause);
        if (rc < 0)
            return rc;
    }
}

static int connect_one(struct weft__io *io, struct weft__fiber *f, const struct weft__address *a,
                       struct weft_stream **out)
{
    bool tcp = a->storage.ss_family != AF_UNIX;
    int fd = socket(a->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int on = 1;
    if (tcp)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* a hint */
    struct weft__registration *reg = NULL;
    int rc = start_patiently(fd, a);
    if (rc >= 0) {
        int opened = weft__registration_open(io, fd, &reg);
        rc = opened < 0 ? opened : rc == 1 ? wait_connected(reg, f) : 0;
    }
    if (rc == 0) {
        *out = weft__stream_take(reg, tcp ? WEFT__STREAM_TCP : WEFT__STREAM_SOCKET);
        return 0;
    }
    if (reg != NULL)
        weft__registration_retire(reg);
    close(fd);
    weft__listeners_retry(io);
    return rc;
}

int weft_connect(weft_stream **out, const char *address)
{
    struct weft__fiber *f = weft__fiber_require("weft_connect");
    struct weft__io *io = weft__fiber_io(f, "weft_connect");
    struct weft__addresses list;
    int rc = weft__address_resolve(address, false, &list);
    if (rc < 0)
        return rc;
    rc = weft__budget_spent(f) ? weft__yield(f) : 0;
    for (unsigned i = 0; rc != -ECANCELED && i < list.count; i++) {
        rc = connect_one(io, f, &list.item[i], out);
        if (rc == 0)
            return 0;
    }
    return rc;
}
