/* SPDX-License-Identifier: Apache-2.0 */
/* tests/test_ready.c -- the queue of ready items by roles: first in first out over the open and the closed part, what is taken out of the middle,
 * who asks and who answers, raids on an owner that does all of that as fast as it can. Items are numbers from 1; odd ones count as fibers for
 * exchange; a tally for each counts how often it was taken: exactly once. Each game is played with membarrier and without (fenced). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sched.h>
#include <string.h>

#include "executor/ready.h"
#include "tests/support/threads.h"

#define THIEVES 3U

static struct weft__ready *made(size_t capacity)
{
    struct weft__ready *r = aligned_alloc(WEFT__CACHELINE, sizeof *r);
    assert_non_null(r);
    assert_int_equal(weft__ready_init(r, capacity, -1), 0);
    return r;
}

static void unmade(struct weft__ready *r)
{
    weft__ready_destroy(r);
    free(r);
}

static int64_t push(struct weft__ready *r, uintptr_t item)
{
    int64_t place = -1;
    if (!weft__ready_push(r, item, &place))
        abort();
    return place;
}

static uintptr_t exchange(struct weft__ready *r, uintptr_t item)
{
    weft__ready_enter(r);
    uintptr_t got = weft__ready_exchange(r, item);
    weft__ready_leave(r);
    return got;
}

/* The ring as it must be when nobody is inside: an empty one at 0, and neither end of another is a hole at the newest. */
static void check_ring(const struct weft__ready *r)
{
    int64_t h = weft__load_relaxed(&r->head), t = weft__load_relaxed(&r->tail);
    assert_int_equal(weft__load_relaxed(&r->inside), 0);
    assert_int_equal(weft__load_relaxed(&r->raided), 0);
    assert_true(0 <= h && h <= t && t - h <= r->mask + 1);
    if (h == t)
        assert_int_equal(t, 0);
    else
        assert_true(weft__load_relaxed(&r->slots[(t - 1) & r->mask]) != 0);
    assert_int_equal(weft__ready_closed(r), t - h);
    assert_int_equal(weft__ready_size(r), t - h + weft__deque_size(&r->shared));
}

/* ---- the owner alone ---- */

static void test_first_in_first_out(void **state)
{
    (void)state;
    struct weft__ready *r = made(4);
    assert_int_equal(weft__ready_pop(r), 0);
    assert_int_equal(weft__ready_share(r), 0);
    uintptr_t in = 1, out = 1;
    for (int round = 0; round < 300; round++) { /* grows; parts of it are opened now and then; thieves come */
        for (int i = 0; i < 7; i++)
            push(r, in++);
        if (round % 5 == 0)
            weft__ready_share(r);
        uintptr_t item;
        if (round % 7 == 0 && weft__deque_steal(&r->shared, &item) == WEFT__STEAL_GOT)
            assert_int_equal(item, out++);
        for (int i = 0; i < (round < 150 ? 4 : 9) && out < in; i++)
            assert_int_equal(weft__ready_pop(r), out++);
        check_ring(r);
        assert_int_equal(weft__ready_size(r), in - out);
    }
    while (out < in)
        assert_int_equal(weft__ready_pop(r), out++);
    assert_int_equal(weft__ready_pop(r), 0);
    check_ring(r);
    unmade(r);
}

static void test_share_keeps_the_newest(void **state)
{
    (void)state;
    struct weft__ready *r = made(4);
    push(r, 1);
    assert_int_equal(weft__ready_share(r), 0);
    assert_false(weft__ready_open(r));
    for (uintptr_t i = 2; i <= 10; i++)
        push(r, i);
    assert_int_equal(weft__ready_share(r), 5);
    assert_true(weft__ready_open(r));
    assert_int_equal(weft__ready_closed(r), 5);
    assert_int_equal(weft__ready_share(r), 7);
    while (weft__ready_closed(r) > 1)
        weft__ready_share(r);
    assert_int_equal(weft__ready_share(r), 9);
    assert_int_equal(weft__ready_size(r), 10);
    for (uintptr_t i = 1; i <= 10; i++)
        assert_int_equal(weft__ready_pop(r), i);
    check_ring(r);
    unmade(r);
}

static void test_asking(void **state)
{
    (void)state;
    struct weft__ready *r = made(4);
    push(r, 1);
    push(r, 2);
    assert_false(weft__ready_asked(r));
    weft__ready_ask(r);
    assert_true(weft__ready_asked(r));
    weft__ready_satisfied(r);
    assert_false(weft__ready_asked(r));
    assert_int_equal(weft__ready_pop(r), 1);
    assert_int_equal(weft__ready_pop(r), 2);
    weft__ready_ask(r);
    assert_false(weft__ready_asked(r));
    push(r, 3);
    assert_false(weft__ready_asked(r)); /* its owner's next turn */
    push(r, 4);
    assert_true(weft__ready_asked(r));
    unmade(r);
}

static void test_exchange(void **state)
{
    (void)state;
    struct weft__ready *r = made(4);
    assert_int_equal(exchange(r, 1), 0);
    check_ring(r);
    for (uintptr_t i = 1; i <= 7; i += 2)
        push(r, i);
    uintptr_t expected = 1;
    for (uintptr_t i = 9; i < 1000; i += 2, expected += 2) { /* the ring is full all the time */
        assert_int_equal(exchange(r, i), expected);
        check_ring(r);
    }
    assert_int_equal(r->mask, 3);
    assert_int_equal(weft__ready_pop(r), expected);
    assert_int_equal(weft__ready_pop(r), expected + 2);
    push(r, 4);
    while ((expected = weft__ready_pop(r)) != 4)
        assert_true(expected & 1);
    push(r, 6); /* not a fiber: it is the caller's business */
    assert_int_equal(exchange(r, 1), 0);
    assert_int_equal(weft__ready_size(r), 1);
    assert_int_equal(weft__ready_pop(r), 6);
    unmade(r);
}

static void test_remove_newest(void **state)
{
    (void)state;
    struct weft__ready *r = made(4);
    assert_false(weft__ready_remove_newest(r, 1));
    for (uintptr_t i = 1; i <= 20; i++)
        push(r, i);
    assert_false(weft__ready_remove_newest(r, 19));
    for (uintptr_t i = 20; i >= 1; i--) {
        assert_true(weft__ready_remove_newest(r, i));
        check_ring(r);
    }
    assert_false(weft__ready_remove_newest(r, 1)); /* its old slot still says 1 */
    unmade(r);
}

static void test_remove_by_place(void **state)
{
    (void)state;
    struct weft__ready *r = made(4);
    assert_false(weft__ready_remove(r, 1, 0));
    int64_t place[21];
    for (uintptr_t i = 1; i <= 20; i++)
        place[i] = push(r, i);
    assert_false(weft__ready_remove(r, 3, place[4]));
    assert_false(weft__ready_remove(r, 3, place[3] + 64));
    assert_false(weft__ready_remove(r, 3, -1));
    assert_true(weft__ready_remove(r, 1, place[1]));   /* oldest */
    assert_true(weft__ready_remove(r, 20, place[20])); /* newest */
    assert_true(weft__ready_remove(r, 3, place[3]));   /* middle: a hole */
    assert_false(weft__ready_remove(r, 3, place[3]));
    assert_true(weft__ready_remove(r, 18, place[18]));
    assert_true(weft__ready_remove(r, 19, place[19])); /* newest, with a hole below it */
    check_ring(r);
    assert_int_equal(weft__load_relaxed(&r->tail), place[17] + 1);
    assert_true(weft__ready_remove(r, 2, place[2])); /* oldest, with a hole above it */
    check_ring(r);
    assert_int_equal(weft__load_relaxed(&r->head), place[4]);
    assert_true(weft__ready_remove(r, 6, place[6]));
    assert_int_equal(weft__ready_pop(r), 4);
    assert_int_equal(weft__ready_pop(r), 5);
    assert_int_equal(exchange(r, 21), 0); /* the oldest is a hole: nothing is done */
    assert_int_equal(weft__ready_pop(r), 7);
    assert_true(weft__ready_remove(r, 16, place[16]));
    assert_true(weft__ready_remove_newest(r, 17));
    assert_int_equal(weft__load_relaxed(&r->tail), place[15] + 1);
    for (uintptr_t i = 8; i <= 15; i++)
        assert_int_equal(weft__ready_pop(r), i);
    assert_int_equal(weft__ready_pop(r), 0);
    check_ring(r);
    unmade(r);
}

/* A hole that a raid or a share has left at the head, and then the only item goes: the ring is empty, and begins at 0 again. */
static void test_the_last_behind_a_hole(void **state)
{
    (void)state;
    for (int way = 0; way < 4; way++) {
        struct weft__ready *r = made(8);
        int64_t place[6];
        for (uintptr_t i = 1; i <= 5; i++)
            place[i] = push(r, i);
        assert_true(weft__ready_remove(r, 4, place[4]));
        assert_true(weft__ready_remove(r, 3, place[3]));
        assert_int_equal(weft__ready_share(r), 2); /* 1 and 2: the head is a hole */
        check_ring(r);
        if (way == 0)
            assert_true(weft__ready_remove_newest(r, 5));
        else if (way == 1)
            assert_true(weft__ready_remove(r, 5, place[5]));
        else if (way == 2)
            assert_int_equal(weft__ready_pop_own(r), 5);
        else
            assert_int_equal(weft__ready_share(r), 2); /* the hole goes; 5 stays */
        check_ring(r);
        assert_int_equal(weft__ready_pop(r), 1);
        assert_int_equal(weft__ready_pop(r), 2);
        assert_int_equal(weft__ready_pop(r), way == 3 ? 5 : 0);
        check_ring(r);
        unmade(r);
    }
}

static int push_until_full(void)
{
    struct weft__ready *r = aligned_alloc(WEFT__CACHELINE, sizeof *r);
    int64_t place;
    if (r == NULL || weft__ready_init(r, 4, -1) != 0)
        return 2;
    uintptr_t pushed = 0;
    while (weft__ready_push(r, pushed + 1, &place))
        pushed++;
    if (pushed < 1024 || (uintptr_t)weft__ready_size(r) != pushed)
        return 3;
    if (weft__ready_push(r, 1, &place)) /* still no memory, still no harm */
        return 4;
    if (weft__ready_pop(r) != 1 || !weft__ready_push(r, ++pushed, &place)) /* room again */
        return 5;
    int64_t closed;
    do /* the open part may find no memory, too */
        closed = weft__ready_closed(r);
    while (weft__ready_share(r) >= 0 && weft__ready_closed(r) != closed);
    for (uintptr_t i = 2; i <= pushed; i++)
        if (weft__ready_pop(r) != i)
            return 6;
    unmade(r);
    return 0;
}

static void test_short_memory_loses_nothing(void **state)
{
    (void)state;
    if (threads_cannot_starve())
        skip();
    assert_int_equal(threads_run_starved((size_t)16 << 20, push_until_full), 0);
}

static void test_a_raid_takes_the_older_half(void **state)
{
    (void)state;
    struct weft__ready *r = made(8);
    uintptr_t items[32] = {0};
    assert_int_equal(weft__ready_raid(r, items, 32), 0);
    push(r, 1);
    assert_int_equal(weft__ready_raid(r, items, 32), 1); /* all of one */
    assert_int_equal(items[0], 1);
    check_ring(r);
    int64_t place[12];
    for (uintptr_t i = 1; i <= 11; i++)
        place[i] = push(r, i);
    assert_true(weft__ready_remove(r, 2, place[2]));
    assert_int_equal(weft__ready_raid(r, items, 3), 3); /* 1, the hole, 3, 4 */
    assert_int_equal(items[0], 1);
    assert_int_equal(items[1], 3);
    assert_int_equal(items[2], 4);
    check_ring(r);
    weft__ready_enter(r); /* while the owner is inside nobody else is */
    assert_int_equal(weft__ready_raid(r, items, 32), 0);
    weft__ready_leave(r);
    weft__store_relaxed(&r->raided, 1); /* another raid is under way */
    assert_int_equal(weft__ready_raid(r, items, 32), 0);
    assert_int_equal(weft__load_relaxed(&r->raided), 1);
    weft__store_relaxed(&r->raided, 0);
    assert_int_equal(weft__ready_raid(r, items, 32), 4);
    assert_int_equal(items[3], 8);
    for (uintptr_t i = 9; i <= 11; i++)
        assert_int_equal(weft__ready_pop(r), i);
    check_ring(r);
    unmade(r);
}

/* ---- with thieves: thread 0 is the owner ---- */

struct game {
    struct weft__ready *r;
    unsigned items; /* 1 .. items */
    uint64_t seed;
    bool fenced;
    weft_ns until; /* of giving way: who gets the CPU back after milliseconds, on a busy machine, has no end of it */
    _Atomic(bool) over;
    _Atomic(unsigned char) *tally;
    _Atomic(uint64_t) stolen, raided;
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
    uintptr_t items[32];
    for (;;) {
        bool over = weft__load_acquire(&g->over);
        if (weft__ready_size(g->r) < 0 || weft__ready_closed(g->r) < 0)
            fault(g);
        enum weft__steal how = weft__deque_steal(&g->r->shared, &items[0]);
        if (how == WEFT__STEAL_GOT) {
            game_take(g, items[0]);
            weft__fetch_add_relaxed(&g->stolen, 1);
            continue;
        }
        uint64_t drawn = weft__random(&random) >> 16;
        if (weft__ready_closed(g->r) >= 2 && drawn & 1)
            weft__ready_ask(g->r);
        unsigned n = drawn & 2 ? weft__ready_raid(g->r, items, 1 + (unsigned)(drawn / 4 % 32)) : 0;
        for (unsigned i = 0; i < n; i++)
            game_take(g, items[i]);
        weft__fetch_add_relaxed(&g->raided, n);
        if (n == 0 && how == WEFT__STEAL_EMPTY) {
            if (over && weft__ready_size(g->r) == 0)
                return;
            sched_yield();
        }
    }
}

static void answer(struct game *g)
{
    if (weft__ready_asked(g->r)) {
        weft__ready_satisfied(g->r);
        if (weft__ready_share(g->r) < 0)
            fault(g);
    }
}

/* A long step: until somebody has come for what is closed. So there are raids however the threads are scheduled. */
static void stand_still(struct game *g)
{
    uint64_t raided = weft__load_relaxed(&g->raided);
    while (weft__ready_closed(g->r) != 0 && weft__load_relaxed(&g->raided) == raided)
        sched_yield();
}

/* All that an owner does, at random. */
static void owner_at_random(struct game *g)
{
    uint64_t random = g->seed;
    enum { KEPT = 256 };
    int64_t place[KEPT];
    uintptr_t next = 1;
    unsigned stands = 0;
    while (next <= g->items) {
        if (next > g->items / 20 * stands) {
            stand_still(g);
            stands++;
        }
        uint64_t r = weft__random(&random) >> 16;
        for (uint64_t k = r % 8; k > 0 && next <= g->items; k--) {
            place[next % KEPT] = push(g->r, next);
            next++;
            answer(g);
        }
        r /= 8;
        for (uint64_t k = r % 8; k > 0; k--) {
            uintptr_t item = 0;
            uint64_t which = (r / 8 + k) % 6;
            uintptr_t old = next - 1 - r / 64 % 40;
            if (which == 0) {
                item = weft__ready_remove_newest(g->r, next - 1) ? next - 1 : 0;
            } else if (which == 1 && next > 300) {
                item = weft__ready_remove(g->r, old, place[old % KEPT]) ? old : 0;
            } else if (which == 2 && next + 1 <= g->items) {
                item = exchange(g->r, next);
                if (item != 0) {
                    place[next % KEPT] = weft__load_relaxed(&g->r->tail) - 1; /* a guess is good enough */
                    next++;
                }
            } else if (which == 3) {
                item = weft__ready_pop_own(g->r);
            } else {
                item = weft__ready_pop(g->r);
            }
            answer(g);
            if (item != 0)
                game_take(g, item);
        }
    }
    weft__store_release(&g->over, true);
    for (uintptr_t item; (item = weft__ready_pop(g->r)) != 0;)
        game_take(g, item);
}

/* One item at a time. */
static void owner_last_item(struct game *g)
{
    for (uintptr_t i = 1; i <= g->items; i++) {
        int64_t place = push(g->r, i);
        if (i % 10000 == 0)
            stand_still(g);
        bool got = i % 3 == 0   ? weft__ready_pop(g->r) == i
                   : i % 3 == 1 ? weft__ready_remove_newest(g->r, i)
                                : weft__ready_remove(g->r, i, place);
        if (got)
            game_take(g, i);
        if (weft__ready_size(g->r) != 0) /* whoever took it, it is gone now */
            fault(g);
    }
    weft__store_release(&g->over, true);
}

/* The ring is replaced while thieves raid it. */
static void owner_grows(struct game *g)
{
    uintptr_t next = 1;
    for (unsigned burst = 2; next <= g->items; burst *= 2) {
        for (unsigned i = 0; i < burst && next <= g->items; i++)
            push(g->r, next++);
        for (unsigned i = 0; i < burst / 4; i++) {
            uintptr_t item = weft__ready_pop(g->r);
            if (item != 0)
                game_take(g, item);
        }
    }
    weft__store_release(&g->over, true);
}

static void give_way(const struct game *g)
{
    weft__monotonic() < g->until ? (void)sched_yield() : weft__cpu_relax();
}

/* The owner stays inside as a yield does: what it writes there is nobody's to see before it leaves. */
static void owner_stays_inside(struct game *g)
{
    uintptr_t next = 1;
    while (next <= g->items) {
        while (next <= g->items && weft__ready_closed(g->r) < 8)
            push(g->r, next++);
        weft__ready_enter(g->r);
        int64_t h = weft__load_relaxed(&g->r->head), t = weft__load_relaxed(&g->r->tail);
        for (int i = 0; i < 4; i++) {
            give_way(g);
            if (weft__load_relaxed(&g->r->head) != h || weft__load_relaxed(&g->r->tail) != t)
                fault(g);
        }
        if (h < t && next <= g->items) {
            uintptr_t item = weft__ready_exchange(g->r, next);
            give_way(g);
            if (item != 0) {
                if (weft__load_relaxed(&g->r->tail) != t + 1 || weft__load_relaxed(&g->r->head) != h + 1)
                    fault(g);
                game_take(g, item);
                next++;
            }
        }
        weft__ready_leave(g->r);
        uintptr_t item = weft__ready_pop(g->r);
        if (item != 0)
            game_take(g, item);
    }
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
    g->r = made(capacity);
    if (g->fenced)
        g->r->fenced = true;
    g->until = weft__monotonic() + WEFT_SEC(2);
    struct play play = {g, owner};
    threads_run(1 + THIEVES, play_body, &play);
    check_ring(g->r);
    assert_int_equal(weft__ready_size(g->r), 0);
    assert_int_equal(weft__load_relaxed(&g->faults), 0);
    unsigned wrong = 0;
    for (unsigned i = 1; i <= g->items; i++)
        wrong += weft__load_relaxed(&g->tally[i]) != 1;
    assert_int_equal(wrong, 0);
    unmade(g->r);
    free(g->tally);
}

static void test_raids_on_a_fast_owner(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct game g = {.items = threads_scale(500000), .seed = seed, .fenced = seed % 3 == 0};
        game_play(&g, owner_at_random, seed % 2 ? 1 : 64);
        if (g.items > 100000)
            assert_true(weft__load_relaxed(&g.raided) > 10);
    }
}

static void test_the_last_item_goes_to_one(void **state)
{
    (void)state;
    for (int fenced = 0; fenced < 2; fenced++) {
        struct game g = {.items = threads_scale(200000), .fenced = fenced != 0};
        game_play(&g, owner_last_item, 4);
    }
}

static void test_growth_under_raids(void **state)
{
    (void)state;
    weft_ns until = weft__monotonic() + WEFT_SEC(2); /* for some more of the same */
    for (unsigned round = 0; round < 4 || (round < 20 && weft__monotonic() < until); round++) {
        struct game g = {.items = threads_scale(60000), .seed = round, .fenced = round % 2};
        game_play(&g, owner_grows, 1);
    }
}

static void test_nobody_enters_while_the_owner_stays(void **state)
{
    (void)state;
    for (int fenced = 0; fenced < 2; fenced++) {
        struct game g = {.items = threads_scale(20000), .fenced = fenced != 0};
        game_play(&g, owner_stays_inside, 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_in_first_out),
        cmocka_unit_test(test_share_keeps_the_newest),
        cmocka_unit_test(test_asking),
        cmocka_unit_test(test_exchange),
        cmocka_unit_test(test_remove_newest),
        cmocka_unit_test(test_remove_by_place),
        cmocka_unit_test(test_the_last_behind_a_hole),
        cmocka_unit_test(test_short_memory_loses_nothing),
        cmocka_unit_test(test_a_raid_takes_the_older_half),
        cmocka_unit_test(test_raids_on_a_fast_owner),
        cmocka_unit_test(test_the_last_item_goes_to_one),
        cmocka_unit_test(test_growth_under_raids),
        cmocka_unit_test(test_nobody_enters_while_the_owner_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
