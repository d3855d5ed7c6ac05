/* SPDX-License-Identifier: Apache-2.0 */
/* io/stream.h -- what a stream is made of. Private to io/. */
#ifndef WEFT_IO_STREAM_H
#define WEFT_IO_STREAM_H

#include <errno.h>
#include <weft/io.h>

#include "io/registration.h"

/* An idle connection is this, a registration, and nothing else: some 200 bytes. */
struct weft_stream {
    struct weft__registration *reg; /* NULL: its runtime has ended */
    int fd;
    bool socket;        /* recv and send; else read and write */
    bool exact;         /* TCP: a short read means that nothing is left */
    _Atomic(int) error; /* what broke the connection, 0: nothing yet; for the reader that then finds the end */
    _Atomic(uint64_t) written;
    /* The reader's: bytes received and not yet taken are buffer[start, end). */
    char *buffer; /* from weft__buffer_get if capacity is WEFT_STREAM_BUFFER, else malloc'd; NULL: none */
    size_t start, end, capacity;
};

enum weft__stream_kind { WEFT__STREAM_TCP, WEFT__STREAM_SOCKET, WEFT__STREAM_PIPE };

/* Memory for a stream without a descriptor; free() it if it gets none. */
struct weft_stream *weft__stream_new(void);
/* Give it a nonblocking descriptor, registered; from now on the stream owns fd. 0 or -errno (fd is the caller's still). */
int weft__stream_open(struct weft_stream *s, struct weft__io *io, int fd, enum weft__stream_kind kind);
/* The same with a descriptor that is registered already, by weft__registration_open. */
void weft__stream_take(struct weft_stream *s, struct weft__registration *reg, enum weft__stream_kind kind);

static inline int weft__stream_enter(struct weft_stream *s, uint32_t user)
{
    return weft__likely(s->reg != NULL) ? weft__registration_enter(s->reg, user) : -EBADF;
}
static inline void weft__stream_leave(struct weft_stream *s, uint32_t user)
{
    weft__registration_leave(s->reg, user);
}
/* The connection broke: remember why. Returns -error. */
static inline int weft__stream_broken(struct weft_stream *s, int error)
{
    if (error != EPIPE)                        /* tells of our own shutdown too */
        weft__store_relaxed(&s->error, error); /* relaxed: a late look costs a clearer error, nothing else */
    return -error;
}

/* stream_write.c: all bytes of the parts, which are used up. The caller is the WRITER. 0, -errno, -ECANCELED. */
int weft__stream_write_all(struct weft_stream *s, struct weft__fiber *f, struct iovec *parts, int n);
/* stream_read.c: give the buffer back. */
void weft__stream_drop_buffer(struct weft_stream *s);

#endif
