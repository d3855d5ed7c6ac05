/* SPDX-License-Identifier: Apache-2.0 */
/* stress/queues.c -- queues of all three kinds under random time limits and cancels, with a foreign thread that
 * puts. Invariants: every item put is got exactly once; a first-in-first-out queue keeps each producer's order at
 * each consumer; join returns when all is dealt with; shutdown lets everybody out. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "stress.h"

#define MOST 12
#define MOST_ITEMS 200

struct item {
    uint32_t producer, number;
};

enum kind { FIFO, LIFO, PRIORITY, KINDS };

struct traffic {
    uint64_t seed;
    enum kind kind;
    weft_queue *queue;
    unsigned producers, consumers, items;
    bool disturb, foreign; /* the last producer is a thread */
    _Atomic(uint8_t) seen[MOST][MOST_ITEMS];
    _Atomic(uint32_t) begun, got;
};

static int compare_items(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    return (x->number > y->number) - (x->number < y->number);
}

/* 0, or interrupted and nothing done. */
static bool again(int rc)
{
    if (rc == -ECANCELED)
        (void)weft_uncancel(weft_current_task());
    return rc == -ECANCELED || rc == -ETIMEDOUT || rc == -EAGAIN;
}

struct produce {
    WEFT_FRAME;
    struct traffic *traffic;
    uint32_t number;
};
static int produce(struct produce *f)
{
    struct traffic *t = f->traffic;
    struct rng r = rng_make(t->seed, 100 + f->number);
    atomic_fetch_add(&t->begun, 1);
    for (uint32_t i = 0; i < t->items;) {
        struct item item = {f->number, i};
        weft_timeout limit;
        int rc;
        switch (rng_below(&r, 4)) {
        case 0:
            rc = weft_queue_put_nowait(t->queue, &item);
            if (rc == -EAGAIN)
                (void)again(weft_yield());
            break;
        case 1:
            rc = weft_timeout_begin(&limit, WEFT_US(rng_below(&r, 150)));
            CHECK(rc == 0, "timeout_begin: %d", rc);
            rc = weft_queue_put(t->queue, &item);
            rc = weft_timeout_end(&limit, rc);
            break;
        default:
            rc = weft_queue_put(t->queue, &item);
        }
        CHECK(rc == 0 || again(rc), "put: %d", rc);
        i += rc == 0;
        if (rng_chance(&r, 20))
            (void)again(stress_pause(&r, 50));
        stress_progress(1);
    }
    return 0;
}
WEFT_CORO(produce);

static void *produce_outside(void *arg)
{
    struct traffic *t = arg;
    for (uint32_t i = 0; i < t->items && !stress_failed();) {
        struct item item = {t->producers - 1, i};
        int rc = weft_queue_put_nowait(t->queue, &item);
        CHECK(rc == 0 || rc == -EAGAIN, "put_nowait: %d", rc);
        i += rc == 0;
        if (rc != 0)
            usleep(20);
    }
    return NULL;
}

struct consume {
    WEFT_FRAME;
    struct traffic *traffic;
    uint64_t number;
};
static int consume(struct consume *f)
{
    struct traffic *t = f->traffic;
    struct rng r = rng_make(t->seed, 200 + f->number);
    uint32_t next[MOST] = {0};
    for (;;) {
        struct item item = {0, 0};
        weft_timeout limit;
        int rc;
        switch (rng_below(&r, 4)) {
        case 0:
            rc = weft_queue_get_nowait(t->queue, &item);
            if (rc == -EAGAIN)
                (void)again(stress_pause(&r, 50));
            break;
        case 1:
            rc = weft_timeout_begin(&limit, WEFT_US(rng_below(&r, 150)));
            CHECK(rc == 0, "timeout_begin: %d", rc);
            rc = weft_queue_get(t->queue, &item);
            rc = weft_timeout_end(&limit, rc);
            break;
        default:
            rc = weft_queue_get(t->queue, &item);
        }
        if (rc == -ESHUTDOWN)
            return 0;
        CHECK(rc == 0 || again(rc), "get: %d", rc);
        if (rc != 0)
            continue;
        bool known = item.producer < t->producers && item.number < t->items;
        CHECK(known, "item %u/%u was never put", item.producer, item.number);
        if (!known)
            return -EPROTO;
        uint8_t before = atomic_fetch_add(&t->seen[item.producer][item.number], 1);
        CHECK(before == 0, "item %u/%u was got %u times before", item.producer, item.number, before);
        if (t->kind == FIFO) {
            CHECK(item.number >= next[item.producer], "producer %u: item %u after %u", item.producer, item.number,
                  next[item.producer]);
            next[item.producer] = item.number + 1;
        }
        atomic_fetch_add(&t->got, 1);
        rc = weft_queue_task_done(t->queue);
        CHECK(rc == 0, "task_done: %d", rc);
        stress_progress(1);
    }
}
WEFT_CORO(consume);

static int traffic_body(void *arg)
{
    struct traffic *t = arg;
    struct rng r = rng_make(t->seed, 1);
    weft_task *tasks[2 * MOST];
    unsigned makers = t->producers - (t->foreign ? 1 : 0), n = makers + t->consumers;
    for (unsigned i = 0; i < t->consumers; i++)
        tasks[makers + i] = weft_create_task(consume, .traffic = t, .number = i);
    for (unsigned i = 0; i < makers; i++)
        tasks[i] = weft_create_task(produce, .traffic = t, .number = i);
    /* Let them begin: one that is cancelled before its first step puts nothing. */
    uint32_t all = t->producers * t->items;
    while (t->disturb && atomic_load(&t->begun) < makers)
        (void)weft_sleep(WEFT_US(50));
    while (t->disturb && atomic_load(&t->got) < all) {
        (void)weft_sleep(WEFT_US(rng_below(&r, 200)));
        weft_task *victim = tasks[rng_below(&r, n)];
        if (victim != NULL)
            (void)weft_cancel(victim);
    }
    if (makers > 0)
        (void)weft_gather_settled_n(tasks, makers);
    while (t->foreign && atomic_load(&t->got) < all)
        (void)weft_sleep(WEFT_US(100));
    int rc = weft_queue_join(t->queue);
    CHECK(rc == 0, "join: %d", rc);
    CHECK(weft_queue_size(t->queue) == 0, "%zu items left after join", weft_queue_size(t->queue));
    CHECK(atomic_load(&t->got) == all, "%u items of %u after join", atomic_load(&t->got), all);
    weft_queue_shutdown(t->queue, false);
    (void)weft_gather_settled_n(tasks + makers, t->consumers);
    struct item item = {0, 0};
    rc = weft_queue_put(t->queue, &item);
    CHECK(rc == -ESHUTDOWN, "put after shutdown: %d", rc);
    for (unsigned i = 0; i < n; i++)
        weft_release(tasks[i]);
    return 0;
}

static void queues(struct round *r)
{
    struct traffic *t = stress_alloc(1, sizeof *t);
    t->seed = r->seed;
    t->kind = (enum kind)rng_below(&r->rng, KINDS);
    t->producers = 1 + rng_below(&r->rng, MOST);
    t->consumers = 1 + rng_below(&r->rng, MOST);
    t->items = 1 + rng_below(&r->rng, MOST_ITEMS);
    t->disturb = rng_chance(&r->rng, 40);
    t->foreign = rng_chance(&r->rng, 40);
    size_t size = rng_chance(&r->rng, 30) ? 0 : 1 + rng_below(&r->rng, 10);
    t->queue = t->kind == FIFO   ? weft_queue_create(sizeof(struct item), size)
               : t->kind == LIFO ? weft_lifo_queue_create(sizeof(struct item), size)
                                 : weft_priority_queue_create(sizeof(struct item), size, compare_items);
    pthread_t thread;
    t->foreign = t->foreign && pthread_create(&thread, NULL, produce_outside, t) == 0;
    int rc = stress_run(r, traffic_body, t);
    CHECK(rc == 0, "the run: %d", rc);
    if (t->foreign)
        pthread_join(thread, NULL);
    weft_queue_destroy(t->queue);
    free(t);
}

const struct stressor queue_stressors[] = {
    {"queues", "queues of all kinds under random time limits and cancels", queues},
    {NULL, NULL, NULL},
};
