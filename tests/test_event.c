/* SPDX-License-Identifier: Apache-2.0 */
/* tests/test_event.c -- weft_event against asyncio.Event (R). */
#include "tests/sync_support.h"

#include <pthread.h>
#include <sched.h>

struct waiter {
    WEFT_FRAME;
    weft_event *event;
    char name;
};

static int waiter(struct waiter *f)
{
    int rc = weft_event_wait(f->event);
    if (rc == 0)
        note(f->name);
    return rc;
}
WEFT_CORO(waiter);

static void queue_waiters(weft_event *event, weft_task *tasks[], int n)
{
    for (int i = 0; i < n; i++) {
        tasks[i] = weft_create_task(waiter, .event = event, .name = (char)('a' + i));
        settle();
    }
}

COROUTINE_TEST(set_event)
{
    (void)frame;
    weft_event event = WEFT_EVENT_INIT, other;
    memset(&other, 0xff, sizeof other);
    weft_event_init(&other);
    CHECK(!weft_event_is_set(&other));
    weft_event_set(&other);
    CHECK(weft_event_is_set(&other));
    CHECK(!weft_event_is_set(&event));
    weft_event_set(&event);
    weft_event_set(&event); /* R4 */
    CHECK(weft_event_is_set(&event));
    weft_task *t = weft_create_task(waiter, .event = &event, .name = 't');
    CHECK(weft_event_wait(&event) == 0);
    CHECK(!alone() || !weft_done(t)); /* R1 */
    CHECK(ended_with(t, 0));
    CHECK(weft_event_is_set(&event)); /* R2: stays set */
    CHECK(noted("t"));
    return 0;
}

COROUTINE_TEST(set_wakes_all)
{
    (void)frame;
    weft_event event = WEFT_EVENT_INIT;
    weft_task *t[3];
    queue_waiters(&event, t, 3);
    CHECK(noted(""));
    weft_event_set(&event);
    for (int i = 0; i < 3; i++)
        CHECK(ended_with(t[i], 0)); /* R2 */
    if (alone())
        CHECK(noted("abc")); /* R6 */
    else
        CHECK(atomic_load(&recorded) == 3);
    return 0;
}

/* R3: woken is woken; and set twice in a step wakes once */
COROUTINE_TEST(clear_at_once)
{
    (void)frame;
    weft_event event = WEFT_EVENT_INIT;
    weft_task *t[2];
    queue_waiters(&event, t, 1);
    weft_event_set(&event);
    weft_event_clear(&event);
    weft_event_set(&event);
    weft_event_clear(&event);
    CHECK(!weft_event_is_set(&event));
    CHECK(ended_with(t[0], 0));
    queue_waiters(&event, t, 2);
    CHECK(!weft_done(t[0]) && !weft_done(t[1]));
    weft_event_set(&event);
    CHECK(ended_with(t[0], 0));
    CHECK(ended_with(t[1], 0));
    return 0;
}

/* R5; cancelled after the wake-up: cancelled all the same */
COROUTINE_TEST(cancelled_waiter)
{
    (void)frame;
    weft_event event = WEFT_EVENT_INIT;
    weft_task *t[3];
    queue_waiters(&event, t, 3);
    weft_cancel(t[1]);
    settle();
    weft_event_set(&event);
    weft_cancel(t[2]);
    CHECK(ended_with(t[0], 0));
    CHECK(ended_with(t[1], -ECANCELED));
    int rc = weft_await_release(t[2]);
    CHECK(rc == -ECANCELED || (rc == 0 && !alone()));
    CHECK(noted(rc == 0 ? "ac" : "a") || !alone());
    return 0;
}

/* ---- at random: two flags handed to and fro, with cancellations; nobody is left behind ---- */

struct pair {
    weft_event there, back;
    atomic_bool stop;
};

struct follower {
    WEFT_FRAME;
    struct pair *pair;
};

static int follower(struct follower *f)
{
    while (!atomic_load(&f->pair->stop))
        if (weft_event_wait(&f->pair->there) == 0) {
            weft_event_set(&f->pair->back);
            weft_yield();
        }
    return 0;
}
WEFT_CORO(follower);

COROUTINE_TEST(to_and_fro)
{
    (void)frame;
    enum { N = 6 };
    struct pair pair = {.there = WEFT_EVENT_INIT, .back = WEFT_EVENT_INIT};
    weft_task *t[N];
    for (int i = 0; i < N; i++)
        t[i] = weft_create_task(follower, .pair = &pair);
    weft_task *canceller = weft_create_task(cancel_some, .tasks = t, .n = N, .rounds = 1000, .seed = 9);
    for (int i = 0; i < 500; i++) {
        weft_event_clear(&pair.back);
        weft_event_set(&pair.there);
        CHECK(weft_event_wait(&pair.back) == 0);
        weft_event_clear(&pair.there);
    }
    CHECK(ended_with(canceller, 0));
    atomic_store(&pair.stop, true);
    weft_event_set(&pair.there);
    for (int i = 0; i < N; i++) {
        int rc = weft_await_release(t[i]);
        CHECK(rc == 0 || rc == -ECANCELED);
    }
    return 0;
}

/* ---- the waiter may free the event as soon as it returns, whoever set it ---- */

static _Atomic(weft_event *) mailbox;

static void *set_what_comes(void *arg)
{
    for (int left = *(int *)arg; left > 0;) {
        weft_event *event = atomic_exchange(&mailbox, NULL);
        if (event != NULL) {
            weft_event_set(event);
            left--;
        } else {
            sched_yield();
        }
    }
    return NULL;
}

struct short_lived {
    WEFT_FRAME;
    int rounds;
};

static int short_lived(struct short_lived *f)
{
    for (int i = 0; i < f->rounds; i++) {
        weft_event *event = malloc(sizeof *event);
        if (event == NULL)
            return -ENOMEM;
        weft_event_init(event);
        atomic_store(&mailbox, event);
        if ((i & 1) != 0)
            while (!weft_event_is_set(event)) /* a look is as good as a wait */
                weft_yield();
        else
            CHECK(weft_event_wait(event) == 0);
        free(event);
    }
    return 0;
}
WEFT_CORO(short_lived);

static void test_short_lived(void **state)
{
    (void)state;
    for (unsigned workers = 1; workers <= 2; workers++) {
        int rounds = 300;
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, set_what_comes, &rounds), 0);
        RUN_REAL(workers, short_lived, .rounds = rounds);
        assert_int_equal(pthread_join(thread, NULL), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_event),     cmocka_unit_test(test_set_wakes_all),
        cmocka_unit_test(test_clear_at_once), cmocka_unit_test(test_cancelled_waiter),
        cmocka_unit_test(test_to_and_fro),    cmocka_unit_test(test_short_lived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
