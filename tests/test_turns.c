/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks that yield all the time leave their turn to timers and to what comes from outside: each way of giving way looks around now and then. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <weft.h>

#include <cmocka.h>
#include <pthread.h>

#define ENOUGH 200000000L /* yields: minutes */

struct yields {
    WEFT_FRAME;
    _Atomic(int) *stop;
};
static int yields(struct yields *f)
{
    long n = 0;
    while (atomic_load(f->stop) == 0 && n++ < ENOUGH)
        (void)weft_yield();
    return n < ENOUGH ? 0 : -1;
}
WEFT_CORO(yields);

struct stops {
    WEFT_FRAME;
    _Atomic(int) *stop;
    weft_ns after;
};
static int stops(struct stops *f)
{
    int rc = weft_sleep(f->after);
    atomic_store(f->stop, 1);
    return rc;
}
WEFT_CORO(stops);

static void *submit_from_outside(void *argument)
{
    void **pair = argument;
    weft_release(weft_submit(pair[0], stops, .stop = pair[1], .after = 0));
    return NULL;
}

/* So many tasks yield on each worker; the end comes by a timer, or from a thread outside. */
struct turns {
    WEFT_FRAME;
    int tasks;
    bool outside;
};
static int turns(struct turns *f)
{
    _Atomic(int) stop = 0;
    weft_task *t[16];
    int rc = 0;
    for (int i = 0; i < f->tasks; i++)
        t[i] = weft_create_task(yields, .stop = &stop);
    pthread_t thread;
    void *pair[] = {weft_runtime_current(), (void *)&stop};
    if (f->outside)
        pthread_create(&thread, NULL, submit_from_outside, pair);
    else
        weft_release(weft_create_task(stops, .stop = &stop, .after = WEFT_MS(2)));
    rc |= yields(&(struct yields){.stop = &stop});
    for (int i = 0; i < f->tasks; i++)
        rc |= weft_await_release(t[i]);
    if (f->outside)
        pthread_join(thread, NULL);
    return rc;
}
WEFT_CORO(turns);

static void test_yielding_tasks_leave_turns(void **state)
{
    (void)state;
    static const unsigned workers[] = {1, 2, 3, 8};
    for (size_t i = 0; i < 4; i++) {
        for (int order = 0; order < 2; order++) {
            for (int tasks = 0; tasks <= 16; tasks = tasks < 3 ? tasks + 1 : tasks + 13) {
                for (int outside = 0; outside < 2; outside++) {
                    if (order == 1 && workers[i] != 1)
                        continue;
                    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = workers[i],
                                                                .order = order ? WEFT_ORDER_FIFO : WEFT_ORDER_DEFAULT,
                                                                .slow_task = WEFT_FOREVER),
                                                   turns, .tasks = tasks, .outside = outside != 0),
                                     0);
                }
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_yielding_tasks_leave_turns)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
