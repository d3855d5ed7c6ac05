/* SPDX-License-Identifier: Apache-2.0 */
/* stress/faults.c -- calls that fail (weft/testing.h). Built only with libweft_testing.
 * interrupted-io: the sockets' rounds while EINTR, EAGAIN and short counts come at random: nothing of that may be noticed.
 * shortage:       memory, descriptors and threads run short at random while tasks, sockets and timers go on: what was begun ends, in order, with an
 *                 errno that says why, and nothing is left.
 * sweeps:         a random scenario, once with each of its calls failing and once with a cancel at each of its waits. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <weft/testing.h>

#include "stress.h"

static void interrupted_io(struct round *r)
{
    static const char calls[] = "recv,send,read,write,accept4,connect,epoll_wait=EINTR|EAGAIN|short@";
    char plan[128];
    snprintf(plan, sizeof plan, "%s%u%%", calls, 1 + rng_below(&r->rng, 60));
    int rc = weft_faults_begin(plan, r->seed);
    CHECK(rc == 0 || rc == -EBUSY, "plan %s: %d", plan, rc);
    stress_trace("plan: percent", (long)strtol(strchr(plan, '@') + 1, NULL, 10), 0);
    for (const struct stressor *s = socket_stressors; s->name != NULL; s++) {
        if (strcmp(s->name, "sockets") == 0)
            s->round(r);
    }
    if (rc == 0)
        weft_faults_end();
}

/* ---- scenarios ----------------------------------------------------------------------------------------------------- */

struct scene {
    weft_lock lock;
    weft_queue *queue;
    _Atomic(int) inside;
};

/* All that may come of a call when something is short, or of a cancellation. */
static bool expected(ssize_t rc)
{
    static const int known[] = {ENOMEM,       EMFILE,      ENFILE,    EAGAIN,      EIO,        ENOBUFS,
                                ENOSPC,       ETIMEDOUT,   ECANCELED, EPIPE,       ECONNRESET, EADDRINUSE,
                                ECONNREFUSED, ENETUNREACH, ESHUTDOWN, ECONNABORTED};
    if (rc >= 0)
        return true;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (rc == -known[i])
            return true;
    }
    return false;
}

static int talk(struct rng *r)
{
    int fds[2];
    weft_stream *a = NULL, *b = NULL;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
        return -errno;
    int rc = weft_stream_adopt(&a, fds[0]);
    int second = weft_stream_adopt(&b, fds[1]);
    if (rc < 0)
        close(fds[0]);
    if (second < 0)
        close(fds[1]);
    char out[64], in[64];
    size_t n = 1 + rng_below(r, sizeof out);
    memset(out, (int)n, n);
    rc = rc < 0 ? rc : second;
    rc = rc < 0 ? rc : weft_write(a, out, n);
    ssize_t got = rc < 0 ? rc : weft_read_exactly(b, in, n);
    CHECK(got < 0 || (got == (ssize_t)n && memcmp(in, out, n) == 0), "%zd of %zu bytes came, or others", got, n);
    weft_close(a);
    weft_close(b);
    return got < 0 ? (int)got : 0;
}

struct part {
    WEFT_FRAME;
    struct scene *scene;
    uint64_t seed;
    int depth;
};
static int part(struct part *f);
WEFT_CORO(part);

static int together(struct part *f, struct rng *r)
{
    weft_task *t[3];
    for (int i = 0; i < 3; i++)
        t[i] = weft_create_task(part, .scene = f->scene, .seed = rng_next(r), .depth = f->depth - 1);
    int rc = weft_gather(t[0], t[1], t[2]);
    for (int i = 0; i < 3; i++) {
        if (rc < 0)
            weft_cancel(t[i]);
        weft_release(t[i]);
    }
    return rc;
}

static int one_step(struct part *f, struct rng *r)
{
    int item = (int)rng_below(r, 100), rc;
    weft_timeout limit;
    switch (rng_below(r, f->depth > 0 ? 7 : 6)) {
    case 0:
        return weft_sleep(WEFT_US(rng_below(r, 300)));
    case 1:
        if ((rc = weft_lock_acquire(&f->scene->lock)) < 0)
            return rc;
        CHECK(atomic_fetch_add(&f->scene->inside, 1) == 0, "two have %s", "the lock");
        rc = stress_pause(r, 50);
        atomic_fetch_sub(&f->scene->inside, 1);
        weft_lock_release(&f->scene->lock);
        return rc;
    case 2:
        rc = weft_queue_put(f->scene->queue, &item);
        return rc < 0 ? rc : weft_queue_get(f->scene->queue, &item);
    case 3:
        return talk(r);
    case 4:
        if ((rc = weft_timeout_begin(&limit, WEFT_US(rng_below(r, 100)))) < 0)
            return rc;
        rc = weft_sleep(WEFT_US(rng_below(r, 200)));
        rc = weft_timeout_end(&limit, rc);
        return rc == -ETIMEDOUT ? 0 : rc;
    case 5:
        return weft_yield();
    default:
        return together(f, r);
    }
}

static int part(struct part *f)
{
    struct rng r = rng_make(f->seed, 17);
    int rc = 0;
    for (uint32_t n = 1 + rng_below(&r, 5); n > 0 && rc >= 0; n--) {
        rc = one_step(f, &r);
        CHECK(expected(rc), "a call said %d (%s)", rc, weft_strerror(rc));
        stress_progress(1);
    }
    return rc < 0 ? rc : 0;
}

struct look {
    weft_task *self;
    bool more;
};
static int is_other(void *user, weft_task *t)
{
    struct look *look = user;
    look->more = look->more || t != look->self;
    return 0;
}

/* What a gather that failed has cancelled may be on its way still. */
static int outlast_others(int rc)
{
    for (;;) {
        struct look look = {weft_current_task(), false};
        if (weft_all_tasks(is_other, &look) >= 0 && !look.more)
            return rc;
        int again = weft_sleep(WEFT_US(100));
        rc = rc < 0 ? rc : again;
    }
}

struct scenario {
    WEFT_FRAME;
    uint64_t seed;
    int depth;
};
static int scenario(struct scenario *f)
{
    struct scene scene = {.lock = WEFT_LOCK_INIT, .queue = weft_queue_create(sizeof(int), 0)};
    if (scene.queue == NULL)
        return -ENOMEM;
    struct rng r = rng_make(f->seed, 3);
    weft_task *t[4];
    int rc = 0;
    for (int i = 0; i < 4; i++)
        t[i] = weft_create_task(part, .scene = &scene, .seed = rng_next(&r), .depth = f->depth);
    for (int i = 0; i < 4; i++) {
        /* The scene is on this stack: a cancelled wait for one does not end before that one has. */
        int one = weft_await_release(t[i]);
        rc = rc < 0 ? rc : one;
    }
    rc = outlast_others(rc);
    weft_queue_destroy(scene.queue);
    return rc;
}
WEFT_CORO(scenario);

/* ---- shortage ------------------------------------------------------------------------------------------------------ */

static int short_body(void *arg)
{
    struct round *r = arg;
    struct scenario f = {.seed = rng_next(&r->rng), .depth = 3};
    int rc = 0;
    for (int i = 0; i < 20; i++) {
        rc = scenario(&f);
        CHECK(expected(rc), "the scenario said %d", rc);
        f.seed++;
    }
    return 0;
}

static void shortage(struct round *r)
{
    static const char *const plans[] = {
        "malloc,calloc,realloc,aligned_alloc=ENOMEM@%u%%",
        "mmap,madvise,mprotect=ENOMEM@%u%%",
        "epoll_ctl,eventfd,socket,accept4=any@%u%%",
        "pthread_create=EAGAIN@%u%% malloc=ENOMEM@1%%",
        "*=any@%u%%",
    };
    char plan[128];
    uint32_t which = rng_below(&r->rng, 5), percent = 1 + rng_below(&r->rng, 20);
    snprintf(plan, sizeof plan, plans[which], percent);
    stress_trace("plan, percent", which, (long)percent);
    int busy = weft_faults_begin(plan, r->seed);
    CHECK(busy == 0 || busy == -EBUSY, "plan %s: %d", plan, busy);
    int rc = stress_run_with(r, WEFT_OPTIONS(.stack_size = (size_t)64 * 1024), short_body, r);
    if (busy == 0)
        weft_faults_end();
    CHECK(expected(rc), "the run: %d (%s)", rc, weft_strerror(rc));
}

/* ---- sweeps -------------------------------------------------------------------------------------------------------- */

static void tell(void *user, const char *line)
{
    (void)user;
    fprintf(stderr, "%s\n", line);
}

static const char *judge(void *user, const weft_test_run *run)
{
    (void)user;
    stress_progress(1);
    return expected(run->rc) ? NULL : "an outcome that nobody expects";
}

static void sweeps(struct round *r)
{
    const weft_sweep *o = WEFT_SWEEP(.workers = r->workers, .most = 20000, .after = judge, .report = tell);
    long runs = weft_sweep_faults(o, scenario, .seed = r->seed, .depth = 1);
    bool one = getenv("WEFT_SWEEP") != NULL; /* one run again, of one of the two */
    CHECK(runs > 0 || one, "failing calls: %ld", runs);
    runs = weft_sweep_cancel(o, scenario, .seed = r->seed, .depth = 1);
    CHECK(runs > 0 || one, "cancels: %ld", runs);
}

const struct stressor fault_stressors[] = {
    {"interrupted-io", "sockets while EINTR, EAGAIN and short counts come at random", interrupted_io},
    {"shortage", "memory, descriptors and threads run short at random", shortage},
    {"sweeps", "a random scenario with each call failing, and cancelled at each wait", sweeps},
    {NULL, NULL, NULL},
};
