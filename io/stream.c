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

#include "io/listener.h"

struct weft_stream *weft__stream_new(struct weft__io *io)
{
    struct weft__registration *reg = weft__registration_new(io);
    return reg != NULL ? weft__stream_of(reg) : NULL;
}

void weft__stream_free(struct weft_stream *s)
{
    weft__registration_free(&s->reg);
}

void weft__stream_dispose(struct weft__registration *reg)
{
    struct weft__io *io = reg->io;
    int fd = reg->fd;
    weft__stream_drop_buffer(weft__stream_of(reg));
    weft__registration_retire(reg); /* before the close: the number may be another file's after it */
    close(fd);
    weft__listeners_retry(io);
}

struct weft_stream *weft__stream_take(struct weft__registration *reg, enum weft__stream_kind kind)
{
    struct weft_stream *s = weft__stream_of(reg);
    reg->buffer = NULL;
    weft__store_relaxed(&reg->error, 0); /* relaxed: not shared yet, as the next */
    weft__store_relaxed(&s->written, 0); /* relaxed: see error */
    reg->kind = (uint8_t)kind;
    return s;
}

int weft__stream_open(struct weft_stream *s, int fd, enum weft__stream_kind kind)
{
    int rc = weft__registration_start(&s->reg, fd);
    if (rc == 0)
        (void)weft__stream_take(&s->reg, kind);
    return rc;
}

/* ---- streams that are closed after their runtime has ended -------------------------------------------------------- */

/* Where they lie, until the last of them is closed. Its address is in the first interest's `who`. */
struct outlived {
    struct weft__slab records;
    _Atomic(size_t) left; /* OUTLIVED: each close before the slab goes */
};

static bool is_stream(const struct weft__registration *reg)
{
    return reg->kind >= WEFT__OF_TCP && reg->kind <= WEFT__OF_PIPE;
}

static void count_stream(void *user, void *object)
{
    struct weft__registration *reg = object;
    if (is_stream(reg))
        ++*(size_t *)user;
}

static void let_go(void *user, void *object)
{
    struct weft__registration *reg = object;
    if (reg->kind == WEFT__OF_LISTENER) {
        reg->listener->reg = NULL;
        reg->listener->spare = NULL;
    } else if (is_stream(reg)) {
        reg->io = NULL;
        weft__store_relaxed(&reg->interest[0].who, (uintptr_t)user); /* relaxed: no thread of the runtime is left */
    }
}

void weft__streams_outlive(struct weft__io *io)
{
    size_t left = 0;
    weft__slab_each(&io->records, count_stream, &left);
    struct outlived *o = left != 0 ? malloc(sizeof *o) : NULL;
    weft__slab_each(&io->records, let_go, o);
    if (o == NULL) {
        if (left == 0) /* else, without memory even for that, the slab stays for good */
            weft__slab_destroy(&io->records);
        return;
    }
    weft__slab_move(&o->records, &io->records);
    weft__store_relaxed(&o->left, left); /* relaxed: as above */
}

static void close_outlived(struct weft_stream *s)
{
    struct outlived *o =
        (struct outlived *)weft__load_relaxed(&s->reg.interest[0].who); /* relaxed: written before weft_run returned */
    weft__stream_drop_buffer(s);
    close(s->reg.fd);
    if (o != NULL && weft__fetch_sub_acq_rel(&o->left, 1) == 1) { /* pairs: OUTLIVED (itself) */
        weft__slab_destroy(&o->records);
        free(o);
    }
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
    struct weft_stream *s = weft__stream_new(io);
    if (s == NULL)
        return -ENOMEM;
    rc = weft__stream_open(s, fd, kind);
    if (rc < 0) {
        (void)fcntl(fd, F_SETFL, flags);
        weft__stream_free(s);
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
    if (shutdown(s->reg.fd, how) != 0)
        rc = -errno;
    weft__stream_leave(s, WEFT__GUEST);
    return rc;
}

void weft_stream_close(weft_stream *s)
{
    if (s == NULL)
        return;
    if (weft__likely(s->reg.io != NULL))
        weft__registration_close(&s->reg, "weft_close");
    else
        close_outlived(s);
}

void weft_stream_abort(weft_stream *s)
{
    if (s == NULL)
        return;
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    if (weft__stream_is_socket(s))
        (void)setsockopt(s->reg.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    weft_stream_close(s);
}

uint64_t weft_stream_written(const weft_stream *s)
{
    return weft__load_relaxed(&s->written); /* relaxed: a count */
}

int weft_stream_fd(const weft_stream *s)
{
    return s->reg.fd;
}
