/* SPDX-License-Identifier: Apache-2.0 */
/* stress/joins.c -- trees of weft_fork and weft_join whose nodes suspend at random, with cancels at the root.
 * Invariants: without cancels the sum is exact; each child is run at most once and has ended when its join returns; one
 * that did not run joins with -ECANCELED, and then its root was cancelled. */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "stress.h"

#define ROOTS 8
#define BRANCHES 3

struct forest {
    uint64_t seed;
    bool disturb;
    uint32_t pauses; /* per cent of the nodes that suspend */
    uint64_t roots;
    int depth;
};

struct branch {
    WEFT_FRAME;
    const struct forest *forest;
    uint64_t seed;
    int depth;
    _Atomic(uint32_t) begun, ended;
    uint64_t sum; /* result */
};

/* What a tree adds up to: the same walk without weft. */
static uint64_t expected(uint64_t seed, int depth)
{
    struct rng r = rng_make(seed, 3);
    uint64_t sum = rng_below(&r, 1000);
    for (uint32_t n = depth > 0 ? rng_below(&r, BRANCHES + 1) : 0; n > 0; n--)
        sum += expected(rng_next(&r), depth - 1);
    return sum;
}

static int branch(struct branch *f);
WEFT_CORO(branch);

static int branch(struct branch *f)
{
    atomic_fetch_add(&f->begun, 1);
    struct rng r = rng_make(f->seed, 3), moods = rng_make(f->seed, 4);
    f->sum = rng_below(&r, 1000);
    struct branch frames[BRANCHES];
    weft_child children[BRANCHES];
    uint32_t n = f->depth > 0 ? rng_below(&r, BRANCHES + 1) : 0;
    int rc = 0;
    for (uint32_t i = 0; i < n; i++) {
        frames[i] = (struct branch){.forest = f->forest, .seed = rng_next(&r), .depth = f->depth - 1};
        weft_fork(&children[i], branch, &frames[i]);
        if (rng_chance(&moods, f->forest->pauses) && stress_pause(&moods, 200) != 0)
            rc = -ECANCELED;
    }
    if (n == 0 && rng_chance(&moods, f->forest->pauses))
        rc = stress_pause(&moods, 200);
    for (uint32_t i = n; i-- > 0;) {
        int child = weft_join(&children[i]);
        uint32_t begun = atomic_load(&frames[i].begun), ended = atomic_load(&frames[i].ended);
        CHECK(begun == ended && begun <= 1, "joined: begun %u times, ended %u times", begun, ended);
        CHECK(begun == 1 || child == -ECANCELED, "did not run, joined with %d", child);
        CHECK(child == 0 || f->forest->disturb, "join: %d though nobody cancelled", child);
        rc = child != 0 ? child : rc;
        f->sum += frames[i].sum;
    }
    stress_progress(1);
    atomic_fetch_add(&f->ended, 1);
    return rc;
}

static int forest_body(void *arg)
{
    struct forest *forest = arg;
    struct rng r = rng_make(forest->seed, 1);
    weft_task *roots[ROOTS];
    uint64_t seeds[ROOTS];
    for (size_t i = 0; i < forest->roots; i++) {
        seeds[i] = rng_next(&r);
        roots[i] = weft_create_task(branch, .forest = forest, .seed = seeds[i], .depth = forest->depth);
    }
    for (int i = 0; forest->disturb && i < 20; i++) {
        (void)stress_pause(&r, 100);
        (void)weft_cancel(roots[rng_below(&r, (uint32_t)forest->roots)]);
    }
    for (size_t i = 0; i < forest->roots; i++) {
        int rc = weft_await(roots[i]);
        if (rc == 0) {
            uint64_t sum = weft_result(branch, roots[i])->sum, right = expected(seeds[i], forest->depth);
            CHECK(sum == right, "the sum is %" PRIu64 ", not %" PRIu64, sum, right);
        }
        CHECK(rc == 0 || (rc == -ECANCELED && forest->disturb), "root: %d", rc);
        weft_release(roots[i]);
    }
    return 0;
}

static void forests(struct round *r)
{
    struct forest forest = {.seed = r->seed, .disturb = rng_chance(&r->rng, 50)};
    forest.pauses = rng_chance(&r->rng, 30) ? 0 : rng_below(&r->rng, 40);
    forest.roots = 1 + rng_below(&r->rng, ROOTS);
    forest.depth = 3 + (int)rng_below(&r->rng, 6);
    /* A node's frame holds its children's, and one runs on another's stack. */
    int rc = stress_run_with(r, WEFT_OPTIONS(.stack_size = (size_t)64 * 1024), forest_body, &forest);
    CHECK(rc == 0, "the run: %d", rc);
}

const struct stressor join_stressors[] = {
    {"fork-join", "fork-join trees with random suspensions, and cancels at the root", forests},
    {NULL, NULL, NULL},
};
