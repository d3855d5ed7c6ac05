/* SPDX-License-Identifier: Apache-2.0 */
/* stress/raids.c -- owners that fork, create, wake and yield, and now and then compute for longer than thieves wait, so that what they keep
 * closed is raided just while they go on. Some are cancelled. Invariants: each piece runs at most once, and exactly once where nobody cancels;
 * no fiber is run twice at once; what an owner waits for has ended when the wait does. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "stress.h"

#define PIECES 24

struct raided {
    uint64_t seed;
    bool disturb;
    unsigned owners, steps;
};

struct piece {
    WEFT_FRAME;
    uint64_t seed;
    int depth;
    bool disturb;
    _Atomic(uint32_t) *ran;
    _Atomic(uint32_t) own;
};

/* Nothing that weft could see. */
static void compute(struct rng *r)
{
    static const uint32_t lengths[] = {0, 1, 5, 40, 70, 120, 400};
    uint32_t us = rng_below(r, lengths[rng_below(r, 7)] + 1);
    struct timespec begin, now;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    do
        clock_gettime(CLOCK_MONOTONIC, &now);
    while ((now.tv_sec - begin.tv_sec) * 1000000 + (now.tv_nsec - begin.tv_nsec) / 1000 < (int64_t)us);
}

static int piece(struct piece *f);
WEFT_CORO(piece);

/* Several kinds of work lie open, closed, and half joined at once. */
static int spread(struct piece *f, struct rng *r)
{
    enum { MOST = PIECES };
    struct piece frames[MOST];
    weft_child children[MOST];
    weft_task *tasks[MOST];
    _Atomic(uint32_t) ran[2 * MOST] = {0};
    uint32_t forks = rng_below(r, MOST + 1), creates = rng_below(r, MOST + 1);
    int rc = 0;
    for (uint32_t i = 0, c = 0; i < forks || c < creates;) {
        if (i < forks && (c == creates || rng_chance(r, 50))) {
            frames[i] =
                (struct piece){.seed = rng_next(r), .depth = f->depth - 1, .disturb = f->disturb, .ran = &ran[i]};
            weft_fork(&children[i], piece, &frames[i]);
            i++;
        } else {
            tasks[c] = weft_create_task(piece, .seed = rng_next(r), .depth = f->depth - 1, .disturb = f->disturb,
                                        .ran = &ran[MOST + c]);
            c++;
        }
        if (rng_chance(r, 10))
            compute(r);
        if (rng_chance(r, 4) && stress_pause(r, 50) != 0)
            rc = -ECANCELED;
    }
    compute(r);
    for (uint32_t i = forks; i-- > 0;) {
        int child = weft_join(&children[i]);
        CHECK(child == 0 || f->disturb, "join: %d though nobody cancelled", child);
        CHECK(atomic_load(&ran[i]) == 1 || (child == -ECANCELED && atomic_load(&ran[i]) == 0), "a child ran %u times",
              atomic_load(&ran[i]));
        rc = child != 0 ? child : rc;
        if (rng_chance(r, 10))
            compute(r);
    }
    uint32_t begin = rng_below(r, creates + 1);
    for (uint32_t i = 0; i < creates; i++) {
        uint32_t at = (begin + i) % creates;
        while (!weft_done(tasks[at])) {
            int task = weft_await(tasks[at]);
            CHECK(task == 0 || f->disturb, "await: %d though nobody cancelled", task);
            rc = task != 0 ? task : rc;
        }
        CHECK(atomic_load(&ran[MOST + at]) <= 1, "a task ran %u times", atomic_load(&ran[MOST + at]));
        CHECK(atomic_load(&ran[MOST + at]) == 1 || f->disturb, "a task did not run");
        weft_release(tasks[at]);
    }
    return rc;
}

static int piece(struct piece *f)
{
    atomic_fetch_add(f->ran, 1);
    struct rng r = rng_make(f->seed, 5);
    if (f->depth > 0 && rng_chance(&r, 12))
        return spread(f, &r);
    volatile uint64_t kept = f->seed;
    int rc = 0;
    for (uint32_t turns = rng_chance(&r, 30) ? rng_below(&r, 12) : 0; turns > 0 && rc == 0; turns--) {
        CHECK(atomic_exchange(&f->own, 1) == 0, "run twice at once");
        if (rng_chance(&r, 5))
            compute(&r);
        CHECK(atomic_exchange(&f->own, 0) == 1, "run twice at once");
        rc = weft_yield();
        CHECK(kept == f->seed, "its stack is not its own");
    }
    stress_progress(1);
    return rc;
}

struct owner {
    WEFT_FRAME;
    uint64_t seed;
    const struct raided *all;
};
static int owner(struct owner *f)
{
    struct rng r = rng_make(f->seed, 6);
    int rc = 0;
    for (unsigned i = 0; i < f->all->steps && rc == 0; i++) {
        _Atomic(uint32_t) ran = 0;
        struct piece p = {.seed = rng_next(&r), .depth = 3, .disturb = f->all->disturb, .ran = &ran};
        rc = spread(&p, &r);
    }
    return rc;
}
WEFT_CORO(owner);

static int raided_body(void *arg)
{
    const struct raided *all = arg;
    struct rng r = rng_make(all->seed, 7);
    weft_task *owners[8];
    for (unsigned i = 0; i < all->owners; i++)
        owners[i] = weft_create_task(owner, .seed = rng_next(&r), .all = all);
    for (int i = 0; all->disturb && i < 5; i++) {
        (void)stress_pause(&r, 2000);
        (void)weft_cancel(owners[rng_below(&r, all->owners)]);
    }
    for (unsigned i = 0; i < all->owners; i++) {
        int rc = weft_await_release(owners[i]);
        CHECK(rc == 0 || (rc == -ECANCELED && all->disturb), "owner: %d", rc);
    }
    return 0;
}

static void raids(struct round *r)
{
    struct raided all = {.seed = r->seed, .disturb = rng_chance(&r->rng, 30)};
    all.owners = 1 + rng_below(&r->rng, 4);
    all.steps = 1 + rng_below(&r->rng, 20);
    int rc = stress_run_with(r, WEFT_OPTIONS(.stack_size = (size_t)64 * 1024), raided_body, &all);
    CHECK(rc == 0, "the run: %d", rc);
}

const struct stressor raid_stressors[] = {
    {"raids", "long steps over all kinds of closed work, which thieves come for", raids},
    {NULL, NULL, NULL},
};
