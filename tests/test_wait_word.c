/* SPDX-License-Identifier: Apache-2.0 */
/* The fiber's word (table in executor/fiber.h): to begin a wait counts the ticket up and leaves the word as it is. So each transition of a wait that
 * has begun and has not been left, and each of one that is over, by itself: a wake, a late one, one of a wait that was given up, a cancellation. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <weft.h>

#include <cmocka.h>

#include "executor/fiber.h"
#include "support/check.h"

static const struct weft__wait_kind here = {.name = "test"};

static bool wake(struct weft__fiber *f, uint32_t ticket, int reason)
{
    return weft__wake(f, ticket, (enum weft__wake)reason);
}

/* From each word that a running fiber can have: RUNNING, WOKEN by a wait before, RUNNING after one that was given up. */
struct waits {
    WEFT_FRAME;
};
static int waits(struct waits *unused)
{
    (void)unused;
    struct weft__fiber *f = weft__fiber_self();
    for (int i = 0; i < 3; i++) {
        /* woken before it leaves: by the first, with that one's reason */
        uint32_t t = weft__wait_begin(f, &here, f);
        TASK_CHECK(!wake(f, t - 1, 9) && !wake(f, t - 2, 9));
        TASK_CHECK(wake(f, t, 7 + i));
        TASK_CHECK(!wake(f, t, 9));
        TASK_CHECK(weft__wait_commit(f, WEFT_FOREVER) == (enum weft__wake)(7 + i));
        TASK_CHECK(!wake(f, t, 9)); /* it runs again */

        /* given up before a wake, and after one */
        t = weft__wait_begin(f, &here, f);
        TASK_CHECK(!weft__wait_abandon(f));
        TASK_CHECK(!wake(f, t, 9) && !wake(f, t - 1, 9));
        t = weft__wait_begin(f, &here, f);
        TASK_CHECK(!wake(f, t - 1, 9)); /* of the one given up */
        TASK_CHECK(wake(f, t, 9));
        TASK_CHECK(weft__wait_abandon(f));
        TASK_CHECK(!wake(f, t, 9));

        /* left, and woken by a timer; who comes later finds the ticket used up */
        t = weft__wait_begin(f, &here, f);
        TASK_CHECK(weft__wait_commit(f, weft_now() + WEFT_MS(1)) == WEFT__TIMED_OUT);
        TASK_CHECK(!wake(f, t, 9));
        /* a reason of the last wait is none of the next */
        (void)weft__wait_begin(f, &here, f);
        TASK_CHECK(!weft__wait_abandon(f));
        if (i == 1) { /* the third time from WOKEN */
            t = weft__wait_begin(f, &here, f);
            TASK_CHECK(wake(f, t, 5) && weft__wait_commit(f, WEFT_FOREVER) == (enum weft__wake)5);
        }
    }
    return 0;
}
WEFT_CORO(waits);

/* A request that came while it ran, or between the two, ends the wait; one that was woken first meets it afterwards. */
struct is_cancelled {
    WEFT_FRAME;
    bool begun, woken;
};
static int is_cancelled(struct is_cancelled *a)
{
    struct weft__fiber *f = weft__fiber_self();
    uint32_t t = 0;
    TASK_CHECK(weft__wait_begin(f, &here, f) != 0 && !weft__wait_abandon(f));
    if (a->begun)
        t = weft__wait_begin(f, &here, f);
    TASK_CHECK(weft_cancel(weft_current_task()));
    if (!a->begun)
        t = weft__wait_begin(f, &here, f);
    if (a->woken)
        TASK_CHECK(wake(f, t, 7));
    TASK_CHECK((weft__load_relaxed(&f->word) & WEFT__FIBER_REQUEST) != 0); /* relaxed: its own; a wake keeps it */
    enum weft__wake how = weft__wait_commit(f, WEFT_FOREVER);
    TASK_CHECK(how == WEFT__CANCELLED);
    TASK_CHECK(!wake(f, t, 9));
    TASK_CHECK(weft_yield() == 0); /* once */
    TASK_CHECK(weft__wait_begin(f, &here, f) != t && !weft__wait_abandon(f));
    return weft_uncancel(weft_current_task()) == 0 ? 0 : -EINVAL;
}
WEFT_CORO(is_cancelled);

struct all {
    WEFT_FRAME;
};
static int all(struct all *unused)
{
    (void)unused;
    TASK_CHECK(weft_await_release(weft_create_task(waits)) == 0);
    for (int i = 0; i < 4; i++)
        TASK_CHECK(weft_await_release(weft_create_task(is_cancelled, .begun = i & 1, .woken = i >> 1)) == 0);
    return 0;
}
WEFT_CORO(all);

static void test_each_transition(void **state)
{
    (void)state;
    for (unsigned workers = 1; workers <= 2; workers++) {
        assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = workers), all), 0);
        assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = workers, .clock = WEFT_CLOCK_VIRTUAL), all), 0);
    }
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 1, .order = WEFT_ORDER_FIFO), all), 0);
    assert_tasks_ok();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_each_transition)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
