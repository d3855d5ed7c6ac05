/* SPDX-License-Identifier: Apache-2.0 */
/* stress/parking.c -- connections whose servers park in every way there is, while their clients send, pause, end and reset, and others
 * cancel them or close their streams at any moment. Both ends know from the connection's number what every byte must be. A byte of an
 * undisturbed connection that is lost, doubled or late for ever is seen; so is a task that nobody calls again. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/socket.h>

#include "stress.h"

#define CHUNK 512

enum fault { NONE, CLIENT_ABORTS, CANCELLED, CLOSED, FAULTS };

struct plan {
    enum fault fault;
    size_t total;
    uint32_t fault_after_us;
    bool strand, child;
};

static struct plan plan_of(uint64_t id)
{
    struct rng r = rng_make(id, 31);
    struct plan p = {.fault = rng_chance(&r, 60) ? NONE : (enum fault)rng_below(&r, FAULTS)};
    p.total = rng_chance(&r, 70) ? rng_below(&r, 2000) : rng_below(&r, 40000);
    p.fault_after_us = rng_below(&r, 400);
    p.strand = rng_chance(&r, 10);
    p.child = rng_chance(&r, 10);
    return p;
}

static unsigned char pattern(uint64_t id, size_t at)
{
    return (unsigned char)(((uint64_t)at + id) * UINT64_C(0x9e3779b97f4a7c15) >> 41);
}

static void check_bytes(uint64_t id, size_t at, const char *data, size_t n, const char *who)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char right = pattern(id, at + i), got = (unsigned char)data[i];
        if (got != right) {
            CHECK(got == right, "%s, connection %" PRIu64 ": byte %zu is %u, not %u", who, id, at + i, got, right);
            return;
        }
    }
}

/* ---- the server: takes what comes, and sends every 64th byte back --------------------------------------------------- */

struct taker {
    WEFT_FRAME;
    weft_stream *stream;
    struct rng rng;
    uint64_t id;
    size_t at;
    bool raw, closed; /* raw: its last parking was by weft_park_stream, so it asks */
    _Atomic(uint32_t) *open;
};

static weft_ns some_time(struct rng *r)
{
    return rng_chance(r, 60) ? WEFT_FOREVER : WEFT_US(rng_below(r, 300));
}

/* The next bytes, in one of the ways: > 0, 0 at the end, an error, or WEFT_PARK. */
static ssize_t next(struct taker *f, char *buf, const char **data)
{
    if (f->raw) {
        f->raw = false;
        int rc = weft_parked();
        CHECK(rc == -ETIMEDOUT || rc == -ECANCELED || rc == -EBADF || (rc >= 0 && rc <= 3), "parked: %d", rc);
        if (rc == -ECANCELED || rc == -EBADF)
            return rc;
    }
    *data = buf;
    switch (rng_below(&f->rng, 4)) {
    case 0:
        return weft_read_or_park(f->stream, buf, 1 + rng_below(&f->rng, CHUNK), some_time(&f->rng));
    case 1: {
        int rc = weft_park_stream(f->stream, WEFT_READABLE, some_time(&f->rng));
        f->raw = rc == WEFT_PARK;
        return rc;
    }
    case 2: /* a stack after all, for a while */
        if (rng_chance(&f->rng, 30)) {
            int rc = stress_pause(&f->rng, 50);
            if (rc < 0)
                return rc;
        } else if (rng_chance(&f->rng, 30)) {
            return weft_park_for(WEFT_US(rng_below(&f->rng, 50)));
        }
        return -ETIMEDOUT;
    default:
        return weft_peek_or_park(f->stream, 0, data, some_time(&f->rng));
    }
}

static int serve_some(struct taker *f)
{
    char buf[CHUNK];
    for (;;) {
        const char *data;
        ssize_t n = next(f, buf, &data);
        if (n == -ETIMEDOUT)
            continue;
        if (n <= 0)
            return (int)n;
        if (data != buf && rng_chance(&f->rng, 50))
            n = 1 + rng_below(&f->rng, (uint32_t)n); /* the rest stays in the stream */
        check_bytes(f->id, f->at, data, (size_t)n, "server");
        for (size_t i = 0; i < (size_t)n; i++) {
            char c = data[i];
            if ((f->at + i) % 64 == 0) {
                int rc = weft_write(f->stream, &c, 1);
                if (rc < 0)
                    return rc;
            }
        }
        f->at += (size_t)n;
        if (data != buf)
            weft_consume(f->stream, (size_t)n);
        stress_progress(1);
    }
}

static int taker(struct taker *f)
{
    int rc = serve_some(f);
    if (rc == WEFT_PARK)
        return WEFT_PARK;
    struct plan p = plan_of(f->id);
    bool good = rc == 0 && f->at == p.total;
    if (p.fault == NONE)
        CHECK(good || rc == -ECANCELED, "server: connection %" PRIu64 ": %d after %zu bytes of %zu", f->id, rc, f->at,
              p.total);
    CHECK(rc == 0 || rc == -ECANCELED || rc == -EPIPE || rc == -ECONNRESET || (rc == -EBADF && p.fault == CLOSED),
          "server: %d", rc);
    if (rc != -EBADF && p.fault != CLOSED)
        weft_close(f->stream); /* else whoever closes it does so, once */
    atomic_fetch_sub(f->open, 1);
    return rc == -ECANCELED ? rc : 0;
}

static void taker_unstarted(struct taker *f)
{
    if (plan_of(f->id).fault != CLOSED)
        weft_close(f->stream);
    atomic_fetch_sub(f->open, 1);
}
WEFT_CORO_OWNING(taker, taker_unstarted);

/* The same as a forked child of a task, which cannot be parked. */
struct taker_child {
    WEFT_FRAME;
    struct taker taker;
};
static int taker_child(struct taker_child *f)
{
    weft_child child;
    weft_fork(&child, taker, &f->taker);
    return weft_join(&child);
}

static void taker_child_unstarted(struct taker_child *f)
{
    taker_unstarted(&f->taker);
}
WEFT_CORO_OWNING(taker_child, taker_child_unstarted);

/* ---- the client ---------------------------------------------------------------------------------------------------- */

struct giver {
    WEFT_FRAME;
    weft_stream *stream;
    uint64_t id;
};
static int giver(struct giver *f)
{
    struct plan p = plan_of(f->id);
    struct rng r = rng_make(f->id, 33);
    char buf[CHUNK];
    int rc = 0;
    size_t back = 0;
    for (size_t at = 0; at < p.total && rc == 0;) {
        size_t n = 1 + rng_below(&r, rng_chance(&r, 50) ? 8 : CHUNK);
        n = n < p.total - at ? n : p.total - at;
        for (size_t i = 0; i < n; i++)
            buf[i] = (char)pattern(f->id, at + i);
        rc = weft_write(f->stream, buf, n);
        at += n;
        for (; rc == 0 && back < at; back += 64) {
            char c = 0;
            ssize_t got = weft_read(f->stream, &c, 1);
            rc = got == 1 ? 0 : got == 0 ? -EPIPE : (int)got;
            if (rc == 0)
                check_bytes(f->id, back, &c, 1, "client");
        }
        if (rc == 0 && rng_chance(&r, 40))
            rc = stress_pause(&r, 100);
        if (p.fault == CLIENT_ABORTS && rng_chance(&r, 3))
            break;
    }
    CHECK(rc == 0 || p.fault != NONE || rc == -ECANCELED, "client: connection %" PRIu64 ": %d", f->id, rc);
    if (p.fault == CLIENT_ABORTS)
        weft_stream_abort(f->stream);
    else
        weft_close(f->stream);
    return 0;
}

static void giver_unstarted(struct giver *f)
{
    weft_close(f->stream);
}
WEFT_CORO_OWNING(giver, giver_unstarted);

/* ---- a connection ---------------------------------------------------------------------------------------------------- */

static int pair(weft_stream **a, weft_stream **b)
{
    int fd[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) != 0)
        return -errno;
    int rc = weft_stream_adopt(a, fd[0]);
    return rc < 0 ? rc : weft_stream_adopt(b, fd[1]);
}

struct meeting {
    WEFT_FRAME;
    uint64_t id;
    _Atomic(uint32_t) *open;
    weft_strand *strand;
};
static int meeting(struct meeting *f)
{
    struct plan p = plan_of(f->id);
    weft_stream *a, *b;
    int rc = pair(&a, &b);
    CHECK(rc == 0, "socketpair: %d", rc);
    if (rc != 0)
        return rc;
    struct taker frame = {.stream = a, .rng = rng_make(f->id, 32), .id = f->id, .open = f->open};
    atomic_fetch_add(f->open, 1);
    weft_task *give = weft_create_task(giver, .stream = b, .id = f->id);
    weft_task *take;
    /* A stream that somebody else closes must not be in use but by one who is told: never as a child. */
    if (p.child && p.fault != CLOSED)
        take = weft_create_task(taker_child, .taker = {.frame_ = {&taker_coro_},
                                                       .stream = frame.stream,
                                                       .rng = frame.rng,
                                                       .id = frame.id,
                                                       .open = frame.open});
    else
        take = weft_create_task_with(WEFT_TASK_OPTIONS(.strand = p.strand ? f->strand : NULL), taker,
                                     .stream = frame.stream, .rng = frame.rng, .id = frame.id, .open = frame.open);
    if (p.fault == CANCELLED || p.fault == CLOSED) {
        (void)weft_sleep(WEFT_US(p.fault_after_us));
        (void)weft_cancel(take);
        if (p.fault == CLOSED) {
            (void)weft_cancel(give); /* it may wait for an answer that will not come */
            (void)weft_await(take);
            weft_close(a);
        }
    }
    rc = weft_await_release(take);
    CHECK(rc == 0 || rc == -ECANCELED, "server: %d", rc);
    (void)weft_await_release(give);
    return 0;
}
WEFT_CORO(meeting);

/* ---- somebody closes the stream of a task that is parked at it ------------------------------------------------------ */

/* Parks once; then tells how that ended, and does not touch the stream. */
struct at_rest {
    WEFT_FRAME;
    weft_stream *stream;
    weft_ns timeout;
    bool again;
};
static int at_rest(struct at_rest *f)
{
    if (f->again)
        return weft_parked();
    f->again = true;
    return weft_park_stream(f->stream, WEFT_READABLE, f->timeout);
}
WEFT_CORO(at_rest);

struct eviction {
    WEFT_FRAME;
    uint64_t id;
};
static int eviction(struct eviction *f)
{
    struct rng r = rng_make(f->id, 34);
    weft_stream *a, *b;
    char c = 'x';
    int rc = pair(&a, &b);
    if (rc != 0)
        return rc;
    CHECK(weft_write(b, &c, 1) == 0 && weft_read(a, &c, 1) == 1, "a byte over a socketpair");
    weft_task *t = weft_create_task_with(WEFT_TASK_OPTIONS(.eager = true), at_rest, .stream = a,
                                         .timeout = rng_chance(&r, 50) ? WEFT_FOREVER : WEFT_US(rng_below(&r, 100)));
    (void)stress_pause(&r, 100);
    bool wrote = rng_chance(&r, 50), cancelled = rng_chance(&r, 30);
    if (wrote)
        (void)!weft_write(b, &c, 1);
    if (cancelled)
        (void)weft_cancel(t);
    weft_close(a);
    rc = weft_await_release(t);
    CHECK(rc == -EBADF || rc == -ETIMEDOUT || rc == -ECANCELED || rc >= 0, "a parked task: %d", rc);
    weft_close(b);
    stress_progress(1);
    return 0;
}
WEFT_CORO(eviction);

struct party {
    uint64_t seed;
    unsigned meetings;
};

static int parking_body(void *arg)
{
    struct party *p = arg;
    struct rng r = rng_make(p->seed, 30);
    _Atomic(uint32_t) open = 0;
    weft_strand *strand = weft_strand_create();
    weft_group g;
    int rc = weft_group_begin(&g);
    for (unsigned i = 0; i < p->meetings && rc == 0; i++) {
        if (rng_chance(&r, 80))
            rc = weft_group_start(&g, meeting, .id = rng_next(&r), .open = &open, .strand = strand);
        else
            rc = weft_group_start(&g, eviction, .id = rng_next(&r));
        if (rng_chance(&r, 10))
            (void)weft_yield();
    }
    rc = weft_group_join(&g, rc);
    weft_strand_release(strand);
    CHECK(rc != 0 || atomic_load(&open) == 0, "%u servers never ended", atomic_load(&open));
    return rc;
}

static void parking(struct round *r)
{
    struct party p = {.seed = r->seed, .meetings = 1 + rng_below(&r->rng, 60)};
    int rc = stress_run(r, parking_body, &p);
    CHECK(rc == 0, "the run: %d", rc);
}

const struct stressor parking_stressors[] = {
    {"parking", "tasks without stacks: parked in all ways, woken, cancelled, closed", parking},
    {NULL, NULL, NULL},
};
