/* SPDX-License-Identifier: Apache-2.0 */
/* test_follow.c -- CPUs that are taken away from a running program, and given back: workers stand aside, hand on what they had, still run what is
 * pinned to them, and come back. The reactor thread's own mask is what is changed here, as taskset or a cpuset would change every thread's. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <weft.h>

#include "support/check.h"

/* 1; 0: the thread has no name yet. */
static int try_reactor_mask(const cpu_set_t *mask)
{
    DIR *folder = opendir("/proc/self/task");
    int done = 0;
    for (struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;) {
        char path[512], name[32] = "";
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
        FILE *file = fopen(path, "r");
        if (file == NULL)
            continue;
        if (fgets(name, sizeof name, file) != NULL && strcmp(name, "weft-reactor\n") == 0)
            done += sched_setaffinity((int)strtol(entry->d_name, NULL, 10), sizeof *mask, mask) == 0;
        fclose(file);
    }
    if (folder != NULL)
        closedir(folder);
    return done;
}

static void set_reactor_mask(const cpu_set_t *mask)
{
    int done = 0;
    for (int i = 0; i < 60000 && (done = try_reactor_mask(mask)) == 0; i++)
        usleep(1000);
    TASK_CHECK(done == 1);
}

static uint64_t active(void)
{
    weft_metrics m = {.size = sizeof m};
    TASK_CHECK(weft_metrics_read(weft_runtime_current(), -1, &m) == 0);
    return m.active_workers;
}

static atomic_int elsewhere;

struct fib {
    WEFT_FRAME;
    int n, first_only;
};
static int fib(struct fib *f);
WEFT_CORO(fib);
static int fib(struct fib *f)
{
    if (f->first_only != 0 && weft_current_worker() != 0)
        atomic_fetch_add(&elsewhere, 1);
    if (f->n < 2)
        return f->n;
    weft_child child;
    struct fib a = {.n = f->n - 1, .first_only = f->first_only};
    weft_fork(&child, fib, &a);
    weft_task *t = weft_create_task(fib, .n = f->n - 2, .first_only = f->first_only);
    if (f->n % 3 == 0)
        TASK_CHECK(weft_yield() == 0);
    int right = weft_await_release(t), left = weft_join(&child);
    return left + right;
}

struct sleeper {
    WEFT_FRAME;
};
static int sleeper(struct sleeper *f)
{
    (void)f;
    for (int i = 0; i < 40; i++)
        TASK_CHECK(weft_sleep(WEFT_MS(25)) == 0);
    return 0;
}
WEFT_CORO(sleeper);

struct where {
    WEFT_FRAME;
    int worker;
};
static int where(struct where *f)
{
    for (int i = 0; i < 5; i++) {
        TASK_CHECK(weft_current_worker() == f->worker);
        TASK_CHECK((i % 2 == 0 ? weft_yield() : weft_sleep(WEFT_US(50))) == 0);
    }
    return 1;
}
WEFT_CORO(where);

static void work(int first_only)
{
    weft_task *t = weft_create_task(fib, .n = 14, .first_only = first_only);
    TASK_CHECK(weft_await_release(t) == 377);
}

/* Until so many are active; there is always work meanwhile. */
static void work_until(uint64_t wanted)
{
    for (int i = 0; active() != wanted && i < 100000; i++)
        work(0);
    TASK_CHECK(active() == wanted);
}

struct taken_and_given {
    WEFT_FRAME;
};
static int taken_and_given(struct taken_and_given *f)
{
    (void)f;
    unsigned workers = weft_runtime_workers(weft_runtime_current());
    cpu_set_t all, one;
    TASK_CHECK(sched_getaffinity(getpid(), sizeof all, &all) == 0);
    CPU_ZERO(&one);
    for (unsigned cpu = 0; CPU_COUNT(&one) == 0; cpu++)
        if (CPU_ISSET(cpu, &all))
            CPU_SET(cpu, &one);
    TASK_CHECK(active() == workers);
    weft_task *sleeping[8];
    for (int i = 0; i < 8; i++) /* their timers are of any worker */
        sleeping[i] = weft_create_task(sleeper);
    for (int round = 0; round < 2; round++) {
        set_reactor_mask(&one);
        work_until(1);
        /* The others finish the step they are in. */
        for (int i = 0; i < 1000 && weft_current_worker() != 0; i++)
            TASK_CHECK(weft_yield() == 0);
        for (unsigned i = 0; i < workers; i++)
            TASK_CHECK(weft_await_release(weft_create_task_with(WEFT_TASK_OPTIONS(.where = WEFT_ON_WORKER(i)), where,
                                                                .worker = (int)i)) == 1);
        atomic_store(&elsewhere, 0);
        for (int i = 0; i < 50; i++)
            work(1);
        TASK_CHECK(atomic_load(&elsewhere) == 0);
        set_reactor_mask(&all);
        work_until(workers);
    }
    for (int i = 0; i < 8; i++)
        TASK_CHECK(weft_await_release(sleeping[i]) == 0);
    return 0;
}
WEFT_CORO(taken_and_given);

static bool several_cpus(void)
{
    cpu_set_t mask;
    return sched_getaffinity(0, sizeof mask, &mask) == 0 && CPU_COUNT(&mask) > 1;
}

static void workers_stand_aside_and_come_back(void **state)
{
    (void)state;
    if (!several_cpus())
        skip();
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.slow_task = WEFT_FOREVER), taken_and_given), 0);
    assert_tasks_ok();
}

struct stays {
    WEFT_FRAME;
};
static int stays(struct stays *f)
{
    (void)f;
    cpu_set_t all, one;
    TASK_CHECK(sched_getaffinity(getpid(), sizeof all, &all) == 0);
    CPU_ZERO(&one);
    CPU_SET(0, &one);
    if (!CPU_ISSET(0, &all))
        return 0;
    set_reactor_mask(&one);
    weft_ns until = weft_now() + WEFT_MS(1200);
    while (weft_now() < until)
        work(0);
    TASK_CHECK(active() == 3);
    return 0;
}
WEFT_CORO(stays);

/* A program that says how many gets so many. */
static void a_number_that_was_asked_for_stays(void **state)
{
    (void)state;
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 3, .slow_task = WEFT_FOREVER), stays), 0);
    assert_tasks_ok();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(workers_stand_aside_and_come_back),
        cmocka_unit_test(a_number_that_was_asked_for_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
