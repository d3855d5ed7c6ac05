/* SPDX-License-Identifier: Apache-2.0 */
/* stress/callbacks.c -- callbacks called soon, later, from threads, and when tasks and futures end; cancelled and removed meanwhile.
 *
 * Invariants: a callback runs at most once; one whose cancel or removal was taken never; every other one runs, once what it waits for has come;
 * what it was registered for has ended by then. Handles are given back at any moment. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "stress.h"

#define CALLS 1024
#define TARGETS 16
#define TASKS 8
#define THREADS 3

enum { WAITS = 0, RAN = 1, TAKEN = 2 }; /* of a call: bits; both is a failure */

struct office {
    uint64_t seed;
    unsigned tasks, threads, turns, started;
    _Atomic(uint32_t) used;
    _Atomic(uint32_t) calls[CALLS];
    weft_task *target[TARGETS];
    unsigned targets;
    weft_runtime *rt;
    pthread_t thread[THREADS];
    _Atomic(unsigned) numbers;
    weft_semaphore finished;
};

struct call {
    WEFT_FRAME;
    struct office *office;
    uint32_t number;
    weft_task *target; /* NULL: none */
    uint64_t seed;
};
static int call(struct call *f);
WEFT_CORO(call);

static bool next_call(struct office *o, uint32_t *number)
{
    *number = atomic_fetch_add(&o->used, 1);
    return *number < CALLS;
}

static void was_taken(struct office *o, uint32_t number)
{
    uint32_t before = atomic_fetch_or(&o->calls[number], TAKEN);
    CHECK(before == WAITS, "call %u: taken back, but it was %u before", number, before);
}

/* One callback of a random kind, from a task or from another callback. */
static void call_somehow(struct office *o, struct rng *r)
{
    uint32_t number;
    if (!next_call(o, &number))
        return;
    weft_handle *h;
    weft_task *target = NULL;
    switch (rng_below(r, 4)) {
    case 0:
        h = weft_call_soon(call, .office = o, .number = number, .seed = rng_next(r));
        break;
    case 1:
        h = weft_call_later(WEFT_US(rng_below(r, 300)), call, .office = o, .number = number, .seed = rng_next(r));
        break;
    case 2:
        h = weft_call_at(weft_now() + WEFT_US(rng_below(r, 200)) - WEFT_US(50), call, .office = o, .number = number,
                         .seed = rng_next(r));
        break;
    default:
        target = o->target[rng_below(r, o->targets)];
        h = weft_add_done_callback(target, call, .office = o, .number = number, .target = target, .seed = rng_next(r));
    }
    CHECK(h != NULL, "no %s", "memory");
    if (rng_chance(r, 30)) {
        bool remove = target != NULL && rng_chance(r, 70);
        if (remove ? weft_remove_done_callback(target, h) : weft_cancel(h)) {
            was_taken(o, number);
            CHECK(!remove || !weft_remove_done_callback(target, h), "call %u was removed twice", number);
        }
    }
    weft_release(h);
}

static int call(struct call *f)
{
    struct rng r = rng_make(f->seed, 2);
    CHECK(weft_current_task() == NULL, "a callback belongs to no %s", "task");
    CHECK(f->target == NULL || weft_done(f->target), "call %u comes before its target has ended", f->number);
    uint32_t before = atomic_fetch_or(&f->office->calls[f->number], RAN);
    CHECK(before == WAITS, "call %u runs, but it was %u before", f->number, before);
    if (rng_chance(&r, 30))
        call_somehow(f->office, &r);
    stress_progress(1);
    return rng_chance(&r, 5) ? -EIO : 0;
}

struct clerk {
    WEFT_FRAME;
    struct office *office;
    unsigned number;
};
static int clerk(struct clerk *f)
{
    struct office *o = f->office;
    struct rng r = rng_make(o->seed, 10 + f->number);
    int rc = 0;
    for (unsigned i = 0; i < o->turns && rc == 0; i++) {
        call_somehow(o, &r);
        if (rng_chance(&r, 15))
            (void)weft_cancel(o->target[rng_below(&r, o->targets)]);
        rc = stress_pause(&r, 100);
    }
    return rc;
}
WEFT_CORO(clerk);

struct target {
    WEFT_FRAME;
    uint64_t seed;
};
static int target(struct target *f)
{
    struct rng r = rng_make(f->seed, 4);
    int rc = 0;
    for (uint32_t i = rng_below(&r, 10); i > 0 && rc == 0; i--)
        rc = stress_pause(&r, 300);
    return rc < 0 ? rc : 1;
}
WEFT_CORO(target);

static void *from_outside(void *arg)
{
    struct office *o = arg;
    struct rng r = rng_make(o->seed, 300 + atomic_fetch_add(&o->numbers, 1));
    for (unsigned i = 0; i < o->turns; i++) {
        uint32_t number;
        if (!next_call(o, &number))
            break;
        weft_handle *h = weft_call_soon_threadsafe(o->rt, call, .office = o, .number = number, .seed = rng_next(&r));
        CHECK(h != NULL, "a live runtime refused call %u", number);
        if (h != NULL && rng_chance(&r, 40) && weft_cancel(h))
            was_taken(o, number);
        weft_release(h);
    }
    int rc = weft_semaphore_release(&o->finished);
    CHECK(rc == 0, "release: %d", rc);
    return NULL;
}

static bool all_over(struct office *o)
{
    uint32_t used = atomic_load(&o->used);
    for (uint32_t i = 0; i < used && i < CALLS; i++)
        if (atomic_load(&o->calls[i]) == WAITS)
            return false;
    return true;
}

static int office_body(void *arg)
{
    struct office *o = arg;
    struct rng r = rng_make(o->seed, 1);
    weft_task *t[TASKS];
    o->rt = weft_runtime_current();
    for (unsigned i = 0; i < o->targets; i++)
        o->target[i] = rng_chance(&r, 50) ? weft_future_create() : weft_create_task(target, .seed = rng_next(&r));
    for (unsigned i = 0; i < o->tasks; i++)
        t[i] = weft_create_task(clerk, .office = o, .number = i);
    while (o->started < o->threads && pthread_create(&o->thread[o->started], NULL, from_outside, o) == 0)
        o->started++;
    for (unsigned i = 0; i < o->targets; i++) {
        (void)stress_pause(&r, 100);
        (void)weft_future_set_result(o->target[i], 3); /* refused by tasks */
    }
    for (unsigned i = 0; i < o->started; i++) {
        int rc = weft_semaphore_acquire(&o->finished);
        CHECK(rc == 0, "acquire: %d", rc);
    }
    int rc = weft_gather_settled_n(t, o->tasks);
    CHECK(rc == 0, "clerks: %d", rc);
    for (unsigned i = 0; i < o->tasks; i++)
        weft_release(t[i]);
    rc = weft_gather_settled_n(o->target, o->targets);
    CHECK(rc >= 0, "targets: %d", rc);
    /* All that callbacks wait for has come. */
    while (!all_over(o) && !stress_failed())
        (void)weft_sleep(WEFT_US(50));
    return 0;
}

static void offices(struct round *r)
{
    struct office *o = stress_alloc(1, sizeof *o);
    o->seed = r->seed;
    o->targets = 1 + rng_below(&r->rng, TARGETS);
    o->tasks = 1 + rng_below(&r->rng, TASKS);
    o->threads = rng_below(&r->rng, THREADS + 1);
    o->turns = 1 + rng_below(&r->rng, 60);
    (void)weft_semaphore_init(&o->finished, 0);
    int rc = stress_run(r, office_body, o);
    CHECK(rc == 0, "the run: %d", rc);
    for (unsigned i = 0; i < o->started; i++)
        pthread_join(o->thread[i], NULL);
    for (unsigned i = 0; i < o->targets; i++)
        weft_release(o->target[i]);
    free(o);
}

const struct stressor callback_stressors[] = {
    {"callbacks", "soon, later, from threads, at the end of tasks; cancelled and removed", offices},
    {NULL, NULL, NULL},
};
