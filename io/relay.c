/* SPDX-License-Identifier: Apache-2.0 */
/* io/relay.c -- what comes from one stream goes out at another: for proxies.
 *
 * | way  | a round                                             | on to                                                        |
 * | COPY | peek, write, consume: small messages, one receive   | BULK when BULK_AFTER peeks in a row filled the buffer, both   |
 * |      | and one send; waits without a buffer                | are sockets, and there is a pipe to be had                    |
 * | BULK | splice into a pipe, splice out of it: no byte comes | COPY when a round brought less than a buffer, or nothing for  |
 * |      | to this program                                     | PIPE_IDLE: the pipe is given up; or splice says it can't      |
 * Both end at the end of `from`, which is passed on as the end of `to` (half-close), or at an error.
 *
 * In COPY a cancellation loses nothing that was not sent; in BULK what lies in the pipe is lost with it: the streams can then
 * only be closed. A pipe is held only while there is much to move, so an idle relay is two streams and nothing else.
 *
 * Threads: a task on any worker; it is the one reader of `from` and the one writer of `to`. */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <weft/scope.h>

#include "io/sigpipe.h"
#include "io/stream.h"

#define BULK_AFTER 3
#define BULK ((size_t)64 * 1024) /* of a pipe that nobody has made larger */
#define PIPE_IDLE WEFT_MS(100)

static const struct weft__wait_kind read_wait = {"a stream (relay, from)", NULL, weft__registration_tell};
static const struct weft__wait_kind write_wait = {"a stream (relay, to)", NULL, weft__registration_tell};

static ssize_t move(int from, int to, size_t n)
{
    ssize_t moved;
    do {
        moved = splice(from, NULL, to, NULL, n, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
        moved = moved < 0 ? -errno : moved;
    } while (moved == -EINTR);
    if (moved == -EPIPE)
        weft__sigpipe_forget();
    return moved;
}

/* From the stream into the pipe: bytes; 0: the end; -EAGAIN: it has been quiet for PIPE_IDLE; or an error. */
static ssize_t bring(struct weft_stream *s, struct weft__fiber *f, int pipe)
{
    struct weft__registration *reg = &s->reg;
    for (;;) {
        uint64_t told = weft__interest_consume(reg, WEFT__READ);
        if ((told & WEFT__CLOSED) != 0)
            return -EBADF;
        ssize_t got = -EAGAIN;
        if ((told & (WEFT__READY | WEFT__HANGUP)) != 0)
            got = move(s->reg.fd, pipe, BULK);
        if (got != -EAGAIN) {
            weft__interest_more(reg, WEFT__READ);
            return got < 0 && got != -EINVAL ? weft__stream_broken(s, (int)-got) : got;
        }
        int rc =
            weft__registration_wait(reg, f, 1u << WEFT__READ, &read_wait, weft__deadline_after(reg->io->rt, PIPE_IDLE));
        if (rc < 0)
            return rc == -ETIMEDOUT ? -EAGAIN : rc;
    }
}

/* All n bytes out of the pipe. */
static int deliver(struct weft_stream *s, struct weft__fiber *f, int pipe, size_t n)
{
    struct weft__registration *reg = &s->reg;
    while (n > 0) {
        uint64_t told = weft__interest_look(reg, WEFT__WRITE);
        if ((told & WEFT__CLOSED) != 0)
            return -EBADF;
        ssize_t sent = move(pipe, s->reg.fd, n);
        int rc = 0;
        if (sent > 0) {
            weft__count(&s->written, (uint64_t)sent);
            n -= (size_t)sent;
        } else if (sent == -EAGAIN && (told & WEFT__READY) != 0) {
            (void)weft__interest_consume(reg, WEFT__WRITE);
        } else if (sent == -EAGAIN) {
            rc = weft__registration_wait(reg, f, 1u << WEFT__WRITE, &write_wait, WEFT_FOREVER);
        } else {
            rc = sent == 0 ? -EPIPE : weft__stream_broken(s, (int)-sent);
        }
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* > 0: there is less to do again; 0: the end; or an error. *able is cleared when splice says that it can't. */
static int bulk(struct weft_stream *from, struct weft_stream *to, struct weft__fiber *f, bool *able)
{
    int pipe[2];
    if (pipe2(pipe, O_CLOEXEC | O_NONBLOCK) != 0)
        return 1; /* no descriptors: copying needs none */
    struct weft__io *io = weft__fiber_io(f, "weft_forward");
    ssize_t got = weft__stream_enter(from, WEFT__READER);
    if (got == 0) {
        got = weft__stream_enter(to, WEFT__WRITER);
        if (got == 0) {
            do {
                got = bring(from, f, pipe[1]);
                int rc = got > 0 ? deliver(to, f, pipe[0], (size_t)got) : 0;
                if (rc == 0 && weft__budget_spent(f))
                    rc = weft__yield(f);
                got = rc < 0 ? rc : got;
            } while (got >= (ssize_t)WEFT_STREAM_BUFFER);
            weft__stream_leave(to, WEFT__WRITER);
        }
        weft__stream_leave(from, WEFT__READER);
    }
    close(pipe[0]);
    close(pipe[1]);
    weft__listeners_retry(io);
    if (got == -EINVAL)
        *able = false;
    return got == -EAGAIN || got == -EINVAL || got > 0 ? 1 : (int)got;
}

int weft_forward(weft_stream *from, weft_stream *to)
{
    struct weft__fiber *f = weft__fiber_require("weft_forward");
    bool able = weft__stream_is_socket(from) && weft__stream_is_socket(to);
    int full = 0;
    for (;;) {
        const char *data;
        ssize_t n = weft_peek(from, 0, &data);
        if (n < 0)
            return (int)n;
        if (n > 0) {
            int rc = weft_write(to, data, (size_t)n);
            if (rc < 0)
                return rc;
            weft_consume(from, (size_t)n);
            full = n == (ssize_t)WEFT_STREAM_BUFFER ? full + 1 : 0;
            if (full < BULK_AFTER || !able)
                continue;
            full = 0;
            n = bulk(from, to, f, &able);
            if (n > 0)
                continue;
        }
        if (n < 0)
            return (int)n;
        int rc = weft_shutdown(to, WEFT_WRITABLE);
        return rc == -ENOTSOCK || rc == -ENOTCONN ? 0 : rc; /* gone already, or nothing that has two halves */
    }
}

struct weft_forwarding {
    WEFT_FRAME;
    weft_stream *from, *to;
};
static int weft_forwarding(struct weft_forwarding *r)
{
    return weft_forward(r->from, r->to);
}
WEFT_CORO(weft_forwarding);

int weft_relay(weft_stream *a, weft_stream *b)
{
    weft_group both;
    int rc = weft_group_begin(&both);
    if (rc == 0)
        rc = weft_group_start(&both, weft_forwarding, .from = b, .to = a);
    if (rc == 0)
        rc = weft_forward(a, b);
    return weft_group_join(&both, rc);
}
