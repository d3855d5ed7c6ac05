/* SPDX-License-Identifier: Apache-2.0 */
/* Parked tasks and the run: the main task, the end, a deadlock, other threads, seeds, memory; and misuse. */
#include "support/parked.h"

#include "support/deaths.h"
#include "support/resident.h"

/* ---- the run ----------------------------------------------------------------------------------------------------- */

static void main_task_may_park(void **state)
{
    (void)state;
    struct naps frame = {.frame_ = {&naps_coro_}, .times = 3, .each = WEFT_MS(1), .result = 6};
    assert_int_equal(weft_run_(WEFT_OPTIONS(.workers = 2), &frame.frame_, sizeof frame), 6);
    assert_int_equal(frame.calls, 4);
}

/* The end of the run cancels those that are parked, and waits for their clean-up. */
static int leave_many(void)
{
    for (int i = 0; i < 100; i++)
        weft_release(weft_create_task(cleans, .swallow = i % 2));
    await_parked(100);
    return 0;
}
static void end_of_run(void **state)
{
    (void)state;
    run_all_ways(leave_many);
}

/* Nobody will ever wake it: a deadlock on the virtual clock, told as one. */
static weft_task *left;
static int wait_for_nothing(void)
{
    left = weft_create_task(naps, .times = 1, .each = WEFT_FOREVER);
    return weft_await(left);
}
static void deadlock(void **state)
{
    (void)state;
    for (int order = 0; order < 2; order++) {
        assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 1, .clock = WEFT_CLOCK_VIRTUAL,
                                                    .order = order ? WEFT_ORDER_FIFO : WEFT_ORDER_DEFAULT),
                                       body, .fn = wait_for_nothing),
                         -EDEADLK);
        assert_int_equal(weft_status(left), -EDEADLK);
        weft_release(left);
    }
    assert_tasks_ok();
}

/* From a thread that is no worker. */
static weft_task *_Atomic to_cancel;
static void *cancels(void *unused)
{
    (void)unused;
    weft_task *t;
    while ((t = to_cancel) == NULL)
        usleep(100);
    weft_cancel(t);
    return NULL;
}
static int wait_for_thread(void)
{
    pthread_t thread;
    to_cancel = NULL;
    CHECK(pthread_create(&thread, NULL, cancels, NULL) == 0);
    weft_task *t = weft_create_task(naps, .times = 1, .each = WEFT_FOREVER);
    await_parked(1);
    to_cancel = t;
    CHECK(weft_await_release(t) == -ECANCELED);
    pthread_join(thread, NULL);
    return 0;
}
static void cancelled_by_a_thread(void **state)
{
    (void)state;
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 2), body, .fn = wait_for_thread), 0);
    assert_tasks_ok();
}

/* The same schedule for the same seed. */
static uint64_t hash;
static int many_naps(void)
{
    weft_task *t[10];
    for (int i = 0; i < 10; i++)
        t[i] = weft_create_task(naps, .times = 5, .each = WEFT_US(10 + i % 3));
    for (int i = 0; i < 10; i++)
        CHECK(weft_await_release(t[i]) == 0);
    hash = weft_schedule_hash(weft_runtime_current());
    return 0;
}
static void same_seed_same_schedule(void **state)
{
    (void)state;
    uint64_t first = 0;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(weft_run_with(WEFT_OPTIONS(.sched = WEFT_SCHED_SEEDED, .seed = 42), body, .fn = many_naps), 0);
        assert_true(i == 0 || hash == first);
        first = hash;
    }
    assert_tasks_ok();
}

/* Memory does not grow with the number of parkings. */
enum { TASKS = 100, TIMES = 2000 };
static int park_all(void *unused)
{
    weft_task *t[TASKS];
    (void)unused;
    for (int i = 0; i < TASKS; i++)
        t[i] = weft_create_task_with(WEFT_TASK_OPTIONS(.eager = true), naps, .times = TIMES,
                                     .each = i % 2 ? 0 : WEFT_US(1));
    for (int i = 0; i < TASKS; i++)
        CHECK(weft_await_release(t[i]) == 0);
    return 0;
}
static int park_for_long(void)
{
    int rounds;
    CHECK(park_all(NULL) == 0);
    CHECK(resident_settles(64, park_all, NULL, &rounds));
    weft_metrics m = {.size = sizeof m};
    weft_metrics_read(weft_runtime_current(), -1, &m);
    CHECK(m.task_parks == (uint64_t)(1 + rounds) * TASKS * TIMES && m.tasks_parked == 0);
    CHECK(m.stacks_live + m.stacks_cached <= 2 * 64 + 8);
    return 0;
}
static void memory_does_not_grow(void **state)
{
    (void)state;
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 1, .clock = WEFT_CLOCK_VIRTUAL), body, .fn = park_for_long),
                     0);
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 3), body, .fn = park_for_long), 0);
    assert_tasks_ok();
}

/* ---- misuse ------------------------------------------------------------------------------------------------------ */

static int returns_it(void)
{
    return WEFT_PARK;
}
static void park_unasked(void)
{
    (void)weft_run(body, .fn = returns_it);
}
static int parks_in_a_group(void)
{
    weft_group group;
    (void)!weft_group_begin(&group);
    return weft_park_for(WEFT_MS(1));
}
static void park_with_a_group_open(void)
{
    (void)weft_run(body, .fn = parks_in_a_group);
}
struct calls_back {
    WEFT_FRAME;
};
static int calls_back(struct calls_back *f)
{
    (void)f;
    return weft_park_for(WEFT_MS(1));
}
WEFT_CORO(calls_back);
static int parks_in_a_callback(void)
{
    weft_release(weft_call_soon(calls_back));
    return weft_sleep(WEFT_SEC(1));
}
static void park_in_a_callback(void)
{
    (void)weft_run(body, .fn = parks_in_a_callback);
}
static void park_outside(void)
{
    if (weft_park_for(WEFT_MS(1)) == 0)
        _exit(1);
}

static void misuse(void **state)
{
    (void)state;
    expect_abort(park_unasked, "WEFT_PARK");
    expect_abort(park_with_a_group_open, "still open");
    expect_abort(park_in_a_callback, "callback");
    expect_abort(park_outside, "weft_park_for");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(main_task_may_park),
        cmocka_unit_test(end_of_run),
        cmocka_unit_test(deadlock),
        cmocka_unit_test(cancelled_by_a_thread),
        cmocka_unit_test(same_seed_same_schedule),
        cmocka_unit_test(memory_does_not_grow),
        cmocka_unit_test(misuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
