/* SPDX-License-Identifier: Apache-2.0 */
/* weft_batch: what becomes ready in between begins at the end, or when the task suspends; however a batch ends. And handles that other
 * threads release while the run ends. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <weft.h>

#include <cmocka.h>

#include "support/check.h"

static const unsigned worker_counts[] = {1, 2, 3, 8};
#define WORKER_COUNTS (sizeof worker_counts / sizeof worker_counts[0])

static atomic_int begun;

struct one {
    WEFT_FRAME;
};
static int one(struct one *f)
{
    (void)f;
    atomic_fetch_add(&begun, 1);
    return 0;
}
WEFT_CORO(one);

/* Long enough that another worker would have run what it can see. */
static void linger(void)
{
    weft_ns until = weft_now() + WEFT_US(300);
    while (weft_now() < until)
        ;
}

struct held {
    WEFT_FRAME;
};
static int held(struct held *f)
{
    (void)f;
    weft_task *t[20];
    weft_batch outer, inner;
    atomic_store(&begun, 0);
    weft_batch_begin(&outer);
    for (int i = 0; i < 10; i++)
        t[i] = weft_create_task(one);
    weft_batch_begin(&inner);
    for (int i = 10; i < 20; i++)
        t[i] = weft_create_task(one);
    weft_batch_end(&inner); /* the outermost decides */
    linger();
    TASK_CHECK(atomic_load(&begun) == 0);
    weft_batch_end(&outer);
    TASK_CHECK(weft_gather_n(t, 20) == 0 && atomic_load(&begun) == 20);
    /* A suspension ends it; so ends the first of two that end in the wrong order. */
    weft_batch_begin(&outer);
    weft_task *a = weft_create_task(one);
    TASK_CHECK(weft_sleep(WEFT_MS(1)) == 0 && weft_await(a) == 0);
    weft_batch_end(&outer);
    weft_batch_begin(&outer);
    weft_batch_begin(&inner);
    weft_batch_end(&outer);
    weft_batch_end(&inner);
    weft_release(a);
    for (int i = 0; i < 20; i++)
        weft_release(t[i]);
    return 0;
}
WEFT_CORO(held);

/* Leaves a batch open and returns: awaited inline, joined, on a fiber of its own. */
struct careless {
    WEFT_FRAME;
};
static int careless(struct careless *f)
{
    (void)f;
    weft_batch batch;
    weft_batch_begin(&batch);
    weft_release(weft_create_task(one));
    return 0;
}
WEFT_CORO(careless);

struct left_open {
    WEFT_FRAME;
};
static int left_open(struct left_open *f)
{
    (void)f;
    atomic_store(&begun, 0);
    for (int i = 0; i < 50; i++) {
        TASK_CHECK(weft_await_release(weft_create_task(careless)) == 0);
        weft_child child;
        struct careless frame = {.frame_ = {NULL}};
        weft_fork(&child, careless, &frame);
        TASK_CHECK(weft_join(&child) == 0);
        weft_task *t = weft_create_task(careless);
        while (!weft_done(t))
            TASK_CHECK(weft_yield() == 0);
        weft_release(t);
    }
    while (atomic_load(&begun) < 150)
        TASK_CHECK(weft_yield() == 0);
    return 0;
}
WEFT_CORO(left_open);

static void test_held_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < WORKER_COUNTS; i++)
        assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = worker_counts[i]), held), 0);
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 1, .order = WEFT_ORDER_FIFO), held), 0);
    assert_tasks_ok();
}

static void test_left_open(void **state)
{
    (void)state;
    for (size_t i = 0; i < WORKER_COUNTS; i++)
        assert_int_equal(
            weft_run_with(WEFT_OPTIONS(.workers = worker_counts[i], .inlining = WEFT_INLINING_ALWAYS), left_open), 0);
    for (unsigned seed = 1; seed <= 20; seed++)
        assert_int_equal(weft_run_with(WEFT_OPTIONS(.sched = WEFT_SCHED_SEEDED, .seed = seed), left_open), 0);
    assert_tasks_ok();
}

/* ---- handles released by other threads while the run ends -------------------------------------------------------- */

enum { THREADS = 4, HANDLES = 200 };
static weft_task *handles[THREADS][HANDLES];
static pthread_t threads[THREADS];
static atomic_bool go;

static void *releases(void *mine)
{
    weft_task **at = mine;
    while (!atomic_load(&go))
        sched_yield();
    for (int i = 0; i < HANDLES; i++)
        weft_release(at[i]);
    return NULL;
}

struct gives_away {
    WEFT_FRAME;
};
static int gives_away(struct gives_away *f)
{
    (void)f;
    atomic_store(&go, false);
    for (int k = 0; k < THREADS; k++) {
        for (int i = 0; i < HANDLES; i++) {
            handles[k][i] = weft_create_task(one);
            TASK_CHECK(weft_await(handles[k][i]) == 0);
        }
        TASK_CHECK(pthread_create(&threads[k], NULL, releases, handles[k]) == 0);
    }
    atomic_store(&go, true);
    return 0;
}
WEFT_CORO(gives_away);

static void test_handles_outlive_the_run(void **state)
{
    (void)state;
    for (size_t i = 0; i < WORKER_COUNTS; i++) {
        for (int turn = 0; turn < 25; turn++) {
            assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = worker_counts[i]), gives_away), 0);
            for (int k = 0; k < THREADS; k++)
                assert_int_equal(pthread_join(threads[k], NULL), 0);
        }
    }
    assert_tasks_ok();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_held_back),
        cmocka_unit_test(test_left_open),
        cmocka_unit_test(test_handles_outlive_the_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
