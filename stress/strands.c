/* SPDX-License-Identifier: Apache-2.0 */
/* stress/strands.c -- tasks of several strands that do everything a task may do, and are cancelled at random. What a strand guards is plain
 * memory: two in it at the same time, or a count that another did not see, is a failure (and a data race for thread sanitizer). */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>

#include "stress.h"

#define STRANDS 6
#define ROOTS 40
#define LINES 64 /* bytes between what different strands guard */

struct yard {
    weft_strand *strand;
    volatile int inside;       /* guarded by the strand, as count */
    uint64_t count;            /* of the visits */
    _Atomic(uint64_t) visited; /* the same, counted safely */
    char space[LINES];
};

struct village {
    uint64_t seed;
    unsigned strands, roots;
    bool disturb, leave;
    weft_lock lock;
    weft_semaphore semaphore;
    _Atomic(uint64_t) begun, ended;
    struct yard yards[STRANDS];
};

static void visit(struct yard *y, struct rng *r)
{
    int others = y->inside;
    y->inside = others + 1;
    CHECK(others == 0, "%d other tasks of the strand run now", others);
    for (volatile uint32_t i = rng_below(r, 30); i > 0; i--)
        ;
    y->count++;
    y->inside = others;
    atomic_fetch_add(&y->visited, 1);
}

struct villager {
    WEFT_FRAME;
    struct village *village;
    uint64_t seed;
    int depth;
    unsigned yard; /* STRANDS: without one */
};
static int villager(struct villager *f);
WEFT_CORO(villager);

static weft_task *send(struct villager *f, struct rng *r, unsigned yard)
{
    struct village *v = f->village;
    weft_task_options options = {.size = sizeof options, .eager = rng_chance(r, 10)};
    if (yard < STRANDS)
        options.strand = v->yards[yard].strand;
    return weft_create_task_with(&options, villager, .village = v, .seed = rng_next(r), .depth = f->depth - 1,
                                 .yard = yard);
}

static unsigned any_yard(struct villager *f, struct rng *r)
{
    if (rng_chance(r, 40))
        return f->yard; /* run inside the await where that may be */
    return rng_chance(r, 20) ? STRANDS : rng_below(r, f->village->strands);
}

static int by_await(struct villager *f, struct rng *r)
{
    weft_task *t = send(f, r, any_yard(f, r));
    if (rng_chance(r, 30))
        (void)weft_cancel(t);
    int rc = rng_chance(r, 20) ? weft_wait_for(t, WEFT_US(rng_below(r, 300))) : weft_await(t);
    CHECK(weft_done(t) || rc == -ECANCELED, "awaited (%d), not ended", rc);
    weft_release(t);
    return weft_cancelling(weft_current_task()) > 0 ? rc : 0;
}

static int by_gather(struct villager *f, struct rng *r)
{
    weft_task *t[4];
    size_t n = 1 + rng_below(r, 4);
    for (size_t i = 0; i < n; i++)
        t[i] = send(f, r, any_yard(f, r));
    int rc = weft_gather_settled_n(t, n);
    for (size_t i = 0; i < n; i++) {
        CHECK(weft_done(t[i]), "settled (%d), one not ended", rc);
        weft_release(t[i]);
    }
    return rc < 0 ? rc : 0;
}

/* The child is no member: it runs beside the strand. */
static int by_fork(struct villager *f, struct rng *r)
{
    struct villager child = {.village = f->village, .seed = rng_next(r), .depth = f->depth - 1, .yard = STRANDS};
    weft_child handle;
    weft_fork(&handle, villager, &child);
    int rc = stress_pause(r, 100), rj = weft_join(&handle);
    return rc < 0 ? rc : rj;
}

static int by_lock(struct villager *f, struct rng *r)
{
    int rc = weft_lock_acquire(&f->village->lock);
    if (rc < 0)
        return rc;
    rc = stress_pause(r, 20);
    int released = weft_lock_release(&f->village->lock);
    CHECK(released == 0, "release: %d", released);
    return rc;
}

static int by_semaphore(struct villager *f, struct rng *r)
{
    weft_timeout limit;
    int rc = weft_timeout_begin(&limit, WEFT_US(rng_below(r, 200)));
    if (rc == 0 && (rc = weft_semaphore_acquire(&f->village->semaphore)) == 0) {
        rc = stress_pause(r, 50);
        int released = weft_semaphore_release(&f->village->semaphore);
        CHECK(released == 0, "release: %d", released);
    }
    rc = weft_timeout_end(&limit, rc);
    return rc == -ETIMEDOUT ? 0 : rc;
}

static int by_pause(struct villager *f, struct rng *r)
{
    (void)f;
    return stress_pause(r, 200);
}

static int villager(struct villager *f)
{
    static int (*const ways[])(struct villager *, struct rng *) = {by_pause, by_lock,   by_semaphore,
                                                                   by_await, by_gather, by_fork};
    struct village *v = f->village;
    struct yard *y = f->yard < STRANDS ? &v->yards[f->yard] : NULL;
    struct rng r = rng_make(f->seed, 3);
    atomic_fetch_add(&v->begun, 1);
    int rc = 0;
    for (uint32_t steps = 1 + rng_below(&r, 4); steps > 0 && rc == 0; steps--) {
        if (y != NULL)
            visit(y, &r);
        rc = ways[rng_below(&r, f->depth > 0 ? 6 : 3)](f, &r);
    }
    if (y != NULL)
        visit(y, &r); /* also when it was cancelled */
    stress_progress(1);
    atomic_fetch_add(&v->ended, 1);
    return rc;
}

static int village_body(void *arg)
{
    struct village *v = arg;
    struct rng r = rng_make(v->seed, 1);
    struct villager mayor = {.village = v, .depth = 4};
    weft_task *roots[ROOTS];
    for (unsigned i = 0; i < v->strands; i++)
        v->yards[i].strand = weft_strand_create();
    for (unsigned i = 0; i < v->roots; i++)
        roots[i] = send(&mayor, &r, rng_below(&r, v->strands));
    for (int i = 0; v->disturb && i < 30; i++) {
        (void)weft_sleep(WEFT_US(rng_below(&r, 100)));
        (void)weft_cancel(roots[rng_below(&r, v->roots)]);
    }
    int rc = v->leave ? 0 : weft_gather_settled_n(roots, v->roots);
    CHECK(rc >= 0, "roots: %d", rc);
    for (unsigned i = 0; i < v->roots; i++)
        weft_release(roots[i]);
    /* Only those that may still create members need the strands from here on. */
    if (!v->leave)
        for (unsigned i = 0; i < v->strands; i++)
            weft_strand_release(v->yards[i].strand);
    return 0;
}

static void villages(struct round *r)
{
    struct village *v = stress_alloc(1, sizeof *v);
    v->seed = r->seed;
    v->strands = 1 + rng_below(&r->rng, STRANDS);
    v->roots = 1 + rng_below(&r->rng, ROOTS);
    v->disturb = rng_chance(&r->rng, 50);
    v->leave = rng_chance(&r->rng, 30);
    weft_lock_init(&v->lock);
    (void)weft_semaphore_init(&v->semaphore, 2);
    unsigned sched = rng_chance(&r->rng, 15) ? WEFT_SCHED_SEEDED : WEFT_SCHED_DEFAULT;
    int rc = stress_run_with(r, WEFT_OPTIONS(.sched = sched, .stack_size = (size_t)64 * 1024), village_body, v);
    CHECK(rc == 0, "the run: %d", rc);
    uint64_t begun = atomic_load(&v->begun), ended = atomic_load(&v->ended);
    CHECK(begun == ended, "%llu began, %llu ended", (unsigned long long)begun, (unsigned long long)ended);
    CHECK(!weft_lock_locked(&v->lock), "the lock is %s", "held");
    for (unsigned i = 0; i < v->strands; i++) {
        struct yard *y = &v->yards[i];
        uint64_t visited = atomic_load(&y->visited);
        CHECK(y->count == visited && y->inside == 0, "strand %u: %llu visits, %llu seen, %d inside", i,
              (unsigned long long)visited, (unsigned long long)y->count, y->inside);
        if (v->leave)
            weft_strand_release(y->strand);
    }
    free(v);
}

const struct stressor strand_stressors[] = {
    {"strands", "tasks of several strands, with every way to suspend, and cancels", villages},
    {NULL, NULL, NULL},
};
