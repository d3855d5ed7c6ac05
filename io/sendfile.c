/* SPDX-License-Identifier: Apache-2.0 */
/* io/sendfile.c -- a file to a stream without a copy in this program: sendfile(2), piece by piece.
 *
 * A file's pages that are not in memory would block the worker. Before each piece its last byte is asked for without
 * waiting (preadv2 with RWF_NOWAIT, where the file system knows that); if it is not there, a helper thread reads the piece in,
 * and only this task waits. That is a guess about the rest of the piece, and a good one: files are read in order, ahead.
 *
 * What sendfile cannot do (files of special file systems, streams that are no sockets on some kernels) goes through a buffer.
 * Which of the two it was cannot be told from the result.
 *
 * Threads: the stream's one writer, a task on any worker. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include <weft/thread.h>

#include "io/sigpipe.h"
#include "io/stream.h"

#define PIECE ((size_t)512 * 1024)

static const struct weft__wait_kind write_wait = {"a stream (sendfile)", NULL, weft__registration_tell};

struct weft_read_in {
    WEFT_FRAME;
    int fd;
    off_t at;
    size_t n;
};
static int weft_read_in(struct weft_read_in *r)
{
    char last;
    (void)!readahead(r->fd, r->at, r->n);
    (void)!pread(r->fd, &last, 1, r->at + (off_t)r->n - 1);
    return 0; /* whatever is wrong with the file, sendfile will say it */
}
WEFT_CORO(weft_read_in);

/* See to it that a piece is in memory. 0 or -ECANCELED. */
static int fetch(int fd, off_t at, size_t n)
{
    char last;
    struct iovec one = {&last, 1};
    if (preadv2(fd, &one, 1, at + (off_t)n - 1, RWF_NOWAIT) >= 0 || errno != EAGAIN)
        return 0;
    struct weft_read_in read_in = {.frame_ = {&weft_read_in_coro_}, .fd = fd, .at = at, .n = n};
    weft_task *t = weft_to_thread_(&read_in.frame_);
    int rc = weft_await(t);
    weft_release(t);
    return rc == -ECANCELED ? rc : 0; /* no thread to be had: then sendfile blocks */
}

static ssize_t send_piece(struct weft_stream *s, int fd, off_t at, size_t n)
{
    ssize_t sent;
    do {
        sent = sendfile(s->reg.fd, fd, &at, n);
        sent = sent < 0 ? -errno : sent;
    } while (sent == -EINTR);
    if (sent == -EPIPE)
        weft__sigpipe_forget();
    return sent;
}

static bool unable(ssize_t sent)
{
    return sent == -EINVAL || sent == -ENOSYS || sent == -EOPNOTSUPP;
}

/* Through a buffer: bytes sent, 0: the end of the file, or a negative errno. */
static ssize_t copy_piece(struct weft_stream *s, struct weft__fiber *f, int fd, off_t at, size_t n)
{
    struct weft__buffer *buffer = weft__buffer_get(s->reg.io);
    if (buffer == NULL)
        return -ENOMEM;
    ssize_t got = pread(fd, buffer->data, n < WEFT_STREAM_BUFFER ? n : WEFT_STREAM_BUFFER, at);
    got = got < 0 ? -errno : got;
    if (got > 0) {
        struct iovec part = {buffer->data, (size_t)got};
        int rc = weft__stream_write_all(s, f, &part, 1);
        got = rc < 0 ? rc : got;
    }
    weft__buffer_put(s->reg.io, buffer);
    return got;
}

static int send_file(struct weft_stream *s, struct weft__fiber *f, int fd, off_t at, size_t n)
{
    struct weft__registration *reg = &s->reg;
    bool copying = false;
    while (n > 0) {
        size_t piece = n < PIECE ? n : PIECE;
        int rc = fetch(fd, at, piece);
        if (rc == 0 && weft__budget_spent(f))
            rc = weft__yield(f);
        if (rc < 0)
            return rc;
        uint64_t told = weft__interest_look(reg, WEFT__WRITE);
        if ((told & WEFT__CLOSED) != 0)
            return -EBADF;
        ssize_t sent = copying ? copy_piece(s, f, fd, at, piece) : send_piece(s, fd, at, piece);
        if (sent > 0) {
            if (!copying)
                weft__count(&s->written, (uint64_t)sent);
            at += sent;
            n -= (size_t)sent;
        } else if (sent == 0) {
            return 0; /* the file is shorter than it was */
        } else if (sent == -EAGAIN && (told & WEFT__READY) != 0) {
            (void)weft__interest_consume(reg, WEFT__WRITE);
        } else if (sent == -EAGAIN) {
            rc = weft__registration_wait(reg, f, 1u << WEFT__WRITE, &write_wait, WEFT_FOREVER);
            if (rc < 0)
                return rc;
        } else if (!copying && unable(sent)) {
            copying = true;
        } else {
            return copying ? (int)sent : weft__stream_broken(s, (int)-sent);
        }
    }
    return 0;
}

ssize_t weft_sendfile(weft_stream *s, int fd, off_t offset, size_t count)
{
    struct weft__fiber *f = weft__fiber_require("weft_sendfile");
    struct stat st;
    if (fstat(fd, &st) != 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || offset < 0)
        return -EINVAL;
    /* A size of 0 is also that of files whose content is made when they are read. */
    size_t most = st.st_size == 0       ? (size_t)(SSIZE_MAX - offset)
                  : st.st_size > offset ? (size_t)(st.st_size - offset)
                                        : 0;
    size_t n = count == 0 || count > most ? most : count;
    int rc = weft__stream_enter(s, WEFT__WRITER);
    if (rc < 0)
        return rc;
    uint64_t before = weft__load_relaxed(&s->written); /* relaxed: the writer's own */
    rc = send_file(s, f, fd, offset, n);
    uint64_t sent = weft__load_relaxed(&s->written) - before; /* relaxed: the writer's own */
    weft__stream_leave(s, WEFT__WRITER);
    return rc < 0 ? rc : (ssize_t)sent;
}
