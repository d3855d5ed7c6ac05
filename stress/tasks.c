/* SPDX-License-Identifier: Apache-2.0 */
/* stress/tasks.c -- the life of tasks: create, await, cancel, release in every combination and moment.
 *
 * lifecycle: drivers do random things with a few handles each and hand some to one another. Every task tells its own
 * cell what happened to it; cells outlive the run. Invariants: a body runs at most once, and to its end; one that
 * did not run is cancelled; all who look at an ended task see one outcome, and the one its body gave unless it was
 * cancelled; whoever awaited a task finds it ended, also when cancelled meanwhile.
 *
 * cancel-race: cancel from several tasks against the completion of what the target waits for.
 * Invariants in judge(). */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>

#include "stress.h"

/* ---- lifecycle --------------------------------------------------------------------------------------------------- */

#define CELLS 4096
#define SLOTS 4
#define EXCHANGE 8

struct cell {
    _Atomic(uint32_t) starts, ends;
    _Atomic(int) returned;
};

struct life {
    uint64_t seed;
    struct cell *cells;
    _Atomic(uint32_t) used;
    unsigned drivers, steps;
    bool disturb;
    weft_lock lock; /* of exchange */
    weft_task *exchange[EXCHANGE];
};

struct act {
    WEFT_FRAME;
    struct life *life;
    uint64_t seed;
    uint32_t cell;
    int depth;
    int out; /* result: what the body returned */
};
static int act(struct act *f);
WEFT_CORO(act);

/* NULL when the cells are used up. */
static weft_task *create_act(struct life *life, struct rng *r, int depth)
{
    uint32_t cell = atomic_fetch_add(&life->used, 1);
    if (cell >= CELLS)
        return NULL;
    return weft_create_task(act, .life = life, .seed = rng_next(r), .cell = cell, .depth = depth);
}

/* A look at a task that has ended. */
static void check_ended(struct life *life, weft_task *t)
{
    CHECK(weft_done(t), "a task that was awaited has not ended");
    if (!weft_done(t))
        return;
    const struct act *f = weft_result(act, t);
    struct cell *c = &life->cells[f->cell];
    int status = weft_status(t);
    uint32_t starts = atomic_load(&c->starts), ends = atomic_load(&c->ends);
    CHECK(starts == ends && starts <= 1, "an ended task was begun %u times, ended %u times", starts, ends);
    CHECK(weft_cancelled(t) == (status == -ECANCELED), "status %d, cancelled %d", status, weft_cancelled(t));
    if (starts == 0) {
        CHECK(status == -ECANCELED, "never ran, status %d", status);
        return;
    }
    int returned = atomic_load(&c->returned);
    CHECK(f->out == returned, "frame says %d, the body returned %d", f->out, returned);
    CHECK(status == returned || (returned >= 0 && status == -ECANCELED), "returned %d, status %d", returned, status);
}

/* What a body makes of a cancellation: less than 0 to end with, 0 to go on, more to end well. */
static int answer(struct rng *r)
{
    switch (rng_below(r, 6)) {
    case 0:
        weft_yield();
        return -ECANCELED;
    case 1:
        weft_sleep(WEFT_US(rng_below(r, 100)));
        return -ECANCELED;
    case 2:
        weft_uncancel(weft_current_task());
        return 7;
    case 3:
        return -EIO;
    case 4:
        return 0;
    default:
        return -ECANCELED;
    }
}

static int act_body(struct act *f, struct rng *r)
{
    for (uint32_t n = rng_below(r, 4); n > 0; n--) {
        int rc;
        if (f->depth > 0 && rng_chance(r, 25)) {
            weft_task *t = create_act(f->life, r, f->depth - 1);
            rc = t == NULL ? 0 : weft_await(t);
            if (t != NULL)
                check_ended(f->life, t);
            weft_release(t);
            if (rc == -EIO || rc == -EPROTO)
                rc = 0;
        } else {
            rc = stress_pause(r, 200);
        }
        if (rc == -ECANCELED && (rc = answer(r)) != 0)
            return rc;
    }
    static const int results[] = {0, 1, 42, -EPROTO, -ECANCELED};
    return results[rng_below(r, 5)];
}

static int act(struct act *f)
{
    struct cell *c = &f->life->cells[f->cell];
    struct rng r = rng_make(f->seed, f->cell);
    atomic_fetch_add(&c->starts, 1);
    f->out = act_body(f, &r);
    atomic_store(&c->returned, f->out);
    atomic_fetch_add(&c->ends, 1);
    stress_progress(1);
    return f->out;
}

/* Give *slot away, take what was there. Cancelled: nothing happens. */
static void swap_handles(struct life *life, struct rng *r, weft_task **slot)
{
    if (weft_lock_acquire(&life->lock) != 0)
        return;
    weft_task **place = &life->exchange[rng_below(r, EXCHANGE)];
    weft_task *t = *place;
    *place = *slot != NULL && rng_chance(r, 50) ? weft_ref(*slot) : NULL;
    weft_lock_release(&life->lock);
    if (t != NULL && *slot == NULL)
        *slot = t;
    else
        weft_release(t);
}

static void drive(struct life *life, struct rng *r, weft_task **slot)
{
    weft_task *t = *slot;
    if (t == NULL) {
        if (rng_chance(r, 80))
            *slot = create_act(life, r, 2);
        else
            swap_handles(life, r, slot);
        return;
    }
    int rc;
    switch (rng_below(r, 10)) {
    case 0:
    case 1:
        (void)weft_cancel(t);
        break;
    case 2:
        rc = weft_await(t);
        CHECK(rc == weft_status(t) || (life->disturb && rc == -ECANCELED), "await %d, status %d", rc, weft_status(t));
        check_ended(life, t);
        break;
    case 3:
        (void)weft_await_release(t);
        *slot = NULL;
        break;
    case 4:
        weft_release(t);
        *slot = NULL;
        break;
    case 5:
        swap_handles(life, r, slot);
        break;
    case 6:
        rc = weft_wait_for(t, WEFT_US(1 + rng_below(r, 150)));
        CHECK(rc != 0 || weft_status(t) == 0, "wait_for 0, status %d", weft_status(t));
        check_ended(life, t);
        break;
    case 7:
        rc = weft_shield(t);
        CHECK(weft_done(t) || rc == -ECANCELED, "shield %d of a task that runs", rc);
        break;
    case 8:
        if (weft_done(t))
            check_ended(life, t);
        break;
    default:
        (void)stress_pause(r, 100);
        break;
    }
}

struct driver {
    WEFT_FRAME;
    struct life *life;
    uint64_t number;
};
static int driver(struct driver *f)
{
    struct rng r = rng_make(f->life->seed, f->number);
    weft_task *slots[SLOTS] = {NULL};
    for (unsigned i = 0; i < f->life->steps; i++) {
        drive(f->life, &r, &slots[rng_below(&r, SLOTS)]);
        stress_progress(1);
    }
    for (int i = 0; i < SLOTS; i++)
        weft_release(slots[i]);
    return 0;
}
WEFT_CORO(driver);

static int life_body(void *arg)
{
    struct life *life = arg;
    struct rng r = rng_make(life->seed, 1);
    weft_task *drivers[32];
    unsigned n = life->drivers;
    for (unsigned i = 0; i < n; i++)
        drivers[i] = weft_create_task(driver, .life = life, .number = 100 + i);
    for (unsigned i = 0; life->disturb && i < 50; i++) {
        (void)weft_sleep(WEFT_US(rng_below(&r, 100)));
        (void)weft_cancel(drivers[rng_below(&r, n)]);
    }
    int wrong = weft_gather_settled_n(drivers, n);
    CHECK(life->disturb || wrong == 0, "%d drivers ended badly", wrong);
    for (unsigned i = 0; i < n; i++)
        weft_release(drivers[i]);
    for (int i = 0; i < EXCHANGE; i++)
        weft_release(life->exchange[i]);
    return 0; /* what still runs is cancelled at the end */
}

static void lifecycle(struct round *r)
{
    struct life life = {.seed = r->seed, .cells = stress_alloc(CELLS, sizeof(struct cell)), .lock = WEFT_LOCK_INIT};
    life.drivers = 1 + rng_below(&r->rng, 32);
    life.steps = 20 + rng_below(&r->rng, 100);
    life.disturb = rng_chance(&r->rng, 50);
    int rc = stress_run(r, life_body, &life);
    CHECK(rc == 0, "the run: %d", rc);
    uint32_t used = atomic_load(&life.used);
    for (uint32_t i = 0; i < used && i < CELLS; i++) {
        uint32_t starts = atomic_load(&life.cells[i].starts), ends = atomic_load(&life.cells[i].ends);
        CHECK(starts <= 1 && starts == ends, "task %u began %u times, ended %u times", i, starts, ends);
    }
    free(life.cells);
}

/* ---- cancel-race ------------------------------------------------------------------------------------------------- */

struct race {
    uint64_t seed;
    weft_task *target;
    weft_event event;
    weft_semaphore semaphore;
    weft_lock lock;
    weft_queue *queue;
    int way;
    int outcome;
    uint32_t seen; /* cancellations that the target met */
    int returned;
    _Atomic(uint32_t) trues;
    bool ran;
};

struct nap {
    WEFT_FRAME;
    weft_ns duration;
};
static int nap(struct nap *f)
{
    return weft_sleep(f->duration);
}
WEFT_CORO(nap);

static int race_wait(struct race *c, struct rng *r)
{
    int item;
    switch (c->way) {
    case 0:
        return weft_event_wait(&c->event);
    case 1:
        return weft_semaphore_acquire(&c->semaphore);
    case 2:
        return weft_lock_acquire(&c->lock);
    case 3:
        return weft_queue_get(c->queue, &item);
    case 4:
        return weft_sleep(WEFT_US(rng_below(r, 60)));
    case 5:
        return weft_yield();
    default:
        return weft_await_release(weft_create_task(nap, .duration = WEFT_US(rng_below(r, 60))));
    }
}

struct target {
    WEFT_FRAME;
    struct race *race;
};
static int target(struct target *f)
{
    struct race *c = f->race;
    struct rng r = rng_make(c->seed, 2);
    c->ran = true;
    int rc = race_wait(c, &r);
    if (rc == -ECANCELED) {
        c->seen++;
        if (c->outcome < 2)
            rc = c->outcome == 0 ? 5 : -ECANCELED;
        else if (weft_yield() == -ECANCELED)
            c->seen++;
    }
    return c->returned = rc;
}
WEFT_CORO(target);

static void idle_spin(uint32_t n)
{
    for (_Atomic(uint32_t) i = 0; i < n; i++)
        ;
}

struct strike {
    WEFT_FRAME;
    struct race *race;
    uint32_t spin;
};
static int strike(struct strike *f)
{
    idle_spin(f->spin);
    if (weft_cancel(f->race->target))
        atomic_fetch_add(&f->race->trues, 1);
    stress_progress(1);
    return 0;
}
WEFT_CORO(strike);

struct complete {
    WEFT_FRAME;
    struct race *race;
    uint32_t spin;
};
static int complete(struct complete *f)
{
    struct race *c = f->race;
    idle_spin(f->spin);
    static const int item = 3;
    int rc;
    weft_event_set(&c->event);
    rc = weft_semaphore_release(&c->semaphore);
    CHECK(rc == 0, "semaphore release: %d", rc);
    rc = weft_lock_release(&c->lock);
    CHECK(rc == 0, "lock release: %d", rc);
    rc = weft_queue_put_nowait(c->queue, &item);
    CHECK(rc == 0, "put: %d", rc);
    return 0;
}
WEFT_CORO(complete);

static void judge(struct race *c)
{
    int status = weft_status(c->target);
    uint32_t trues = atomic_load(&c->trues);
    CHECK(weft_done(c->target), "the target has not ended");
    CHECK(weft_cancelling(c->target) == trues, "%u requests counted, %u taken", weft_cancelling(c->target), trues);
    CHECK(c->ran || (status == -ECANCELED && trues > 0), "did not run, status %d, %u taken", status, trues);
    CHECK(trues > 0 || (status == c->returned && status >= 0), "not cancelled: returned %d, status %d", c->returned,
          status);
    CHECK(c->seen <= trues, "met %u of %u requests", c->seen, trues);
    CHECK(trues == 0 || status == -ECANCELED || c->seen > 0, "%u requests lost: status %d", trues, status);
    /* What was to be taken is taken exactly by one who got it. */
    bool got = c->ran && c->seen == 0 && c->returned == 0;
    if (c->way == 1)
        CHECK((weft_semaphore_try_acquire(&c->semaphore) == 0) == !got, "permit: got %d", got);
    if (c->way == 2)
        CHECK(weft_lock_locked(&c->lock) == got, "lock: got %d", got);
    if (c->way == 3)
        CHECK(weft_queue_size(c->queue) == (got ? 0 : 1), "queue: got %d, left %zu", got, weft_queue_size(c->queue));
}

struct race_run {
    uint64_t seed;
    unsigned races;
};

static void one_race(struct rng *r)
{
    struct race c = {.seed = rng_next(r), .event = WEFT_EVENT_INIT, .semaphore = WEFT_SEMAPHORE_INIT(0)};
    weft_lock_init(&c.lock);
    int rc = weft_lock_acquire(&c.lock);
    CHECK(rc == 0, "lock: %d", rc);
    c.queue = weft_queue_create(sizeof(int), 0);
    c.way = (int)rng_below(r, 7);
    c.outcome = (int)rng_below(r, 3);
    weft_task *others[6];
    size_t n = 1 + rng_below(r, 5);
    c.target = weft_create_task(target, .race = &c);
    if (rng_chance(r, 70))
        (void)weft_yield();
    size_t completer = rng_below(r, (uint32_t)n + 1);
    for (size_t i = 0; i <= n; i++) {
        uint32_t spin = rng_below(r, rng_chance(r, 50) ? 50 : 3000);
        others[i] = i == completer ? weft_create_task(complete, .race = &c, .spin = spin)
                                   : weft_create_task(strike, .race = &c, .spin = spin);
    }
    if (rng_chance(r, 50)) {
        rc = weft_await(c.target);
        CHECK(rc == weft_status(c.target), "await %d, status %d", rc, weft_status(c.target));
    }
    rc = weft_gather_n(others, n + 1);
    CHECK(rc == 0, "gather: %d", rc);
    (void)weft_await(c.target);
    judge(&c);
    for (size_t i = 0; i <= n; i++)
        weft_release(others[i]);
    weft_release(c.target);
    weft_queue_destroy(c.queue);
}

static int race_body(void *arg)
{
    struct race_run *run = arg;
    struct rng r = rng_make(run->seed, 1);
    for (unsigned i = 0; i < run->races && !stress_failed(); i++)
        one_race(&r);
    return 0;
}

static void cancel_race(struct round *r)
{
    struct race_run run = {r->seed, 50 + rng_below(&r->rng, 200)};
    int rc = stress_run(r, race_body, &run);
    CHECK(rc == 0, "the run: %d", rc);
}

const struct stressor task_stressors[] = {
    {"lifecycle", "create, await, cancel and release in every combination and moment", lifecycle},
    {"cancel-race", "cancel against completion", cancel_race},
    {NULL, NULL, NULL},
};
