/* SPDX-License-Identifier: Apache-2.0 */
/* io/stream_read.c -- the reading half of a stream.
 *
 * Two ways in: weft_read without buffered bytes receives straight into the caller's memory; everything that has to look
 * before it takes (peek, read_until, read_exactly) fills the stream's buffer first. The buffer is there only while it may hold
 * bytes: it is taken when epoll told of something, and given back before the stream waits with nothing in it.
 *
 * A call that fails (cancelled, end of stream, error) leaves all bytes with the stream. For a large weft_read_exactly, which
 * receives into the caller's memory, the room to put them back is reserved before the first byte is received.
 *
 * A pending cancellation met at the yield that fairness asks for is returned before anything is received.
 *
 * Threads: the stream's one reader (READER of `users`), a task on any worker. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/receive.h"

static const struct weft__wait_kind read_wait = {"a stream (read)", NULL, weft__registration_tell};

void weft__stream_drop_buffer(struct weft_stream *s)
{
    struct weft__buffer *buffer = s->reg.buffer;
    if (buffer == NULL)
        return;
    s->reg.buffer = NULL;
    if (buffer->capacity == WEFT_STREAM_BUFFER && s->reg.io != NULL)
        weft__buffer_put(s->reg.io, buffer);
    else
        free(buffer);
}

static size_t available(const struct weft_stream *s)
{
    return weft__stream_available(s);
}

static void drop_if_empty(struct weft_stream *s)
{
    if (available(s) == 0)
        weft__stream_drop_buffer(s);
}

struct weft__buffer *weft__stream_make_room(struct weft_stream *s, size_t limit)
{
    struct weft__buffer *b = s->reg.buffer;
    size_t n = b->end - b->start;
    if (n == 0) {
        b->start = b->end = 0;
    } else if (b->end == b->capacity && b->start > 0) {
        memmove(b->data, b->data + b->start, n);
        b->start = 0;
        b->end = n;
    }
    if (b->end < b->capacity)
        return b;
    struct weft__buffer *larger = weft__buffer_new(b->capacity < limit / 2 ? b->capacity * 2 : limit);
    if (larger == NULL)
        return NULL;
    memcpy(larger->data, b->data + b->start, n);
    larger->end = n;
    weft__stream_drop_buffer(s);
    return s->reg.buffer = larger;
}

int weft__stream_wait_readable(struct weft_stream *s, struct weft__fiber *f, weft_ns deadline)
{
    return weft__registration_wait(&s->reg, f, 1u << WEFT__READ, &read_wait, deadline);
}

/* Receive at least one byte more into the buffer, which may grow to `limit`. > 0; 0: the end; an error. */
static ssize_t fill(struct weft_stream *s, struct weft__fiber *f, size_t limit, weft_ns deadline)
{
    for (;;) {
        ssize_t got = weft__stream_fill_now(s, limit);
        if (got != -EAGAIN)
            return got;
        int rc = weft__stream_wait_readable(s, f, deadline);
        if (rc < 0)
            return rc;
    }
}

size_t weft__stream_take_bytes(struct weft_stream *s, void *to, size_t n)
{
    struct weft__buffer *b = s->reg.buffer;
    size_t taken = n < available(s) ? n : available(s);
    if (b == NULL)
        return 0;
    memcpy(to, b->data + b->start, taken);
    b->start += taken;
    drop_if_empty(s);
    return taken;
}

static ssize_t read_some(struct weft_stream *s, struct weft__fiber *f, void *buf, size_t n)
{
    for (;;) {
        ssize_t got = weft__stream_read_now(s, buf, n);
        if (got != -EAGAIN)
            return got;
        int rc = weft__stream_wait_readable(s, f, WEFT_FOREVER);
        if (rc < 0)
            return rc;
    }
}

/* Small: everything into the buffer, then out of it. */
static ssize_t exactly_buffered(struct weft_stream *s, struct weft__fiber *f, void *buf, size_t n)
{
    while (available(s) < n) {
        ssize_t got = fill(s, f, WEFT_STREAM_BUFFER, WEFT_FOREVER);
        if (got <= 0)
            return got == 0 ? -EPIPE : got;
    }
    return (ssize_t)weft__stream_take_bytes(s, buf, n);
}

/* Large: straight into the caller's memory behind what is buffered. `room` (n bytes) becomes the buffer on failure. */
static ssize_t exactly_direct(struct weft_stream *s, struct weft__fiber *f, char *buf, size_t n)
{
    struct weft__buffer *room = weft__buffer_new(n);
    if (room == NULL)
        return -ENOMEM;
    size_t had = available(s), have = had;
    ssize_t rc = 0;
    while (have < n) {
        size_t rest = n - have;
        ssize_t got = weft__stream_receive(s, buf + have, rest < WEFT__MOST_AT_ONCE ? rest : WEFT__MOST_AT_ONCE);
        if (got > 0) {
            have += (size_t)got;
            rc = weft__budget_spent(f) ? weft__yield(f) : 0;
        } else if (got == -EAGAIN) {
            rc = weft__stream_wait_readable(s, f, WEFT_FOREVER);
        } else {
            rc = got == 0 ? -EPIPE : got;
        }
        if (rc < 0)
            break;
    }
    if (had > 0)
        memcpy(rc < 0 ? room->data : buf, s->reg.buffer->data + s->reg.buffer->start, had);
    weft__stream_drop_buffer(s);
    if (rc == 0 || have == 0) {
        free(room);
        return rc < 0 ? rc : (ssize_t)n;
    }
    memcpy(room->data + had, buf + had, have - had);
    room->end = have;
    s->reg.buffer = room;
    return rc;
}

static ssize_t read_until(struct weft_stream *s, struct weft__fiber *f, char end, void *buf, size_t n)
{
    size_t searched = 0;
    for (;;) {
        size_t in_reach = available(s) < n ? available(s) : n;
        if (in_reach > searched) {
            const char *first = s->reg.buffer->data + s->reg.buffer->start;
            const char *found = memchr(first + searched, end, in_reach - searched);
            if (found != NULL)
                return (ssize_t)weft__stream_take_bytes(s, buf, (size_t)(found - first) + 1);
            searched = in_reach;
        }
        if (searched == n)
            return -ENOBUFS;
        ssize_t got = fill(s, f, n > WEFT_STREAM_BUFFER ? n : WEFT_STREAM_BUFFER, WEFT_FOREVER);
        if (got > 0)
            got = weft__budget_spent(f) ? weft__yield(f) : 1;
        else if (got == 0)
            got = -EPIPE;
        if (got < 0)
            return got;
    }
}

ssize_t weft__stream_peeked(struct weft_stream *s, ssize_t got, size_t have, const char **data)
{
    *data = s->reg.buffer != NULL ? s->reg.buffer->data + s->reg.buffer->start : "";
    if (got <= 0)
        return got;
    return available(s) > have ? (ssize_t)available(s) : -ENOBUFS;
}

static ssize_t peek(struct weft_stream *s, struct weft__fiber *f, size_t have, const char **data)
{
    ssize_t got = 1;
    while (got > 0 && available(s) <= have && available(s) < WEFT_STREAM_BUFFER)
        got = fill(s, f, WEFT_STREAM_BUFFER, WEFT_FOREVER);
    return weft__stream_peeked(s, got, have, data);
}

static int drain(struct weft_stream *s, struct weft__fiber *f, weft_ns deadline)
{
    for (;;) {
        weft_consume(s, available(s));
        ssize_t got = fill(s, f, WEFT_STREAM_BUFFER, deadline);
        if (got <= 0)
            return (int)got;
        weft_consume(s, (size_t)got);
        /* A peer that never stops sending never lets fill wait. */
        if (weft__runtime_now(s->reg.io->rt) >= deadline) {
            weft__stream_drop_buffer(s);
            return -ETIMEDOUT;
        }
        int rc = weft__budget_spent(f) ? weft__yield(f) : 0;
        if (rc < 0)
            return rc;
    }
}

/* Common beginning: the calling fiber, its turn for others if it had its share, the place as the stream's reader. */
static int begin(struct weft_stream *s, const char *call, struct weft__fiber **f)
{
    *f = weft__fiber_require(call);
    int rc = weft__stream_enter(s, WEFT__READER);
    if (rc < 0 || !weft__budget_spent(*f))
        return rc;
    rc = weft__yield(*f);
    if (rc < 0)
        weft__stream_leave(s, WEFT__READER);
    return rc;
}

ssize_t weft_read(weft_stream *s, void *buf, size_t n)
{
    struct weft__fiber *f;
    ssize_t rc = n == 0 ? -EINVAL : begin(s, "weft_read", &f);
    if (rc < 0)
        return rc;
    rc = read_some(s, f, buf, n);
    weft__stream_leave(s, WEFT__READER);
    return rc;
}

ssize_t weft_read_exactly(weft_stream *s, void *buf, size_t n)
{
    struct weft__fiber *f;
    ssize_t rc = n > SSIZE_MAX ? -EINVAL : begin(s, "weft_read_exactly", &f);
    if (rc < 0)
        return rc;
    if (n > 0)
        rc = n <= available(s) || n <= WEFT_STREAM_BUFFER ? exactly_buffered(s, f, buf, n)
                                                          : exactly_direct(s, f, buf, n);
    weft__stream_leave(s, WEFT__READER);
    return rc;
}

ssize_t weft_read_until(weft_stream *s, char end, void *buf, size_t n)
{
    struct weft__fiber *f;
    ssize_t rc = n == 0 || n > SSIZE_MAX ? -EINVAL : begin(s, "weft_read_until", &f);
    if (rc < 0)
        return rc;
    rc = read_until(s, f, end, buf, n);
    weft__stream_leave(s, WEFT__READER);
    return rc;
}

ssize_t weft_peek(weft_stream *s, size_t have, const char **data)
{
    struct weft__fiber *f;
    ssize_t rc = begin(s, "weft_peek", &f);
    if (rc < 0)
        return rc;
    rc = peek(s, f, have, data);
    weft__stream_leave(s, WEFT__READER);
    return rc;
}

void weft_consume(weft_stream *s, size_t n)
{
    if (n > available(s))
        weft__misuse("weft_consume", "more than weft_peek returned");
    if (n != 0)
        s->reg.buffer->start += n; /* the buffer stays: the bytes may be looked at until the next read call */
}

int weft_drain_until_end(weft_stream *s, weft_ns timeout)
{
    struct weft__fiber *f;
    int rc = begin(s, "weft_drain_until_end", &f);
    if (rc < 0)
        return rc;
    rc = drain(s, f, weft__deadline_after(s->reg.io->rt, timeout));
    weft__stream_leave(s, WEFT__READER);
    return rc;
}
