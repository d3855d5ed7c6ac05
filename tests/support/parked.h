/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/parked.h -- what the tests of parked tasks share: a test is run on both clocks, by one worker and several, in asyncio's
 * order and in twenty from seeds; and a task that parks some times. */
#ifndef WEFT_TESTS_SUPPORT_PARKED_H
#define WEFT_TESTS_SUPPORT_PARKED_H

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <weft.h>

#include <cmocka.h>

#include "support/check.h"

#define CHECK TASK_CHECK

/* ---- the ways to run --------------------------------------------------------------------------------------------- */

struct body {
    WEFT_FRAME;
    int (*fn)(void);
};
static inline int body(struct body *b)
{
    return b->fn();
}
WEFT_CORO(body);

static inline void run_all_ways(int (*fn)(void))
{
    const weft_options *ways[] = {
        WEFT_OPTIONS(.workers = 1, .clock = WEFT_CLOCK_VIRTUAL),
        WEFT_OPTIONS(.workers = 1, .clock = WEFT_CLOCK_VIRTUAL, .order = WEFT_ORDER_FIFO),
        WEFT_OPTIONS(.workers = 3, .pin = WEFT_PIN_NONE, .clock = WEFT_CLOCK_VIRTUAL),
        WEFT_OPTIONS(.workers = 4, .pin = WEFT_PIN_NONE),
        WEFT_OPTIONS(.workers = 1, .inlining = WEFT_INLINING_NEVER),
    };
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++)
        assert_int_equal(weft_run_with(ways[i], body, .fn = fn), 0);
    for (uint64_t seed = 1; seed <= 20; seed++)
        assert_int_equal(weft_run_with(WEFT_OPTIONS(.sched = WEFT_SCHED_SEEDED, .seed = seed), body, .fn = fn), 0);
    assert_tasks_ok();
}
#define TEST(name)                                                                                                     \
    static int name##_body(void);                                                                                      \
    static void name(void **state)                                                                                     \
    {                                                                                                                  \
        (void)state;                                                                                                   \
        run_all_ways(name##_body);                                                                                     \
    }                                                                                                                  \
    static int name##_body(void)

/* Parks `times` times, for `each`; what it saw is in its frame. Ends with the first outcome that is not the expected one. */
struct naps {
    WEFT_FRAME;
    int times, result;
    weft_ns each;
    int calls, outcome; /* results */
    const char *message;
    weft_ns begun, ended;
};
static inline int naps(struct naps *f)
{
    if (f->calls++ == 0)
        f->begun = weft_now();
    f->outcome = weft_parked();
    f->ended = weft_now();
    f->message = weft_cancel_message();
    if (f->outcome == -ECANCELED)
        return -ECANCELED;
    if (f->times-- > 0)
        return weft_park_for(f->each);
    return f->result;
}
WEFT_CORO(naps);

static inline uint64_t parked_now(void)
{
    weft_metrics m = {.size = sizeof m};
    weft_metrics_read(weft_runtime_current(), -1, &m);
    return m.tasks_parked;
}

/* Until so many tasks are parked. */
static inline void await_parked(uint64_t n)
{
    while (parked_now() != n)
        CHECK(weft_sleep(WEFT_US(50)) == 0);
}

/* Cleans up, which takes a wait of its own. */
struct cleans {
    WEFT_FRAME;
    int calls, cleaned, swallow;
};
static inline int cleans(struct cleans *f)
{
    if (f->calls++ == 0)
        return weft_park_for(WEFT_FOREVER);
    int rc = weft_parked();
    f->cleaned = rc == -ECANCELED && weft_parked() == -ECANCELED && weft_sleep(WEFT_MS(1)) == 0;
    return f->swallow ? 5 : rc;
}
WEFT_CORO(cleans);

#endif
