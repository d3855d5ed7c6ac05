/* SPDX-License-Identifier: Apache-2.0 */
/* tests/test_queue.c -- weft_queue against asyncio.Queue, LifoQueue and PriorityQueue (V).
 *
 * The queue has a way of its own for items as large as a word: test_queue_words.c is all of this with such items. */
#include "tests/sync_support.h"

#include <weft/queue.h>

#ifndef QUEUE_ITEM
#define QUEUE_ITEM int
#endif
typedef QUEUE_ITEM item_type;

static int by_value(const void *a, const void *b)
{
    item_type x = *(const item_type *)a, y = *(const item_type *)b;
    return (x > y) - (x < y);
}

/* Gets one item, notes 'a' + item. */
struct getter {
    WEFT_FRAME;
    weft_queue *queue;
    bool got; /* result: also of a task that ends cancelled, by a request that came when it had its item */
};

static int getter(struct getter *f)
{
    item_type item = -1;
    int rc = weft_queue_get(f->queue, &item);
    f->got = rc == 0;
    if (f->got)
        note((char)('a' + item));
    return rc;
}
WEFT_CORO(getter);

struct putter {
    WEFT_FRAME;
    weft_queue *queue;
    item_type item;
    bool put; /* result: as `got` */
};

static int putter(struct putter *f)
{
    int rc = weft_queue_put(f->queue, &f->item);
    f->put = rc == 0;
    return rc;
}
WEFT_CORO(putter);

static void queue_getters(weft_queue *q, weft_task *tasks[], int n)
{
    for (int i = 0; i < n; i++) {
        tasks[i] = weft_create_task(getter, .queue = q);
        settle();
    }
}

static void queue_putters(weft_queue *q, weft_task *tasks[], int n, int first)
{
    for (int i = 0; i < n; i++) {
        tasks[i] = weft_create_task(putter, .queue = q, .item = first + i);
        settle();
    }
}

static int put_int(weft_queue *q, item_type item)
{
    return weft_queue_put_nowait(q, &item);
}

static int get_int(weft_queue *q)
{
    item_type item = -1;
    int rc = weft_queue_get_nowait(q, &item);
    return rc == 0 ? (int)item : rc;
}

static void test_create(void **state)
{
    (void)state;
    assert_null(weft_priority_queue_create(sizeof(item_type), 4, NULL));
    struct {
        item_type two[2];
    } wrong = {{0, 0}};
    assert_null(weft_queue_create(0, 3));
    assert_null(weft_queue_create(SIZE_MAX, 0));
    weft_queue *q = weft_queue_create(sizeof(item_type), 0);
    assert_non_null(q);
    assert_int_equal(weft_queue_put_nowait(q, &wrong), -EINVAL); /* another size */
    assert_int_equal(weft_queue_get_nowait(q, &wrong), -EINVAL);
    weft_queue_destroy(q);
    weft_queue_destroy(NULL);
}

/* V1, V2, V3, V10: needs no task, nor a runtime */
static void test_orders(void **state)
{
    (void)state;
    weft_queue *q[3] = {weft_queue_create(sizeof(item_type), 4), weft_lifo_queue_create(sizeof(item_type), 4),
                        weft_priority_queue_create(sizeof(item_type), 4, by_value)};
    static const int put[] = {3, 1, 2, 0}, got[3][4] = {{3, 1, 2, 0}, {0, 2, 1, 3}, {0, 1, 2, 3}};
    for (int kind = 0; kind < 3; kind++) {
        assert_non_null(q[kind]);
        assert_int_equal(get_int(q[kind]), -EAGAIN); /* V3 */
        for (size_t i = 0; i < 4; i++) {
            assert_int_equal(weft_queue_size(q[kind]), i);
            assert_int_equal(put_int(q[kind], put[i]), 0);
        }
        assert_int_equal(put_int(q[kind], 9), -EAGAIN);
        for (int i = 0; i < 4; i++)
            assert_int_equal(get_int(q[kind]), got[kind][i]);
        assert_int_equal(get_int(q[kind]), -EAGAIN);
        weft_queue_destroy(q[kind]);
    }
}

/* V2, V4: nothing waits that need not; who must waits, and is woken */
COROUTINE_TEST(waiting)
{
    (void)frame;
    weft_queue *q = weft_queue_create(sizeof(item_type), 2);
    weft_task *t[3];
    item_type item = 5;
    weft_task *other = weft_create_task(getter, .queue = q);
    if (alone()) {
        CHECK(weft_queue_put(q, &item) == 0);
        CHECK(weft_queue_get(q, &item) == 0 && item == 5);
        CHECK(!weft_done(other)); /* neither has suspended */
    }
    settle();
    CHECK(!weft_done(other));
    CHECK(put_int(q, 0) == 0);
    CHECK(ended_with(other, 0));
    CHECK(noted("a"));

    queue_putters(q, t, 3, 1);
    CHECK(weft_done(t[0]) && weft_done(t[1]) && !weft_done(t[2]));
    CHECK(weft_queue_size(q) == 2);
    CHECK(get_int(q) == 1);
    for (int i = 0; i < 3; i++)
        CHECK(ended_with(t[i], 0));
    CHECK(get_int(q) == 2);
    CHECK(get_int(q) == 3);

    queue_getters(q, t, 3);
    for (item_type i = 0; i < 3; i++) {
        CHECK(weft_queue_put(q, &i) == 0);
        settle();
    }
    for (int i = 0; i < 3; i++)
        CHECK(ended_with(t[i], 0));
    CHECK(noted("abc")); /* V11 */
    weft_queue_destroy(q);
    return 0;
}

/* V11: who comes by may take what a getter was woken for; the getter waits on. As in asyncio. */
COROUTINE_TEST(woken_getter_finds_nothing)
{
    (void)frame;
    weft_queue *q = weft_queue_create(sizeof(item_type), 0);
    weft_task *t[1];
    queue_getters(q, t, 1);
    CHECK(put_int(q, 0) == 0);
    int item = get_int(q);
    CHECK(item == 0 || (item == -EAGAIN && !alone()));
    settle();
    CHECK(weft_done(t[0]) == (item != 0));
    CHECK(put_int(q, 1) == 0);
    CHECK(ended_with(t[0], 0));
    CHECK(noted(item == 0 ? "b" : "a"));
    CHECK(get_int(q) == (item == 0 ? -EAGAIN : 1));
    weft_queue_destroy(q);
    return 0;
}

/* V5: getters, cancelled before and after the wake-up */
COROUTINE_TEST(cancelled_getter)
{
    (void)frame;
    weft_queue *q = weft_queue_create(sizeof(item_type), 0);
    weft_task *t[3];
    queue_getters(q, t, 3);
    weft_cancel(t[1]);
    CHECK(put_int(q, 0) == 0);
    weft_cancel(t[0]);
    settle();
    int rc = weft_await(t[0]);
    bool got = weft_result(getter, t[0])->got;
    weft_release(t[0]);
    CHECK(rc == -ECANCELED || (rc == 0 && got));
    CHECK(!got || !alone());
    CHECK(ended_with(t[1], -ECANCELED));
    CHECK(weft_done(t[2]) == !got);
    CHECK(put_int(q, 1) == 0);
    CHECK(ended_with(t[2], 0));
    CHECK(noted(got ? "ab" : "a"));
    CHECK(get_int(q) == (got ? -EAGAIN : 1));
    weft_queue_destroy(q);
    return 0;
}

/* V5: putters */
COROUTINE_TEST(cancelled_putter)
{
    (void)frame;
    weft_queue *q = weft_queue_create(sizeof(item_type), 1);
    weft_task *t[3];
    CHECK(put_int(q, 0) == 0);
    queue_putters(q, t, 3, 1);
    weft_cancel(t[1]);
    CHECK(get_int(q) == 0);
    weft_cancel(t[0]);
    settle();
    int rc = weft_await(t[0]);
    bool put = weft_result(putter, t[0])->put;
    weft_release(t[0]);
    CHECK(rc == -ECANCELED || (rc == 0 && put));
    CHECK(!put || !alone());
    CHECK(ended_with(t[1], -ECANCELED));
    CHECK(weft_done(t[2]) == !put);
    CHECK(get_int(q) == (put ? 1 : 3));
    CHECK(ended_with(t[2], 0));
    CHECK(get_int(q) == (put ? 3 : -EAGAIN));
    weft_queue_destroy(q);
    return 0;
}

/* V12 */
COROUTINE_TEST(time_limit)
{
    (void)frame;
    weft_queue *q = weft_queue_create(sizeof(item_type), 0);
    weft_task *t = weft_create_task(getter, .queue = q);
    CHECK(weft_wait_for(t, WEFT_SEC(1)) == -ETIMEDOUT);
    weft_release(t);
    CHECK(put_int(q, 4) == 0);
    settle();
    CHECK(get_int(q) == 4);
    weft_queue_destroy(q);
    return 0;
}

/* ---- join ---- */

struct joiner {
    WEFT_FRAME;
    weft_queue *queue;
};

static int joiner(struct joiner *f)
{
    return weft_queue_join(f->queue);
}
WEFT_CORO(joiner);

/* V6, V7, V8 */
COROUTINE_TEST(join)
{
    (void)frame;
    weft_queue *q = weft_queue_create(sizeof(item_type), 0);
    weft_task *other = weft_create_task(joiner, .queue = q), *t[3];
    CHECK(weft_queue_join(q) == 0);
    CHECK(!alone() || !weft_done(other)); /* V8 */
    CHECK(ended_with(other, 0));
    CHECK(weft_queue_task_done(q) == -EINVAL); /* V7 */
    CHECK(put_int(q, 0) == 0);
    CHECK(put_int(q, 1) == 0);
    for (int i = 0; i < 3; i++)
        t[i] = weft_create_task(joiner, .queue = q);
    settle();
    CHECK(get_int(q) == 0);
    CHECK(get_int(q) == 1);
    CHECK(weft_queue_task_done(q) == 0);
    weft_cancel(t[1]);
    settle();
    CHECK(!weft_done(t[0]) && weft_done(t[1]) && !weft_done(t[2]));
    CHECK(weft_queue_task_done(q) == 0);
    CHECK(put_int(q, 2) == 0); /* too late for those who have been woken */
    CHECK(ended_with(t[0], 0));
    CHECK(ended_with(t[1], -ECANCELED));
    CHECK(ended_with(t[2], 0));
    CHECK(weft_queue_task_done(q) == 0);
    CHECK(weft_queue_task_done(q) == -EINVAL);
    weft_queue_destroy(q);
    return 0;
}

/* ---- shutdown ---- */

/* V9 */
COROUTINE_TEST(shutdown_serves_the_rest)
{
    (void)frame;
    weft_queue *q = weft_queue_create(sizeof(item_type), 0);
    weft_task *t[2];
    queue_getters(q, t, 2);
    weft_queue_shutdown(q, false);
    CHECK(ended_with(t[0], -ESHUTDOWN));
    CHECK(ended_with(t[1], -ESHUTDOWN));
    CHECK(put_int(q, 1) == -ESHUTDOWN);
    CHECK(get_int(q) == -ESHUTDOWN);
    weft_queue_destroy(q);

    q = weft_queue_create(sizeof(item_type), 0);
    CHECK(put_int(q, 1) == 0);
    CHECK(put_int(q, 2) == 0);
    weft_queue_shutdown(q, false);
    item_type item = 3;
    CHECK(weft_queue_put(q, &item) == -ESHUTDOWN);
    CHECK(weft_queue_get(q, &item) == 0 && item == 1);
    CHECK(get_int(q) == 2);
    CHECK(weft_queue_get(q, &item) == -ESHUTDOWN);
    CHECK(weft_queue_task_done(q) == 0);
    CHECK(weft_queue_task_done(q) == 0);
    CHECK(weft_queue_join(q) == 0);
    weft_queue_destroy(q);
    return 0;
}

/* V9, V13 */
COROUTINE_TEST(shutdown_wakes_putters)
{
    (void)frame;
    for (int immediate = 0; immediate < 2; immediate++) {
        weft_queue *q = weft_queue_create(sizeof(item_type), 1);
        weft_task *t[2], *j;
        CHECK(put_int(q, 0) == 0);
        queue_putters(q, t, 2, 1);
        j = weft_create_task(joiner, .queue = q);
        settle();
        weft_queue_shutdown(q, immediate != 0);
        CHECK(ended_with(t[0], -ESHUTDOWN));
        CHECK(ended_with(t[1], -ESHUTDOWN));
        CHECK(put_int(q, 3) == -ESHUTDOWN);
        settle();
        CHECK(weft_done(j) == (immediate != 0));
        CHECK(get_int(q) == (immediate != 0 ? -ESHUTDOWN : 0));
        CHECK(weft_queue_task_done(q) == (immediate != 0 ? -EINVAL : 0));
        CHECK(ended_with(j, 0));
        weft_queue_destroy(q);
    }
    return 0;
}

/* V9: what has been taken but not reported done keeps join waiting, also after an immediate shutdown */
COROUTINE_TEST(immediate_shutdown_and_work_in_hand)
{
    (void)frame;
    weft_queue *q = weft_queue_create(sizeof(item_type), 0);
    for (int i = 0; i < 3; i++)
        CHECK(put_int(q, i) == 0);
    CHECK(get_int(q) == 0);
    weft_task *j = weft_create_task(joiner, .queue = q);
    weft_queue_shutdown(q, true);
    CHECK(weft_queue_size(q) == 0);
    settle();
    CHECK(!weft_done(j));
    CHECK(weft_queue_task_done(q) == 0);
    CHECK(ended_with(j, 0));
    CHECK(weft_queue_task_done(q) == -EINVAL);
    weft_queue_destroy(q);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create),
        cmocka_unit_test(test_orders),
        cmocka_unit_test(test_waiting),
        cmocka_unit_test(test_woken_getter_finds_nothing),
        cmocka_unit_test(test_cancelled_getter),
        cmocka_unit_test(test_cancelled_putter),
        cmocka_unit_test(test_time_limit),
        cmocka_unit_test(test_join),
        cmocka_unit_test(test_shutdown_serves_the_rest),
        cmocka_unit_test(test_shutdown_wakes_putters),
        cmocka_unit_test(test_immediate_shutdown_and_work_in_hand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
