/* SPDX-License-Identifier: Apache-2.0 */
/* tests/test_condition.c -- weft_condition against asyncio.Condition (S). */
#include "tests/sync_support.h"

#include <pthread.h>

struct monitor {
    weft_lock lock;
    weft_condition condition;
};
#define MONITOR_INIT(m)                                                                                                \
    {                                                                                                                  \
        .lock = WEFT_LOCK_INIT, .condition = WEFT_CONDITION_INIT(&(m).lock)                                            \
    }

/* Waits once; says so with the lock held. Whatever the result, the lock is held after the wait. */
struct listener {
    WEFT_FRAME;
    weft_condition *condition;
    char name;
};

static int listener(struct listener *f)
{
    int rc = weft_lock_acquire(f->condition->lock_);
    if (rc != 0)
        return rc;
    rc = weft_condition_wait(f->condition);
    note(rc == 0 ? f->name : (char)(f->name - 'a' + 'A'));
    CHECK(weft_lock_locked(f->condition->lock_));
    CHECK(weft_lock_release(f->condition->lock_) == 0);
    return rc;
}
WEFT_CORO(listener);

static void queue_listeners(weft_condition *condition, weft_task *tasks[], int n)
{
    for (int i = 0; i < n; i++) {
        tasks[i] = weft_create_task(listener, .condition = condition, .name = (char)('a' + i));
        settle();
    }
}

COROUTINE_TEST(without_the_lock)
{
    (void)frame;
    struct monitor m = MONITOR_INIT(m);
    weft_condition other;
    weft_condition_init(&other, &m.lock);
    CHECK(memcmp(&m.condition, &other, sizeof other) == 0);
    CHECK(weft_condition_wait(&m.condition) == -EPERM); /* S1 */
    CHECK(weft_condition_notify(&m.condition, 1) == -EPERM);
    CHECK(weft_condition_notify_all(&m.condition) == -EPERM);
    CHECK(!weft_lock_locked(&m.lock));
    return 0;
}

/* S2, S3, S10 */
COROUTINE_TEST(notify_some)
{
    (void)frame;
    struct monitor m = MONITOR_INIT(m);
    weft_task *t[5];
    queue_listeners(&m.condition, t, 5); /* S2: each could take the lock, so each wait has released it */
    CHECK(weft_lock_acquire(&m.lock) == 0);
    CHECK(weft_condition_notify(&m.condition, 0) == 0);
    CHECK(weft_condition_notify(&m.condition, 2) == 0);
    CHECK(weft_lock_locked(&m.lock)); /* S10 */
    settle();
    CHECK(noted("")); /* S3: not before the lock is free */
    CHECK(weft_lock_release(&m.lock) == 0);
    settle();
    CHECK(!alone() || noted("ab"));
    CHECK(alone() || atomic_load(&recorded) == 2);
    noted("");
    CHECK(weft_done(t[0]) && weft_done(t[1]) && !weft_done(t[2]));
    CHECK(weft_lock_acquire(&m.lock) == 0);
    CHECK(weft_condition_notify(&m.condition, 1) == 0);
    CHECK(weft_lock_release(&m.lock) == 0);
    settle();
    CHECK(noted("c"));
    CHECK(weft_lock_acquire(&m.lock) == 0);
    CHECK(weft_condition_notify_all(&m.condition) == 0);
    CHECK(weft_lock_release(&m.lock) == 0);
    for (int i = 0; i < 5; i++)
        CHECK(ended_with(t[i], 0));
    CHECK(!alone() || noted("de"));
    CHECK(!weft_lock_locked(&m.lock));
    return 0;
}

/* Made in either way. */
COROUTINE_TEST(no_lock_at_all)
{
    (void)frame;
    weft_condition made = WEFT_CONDITION_INIT(NULL), initialised;
    weft_condition_init(&initialised, NULL);
    CHECK(weft_condition_wait(&made) == -EINVAL && weft_condition_wait(&initialised) == -EINVAL);
    CHECK(weft_condition_notify(&made, 1) == -EINVAL && weft_condition_notify_all(&initialised) == -EINVAL);
    return 0;
}

/* S4 */
COROUTINE_TEST(notification_is_not_stored)
{
    (void)frame;
    struct monitor m = MONITOR_INIT(m);
    weft_task *t[1];
    CHECK(weft_lock_acquire(&m.lock) == 0);
    CHECK(weft_condition_notify(&m.condition, 7) == 0);
    CHECK(weft_lock_release(&m.lock) == 0);
    queue_listeners(&m.condition, t, 1);
    CHECK(!weft_done(t[0]));
    CHECK(weft_lock_acquire(&m.lock) == 0);
    CHECK(weft_condition_notify_all(&m.condition) == 0);
    CHECK(weft_lock_release(&m.lock) == 0);
    CHECK(ended_with(t[0], 0));
    return 0;
}

/* S5, S6: it stays for the lock however often it is cancelled */
COROUTINE_TEST(cancelled_wait_takes_the_lock)
{
    (void)frame;
    struct monitor m = MONITOR_INIT(m);
    weft_task *t[1];
    for (int cancels = 1; cancels <= 3; cancels++) {
        queue_listeners(&m.condition, t, 1);
        CHECK(weft_lock_acquire(&m.lock) == 0);
        for (int i = 0; i < cancels; i++) {
            weft_cancel(t[0]);
            settle();
            CHECK(!weft_done(t[0]));
            CHECK(weft_cancelling(t[0]) == (unsigned)i + 1);
        }
        CHECK(weft_lock_release(&m.lock) == 0);
        CHECK(ended_with(t[0], -ECANCELED));
        CHECK(noted("A"));
        CHECK(!weft_lock_locked(&m.lock));
    }
    return 0;
}

/* S6, S7: notified, then cancelled while it waits for the lock: it is cancelled, another gets the notification */
COROUTINE_TEST(notification_is_handed_on)
{
    (void)frame;
    struct monitor m = MONITOR_INIT(m);
    weft_task *t[3];
    for (int at_once = 0; at_once < 2; at_once++) {
        queue_listeners(&m.condition, t, 3);
        CHECK(weft_lock_acquire(&m.lock) == 0);
        CHECK(weft_condition_notify(&m.condition, 1) == 0);
        if (!at_once)
            settle(); /* it waits for the lock now */
        weft_cancel(t[0]);
        CHECK(weft_lock_release(&m.lock) == 0);
        CHECK(ended_with(t[0], -ECANCELED));
        CHECK(ended_with(t[1], 0));
        settle();
        CHECK(!weft_done(t[2]));
        CHECK(noted("Ab"));
        weft_cancel(t[2]);
        CHECK(ended_with(t[2], -ECANCELED));
        CHECK(noted("C"));
    }
    return 0;
}

/* As in asyncio, a cancelled waiter wakes another also when it had not been notified: that one
 * returns without cause. */
COROUTINE_TEST(cancelled_wait_wakes_another)
{
    (void)frame;
    struct monitor m = MONITOR_INIT(m);
    weft_task *t[2];
    queue_listeners(&m.condition, t, 2);
    weft_cancel(t[0]);
    CHECK(ended_with(t[0], -ECANCELED));
    CHECK(ended_with(t[1], 0));
    CHECK(noted("Ab"));
    return 0;
}

/* ---- S8, S9: one lock, two conditions, each with its predicate: a buffer of three places ---- */

enum { PLACES = 3, MAKERS = 3, USERS = 4, PER_MAKER = 200 };

struct buffer {
    weft_lock lock;
    weft_condition not_empty, not_full;
    weft_semaphore begun;
    int items[PLACES], count;      /* the lock protects them, */
    char used[MAKERS * PER_MAKER]; /* this too */
    bool closed;
};

struct maker {
    WEFT_FRAME;
    struct buffer *buffer;
    int first;
};

static int maker(struct maker *f)
{
    struct buffer *b = f->buffer;
    weft_semaphore_release(&b->begun);
    for (int i = 0; i < PER_MAKER;) {
        if (weft_lock_acquire(&b->lock) != 0)
            continue;
        int rc = 0;
        while (rc == 0 && b->count == PLACES)
            rc = weft_condition_wait(&b->not_full);
        if (rc == 0) {
            b->items[b->count++] = f->first + i++;
            CHECK(weft_condition_notify(&b->not_empty, 1) == 0);
        }
        CHECK(b->count <= PLACES);
        CHECK(weft_lock_release(&b->lock) == 0);
    }
    return 0;
}
WEFT_CORO(maker);

struct user {
    WEFT_FRAME;
    struct buffer *buffer;
};

static int user(struct user *f)
{
    struct buffer *b = f->buffer;
    weft_semaphore_release(&b->begun);
    for (;;) {
        if (weft_lock_acquire(&b->lock) != 0)
            continue;
        int rc = 0;
        while (rc == 0 && b->count == 0 && !b->closed)
            rc = weft_condition_wait(&b->not_empty);
        bool end = b->closed && b->count == 0;
        if (rc == 0 && b->count > 0) {
            CHECK(b->used[b->items[--b->count]]++ == 0);
            CHECK(weft_condition_notify(&b->not_full, 1) == 0);
        }
        CHECK(weft_lock_release(&b->lock) == 0);
        if (end)
            return 0;
    }
}
WEFT_CORO(user);

struct bounded_buffer {
    WEFT_FRAME;
    unsigned cancels;
};

static int bounded_buffer(struct bounded_buffer *f)
{
    struct buffer b = {.lock = WEFT_LOCK_INIT,
                       .not_empty = WEFT_CONDITION_INIT(&b.lock),
                       .not_full = WEFT_CONDITION_INIT(&b.lock),
                       .begun = WEFT_SEMAPHORE_INIT(0)};
    weft_task *t[MAKERS + USERS];
    for (int i = 0; i < USERS; i++)
        t[MAKERS + i] = weft_create_task(user, .buffer = &b);
    for (int i = 0; i < MAKERS; i++)
        t[i] = weft_create_task(maker, .buffer = &b, .first = i * PER_MAKER);
    await_begun(&b.begun, MAKERS + USERS);
    struct cancel_some cancels = {.tasks = t, .n = MAKERS + USERS, .rounds = f->cancels, .seed = 8};
    CHECK(cancel_some(&cancels) == 0);
    for (int i = 0; i < MAKERS; i++) {
        int rc = weft_await_release(t[i]);
        CHECK(rc == 0 || (rc == -ECANCELED && f->cancels != 0));
    }
    CHECK(weft_lock_acquire(&b.lock) == 0);
    b.closed = true;
    CHECK(weft_condition_notify_all(&b.not_empty) == 0);
    CHECK(weft_lock_release(&b.lock) == 0);
    for (int i = 0; i < USERS; i++) {
        int rc = weft_await_release(t[MAKERS + i]);
        CHECK(rc == 0 || (rc == -ECANCELED && f->cancels != 0));
    }
    for (int i = 0; i < MAKERS * PER_MAKER; i++)
        CHECK(b.used[i] == 1); /* neither lost nor doubled */
    CHECK(weft_lock_try_acquire(&b.lock) == 0);
    return 0;
}
WEFT_CORO(bounded_buffer);

static void test_bounded_buffer(void **state)
{
    (void)state;
    RUN_ON_ALL(bounded_buffer, .cancels = 0);
    RUN_ON_ALL(bounded_buffer, .cancels = 1500);
}

/* ---- notified by a foreign thread ---- */

static void *notify_in_thread(void *monitor)
{
    struct monitor *m = monitor;
    while (weft_lock_try_acquire(&m->lock) != 0) {
    }
    int rc = weft_condition_notify_all(&m->condition);
    return weft_lock_release(&m->lock) == 0 && rc == 0 ? m : NULL;
}

struct from_thread {
    WEFT_FRAME;
};

static int from_thread(struct from_thread *f)
{
    (void)f;
    for (int i = 0; i < 20; i++) {
        struct monitor m = MONITOR_INIT(m);
        pthread_t thread;
        void *ok = NULL;
        CHECK(weft_lock_acquire(&m.lock) == 0);
        CHECK(pthread_create(&thread, NULL, notify_in_thread, &m) ==
              0); /* it gets the lock when the wait releases it */
        CHECK(weft_condition_wait(&m.condition) == 0);
        CHECK(pthread_join(thread, &ok) == 0 && ok == &m);
        CHECK(weft_lock_release(&m.lock) == 0);
    }
    return 0;
}
WEFT_CORO(from_thread);

static void test_from_thread(void **state)
{
    (void)state;
    RUN_REAL(1, from_thread);
    RUN_REAL(2, from_thread);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_the_lock),
        cmocka_unit_test(test_notify_some),
        cmocka_unit_test(test_no_lock_at_all),
        cmocka_unit_test(test_notification_is_not_stored),
        cmocka_unit_test(test_cancelled_wait_takes_the_lock),
        cmocka_unit_test(test_notification_is_handed_on),
        cmocka_unit_test(test_cancelled_wait_wakes_another),
        cmocka_unit_test(test_bounded_buffer),
        cmocka_unit_test(test_from_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
