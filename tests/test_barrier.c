/* SPDX-License-Identifier: Apache-2.0 */
/* tests/test_barrier.c -- weft_barrier against asyncio.Barrier (U). */
#include "tests/sync_support.h"

struct party {
    WEFT_FRAME;
    weft_barrier *barrier;
    char name;
};

static int party(struct party *f)
{
    int rc = weft_barrier_wait(f->barrier);
    if (rc >= 0)
        note(f->name);
    return rc;
}
WEFT_CORO(party);

static void queue_parties(weft_barrier *barrier, weft_task *tasks[], int n)
{
    for (int i = 0; i < n; i++) {
        tasks[i] = weft_create_task(party, .barrier = barrier, .name = (char)('a' + i));
        settle();
    }
}

static void test_init(void **state)
{
    (void)state;
    weft_barrier b;
    assert_int_equal(weft_barrier_init(&b, 0), -EINVAL);
    assert_int_equal(weft_barrier_init(&b, UINT32_MAX), -EINVAL);
    assert_int_equal(weft_barrier_init(&b, 1), 0);
    assert_int_equal(weft_barrier_wait(&b), 0); /* a party of one never waits: needs no task */
    assert_int_equal(weft_barrier_wait(&b), 0);
    assert_int_equal(weft_barrier_n_waiting(&b), 0);
    assert_false(weft_barrier_broken(&b));
}

/* U1, U2, U6, U8 */
COROUTINE_TEST(rounds)
{
    (void)frame;
    weft_barrier b;
    weft_task *t[3];
    CHECK(weft_barrier_init(&b, 4) == 0);
    for (int round = 0; round < 3; round++) {
        queue_parties(&b, t, 3);
        CHECK(noted(""));
        CHECK(weft_barrier_n_waiting(&b) == 3);
        CHECK(weft_barrier_wait(&b) == 3);
        note('m');
        for (int i = 0; i < 3; i++)
            CHECK(ended_with(t[i], i));
        CHECK(weft_barrier_n_waiting(&b) == 0);
        CHECK(!alone() || noted("mabc"));
        noted("");
    }
    return 0;
}

/* U3 */
COROUTINE_TEST(reset)
{
    (void)frame;
    weft_barrier b;
    weft_task *t[3];
    CHECK(weft_barrier_init(&b, 3) == 0);
    weft_barrier_reset(&b); /* nobody there: nothing */
    queue_parties(&b, t, 2);
    weft_barrier_reset(&b);
    weft_task *late = weft_create_task(party, .barrier = &b, .name = 'l'); /* waits until they have gone */
    CHECK(ended_with(t[0], -EPIPE));
    CHECK(ended_with(t[1], -EPIPE));
    CHECK(!weft_barrier_broken(&b));
    settle();
    CHECK(weft_barrier_n_waiting(&b) == 1);
    queue_parties(&b, t, 2);
    CHECK(ended_with(late, 0));
    CHECK(ended_with(t[0], 1));
    CHECK(ended_with(t[1], 2));
    return 0;
}

/* U4, U6 */
COROUTINE_TEST(abort_and_reset)
{
    (void)frame;
    weft_barrier b;
    weft_task *t[3];
    CHECK(weft_barrier_init(&b, 3) == 0);
    queue_parties(&b, t, 2);
    weft_barrier_abort(&b);
    CHECK(weft_barrier_broken(&b));
    CHECK(weft_barrier_n_waiting(&b) == 0);
    CHECK(ended_with(t[0], -EPIPE));
    CHECK(ended_with(t[1], -EPIPE));
    CHECK(weft_barrier_wait(&b) == -EPIPE);
    weft_barrier_reset(&b);
    CHECK(!weft_barrier_broken(&b));
    queue_parties(&b, t, 3);
    for (int i = 0; i < 3; i++)
        CHECK(ended_with(t[i], i));

    queue_parties(&b, t, 2); /* reset while the aborted ones are still leaving */
    weft_barrier_abort(&b);
    weft_barrier_reset(&b);
    CHECK(ended_with(t[0], -EPIPE));
    CHECK(ended_with(t[1], -EPIPE));
    queue_parties(&b, t, 3);
    for (int i = 0; i < 3; i++)
        CHECK(ended_with(t[i], i));
    return 0;
}

/* U5; who comes after a cancelled one gets its index by the number inside, as in asyncio */
COROUTINE_TEST(cancelled_party)
{
    (void)frame;
    weft_barrier b;
    weft_task *t[3];
    CHECK(weft_barrier_init(&b, 3) == 0);
    queue_parties(&b, t, 2);
    weft_cancel(t[0]);
    CHECK(ended_with(t[0], -ECANCELED));
    CHECK(!weft_barrier_broken(&b));
    CHECK(weft_barrier_n_waiting(&b) == 1);
    settle();
    weft_task *third[1];
    queue_parties(&b, third, 1);
    CHECK(weft_barrier_n_waiting(&b) == 2);
    CHECK(weft_barrier_wait(&b) == 2);
    CHECK(ended_with(t[1], 1));
    CHECK(ended_with(third[0], 1));

    queue_parties(&b, t, 1); /* the only one inside */
    weft_cancel(t[0]);
    CHECK(ended_with(t[0], -ECANCELED));
    queue_parties(&b, t, 3);
    for (int i = 0; i < 3; i++)
        CHECK(ended_with(t[i], i));
    return 0;
}

/* U8: a cancelled one wakes the next, which waits on at the end: as asyncio's condition, and so its barrier, does. */
COROUTINE_TEST(order_after_a_cancellation)
{
    (void)frame;
    weft_barrier b;
    weft_task *t[3], *fourth;
    CHECK(weft_barrier_init(&b, 4) == 0);
    queue_parties(&b, t, 3);
    weft_cancel(t[0]);
    settle();
    fourth = weft_create_task(party, .barrier = &b, .name = 'd');
    settle();
    CHECK(weft_barrier_wait(&b) == 3);
    note('m');
    settle();
    CHECK(!alone() || noted("mcbd"));
    CHECK(ended_with(t[0], -ECANCELED));
    CHECK(ended_with(t[1], 1));
    CHECK(ended_with(t[2], 2));
    CHECK(ended_with(fourth, 2));
    return 0;
}

/* Cancelled when already let go: it is cancelled, the round is complete, the next one is not disturbed. */
COROUTINE_TEST(cancelled_while_leaving)
{
    (void)frame;
    weft_barrier b;
    weft_task *t[3];
    CHECK(weft_barrier_init(&b, 3) == 0);
    queue_parties(&b, t, 2);
    CHECK(weft_barrier_wait(&b) == 2);
    weft_cancel(t[0]);
    int rc = weft_await_release(t[0]);
    CHECK(rc == -ECANCELED || (rc == 0 && !alone()));
    CHECK(ended_with(t[1], 1));
    queue_parties(&b, t, 3);
    for (int i = 0; i < 3; i++)
        CHECK(ended_with(t[i], i));
    return 0;
}

/* U7 */
COROUTINE_TEST(newcomer_during_release)
{
    (void)frame;
    weft_barrier b;
    weft_task *t[1], *u[1];
    CHECK(weft_barrier_init(&b, 2) == 0);
    queue_parties(&b, t, 1);
    CHECK(weft_barrier_wait(&b) == 1);
    weft_task *outside = weft_create_task(party, .barrier = &b, .name = 'o');
    CHECK(!alone() || !weft_done(t[0])); /* it has not left yet: both are newcomers */
    weft_cancel(outside);
    weft_timeout limit;
    weft_timeout_begin(&limit, WEFT_SEC(1));
    int next = weft_timeout_end(&limit, weft_barrier_wait(&b));
    int rc = weft_await_release(outside);
    CHECK(rc == -ECANCELED || (!alone() && (rc == 0 || rc == 1)));
    CHECK(next == -ETIMEDOUT ? rc == -ECANCELED : !alone() && (next == 0 || next == 1));
    CHECK(ended_with(t[0], 0));
    queue_parties(&b, u, 1);
    CHECK(weft_barrier_wait(&b) == 1);
    CHECK(ended_with(u[0], 0));
    return 0;
}

/* U7: one worker, so that it is known who stands where. One that waits outside is cancelled, another gets in. */
COROUTINE_TEST(waiting_outside)
{
    (void)frame;
    weft_barrier b;
    weft_task *inside[1], *outside[2];
    if (!alone())
        return 0;
    CHECK(weft_barrier_init(&b, 2) == 0);
    queue_parties(&b, inside, 1);
    outside[0] = weft_create_task(party, .barrier = &b, .name = 'x');
    outside[1] = weft_create_task(party, .barrier = &b, .name = 'y');
    CHECK(weft_barrier_wait(&b) == 1);
    CHECK(weft_yield() == 0); /* x and y come and wait outside, then the one inside leaves and wakes them */
    CHECK(weft_done(inside[0]) && weft_barrier_n_waiting(&b) == 0);
    weft_cancel(outside[0]);
    settle();
    CHECK(weft_barrier_n_waiting(&b) == 1);
    CHECK(weft_barrier_wait(&b) == 1);
    CHECK(ended_with(inside[0], 0));
    CHECK(ended_with(outside[0], -ECANCELED));
    CHECK(ended_with(outside[1], 0));
    return 0;
}

/* ---- generations: nobody is let out of round r before all have come to it ---- */

enum { PARTIES = 6, ROUNDS = 200 };

struct walker {
    WEFT_FRAME;
    weft_barrier *barrier;
    _Atomic(int) *arrived; /* by round */
    _Atomic(int) *indexes; /* sum by round */
    uint64_t seed;
};

static int walker(struct walker *f)
{
    for (int round = 0; round < ROUNDS; round++) {
        if ((weft__random(&f->seed) & 1) != 0)
            weft_yield();
        atomic_fetch_add(&f->arrived[round], 1);
        int index = weft_barrier_wait(f->barrier);
        CHECK(index >= 0 && index < PARTIES);
        CHECK(atomic_load(&f->arrived[round]) == PARTIES);
        atomic_fetch_add(&f->indexes[round], 1 << (4 * index));
    }
    return 0;
}
WEFT_CORO(walker);

COROUTINE_TEST(generations)
{
    (void)frame;
    weft_barrier b;
    weft_task *t[PARTIES];
    _Atomic(int) arrived[ROUNDS] = {0}, indexes[ROUNDS] = {0};
    CHECK(weft_barrier_init(&b, PARTIES) == 0);
    for (uint64_t i = 0; i < PARTIES; i++)
        t[i] = weft_create_task(walker, .barrier = &b, .arrived = arrived, .indexes = indexes, .seed = i + 1);
    for (int i = 0; i < PARTIES; i++)
        CHECK(ended_with(t[i], 0));
    for (int round = 0; round < ROUNDS; round++)
        CHECK(atomic_load(&indexes[round]) == 0x111111); /* each index once */
    CHECK(weft_barrier_n_waiting(&b) == 0);
    return 0;
}

/* ---- everything at once: whatever happens, the barrier is as new afterwards ---- */

struct stroller {
    WEFT_FRAME;
    weft_barrier *barrier;
    _Atomic(int) *passed;
    atomic_bool *stop;
};

static int stroller(struct stroller *f)
{
    while (!atomic_load(f->stop)) {
        int rc = weft_barrier_wait(f->barrier);
        CHECK((rc >= 0 && rc < 3) || rc == -EPIPE || rc == -ECANCELED);
        if (rc >= 0)
            atomic_fetch_add(f->passed, 1);
        else
            weft_yield();
    }
    return 0;
}
WEFT_CORO(stroller);

COROUTINE_TEST(turmoil)
{
    (void)frame;
    enum { N = 8 };
    weft_barrier b;
    weft_task *t[N];
    _Atomic(int) passed = 0;
    atomic_bool stop = false;
    uint64_t seed = 31;
    CHECK(weft_barrier_init(&b, 3) == 0);
    for (int i = 0; i < N; i++)
        t[i] = weft_create_task(stroller, .barrier = &b, .passed = &passed, .stop = &stop);
    for (int i = 0; i < 1500; i++) {
        uint64_t random = weft__random(&seed);
        switch (random & 15) {
        case 0:
            weft_barrier_reset(&b);
            break;
        case 1:
            weft_barrier_abort(&b);
            break;
        case 2:
        case 3:
        case 4:
            weft_cancel(t[(random >> 8) % N]);
            break;
        default:
            weft_yield();
            break;
        }
        if ((random & 15) == 1 && (random & 16) == 0)
            weft_barrier_reset(&b);
    }
    weft_barrier_reset(&b);
    int before = atomic_load(&passed);
    while (atomic_load(&passed) < before + 9) /* it works */
        weft_yield();
    atomic_store(&stop, true);
    cancel_until_ended(t, N);
    CHECK(weft_barrier_n_waiting(&b) == 0);
    CHECK(!weft_barrier_broken(&b));
    weft_task *u[2];
    queue_parties(&b, u, 2);
    CHECK(weft_barrier_wait(&b) == 2);
    CHECK(ended_with(u[0], 0));
    CHECK(ended_with(u[1], 1));
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_init),
        cmocka_unit_test(test_rounds),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_abort_and_reset),
        cmocka_unit_test(test_cancelled_party),
        cmocka_unit_test(test_order_after_a_cancellation),
        cmocka_unit_test(test_cancelled_while_leaving),
        cmocka_unit_test(test_newcomer_during_release),
        cmocka_unit_test(test_waiting_outside),
        cmocka_unit_test(test_generations),
        cmocka_unit_test(test_turmoil),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
