/* SPDX-License-Identifier: Apache-2.0 */
/* io/stream.c -- a stream's life: made of a descriptor, shut down, closed.
 *
 * Lifetime. weft_close gives the user's hold back; calls that are inside at that moment are woken and answer -EBADF, and the
 * last one to leave closes the descriptor and frees the stream (registration.c, USERS). The descriptor therefore stays open
 * until nobody can use its number any more: no call ever reads from a number that means another file by then.
 *
 * Threads: tasks on any worker; close from any thread while the runtime lives, and from any thread after it has ended (then
 * nothing is registered any more and only memory and descriptor are left to free). */
#include "io/stream.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct weft_stream *weft__stream_new(void)
{
    return calloc(1, sizeof(struct weft_stream));
}

static void dispose(struct weft__registration *reg)
{
    struct weft_stream *s = reg->owner;
    struct weft__io *io = reg->io;
    weft__stream_drop_buffer(s);
    weft__registration_retire(reg);
    close(s->fd);
    weft__listeners_retry(io);
    free(s);
}

void weft__stream_take(struct weft_stream *s, struct weft__registration *reg, enum weft__stream_kind kind)
{
    s->fd = reg->fd;
    s->socket = kind != WEFT__STREAM_PIPE;
    s->exact = kind == WEFT__STREAM_TCP;
    s->reg = reg;
    reg->owner = s;
    reg->home = &s->reg;
    reg->dispose = dispose;
}

int weft__stream_open(struct weft_stream *s, struct weft__io *io, int fd, enum weft__stream_kind kind)
{
    struct weft__registration *reg;
    int rc = weft__registration_open(io, fd, &reg);
    if (rc == 0)
        weft__stream_take(s, reg, kind);
    return rc;
}

/* Only of TCP it is certain that a short read leaves nothing behind: a unix socket stops at a message with descriptors or
 * other credentials, a terminal at a line, a pipe at a packet. */
static int kind_of(int fd, enum weft__stream_kind *kind)
{
    int type, protocol;
    socklen_t size = sizeof type;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0) {
        if (errno != ENOTSOCK)
            return -errno;
        *kind = WEFT__STREAM_PIPE;
        return 0;
    }
    if (type != SOCK_STREAM)
        return -EINVAL;
    size = sizeof protocol;
    bool tcp = getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) == 0 && protocol == IPPROTO_TCP;
    *kind = tcp ? WEFT__STREAM_TCP : WEFT__STREAM_SOCKET;
    return 0;
}

int weft_stream_adopt(weft_stream **out, int fd)
{
    struct weft__io *io = weft__fiber_io(weft__fiber_require("weft_stream_adopt"), "weft_stream_adopt");
    enum weft__stream_kind kind = WEFT__STREAM_PIPE;
    int rc = kind_of(fd, &kind);
    if (rc < 0)
        return rc;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0)
        return -errno;
    struct weft_stream *s = weft__stream_new();
    if (s == NULL)
        return -ENOMEM;
    rc = weft__stream_open(s, io, fd, kind);
    if (rc < 0) {
        (void)fcntl(fd, F_SETFL, flags);
        free(s);
        return rc;
    }
    *out = s;
    return 0;
}

int weft_shutdown(weft_stream *s, int interest)
{
    int how;
    switch (interest) {
    case WEFT_READABLE:
        how = SHUT_RD;
        break;
    case WEFT_WRITABLE:
        how = SHUT_WR;
        break;
    case WEFT_READABLE | WEFT_WRITABLE:
        how = SHUT_RDWR;
        break;
    default:
        return -EINVAL;
    }
    int rc = weft__stream_enter(s, WEFT__GUEST);
    if (rc < 0)
        return rc;
    if (shutdown(s->fd, how) != 0)
        rc = -errno;
    weft__stream_leave(s, WEFT__GUEST);
    return rc;
}

void weft_stream_close(weft_stream *s)
{
    if (s == NULL)
        return;
    if (weft__likely(s->reg != NULL)) {
        weft__registration_close(s->reg, "weft_close");
        return;
    }
    weft__stream_drop_buffer(s);
    close(s->fd);
    free(s);
}

void weft_stream_abort(weft_stream *s)
{
    if (s == NULL)
        return;
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    if (s->socket)
        (void)setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    weft_stream_close(s);
}

uint64_t weft_stream_written(const weft_stream *s)
{
    return weft__load_relaxed(&s->written); /* relaxed: a count */
}

int weft_stream_fd(const weft_stream *s)
{
    return s->fd;
}
