/* SPDX-License-Identifier: Apache-2.0 */
/* stress/storms.c -- much of one thing.
 * steals: workers create from one to some thousands of tasks in bursts, so that their queues grow, wrap and shrink, while all others steal: each task runs
 *         exactly once, on a stack that is its own.
 * churn:  thousands of short connections, closed, reset and half-closed by either side, so that descriptors' numbers are used again at once: nobody sees
 *         a byte of another's connection.
 * stacks: recursion to the depth that was promised, suspending at each level, with a pattern on every frame; and beyond it, in a child, where the
 *         process must end by a signal and not go on. */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stress.h"

/* ---- steals ---- */

#define BURST 6000

struct mote {
    WEFT_FRAME;
    uint32_t turns;
    _Atomic(uint8_t) *ran;
};
static int mote(struct mote *f)
{
    volatile uintptr_t own = (uintptr_t)f;
    atomic_fetch_add(f->ran, 1);
    for (uint32_t i = 0; i < f->turns; i++) {
        int rc = weft_yield();
        CHECK(own == (uintptr_t)f, "its stack is not its %s", "own");
        if (rc < 0)
            return rc;
    }
    stress_progress(1);
    return 0;
}
WEFT_CORO(mote);

struct source {
    WEFT_FRAME;
    uint64_t seed;
};
static int source(struct source *f)
{
    struct rng r = rng_make(f->seed, 12);
    uint32_t most = 1u << rng_below(&r, 13);
    uint32_t n = 1 + rng_below(&r, most < BURST ? most : BURST);
    _Atomic(uint8_t) *ran = stress_alloc(n, sizeof *ran);
    weft_task **t = stress_alloc(n, sizeof(weft_task *));
    stress_trace("a burst of tasks", (long)n, 0);
    for (uint32_t i = 0; i < n; i++) {
        t[i] = weft_create_task(mote, .turns = rng_chance(&r, 10) ? rng_below(&r, 3) : 0, .ran = &ran[i]);
        if (rng_chance(&r, 1))
            (void)weft_yield();
    }
    bool backwards = rng_chance(&r, 50);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t k = backwards ? n - 1 - i : i;
        int rc = weft_await_release(t[k]);
        CHECK(rc == 0 && atomic_load(&ran[k]) == 1, "task %u of %u: %d, ran %u times", k, n, rc, atomic_load(&ran[k]));
    }
    free(t);
    free((void *)ran);
    return 0;
}
WEFT_CORO(source);

static int steals_body(void *arg)
{
    struct round *r = arg;
    weft_group g;
    int rc = weft_group_begin(&g);
    for (int i = 0; i < 6 && rc == 0; i++)
        rc = weft_group_start(&g, source, .seed = rng_next(&r->rng));
    return weft_group_join(&g, rc);
}

static void steals(struct round *r)
{
    int rc = stress_run(r, steals_body, r);
    CHECK(rc == 0, "the run: %d", rc);
}

/* ---- churn ---- */

struct port {
    char address[64];
    weft_listener *listener;
    uint64_t seed;
};

struct answer {
    WEFT_FRAME;
    weft_stream *stream;
};
static void answer_unstarted(struct answer *f)
{
    weft_close(f->stream);
}
static int answer(struct answer *f)
{
    uint64_t number;
    ssize_t n = weft_read_exactly(f->stream, &number, sizeof number);
    int rc = n == sizeof number ? weft_write(f->stream, &number, sizeof number) : (int)n;
    CHECK(rc == 0 || rc == -EPIPE || rc == -ECONNRESET || rc == -ECANCELED, "an answer: %d", rc);
    if (number % 7 == 3)
        weft_stream_abort(f->stream);
    else
        weft_close(f->stream);
    return 0;
}
WEFT_CORO_OWNING(answer, answer_unstarted);

struct accepting {
    WEFT_FRAME;
    struct port *port;
};
static int accepting(struct accepting *f)
{
    for (;;) {
        weft_stream *s;
        int rc = weft_accept(f->port->listener, &s);
        if (rc < 0)
            return rc;
        weft_task *t = weft_create_task(answer, .stream = s);
        if (t == NULL)
            weft_close(s);
        weft_release(t);
    }
}
WEFT_CORO(accepting);

struct caller {
    WEFT_FRAME;
    struct port *port;
    uint64_t first, count;
};
static int call_once(struct port *port, uint64_t number, struct rng *r)
{
    weft_stream *s;
    int rc = weft_connect(&s, port->address);
    if (rc < 0)
        return rc;
    uint64_t back = 0;
    uint32_t manner = rng_below(r, 10);
    rc = manner == 0 ? 0 : weft_write(s, &number, manner == 1 ? 3 : sizeof number);
    if (rc == 0 && manner == 2)
        rc = weft_shutdown(s, WEFT_WRITABLE);
    if (rc == 0 && manner >= 2) {
        ssize_t n = weft_read_exactly(s, &back, sizeof back);
        rc = n < 0 ? (int)n : 0;
        CHECK(n != sizeof back || back == number, "connection %" PRIu64 " got the answer to %" PRIu64, number, back);
    }
    if (rng_chance(r, 20))
        weft_stream_abort(s);
    else
        weft_close(s);
    return rc == -EPIPE || rc == -ECONNRESET || rc == -ENOTCONN ? 0 : rc; /* it was reset */
}
static int caller(struct caller *f)
{
    struct rng r = rng_make(f->port->seed, f->first);
    int rc = 0;
    for (uint64_t i = 0; i < f->count && rc == 0; i++) {
        rc = call_once(f->port, f->first + i, &r);
        /* Ports run out where thousands of connections wait for their end. */
        if (rc == -EADDRNOTAVAIL || rc == -ECONNREFUSED || rc == -EAGAIN)
            rc = weft_sleep(WEFT_MS(1));
        stress_progress(1);
    }
    return rc;
}
WEFT_CORO(caller);

static int churn_body(void *arg)
{
    struct round *r = arg;
    struct port port = {.seed = r->seed};
    char path[64];
    snprintf(path, sizeof path, rng_chance(&r->rng, 70) ? "unix:/tmp/weft-churn-%d-%u" : "127.0.0.1:0", (int)getpid(),
             rng_below(&r->rng, 1u << 30));
    int rc = weft_listen(&port.listener, path);
    CHECK(rc == 0, "listen on %s: %d", path, rc);
    if (rc < 0)
        return rc;
    rc = weft_listener_address(port.listener, port.address, sizeof port.address);
    weft_task *server = weft_create_task(accepting, .port = &port);
    weft_group g;
    rc = rc < 0 ? rc : weft_group_begin(&g);
    unsigned callers = 1 + rng_below(&r->rng, 20);
    for (unsigned i = 0; i < callers && rc == 0; i++)
        rc = weft_group_start(&g, caller, .port = &port, .first = i * 100000u, .count = 500);
    rc = weft_group_join(&g, rc);
    CHECK(rc == 0, "the callers: %d", rc);
    weft_cancel(server);
    (void)weft_await_release(server);
    weft_close(port.listener);
    return rc;
}

static void churn(struct round *r)
{
    int rc = stress_run(r, churn_body, r);
    CHECK(rc == 0, "the run: %d", rc);
}

/* ---- stacks ---- */

static int deeper(struct rng *r, unsigned left)
{
    volatile unsigned char pattern[400];
    unsigned char with = (unsigned char)rng_below(r, 256);
    for (size_t i = 0; i < sizeof pattern; i++)
        pattern[i] = with;
    int rc = rng_chance(r, 30) ? weft_yield() : 0;
    if (rc == 0 && left > 0)
        rc = deeper(r, left - 1);
    for (size_t i = 0; i < sizeof pattern; i++) {
        if (pattern[i] != with) {
            CHECK(pattern[i] == with, "a frame %u from the end was written to", left);
            break;
        }
    }
    return rc;
}

struct diver {
    WEFT_FRAME;
    uint64_t seed;
    unsigned depth;
};
static int diver(struct diver *f);
WEFT_CORO(diver);
static int diver(struct diver *f)
{
    struct rng r = rng_make(f->seed, 21);
    stress_progress(1);
    if (f->depth > 4 && rng_chance(&r, 30)) {
        weft_task *t =
            weft_create_task(diver, .seed = rng_next(&r), .depth = f->depth); /* at times on this one's stack */
        int rc = weft_await_release(t);
        if (rc < 0)
            return rc;
    }
    return deeper(&r, f->depth);
}

struct bottomless {
    WEFT_FRAME;
    unsigned levels;
};
static unsigned fall(unsigned levels)
{
    volatile unsigned char room[300];
    room[levels % sizeof room] = (unsigned char)levels;
    return levels == 0 ? 0 : fall(levels - 1) + room[levels % sizeof room];
}
static int bottomless(struct bottomless *f)
{
    return fall(f->levels) != 1;
}
WEFT_CORO(bottomless);

static int stacks_body(void *arg)
{
    struct round *r = arg;
    weft_group g;
    int rc = weft_group_begin(&g);
    for (int i = 0; i < 40 && rc == 0; i++)
        rc = weft_group_start(&g, diver, .seed = rng_next(&r->rng), .depth = rng_below(&r->rng, 25));
    return weft_group_join(&g, rc);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

static void overflow_in_a_child(struct round *r)
{
    pid_t child = fork();
    if (child == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0});
        if (freopen("/dev/null", "w", stderr) == NULL)
            _exit(3);
        (void)weft_run_with(WEFT_OPTIONS(.workers = r->workers), bottomless, .levels = 100000);
        _exit(0);
    }
    int status = 0;
    CHECK(child > 0 && waitpid(child, &status, 0) == child, "fork: %d", errno);
    CHECK(WIFSIGNALED(status) && (WTERMSIG(status) == SIGSEGV || WTERMSIG(status) == SIGABRT),
          "after a stack overflow the process ended with status %#x", (unsigned)status);
}

static void stacks(struct round *r)
{
    /* 400 bytes of pattern a level, more of the compiler's; a sanitizer's are several times that. */
    size_t size = (size_t)(SANITIZED ? 256 : 32) * 1024 << rng_below(&r->rng, 3);
    int rc = stress_run_with(r, WEFT_OPTIONS(.stack_size = size), stacks_body, r);
    CHECK(rc == 0, "the run: %d", rc);
    if (!SANITIZED && rng_chance(&r->rng, 20))
        overflow_in_a_child(r);
}

const struct stressor storm_stressors[] = {
    {"steals", "bursts of tasks through growth and wrap-around of the queues, with thieves", steals},
    {"churn", "thousands of short connections, closed and reset, with numbers used again", churn},
    {"stacks", "recursion to the promised depth, and beyond it in a child", stacks},
    {NULL, NULL, NULL},
};
