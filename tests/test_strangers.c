/* SPDX-License-Identifier: Apache-2.0 */
/* Who waits for an owner (executor/strangers.c): until what that is at is over, and no longer, also when it is inside at every look because it works in a
 * loop; and the count that strangers leave behind. The words are moved by hand here; the explorer runs all orders (tests/model/explore/model_sole.c). */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>

#include <cmocka.h>

#include "executor/strangers.h"

struct waiting {
    struct weft__owner owner;
    _Atomic(bool) over;
    pthread_t thread;
};
static void *waits(void *argument)
{
    struct waiting *w = argument;
    weft__strangers_outlast(&w->owner.inside, &w->owner.gave_way);
    w->over = true;
    return NULL;
}
static void begin_to_wait(struct waiting *w)
{
    assert_int_equal(pthread_create(&w->thread, NULL, waits, w), 0);
    for (int i = 0; i < 1000; i++)
        sched_yield();
    assert_false(w->over);
}

static void test_waits_for_who_is_inside(void **state)
{
    (void)state;
    struct waiting w = {.owner = {.inside = 1, .gave_way = 7}};
    begin_to_wait(&w);
    weft__owner_end(&w.owner);
    pthread_join(w.thread, NULL);
}

/* As memcheck has it, which changes threads after so many steps: a loop of the owner's is always at the same place then. */
static void test_who_gives_way_is_waited_for_no_longer(void **state)
{
    (void)state;
    struct waiting w = {.owner = {.inside = 1, .gave_way = UINT32_MAX}};
    begin_to_wait(&w);
    while (!w.over) { /* how many times depends on when the other has begun: once after that is enough */
        weft__owner_gives_way(&w.owner.gave_way);
        sched_yield();
    }
    pthread_join(w.thread, NULL);
    assert_int_equal(w.owner.inside, 1);
}

static void test_owner_gives_way(void **state)
{
    (void)state;
    struct weft__strangers s = {.keep = 1};
    struct weft__owner o = {0};
    assert_true(weft__owner_begin(&o, &s));
    assert_int_equal(o.inside, 1);
    weft__owner_end(&o);
    assert_int_equal(o.gave_way, 0);
    assert_true(weft__strangers_come(&s));
    assert_false(weft__owner_begin(&o, &s));
    assert_int_equal(o.inside, 0);
    assert_int_equal(o.gave_way, 1);
    weft__strangers_go(&s);
    assert_true(weft__owner_begin(&o, &s));
    weft__owner_end(&o);
}

/* After `few` barriers in a tick, for `keep` ticks. */
static void test_count_that_stays(void **state)
{
    (void)state;
    struct weft__strangers s = {.keep = 2, .few = 1};
    for (int i = 0; i < 2; i++) {
        assert_true(weft__strangers_come(&s));
        weft__strangers_stay(&s);
        weft__strangers_go(&s);
        assert_int_equal(s.count, i); /* the second one stays */
    }
    assert_false(weft__strangers_come(&s)); /* needs no barrier */
    weft__strangers_go(&s);
    weft__strangers_tick(&s);
    assert_int_equal(s.count, 1);
    weft__strangers_tick(&s);
    assert_int_equal(s.count, 0);
    assert_true(weft__strangers_come(&s)); /* the first of this tick */
    weft__strangers_stay(&s);
    weft__strangers_go(&s);
    assert_int_equal(s.count, 0);

    struct weft__strangers always = {.count = WEFT__STRANGERS_ALWAYS, .keep = 2};
    assert_false(weft__strangers_come(&always)); /* no membarrier here: nobody ever works alone */
    weft__strangers_go(&always);
    assert_int_equal(always.count, WEFT__STRANGERS_ALWAYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waits_for_who_is_inside),
        cmocka_unit_test(test_who_gives_way_is_waited_for_no_longer),
        cmocka_unit_test(test_owner_gives_way),
        cmocka_unit_test(test_count_that_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
