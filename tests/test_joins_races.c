/* SPDX-License-Identifier: Apache-2.0 */
/* tests/test_joins_races.c -- the stack of forked children with thieves on its open part, and raids on an owner that pushes and pops as fast as
 * it can. A tally for each item counts how often it was taken: exactly once. The raids need membarrier and are skipped without it. */
#include <sched.h>

#include "executor/membarrier.h"
#include "tests/support/joins.h"
#include "tests/support/threads.h"

#define THIEVES 3U

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
        cmocka_unit_test(test_thieves_on_the_open_part),   cmocka_unit_test(test_raids_on_a_fast_owner),
        cmocka_unit_test(test_the_last_item_goes_to_one),  cmocka_unit_test(test_growth_under_raids),
        cmocka_unit_test(test_contents_travel_with_items),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
