/* SPDX-License-Identifier: Apache-2.0 */
/* tests/test_joins.c -- the stack of forked children by roles: its owner alone, what is open to thieves, who gets the last one, raids on an
 * owner that pushes and pops as fast as it can. Items are numbers from 1; a tally for each counts how often it was taken: exactly once.
 * The raids need membarrier and are skipped without it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sched.h>
#include <string.h>

#include "executor/joins.h"
#include "executor/membarrier.h"
#include "tests/support/threads.h"

#define THIEVES 3U

static struct weft__joins *made(size_t capacity)
{
    struct weft__joins *j = aligned_alloc(WEFT__CACHELINE, sizeof *j);
    assert_non_null(j);
    assert_int_equal(weft__joins_init(j, capacity), 0);
    return j;
}

static void unmade(struct weft__joins *j)
{
    weft__joins_destroy(j);
    free(j);
}

/* What the inline fork does: the quick way while there is room and nobody asks. */
static bool push(struct weft__joins *j, uintptr_t item)
{
    int64_t b = weft__load_relaxed(&j->bottom);
    if (b >= weft__load_relaxed(&j->limit))
        return weft__joins_push_slow(j, item);
    weft__store_relaxed(&j->slots[b & j->mask], item);
    weft__count(&j->pushes, 1);
    weft__store_release(&j->bottom, b + 1);
    return true;
}

/* What the inline join does: nothing is known but that the newest slot holds the item. */
static bool pop_inline(struct weft__joins *j, uintptr_t item)
{
    int64_t b = weft__load_relaxed(&j->bottom) - 1;
    if (weft__load_relaxed(&j->slots[b & j->mask]) != item)
        return false;
    weft__store_release(&j->bottom, b);
    weft__compiler_barrier();
    return weft__load_acquire(&j->floor) <= b || weft__joins_pop_open(j, b);
}

/* The indices as they must be when nobody is in the middle of anything. */
static void check_order(const struct weft__joins *j)
{
    int64_t top = weft__load_relaxed(&j->top), end = weft__load_relaxed(&j->end);
    int64_t floor = weft__load_relaxed(&j->floor), bottom = weft__load_relaxed(&j->bottom);
    assert_true(0 <= top && top <= end);
    assert_true(end == floor && floor <= bottom);
    assert_true(bottom - top <= j->mask + 1);
    assert_true(weft__load_relaxed(&j->limit) <= top + j->mask + 1);
    assert_int_equal(weft__joins_size(j), bottom - top);
    assert_int_equal(weft__joins_open(j), end - top);
}

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
    if (j == NULL || weft__joins_init(j, 4) != 0)
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

/* ---- with thieves: thread 0 is the owner ---- */

struct game {
    struct weft__joins *j;
    unsigned items; /* 1 .. items */
    unsigned raid_one_in;
    uint64_t seed;
    bool share; /* the owner answers who asks */
    _Atomic(bool) over;
    _Atomic(unsigned char) *tally;
    _Atomic(uint64_t) stolen, raids;
    _Atomic(unsigned) faults;
};

static void fault(struct game *g)
{
    weft__fetch_add_relaxed(&g->faults, 1);
}

static void game_take(struct game *g, uintptr_t item)
{
    if (item == 0 || item > g->items)
        fault(g);
    else
        weft__fetch_add_relaxed(&g->tally[item], 1);
}

static void game_thief(struct game *g, unsigned index)
{
    uint64_t random = g->seed * 31 + index;
    uintptr_t item = 0;
    for (;;) {
        bool over = weft__load_acquire(&g->over);
        if (weft__joins_size(g->j) < 0 || weft__joins_open(g->j) < 0)
            fault(g);
        enum weft__steal how = weft__joins_steal(g->j, &item);
        if (how == WEFT__STEAL_GOT) {
            game_take(g, item);
            weft__fetch_add_relaxed(&g->stolen, 1);
            continue;
        }
        if (how != WEFT__STEAL_EMPTY)
            continue;
        if (over)
            return;
        if (g->share && weft__joins_size(g->j) >= 2)
            weft__joins_ask(g->j, 1);
        if (g->raid_one_in != 0 && weft__random(&random) % g->raid_one_in == 0)
            weft__fetch_add_relaxed(&g->raids, weft__joins_raid(g->j));
        else
            sched_yield();
    }
}

static void game_push(struct game *g, uintptr_t item)
{
    bool slow = weft__load_relaxed(&g->j->bottom) >= weft__load_relaxed(&g->j->limit);
    if (!push(g->j, item))
        fault(g);
    if (slow && g->share)
        weft__joins_share(g->j);
}

/* A long step: until somebody has come for what is closed. So there are raids however the threads are scheduled. */
static void stand_still(struct game *g)
{
    uint64_t raids = weft__load_relaxed(&g->raids);
    while (weft__joins_size(g->j) > weft__joins_open(g->j) && weft__load_relaxed(&g->raids) == raids)
        sched_yield();
}

/* Pushes and pops at random, newest first as forks are joined. What thieves have got it finds gone. */
static void owner_at_random(struct game *g)
{
    uint64_t random = g->seed;
    enum { DEEP = 600 };
    uintptr_t held[DEEP], next = 1;
    unsigned n = 0, stands = 0;
    while (next <= g->items || n != 0) {
        if (g->raid_one_in != 0 && next > g->items / 20 * stands) {
            stand_still(g);
            stands++;
        }
        uint64_t r = weft__random(&random) >> 32;
        for (uint64_t k = r % 6; k > 0 && next <= g->items && n < DEEP; k--) {
            held[n++] = next;
            game_push(g, next++);
        }
        for (uint64_t k = next > g->items ? n : r / 8 % 7; k > 0 && n > 0; k--) {
            uintptr_t item = held[--n];
            if (r & 4096 ? pop_inline(g->j, item) : weft__joins_pop(g->j, item) == item)
                game_take(g, item);
        }
        if (r % 64 == 0) { /* as the scheduler does now and then; the join of that one finds it gone */
            uintptr_t item = r & 64 ? weft__joins_pop_oldest(g->j) : weft__joins_pop(g->j, 0);
            if (item != 0)
                game_take(g, item);
        }
    }
    if (weft__joins_size(g->j) != 0)
        fault(g);
    weft__store_release(&g->over, true);
}

/* One item at a time. */
static void owner_last_item(struct game *g)
{
    for (uintptr_t i = 1; i <= g->items; i++) {
        game_push(g, i);
        if (i % 10000 == 0)
            stand_still(g);
        if (i % 3 == 0   ? weft__joins_pop(g->j, 0) == i
            : i % 3 == 1 ? pop_inline(g->j, i)
                         : weft__joins_pop_oldest(g->j) == i)
            game_take(g, i);
        if (weft__joins_size(g->j) != 0) /* whoever took it, it is gone now */
            fault(g);
    }
    weft__store_release(&g->over, true);
}

/* Bursts, each bigger than the last: the array is replaced while thieves read it and raid. */
static void owner_grows(struct game *g)
{
    uintptr_t next = 1;
    for (unsigned burst = 2; next <= g->items; burst *= 2) {
        uintptr_t first = next;
        for (unsigned i = 0; i < burst && next <= g->items; i++)
            game_push(g, next++);
        for (uintptr_t i = next - 1; i >= first && i > next - 1 - burst / 4; i--)
            if (pop_inline(g->j, i))
                game_take(g, i);
    }
    for (uintptr_t item; (item = weft__joins_pop(g->j, 0)) != 0;)
        game_take(g, item);
    weft__store_release(&g->over, true);
}

struct play {
    struct game *g;
    void (*owner)(struct game *g);
};

static void play_body(void *shared, unsigned index)
{
    struct play *p = shared;
    if (index == 0)
        p->owner(p->g);
    else
        game_thief(p->g, index);
}

static void game_play(struct game *g, void (*owner)(struct game *g), size_t capacity)
{
    g->tally = calloc(g->items + 1, sizeof *g->tally);
    assert_non_null(g->tally);
    g->j = made(capacity);
    struct play play = {g, owner};
    threads_run(1 + THIEVES, play_body, &play);
    check_order(g->j);
    assert_int_equal(weft__joins_size(g->j), 0);
    assert_int_equal(weft__load_relaxed(&g->faults), 0);
    unsigned wrong = 0;
    for (unsigned i = 1; i <= g->items; i++)
        wrong += weft__load_relaxed(&g->tally[i]) != 1;
    assert_int_equal(wrong, 0);
    unmade(g->j);
    free(g->tally);
}

static void test_thieves_on_the_open_part(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct game g = {.items = threads_scale(1000000), .seed = seed, .share = true};
        game_play(&g, owner_at_random, 64);
    }
}

static void test_raids_on_a_fast_owner(void **state)
{
    (void)state;
    if (!weft__membarrier_prepare())
        skip();
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct game g = {
            .items = threads_scale(300000), .seed = seed, .raid_one_in = seed % 2 ? 4 : 1, .share = seed > 3};
        game_play(&g, owner_at_random, 1);
        if (g.items > 100000)
            assert_true(weft__load_relaxed(&g.raids) > 10);
    }
}

static void test_the_last_item_goes_to_one(void **state)
{
    (void)state;
    if (!weft__membarrier_prepare())
        skip();
    struct game g = {.items = threads_scale(300000), .raid_one_in = 1};
    game_play(&g, owner_last_item, 4);
}

static void test_growth_under_raids(void **state)
{
    (void)state;
    if (!weft__membarrier_prepare())
        skip();
    for (unsigned round = 0; round < 20; round++) {
        struct game g = {.items = threads_scale(60000), .raid_one_in = 2, .share = round % 2, .seed = round};
        game_play(&g, owner_grows, 1);
    }
}

/* What the pusher wrote before a plain push is there for who got it by a raid. */
struct parcel {
    uint64_t a, b;
};
struct post {
    struct weft__joins *j;
    struct parcel *parcels;
    unsigned count;
    _Atomic(unsigned) received, torn;
};

static void post_body(void *shared, unsigned index)
{
    struct post *p = shared;
    if (index == 0) {
        for (unsigned i = 0; i < p->count; i++) {
            p->parcels[i] = (struct parcel){.a = i + 1, .b = ~(uint64_t)(i + 1)};
            if (!push(p->j, (uintptr_t)&p->parcels[i]))
                abort();
        }
        return;
    }
    while (weft__load_relaxed(&p->received) < p->count) {
        uintptr_t item = 0;
        if (weft__joins_steal(p->j, &item) != WEFT__STEAL_GOT) {
            if (!weft__joins_raid(p->j))
                sched_yield();
            continue;
        }
        struct parcel *parcel = (struct parcel *)item; /* NOLINT: an item is a word */
        if (parcel->a == 0 || parcel->b != ~parcel->a)
            weft__fetch_add_relaxed(&p->torn, 1);
        weft__fetch_add_relaxed(&p->received, 1);
    }
}

static void test_contents_travel_with_items(void **state)
{
    (void)state;
    if (!weft__membarrier_prepare())
        skip();
    struct post p = {.count = threads_scale(100000)};
    p.parcels = calloc(p.count, sizeof *p.parcels);
    assert_non_null(p.parcels);
    p.j = made(2);
    threads_run(1 + THIEVES, post_body, &p);
    assert_int_equal(weft__load_relaxed(&p.torn), 0);
    assert_int_equal(weft__load_relaxed(&p.received), p.count);
    unmade(p.j);
    free(p.parcels);
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
        cmocka_unit_test(test_thieves_on_the_open_part),
        cmocka_unit_test(test_raids_on_a_fast_owner),
        cmocka_unit_test(test_the_last_item_goes_to_one),
        cmocka_unit_test(test_growth_under_raids),
        cmocka_unit_test(test_contents_travel_with_items),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
