/* SPDX-License-Identifier: Apache-2.0 */
/* tests/test_deque.c -- the deque by roles: its owner alone, one thief, many thieves, growth under theft, the last
 * item, and that nobody starves. Items are numbers from 1; a tally for each counts how often it was taken: exactly
 * once. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sched.h>
#include <string.h>

#include "executor/deque.h"
#include "tests/support/threads.h"

#define THIEVES 4U

/* ---- the owner alone ---- */

static void test_newest_is_last_in_first_out(void **state)
{
    (void)state;
    struct weft__deque d;
    assert_int_equal(weft__deque_init(&d, 4, -1), 0);
    assert_int_equal(weft__deque_pop_newest(&d), 0);
    for (uintptr_t i = 1; i <= 100; i++)
        assert_true(weft__deque_push(&d, i));
    assert_int_equal(weft__deque_size(&d), 100);
    for (uintptr_t i = 100; i >= 1; i--)
        assert_int_equal(weft__deque_pop_newest(&d), i);
    assert_int_equal(weft__deque_pop_newest(&d), 0);
    assert_int_equal(weft__deque_size(&d), 0);
    assert_true(weft__deque_push(&d, 7)); /* usable after it was empty */
    assert_int_equal(weft__deque_pop_newest(&d), 7);
    weft__deque_destroy(&d);
}

static void test_oldest_is_first_in_first_out(void **state)
{
    (void)state;
    struct weft__deque d;
    assert_int_equal(weft__deque_init(&d, 0, -1), 0); /* rounded up to one */
    assert_int_equal(weft__deque_pop_oldest(&d), 0);
    for (uintptr_t i = 1; i <= 100; i++)
        assert_true(weft__deque_push(&d, i));
    for (uintptr_t i = 1; i <= 50; i++)
        assert_int_equal(weft__deque_pop_oldest(&d), i);
    uintptr_t item = 0;
    for (uintptr_t i = 51; i <= 99; i++) {
        assert_int_equal(weft__deque_steal(&d, &item), WEFT__STEAL_GOT);
        assert_int_equal(item, i);
    }
    assert_int_equal(weft__deque_pop_newest(&d), 100);
    assert_int_equal(weft__deque_pop_oldest(&d), 0);
    assert_int_equal(weft__deque_steal(&d, &item), WEFT__STEAL_EMPTY);
    assert_int_equal(item, 99); /* untouched */
    weft__deque_destroy(&d);
}

static void test_newest_if_takes_only_that_item(void **state)
{
    (void)state;
    struct weft__deque d;
    assert_int_equal(weft__deque_init(&d, 8, -1), 0);
    assert_false(weft__deque_pop_newest_if(&d, 1));
    for (uintptr_t i = 1; i <= 3; i++)
        assert_true(weft__deque_push(&d, i));
    assert_false(weft__deque_pop_newest_if(&d, 2)); /* there, but not the newest */
    assert_false(weft__deque_pop_newest_if(&d, 9));
    assert_int_equal(weft__deque_size(&d), 3);
    assert_true(weft__deque_pop_newest_if(&d, 3));
    assert_true(weft__deque_pop_newest_if(&d, 2));
    assert_true(weft__deque_pop_newest_if(&d, 1));
    assert_false(weft__deque_pop_newest_if(&d, 1)); /* its old slot still says 1 */
    assert_int_equal(weft__deque_size(&d), 0);
    weft__deque_destroy(&d);
}

static void test_oldest_if_takes_only_that_item(void **state)
{
    (void)state;
    struct weft__deque d;
    assert_int_equal(weft__deque_init(&d, 8, -1), 0);
    assert_false(weft__deque_pop_oldest_if(&d, 1));
    for (uintptr_t i = 1; i <= 3; i++)
        assert_true(weft__deque_push(&d, i));
    assert_false(weft__deque_pop_oldest_if(&d, 2)); /* there, but not the oldest */
    assert_true(weft__deque_pop_oldest_if(&d, 1));
    assert_true(weft__deque_pop_oldest_if(&d, 2));
    assert_true(weft__deque_pop_oldest_if(&d, 3));
    assert_false(weft__deque_pop_oldest_if(&d, 3)); /* its old slot still says 3 */
    weft__deque_destroy(&d);
}

static void test_the_ring_wraps_without_growing(void **state)
{
    (void)state;
    struct weft__deque d;
    assert_int_equal(weft__deque_init(&d, 8, -1), 0);
    struct weft__deque_array *array = weft__load_relaxed(&d.array);
    /* Across 2^32 and with a start that is no multiple of the capacity. */
    weft__store_relaxed(&d.top, INT64_C(0x100000000) - 1003);
    weft__store_relaxed(&d.bottom, INT64_C(0x100000000) - 1003);
    uintptr_t in = 1, out = 1, item = 0;
    for (int round = 0; round < 1000; round++) {
        while (in - out < 8)
            assert_true(weft__deque_push(&d, in++));
        for (int i = 0; i < 3; i++)
            assert_int_equal(weft__deque_pop_oldest(&d), out++);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(weft__deque_steal(&d, &item), WEFT__STEAL_GOT);
            assert_int_equal(item, out++);
        }
        assert_int_equal(weft__deque_pop_newest(&d), --in);
    }
    assert_ptr_equal(weft__load_relaxed(&d.array), array);
    weft__deque_destroy(&d);
}

/* Growth with the oldest item in the middle of the ring; ends with items inside: destroy frees all arrays. */
static void test_growth_keeps_order(void **state)
{
    (void)state;
    struct weft__deque d;
    assert_int_equal(weft__deque_init(&d, 3, -1), 0); /* four */
    uintptr_t in = 1, out = 1;
    for (int round = 0; round < 2000; round++) {
        for (int i = 0; i < 3; i++)
            assert_true(weft__deque_push(&d, in++));
        assert_int_equal(weft__deque_pop_oldest(&d), out++);
        assert_int_equal(weft__deque_size(&d), in - out);
    }
    while (in - out > 100)
        assert_int_equal(weft__deque_pop_oldest(&d), out++);
    weft__deque_destroy(&d);
}

static int push_until_full(void)
{
    struct weft__deque d;
    if (weft__deque_init(&d, SIZE_MAX, -1) != -ENOMEM || weft__deque_init(&d, (size_t)1 << 32, -1) != -ENOMEM)
        return 1;
    if (weft__deque_init(&d, 4, -1) != 0)
        return 2;
    uintptr_t pushed = 0;
    while (weft__deque_push(&d, pushed + 1))
        pushed++;
    if (pushed < 1024 || (uintptr_t)weft__deque_size(&d) != pushed)
        return 3;
    if (weft__deque_push(&d, 1)) /* still no memory, still no harm */
        return 4;
    if (weft__deque_pop_oldest(&d) != 1 || !weft__deque_push(&d, ++pushed)) /* room again */
        return 5;
    for (uintptr_t i = 2; i <= pushed; i++)
        if (weft__deque_pop_oldest(&d) != i)
            return 6;
    weft__deque_destroy(&d);
    return 0;
}

static void test_short_memory_loses_nothing(void **state)
{
    (void)state;
    if (threads_cannot_starve())
        skip();
    assert_int_equal(threads_run_starved((size_t)16 << 20, push_until_full), 0);
}

/* ---- with thieves: thread 0 is the owner ---- */

struct game {
    struct weft__deque d;
    unsigned thieves, items; /* items are 1 .. items */
    uint64_t seed;
    _Atomic(bool) over;            /* the owner has pushed all and found the deque empty */
    _Atomic(unsigned char) *tally; /* one for each item */
    _Atomic(uint64_t) stolen[THREADS_MAX];
    _Atomic(unsigned) faults;
};

static void game_take(struct game *g, uintptr_t item)
{
    if (item == 0 || item > g->items)
        weft__fetch_add_relaxed(&g->faults, 1);
    else
        weft__fetch_add_relaxed(&g->tally[item], 1);
}

static void game_thief(struct game *g, unsigned index)
{
    uintptr_t item = 0, last = 0;
    for (;;) {
        bool over = weft__load_acquire(&g->over);
        enum weft__steal how = weft__deque_steal(&g->d, &item);
        if (how == WEFT__STEAL_GOT) {
            game_take(g, item);
            if (g->thieves == 1 && item <= last) /* one thief sees a queue */
                weft__fetch_add_relaxed(&g->faults, 1);
            last = item;
            weft__count(&g->stolen[index], 1);
        } else if (how == WEFT__STEAL_EMPTY) {
            if (over)
                return;
            sched_yield();
        }
    }
}

static void game_play(struct game *g, void (*body)(void *shared, unsigned index), size_t capacity)
{
    g->tally = calloc(g->items + 1, sizeof *g->tally);
    assert_non_null(g->tally);
    assert_int_equal(weft__deque_init(&g->d, capacity, -1), 0);
    threads_run(1 + g->thieves, body, g);
    assert_int_equal(weft__deque_size(&g->d), 0);
    assert_int_equal(weft__load_relaxed(&g->faults), 0);
    unsigned wrong = 0;
    for (unsigned i = 1; i <= g->items; i++)
        wrong += weft__load_relaxed(&g->tally[i]) != 1;
    assert_int_equal(wrong, 0);
    weft__deque_destroy(&g->d);
    free(g->tally);
}

static void spsc_body(void *shared, unsigned index)
{
    struct game *g = shared;
    if (index != 0) {
        game_thief(g, index);
        return;
    }
    for (uintptr_t i = 1; i <= g->items; i++) {
        if (!weft__deque_push(&g->d, i))
            weft__fetch_add_relaxed(&g->faults, 1);
        if (i % 64 == 0)
            while (weft__deque_size(&g->d) > 1000)
                sched_yield();
    }
    weft__store_release(&g->over, true);
}

static void test_spsc(void **state)
{
    (void)state;
    struct game g = {.thieves = 1, .items = threads_scale(2000000)};
    game_play(&g, spsc_body, 16);
    assert_int_equal(weft__load_relaxed(&g.stolen[1]), g.items);
}

/* The owner pushes and pops at random from both ends while all thieves steal. */
static void stampede_body(void *shared, unsigned index)
{
    struct game *g = shared;
    if (index != 0) {
        game_thief(g, index);
        return;
    }
    uint64_t random = g->seed;
    uintptr_t next = 1;
    while (next <= g->items) {
        uint64_t r = weft__random(&random) >> 32;
        for (uint64_t n = r % 8; n > 0 && next <= g->items; n--)
            if (!weft__deque_push(&g->d, next++))
                weft__fetch_add_relaxed(&g->faults, 1);
        for (uint64_t n = r / 8 % 8; n > 0; n--) {
            uintptr_t item;
            if (r & 1024) {
                item = weft__deque_pop_oldest(&g->d);
            } else if (r & 2048) {
                item = next - 1; /* the newest, or gone */
                if (!weft__deque_pop_newest_if(&g->d, item))
                    item = 0;
            } else {
                item = weft__deque_pop_newest(&g->d);
            }
            if (item)
                game_take(g, item);
        }
    }
    for (uintptr_t item; (item = weft__deque_pop_newest(&g->d)) != 0;)
        game_take(g, item);
    weft__store_release(&g->over, true);
}

static void test_stampede(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct game g = {.thieves = THIEVES, .items = threads_scale(1500000), .seed = seed};
        game_play(&g, stampede_body, 64);
    }
}

/* Bursts from empty, each bigger than the last, so that the array is replaced while thieves read it. */
static void growth_body(void *shared, unsigned index)
{
    struct game *g = shared;
    if (index != 0) {
        game_thief(g, index);
        return;
    }
    uintptr_t next = 1;
    for (unsigned burst = 2; next <= g->items; burst *= 2) {
        for (unsigned i = 0; i < burst && next <= g->items; i++)
            if (!weft__deque_push(&g->d, next++))
                weft__fetch_add_relaxed(&g->faults, 1);
        for (unsigned i = 0; i < burst / 4; i++) {
            uintptr_t item = weft__deque_pop_newest(&g->d);
            if (item)
                game_take(g, item);
        }
    }
    weft__store_release(&g->over, true);
}

static void test_growth_under_theft(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 20; round++) {
        struct game g = {.thieves = THIEVES, .items = threads_scale(60000)};
        game_play(&g, growth_body, 1);
    }
}

/* One item at a time: the owner's three ways to take it, each against all thieves. */
static void last_item_body(void *shared, unsigned index)
{
    struct game *g = shared;
    if (index != 0) {
        game_thief(g, index);
        return;
    }
    for (uintptr_t i = 1; i <= g->items; i++) {
        if (!weft__deque_push(&g->d, i))
            weft__fetch_add_relaxed(&g->faults, 1);
        uintptr_t item;
        if (i % 3 == 0)
            item = weft__deque_pop_newest(&g->d);
        else if (i % 3 == 1)
            item = weft__deque_pop_oldest(&g->d);
        else
            item = weft__deque_pop_newest_if(&g->d, i) ? i : 0;
        if (item)
            game_take(g, item);
        if (weft__deque_size(&g->d) != 0) /* whoever took it, it is gone now */
            weft__fetch_add_relaxed(&g->faults, 1);
    }
    weft__store_release(&g->over, true);
}

static void test_the_last_item_goes_to_one(void **state)
{
    (void)state;
    struct game g = {.thieves = 2, .items = threads_scale(3000000)};
    game_play(&g, last_item_body, 4);
}

/* An owner that never stops keeps nobody from stealing: each thief ends after its share; the owner only when all
 * have. */
struct feast {
    struct weft__deque d;
    unsigned share;
    _Atomic(unsigned) fed;
};

static void feast_body(void *shared, unsigned index)
{
    struct feast *f = shared;
    uintptr_t item = 0;
    if (index != 0) {
        for (unsigned got = 0; got < f->share;)
            got += weft__deque_steal(&f->d, &item) == WEFT__STEAL_GOT;
        weft__fetch_add_acq_rel(&f->fed, 1);
        return;
    }
    for (unsigned i = 0; weft__load_acquire(&f->fed) < THIEVES; i++) {
        weft__deque_push(&f->d, 1);
        weft__deque_push(&f->d, 2);
        weft__deque_pop_newest(&f->d);
        if (i % 2)
            weft__deque_pop_oldest(&f->d);
        if (weft__deque_size(&f->d) > 10000)
            sched_yield();
    }
}

static void test_no_starvation(void **state)
{
    (void)state;
    struct feast f = {.share = threads_scale(2000)};
    assert_int_equal(weft__deque_init(&f.d, 64, -1), 0);
    threads_run(1 + THIEVES, feast_body, &f);
    assert_int_equal(weft__load_relaxed(&f.fed), THIEVES);
    weft__deque_destroy(&f.d);
}

/* What the pusher wrote before the push is there for the thief (thread sanitizer proves it; the values show it). */
struct parcel {
    uint64_t a, b;
};
struct post {
    struct weft__deque d;
    struct parcel *parcels;
    unsigned count;
    _Atomic(unsigned) received;
    _Atomic(unsigned) torn;
};

static void post_body(void *shared, unsigned index)
{
    struct post *p = shared;
    if (index == 0) {
        for (unsigned i = 0; i < p->count; i++) {
            p->parcels[i] = (struct parcel){.a = i + 1, .b = ~(uint64_t)(i + 1)};
            while (!weft__deque_push(&p->d, (uintptr_t)&p->parcels[i]))
                sched_yield();
        }
        return;
    }
    while (weft__load_relaxed(&p->received) < p->count) {
        uintptr_t item = 0;
        if (weft__deque_steal(&p->d, &item) != WEFT__STEAL_GOT) {
            sched_yield();
            continue;
        }
        struct parcel *parcel = (struct parcel *)item;
        if (parcel->a == 0 || parcel->b != ~parcel->a)
            weft__fetch_add_relaxed(&p->torn, 1);
        weft__fetch_add_relaxed(&p->received, 1);
    }
}

static void test_contents_travel_with_items(void **state)
{
    (void)state;
    struct post p = {.count = threads_scale(100000)};
    p.parcels = calloc(p.count, sizeof *p.parcels);
    assert_non_null(p.parcels);
    assert_int_equal(weft__deque_init(&p.d, 2, -1), 0);
    threads_run(1 + THIEVES, post_body, &p);
    assert_int_equal(weft__load_relaxed(&p.torn), 0);
    assert_int_equal(weft__load_relaxed(&p.received), p.count);
    weft__deque_destroy(&p.d);
    free(p.parcels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_newest_is_last_in_first_out),
        cmocka_unit_test(test_oldest_is_first_in_first_out),
        cmocka_unit_test(test_newest_if_takes_only_that_item),
        cmocka_unit_test(test_oldest_if_takes_only_that_item),
        cmocka_unit_test(test_the_ring_wraps_without_growing),
        cmocka_unit_test(test_growth_keeps_order),
        cmocka_unit_test(test_short_memory_loses_nothing),
        cmocka_unit_test(test_spsc),
        cmocka_unit_test(test_stampede),
        cmocka_unit_test(test_growth_under_theft),
        cmocka_unit_test(test_the_last_item_goes_to_one),
        cmocka_unit_test(test_no_starvation),
        cmocka_unit_test(test_contents_travel_with_items),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
