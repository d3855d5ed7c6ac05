/* SPDX-License-Identifier: Apache-2.0 */
/* test_pinned_waits.c -- tasks that ask for a place and wait in ways of their own: parked without a stack (weft/park.h), gathered beside tasks that
 * their gatherer's worker runs in a chain (executor/chain.c), and "the same place as" another (`with`) while that place is taken. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>
#include <weft.h>

#include "support/check.h"

enum { WORKERS = 4 };

#define HERE(w) TASK_CHECK(weft_current_worker() == (w))
#define PINNED(w) WEFT_TASK_OPTIONS(.where = WEFT_ON_WORKER(w))

static void run_ended(int rc)
{
    assert_int_equal(rc, 0);
    assert_tasks_ok();
}

static uint64_t parked_now(void)
{
    weft_metrics m = {.size = sizeof m};
    TASK_CHECK(weft_metrics_read(weft_runtime_current(), -1, &m) == 0);
    return m.tasks_parked;
}

static void await_parked(uint64_t n)
{
    while (parked_now() != n)
        TASK_CHECK(weft_sleep(WEFT_US(50)) == 0);
}

/* ---- parked ------------------------------------------------------------------------------------------------------ */

/* Called again and again: after an instant, at once, and (fd >= 0) when something has come. */
struct guest {
    WEFT_FRAME;
    int worker, times, fd, calls;
};
static int guest(struct guest *f)
{
    char byte;
    HERE(f->worker);
    int outcome = weft_parked();
    if (outcome == -ECANCELED) {
        TASK_CHECK(weft_sleep(WEFT_US(10)) == 0); /* its clean-up suspends */
        HERE(f->worker);
        return -ECANCELED;
    }
    if (outcome > 0)
        TASK_CHECK(read(f->fd, &byte, 1) == 1);
    if (f->calls++ == f->times)
        return 0;
    if (f->calls % 4 == 0) {
        TASK_CHECK(weft_yield() == 0);
        HERE(f->worker);
    }
    if (f->fd >= 0 && f->calls % 2 == 1)
        return weft_park_fd(f->fd, WEFT_READABLE, WEFT_FOREVER);
    return weft_park_for(f->calls % 3 == 0 ? 0 : WEFT_US(20));
}
WEFT_CORO(guest);

/* At the end there is somebody who wants to steal what is ready. */
struct hungry {
    WEFT_FRAME;
    atomic_bool *over;
};
static int hungry(struct hungry *f)
{
    while (!atomic_load(f->over))
        TASK_CHECK(weft_yield() == 0);
    return 0;
}
WEFT_CORO(hungry);

struct guests {
    WEFT_FRAME;
    bool strands;
};
static int guests(struct guests *f)
{
    enum { EACH = 3 };
    atomic_bool over = false;
    weft_strand *strand = weft_strand_create();
    weft_task *t[WORKERS * EACH], *others[WORKERS];
    for (int i = 0; i < WORKERS; i++)
        others[i] = weft_create_task(hungry, .over = &over);
    for (int i = 0; i < WORKERS * EACH; i++)
        t[i] = weft_create_task_with(WEFT_TASK_OPTIONS(.where = WEFT_ON_WORKER(i % WORKERS),
                                                       .strand = f->strands && i % 2 == 0 ? strand : NULL,
                                                       .eager = i % 3 == 0),
                                     guest, .worker = i % WORKERS, .times = 12, .fd = -1);
    for (int i = 0; i < WORKERS * EACH; i++)
        TASK_CHECK(weft_await_release(t[i]) == 0);
    atomic_store(&over, true);
    for (int i = 0; i < WORKERS; i++)
        TASK_CHECK(weft_await_release(others[i]) == 0);
    weft_strand_release(strand);
    return 0;
}
WEFT_CORO(guests);

static void a_parked_task_is_called_at_its_place(void **state)
{
    (void)state;
    run_ended(weft_run_with(WEFT_OPTIONS(.workers = WORKERS), guests, .strands = false));
    run_ended(weft_run_with(WEFT_OPTIONS(.workers = WORKERS), guests, .strands = true));
    run_ended(
        weft_run_with(WEFT_OPTIONS(.workers = WORKERS, .inlining = WEFT_INLINING_NEVER), guests, .strands = true));
}

/* Woken by a descriptor that a thread of its own writes to, and by a task of any worker. */
struct writer {
    int fds[WORKERS][2];
    atomic_bool over;
};
static void *writes(void *writer)
{
    struct writer *w = writer;
    while (!atomic_load(&w->over)) {
        for (int i = 0; i < WORKERS; i++)
            (void)!write(w->fds[i][1], "x", 1); /* full: there is enough to read */
        usleep(20);
    }
    return NULL;
}

struct readers {
    WEFT_FRAME;
    struct writer *writer;
};
static int readers(struct readers *f)
{
    weft_task *t[WORKERS];
    for (int i = 0; i < WORKERS; i++)
        t[i] = weft_create_task_with(PINNED(i), guest, .worker = i, .times = 16, .fd = f->writer->fds[i][0]);
    for (int i = 0; i < WORKERS; i++)
        TASK_CHECK(weft_await_release(t[i]) == 0);
    return 0;
}
WEFT_CORO(readers);

static void a_descriptor_calls_it_there(void **state)
{
    (void)state;
    struct writer w = {.over = false};
    pthread_t thread;
    for (int i = 0; i < WORKERS; i++)
        assert_int_equal(pipe2(w.fds[i], O_NONBLOCK | O_CLOEXEC), 0);
    assert_int_equal(pthread_create(&thread, NULL, writes, &w), 0);
    int rc = weft_run_with(WEFT_OPTIONS(.workers = WORKERS), readers, .writer = &w);
    atomic_store(&w.over, true);
    pthread_join(thread, NULL);
    for (int i = 0; i < WORKERS; i++) {
        close(w.fds[i][0]);
        close(w.fds[i][1]);
    }
    run_ended(rc);
}

/* Parked for ever, cancelled by any worker or by the end of the run: it cleans up where it belongs. */
struct sleeps_long {
    WEFT_FRAME;
    int worker, calls;
};
static int sleeps_long(struct sleeps_long *f)
{
    HERE(f->worker);
    if (f->calls++ == 0)
        return weft_park_for(WEFT_FOREVER);
    TASK_CHECK(f->calls == 2 && weft_parked() == -ECANCELED);
    TASK_CHECK(weft_sleep(WEFT_US(10)) == 0);
    HERE(f->worker);
    return -ECANCELED;
}
WEFT_CORO(sleeps_long);

struct cancels_parked {
    WEFT_FRAME;
    bool leave;
};
static int cancels_parked(struct cancels_parked *f)
{
    enum { ROUNDS = 6 };
    weft_task *t[WORKERS];
    for (int i = 0; i < ROUNDS; i++) {
        for (int k = 0; k < WORKERS; k++)
            t[k] = weft_create_task_with(PINNED(k), sleeps_long, .worker = k);
        await_parked(WORKERS);
        if (f->leave && i == ROUNDS - 1) {
            for (int k = 0; k < WORKERS; k++)
                weft_release(t[k]);
            return 0;
        }
        for (int k = 0; k < WORKERS; k++)
            TASK_CHECK(weft_cancel(t[k]));
        for (int k = 0; k < WORKERS; k++)
            TASK_CHECK(weft_await_release(t[k]) == -ECANCELED);
    }
    return 0;
}
WEFT_CORO(cancels_parked);

static void cancelled_while_parked(void **state)
{
    (void)state;
    for (int leave = 0; leave < 2; leave++) {
        run_ended(weft_run_with(WEFT_OPTIONS(.workers = WORKERS), cancels_parked, .leave = leave != 0));
        run_ended(weft_run_with(WEFT_OPTIONS(.workers = WORKERS, .clock = WEFT_CLOCK_VIRTUAL), cancels_parked,
                                .leave = leave != 0));
    }
}

/* Who runs on its awaiter's stack cannot leave it: it is called again there, which is its place too. */
struct awaits_guest {
    WEFT_FRAME;
    int worker;
};
static int awaits_guest(struct awaits_guest *f)
{
    for (int i = 0; i < 4; i++) {
        TASK_CHECK(weft_await_release(weft_create_task_with(WEFT_TASK_OPTIONS(.where = WEFT_HERE), guest,
                                                            .worker = f->worker, .times = 3, .fd = -1)) == 0);
        HERE(f->worker);
    }
    return 0;
}
WEFT_CORO(awaits_guest);

struct awaiters {
    WEFT_FRAME;
};
static int awaiters(struct awaiters *f)
{
    weft_task *t[WORKERS];
    (void)f;
    for (int i = 0; i < WORKERS; i++)
        t[i] = weft_create_task_with(PINNED(i), awaits_guest, .worker = i);
    for (int i = 0; i < WORKERS; i++)
        TASK_CHECK(weft_await_release(t[i]) == 0);
    return 0;
}
WEFT_CORO(awaiters);

static void parks_on_the_stack_of_an_awaiter(void **state)
{
    (void)state;
    for (unsigned inlining = 0; inlining < 3; inlining++)
        run_ended(weft_run_with(WEFT_OPTIONS(.workers = WORKERS, .inlining = inlining), awaiters));
}

/* ---- gathered ---------------------------------------------------------------------------------------------------- */

enum { PARTS = 18 };

struct part {
    WEFT_FRAME;
    int worker; /* -1: any */
    int i, depth;
};
static int part(struct part *f);
WEFT_CORO(part);

static int at_home(const struct part *f)
{
    if (f->worker >= 0)
        HERE(f->worker);
    return 0;
}

/* Free and pinned ones in turn; those that have not begun and are free are run in a chain by the gatherer's worker, on one fiber. */
static int gather(int depth)
{
    weft_task *t[PARTS];
    for (int i = 0; i < PARTS; i++) {
        if (i % 3 == 0)
            t[i] = weft_create_task_with(PINNED(i / 3 % WORKERS), part, .worker = i / 3 % WORKERS, .i = i);
        else
            t[i] = weft_create_task(part, .worker = -1, .i = i, .depth = i % 8 == 1 ? depth : 0);
    }
    int rc = weft_gather_n(t, PARTS);
    for (int i = 0; i < PARTS; i++) {
        TASK_CHECK(rc < 0 || weft_done(t[i]));
        weft_release(t[i]);
    }
    return rc;
}

static int part(struct part *f)
{
    at_home(f);
    if (f->depth > 0)
        return gather(f->depth - 1);
    switch (f->i % 5) {
    case 0:
        TASK_CHECK(weft_yield() == 0); /* leaves the chain */
        break;
    case 1: { /* a pinned one, awaited in the middle of the chain */
        int there = f->i % WORKERS;
        TASK_CHECK(weft_await_release(weft_create_task_with(PINNED(there), part, .worker = there, .i = 2)) == 0);
        break;
    }
    case 2: { /* one here: not on this stack, which is free to go elsewhere */
        int here = weft_current_worker();
        weft_task *t = weft_create_task_with(WEFT_TASK_OPTIONS(.where = WEFT_HERE), part, .worker = here, .i = 3);
        TASK_CHECK(weft_await_release(t) == 0);
        break;
    }
    default:
        break;
    }
    return at_home(f);
}

struct gatherer {
    WEFT_FRAME;
    int worker, rounds;
};
static int gatherer(struct gatherer *f)
{
    for (int i = 0; i < f->rounds; i++) {
        TASK_CHECK(gather(2) == 0);
        if (f->worker >= 0)
            HERE(f->worker);
    }
    return 0;
}
WEFT_CORO(gatherer);

/* A gatherer that is free, and one that is pinned. */
struct gatherers {
    WEFT_FRAME;
};
static int gatherers(struct gatherers *f)
{
    (void)f;
    weft_task *t[WORKERS];
    TASK_CHECK(weft_await_release(weft_create_task(gatherer, .worker = -1, .rounds = 4)) == 0);
    for (int i = 0; i < WORKERS; i++)
        t[i] = weft_create_task_with(PINNED(i), gatherer, .worker = i, .rounds = 1);
    for (int i = 0; i < WORKERS; i++)
        TASK_CHECK(weft_await_release(t[i]) == 0);
    return 0;
}
WEFT_CORO(gatherers);

static void gathered_beside_a_chain(void **state)
{
    (void)state;
    run_ended(weft_run_with(WEFT_OPTIONS(.workers = WORKERS), gatherers));
    run_ended(weft_run_with(WEFT_OPTIONS(.workers = WORKERS, .clock = WEFT_CLOCK_VIRTUAL), gatherers));
}

/* The free ones of a gather all run in a chain, though one that is pinned elsewhere lies between them in the list. If one is pinned to the gatherer's worker, the chain leaves it its turn. The other worker, which could steal, is in a long step meanwhile. */
enum { FREE_ONES = 200 };
static atomic_int free_ran, free_ran_before, stuck;

struct counted {
    WEFT_FRAME;
    int worker;
};
static int counted(struct counted *f)
{
    if (f->worker < 0) {
        atomic_fetch_add(&free_ran, 1);
        return 0;
    }
    HERE(f->worker);
    atomic_store(&free_ran_before, atomic_load(&free_ran));
    return 0;
}
WEFT_CORO(counted);

struct long_step {
    WEFT_FRAME;
};
static int long_step(struct long_step *f)
{
    (void)f;
    atomic_store(&stuck, 1);
    while (atomic_load(&free_ran) < FREE_ONES)
        sched_yield();
    return 0;
}
WEFT_CORO(long_step);

struct chained {
    WEFT_FRAME;
    bool here;
};
static int chained(struct chained *f)
{
    weft_task *t[FREE_ONES + 1];
    atomic_store(&free_ran, 0);
    atomic_store(&free_ran_before, -1);
    atomic_store(&stuck, 0);
    weft_task *other = weft_create_task_with(PINNED(1), long_step);
    while (atomic_load(&stuck) == 0)
        TASK_CHECK(weft_yield() == 0);
    TASK_CHECK(weft_current_worker() == 0);
    int place = f->here ? 0 : 1;
    for (int i = 0; i < FREE_ONES + 1; i++)
        t[i] = i == FREE_ONES / 2 ? weft_create_task_with(PINNED(place), counted, .worker = place)
                                  : weft_create_task(counted, .worker = -1);
    TASK_CHECK(weft_gather_n(t, FREE_ONES + 1) == 0);
    for (int i = 0; i < FREE_ONES + 1; i++)
        weft_release(t[i]);
    if (f->here)
        TASK_CHECK(free_ran_before < FREE_ONES);
    else
        TASK_CHECK(free_ran_before == FREE_ONES);
    return weft_await_release(other);
}
WEFT_CORO(chained);

static void a_chain_leaves_out_what_is_pinned(void **state)
{
    (void)state;
    for (int here = 0; here < 2; here++)
        run_ended(weft_run_with(WEFT_OPTIONS(.workers = 2, .slow_task = WEFT_FOREVER), chained, .here = here != 0));
}

/* ---- the same place as another ----------------------------------------------------------------------------------- */

static atomic_int begun, go_on, ran, given_back;

struct spinner {
    WEFT_FRAME;
};
static int spinner(struct spinner *f)
{
    (void)f;
    HERE(1);
    atomic_fetch_add(&begun, 1);
    while (atomic_load(&go_on) == 0)
        ;
    return 0;
}
WEFT_CORO(spinner);

struct owner {
    WEFT_FRAME;
    atomic_int *freed; /* it owns this: to be given back once, by its body or by owner_unstarted */
};
static int owner(struct owner *f)
{
    HERE(1);
    atomic_fetch_add(&ran, 1);
    atomic_fetch_add(f->freed, 1);
    return 0;
}
static void owner_unstarted(struct owner *f)
{
    atomic_fetch_add(&given_back, 1);
    atomic_fetch_add(f->freed, 1);
}
WEFT_CORO_OWNING(owner, owner_unstarted);

struct cancel_from {
    weft_task **task;
    int n;
};
static void *cancels_every_second(void *argument)
{
    struct cancel_from *c = argument;
    for (int i = 0; i < c->n; i += 2)
        TASK_CHECK(weft_cancel(c->task[i]));
    return NULL;
}

enum { BESIDE = 40 };
static atomic_int freed[BESIDE];

struct with_others {
    WEFT_FRAME;
    bool by_thread, leave, beside_ended;
};
static int with_others(struct with_others *f)
{
    weft_task *t[BESIDE];
    atomic_store(&begun, 0);
    atomic_store(&go_on, 0);
    atomic_store(&ran, 0);
    atomic_store(&given_back, 0);
    weft_task *first = weft_create_task_with(PINNED(1), spinner);
    while (atomic_load(&begun) == 0)
        TASK_CHECK(weft_yield() == 0);
    weft_task *lead = first;
    if (f->beside_ended) { /* a task that has ended still has its place */
        atomic_store(&go_on, 1);
        while (!weft_done(first))
            TASK_CHECK(weft_yield() == 0);
        atomic_store(&go_on, 0);
        lead = weft_create_task_with(PINNED(1), spinner);
        while (atomic_load(&begun) == 1)
            TASK_CHECK(weft_yield() == 0);
    }
    for (int i = 0; i < BESIDE; i++) {
        atomic_store(&freed[i], 0);
        /* The place goes on from one to the next, whether it has begun or not. */
        const weft_task *with = i == 0 ? first : t[i - 1];
        t[i] = weft_create_task_with(WEFT_TASK_OPTIONS(.with = with), owner, .freed = &freed[i]);
        TASK_CHECK(weft_task_where(t[i]) == WEFT_ON_WORKER(1));
    }
    TASK_CHECK(weft_current_worker() != 1 && atomic_load(&ran) == 0);
    struct cancel_from c = {t, BESIDE};
    pthread_t thread;
    if (f->by_thread) {
        TASK_CHECK(pthread_create(&thread, NULL, cancels_every_second, &c) == 0);
        pthread_join(thread, NULL);
    } else {
        cancels_every_second(&c);
    }
    TASK_CHECK(atomic_load(&ran) == 0);
    if (f->leave) { /* the end of the run cancels the others */
        for (int i = 0; i < BESIDE; i++)
            weft_release(t[i]);
    }
    atomic_store(&go_on, 1);
    for (int i = 0; !f->leave && i < BESIDE; i++)
        TASK_CHECK(weft_await_release(t[i]) == (i % 2 == 0 ? -ECANCELED : 0));
    if (lead != first)
        TASK_CHECK(weft_await_release(lead) == 0);
    weft_release(first);
    return 0;
}
WEFT_CORO(with_others);

static void beside_another_and_cancelled_before_its_turn(void **state)
{
    (void)state;
    for (int way = 0; way < 8; way++) {
        bool leave = (way & 2) != 0;
        run_ended(weft_run_with(WEFT_OPTIONS(.workers = WORKERS, .slow_task = WEFT_FOREVER), with_others,
                                .by_thread = (way & 1) != 0, .leave = leave, .beside_ended = (way & 4) != 0));
        for (int i = 0; i < BESIDE; i++)
            assert_int_equal(freed[i], 1);
        assert_int_equal(ran + given_back, BESIDE);
        if (!leave)
            assert_int_equal(ran, BESIDE / 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_parked_task_is_called_at_its_place),
        cmocka_unit_test(a_descriptor_calls_it_there),
        cmocka_unit_test(cancelled_while_parked),
        cmocka_unit_test(parks_on_the_stack_of_an_awaiter),
        cmocka_unit_test(gathered_beside_a_chain),
        cmocka_unit_test(a_chain_leaves_out_what_is_pinned),
        cmocka_unit_test(beside_another_and_cancelled_before_its_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
