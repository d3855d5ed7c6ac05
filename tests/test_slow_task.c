/* SPDX-License-Identifier: Apache-2.0 */
/* Reports of long steps (executor/tick.c, the option slow_task): each is named, also the second in the same function, with its task; but a program
 * that has nothing but long steps is not told of every one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <weft.h>

#include <cmocka.h>

#include "support/check.h"

#define MOST 64

static struct {
    char line[MOST][256];
    atomic_int count;
} reports;

static void take_report(void *user, const char *line)
{
    (void)user;
    if (strstr(line, " is blocked: a task in hangs()") == NULL &&
        strstr(line, " is blocked: a task in plods()") == NULL)
        return;                          /* on a busy machine another one may be held up as long */
    int i = atomic_load(&reports.count); /* the reactor thread alone */
    if (i < MOST)
        snprintf(reports.line[i], sizeof reports.line[i], "%s", line);
    atomic_store(&reports.count, i + 1);
}

static unsigned with(const char *text)
{
    unsigned n = 0;
    for (int i = 0; i < MOST && i < atomic_load(&reports.count); i++)
        n += strstr(reports.line[i], text) != NULL;
    return n;
}

/* ---- two in the same function ------------------------------------------------------------------------------------ */

struct hangs {
    WEFT_FRAME;
};
static int hangs(struct hangs *f)
{
    (void)f;
    for (int i = 0; i < 60000 && atomic_load(&reports.count) < 2; i++)
        usleep(1000);
    return 0;
}
WEFT_CORO(hangs);

struct awaits {
    WEFT_FRAME;
};
static int awaits(struct awaits *f) /* its own task is the one that is stuck, in what it calls */
{
    (void)f;
    return weft_await_release(weft_create_task(hangs));
}
WEFT_CORO(awaits);

struct two {
    WEFT_FRAME;
};
static int two(struct two *f)
{
    (void)f;
    weft_task *t[2] = {weft_create_task(hangs), weft_create_task(awaits)};
    TASK_CHECK(weft_task_set_name(t[0], "left") == 0 && weft_task_set_name(t[1], "right") == 0);
    int rc = weft_sleep(WEFT_MS(1));
    for (int i = 0; i < 2; i++) {
        rc = rc == 0 ? weft_await(t[i]) : rc;
        weft_release(t[i]);
    }
    return rc;
}
WEFT_CORO(two);

static void test_each_worker_is_named(void **state)
{
    (void)state;
    atomic_store(&reports.count, 0);
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 3, .slow_task = WEFT_MS(30), .report = take_report), two),
                     0);
    assert_tasks_ok();
    assert_int_equal(atomic_load(&reports.count), 2);
    assert_int_equal(with("a task in hangs() has run for "), 2);
    assert_int_equal(with(" without suspending, in left#"), 1);
    assert_int_equal(with(" need a weft_yield now and then"), 2); /* what to do about it */
    assert_int_equal(with(" without suspending, in Task-"), 1);
    assert_int_equal(with("not reported"), 0);
    unsigned a, b;
    assert_int_equal(sscanf(reports.line[0], "worker %u is blocked", &a), 1);
    assert_int_equal(sscanf(reports.line[1], "worker %u is blocked", &b), 1);
    assert_int_not_equal(a, b);
}

/* ---- nothing but long steps -------------------------------------------------------------------------------------- */

#define STEPS 30

static uint64_t slow_steps(void)
{
    weft_metrics m = {.size = sizeof m};
    return weft_metrics_read(weft_runtime_current(), -1, &m) == 0 ? m.slow_tasks : 0;
}

struct plods {
    WEFT_FRAME;
};
static int plods(struct plods *f)
{
    (void)f;
    for (uint64_t n = 0; n < STEPS; n++) {
        for (int i = 0; i < 60000 && slow_steps() == n; i++)
            usleep(1000);
        int rc = weft_sleep(WEFT_MS(20)); /* a tick sees that it has gone on */
        if (rc < 0)
            return rc;
    }
    TASK_CHECK(with("not reported") == 0 || atomic_load(&reports.count) > 8);
    /* The last one lasts until it is told what was left out. */
    for (int i = 0; i < 60000 && with("more such steps were not reported") == 0; i++)
        usleep(1000);
    return 0;
}
WEFT_CORO(plods);

static void test_many_are_not_all_told(void **state)
{
    (void)state;
    struct timespec begun, ended;
    atomic_store(&reports.count, 0);
    clock_gettime(CLOCK_MONOTONIC, &begun);
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 1, .slow_task = WEFT_MS(10), .report = take_report), plods),
                     0);
    clock_gettime(CLOCK_MONOTONIC, &ended);
    assert_tasks_ok();
    assert_true(atomic_load(&reports.count) >= 9);
    assert_true(atomic_load(&reports.count) <= 8 + (ended.tv_sec - begun.tv_sec) + 1);
    assert_true(with("more such steps were not reported") >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_worker_is_named),
        cmocka_unit_test(test_many_are_not_all_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
