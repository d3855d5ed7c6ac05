/* SPDX-License-Identifier: Apache-2.0 */
/* A ready queue's ring beside a plain list: items come, and are taken out at both ends, in the middle and by pops, while it grows with its head anywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "executor/ready.h"

enum { MOST = 4096 };

struct beside {
    struct weft__ready *r;
    uintptr_t items[MOST]; /* oldest first */
    int64_t places[MOST];
    unsigned count;
    uintptr_t next;
    uint64_t seed;
};

static unsigned draw(struct beside *b, unsigned n)
{
    b->seed = b->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(b->seed >> 33) % n;
}

static void forget(struct beside *b, unsigned i)
{
    b->count--;
    memmove(&b->items[i], &b->items[i + 1], (b->count - i) * sizeof b->items[0]);
    memmove(&b->places[i], &b->places[i + 1], (b->count - i) * sizeof b->places[0]);
}

enum way { NEWEST, OLDEST, PLACE, WAYS };

static bool take(struct weft__ready *r, enum way way, uintptr_t item, int64_t place)
{
    weft__ready_enter(r);
    bool got = way == NEWEST   ? weft__ready_take_newest(r, item)
               : way == OLDEST ? weft__ready_take_oldest(r, item)
                               : weft__ready_take(r, item, place);
    weft__ready_leave(r);
    return got;
}

static void check(const struct beside *b)
{
    const struct weft__ready *r = b->r;
    int64_t h = weft__load_relaxed(&r->head), t = weft__load_relaxed(&r->tail);
    assert_true(0 <= h && h <= t && t - h <= r->mask + 1);
    if (b->count == 0) {
        assert_int_equal(t, 0);
        return;
    }
    while (weft__load_relaxed(&r->slots[h & r->mask]) == 0) /* a pop may leave holes at the head, */
        h++;
    assert_int_equal(weft__load_relaxed(&r->slots[h & r->mask]), b->items[0]); /* but nothing does at the newest */
    assert_int_equal(weft__load_relaxed(&r->slots[(t - 1) & r->mask]), b->items[b->count - 1]);
}

static void step(struct beside *b)
{
    unsigned what = draw(b, 10);
    if (what < 4 && b->count < MOST) {
        assert_true(weft__ready_push(b->r, b->next, &b->places[b->count]));
        if (b->places[b->count] != weft__load_relaxed(&b->r->tail) - 1)
            b->places[b->count] = weft__load_relaxed(&b->r->tail) - 1; /* it grew */
        b->items[b->count++] = b->next++;
    } else if (what == 4) {
        uintptr_t item = weft__ready_pop(b->r);
        assert_int_equal(item, b->count != 0 ? b->items[0] : 0);
        if (item != 0)
            forget(b, 0);
    } else if (b->count != 0) {
        unsigned i = what == 5 ? draw(b, b->count) : what < 8 ? 0 : b->count - 1;
        enum way way = (enum way)draw(b, WAYS);
        int64_t h = weft__load_relaxed(&b->r->head);
        bool first = weft__load_relaxed(&b->r->slots[h & b->r->mask]) == b->items[i];
        bool there = way == PLACE || (way == NEWEST && i == b->count - 1) || (way == OLDEST && first);
        assert_int_equal(take(b->r, way, b->items[i], b->places[i]), there);
        if (there)
            forget(b, i);
    } else {
        for (int way = 0; way < WAYS; way++) /* what has been there may still stand in a slot */
            assert_false(take(b->r, (enum way)way, b->next - 1, 0));
    }
    check(b);
}

static void test_both_ends_and_the_middle(void **state)
{
    (void)state;
    static struct beside b;
    for (unsigned round = 0; round < 200; round++) {
        b = (struct beside){.seed = round, .next = 2, .r = aligned_alloc(WEFT__CACHELINE, sizeof *b.r)};
        assert_non_null(b.r);
        assert_int_equal(weft__ready_init(b.r, 4, -1), 0);
        for (int i = 0; i < 2000; i++)
            step(&b);
        while (b.count != 0) {
            assert_int_equal(weft__ready_pop(b.r), b.items[0]);
            forget(&b, 0);
        }
        check(&b);
        weft__ready_destroy(b.r);
        free(b.r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_both_ends_and_the_middle)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
