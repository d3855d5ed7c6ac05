/* SPDX-License-Identifier: Apache-2.0 */
/* io/receive.h -- the one place where streams receive, inline for those who do it at every request (calls.c tells why). See stream_read.c.
 *
 * Threads: the stream's reader. */
#ifndef WEFT_IO_RECEIVE_H
#define WEFT_IO_RECEIVE_H

#include <unistd.h>

#include "io/calls.h"
#include "io/stream.h"

#define WEFT__INLINE_ALWAYS static inline __attribute__((always_inline))

/* One system call, if epoll's word does not say that it is useless. > 0: bytes; 0: the end; -EAGAIN: wait; else an error. */
WEFT__INLINE_ALWAYS ssize_t weft__stream_receive(struct weft_stream *s, void *to, size_t n)
{
    struct weft__registration *reg = &s->reg;
    uint64_t told = weft__interest_consume(reg, WEFT__READ);
    if (weft__unlikely((told & WEFT__CLOSED) != 0))
        return -EBADF;
    if ((told & (WEFT__READY | WEFT__HANGUP)) == 0)
        return -EAGAIN;
    ssize_t got;
    do {
        if (weft__likely(weft__stream_is_socket(s))) {
            got = weft__recv(reg->fd, to, n);
        } else {
            got = read(reg->fd, to, n);
            got = got < 0 ? -errno : got;
        }
    } while (weft__unlikely(got == -EINTR));
    if (got == -EAGAIN || got == -EWOULDBLOCK)
        return -EAGAIN;
    /* There may be more, or the next call shall learn the same: only a short read from TCP is the last of it. */
    if (weft__unlikely(got <= 0 || reg->kind != WEFT__OF_TCP || (size_t)got == n))
        weft__interest_more(reg, WEFT__READ);
    if (weft__unlikely(got < 0))
        return weft__stream_broken(s, (int)-got);
    if (weft__unlikely(got == 0))
        return -weft__load_relaxed(&reg->error); /* relaxed: see weft__stream_broken */
    return got;
}

/* A buffer with room for at least one byte behind `end`; it grows to at most `limit` bytes (WEFT_STREAM_BUFFER or more). The
 * caller made sure that fewer than `limit` bytes are in it. NULL: memory is short. */
struct weft__buffer *weft__stream_make_room(struct weft_stream *s, size_t limit);

/* Receive at least one byte more into the buffer, which may grow to `limit`, if that takes no wait. > 0; 0: the end; -EAGAIN: then an
 * empty buffer has been given back; an error. */
WEFT__INLINE_ALWAYS ssize_t weft__stream_fill_now(struct weft_stream *s, size_t limit)
{
    ssize_t got = -EAGAIN;
    /* Would a system call be worth a buffer? */
    if ((weft__interest_look(&s->reg, WEFT__READ) & (WEFT__READY | WEFT__HANGUP | WEFT__CLOSED)) != 0) {
        struct weft__buffer *b = s->reg.buffer;
        if (weft__likely(b == NULL))
            b = s->reg.buffer = weft__buffer_get(s->reg.io);
        else
            b = weft__stream_make_room(s, limit);
        got = b == NULL ? -ENOMEM : weft__stream_receive(s, b->data + b->end, b->capacity - b->end);
        if (weft__likely(got > 0)) {
            b->end += (size_t)got;
            return got;
        }
    }
    if (weft__stream_available(s) == 0)
        weft__stream_drop_buffer(s);
    return got;
}

/* Out of the buffer, which is given back when it is empty. */
size_t weft__stream_take_bytes(struct weft_stream *s, void *to, size_t n);

/* recv gives at most INT_MAX less a page; a larger request would look like a short read. */
#define WEFT__MOST_AT_ONCE ((size_t)1 << 30)

/* weft_read without a wait: -EAGAIN. */
WEFT__INLINE_ALWAYS ssize_t weft__stream_read_now(struct weft_stream *s, void *buf, size_t n)
{
    if (weft__stream_available(s) > 0)
        return (ssize_t)weft__stream_take_bytes(s, buf, n);
    weft__stream_drop_buffer(s);
    return weft__stream_receive(s, buf, n < WEFT__MOST_AT_ONCE ? n : WEFT__MOST_AT_ONCE);
}

#endif
