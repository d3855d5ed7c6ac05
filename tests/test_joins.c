/* SPDX-License-Identifier: Apache-2.0 */
/* tests/test_joins.c -- the stack of forked children: its owner alone, what lies open, what is taken back, who asks, a raid with nobody in the
 * way. With thieves: test_joins_races.c. */
#include "executor/membarrier.h"
#include "tests/support/joins.h"
#include "tests/support/threads.h"

/* ---- the owner alone ---- */

static void test_newest_first(void **state)
{
    (void)state;
    struct weft__joins *j = made(4);
    assert_int_equal(weft__joins_pop(j, 0), 0);
    assert_int_equal(weft__joins_pop(j, 5), 0);
    assert_int_equal(weft__joins_pop_oldest(j), 0);
    for (int64_t i = 0; i <= j->mask; i++) /* the inline join looks there, and valgrind at it */
        assert_int_equal(weft__load_relaxed(&j->slots[i]), 0);
    assert_false(pop_inline(j, 5));
    for (uintptr_t i = 1; i <= 100; i++) { /* grows five times */
        assert_true(push(j, i));
        check_order(j);
    }
    assert_int_equal(weft__joins_size(j), 100);
    assert_int_equal(weft__joins_open(j), 0); /* nobody asked, nothing is open */
    assert_int_equal(weft__load_relaxed(&j->pushes), 100);
    for (uintptr_t i = 100; i >= 1; i--) {
        assert_int_equal(weft__joins_pop(j, i == 50 ? 0 : i), i);
        check_order(j);
    }
    assert_int_equal(weft__joins_pop(j, 0), 0);
    assert_int_equal(weft__joins_pop(j, 1), 0); /* its old slot still says 1 */
    assert_true(push(j, 7));
    assert_true(pop_inline(j, 7));
    assert_int_equal(weft__joins_size(j), 0);
    unmade(j);
}

static void test_another_than_the_newest_stays(void **state)
{
    (void)state;
    struct weft__joins *j = made(8);
    for (uintptr_t i = 1; i <= 3; i++)
        assert_true(push(j, i));
    assert_int_equal(weft__joins_pop(j, 2), 0);
    assert_int_equal(weft__joins_pop(j, 1), 0);
    assert_int_equal(weft__joins_pop(j, 9), 0);
    assert_false(pop_inline(j, 2));
    assert_int_equal(weft__joins_size(j), 3);
    assert_true(pop_inline(j, 3));
    assert_int_equal(weft__joins_pop(j, 2), 2);
    assert_true(pop_inline(j, 1));
    check_order(j);
    unmade(j);
}

static void test_oldest_first(void **state)
{
    (void)state;
    struct weft__joins *j = made(4);
    for (uintptr_t i = 1; i <= 100; i++)
        assert_true(push(j, i));
    for (uintptr_t i = 1; i <= 99; i++) {
        assert_int_equal(weft__joins_pop_oldest(j), i);
        check_order(j);
    }
    assert_int_equal(weft__joins_pop_oldest(j), 100); /* never opened, but the owner's */
    assert_int_equal(weft__joins_pop_oldest(j), 0);
    check_order(j);
    unmade(j);
}

/* Half of what is closed, rounded down: never the newest. */
static void test_share_keeps_the_newest(void **state)
{
    (void)state;
    struct weft__joins *j = made(4);
    assert_false(weft__joins_share(j));
    assert_true(push(j, 1));
    assert_false(weft__joins_share(j));
    assert_int_equal(weft__joins_open(j), 0);
    uintptr_t item = 77;
    assert_int_equal(weft__joins_steal(j, &item), WEFT__STEAL_EMPTY);
    assert_int_equal(item, 77);
    for (uintptr_t i = 2; i <= 10; i++)
        assert_true(push(j, i));
    assert_true(weft__joins_share(j));
    assert_int_equal(weft__joins_open(j), 5);
    assert_true(weft__joins_share(j));
    assert_int_equal(weft__joins_open(j), 7);
    assert_true(weft__joins_share(j));
    assert_true(weft__joins_share(j));
    assert_false(weft__joins_share(j));
    assert_int_equal(weft__joins_open(j), 9);
    assert_int_equal(weft__joins_size(j), 10);
    check_order(j);
    for (uintptr_t i = 1; i <= 9; i++) {
        assert_int_equal(weft__joins_steal(j, &item), WEFT__STEAL_GOT);
        assert_int_equal(item, i);
    }
    assert_int_equal(weft__joins_steal(j, &item), WEFT__STEAL_EMPTY);
    assert_true(pop_inline(j, 10));
    assert_false(pop_inline(j, 9)); /* the slot says 9 still; a thief has it */
    check_order(j);
    unmade(j);
}

/* The owner comes down to what it has opened: it takes the newer half back, so that the next ones are plain pops again. */
static void test_the_newer_half_is_taken_back(void **state)
{
    (void)state;
    for (int way = 0; way < 2; way++) {
        struct weft__joins *j = made(64);
        for (uintptr_t i = 1; i <= 41; i++)
            assert_true(push(j, i));
        while (weft__joins_share(j))
            ;
        assert_int_equal(weft__joins_open(j), 40);
        for (uintptr_t i = 41; i >= 1; i--) {
            int64_t open = weft__joins_open(j);
            assert_true(way == 0 ? pop_inline(j, i) : weft__joins_pop(j, i) == i);
            check_order(j);
            if (open == 40 && i == 40)
                assert_int_equal(weft__joins_open(j), 20);
            if (open < (int64_t)i)
                assert_int_equal(weft__joins_open(j), open); /* it was closed */
            assert_true(weft__joins_open(j) <= open);
        }
        assert_int_equal(weft__joins_size(j), 0);
        assert_false(pop_inline(j, 1));
        unmade(j);
    }
}

static void test_the_ring_wraps_without_growing(void **state)
{
    (void)state;
    struct weft__joins *j = made(8);
    struct weft__joins_array *array = weft__load_relaxed(&j->array);
    int64_t start = INT64_C(0x100000000) - 1003; /* across 2^32 */
    weft__store_relaxed(&j->top, start);
    weft__store_relaxed(&j->end, start);
    weft__store_relaxed(&j->floor, start);
    weft__store_relaxed(&j->bottom, start);
    weft__joins_satisfied(j);
    uintptr_t in = 1, out = 1, item = 0;
    for (int round = 0; round < 1000; round++) {
        while (in - out < 8)
            assert_true(push(j, in++));
        for (int i = 0; i < 3; i++)
            assert_int_equal(weft__joins_pop_oldest(j), out++);
        weft__joins_share(j);
        while (weft__joins_steal(j, &item) == WEFT__STEAL_GOT)
            assert_int_equal(item, out++);
        if (in != out) {
            in--;
            assert_true(pop_inline(j, in));
        }
        check_order(j);
    }
    assert_ptr_equal(weft__load_relaxed(&j->array), array);
    unmade(j);
}

/* Who asks lowers the limit: the push that meets it takes the slow way, and then nobody asks any more. */
static void test_asking_sends_a_push_the_slow_way(void **state)
{
    (void)state;
    struct weft__joins *j = made(64);
    int64_t full = weft__load_relaxed(&j->limit);
    assert_int_equal(full, 64);
    weft__joins_ask(j, 1);
    assert_int_equal(weft__load_relaxed(&j->limit), 1);
    weft__joins_ask(j, 5);
    assert_int_equal(weft__load_relaxed(&j->limit), 1); /* it only falls */
    assert_true(push(j, 1));
    assert_int_equal(weft__load_relaxed(&j->limit), 1); /* quickly: the newest is not for others */
    assert_true(push(j, 2));
    assert_int_equal(weft__load_relaxed(&j->limit), full);
    weft__joins_ask(j, 1);
    weft__joins_satisfied(j);
    assert_int_equal(weft__load_relaxed(&j->limit), full);
    unmade(j);
}

/* Where every push must come to the library (debug builds count forks) no question may open the quick way. */
static void test_a_watched_stack_stays_watched(void **state)
{
    (void)state;
    struct weft__joins *j = made(4);
    j->watched = true;
    weft__joins_satisfied(j);
    for (uintptr_t i = 1; i <= 20; i++) {
        weft__joins_ask(j, 1);
        assert_true(weft__load_relaxed(&j->limit) == INT64_MIN);
        assert_true(weft__joins_push_slow(j, i));
        weft__joins_ask(j, 100); /* right after the push, as a thief may */
        assert_true(weft__load_relaxed(&j->limit) == INT64_MIN);
    }
    for (uintptr_t i = 20; i >= 1; i--)
        assert_true(pop_inline(j, i));
    unmade(j);
}

/* Ends with items in several arrays: destroy frees all. Growth with an open and a stolen part. */
static void test_growth_keeps_what_is_there(void **state)
{
    (void)state;
    struct weft__joins *j = made(3); /* four */
    uintptr_t in = 1, out = 1, item = 0;
    for (int round = 0; round < 2000; round++) {
        for (int i = 0; i < 3; i++)
            assert_true(push(j, in++));
        if (round % 3 == 0)
            weft__joins_share(j);
        if (weft__joins_steal(j, &item) == WEFT__STEAL_GOT)
            assert_int_equal(item, out++);
        check_order(j);
        assert_int_equal(weft__joins_size(j), in - out);
    }
    while (in - out > 100) {
        in--;
        assert_true(pop_inline(j, in));
    }
    unmade(j);
}

static int push_until_full(void)
{
    struct weft__joins *j = aligned_alloc(WEFT__CACHELINE, sizeof *j);
    if (j == NULL || weft__joins_init(j, 4, -1) != 0)
        return 2;
    uintptr_t pushed = 0;
    while (push(j, pushed + 1))
        pushed++;
    if (pushed < 1024 || (uintptr_t)weft__joins_size(j) != pushed)
        return 3;
    if (push(j, 1)) /* still no memory, still no harm */
        return 4;
    if (!pop_inline(j, pushed) || !push(j, pushed)) /* room again */
        return 5;
    for (uintptr_t i = pushed; i >= 1; i--)
        if (weft__joins_pop(j, i) != i)
            return 6;
    unmade(j);
    return 0;
}

static void test_short_memory_loses_nothing(void **state)
{
    (void)state;
    if (threads_cannot_starve())
        skip();
    assert_int_equal(threads_run_starved((size_t)16 << 20, push_until_full), 0);
}

/* A raid with nobody in the way: the older half, all of one, and never below what is open already. */
static void test_a_raid_opens_the_older_half(void **state)
{
    (void)state;
    if (!weft__membarrier_prepare())
        skip();
    struct weft__joins *j = made(16);
    assert_false(weft__joins_raid(j));
    assert_true(push(j, 1));
    assert_true(weft__joins_raid(j));
    assert_int_equal(weft__joins_open(j), 1);
    assert_false(weft__joins_raid(j)); /* nothing is closed */
    assert_true(pop_inline(j, 1));     /* and the owner takes it back */
    check_order(j);
    for (uintptr_t i = 1; i <= 9; i++)
        assert_true(push(j, i));
    assert_true(weft__joins_raid(j));
    assert_int_equal(weft__joins_open(j), 5);
    assert_true(weft__joins_raid(j));
    assert_int_equal(weft__joins_open(j), 7);
    check_order(j);
    j->guard = 1; /* somebody else is at it */
    assert_false(weft__joins_raid(j));
    j->guard = 0;
    uintptr_t item;
    for (uintptr_t i = 1; i <= 7; i++) {
        assert_int_equal(weft__joins_steal(j, &item), WEFT__STEAL_GOT);
        assert_int_equal(item, i);
    }
    assert_true(pop_inline(j, 9));
    assert_true(pop_inline(j, 8));
    assert_false(pop_inline(j, 7));
    check_order(j);
    unmade(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_newest_first),
        cmocka_unit_test(test_another_than_the_newest_stays),
        cmocka_unit_test(test_oldest_first),
        cmocka_unit_test(test_share_keeps_the_newest),
        cmocka_unit_test(test_the_newer_half_is_taken_back),
        cmocka_unit_test(test_the_ring_wraps_without_growing),
        cmocka_unit_test(test_asking_sends_a_push_the_slow_way),
        cmocka_unit_test(test_a_watched_stack_stays_watched),
        cmocka_unit_test(test_growth_keeps_what_is_there),
        cmocka_unit_test(test_short_memory_loses_nothing),
        cmocka_unit_test(test_a_raid_opens_the_older_half),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
