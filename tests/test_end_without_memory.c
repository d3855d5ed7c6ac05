/* SPDX-License-Identifier: Apache-2.0 */
/* What needs no memory. The end of a run: with none left, for good, every task is still cancelled and waited for. Sleeping: who sleeps goes on when it
 * is time, and time goes on. realloc is replaced in this program; where a tool replaces it itself, nothing is short and the tests hold all the
 * same. */
#include <stdlib.h>

#include "support/actors.h"
#include "support/threads.h"

static _Atomic(bool) short_of_memory;

#if !THREADS_SANITIZED
void *__libc_realloc(void *old, size_t size);
void *realloc(void *old, size_t size);
void *realloc(void *old, size_t size)
{
    if (short_of_memory) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_realloc(old, size);
}
#endif

static _Atomic(int) cancelled;

struct sleeper {
    WEFT_FRAME;
};
static int sleeper(struct sleeper *f)
{
    (void)f;
    int rc = weft_sleep(WEFT_SEC(3600));
    cancelled += rc == -ECANCELED;
    return rc;
}
WEFT_CORO(sleeper);

#define SLEEPERS 500 /* more than are cancelled at a time then */

struct leaves {
    WEFT_FRAME;
};
static int leaves(struct leaves *f)
{
    (void)f;
    for (int i = 0; i < SLEEPERS; i++)
        weft_release(weft_create_task(sleeper));
    int rc = weft_sleep(WEFT_MS(1));
    short_of_memory = true;
    return rc;
}
WEFT_CORO(leaves);

static void test_the_end_needs_no_memory(void **state)
{
    (void)state;
    for (size_t i = 0; i < SETTINGS; i++) {
        cancelled = 0;
        int rc = weft_run_with(
            WEFT_OPTIONS(.workers = settings[i].workers, .order = settings[i].order, .clock = WEFT_CLOCK_VIRTUAL),
            leaves);
        short_of_memory = false;
        assert_int_equal(rc, 0);
        assert_int_equal(cancelled, SLEEPERS);
    }
}

/* ---- sleeping ---------------------------------------------------------------------------------------------------- */

struct naps {
    WEFT_FRAME;
    int number, times;
};
static int naps(struct naps *f)
{
    for (int i = 0; i < f->times; i++) {
        weft_ns duration = WEFT_US(f->number * 37 % 100 + 1), until = weft_now() + duration;
        CHECK((i % 2 ? weft_sleep(duration) : weft_sleep_until(until)) == 0);
        CHECK(run_options.clock == WEFT_CLOCK_VIRTUAL ? weft_now() == until : weft_now() >= until);
    }
    return 0;
}
WEFT_CORO(naps);

enum { NAPPERS = 60 }; /* so many find room in the queues there are */

static int nap_together(void *unused)
{
    (void)unused;
    weft_task *t[NAPPERS], *long_one = NULL;
    short_of_memory = true;
    for (int i = 0; i < NAPPERS; i++)
        t[i] = weft_create_task(naps, .number = i, .times = 20);
    long_one = weft_create_task(sleeper);
    for (int i = 0; i < NAPPERS; i++)
        CHECK(weft_await_release(t[i]) == 0);
    cancelled = 0;
    while (weft__task_state(long_one) == WEFT__NEW)
        CHECK(weft_sleep(WEFT_US(1)) == 0);
    CHECK(weft_cancel(long_one) && weft_await_release(long_one) == -ECANCELED && cancelled == 1);
    short_of_memory = false;
    return 0;
}

static void test_sleeping_needs_no_memory(void **state)
{
    (void)state;
    run_on_both_clocks(nap_together);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_the_end_needs_no_memory),
                                       cmocka_unit_test(test_sleeping_needs_no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
