/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/actors.h -- what the tests of gather, time limits, groups and helper threads share.
 *
 * A test is a coroutine that runs under several settings: one worker in asyncio's order, one in the default order, and
 * 2, 3 and 8 workers; always on the virtual clock, so that "5 ms later" is an order of events and not a matter of
 * timing. It looks at things with CHECK, which only records: the assertion comes when the run has ended, in the main
 * thread.
 *
 * An actor is the usual child: works for some time, ends with some result, and answers a cancellation as it is told. */
#ifndef WEFT_TESTS_SUPPORT_ACTORS_H
#define WEFT_TESTS_SUPPORT_ACTORS_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <weft/gather.h>
#include <weft/join.h>
#include <weft/run.h>
#include <weft/scope.h>
#include <weft/task.h>
#include <weft/thread.h>

#include "executor/driver.h"
#include "executor/runtime.h"

struct setting {
    unsigned workers;
    unsigned order;
};
static const struct setting settings[] = {
    {1, WEFT_ORDER_FIFO},    {1, WEFT_ORDER_DEFAULT}, {2, WEFT_ORDER_DEFAULT},
    {3, WEFT_ORDER_DEFAULT}, {8, WEFT_ORDER_DEFAULT},
};
#define SETTINGS (sizeof settings / sizeof settings[0])

/* The setting of the run: some orders are promised by the first one only (mark 1 of the catalogue). */
static struct setting setting;
static _Atomic(const char *) first_failure;

static inline void check(bool holds, const char *what)
{
    const char *none = NULL;
    if (!holds)
        atomic_compare_exchange_strong(&first_failure, &none, what);
}
#define CHECK_TEXT(line) #line
#define CHECK_LINE(line) CHECK_TEXT(line)
#define CHECK(condition) check((condition), "line " CHECK_LINE(__LINE__) ": " #condition)

/* ---- actors ----------------------------------------------------------------------------------------------------- */

#define ACTORS 64
static struct {
    _Atomic(int) started, cancels, ended;
    _Atomic(int64_t) at; /* when it ended, in ms */
} actors[ACTORS];

static inline int64_t now_ms(void)
{
    return weft_now() / WEFT_MS(1);
}

struct actor {
    WEFT_FRAME;
    int id;
    int64_t work; /* ms; below 0: does not suspend */
    int result;
    int64_t cleanup; /* ms, after each cancellation */
    int reply;       /* what it ends with then; 0: cancelled */
    bool swallow;    /* goes on to its result */
};
static int actor(struct actor *a)
{
    actors[a->id].started++;
    int rc = 0;
    if (a->work >= 0) {
        int64_t until = now_ms() + a->work;
        while ((rc = weft_sleep_until(WEFT_MS(until))) == -ECANCELED) {
            actors[a->id].cancels++;
            if (a->cleanup > 0 && weft_sleep(WEFT_MS(a->cleanup)) == -ECANCELED)
                actors[a->id].cancels++;
            if (!a->swallow)
                break;
        }
    }
    actors[a->id].at = now_ms();
    actors[a->id].ended++;
    if (rc == -ECANCELED)
        return a->reply != 0 ? a->reply : -ECANCELED;
    return a->result;
}
WEFT_CORO(actor);

/* Calls fn(argument) in a task of its own. */
struct call {
    WEFT_FRAME;
    int (*fn)(void *argument);
    void *argument;
};
static int call(struct call *c)
{
    return c->fn(c->argument);
}
WEFT_CORO(call);

static inline weft_task *start(int (*fn)(void *), void *argument)
{
    return weft_create_task(call, .fn = fn, .argument = argument);
}

/* ---- running ---------------------------------------------------------------------------------------------------- */

/* What a test changes of its runs; workers and order are the setting's. */
static weft_options run_options = {.clock = WEFT_CLOCK_VIRTUAL, .seed = 1};

static uint64_t handles_left; /* tasks, futures and callbacks that the last run did not free */

static inline void keep_runtime(void *rt, weft_runtime *ended)
{
    *(weft_runtime **)rt = weft_runtime_hold(ended);
}

static inline int run_with(struct setting s, int (*fn)(void *), void *argument)
{
    weft_runtime *rt = NULL;
    memset(actors, 0, sizeof actors);
    setting = s;
    first_failure = NULL;
    struct call frame = {.frame_ = {&call_coro_}, .fn = fn, .argument = argument};
    weft_options options = run_options;
    options.size = sizeof options;
    options.workers = s.workers;
    options.order = s.order;
    options.at_end = keep_runtime;
    options.at_end_user = &rt;
    int rc = weft__run(&options, &frame.frame_, sizeof frame, NULL);
    if (rt != NULL) { /* leak checkers do not see them: slabs are reachable */
        handles_left = rt->handles;
        weft_runtime_drop(rt);
    }
    return rc;
}

static inline void run_everywhere(int (*fn)(void *))
{
    for (size_t i = 0; i < SETTINGS; i++) {
        int rc = run_with(settings[i], fn, NULL);
        if (first_failure != NULL)
            fail_msg("%u workers, order %u: %s", settings[i].workers, settings[i].order, first_failure);
        if (rc != 0)
            fail_msg("%u workers, order %u: ended with %d", settings[i].workers, settings[i].order, rc);
        if (handles_left != 0)
            fail_msg("%u workers, order %u: %llu handles are left", settings[i].workers, settings[i].order,
                     (unsigned long long)handles_left);
    }
}

static inline void run_on_both_clocks(int (*fn)(void *))
{
    run_everywhere(fn);
    run_options.clock = WEFT_CLOCK_REAL;
    run_everywhere(fn);
    run_options.clock = WEFT_CLOCK_VIRTUAL;
}

/* A test that is one coroutine:   TEST(name) { ...; return 0; } */
#define TEST(name)                                                                                                     \
    static int name##_main(void *unused);                                                                              \
    static void name(void **state)                                                                                     \
    {                                                                                                                  \
        (void)state;                                                                                                   \
        run_everywhere(name##_main);                                                                                   \
    }                                                                                                                  \
    static int name##_main(WEFT_UNUSED void *unused)
/* The same on the real clock as well, where it must not matter how long things take. */
#define TEST_BOTH_CLOCKS(name)                                                                                         \
    static int name##_main(void *unused);                                                                              \
    static void name(void **state)                                                                                     \
    {                                                                                                                  \
        (void)state;                                                                                                   \
        run_on_both_clocks(name##_main);                                                                               \
    }                                                                                                                  \
    static int name##_main(WEFT_UNUSED void *unused)

#endif
