/* SPDX-License-Identifier: Apache-2.0 */
/* Work that lies behind somebody else's long step while I/O is waited for: the others do not look on there, they lead the collecting; they come
 * back for what they saw. Each test waits for what must happen. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <weft.h>

#include <cmocka.h>

#include "support/check.h"
#include "support/stuck.h"

struct beside_a_door {
    WEFT_FRAME;
    int (*how)(struct stuck *f);
    unsigned n;
    bool asleep;
};
static int beside_a_door(struct beside_a_door *f)
{
    weft_listener *door;
    TASK_CHECK(weft_listen(&door, "127.0.0.1:0") == 0);
    struct stuck s = {.n = f->n};
    int rc = f->asleep ? weft_sleep(WEFT_MS(2)) : 0;
    if (rc == 0)
        rc = f->how(&s);
    weft_listener_close(door);
    return rc;
}
WEFT_CORO(beside_a_door);
static void test_what_lies_closed_beside_a_door_is_taken(void **state)
{
    (void)state;
    static int (*const how[])(struct stuck *) = {stuck_creator, stuck_forker, stuck_waker, stuck_with_all};
    for (unsigned i = 0; i < 4 * 2 * 2; i++) {
        const weft_options *o = WEFT_OPTIONS(.workers = i & 8 ? 2 : 8, .slow_task = WEFT_FOREVER);
        assert_int_equal(weft_run_with(o, beside_a_door, .how = how[i % 4], .n = i & 4 ? 1 : 100, .asleep = i & 4), 0);
    }
    assert_tasks_ok();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_lies_closed_beside_a_door_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
