/* SPDX-License-Identifier: Apache-2.0 */
/* test_pinned.c -- tasks that ask for a place (weft/task.h, `where`): whatever wakes, awaits, cancels or wants to steal them, they run there and
 * nowhere else, they get their turn, and places that do not exist are told. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <weft.h>

#include "support/check.h"

enum { WORKERS = 4, ROUNDS = 40 };

#define HERE(w) TASK_CHECK(weft_current_worker() == (w))
#define PINNED(w) WEFT_TASK_OPTIONS(.where = WEFT_ON_WORKER(w))

static void run_ended(int rc)
{
    assert_int_equal(rc, 0);
    assert_tasks_ok();
}

struct leaf {
    WEFT_FRAME;
    int worker, result;
};
static int leaf(struct leaf *f)
{
    if (f->worker >= 0)
        HERE(f->worker);
    return f->result;
}
WEFT_CORO(leaf);

struct blocking_leaf {
    WEFT_FRAME;
    int result;
};
static int blocking_leaf(struct blocking_leaf *f)
{
    TASK_CHECK(weft_current_worker() == -1);
    return f->result;
}
WEFT_CORO(blocking_leaf);

/* ---- every way to wait ------------------------------------------------------------------------------------------- */

struct shared {
    weft_lock lock;
    weft_queue *queue;
};

struct rover {
    WEFT_FRAME;
    int worker;
    struct shared *shared;
};
static int rover(struct rover *f)
{
    struct shared *s = f->shared;
    int here = f->worker, there = (here + 1) % WORKERS;
    HERE(here);
    for (int i = 0; i < ROUNDS; i++) {
        TASK_CHECK(weft_yield() == 0);
        HERE(here);
        TASK_CHECK(weft_lock_acquire(&s->lock) == 0);
        HERE(here);
        if (i % 8 == 0)
            TASK_CHECK(weft_yield() == 0);
        HERE(here);
        weft_lock_release(&s->lock);
        TASK_CHECK(weft_await_release(weft_create_task_with(PINNED(there), leaf, .worker = there)) == 0);
        HERE(here);
        TASK_CHECK(weft_await_release(weft_create_task_with(WEFT_TASK_OPTIONS(.where = WEFT_HERE), leaf, .worker = here,
                                                            .result = 7)) == 7);
        HERE(here);
        TASK_CHECK(weft_await_release(weft_create_task(leaf, .worker = -1)) == 0);
        HERE(here);
        void *got = s;
        TASK_CHECK(weft_queue_put(s->queue, &got) == 0);
        HERE(here);
        TASK_CHECK(weft_queue_get(s->queue, &got) == 0);
        HERE(here);
        if (i % 16 != 0)
            continue;
        TASK_CHECK(weft_sleep(WEFT_US(50)) == 0);
        HERE(here);
        TASK_CHECK(weft_await_release(weft_to_thread(blocking_leaf, .result = 3)) == 3);
        HERE(here);
    }
    return 0;
}
WEFT_CORO(rover);

struct all_ways {
    WEFT_FRAME;
    bool strands;
};
static int all_ways(struct all_ways *f)
{
    struct shared s;
    weft_lock_init(&s.lock);
    s.queue = weft_queue_create(sizeof(void *), 2);
    weft_strand *strand = weft_strand_create();
    weft_task *t[WORKERS * 3];
    weft_batch batch;
    weft_batch_begin(&batch);
    for (int i = 0; i < WORKERS * 3; i++)
        t[i] = weft_create_task_with(WEFT_TASK_OPTIONS(.where = WEFT_ON_WORKER(i % WORKERS),
                                                       .strand = f->strands && i % 3 == 0 ? strand : NULL,
                                                       .eager = i % 3 == 1),
                                     rover, .worker = i % WORKERS, .shared = &s);
    weft_batch_end(&batch);
    for (int i = 0; i < WORKERS * 3; i++) {
        TASK_CHECK(weft_task_where(t[i]) == WEFT_ON_WORKER(i % WORKERS));
        TASK_CHECK(weft_await_release(t[i]) == 0);
    }
    weft_strand_release(strand);
    weft_queue_destroy(s.queue);
    return 0;
}
WEFT_CORO(all_ways);

static void stays_whatever_it_waits_for(void **state)
{
    (void)state;
    for (unsigned inlining = 0; inlining < 3; inlining++)
        run_ended(weft_run_with(WEFT_OPTIONS(.workers = WORKERS, .inlining = inlining), all_ways, .strands = false));
    run_ended(weft_run_with(WEFT_OPTIONS(.workers = WORKERS), all_ways, .strands = true));
    run_ended(weft_run_with(WEFT_OPTIONS(.workers = WORKERS, .clock = WEFT_CLOCK_VIRTUAL), all_ways, .strands = true));
}

/* ---- thieves ----------------------------------------------------------------------------------------------------- */

static atomic_int waiting, begun, go_on;

struct spinner {
    WEFT_FRAME;
    int worker;
    atomic_int *until;
    int value;
};
static int spinner(struct spinner *f)
{
    HERE(f->worker);
    atomic_fetch_add(&begun, 1);
    while (atomic_load(f->until) < f->value)
        ;
    return 0;
}
WEFT_CORO(spinner);

struct counter {
    WEFT_FRAME;
    int worker;
    atomic_int *counts;
};
static int counter(struct counter *f)
{
    if (f->worker >= 0)
        HERE(f->worker);
    atomic_fetch_add(f->counts, 1);
    return 0;
}
WEFT_CORO(counter);

struct nobody_steals {
    WEFT_FRAME;
};
static int nobody_steals(struct nobody_steals *f)
{
    enum { PINNED_TASKS = 200, FREE_TASKS = 2000 };
    static atomic_int ran, free_ran;
    (void)f;
    atomic_store(&ran, 0);
    atomic_store(&free_ran, 0);
    atomic_store(&begun, 0);
    atomic_store(&go_on, 0);
    weft_task *stuck = weft_create_task_with(PINNED(0), spinner, .worker = 0, .until = &go_on, .value = 1);
    while (atomic_load(&begun) == 0)
        TASK_CHECK(weft_yield() == 0); /* this task goes on elsewhere, or raids would have to come for it */
    TASK_CHECK(weft_current_worker() != 0);
    weft_task *t[PINNED_TASKS];
    for (int i = 0; i < PINNED_TASKS; i++)
        t[i] = weft_create_task_with(PINNED(0), counter, .worker = 0, .counts = &ran);
    /* Meanwhile all others have work, and run dry of it, many times. */
    for (int i = 0; i < FREE_TASKS / WORKERS; i++) {
        weft_task *free_task[WORKERS];
        for (int k = 0; k < WORKERS; k++)
            free_task[k] = weft_create_task(counter, .worker = -1, .counts = &free_ran);
        TASK_CHECK(weft_gather_n(free_task, WORKERS) == 0);
        for (int k = 0; k < WORKERS; k++)
            weft_release(free_task[k]);
    }
    TASK_CHECK(atomic_load(&ran) == 0 && atomic_load(&free_ran) == FREE_TASKS);
    atomic_store(&go_on, 1);
    for (int i = 0; i < PINNED_TASKS; i++)
        TASK_CHECK(weft_await_release(t[i]) == 0);
    TASK_CHECK(weft_await_release(stuck) == 0);
    return 0;
}
WEFT_CORO(nobody_steals);

static void is_neither_stolen_nor_raided(void **state)
{
    (void)state;
    run_ended(weft_run_with(WEFT_OPTIONS(.workers = WORKERS, .slow_task = WEFT_FOREVER), nobody_steals));
}

/* ---- turns ------------------------------------------------------------------------------------------------------- */

struct yielder {
    WEFT_FRAME;
    atomic_int *until;
};
static int yielder(struct yielder *f)
{
    while (atomic_load(f->until) == 0) {
        HERE(0);
        TASK_CHECK(weft_yield() == 0);
    }
    return 0;
}
WEFT_CORO(yielder);

struct free_first {
    WEFT_FRAME;
};
/* Pinned to worker 0. Worker 1 is stuck until a task that is free has run: only worker 0 can, beside its pinned ones that never end. */
static int free_first(struct free_first *f)
{
    (void)f;
    atomic_store(&go_on, 0);
    atomic_store(&begun, 0);
    weft_task *t[5];
    t[0] = weft_create_task_with(PINNED(1), spinner, .worker = 1, .until = &go_on, .value = 1);
    while (atomic_load(&begun) == 0)
        TASK_CHECK(weft_yield() == 0);
    for (int i = 1; i < 4; i++)
        t[i] = weft_create_task_with(PINNED(0), yielder, .until = &go_on);
    t[4] = weft_create_task(counter, .worker = 0, .counts = &go_on);
    TASK_CHECK(weft_wait(t, 5, WEFT_ALL_COMPLETED, WEFT_FOREVER) >= 0);
    for (int i = 0; i < 5; i++)
        weft_release(t[i]);
    return 0;
}

WEFT_CORO(free_first);

/* The other way round: a task that awaits one new task after the other, on its own stack, and what is pinned to its worker. */
struct pinned_first {
    WEFT_FRAME;
};
static int pinned_first(struct pinned_first *f)
{
    (void)f;
    for (int i = 0; i < 20; i++) {
        atomic_store(&go_on, 0);
        weft_task *t =
            weft_create_task_with(WEFT_TASK_OPTIONS(.where = WEFT_HERE), counter, .worker = -1, .counts = &go_on);
        while (atomic_load(&go_on) == 0)
            TASK_CHECK(weft_await_release(weft_create_task(leaf, .worker = -1)) == 0);
        weft_release(t);
        atomic_store(&go_on, 0);
        t = weft_create_task_with(WEFT_TASK_OPTIONS(.where = WEFT_HERE), counter, .worker = -1, .counts = &go_on);
        while (atomic_load(&go_on) == 0)
            TASK_CHECK(weft_yield() == 0);
        weft_release(t);
    }
    return 0;
}
WEFT_CORO(pinned_first);

struct turns {
    WEFT_FRAME;
};
static int turns(struct turns *f)
{
    (void)f;
    TASK_CHECK(weft_await_release(weft_create_task_with(PINNED(0), free_first)) == 0);
    return weft_await_release(weft_create_task(pinned_first));
}
WEFT_CORO(turns);

static void all_get_their_turn(void **state)
{
    (void)state;
    run_ended(weft_run_with(WEFT_OPTIONS(.workers = 2, .slow_task = WEFT_FOREVER), turns));
    run_ended(weft_run_with(WEFT_OPTIONS(.workers = 1), pinned_first));
    run_ended(weft_run_with(WEFT_OPTIONS(.workers = 1, .order = WEFT_ORDER_FIFO), pinned_first));
}

/* ---- nodes ------------------------------------------------------------------------------------------------------- */

struct nodes {
    WEFT_FRAME;
};
/* The worker that made it ready is stuck: another one of the node runs it. */
static int nodes(struct nodes *f)
{
    (void)f;
    weft_place place;
    weft_runtime *rt = weft_runtime_current();
    TASK_CHECK(weft_worker_place(rt, 0, &place) == 0);
    int node = place.node;
    if (node < 0)
        return 0; /* nothing is known of nodes here */
    TASK_CHECK(weft_where_check(rt, WEFT_ON_NODE(node)) == 0);
    for (int i = 0; i < 50; i++) {
        atomic_store(&go_on, 0);
        weft_task *t = weft_create_task_with(WEFT_TASK_OPTIONS(.where = WEFT_ON_NODE(node)), counter, .worker = -1,
                                             .counts = &go_on);
        if (i % 10 == 0) {
            while (atomic_load(&go_on) == 0)
                ;
        }
        TASK_CHECK(weft_await_release(t) == 0);
        weft_task *many[20];
        for (int k = 0; k < 20; k++)
            many[k] = weft_create_task_with(WEFT_TASK_OPTIONS(.where = WEFT_ON_NODE(node)), leaf, .worker = -1);
        TASK_CHECK(weft_gather_n(many, 20) == 0);
        for (int k = 0; k < 20; k++)
            weft_release(many[k]);
    }
    return 0;
}
WEFT_CORO(nodes);

static void a_node_is_all_its_workers(void **state)
{
    (void)state;
    run_ended(weft_run_with(WEFT_OPTIONS(.workers = WORKERS, .slow_task = WEFT_FOREVER), nodes));
}

/* ---- errors ------------------------------------------------------------------------------------------------------ */

static atomic_int given_back;

struct owner {
    WEFT_FRAME;
};
static int owner(struct owner *f)
{
    bool ran_without_a_place = f != NULL;
    TASK_CHECK(!ran_without_a_place);
    return 0;
}
static void owner_unstarted(struct owner *f)
{
    (void)f;
    atomic_fetch_add(&given_back, 1);
}
WEFT_CORO_OWNING(owner, owner_unstarted);

struct errors {
    WEFT_FRAME;
    int workers;
};
static int errors(struct errors *f)
{
    weft_runtime *rt = weft_runtime_current();
    const uint32_t wrong[] = {
        WEFT_ON_WORKER(f->workers), WEFT_ON_WORKER(0x0fffffff), WEFT_ON_NODE(0x0ffffff), 1, WEFT_HERE + 1, UINT32_MAX};
    const int n = sizeof wrong / sizeof *wrong;
    atomic_store(&given_back, 0);
    for (int i = 0; i < n; i++) {
        TASK_CHECK(weft_where_check(rt, wrong[i]) == -EINVAL);
        weft_task *t = weft_create_task_with(WEFT_TASK_OPTIONS(.where = wrong[i]), owner);
        TASK_CHECK(t != NULL && weft_status(t) == -EINVAL && weft_await_release(t) == -EINVAL);
    }
    weft_task *here =
        weft_create_task_with(WEFT_TASK_OPTIONS(.where = WEFT_ON_WORKER(f->workers - 1)), leaf, .worker = -1);
    weft_task *both = weft_create_task_with(WEFT_TASK_OPTIONS(.where = WEFT_HERE, .with = here), owner);
    TASK_CHECK(weft_await_release(both) == -EINVAL);
    TASK_CHECK(atomic_load(&given_back) == n + 1);
    weft_task *beside = weft_create_task_with(WEFT_TASK_OPTIONS(.with = here), leaf,
                                              .worker = weft_runtime_workers(rt) > 1 ? f->workers - 1 : 0);
    TASK_CHECK(weft_task_where(beside) == WEFT_ON_WORKER(f->workers - 1));
    TASK_CHECK(weft_await_release(here) == 0 && weft_await_release(beside) == 0);
    TASK_CHECK(weft_where_check(rt, WEFT_ANYWHERE) == 0 && weft_where_check(rt, WEFT_HERE) == 0);
    TASK_CHECK(weft_where_check(rt, WEFT_ON_WORKER(f->workers - 1)) == 0);
    weft_group g;
    TASK_CHECK(weft_group_begin(&g) == 0);
    TASK_CHECK(weft_group_create_task_with(&g, WEFT_TASK_OPTIONS(.where = wrong[0]), NULL, owner) == -EINVAL);
    TASK_CHECK(
        weft_group_create_task_with(&g, WEFT_TASK_OPTIONS(.where = WEFT_ON_WORKER(0)), NULL, leaf, .worker = 0) == 0);
    TASK_CHECK(weft_group_join(&g, 0) == 0);
    TASK_CHECK(atomic_load(&given_back) == n + 1); /* the group refused it: the frame is the caller's */
    return 0;
}
WEFT_CORO(errors);

static void places_that_do_not_exist(void **state)
{
    (void)state;
    run_ended(weft_run_with(WEFT_OPTIONS(.workers = WORKERS), errors, .workers = WORKERS));
    run_ended(weft_run_with(WEFT_OPTIONS(.workers = 1), errors, .workers = 1));
    for (uint64_t seed = 1; seed < 20; seed++) /* one thread stands for them all */
        run_ended(weft_run_with(WEFT_OPTIONS(.workers = WORKERS, .sched = WEFT_SCHED_SEEDED, .seed = seed), errors,
                                .workers = WORKERS));
}

/* ---- cancelling, the end ----------------------------------------------------------------------------------------- */

struct cleaner {
    WEFT_FRAME;
    int worker;
};
static int cleaner(struct cleaner *f)
{
    HERE(f->worker);
    atomic_fetch_add(&waiting, 1);
    TASK_CHECK(weft_sleep(WEFT_FOREVER) == -ECANCELED);
    HERE(f->worker);
    TASK_CHECK(weft_yield() == 0);
    HERE(f->worker);
    atomic_fetch_add(&waiting, -1);
    return -ECANCELED;
}
WEFT_CORO(cleaner);

struct cancels {
    WEFT_FRAME;
    bool leave;
};
static int cancels(struct cancels *f)
{
    atomic_store(&waiting, 0);
    for (int i = 0; i < 30; i++) {
        weft_task *t[WORKERS];
        for (int k = 0; k < WORKERS; k++)
            t[k] = weft_create_task_with(PINNED(k), cleaner, .worker = k);
        while (i % 2 == 0 && atomic_load(&waiting) < WORKERS)
            TASK_CHECK(weft_yield() == 0);
        for (int k = 0; k < WORKERS; k++) /* else some have not begun */
            TASK_CHECK(weft_cancel(t[k]));
        for (int k = 0; k < WORKERS; k++)
            TASK_CHECK(weft_await_release(t[k]) == -ECANCELED);
        TASK_CHECK(atomic_load(&waiting) == 0);
    }
    for (int k = 0; f->leave && k < WORKERS; k++)
        weft_release(weft_create_task_with(PINNED(k), cleaner, .worker = k));
    return 0;
}
WEFT_CORO(cancels);

struct stands_still {
    WEFT_FRAME;
};
static int stands_still(struct stands_still *f)
{
    (void)f;
    weft_event never;
    weft_event_init(&never);
    weft_task *t = weft_create_task_with(PINNED(1), leaf, .worker = 1);
    TASK_CHECK(weft_await_release(t) == 0);
    TASK_CHECK(weft_sleep(WEFT_SEC(1)) == 0);
    return weft_event_wait(&never);
}
WEFT_CORO(stands_still);

struct two_still {
    WEFT_FRAME;
};
static int two_still(struct two_still *f)
{
    (void)f;
    return weft_await_release(weft_create_task_with(PINNED(2), stands_still));
}
WEFT_CORO(two_still);

static void cancelled_and_left_at_the_end(void **state)
{
    (void)state;
    run_ended(weft_run_with(WEFT_OPTIONS(.workers = WORKERS), cancels, .leave = false));
    run_ended(weft_run_with(WEFT_OPTIONS(.workers = WORKERS), cancels, .leave = true));
    run_ended(weft_run_with(WEFT_OPTIONS(.workers = WORKERS, .clock = WEFT_CLOCK_VIRTUAL), cancels, .leave = true));
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = WORKERS, .clock = WEFT_CLOCK_VIRTUAL), two_still), -EDEADLK);
    assert_tasks_ok();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stays_whatever_it_waits_for), cmocka_unit_test(is_neither_stolen_nor_raided),
        cmocka_unit_test(all_get_their_turn),          cmocka_unit_test(a_node_is_all_its_workers),
        cmocka_unit_test(places_that_do_not_exist),    cmocka_unit_test(cancelled_and_left_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
