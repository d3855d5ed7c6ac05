/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a run needs no memory: with none left, for good, every task is still cancelled and waited for. realloc is replaced in this
 * program; where a tool replaces it itself, nothing is short and the test holds all the same. */
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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_the_end_needs_no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
