/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks that end without a locked instruction, and strangers who have to do with them at that very moment (executor/alone.c): nothing that a
 * stranger was told may be lost. A cancellation that was taken decides the outcome; who waits is woken; and each task has one outcome for all. */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <weft.h>

#include <cmocka.h>

#include "executor/alone.h"
#include "support/check.h"
#include "support/threads.h"

enum how { CANCELS, AWAITS, SHIELDS, GATHERS, LOOKS, KINDS };

static struct {
    unsigned n;
    _Atomic(weft_task *) shown; /* with a reference */
    _Atomic unsigned stop;
    signed char *taken, *ran; /* by number */
    int *outcome, *seen;
} game;

struct one {
    WEFT_FRAME;
    unsigned i;
};
static int one(struct one *f)
{
    game.ran[f->i] = 1;
    return 0;
}
WEFT_CORO(one);

static int count_task(void *user, weft_task *t)
{
    (void)t;
    ++*(unsigned *)user;
    return 0;
}

/* The numbers come along in the task's frame: that is there as long as the handle. */
struct stranger {
    WEFT_FRAME;
    enum how how;
};
static int stranger(struct stranger *f)
{
    while (atomic_load(&game.stop) == 0) {
        weft_task *t = atomic_exchange(&game.shown, NULL);
        if (t == NULL) {
            int rc = weft_yield();
            if (rc < 0)
                return rc;
            continue;
        }
        unsigned i = ((const struct one *)(const void *)t->frame)->i, tasks = 0;
        switch (f->how) {
        case CANCELS:
            game.taken[i] = weft_cancel(t);
            break;
        case AWAITS:
            game.seen[i] = weft_await(t);
            break;
        case SHIELDS:
            game.seen[i] = weft_shield(t);
            break;
        case GATHERS:
            game.seen[i] = weft_gather(t, t);
            break;
        default:
            TASK_CHECK(weft_all_tasks(count_task, &tasks) == 0 && tasks >= 2);
            break;
        }
        weft_release(t);
    }
    return 0;
}
WEFT_CORO(stranger);

struct maker {
    WEFT_FRAME;
    enum how how;
    uint32_t keep;
};
static int maker(struct maker *f)
{
    weft_runtime_current()->strangers.keep = f->keep;
    weft_task *other = weft_create_task(stranger, .how = f->how);
    for (unsigned i = 0; i < game.n; i++) {
        weft_task *t = weft_create_task(one, .i = i);
        TASK_CHECK(t != NULL);
        weft_task *old = atomic_exchange(&game.shown, weft_ref(t));
        if (old != NULL)
            weft_release(old);
        for (unsigned wait = i % 7; wait != 0; wait--)
            weft__cpu_relax();
        game.outcome[i] = weft_await(t);
        weft_release(t);
        if (i % 64 == 63 && weft_yield() < 0)
            return -ECANCELED;
    }
    weft_task *left = atomic_exchange(&game.shown, NULL);
    if (left != NULL)
        weft_release(left);
    atomic_store(&game.stop, 1);
    return weft_await_release(other);
}
WEFT_CORO(maker);

static void play(enum how how, unsigned workers, uint32_t keep)
{
    game.n = threads_scale(keep == 0 ? 20000 : 200000);
    game.taken = calloc(game.n, 1);
    game.ran = calloc(game.n, 1);
    game.outcome = calloc(game.n, sizeof *game.outcome);
    game.seen = calloc(game.n, sizeof *game.seen);
    assert_non_null(game.taken);
    assert_non_null(game.ran);
    assert_non_null(game.outcome);
    assert_non_null(game.seen);
    atomic_store(&game.stop, 0);
    weft_options *o = WEFT_OPTIONS(.workers = workers, .slow_task = WEFT_FOREVER);
    assert_int_equal(weft_run_with(o, maker, .how = how, .keep = keep), 0);
    assert_tasks_ok();
    for (unsigned i = 0; i < game.n; i++) {
        assert_int_equal(game.outcome[i], game.taken[i] ? -ECANCELED : 0);
        assert_int_equal(game.seen[i], 0);
        assert_true(game.ran[i] || game.taken[i]);
    }
    free(game.taken);
    free(game.ran);
    free(game.outcome);
    free(game.seen);
}

static void test_strangers_lose_nothing(void **state)
{
    (void)state;
    for (int how = 0; how < KINDS; how++)
        for (unsigned workers = 1; workers <= 3; workers++)
            play((enum how)how, workers, 0);
}

static void test_strangers_who_stay(void **state)
{
    (void)state;
    for (int how = 0; how < KINDS; how++)
        play((enum how)how, 2, WEFT__STRANGERS_KEEP);
}

/* ---- a thread from outside ---- */

struct shooter {
    weft_runtime *rt;
    _Atomic unsigned done;
};

static void wait_from_outside(void *shared, unsigned index)
{
    struct shooter *s = shared;
    (void)index;
    while (atomic_load(&game.stop) == 0) {
        weft_task *t = atomic_exchange(&game.shown, NULL);
        if (t == NULL) {
            sched_yield();
            continue;
        }
        unsigned i = ((const struct one *)(const void *)t->frame)->i;
        if (i % 2)
            game.taken[i] = weft_cancel(t);
        else
            game.seen[i] = weft_block_on(t, WEFT_FOREVER);
        weft_release(t);
        atomic_fetch_add(&s->done, 1);
    }
}

struct host {
    WEFT_FRAME;
    struct shooter *shooter;
};
static int host(struct host *f)
{
    weft_runtime_current()->strangers.keep = 0;
    for (unsigned i = 0; i < game.n || atomic_load(&f->shooter->done) == 0; i++) {
        unsigned at = i % game.n;
        if (i >= game.n) { /* the thread has not had a turn yet: that it has one is all these are for */
            game.taken[at] = game.ran[at] = 0;
            game.outcome[at] = game.seen[at] = 0;
        }
        weft_task *t = weft_create_task(one, .i = at);
        weft_task *old = atomic_exchange(&game.shown, weft_ref(t));
        if (old != NULL)
            weft_release(old);
        game.outcome[at] = weft_await(t);
        weft_release(t);
        if (i >= 100 * game.n)
            break;
    }
    weft_task *left = atomic_exchange(&game.shown, NULL);
    if (left != NULL)
        weft_release(left);
    atomic_store(&game.stop, 1);
    return 0;
}
WEFT_CORO(host);

static void *outside(void *s)
{
    wait_from_outside(s, 0);
    return NULL;
}

static void test_a_thread_from_outside(void **state)
{
    (void)state;
    game.n = threads_scale(20000);
    game.taken = calloc(game.n, 1);
    game.ran = calloc(game.n, 1);
    game.outcome = calloc(game.n, sizeof *game.outcome);
    game.seen = calloc(game.n, sizeof *game.seen);
    atomic_store(&game.stop, 0);
    struct shooter s = {NULL, 0};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, outside, &s), 0);
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 1, .slow_task = WEFT_FOREVER), host, .shooter = &s), 0);
    pthread_join(thread, NULL);
    for (unsigned i = 0; i < game.n; i++) {
        assert_true(!game.taken[i] || game.outcome[i] == -ECANCELED);
        assert_true(game.outcome[i] == 0 || game.outcome[i] == -ECANCELED);
    }
    free(game.taken);
    free(game.ran);
    free(game.outcome);
    free(game.seen);
}

/* ---- the count that a stranger leaves behind ---- */

struct counted {
    WEFT_FRAME;
};
static int counted(struct counted *f)
{
    (void)f;
    struct weft_runtime *rt = weft_runtime_current();
    struct weft__worker *w = weft__worker_maybe();
    bool plain = weft__alone_begin(w);
    if (!plain)
        return 0; /* no membarrier here */
    weft__alone_end(w);
    unsigned visit = weft__stranger_begin(rt);
    TASK_CHECK(!weft__alone_begin(w));
    unsigned again = weft__stranger_begin(rt);
    weft__stranger_end(rt, again);
    TASK_CHECK(!weft__alone_begin(w));
    weft__stranger_end(rt, visit);
    for (unsigned i = 0; i < 10000; i++) { /* the ticks bring it back; one worker: it stays on it */
        if (weft__alone_begin(w)) {
            weft__alone_end(w);
            TASK_CHECK(weft__load_seq_cst(&rt->strangers.count) == 0);
            return 1;
        }
        int rc = weft_sleep(WEFT_MS(2));
        if (rc < 0)
            return rc;
    }
    return -ETIME;
}
WEFT_CORO(counted);

static void test_the_count_goes_away(void **state)
{
    (void)state;
    assert_true(weft_run_with(WEFT_OPTIONS(.workers = 1, .slow_task = WEFT_FOREVER), counted) >= 0);
    assert_tasks_ok();
}

/* ---- each way out of the short way, one by one ---- */

static weft_task *self_task;

struct act {
    WEFT_FRAME;
    int what;
};
static int act(struct act *f)
{
    weft_task *t = weft_current_task();
    switch (f->what) {
    case 0:
        return -EIO;
    case 1: /* its own request decides over the success */
        TASK_CHECK(weft_cancel(t));
        return 0;
    case 2: /* its awaiter's, too */
        TASK_CHECK(weft_cancel(self_task));
        return 0;
    case 3:
        self_task = t; /* a waiter, while it runs inline */
        return weft_yield();
    case 4:
        return weft_task_set_name(t, "named") < 0 ? -ENOMEM : 4;
    default:
        return f->what;
    }
}
WEFT_CORO(act);

struct waits {
    WEFT_FRAME;
};
static int waits(struct waits *f)
{
    (void)f;
    return self_task != NULL ? weft_shield(self_task) : -EINVAL;
}
WEFT_CORO(waits);

struct ways {
    WEFT_FRAME;
};
static int ways(struct ways *f)
{
    (void)f;
    weft_task *t = weft_create_task(act, .what = 0);
    TASK_CHECK(weft_await_release(t) == -EIO);
    t = weft_create_task(act, .what = 1);
    TASK_CHECK(weft_await(t) == -ECANCELED && weft_cancelled(t));
    weft_release(t);
    self_task = weft_current_task();
    t = weft_create_task(act, .what = 2);
    TASK_CHECK(weft_await(t) == -ECANCELED);
    TASK_CHECK(weft_uncancel(self_task) == 0);
    TASK_CHECK(weft_status(t) == -ECANCELED);
    weft_release(t);
    self_task = NULL;
    weft_task *other = weft_create_task(waits);
    t = weft_create_task(act, .what = 3);
    TASK_CHECK(weft_await(t) == 0);
    weft_release(t);
    TASK_CHECK(weft_await_release(other) == 0);
    t = weft_create_task(act, .what = 4);
    TASK_CHECK(weft_await(t) == 4);
    weft_task *more = weft_ref(t);
    weft_release(t);
    TASK_CHECK(weft_await(more) == 4 && weft_status(more) == 4);
    weft_release(more);
    return 0;
}
WEFT_CORO(ways);

static void test_ways_out(void **state)
{
    (void)state;
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 1), ways), 0);
    assert_tasks_ok();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strangers_lose_nothing),
        cmocka_unit_test(test_strangers_who_stay),
        cmocka_unit_test(test_a_thread_from_outside),
        cmocka_unit_test(test_the_count_goes_away),
        cmocka_unit_test(test_ways_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
