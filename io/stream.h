/* SPDX-License-Identifier: Apache-2.0 */
/* io/stream.h -- what a stream is made of. Private to io/. */
#ifndef WEFT_IO_STREAM_H
#define WEFT_IO_STREAM_H

#include <errno.h>
#include <weft/io.h>

#include "io/registration.h"

/* An idle connection is this and nothing else: 96 bytes, in the slab of all records. reg.buffer is the reader's: bytes received and not
 * yet taken; NULL: none. */
struct weft_stream {
    struct weft__registration reg;
    _Atomic(uint64_t) written;
};
_Static_assert(WEFT__FIBER_TOOLS || sizeof(struct weft_stream) == 96, "a connection that waits is small");

enum weft__stream_kind {
    WEFT__STREAM_TCP = WEFT__OF_TCP,
    WEFT__STREAM_SOCKET = WEFT__OF_SOCKET,
    WEFT__STREAM_PIPE = WEFT__OF_PIPE
};

/* Memory for a stream without a descriptor; stream_free it if it gets none. NULL: memory is short. */
struct weft_stream *weft__stream_new(struct weft__io *io);
void weft__stream_free(struct weft_stream *s);
/* Give it a nonblocking descriptor, registered; from now on the stream owns fd. 0 or -errno (fd is the caller's still). */
int weft__stream_open(struct weft_stream *s, int fd, enum weft__stream_kind kind);
/* Make a stream of a descriptor that is registered already, by weft__registration_open. */
struct weft_stream *weft__stream_take(struct weft__registration *reg, enum weft__stream_kind kind);
/* The runtime ends before these were closed: they keep the slab. */
void weft__streams_outlive(struct weft__io *io);

static inline struct weft_stream *weft__stream_of(struct weft__registration *reg)
{
    return weft__container_of(reg, struct weft_stream, reg);
}
static inline int weft__stream_enter(struct weft_stream *s, uint32_t user)
{
    return weft__likely(s->reg.io != NULL) ? weft__registration_enter(&s->reg, user) : -EBADF;
}
static inline void weft__stream_leave(struct weft_stream *s, uint32_t user)
{
    weft__registration_leave(&s->reg, user);
}
static inline bool weft__stream_is_socket(const struct weft_stream *s)
{
    return s->reg.kind <= WEFT__OF_SOCKET;
}
static inline size_t weft__stream_available(const struct weft_stream *s)
{
    return s->reg.buffer != NULL ? s->reg.buffer->end - s->reg.buffer->start : 0;
}
/* The connection broke: remember why. Returns -error. */
static inline int weft__stream_broken(struct weft_stream *s, int error)
{
    if (error != EPIPE)                            /* tells of our own shutdown too */
        weft__store_relaxed(&s->reg.error, error); /* relaxed: a late look costs a clearer error, nothing else */
    return -error;
}

/* stream_write.c: all bytes of the parts, which are used up. The caller is the WRITER. 0, -errno, -ECANCELED. */
int weft__stream_write_all(struct weft_stream *s, struct weft__fiber *f, struct iovec *parts, int n);
/* stream_read.c: give the buffer back. */
void weft__stream_drop_buffer(struct weft_stream *s);
/* The end of a peek: `got` is what the last fill said. */
ssize_t weft__stream_peeked(struct weft_stream *s, ssize_t got, size_t have, const char **data);
/* Wait as the reader for something to come. */
int weft__stream_wait_readable(struct weft_stream *s, struct weft__fiber *f, weft_ns deadline);

#endif
