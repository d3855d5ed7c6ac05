/* SPDX-License-Identifier: Apache-2.0 */
/* tests/test_semaphore.c -- weft_semaphore against asyncio.Semaphore and BoundedSemaphore (T). */
#include "tests/sync_support.h"

#include <pthread.h>

/* Takes a permit, says so, keeps it. */
struct taker {
    WEFT_FRAME;
    weft_semaphore *semaphore;
    char name;
    bool took; /* result: also of a task that ends cancelled, by a request that came when it had the permit */
};

static int taker(struct taker *f)
{
    int rc = weft_semaphore_acquire(f->semaphore);
    f->took = rc == 0;
    if (f->took)
        note(f->name);
    return rc;
}
WEFT_CORO(taker);

/* Of a taker that was cancelled when a permit was free for it: was it quicker than its cancellation? */
static bool took(weft_task *t)
{
    int rc = weft_await(t);
    bool yes = weft_result(taker, t)->took;
    CHECK(rc == -ECANCELED || (rc == 0 && yes));
    CHECK(!yes || !alone());
    weft_release(t);
    return yes;
}

static void queue_takers(weft_semaphore *semaphore, weft_task *tasks[], int n)
{
    for (int i = 0; i < n; i++) {
        tasks[i] = weft_create_task(taker, .semaphore = semaphore, .name = (char)('a' + i));
        settle();
    }
}

/* How many permits can be taken at once? They are given back. */
static int free_permits(weft_semaphore *semaphore)
{
    int n = 0;
    while (weft_semaphore_try_acquire(semaphore) == 0)
        n++;
    for (int i = 0; i < n; i++)
        CHECK(weft_semaphore_release(semaphore) == 0);
    return n;
}

static void test_init(void **state)
{
    (void)state;
    weft_semaphore a = WEFT_SEMAPHORE_INIT(3), b;
    assert_int_equal(weft_semaphore_init(&b, 3), 0);
    assert_memory_equal(&a, &b, sizeof a);
    weft_semaphore c = WEFT_BOUNDED_SEMAPHORE_INIT(3);
    assert_int_equal(weft_bounded_semaphore_init(&b, 3), 0);
    assert_memory_equal(&c, &b, sizeof c);
    assert_int_equal(weft_semaphore_init(&b, -1), -EINVAL); /* T7 */
    assert_int_equal(weft_bounded_semaphore_init(&b, -1), -EINVAL);
}

COROUTINE_TEST(permits)
{
    (void)frame;
    weft_semaphore s = WEFT_SEMAPHORE_INIT(2);
    weft_task *t[1];
    weft_task *other = weft_create_task(taker, .semaphore = &(weft_semaphore)WEFT_SEMAPHORE_INIT(1), .name = 'o');
    CHECK(!weft_semaphore_locked(&s));
    CHECK(weft_semaphore_acquire(&s) == 0);
    CHECK(weft_semaphore_acquire(&s) == 0);
    CHECK(!alone() || !weft_done(other)); /* T2 */
    CHECK(ended_with(other, 0));
    CHECK(weft_semaphore_locked(&s)); /* T8 */
    CHECK(weft_semaphore_try_acquire(&s) == -EBUSY);
    queue_takers(&s, t, 1);
    CHECK(!weft_done(t[0])); /* T1 */
    CHECK(weft_semaphore_release(&s) == 0);
    CHECK(ended_with(t[0], 0));
    CHECK(weft_semaphore_locked(&s));
    for (int i = 0; i < 5; i++) /* T4: more than it had */
        CHECK(weft_semaphore_release(&s) == 0);
    CHECK(free_permits(&s) == 5);
    return 0;
}

COROUTINE_TEST(bounded)
{
    (void)frame;
    weft_semaphore s = WEFT_BOUNDED_SEMAPHORE_INIT(2), none = WEFT_BOUNDED_SEMAPHORE_INIT(0);
    CHECK(weft_semaphore_release(&s) == -EOVERFLOW); /* T4 */
    CHECK(weft_semaphore_acquire(&s) == 0);
    CHECK(weft_semaphore_release(&s) == 0);
    CHECK(weft_semaphore_release(&s) == -EOVERFLOW);
    CHECK(free_permits(&s) == 2);
    CHECK(weft_semaphore_release(&none) == -EOVERFLOW);
    weft_semaphore most = WEFT_SEMAPHORE_INIT(INT64_MAX);
    CHECK(weft_semaphore_release(&most) == -EOVERFLOW);
    return 0;
}

/* T6, T9, T3: in the order of waiting */
COROUTINE_TEST(releases_wake_in_order)
{
    (void)frame;
    weft_semaphore s = WEFT_SEMAPHORE_INIT(0);
    weft_task *t[4];
    queue_takers(&s, t, 4);
    CHECK(noted(""));
    for (int i = 0; i < 3; i++) {
        CHECK(weft_semaphore_release(&s) == 0);
        if (!alone())
            settle();
    }
    settle();
    CHECK(noted("abc"));
    CHECK(!weft_done(t[3]));
    CHECK(weft_semaphore_release(&s) == 0);
    for (int i = 0; i < 4; i++)
        CHECK(ended_with(t[i], 0));
    CHECK(noted("d"));
    CHECK(free_permits(&s) == 0);
    return 0;
}

/* T3, T8: a free permit is not for newcomers while a woken waiter has not run */
COROUTINE_TEST(woken_is_not_overtaken)
{
    (void)frame;
    weft_semaphore s = WEFT_SEMAPHORE_INIT(0);
    weft_task *t[1];
    queue_takers(&s, t, 1);
    CHECK(weft_semaphore_release(&s) == 0);
    CHECK(weft_semaphore_release(&s) == 0);
    if (alone()) {
        CHECK(weft_semaphore_locked(&s));
        CHECK(weft_semaphore_try_acquire(&s) == -EBUSY);
    }
    CHECK(weft_semaphore_acquire(&s) == 0); /* behind it */
    note('m');
    CHECK(ended_with(t[0], 0));
    CHECK(noted("am") || !alone());
    CHECK(free_permits(&s) == 0);
    return 0;
}

/* T5: cancelled while waiting, cancelled with the permit given, with and without somebody to pass it to */
COROUTINE_TEST(cancelled_waiter)
{
    (void)frame;
    weft_semaphore s = WEFT_SEMAPHORE_INIT(0);
    weft_task *t[3];
    queue_takers(&s, t, 3);
    weft_cancel(t[1]);
    CHECK(weft_semaphore_release(&s) == 0);
    weft_cancel(t[0]);
    settle();
    CHECK(ended_with(t[1], -ECANCELED));
    bool quicker = took(t[0]);
    CHECK(!quicker || weft_semaphore_release(&s) == 0);
    CHECK(ended_with(t[2], 0));
    CHECK(noted(quicker ? "ac" : "c"));
    CHECK(free_permits(&s) == 0);

    queue_takers(&s, t, 1);
    CHECK(weft_semaphore_release(&s) == 0);
    weft_cancel(t[0]);
    quicker = took(t[0]);
    CHECK(free_permits(&s) == (quicker ? 0 : 1));
    return 0;
}

/* Only cancelled waiters: a newcomer may take what is free. */
COROUTINE_TEST(only_cancelled_waiters)
{
    (void)frame;
    weft_semaphore s = WEFT_SEMAPHORE_INIT(0);
    weft_task *t[2];
    queue_takers(&s, t, 2);
    weft_cancel(t[0]);
    weft_cancel(t[1]);
    CHECK(weft_semaphore_release(&s) == 0);
    CHECK(!weft_semaphore_locked(&s));
    CHECK(weft_semaphore_try_acquire(&s) == 0);
    CHECK(ended_with(t[0], -ECANCELED));
    CHECK(ended_with(t[1], -ECANCELED));
    CHECK(free_permits(&s) == 0);
    return 0;
}

/* ---- T1, T5 at random: never more inside than permits, none lost, none made ---- */

struct visitor {
    WEFT_FRAME;
    weft_semaphore *semaphore;
    _Atomic(int) *inside;
    int permits;
    uint64_t seed;
    unsigned rounds;
};

static int visitor(struct visitor *f)
{
    for (unsigned i = 0; i < f->rounds; i++) {
        bool tried = (weft__random(&f->seed) & 7) == 0;
        if ((tried ? weft_semaphore_try_acquire(f->semaphore) : weft_semaphore_acquire(f->semaphore)) != 0)
            continue;
        CHECK(atomic_fetch_add(f->inside, 1) < f->permits);
        if ((weft__random(&f->seed) & 1) != 0)
            weft_yield();
        atomic_fetch_sub(f->inside, 1);
        CHECK(weft_semaphore_release(f->semaphore) == 0);
    }
    return 0;
}
WEFT_CORO(visitor);

struct visits {
    WEFT_FRAME;
    int permits;
    unsigned cancels;
};

static int visits(struct visits *f)
{
    enum { N = 12 };
    weft_semaphore s;
    weft_task *t[N];
    _Atomic(int) inside = 0;
    CHECK(weft_bounded_semaphore_init(&s, f->permits) == 0);
    for (uint64_t i = 0; i < N; i++)
        t[i] = weft_create_task(visitor, .semaphore = &s, .inside = &inside, .permits = f->permits, .seed = 21 + i,
                                .rounds = 300);
    struct cancel_some cancels = {.tasks = t, .n = N, .rounds = f->cancels, .seed = 6};
    CHECK(cancel_some(&cancels) == 0);
    for (int i = 0; i < N; i++) {
        int rc = weft_await_release(t[i]);
        CHECK(rc == 0 || (rc == -ECANCELED && f->cancels != 0));
    }
    CHECK(atomic_load(&inside) == 0);
    CHECK(free_permits(&s) == f->permits);
    CHECK(weft_semaphore_release(&s) == -EOVERFLOW);
    return 0;
}
WEFT_CORO(visits);

static void test_visits(void **state)
{
    (void)state;
    RUN_ON_ALL(visits, .permits = 1, .cancels = 2000);
    RUN_ON_ALL(visits, .permits = 3);
    RUN_ON_ALL(visits, .permits = 3, .cancels = 2000);
}

/* ---- permits from a foreign thread ---- */

static void *give_permits(void *semaphore)
{
    for (int i = 0; i < 1000; i++)
        if (weft_semaphore_release(semaphore) != 0)
            return NULL;
    return semaphore;
}

struct from_thread {
    WEFT_FRAME;
};

static int from_thread(struct from_thread *f)
{
    (void)f;
    weft_semaphore s = WEFT_SEMAPHORE_INIT(0);
    pthread_t thread;
    void *ok = NULL;
    CHECK(pthread_create(&thread, NULL, give_permits, &s) == 0);
    for (int i = 0; i < 1000; i++)
        CHECK(weft_semaphore_acquire(&s) == 0);
    CHECK(pthread_join(thread, &ok) == 0 && ok == &s);
    CHECK(weft_semaphore_locked(&s));
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
        cmocka_unit_test(test_init),
        cmocka_unit_test(test_permits),
        cmocka_unit_test(test_bounded),
        cmocka_unit_test(test_releases_wake_in_order),
        cmocka_unit_test(test_woken_is_not_overtaken),
        cmocka_unit_test(test_cancelled_waiter),
        cmocka_unit_test(test_only_cancelled_waiters),
        cmocka_unit_test(test_visits),
        cmocka_unit_test(test_from_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
