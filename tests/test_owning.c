/* SPDX-License-Identifier: Apache-2.0 */
/* WEFT_CORO_OWNING: what a frame owns is given back exactly once, by the body or by `unstarted`, wherever the task ends unstarted. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <weft.h>

#include <cmocka.h>

static _Atomic(int) bodies, given_back;

struct owner {
    WEFT_FRAME;
    char *memory; /* malloc'd by whoever starts the task: a leak is the sanitizer's to see */
};
static int owner(struct owner *f)
{
    bodies++;
    free(f->memory);
    return 0;
}
static void owner_unstarted(struct owner *f)
{
    given_back++;
    free(f->memory);
}
WEFT_CORO_OWNING(owner, owner_unstarted);

/* As one that several files start: declared in a header, described in one of them. */
struct shared {
    WEFT_FRAME;
    char *memory;
};
int shared(struct shared *f);
WEFT_CORO_DECLARE(shared);

static int check(int started, int unstarted)
{
    int rc = bodies == started && given_back == unstarted ? 0 : -EPROTO;
    bodies = given_back = 0;
    return rc;
}

/* Picked from the queue; awaited by its creator; in a strand; eager ones begin. */
struct by_cancel {
    WEFT_FRAME;
};
static int by_cancel(struct by_cancel *f)
{
    (void)f;
    weft_task *t = weft_create_task(owner, .memory = malloc(10));
    weft_cancel(t);
    weft_yield();
    int rc = weft_await_release(t) == -ECANCELED ? check(0, 1) : -EPROTO;
    t = weft_create_task(owner, .memory = malloc(10));
    weft_cancel(t);
    if (rc == 0)
        rc = weft_await_release(t) == -ECANCELED ? check(0, 1) : -EPROTO;
    weft_strand *s = weft_strand_create();
    t = weft_create_task_with(WEFT_TASK_OPTIONS(.strand = s), owner, .memory = malloc(10));
    weft_task *next = weft_create_task_with(WEFT_TASK_OPTIONS(.strand = s), owner, .memory = malloc(10));
    weft_cancel(t);
    if (rc == 0)
        rc = weft_await(t) == -ECANCELED && weft_await(next) == 0 ? check(1, 1) : -EPROTO;
    weft_release(t);
    weft_release(next);
    weft_strand_release(s);
    return rc;
}
WEFT_CORO(by_cancel);

/* One worker: nothing starts before this task suspends. A group that is cancelled, and children nobody awaits at the end. */
struct by_group {
    WEFT_FRAME;
};
static int by_group(struct by_group *f)
{
    (void)f;
    weft_group g;
    weft_group_begin(&g);
    int rc = 0;
    for (int i = 0; rc == 0 && i < 10; i++)
        rc = weft_group_start(&g, owner, .memory = malloc(10));
    weft_group_cancel(&g);
    char *mine = malloc(10);
    if (rc == 0 && weft_group_start(&g, owner, .memory = mine) != -ESHUTDOWN)
        rc = -EPROTO;
    free(mine); /* refused: still the caller's */
    int joined = weft_group_join(&g, rc);
    if (rc == 0)
        rc = joined == 0 ? check(0, 10) : joined;
    for (int i = 0; i < 5; i++)
        weft_release(weft_create_task(owner, .memory = malloc(10)));
    return rc;
}
WEFT_CORO(by_group);

struct by_callbacks {
    WEFT_FRAME;
};
static int by_callbacks(struct by_callbacks *f)
{
    (void)f;
    weft_handle *h = weft_call_later(WEFT_SEC(100), owner, .memory = malloc(10));
    weft_cancel(h);
    weft_release(h);
    h = weft_call_soon(owner, .memory = malloc(10));
    weft_cancel(h);
    weft_release(h);
    weft_yield();
    weft_release(weft_call_later(WEFT_SEC(100), owner, .memory = malloc(10))); /* pending at the end of the run */
    return 0;
}
WEFT_CORO(by_callbacks);

struct by_threads {
    WEFT_FRAME;
};
static int by_threads(struct by_threads *f)
{
    (void)f;
    weft_task *t[50];
    for (int i = 0; i < 50; i++)
        t[i] = weft_to_thread(owner, .memory = malloc(10));
    for (int i = 0; i < 50; i++)
        weft_cancel(t[i]);
    for (int i = 0; i < 50; i++)
        weft_release(t[i]);
    return 0;
}
WEFT_CORO(by_threads);

static void test_cancelled_tasks(void **state)
{
    (void)state;
    for (unsigned inlining = 0; inlining < 2; inlining++)
        assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 1, .inlining = inlining), by_cancel), 0);
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 1, .order = WEFT_ORDER_FIFO), by_cancel), 0);
}

static void test_groups_and_leftovers(void **state)
{
    (void)state;
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 1), by_group), 0);
    assert_int_equal(bodies + given_back, 5);
    bodies = given_back = 0;
}

static void test_callbacks(void **state)
{
    (void)state;
    for (unsigned order = 0; order < 2; order++) {
        assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 1, .order = order), by_callbacks), 0);
        assert_int_equal(check(0, 3), 0);
    }
}

static void test_helper_jobs(void **state)
{
    (void)state;
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 2, .max_threads = 2), by_threads), 0);
    assert_int_equal(bodies + given_back, 50);
    bodies = given_back = 0;
}

struct starts_shared {
    WEFT_FRAME;
};
static int starts_shared(struct starts_shared *f)
{
    (void)f;
    weft_task *t = weft_create_task(shared, .memory = malloc(10));
    weft_cancel(t);
    int rc = weft_await_release(t) == -ECANCELED ? check(0, 1) : -EPROTO;
    if (rc == 0)
        rc = weft_await_release(weft_create_task(shared, .memory = malloc(10))) == 0 ? check(1, 0) : -EPROTO;
    return rc;
}
WEFT_CORO(starts_shared);

int shared(struct shared *f)
{
    bodies++;
    free(f->memory);
    return 0;
}
static void shared_unstarted(struct shared *f)
{
    given_back++;
    free(f->memory);
}
WEFT_CORO_DEFINE_OWNING(shared, shared_unstarted);

static void test_described_elsewhere(void **state)
{
    (void)state;
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 1), starts_shared), 0);
}

/* On several workers any of them may begin or not: together they are all. */
static void test_many_workers(void **state)
{
    (void)state;
    static const unsigned workers[] = {2, 3, 8};
    for (size_t i = 0; i < sizeof workers / sizeof workers[0]; i++) {
        for (int turn = 0; turn < 50; turn++) {
            assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = workers[i]), by_group) < -EPROTO, 0);
            assert_true(bodies + given_back <= 15);
            bodies = given_back = 0;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cancelled_tasks), cmocka_unit_test(test_groups_and_leftovers),
        cmocka_unit_test(test_callbacks),       cmocka_unit_test(test_helper_jobs),
        cmocka_unit_test(test_many_workers),    cmocka_unit_test(test_described_elsewhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
