/* SPDX-License-Identifier: Apache-2.0 */
/* stress/waits.c -- trees of gather, wait, wait_for, shield, groups and time limits whose leaves fail at random, and
 * whose roots are cancelled at random. Each node checks what its own call promises; whatever began has ended after
 * the run. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>

#include "stress.h"

#define CHILDREN 4
#define ROOTS 12

struct tally {
    _Atomic(uint64_t) begun, ended;
};

struct node {
    WEFT_FRAME;
    struct tally *tally;
    _Atomic(int) *inside; /* how many of the parent's group run; NULL: not in a group */
    uint64_t seed;
    int depth;
};
static int node(struct node *f);
WEFT_CORO(node);

static size_t create_children(struct node *f, struct rng *r, weft_task *out[CHILDREN])
{
    size_t n = 1 + rng_below(r, CHILDREN);
    for (size_t i = 0; i < n; i++)
        out[i] = weft_create_task(node, .tally = f->tally, .seed = rng_next(r), .depth = f->depth - 1);
    return n;
}

static void release_all(weft_task *const t[], size_t n)
{
    for (size_t i = 0; i < n; i++)
        weft_release(t[i]);
}

static int count_done(weft_task *const t[], size_t n, int *bad)
{
    int done = 0;
    *bad = 0;
    for (size_t i = 0; i < n; i++) {
        done += weft_done(t[i]);
        *bad += weft_done(t[i]) && weft_status(t[i]) < 0;
    }
    return done;
}

static int by_gather(struct node *f, struct rng *r)
{
    weft_task *t[CHILDREN];
    size_t n = create_children(f, r, t);
    int bad, rc = weft_gather_n(t, n);
    int done = count_done(t, n, &bad);
    CHECK(rc <= 0, "gather: %d", rc);
    CHECK(rc != 0 || (done == (int)n && bad == 0), "gather 0: %d of %zu ended, %d badly", done, n, bad);
    bool found = rc == 0 || rc == -ECANCELED;
    for (size_t i = 0; i < n; i++)
        found = found || weft_status(t[i]) == rc;
    CHECK(found, "gather %d: no child ended so", rc);
    release_all(t, n);
    return rc;
}

static int by_settled(struct node *f, struct rng *r)
{
    weft_task *t[CHILDREN];
    size_t n = create_children(f, r, t);
    int bad, rc = weft_gather_settled_n(t, n);
    int done = count_done(t, n, &bad);
    CHECK(done == (int)n, "settled: only %d of %zu ended (%d)", done, n, rc);
    CHECK(rc == bad || rc == -ECANCELED, "settled: %d, but %d ended badly", rc, bad);
    release_all(t, n);
    return rc < 0 ? rc : 0;
}

static int by_wait(struct node *f, struct rng *r)
{
    static const enum weft_return_when whens[] = {WEFT_ALL_COMPLETED, WEFT_FIRST_COMPLETED, WEFT_FIRST_EXCEPTION};
    weft_task *t[CHILDREN];
    size_t n = create_children(f, r, t);
    enum weft_return_when when = whens[rng_below(r, 3)];
    weft_ns limit = rng_chance(r, 50) ? WEFT_FOREVER : WEFT_US(rng_below(r, 300));
    int bad, rc = weft_wait(t, n, when, limit);
    int done = count_done(t, n, &bad);
    CHECK(rc == -ECANCELED || (rc >= 0 && rc <= done), "wait: %d, %d of %zu ended", rc, done, n);
    if (rc >= 0 && limit == WEFT_FOREVER) {
        CHECK(when != WEFT_ALL_COMPLETED || rc == (int)n, "wait for all: %d of %zu", rc, n);
        CHECK(when != WEFT_FIRST_COMPLETED || rc >= 1, "wait for the first: %d of %zu", rc, n);
        CHECK(when != WEFT_FIRST_EXCEPTION || rc == (int)n || bad > 0, "wait for an error: %d of %zu", rc, n);
    }
    for (size_t i = 0; i < n && rng_chance(r, 50); i++)
        (void)weft_cancel(t[i]);
    release_all(t, n);
    return rc < 0 ? rc : 0;
}

static int by_await(struct node *f, struct rng *r)
{
    weft_task *t[CHILDREN];
    size_t n = create_children(f, r, t);
    int rc = 0;
    for (size_t i = 0; i < n && rc != -ECANCELED; i++) {
        rc = weft_await(t[i]);
        CHECK(weft_done(t[i]), "awaited and not ended (%d)", rc);
        CHECK(rc == weft_status(t[i]) || rc == -ECANCELED, "await %d, status %d", rc, weft_status(t[i]));
    }
    release_all(t, n);
    return rc;
}

static int by_wait_for(struct node *f, struct rng *r)
{
    weft_task *t = weft_create_task(node, .tally = f->tally, .seed = rng_next(r), .depth = f->depth - 1);
    weft_ns limit = rng_chance(r, 10) ? 0 : WEFT_US(1 + rng_below(r, 500));
    int rc = weft_wait_for(t, limit), status = weft_status(t);
    /* Without time it only cancels and waits: whoever is cancelled in that goes on at once, as in asyncio. */
    CHECK(weft_done(t) || (rc == -ECANCELED && limit == 0), "wait_for %d: not ended", rc);
    /* A child that ended just before the time was up keeps its outcome: asyncio's rule for cancel against
     * completion. */
    CHECK(rc == status || rc == -ECANCELED || rc == -ETIMEDOUT, "wait_for %d, status %d", rc, status);
    weft_release(t);
    return rc == -ETIMEDOUT ? 0 : rc;
}

static int by_shield(struct node *f, struct rng *r)
{
    weft_task *t = weft_create_task(node, .tally = f->tally, .seed = rng_next(r), .depth = f->depth - 1);
    int rc = weft_shield(t), status = weft_status(t);
    CHECK(rc == status || rc == -ECANCELED, "shield %d, status %d", rc, status);
    weft_release(t);
    return rc;
}

static int by_group(struct node *f, struct rng *r)
{
    _Atomic(int) inside = 0;
    weft_group g;
    int rc = weft_group_begin(&g);
    CHECK(rc == 0, "group_begin: %d", rc);
    for (size_t n = rng_below(r, CHILDREN + 1); n > 0 && rc == 0; n--) {
        rc = weft_group_start(&g, node, .tally = f->tally, .inside = &inside, .seed = rng_next(r),
                              .depth = f->depth - 1);
        if (rc == -ESHUTDOWN)
            rc = 0;
        if (rc == 0 && rng_chance(r, 30))
            rc = stress_pause(r, 100);
    }
    if (rng_chance(r, 10))
        weft_group_cancel(&g);
    if (rc == 0 && rng_chance(r, 10))
        rc = -EPROTO;
    rc = weft_group_join(&g, rc);
    CHECK(atomic_load(&inside) == 0, "%d tasks of a joined group still run", atomic_load(&inside));
    return rc;
}

static int by_timeout(struct node *f, struct rng *r)
{
    weft_timeout limit;
    int rc = weft_timeout_begin(&limit, WEFT_US(rng_below(r, 400)));
    CHECK(rc == 0, "timeout_begin: %d", rc);
    struct node inner = {.tally = f->tally, .seed = rng_next(r), .depth = f->depth - 1};
    rc = node(&inner);
    if (rng_chance(r, 20))
        (void)weft_timeout_reschedule(&limit, WEFT_US(rng_below(r, 400)));
    bool expired = weft_timeout_expired(&limit);
    int end = weft_timeout_end(&limit, rc);
    /* It may still expire between the two calls. */
    CHECK(end == rc || (end == -ETIMEDOUT && rc == -ECANCELED), "timeout_end: %d for %d (expired: %d)", end, rc,
          expired);
    return end == -ETIMEDOUT ? 0 : end;
}

static int by_fork(struct node *f, struct rng *r)
{
    struct node a = {.tally = f->tally, .seed = rng_next(r), .depth = f->depth - 1};
    struct node b = {.tally = f->tally, .seed = rng_next(r), .depth = f->depth - 1};
    weft_child child;
    weft_fork(&child, node, &a);
    int rb = node(&b), ra = weft_join(&child);
    return ra < 0 ? ra : rb;
}

static int leaf(struct rng *r)
{
    int rc = 0;
    for (uint32_t n = rng_below(r, 3); n > 0 && rc == 0; n--)
        rc = stress_pause(r, 300);
    if (rc != 0 && rng_chance(r, 20))
        return stress_pause(r, 100) == 0 ? 3 : -EIO; /* swallowed, or turned into an error */
    uint32_t fate = rng_below(r, 100);
    return rc != 0 ? rc : fate < 5 ? -EIO : fate < 8 ? -ECANCELED : (int)(fate % 2);
}

static int node(struct node *f)
{
    static int (*const ways[])(struct node *, struct rng *) = {by_gather, by_settled, by_wait,    by_await, by_wait_for,
                                                               by_shield, by_group,   by_timeout, by_fork};
    atomic_fetch_add(&f->tally->begun, 1);
    if (f->inside != NULL)
        atomic_fetch_add(f->inside, 1);
    struct rng r = rng_make(f->seed, 7);
    int rc = f->depth == 0 ? leaf(&r) : ways[rng_below(&r, sizeof ways / sizeof *ways)](f, &r);
    stress_progress(1);
    if (f->inside != NULL)
        atomic_fetch_sub(f->inside, 1);
    atomic_fetch_add(&f->tally->ended, 1);
    return rc;
}

struct trees {
    uint64_t seed;
    struct tally tally;
    bool disturb;
};

static int trees_body(void *arg)
{
    struct trees *trees = arg;
    struct rng r = rng_make(trees->seed, 1);
    weft_task *roots[ROOTS];
    size_t n = 1 + rng_below(&r, ROOTS);
    for (size_t i = 0; i < n; i++)
        roots[i] = weft_create_task(node, .tally = &trees->tally, .seed = rng_next(&r), .depth = (int)rng_below(&r, 5));
    for (int i = 0; trees->disturb && i < 30; i++) {
        (void)weft_sleep(WEFT_US(rng_below(&r, 150)));
        (void)weft_cancel(roots[rng_below(&r, (uint32_t)n)]);
    }
    int bad, rc = weft_gather_settled_n(roots, n);
    CHECK(count_done(roots, n, &bad) == (int)n && rc == bad, "roots: %d, %d bad", rc, bad);
    release_all(roots, n);
    return 0;
}

static void trees(struct round *r)
{
    struct trees t = {.seed = r->seed, .disturb = rng_chance(&r->rng, 60)};
    int rc = stress_run(r, trees_body, &t);
    CHECK(rc == 0, "the run: %d", rc);
    uint64_t begun = atomic_load(&t.tally.begun), ended = atomic_load(&t.tally.ended);
    CHECK(begun == ended, "%llu nodes began, %llu ended", (unsigned long long)begun, (unsigned long long)ended);
}

const struct stressor wait_stressors[] = {
    {"trees", "gather, wait, wait_for, shield, groups, time limits, nested, with random failures", trees},
    {NULL, NULL, NULL},
};
