/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/parking.h -- what the tests of tasks parked at streams and the like share: a server that echoes, and waiting until
 * so many tasks are parked. For tasks. */
#ifndef WEFT_TESTS_SUPPORT_PARKING_H
#define WEFT_TESTS_SUPPORT_PARKING_H

#include "support/io.h"

static inline uint64_t parked_now(void)
{
    weft_metrics m = {.size = sizeof m};
    weft_metrics_read(weft_runtime_current(), -1, &m);
    return m.tasks_parked;
}

static inline void await_parked(uint64_t n)
{
    bool came = false; /* it may be gone a moment later */
    for (int i = 0; !(came = parked_now() == n) && i < 100000; i++)
        CHECK(weft_sleep(WEFT_US(50)) == 0);
    CHECK(came);
}

/* On a fiber of its own, so that it is parked, whoever awaits it. */
#define START(...) weft_create_task_with(WEFT_TASK_OPTIONS(.eager = true), __VA_ARGS__)

/* Echoes what comes, parked in between; -EPIPE at the end of the stream. Closes the stream. */
struct echo {
    WEFT_FRAME;
    weft_stream *stream;
    weft_ns timeout;
    bool reads; /* by weft_read_or_park */
    int calls;
    size_t bytes;
};
static inline int echo(struct echo *f)
{
    const char *data;
    char buf[3];
    ssize_t n;
    f->calls++;
    do {
        n = f->reads ? weft_read_or_park(f->stream, buf, sizeof buf, f->timeout)
                     : weft_peek_or_park(f->stream, 0, &data, f->timeout);
        if (n > 0) {
            f->bytes += (size_t)n;
            CHECK(weft_write(f->stream, f->reads ? buf : data, (size_t)n) == 0);
            if (!f->reads)
                weft_consume(f->stream, (size_t)n);
        }
    } while (n > 0);
    if (n == WEFT_PARK)
        return WEFT_PARK;
    if (n != -EBADF)
        weft_close(f->stream);
    return n == 0 ? -EPIPE : (int)n;
}
WEFT_CORO(echo);

static inline int ask(weft_stream *s, const char *what)
{
    char buf[64];
    size_t n = strlen(what);
    int rc = weft_write(s, what, n);
    return rc < 0 ? rc : weft_read_exactly(s, buf, n) == (ssize_t)n && memcmp(buf, what, n) == 0 ? 0 : -EIO;
}

#endif
