/* SPDX-License-Identifier: Apache-2.0 */
/* stress/gatherings.c -- random trees of gather and shield futures over tasks and futures, any node of which is cancelled at any moment.
 *
 * Invariants: when all leaves have ended every node ends, once (its done callback runs once); a gather that ended well has only children that
 * did; one that collects exceptions has only children that ended; an error it ended with is a child's, unless it was cancelled; a shield has its
 * inner's outcome or was cancelled, and its cancellation leaves the inner alone. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>

#include "stress.h"

#define LEAVES 24
#define NODES 64
#define WIDTH 5
#define WAITERS 12

enum form { FUTURE, TASK, GATHER, COLLECT, SHIELD };

struct node {
    enum form form;
    unsigned children;
    unsigned child[WIDTH];
    weft_task *t;
    _Atomic(uint32_t) ends;
};

struct grove {
    uint64_t seed;
    unsigned leaves, nodes, waiters; /* nodes: leaves and all */
    struct node node[NODES];
    _Atomic(uint64_t) begun, ended;
};

struct leaf {
    WEFT_FRAME;
    struct grove *grove;
    uint64_t seed;
};
static int leaf(struct leaf *f)
{
    struct rng r = rng_make(f->seed, 3);
    int rc = 0;
    atomic_fetch_add(&f->grove->begun, 1);
    for (uint32_t i = rng_below(&r, 5); i > 0 && rc == 0; i--)
        rc = stress_pause(&r, 200);
    if (rc < 0 && rng_chance(&r, 30))
        rc = stress_pause(&r, 100) == 0 && rng_chance(&r, 50) ? 4 : -EIO; /* swallowed, or turned into an error */
    atomic_fetch_add(&f->grove->ended, 1);
    stress_progress(1);
    return rc != 0 ? rc : rng_chance(&r, 15) ? -EPROTO : 2;
}
WEFT_CORO(leaf);

struct ended {
    WEFT_FRAME;
    struct node *node;
};
static int ended(struct ended *f)
{
    atomic_fetch_add(&f->node->ends, 1);
    return 0;
}
WEFT_CORO(ended);

static void plant(struct grove *g, unsigned i, struct rng *r)
{
    struct node *n = &g->node[i];
    if (i < g->leaves) {
        n->form = rng_chance(r, 50) ? FUTURE : TASK;
        n->t = n->form == FUTURE ? weft_future_create() : weft_create_task(leaf, .grove = g, .seed = rng_next(r));
    } else {
        weft_task *child[WIDTH];
        n->form = GATHER + rng_below(r, 3);
        n->children = n->form == SHIELD ? 1 : rng_below(r, WIDTH + 1);
        for (unsigned k = 0; k < n->children; k++) {
            n->child[k] = rng_below(r, i); /* also one that another node has, or the same twice */
            child[k] = g->node[n->child[k]].t;
        }
        n->t = n->form == SHIELD ? weft_shield_future(child[0])
                                 : weft_gather_future(child, n->children, n->form == COLLECT);
    }
    CHECK(n->t != NULL, "no %s", "memory");
    weft_release(weft_add_done_callback(n->t, ended, .node = n));
}

struct waiter {
    WEFT_FRAME;
    struct grove *grove;
    uint64_t seed;
};
static int waiter(struct waiter *f)
{
    struct grove *g = f->grove;
    struct rng r = rng_make(f->seed, 5);
    weft_task *t = g->node[rng_below(&r, g->nodes)].t;
    (void)stress_pause(&r, 200);
    switch (rng_below(&r, 4)) {
    case 0:
        return weft_wait_for(t, WEFT_US(rng_below(&r, 400))) == -ECANCELED ? -ECANCELED : 0;
    case 1: {
        weft_task *two[] = {t, g->node[rng_below(&r, g->nodes)].t};
        int rc = weft_gather_n(two, 2);
        CHECK(rc != 0 || (weft_done(two[0]) && weft_done(two[1])), "gather %d: not all ended", rc);
        return 0;
    }
    case 2:
        (void)weft_shield(t);
        return 0;
    default: {
        int rc = weft_await(t);
        CHECK(weft_done(t) || rc == -ECANCELED, "awaited (%d), not ended", rc);
        CHECK(rc == -ECANCELED || rc == weft_status(t), "await: %d, status %d", rc, weft_status(t));
        return 0;
    }
    }
}
WEFT_CORO(waiter);

static void disturb(struct grove *g, struct rng *r)
{
    struct node *n = &g->node[rng_below(r, g->nodes)];
    if (rng_chance(r, 50)) {
        bool was_done = weft_done(n->t), taken = weft_cancel(n->t);
        CHECK(!was_done || !taken, "form %d: ended, and took a cancel", (int)n->form);
    } else if (n->form == FUTURE) {
        int rc = rng_chance(r, 70) ? weft_future_set_result(n->t, 2) : weft_future_set_error(n->t, -EPROTO);
        CHECK(rc == 0 || rc == -EALREADY, "set: %d", rc);
    }
}

/* When everything has ended. */
static void judge(struct grove *g, unsigned i)
{
    struct node *n = &g->node[i];
    int status = weft_status(n->t);
    bool found = n->children == 0 || status == -ECANCELED, well = true;
    CHECK(weft_done(n->t), "node %u (form %d) has not ended", i, (int)n->form);
    for (unsigned k = 0; k < n->children; k++) {
        int rc = weft_status(g->node[n->child[k]].t);
        well = well && rc >= 0;
        found = found || rc == status;
    }
    if (n->form == GATHER) {
        CHECK(status != 0 || well, "node %u: 0, but a child failed", i);
        CHECK(status == 0 || found, "node %u: %d is no child's", i, status);
        CHECK(status <= 0, "node %u: %d", i, status);
    } else if (n->form == COLLECT) {
        CHECK(status == 0 || status == -ECANCELED, "node %u: %d", i, status);
    } else if (n->form == SHIELD) {
        CHECK(found, "node %u: shields another outcome than %d", i, status);
    }
}

static bool all_told(struct grove *g)
{
    for (unsigned i = 0; i < g->nodes; i++)
        if (atomic_load(&g->node[i].ends) == 0)
            return false;
    return true;
}

static int grove_body(void *arg)
{
    struct grove *g = arg;
    struct rng r = rng_make(g->seed, 1);
    weft_task *t[WAITERS];
    for (unsigned i = 0; i < g->nodes; i++) {
        plant(g, i, &r);
        if (rng_chance(&r, 10))
            (void)stress_pause(&r, 50);
    }
    for (unsigned i = 0; i < g->waiters; i++)
        t[i] = weft_create_task(waiter, .grove = g, .seed = rng_next(&r));
    for (uint32_t i = rng_below(&r, 40); i > 0; i--) {
        disturb(g, &r);
        if (rng_chance(&r, 20) && g->waiters > 0)
            (void)weft_cancel(t[rng_below(&r, g->waiters)]);
        (void)stress_pause(&r, 100);
    }
    for (unsigned i = 0; i < g->leaves; i++) {
        (void)weft_future_set_result(g->node[i].t, 2); /* refused by tasks */
        (void)weft_shield(g->node[i].t);
    }
    int rc = weft_gather_settled_n(t, g->waiters);
    CHECK(rc >= 0, "waiters: %d", rc);
    for (unsigned i = 0; i < g->waiters; i++)
        weft_release(t[i]);
    while (!all_told(g) && !stress_failed())
        (void)weft_sleep(WEFT_US(50));
    (void)weft_sleep(WEFT_US(50)); /* one that is told twice would be by now */
    return 0;
}

static void groves(struct round *r)
{
    struct grove *g = stress_alloc(1, sizeof *g);
    g->seed = r->seed;
    g->leaves = 1 + rng_below(&r->rng, LEAVES);
    g->nodes = g->leaves + rng_below(&r->rng, NODES - LEAVES);
    g->waiters = rng_below(&r->rng, WAITERS + 1);
    unsigned sched = rng_chance(&r->rng, 15) ? WEFT_SCHED_SEEDED : WEFT_SCHED_DEFAULT;
    int rc = stress_run_with(r, WEFT_OPTIONS(.sched = sched), grove_body, g);
    CHECK(rc == 0, "the run: %d", rc);
    uint64_t begun = atomic_load(&g->begun), finished = atomic_load(&g->ended);
    CHECK(begun == finished, "%llu leaves began, %llu ended", (unsigned long long)begun, (unsigned long long)finished);
    for (unsigned i = 0; i < g->nodes; i++) {
        uint32_t ends = atomic_load(&g->node[i].ends);
        CHECK(ends == 1, "node %u ended %u times", i, ends);
        judge(g, i);
    }
    for (unsigned i = 0; i < g->nodes; i++)
        weft_release(g->node[i].t);
    free(g);
}

const struct stressor gathering_stressors[] = {
    {"gather-future", "trees of gather and shield futures, cancelled anywhere at any moment", groves},
    {NULL, NULL, NULL},
};
