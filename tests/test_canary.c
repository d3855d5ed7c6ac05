/* SPDX-License-Identifier: Apache-2.0 */
/* The canary (executor/canary.c): work that nobody comes for is counted, once; what the tick's wake brings to somebody, and what the kernel
 * keeps waiting, is not. */
#include <unistd.h>

#include "support/actors.h"
#include "support/thread_sleeps.h"

static _Atomic(bool) ran;
static _Atomic(uint64_t) stalls;

struct quick {
    WEFT_FRAME;
};
static int quick(struct quick *f)
{
    (void)f;
    ran = true;
    return 0;
}
WEFT_CORO(quick);

struct stuck {
    WEFT_FRAME;
    bool broken;
};
/* All workers but this one have gone to sleep, and sleep: one that is on its way would still see what comes. */
static bool others_sleep(weft_runtime *rt)
{
    bool all = true;
    for (unsigned i = 0; i < rt->worker_count; i++) {
        struct weft__worker *w = &rt->workers[i];
        if (w != weft__worker_self())
            all = all && (weft__load_seq_cst(&rt->idle.bits[0]) >> i & 1) != 0 && /* pairs: PARK */
                  thread_sleeps(weft__load_relaxed(&w->tid));                     /* relaxed: written before it ran */
    }
    return all;
}

static int stuck(struct stuck *f)
{
    weft_runtime *rt = weft_runtime_current();
    do
        CHECK(weft_sleep(WEFT_MS(10)) == 0);
    while (!others_sleep(rt));
    ran = false;
    /* Somebody seems to search already, for ever: then nobody is woken. */
    if (f->broken)
        weft__fetch_add_seq_cst(&rt->idle.searching, 1);
    weft_task *t = weft_create_task(quick);
    weft_metrics m = {.size = sizeof m};
    for (int i = 0; i < 10000 && (f->broken ? stalls == 0 : !ran); i++) {
        usleep(1000); /* this worker is blocked, and the task lies behind it */
        (void)weft_metrics_read(rt, -1, &m);
        stalls = m.ready_stalls;
    }
    usleep(50000);
    (void)weft_metrics_read(rt, -1, &m);
    stalls = m.ready_stalls;
    CHECK(ran == !f->broken);
    if (f->broken)
        weft__fetch_sub_seq_cst(&rt->idle.searching, 1);
    return weft_await_release(t);
}
WEFT_CORO(stuck);

static void nothing(void *user, const char *line)
{
    (void)user;
    (void)line;
}

static uint64_t run_stuck(bool broken)
{
    first_failure = NULL;
    stalls = 0;
    int rc =
        weft_run_with(WEFT_OPTIONS(.workers = 3, .pin = WEFT_PIN_NONE, .report = nothing), stuck, .broken = broken);
    assert_int_equal(rc, 0);
    if (first_failure != NULL)
        fail_msg("%s", first_failure);
    return stalls;
}

static void test_work_that_nobody_comes_for(void **state)
{
    (void)state;
    assert_int_equal(run_stuck(true), 1);
}

static void test_work_that_the_tick_sees_to(void **state)
{
    (void)state;
    assert_int_equal(run_stuck(false), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_work_that_nobody_comes_for),
        cmocka_unit_test(test_work_that_the_tick_sees_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
