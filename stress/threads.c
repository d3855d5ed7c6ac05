/* SPDX-License-Identifier: Apache-2.0 */
/* stress/threads.c -- the border with ordinary threads.
 * to-thread: floods of weft_to_thread with cancels. A function runs at most once, to its end even if dropped, never
 * more of them at a time than the runtime was told; a cancel that was taken is the outcome, else the function's
 * result is.
 * foreign: threads that submit, wait, cancel and release, also while the runtime ends: every task they were given
 * ends, and a runtime that has ended takes none. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "stress.h"

/* ---- to-thread --------------------------------------------------------------------------------------------------- */

#define JOBS 256

struct flood {
    uint64_t seed;
    unsigned spawners, jobs; /* jobs of each */
    int most;
    _Atomic(int) running;
    _Atomic(uint32_t) begun[JOBS], ended[JOBS];
};

struct job {
    WEFT_FRAME;
    struct flood *flood;
    unsigned number;
    uint32_t us;
    unsigned out; /* result */
};
static int job(struct job *f)
{
    int running = atomic_fetch_add(&f->flood->running, 1) + 1;
    CHECK(running <= f->flood->most, "%d functions run, at most %d may", running, f->flood->most);
    atomic_fetch_add(&f->flood->begun[f->number], 1);
    if (f->us > 0)
        usleep(f->us);
    f->out = f->number + 1;
    stress_progress(1);
    atomic_fetch_add(&f->flood->ended[f->number], 1);
    atomic_fetch_sub(&f->flood->running, 1);
    return (int)f->number;
}
WEFT_CORO(job);

struct spawner {
    WEFT_FRAME;
    struct flood *flood;
    unsigned number;
};
static int spawner(struct spawner *f)
{
    struct rng r = rng_make(f->flood->seed, 100 + f->number);
    weft_task *t[JOBS];
    bool taken[JOBS] = {false};
    unsigned n = f->flood->jobs, first = f->number * n;
    for (unsigned i = 0; i < n; i++) {
        t[i] = weft_to_thread(job, .flood = f->flood, .number = first + i, .us = rng_below(&r, 300));
        if (rng_chance(&r, 20))
            (void)stress_pause(&r, 200);
        if (rng_chance(&r, 20)) {
            unsigned k = rng_below(&r, i + 1);
            taken[k] = weft_cancel(t[k]) || taken[k];
        }
    }
    for (unsigned i = 0; i < n; i++) {
        if (rng_chance(&r, 10)) {
            weft_release(t[i]); /* it may be dropped by the end of the run */
            continue;
        }
        int rc = weft_await(t[i]), right = taken[i] ? -ECANCELED : (int)(first + i);
        CHECK(rc == right, "job %u: %d, not %d", first + i, rc, right);
        if (rc >= 0)
            CHECK(weft_result(job, t[i])->out == first + i + 1, "job %u: result %u", first + i,
                  weft_result(job, t[i])->out);
        weft_release(t[i]);
    }
    return 0;
}
WEFT_CORO(spawner);

static int flood_body(void *arg)
{
    struct flood *flood = arg;
    weft_group g;
    int rc = weft_group_begin(&g);
    for (unsigned i = 0; i < flood->spawners && rc == 0; i++)
        rc = weft_group_start(&g, spawner, .flood = flood, .number = i);
    return weft_group_join(&g, rc);
}

static void to_thread(struct round *r)
{
    struct flood *flood = stress_alloc(1, sizeof *flood);
    flood->seed = r->seed;
    flood->spawners = 1 + rng_below(&r->rng, 8);
    flood->jobs = 1 + rng_below(&r->rng, JOBS / 8);
    flood->most = 1 + (int)rng_below(&r->rng, 8);
    int rc = stress_run_with(r, WEFT_OPTIONS(.max_threads = (unsigned)flood->most), flood_body, flood);
    CHECK(rc == 0, "the run: %d", rc);
    for (unsigned i = 0; i < JOBS; i++) {
        uint32_t begun = atomic_load(&flood->begun[i]), ended = atomic_load(&flood->ended[i]);
        CHECK(begun == ended && begun <= 1, "job %u begun %u times, ended %u times", i, begun, ended);
    }
    free(flood);
}

/* ---- foreign ----------------------------------------------------------------------------------------------------- */

#define THREADS 6

struct border {
    uint64_t seed;
    unsigned threads, turns;
    weft_runtime *rt;
    weft_semaphore finished;
    _Atomic(uint64_t) begun, ended;
    pthread_t thread[THREADS];
    unsigned started;
    _Atomic(unsigned) numbers;
};

struct errand {
    WEFT_FRAME;
    struct border *border;
    uint64_t seed;
    int value;
};
static int errand(struct errand *f)
{
    atomic_fetch_add(&f->border->begun, 1);
    struct rng r = rng_make(f->seed, 5);
    int rc = stress_pause(&r, 200);
    atomic_fetch_add(&f->border->ended, 1);
    stress_progress(1);
    return rc != 0 ? rc : f->value;
}
WEFT_CORO(errand);

/* Whatever the thread may do with a task. `alone`: the run's end cancels nothing yet. */
static void handle(struct rng *r, weft_task *t, int value, bool alone)
{
    bool taken = false;
    if (rng_chance(r, 20)) {
        weft_release(weft_ref(t));
        taken = weft_cancel(t);
    }
    if (rng_chance(r, 20)) {
        weft_release(t);
        return;
    }
    if (rng_chance(r, 30)) {
        int rc = weft_block_on(t, rng_chance(r, 50) ? 0 : WEFT_US(rng_below(r, 200)));
        CHECK(rc == -ETIMEDOUT || (weft_done(t) && rc == weft_status(t)), "block_on: %d, status %d", rc,
              weft_status(t));
    }
    int rc = weft_block_on(t, WEFT_FOREVER);
    CHECK(weft_done(t), "block_on returned %d, the task has not ended", rc);
    CHECK(rc == value || (rc == -ECANCELED && (taken || !alone)), "block_on: %d, not %d", rc, value);
    CHECK(!taken || rc == -ECANCELED, "a cancel was taken, outcome %d", rc);
    weft_release(t);
}

static void *from_outside(void *arg)
{
    struct border *b = arg;
    unsigned number = atomic_fetch_add(&b->numbers, 1);
    struct rng r = rng_make(b->seed, 200 + number);
    weft_runtime *rt = weft_runtime_hold(b->rt);
    for (unsigned i = 0; i < b->turns; i++) {
        weft_task *t = weft_submit(rt, errand, .border = b, .seed = rng_next(&r), .value = (int)i);
        CHECK(t != NULL, "submit to a live runtime gave %s", "NULL");
        if (t != NULL)
            handle(&r, t, (int)i, true);
    }
    int rc = weft_semaphore_release(&b->finished);
    CHECK(rc == 0, "release: %d", rc);
    /* On into the end of the run: the held object says NULL at last. */
    for (;;) {
        weft_task *t = weft_submit(rt, errand, .border = b, .seed = rng_next(&r), .value = 1);
        if (t == NULL)
            break;
        handle(&r, t, 1, false);
    }
    weft_runtime_drop(rt);
    return NULL;
}

static int border_body(void *arg)
{
    struct border *b = arg;
    b->rt = weft_runtime_current();
    while (b->started < b->threads && pthread_create(&b->thread[b->started], NULL, from_outside, b) == 0)
        b->started++;
    for (unsigned i = 0; i < b->started; i++) {
        int rc = weft_semaphore_acquire(&b->finished);
        CHECK(rc == 0, "acquire: %d", rc);
    }
    return 0;
}

/* A thread may come late to its hold: it is kept until all are joined. */
static void foreign(struct round *r)
{
    struct border b = {.seed = r->seed, .finished = WEFT_SEMAPHORE_INIT(0)};
    b.threads = 1 + rng_below(&r->rng, THREADS);
    b.turns = 1 + rng_below(&r->rng, 60);
    int rc = stress_run(r, border_body, &b);
    CHECK(rc == 0, "the run: %d", rc);
    for (unsigned i = 0; i < b.started; i++)
        pthread_join(b.thread[i], NULL);
    uint64_t begun = atomic_load(&b.begun), ended = atomic_load(&b.ended);
    CHECK(begun == ended, "%llu errands begun, %llu ended", (unsigned long long)begun, (unsigned long long)ended);
}

const struct stressor thread_stressors[] = {
    {"to-thread", "floods of weft_to_thread with cancels", to_thread},
    {"foreign", "threads that submit and wait, also while the runtime ends", foreign},
    {NULL, NULL, NULL},
};
