/* SPDX-License-Identifier: Apache-2.0 */
/* tests/test_ahead.c -- what may be asked for ahead: the items that come later in a queue of which a part lies open. (Asking itself changes
 * nothing that a test could see.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "executor/ready.h"

/* A look at what comes later sees open and closed part as one line. */
static void test_later(void **state)
{
    (void)state;
    struct weft__ready *r = aligned_alloc(WEFT__CACHELINE, sizeof *r);
    int64_t place;
    assert_non_null(r);
    assert_int_equal(weft__ready_init(r, 8, -1), 0);
    assert_int_equal(weft__ready_later(r, 0), 0);
    for (uintptr_t item = 1; item <= 20; item++)
        assert_true(weft__ready_push(r, item, &place));
    for (int shared = 0; shared < 3; shared++) {
        for (int64_t n = 0; n < 20; n++)
            assert_int_equal(weft__ready_later(r, n), n + 1);
        assert_int_equal(weft__ready_later(r, 20), 0);
        weft__ready_share(r);
    }
    for (uintptr_t item = 1; item <= 20; item++) {
        assert_int_equal(weft__ready_pop(r), item);
        assert_int_equal(weft__ready_later(r, 0), item < 20 ? item + 1 : 0);
        assert_int_equal(weft__ready_later(r, 19), 0);
    }
    weft__ready_destroy(r);
    free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_later)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
