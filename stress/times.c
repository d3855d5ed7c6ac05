/* SPDX-License-Identifier: Apache-2.0 */
/* stress/times.c -- timers against cancels, and storms of parking and waking with idle gaps.
 * timers: no sleep ends well before its time; a cancelled one ends cancelled; one not cancelled ends well.
 * wakes: tokens go round rings of tasks, now at once, now after up to 3 ms in which everything may park, now through a
 * thread outside. Every token makes all its hops; a lost wake is a hang. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <unistd.h>

#include "stress.h"

/* ---- timers ------------------------------------------------------------------------------------------------------ */

#define SLEEPERS 256

struct clocks {
    uint64_t seed;
    unsigned sleepers;
    bool disturb;
};

struct sleeper {
    WEFT_FRAME;
    weft_ns duration;
    int way;
    weft_ns slept;
};
static int sleeper(struct sleeper *f)
{
    weft_ns begin = weft_now();
    weft_timeout limit;
    int rc = 0;
    if (f->way == 0) {
        rc = weft_sleep(f->duration);
    } else if (f->way == 1) {
        rc = weft_sleep_until(begin + f->duration);
    } else {
        rc = weft_timeout_begin(&limit, f->duration);
        CHECK(rc == 0, "timeout_begin: %d", rc);
        if (f->way == 3)
            (void)weft_timeout_reschedule(&limit, f->duration);
        rc = weft_timeout_end(&limit, weft_sleep(WEFT_SEC(3600)));
        CHECK(rc == -ETIMEDOUT || rc == -ECANCELED, "an hour's sleep under a limit: %d", rc);
        rc = rc == -ETIMEDOUT ? 0 : rc;
    }
    f->slept = weft_now() - begin;
    CHECK(rc == 0 || rc == -ECANCELED, "sleep: %d", rc);
    CHECK(rc != 0 || f->slept >= f->duration, "slept %lld ns of %lld", (long long)f->slept, (long long)f->duration);
    stress_progress(1);
    return rc;
}
WEFT_CORO(sleeper);

static int timers_body(void *arg)
{
    struct clocks *c = arg;
    struct rng r = rng_make(c->seed, 1);
    weft_task *t[SLEEPERS];
    bool asked[SLEEPERS] = {false}, never[SLEEPERS] = {false};
    for (unsigned i = 0; i < c->sleepers; i++) {
        weft_ns duration = WEFT_US(rng_below(&r, 5000));
        never[i] = c->disturb && rng_chance(&r, 10);
        t[i] =
            weft_create_task(sleeper, .duration = never[i] ? WEFT_SEC(3600) : duration, .way = (int)rng_below(&r, 4));
        if (rng_chance(&r, 5))
            (void)weft_yield();
    }
    for (unsigned i = 0; c->disturb && i < c->sleepers; i++) {
        unsigned k = rng_below(&r, c->sleepers);
        asked[k] = weft_cancel(t[k]) || asked[k];
        if (rng_chance(&r, 20))
            (void)weft_sleep(WEFT_US(rng_below(&r, 300)));
    }
    for (unsigned i = 0; i < c->sleepers; i++) {
        if (never[i])
            asked[i] = weft_cancel(t[i]) || asked[i];
    }
    for (unsigned i = 0; i < c->sleepers; i++) {
        int rc = weft_await(t[i]);
        /* A request that came before a time limit began is the limit's to swallow when that expires too, as in
         * asyncio. */
        int way = weft_done(t[i]) && asked[i] && rc == 0 ? weft_result(sleeper, t[i])->way : 0;
        CHECK(rc == (asked[i] ? -ECANCELED : 0) || way >= 2, "sleeper %u: %d, cancelled by us: %d", i, rc, asked[i]);
        weft_release(t[i]);
    }
    return 0;
}

static void timers(struct round *r)
{
    struct clocks c = {
        .seed = r->seed, .sleepers = 1 + rng_below(&r->rng, SLEEPERS), .disturb = rng_chance(&r->rng, 70)};
    int rc = stress_run(r, timers_body, &c);
    CHECK(rc == 0, "the run: %d", rc);
}

/* ---- wakes ------------------------------------------------------------------------------------------------------- */

#define RING 16
#define RINGS 6

struct ring {
    weft_semaphore place[RING];
    unsigned size, hops, tokens;
    _Atomic(uint32_t) done;
    uint32_t gaps; /* per cent of the hops before which the holder sleeps */
    uint64_t seed;
    /* The last place may be a thread outside the runtime. */
    bool foreign;
    sem_t outside;
};

struct hopper {
    WEFT_FRAME;
    struct ring *ring;
    unsigned place;
};

/* Each place passes on every token `hops` times. */
static void pass_on(struct ring *ring, unsigned place)
{
    unsigned next = (place + 1) % ring->size;
    if (ring->foreign && next == ring->size - 1) {
        CHECK(sem_post(&ring->outside) == 0, "sem_post: errno %d", errno);
    } else {
        int rc = weft_semaphore_release(&ring->place[next]);
        CHECK(rc == 0, "release: %d", rc);
    }
    atomic_fetch_add(&ring->done, 1);
    stress_progress(1);
}

static int hopper(struct hopper *f)
{
    struct ring *ring = f->ring;
    struct rng r = rng_make(ring->seed, 100 + f->place);
    for (unsigned i = 0; i < ring->hops * ring->tokens; i++) {
        int rc = weft_semaphore_acquire(&ring->place[f->place]);
        CHECK(rc == 0, "acquire: %d", rc);
        if (rng_chance(&r, ring->gaps))
            (void)weft_sleep(WEFT_US(rng_below(&r, 3001)));
        pass_on(ring, f->place);
    }
    return 0;
}
WEFT_CORO(hopper);

static void *hop_outside(void *arg)
{
    struct ring *ring = arg;
    struct rng r = rng_make(ring->seed, 99);
    for (unsigned i = 0; i < ring->hops * ring->tokens; i++) {
        while (sem_wait(&ring->outside) != 0)
            ;
        if (rng_chance(&r, ring->gaps))
            usleep(rng_below(&r, 3001));
        pass_on(ring, ring->size - 1);
    }
    return NULL;
}

struct storm {
    struct ring rings[RINGS];
    unsigned n;
};

static int storm_body(void *arg)
{
    struct storm *s = arg;
    weft_group g;
    int rc = weft_group_begin(&g);
    CHECK(rc == 0, "group_begin: %d", rc);
    for (unsigned k = 0; k < s->n; k++) {
        struct ring *ring = &s->rings[k];
        for (unsigned i = 0; i < ring->size - (ring->foreign ? 1 : 0) && rc == 0; i++)
            rc = weft_group_start(&g, hopper, .ring = ring, .place = i);
        for (unsigned i = 0; i < ring->tokens && rc == 0; i++)
            rc = weft_semaphore_release(&ring->place[0]);
    }
    return weft_group_join(&g, rc);
}

static void wakes(struct round *r)
{
    struct storm *s = stress_alloc(1, sizeof *s);
    pthread_t threads[RINGS];
    s->n = 1 + rng_below(&r->rng, RINGS);
    bool lone = rng_chance(&r->rng, 40); /* one token and nothing else, so that every hop may find all parked */
    if (lone)
        s->n = 1;
    for (unsigned k = 0; k < s->n; k++) {
        struct ring *ring = &s->rings[k];
        ring->size = 2 + rng_below(&r->rng, RING - 1);
        ring->seed = rng_next(&r->rng);
        ring->tokens = lone ? 1 : 1 + rng_below(&r->rng, 4);
        ring->gaps = rng_chance(&r->rng, 30) ? 0 : rng_below(&r->rng, 30);
        ring->hops = ring->gaps == 0 ? 200 : 20;
        ring->foreign = rng_chance(&r->rng, 50);
        for (unsigned i = 0; i < ring->size; i++)
            (void)weft_semaphore_init(&ring->place[i], 0);
        sem_init(&ring->outside, 0, 0);
        ring->foreign = ring->foreign && pthread_create(&threads[k], NULL, hop_outside, ring) == 0;
    }
    int rc = stress_run(r, storm_body, s);
    CHECK(rc == 0, "the run: %d", rc);
    for (unsigned k = 0; k < s->n; k++) {
        struct ring *ring = &s->rings[k];
        if (ring->foreign)
            pthread_join(threads[k], NULL);
        uint32_t all = ring->size * ring->hops * ring->tokens, done = atomic_load(&ring->done);
        CHECK(done == all, "%u hops of %u", done, all);
        sem_destroy(&ring->outside);
    }
    free(s);
}

const struct stressor time_stressors[] = {
    {"timers", "timers against cancels", timers},
    {"wakes", "park and wake storms with idle gaps; a lost wake is a hang", wakes},
    {NULL, NULL, NULL},
};
