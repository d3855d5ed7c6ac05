/* SPDX-License-Identifier: Apache-2.0 */
/* stress/runtimes.c -- runtimes that start and stop: one after the other, side by side in threads, and inside helper
 * threads of others, with random numbers of workers and with tasks left running in every state. Invariants: each run
 * gives its own main's result; inside a task weft_run is refused; nothing is left behind (descriptors, threads,
 * stacks: see support.c). */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "stress.h"

#define BESIDE 4

struct world {
    struct round round; /* its own copy: worlds live side by side */
    int depth;
    int result;
    weft_event never;
    weft_lock held;
    weft_queue *queue;
    _Atomic(uint32_t) begun, ended;
};

static void live_through(struct world *w);

struct leftover {
    WEFT_FRAME;
    struct world *world;
    uint64_t seed;
};
static int leftover(struct leftover *f)
{
    struct rng r = rng_make(f->seed, 8);
    atomic_fetch_add(&f->world->begun, 1);
    weft_listener *l = NULL;
    weft_stream *s = NULL;
    int item, rc = 0;
    switch (rng_below(&r, 7)) {
    case 0:
        rc = weft_sleep(WEFT_SEC(3600));
        break;
    case 1:
        rc = weft_event_wait(&f->world->never);
        break;
    case 2:
        rc = weft_lock_acquire(&f->world->held);
        break;
    case 3:
        rc = weft_queue_get(f->world->queue, &item);
        break;
    case 4:
        rc = weft_listen(&l, "127.0.0.1:0");
        CHECK(rc == 0 || rc == -ECANCELED, "listen: %d", rc);
        rc = rc == 0 ? weft_accept(l, &s) : rc;
        CHECK(s == NULL, "nobody connected, and yet accept gave %d", rc);
        weft_close(l);
        break;
    case 5:
        while (rc == 0)
            rc = weft_yield();
        break;
    default:
        rc = stress_pause(&r, 1000);
    }
    CHECK(rc == 0 || rc == -ECANCELED, "a task left behind: %d", rc);
    if (rng_chance(&r, 20))
        (void)weft_sleep(WEFT_US(rng_below(&r, 500))); /* cleans up */
    atomic_fetch_add(&f->world->ended, 1);
    return rc;
}
WEFT_CORO(leftover);

struct nested {
    WEFT_FRAME;
    struct world *world;
};
static int nested(struct nested *f)
{
    live_through(f->world);
    return 0;
}
WEFT_CORO(nested);

struct refused {
    WEFT_FRAME;
};
static int refused(struct refused *f)
{
    (void)f;
    return 0;
}
WEFT_CORO(refused);

static void init_world(struct world *w, uint64_t seed, int depth)
{
    static const unsigned choice[] = {1, 2, 3, 8};
    *w = (struct world){.round = {.seed = seed, .rng = rng_make(seed, 0)}, .depth = depth};
    w->round.workers = stress_workers != 0 ? stress_workers : choice[rng_below(&w->round.rng, 4)];
    weft_event_init(&w->never);
    weft_lock_init(&w->held);
    w->queue = weft_queue_create(sizeof(int), 0);
}

static int world_body(void *arg)
{
    struct world *w = arg;
    struct rng *r = &w->round.rng;
    int rc = weft_lock_acquire(&w->held);
    CHECK(rc == 0, "lock: %d", rc);
    rc = weft_run(refused);
    CHECK(rc == -EBUSY, "weft_run inside a task: %d", rc);
    for (uint32_t n = rng_below(r, 12); n > 0; n--)
        weft_release(weft_create_task(leftover, .world = w, .seed = rng_next(r)));
    if (w->depth > 0 && rng_chance(r, 40)) {
        struct world *inner = stress_alloc(1, sizeof *inner);
        init_world(inner, rng_next(r), w->depth - 1);
        rc = weft_await_release(weft_to_thread(nested, .world = inner));
        CHECK(rc == 0, "a runtime in a helper thread: %d", rc);
        free(inner);
    }
    (void)stress_pause(r, 300);
    w->result = rng_chance(r, 20) ? -EPROTO : (int)rng_below(r, 100);
    return w->result;
}

static void live_through(struct world *w)
{
    int rc = stress_run(&w->round, world_body, w);
    CHECK(rc == w->result, "the run: %d, its main: %d", rc, w->result);
    uint32_t begun = atomic_load(&w->begun), ended = atomic_load(&w->ended);
    CHECK(begun == ended, "%u tasks left behind began, %u ended", begun, ended);
    weft_queue_destroy(w->queue);
    stress_progress(1);
}

static void *live_in_thread(void *arg)
{
    live_through(arg);
    return NULL;
}

static void runtimes(struct round *r)
{
    struct world *worlds = stress_alloc(BESIDE, sizeof *worlds);
    for (uint32_t i = rng_below(&r->rng, 4); i > 0; i--) {
        init_world(&worlds[0], rng_next(&r->rng), 0);
        live_through(&worlds[0]);
    }
    pthread_t threads[BESIDE];
    uint32_t n = 1 + rng_below(&r->rng, BESIDE);
    for (uint32_t i = 0; i < n; i++) {
        init_world(&worlds[i], rng_next(&r->rng), 2);
        if (pthread_create(&threads[i], NULL, live_in_thread, &worlds[i]) != 0)
            abort();
    }
    for (uint32_t i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    free(worlds);
}

const struct stressor runtime_stressors[] = {
    {"runtimes", "runtimes started and stopped, side by side and nested, with tasks left running", runtimes},
    {NULL, NULL, NULL},
};
