/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/joins.h -- what the tests of the stack of forked children share: what the inline fork and join do, and how its indices must lie
 * when nobody is in the middle of anything. Items are numbers from 1. */
#ifndef WEFT_TESTS_SUPPORT_JOINS_H
#define WEFT_TESTS_SUPPORT_JOINS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "executor/joins.h"

static inline struct weft__joins *made(size_t capacity)
{
    struct weft__joins *j = aligned_alloc(WEFT__CACHELINE, sizeof *j);
    assert_non_null(j);
    assert_int_equal(weft__joins_init(j, capacity, -1), 0);
    return j;
}

static inline void unmade(struct weft__joins *j)
{
    weft__joins_destroy(j);
    free(j);
}

/* What the inline fork does: the quick way while there is room and nobody asks. */
static inline bool push(struct weft__joins *j, uintptr_t item)
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
static inline bool pop_inline(struct weft__joins *j, uintptr_t item)
{
    int64_t b = weft__load_relaxed(&j->bottom) - 1;
    if (weft__load_relaxed(&j->slots[b & j->mask]) != item)
        return false;
    weft__store_release(&j->bottom, b);
    weft__compiler_barrier();
    return weft__load_acquire(&j->floor) <= b || weft__joins_pop_open(j, b);
}

/* The indices as they must be when nobody is in the middle of anything. */
static inline void check_order(const struct weft__joins *j)
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

#endif
