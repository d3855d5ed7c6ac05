/* SPDX-License-Identifier: Apache-2.0 */
/* stress/futures.c -- futures that many tasks and threads set, cancel and await at once.
 *
 * Invariants: of all that set or cancel one future at most one has its way; everybody who looks sees that one's outcome, and a value whole; a
 * cancel that was taken is the outcome; after the first attempt the future has ended; who awaits gets the outcome, or was cancelled or timed out
 * itself (which cancels the future, unless it was shielded). */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "stress.h"

#define CELLS 24
#define TASKS 24
#define THREADS 4
#define WORDS 12

struct value {
    WEFT_FRAME;
    uint64_t words[WORDS];
};
WEFT_VALUE(value);

struct cell {
    weft_future *f;
    bool valued; /* made for a value */
    _Atomic(uint32_t) set, cancelled, tried;
    _Atomic(int) outcome; /* of the one that set it */
};

struct market {
    uint64_t seed;
    unsigned cells, tasks, threads, turns, started;
    struct cell cell[CELLS];
    pthread_t thread[THREADS];
    _Atomic(unsigned) numbers;
    weft_semaphore finished;
};

static void try_to_set(struct cell *c, struct rng *r)
{
    int rc, outcome = 0;
    if (c->valued) {
        struct value v = {.frame_ = {&value_coro_}};
        v.words[0] = rng_next(r);
        for (int i = 1; i < WORDS; i++)
            v.words[i] = v.words[i - 1] * 3 + 1;
        rc = weft_future_set_value_(c->f, &v.frame_);
    } else if (rng_chance(r, 70)) {
        outcome = 1 + (int)rng_below(r, 1000);
        rc = weft_future_set_result(c->f, outcome);
    } else {
        outcome = -EPROTO;
        rc = weft_future_set_error(c->f, outcome);
    }
    CHECK(rc == 0 || rc == -EALREADY, "set: %d", rc);
    if (rc == 0) {
        atomic_store(&c->outcome, outcome);
        atomic_fetch_add(&c->set, 1);
        CHECK(weft_status(c->f) == outcome, "set to %d, status %d", outcome, weft_status(c->f));
    }
    atomic_store(&c->tried, 1);
}

static void try_to_cancel(struct cell *c)
{
    if (weft_cancel(c->f))
        atomic_fetch_add(&c->cancelled, 1);
    atomic_store(&c->tried, 1);
}

/* Whoever has seen it ended. */
static void look(struct cell *c, int rc)
{
    int status = weft_status(c->f);
    CHECK(rc == status, "%d, but the status is %d", rc, status);
    CHECK(weft_cancelled(c->f) == (status == -ECANCELED), "status %d, cancelled %d", status, weft_cancelled(c->f));
    if (c->valued && status == 0) {
        const struct value *v = weft_result(value, c->f);
        for (int i = 1; i < WORDS; i++)
            CHECK(v->words[i] == v->words[i - 1] * 3 + 1, "word %d is another setter's", i);
    }
}

struct trader {
    WEFT_FRAME;
    struct market *market;
    unsigned number;
};

static int wait_somehow(struct market *m, struct cell *c, struct rng *r)
{
    int rc;
    weft_future *two[2] = {c->f, m->cell[rng_below(r, m->cells)].f};
    switch (rng_below(r, 6)) {
    case 0:
        rc = weft_wait_for(c->f, WEFT_US(rng_below(r, 200)));
        break;
    case 1:
        return weft_shield(c->f) == -ECANCELED && weft_cancelling(weft_current_task()) > 0 ? -ECANCELED : 0;
    case 2:
        rc = weft_wait(two, 2, WEFT_FIRST_COMPLETED, WEFT_US(rng_below(r, 300)));
        CHECK(rc == -ECANCELED || rc >= 0, "wait: %d", rc);
        return rc < 0 ? rc : 0;
    case 3:
        rc = weft_gather_settled_n(two, 2);
        CHECK(weft_done(two[0]) && weft_done(two[1]), "settled (%d), not ended", rc);
        return rc < 0 ? rc : 0;
    default:
        rc = weft_await(c->f);
        CHECK(weft_done(c->f), "awaited (%d), not ended", rc);
        break;
    }
    if (!weft_done(c->f))
        CHECK(rc == -ECANCELED, "awaited (%d), not ended", rc); /* wait_for(0), cancelled once more */
    else if (rc != -ECANCELED && rc != -ETIMEDOUT)
        look(c, rc);
    return rc == -ECANCELED && weft_cancelling(weft_current_task()) > 0 ? rc : 0;
}

static int trader(struct trader *f)
{
    struct market *m = f->market;
    struct rng r = rng_make(m->seed, 10 + f->number);
    int rc = 0;
    for (unsigned i = 0; i < m->turns && rc == 0; i++) {
        struct cell *c = &m->cell[rng_below(&r, m->cells)];
        switch (rng_below(&r, 8)) {
        case 0:
        case 1:
            try_to_set(c, &r);
            break;
        case 2:
            try_to_cancel(c);
            break;
        case 3:
            rc = stress_pause(&r, 100);
            break;
        default:
            rc = wait_somehow(m, c, &r);
        }
        stress_progress(1);
    }
    return rc;
}
WEFT_CORO(trader);

static void *from_outside(void *arg)
{
    struct market *m = arg;
    struct rng r = rng_make(m->seed, 500 + atomic_fetch_add(&m->numbers, 1));
    for (unsigned i = 0; i < m->turns; i++) {
        struct cell *c = &m->cell[rng_below(&r, m->cells)];
        uint32_t what = rng_below(&r, 5);
        if (what < 2) {
            try_to_set(c, &r);
        } else if (what == 2) {
            try_to_cancel(c);
        } else {
            int rc = weft_block_on(c->f, WEFT_US(rng_below(&r, 200)));
            if (rc != -ETIMEDOUT)
                look(c, rc);
        }
        stress_progress(1);
    }
    int rc = weft_semaphore_release(&m->finished);
    CHECK(rc == 0, "release: %d", rc);
    return NULL;
}

static int market_body(void *arg)
{
    struct market *m = arg;
    struct rng r = rng_make(m->seed, 1);
    weft_task *t[TASKS];
    for (unsigned i = 0; i < m->cells; i++) {
        m->cell[i].valued = rng_chance(&r, 50);
        m->cell[i].f = m->cell[i].valued ? weft_future_create_of(value) : weft_future_create();
    }
    for (unsigned i = 0; i < m->tasks; i++)
        t[i] = weft_create_task(trader, .market = m, .number = i);
    while (m->started < m->threads && pthread_create(&m->thread[m->started], NULL, from_outside, m) == 0)
        m->started++;
    for (uint32_t i = rng_below(&r, 20); i > 0; i--) {
        (void)stress_pause(&r, 150);
        (void)weft_cancel(t[rng_below(&r, m->tasks)]);
    }
    for (unsigned i = 0; i < m->started; i++) {
        int rc = weft_semaphore_acquire(&m->finished);
        CHECK(rc == 0, "acquire: %d", rc);
    }
    for (unsigned i = 0; i < m->cells; i++) /* nobody waits in vain */
        try_to_set(&m->cell[i], &r);
    int rc = weft_gather_settled_n(t, m->tasks);
    CHECK(rc >= 0, "traders: %d", rc);
    for (unsigned i = 0; i < m->tasks; i++)
        weft_release(t[i]);
    return 0;
}

static void markets(struct round *r)
{
    struct market *m = stress_alloc(1, sizeof *m);
    m->seed = r->seed;
    m->cells = 1 + rng_below(&r->rng, CELLS);
    m->tasks = 1 + rng_below(&r->rng, TASKS);
    m->threads = rng_below(&r->rng, THREADS + 1);
    m->turns = 1 + rng_below(&r->rng, 60);
    (void)weft_semaphore_init(&m->finished, 0);
    int rc = stress_run(r, market_body, m);
    CHECK(rc == 0, "the run: %d", rc);
    for (unsigned i = 0; i < m->started; i++)
        pthread_join(m->thread[i], NULL);
    for (unsigned i = 0; i < m->cells; i++) {
        struct cell *c = &m->cell[i];
        uint32_t set = atomic_load(&c->set), cancelled = atomic_load(&c->cancelled);
        int status = weft_status(c->f);
        CHECK(weft_done(c->f), "future %u has not ended", i);
        CHECK(set + cancelled <= 1, "future %u: set %u times, cancelled %u times", i, set, cancelled);
        CHECK(status == (set ? atomic_load(&c->outcome) : -ECANCELED), "future %u: set %u, outcome %d, status %d", i,
              set, atomic_load(&c->outcome), status);
        weft_release(c->f);
    }
    free(m);
}

const struct stressor future_stressors[] = {
    {"futures", "set against cancel against await, from tasks and threads", markets},
    {NULL, NULL, NULL},
};
