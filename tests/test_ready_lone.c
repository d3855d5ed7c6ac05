/* SPDX-License-Identifier: Apache-2.0 */
/* A single item of a ready queue is its owner's next turn and stays closed; but after a raid found one neglected, the next ones are shared, until
 * the owner has got too many of them back itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "executor/ready.h"

static void push(struct weft__ready *r, uintptr_t item)
{
    int64_t place;
    assert_true(weft__ready_push(r, item, &place));
}

static void test_lone_items_after_a_raid(void **state)
{
    (void)state;
    struct weft__ready *r = aligned_alloc(WEFT__CACHELINE, sizeof *r);
    uintptr_t items[4];
    assert_non_null(r);
    assert_int_equal(weft__ready_init(r, 4, -1), 0);
    for (int again = 0; again < 2; again++) {
        weft__ready_ask(r);
        push(r, 1);
        assert_false(weft__ready_asked(r));
        assert_int_equal(weft__ready_share(r), 0);
        assert_int_equal(weft__ready_raid(r, items, 4), 1);
        weft__ready_ask(r);
        unsigned shared = 0;
        for (uintptr_t i = 1; i <= 100; i++) {
            push(r, i);
            if (!weft__ready_asked(r)) {
                assert_int_equal(weft__ready_pop(r), i);
                continue;
            }
            weft__ready_satisfied(r);
            int64_t open = weft__ready_share(r);
            assert_int_equal(weft__load_relaxed(&r->tail), 1 - open);
            shared += open == 1;
            weft__ready_ask(r);
            if (open == 1 && shared % 2 && i < 50) /* as many to thieves as to the owner: it goes on */
                assert_int_equal(weft__deque_steal(&r->shared, &items[0]), WEFT__STEAL_GOT);
            else
                assert_int_equal(weft__ready_pop(r), i);
        }
        assert_in_range(shared, 50 + 7, 50 + 9);
        assert_int_equal(weft__ready_size(r), 0);
    }
    /* Of two, one is opened all the same. */
    push(r, 1);
    assert_int_equal(weft__ready_raid(r, items, 4), 1);
    push(r, 2);
    push(r, 3);
    assert_int_equal(weft__ready_share(r), 1);
    assert_int_equal(weft__ready_pop(r), 2);
    assert_int_equal(weft__ready_pop(r), 3);
    weft__ready_destroy(r);
    free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lone_items_after_a_raid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
