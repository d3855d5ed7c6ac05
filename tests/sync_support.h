/* SPDX-License-Identifier: Apache-2.0 */
/* tests/sync_support.h -- what the tests of lock, event, condition, semaphore, barrier and queue share.
 *
 * Each test is a coroutine, run with one worker in asyncio's order and with 2, 3 and 8 workers, on the virtual clock:
 * it moves only when no task can run, so settle() means "everybody else is waiting now", on any number of workers,
 * and a lost wake-up ends the run with -EDEADLK instead of hanging. Where more than one outcome is right with many
 * workers, tests ask alone(). Inside tasks CHECK only records the first failure; RUN_ON_ALL asserts after the run. */
#ifndef WEFT_TESTS_SYNC_SUPPORT_H
#define WEFT_TESTS_SYNC_SUPPORT_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <weft/gather.h>
#include <weft/run.h>
#include <weft/scope.h>
#include <weft/sync.h>
#include <weft/task.h>

#include "executor/base.h"

/* ---- checks ---- */

static _Atomic(int) failures;
static char first_failure[256];

static inline void check_failed(const char *function, int line, const char *what)
{
    if (atomic_fetch_add(&failures, 1) == 0)
        snprintf(first_failure, sizeof first_failure, "%s:%d: %s", function, line, what);
}
#define CHECK(condition) ((condition) ? (void)0 : check_failed(__func__, __LINE__, #condition))

static inline void assert_run(int rc, unsigned workers)
{
    if (rc != 0 || atomic_load(&failures) != 0)
        fail_msg("with %u workers: run ended with %d (%s); %d checks failed, first: %s", workers, rc, weft_strerror(rc),
                 atomic_load(&failures), first_failure);
}

/* ---- a record of events, in the order in which they happened ---- */

static char record[64];
static _Atomic(size_t) recorded;

static inline void note(char event)
{
    size_t at = atomic_fetch_add(&recorded, 1);
    if (at < sizeof record - 1)
        record[at] = event;
}

/* Was it exactly this since the last call? */
static inline bool noted(const char *expected)
{
    bool same = atomic_load(&recorded) == strlen(expected) && strcmp(record, expected) == 0;
    memset(record, 0, sizeof record);
    atomic_store(&recorded, 0);
    return same;
}

/* ---- running ---- */

static inline void begin_run(void)
{
    atomic_store(&failures, 0);
    noted("");
}

#define SYNC_OPTIONS(n)                                                                                                \
    WEFT_OPTIONS(.workers = (n), .order = (n) == 1 ? WEFT_ORDER_FIFO : WEFT_ORDER_DEFAULT,                             \
                 .clock = WEFT_CLOCK_VIRTUAL, .pin = WEFT_PIN_NONE)

#define RUN_ON_ALL(...)                                                                                                \
    do {                                                                                                               \
        static const unsigned counts_[] = {1, 2, 3, 8};                                                                \
        for (size_t i_ = 0; i_ < sizeof counts_ / sizeof counts_[0]; i_++) {                                           \
            begin_run();                                                                                               \
            int rc_ = weft_run_with(SYNC_OPTIONS(counts_[i_]), __VA_ARGS__);                                           \
            assert_run(rc_, counts_[i_]);                                                                              \
        }                                                                                                              \
    } while (0)

/* For tests with threads of their own: the clock must not take their silence for a deadlock. */
#define RUN_REAL(n, ...)                                                                                               \
    do {                                                                                                               \
        begin_run();                                                                                                   \
        int rc_ = weft_run_with(WEFT_OPTIONS(.workers = (n), .pin = WEFT_PIN_NONE), __VA_ARGS__);                      \
        assert_run(rc_, (n));                                                                                          \
    } while (0)

/* A test that is one coroutine without arguments. */
#define COROUTINE_TEST(name)                                                                                           \
    struct name {                                                                                                      \
        WEFT_FRAME;                                                                                                    \
    };                                                                                                                 \
    static int name(struct name *frame);                                                                               \
    WEFT_CORO(name);                                                                                                   \
    static void test_##name(void **state)                                                                              \
    {                                                                                                                  \
        (void)state;                                                                                                   \
        RUN_ON_ALL(name);                                                                                              \
    }                                                                                                                  \
    static int name(struct name *frame)

static inline bool alone(void)
{
    return weft_runtime_workers(weft_runtime_current()) == 1;
}

/* Returns when every other task waits for something. */
static inline void settle(void)
{
    CHECK(weft_sleep(WEFT_MS(1)) == 0);
}

static inline bool ended_with(weft_task *t, int rc)
{
    return weft_await_release(t) == rc;
}

/* ---- cancelling at random ---- */

/* A task cancelled before its first step does nothing at all: where each must take part, wait until n have begun. */
static inline void await_begun(weft_semaphore *begun, int n)
{
    for (int i = 0; i < n; i++)
        CHECK(weft_semaphore_acquire(begun) == 0);
}

struct cancel_some {
    WEFT_FRAME;
    weft_task **tasks;
    size_t n;
    unsigned rounds;
    uint64_t seed;
};

WEFT_UNUSED static int cancel_some(struct cancel_some *f)
{
    for (unsigned i = 0; i < f->rounds; i++) {
        uint64_t random = weft__random(&f->seed);
        if ((random & 3) != 0)
            weft_cancel(f->tasks[(random >> 8) % f->n]);
        weft_yield();
    }
    return 0;
}
WEFT_CORO(cancel_some);

/* Cancel until all have ended; release. */
WEFT_UNUSED static void cancel_until_ended(weft_task **tasks, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        while (!weft_done(tasks[i])) {
            weft_cancel(tasks[i]);
            weft_yield();
        }
        weft_release(tasks[i]);
    }
}

#endif
