/* SPDX-License-Identifier: Apache-2.0 */
/* Work that lies behind somebody else's long step, in each place where it can lie: others come and take it. And what may not go wrong then: a
 * fiber is never run twice at once, a task never twice at all, and a handle gives its outcome to everybody. Where a test waits it waits for
 * what must happen, with a limit that only a fault reaches. */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <weft.h>

#include <cmocka.h>

#include "support/check.h"
#include "support/stuck.h"
#include "support/threads.h"

static const unsigned worker_counts[] = {1, 2, 3, 8};

struct stuck_any {
    WEFT_FRAME;
    int (*how)(struct stuck *f);
    unsigned n;
    bool asleep; /* let the others go to sleep first */
};
static int stuck_any(struct stuck_any *f)
{
    struct stuck s = {.n = f->n};
    int rc = f->asleep ? weft_sleep(WEFT_MS(2)) : 0;
    return rc != 0 ? rc : f->how(&s);
}
WEFT_CORO(stuck_any);

static void run_stuck(int (*how)(struct stuck *f))
{
    static const unsigned numbers[] = {1, 2, 3, 100};
    for (unsigned w = 1; w < 4; w++) {
        for (unsigned i = 0; i < 8; i++)
            assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = worker_counts[w], .slow_task = WEFT_FOREVER),
                                           stuck_any, .how = how, .n = numbers[i / 2], .asleep = i % 2),
                             0);
    }
    assert_tasks_ok();
}
static void test_created_tasks_are_taken(void **state)
{
    (void)state;
    run_stuck(stuck_creator);
}
static void test_forked_children_are_taken(void **state)
{
    (void)state;
    run_stuck(stuck_forker);
}
static void test_woken_fibers_are_taken(void **state)
{
    (void)state;
    run_stuck(stuck_waker);
}
static void test_all_kinds_are_taken(void **state)
{
    (void)state;
    run_stuck(stuck_with_all);
}

/* The virtual clock is no hindrance, nor are timers that the thief has set. */
struct timers {
    WEFT_FRAME;
    _Atomic unsigned *begun;
};
static int timers(struct timers *f)
{
    atomic_fetch_add(f->begun, 1);
    return weft_sleep(WEFT_SEC(3600));
}
WEFT_CORO(timers);
struct virtually {
    WEFT_FRAME;
    int (*how)(struct stuck *f);
};
static int virtually(struct virtually *f)
{
    _Atomic unsigned begun = 0;
    weft_task *t[4];
    for (int i = 0; i < 4; i++)
        t[i] = weft_create_task(timers, .begun = &begun);
    TASK_CHECK(reached(&begun, 4)); /* begun by others: their timers */
    struct stuck s = {.n = 3};
    TASK_CHECK(f->how(&s) == 0);
    for (int i = 0; i < 4; i++)
        TASK_CHECK(weft_await_release(t[i]) == 0);
    return 0;
}
WEFT_CORO(virtually);
static void test_with_the_virtual_clock(void **state)
{
    (void)state;
    for (unsigned w = 1; w < 4; w++) {
        const weft_options *o = WEFT_OPTIONS(.workers = worker_counts[w], .clock = WEFT_CLOCK_VIRTUAL);
        assert_int_equal(weft_run_with(o, virtually, .how = stuck_creator), 0);
        assert_int_equal(weft_run_with(o, virtually, .how = stuck_forker), 0);
    }
    assert_tasks_ok();
}

/* One worker always has a closed child, never the same; that must not keep thieves from the one that is stuck. */
struct bait {
    WEFT_FRAME;
    _Atomic unsigned *begun, *over;
};
static int bait(struct bait *f)
{
    atomic_store(f->begun, 1);
    while (atomic_load(f->over) == 0) {
        _Atomic unsigned ran = 0;
        weft_child child;
        struct done frame = {.ran = &ran};
        weft_fork(&child, done, &frame);
        compute(5);
        TASK_CHECK(weft_join(&child) == 0);
    }
    return 0;
}
WEFT_CORO(bait);
struct beside_bait {
    WEFT_FRAME;
    int (*how)(struct stuck *f);
};
static int beside_bait(struct beside_bait *f)
{
    _Atomic unsigned begun = 0, over = 0;
    weft_task *t = weft_create_task(bait, .begun = &begun, .over = &over);
    TASK_CHECK(reached(&begun, 1));
    struct stuck s = {.n = 3};
    TASK_CHECK(f->how(&s) == 0);
    atomic_store(&over, 1);
    return weft_await_release(t);
}
WEFT_CORO(beside_bait);
static void test_a_busy_worker_hides_no_stuck_one(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        const weft_options *o = WEFT_OPTIONS(.workers = 3, .slow_task = WEFT_FOREVER);
        assert_int_equal(weft_run_with(o, beside_bait, .how = i % 2 ? stuck_creator : stuck_forker), 0);
    }
    assert_tasks_ok();
}

/* Forked while nobody was hungry, then joined one after the other, each a short step: no fork answers any more. */
struct slice {
    WEFT_FRAME;
    pid_t home;
    _Atomic unsigned *elsewhere;
};
static int slice(struct slice *f)
{
    if (gettid() != f->home)
        atomic_fetch_add(f->elsewhere, 1);
    else if (atomic_load(f->elsewhere) == 0)
        compute(30);
    return 0;
}
WEFT_CORO(slice);
struct plug {
    WEFT_FRAME;
    _Atomic unsigned *begun, *over;
};
static int plug(struct plug *f)
{
    atomic_store(f->begun, 1);
    TASK_CHECK(reached(f->over, 1));
    return 0;
}
WEFT_CORO(plug);
struct joiner {
    WEFT_FRAME;
};
static int joiner(struct joiner *f)
{
    (void)f;
    enum { N = 100000 };
    _Atomic unsigned begun = 0, over = 0, elsewhere = 0;
    weft_task *t = weft_create_task(plug, .begun = &begun, .over = &over);
    TASK_CHECK(reached(&begun, 1)); /* the only other worker is busy, too */
    weft_child *children = calloc(N, sizeof *children);
    struct slice *frames = calloc(N, sizeof *frames);
    for (int i = 0; children != NULL && frames != NULL && i < N; i++) {
        frames[i].home = gettid();
        frames[i].elsewhere = &elsewhere;
        weft_fork(&children[i], slice, &frames[i]);
    }
    atomic_store(&over, 1);
    int sum = 0;
    for (int i = N; i-- > 0;)
        sum += weft_join(&children[i]);
    TASK_CHECK(elsewhere != 0);
    free(children);
    free(frames);
    return sum + weft_await_release(t);
}
WEFT_CORO(joiner);
static void test_what_is_only_joined_is_taken(void **state)
{
    (void)state;
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 2, .slow_task = WEFT_FOREVER), joiner), 0);
    assert_tasks_ok();
}

/* A coroutine that returns with its batch open ends it, also where it was joined on its parent's stack. */
struct careless {
    WEFT_FRAME;
    unsigned ran;
};
static int careless(struct careless *f)
{
    weft_batch batch;
    weft_batch_begin(&batch);
    f->ran++;
    return 0;
}
WEFT_CORO(careless);
struct after_careless {
    WEFT_FRAME;
};
static int after_careless(struct after_careless *f)
{
    (void)f;
    _Atomic unsigned late = 0;
    struct careless frame = {.ran = 0};
    weft_child child;
    weft_fork(&child, careless, &frame);
    TASK_CHECK(weft_join(&child) == 0 && frame.ran == 1);
    weft_task *t = weft_create_task(done, .ran = &late);
    TASK_CHECK(reached(&late, 1)); /* made ready at once, and taken */
    return weft_await_release(t);
}
WEFT_CORO(after_careless);
static void test_a_batch_ends_with_its_child(void **state)
{
    (void)state;
    for (unsigned w = 1; w < 4; w++)
        assert_int_equal(
            weft_run_with(WEFT_OPTIONS(.workers = worker_counts[w], .slow_task = WEFT_FOREVER), after_careless), 0);
    assert_tasks_ok();
}

/* ---- yields under raids ---- */

struct yielder {
    WEFT_FRAME;
    unsigned turns, number;
    _Atomic unsigned running; /* nobody else runs this fiber */
    unsigned long sum;
};
static int yielder(struct yielder *f)
{
    volatile unsigned long own = f->number; /* on its stack */
    for (unsigned i = 0; i < f->turns; i++) {
        TASK_CHECK(atomic_exchange(&f->running, 1) == 0);
        TASK_CHECK(own == f->number + (unsigned long)i * 3);
        own += 3;
        if ((i * 7 + f->number * 13) % 512 == 0)
            compute(150); /* longer than others wait for what lies behind it */
        TASK_CHECK(atomic_exchange(&f->running, 0) == 1);
        int rc = weft_yield();
        if (rc < 0)
            return rc;
    }
    f->sum = own;
    return 0;
}
WEFT_CORO(yielder);
struct yielders {
    WEFT_FRAME;
    unsigned n;
};
static int yielders(struct yielders *f)
{
    weft_task *tasks[64];
    unsigned turns = threads_scale(8000);
    for (unsigned i = 0; i < f->n; i++)
        tasks[i] = weft_create_task(yielder, .turns = turns, .number = i);
    for (unsigned i = 0; i < f->n; i++) {
        TASK_CHECK(weft_await(tasks[i]) == 0);
        TASK_CHECK(weft_result(yielder, tasks[i])->sum == i + 3ul * turns);
        weft_release(tasks[i]);
    }
    return 0;
}
WEFT_CORO(yielders);
static void test_yields_while_others_are_hungry(void **state)
{
    (void)state;
    static const unsigned numbers[] = {2, 3, 5, 20};
    for (unsigned w = 0; w < 4; w++) {
        for (unsigned i = 0; i < 4; i++)
            assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = worker_counts[w], .slow_task = WEFT_FOREVER),
                                           yielders, .n = numbers[i]),
                             0);
    }
    assert_tasks_ok();
}

/* ---- one handle, several who wait; any place ---- */

struct work {
    WEFT_FRAME;
    unsigned us, value;
    _Atomic unsigned *ran;
};
static int work(struct work *f)
{
    atomic_fetch_add(f->ran, 1);
    if (f->us != 0)
        compute(f->us);
    return (int)f->value;
}
WEFT_CORO(work);
struct waits {
    WEFT_FRAME;
    weft_task *t;
};
static int waits(struct waits *f)
{
    return weft_await(f->t);
}
WEFT_CORO(waits);
struct shared_handle {
    WEFT_FRAME;
};
static int shared_handle(struct shared_handle *f)
{
    (void)f;
    unsigned rounds = threads_scale(3000);
    for (unsigned i = 0; i < rounds; i++) {
        _Atomic unsigned ran = 0;
        weft_task *t = weft_create_task(work, .us = i % 7 == 0 ? 3 : 0, .value = i, .ran = &ran);
        weft_task *a = weft_create_task(waits, .t = t), *b = weft_create_task(waits, .t = t);
        if (i % 3 == 0)
            TASK_CHECK(weft_yield() == 0);
        if (i % 5 == 0)
            compute(i % 50 == 0 ? 120 : 4);
        if (i % 2)
            TASK_CHECK(weft_await(t) == (int)i);
        TASK_CHECK(weft_await_release(b) == (int)i);
        TASK_CHECK(weft_await_release(a) == (int)i);
        TASK_CHECK(weft_await_release(t) == (int)i && ran == 1);
    }
    return 0;
}
WEFT_CORO(shared_handle);
static void test_one_handle_several_who_wait(void **state)
{
    (void)state;
    for (unsigned w = 0; w < 4; w++)
        assert_int_equal(
            weft_run_with(WEFT_OPTIONS(.workers = worker_counts[w], .slow_task = WEFT_FOREVER), shared_handle), 0);
    assert_tasks_ok();
}

/* Many tasks, awaited in any order: each ran once, whether it was the newest, a hole in the middle, opened, or with a thief. */
enum { IN_ORDER, REVERSED, RANDOM };
struct many {
    WEFT_FRAME;
    unsigned n;
    int order;
};
static int many(struct many *f)
{
    weft_task **tasks = calloc(f->n, sizeof *tasks);
    if (tasks == NULL)
        return -ENOMEM;
    _Atomic unsigned ran = 0;
    for (unsigned i = 0; i < f->n; i++)
        tasks[i] = weft_create_task(work, .value = i, .ran = &ran);
    unsigned *at = calloc(f->n, sizeof *at);
    uint64_t random = 88172645463325252u;
    for (unsigned i = 0; i < f->n; i++)
        at[i] = f->order == REVERSED ? f->n - 1 - i : i;
    for (unsigned i = f->n; f->order == RANDOM && i-- > 1;) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        unsigned other = (unsigned)(random % (i + 1)), kept = at[i];
        at[i] = at[other];
        at[other] = kept;
    }
    unsigned wrong = 0;
    for (unsigned i = 0; i < f->n; i++)
        wrong += weft_await_release(tasks[at[i]]) != (int)at[i];
    TASK_CHECK(wrong == 0);
    TASK_CHECK(ran == f->n);
    free(at);
    free(tasks);
    return 0;
}
WEFT_CORO(many);
static void test_many_in_any_order(void **state)
{
    (void)state;
    for (unsigned w = 0; w < 4; w++) {
        for (int order = IN_ORDER; order <= RANDOM; order++) {
            const weft_options *o = WEFT_OPTIONS(.workers = worker_counts[w]);
            assert_int_equal(weft_run_with(o, many, .n = threads_scale(100000), .order = order), 0);
            for (unsigned n = 1; n < 40; n++)
                assert_int_equal(weft_run_with(o, many, .n = n, .order = order), 0);
        }
    }
    assert_tasks_ok();
}

/* ---- order ---- */

struct ordered {
    WEFT_FRAME;
    unsigned number;
    unsigned *list, *count;
};
static int ordered(struct ordered *f)
{
    f->list[(*f->count)++] = f->number;
    int rc = weft_yield();
    f->list[(*f->count)++] = f->number;
    return rc;
}
WEFT_CORO(ordered);
struct in_order {
    WEFT_FRAME;
};
static int in_order(struct in_order *f)
{
    (void)f;
    enum { N = 1000 };
    static unsigned list[2 * N];
    unsigned count = 0;
    weft_task *tasks[N];
    for (unsigned i = 0; i < N; i++)
        tasks[i] = weft_create_task(ordered, .number = i, .list = list, .count = &count);
    for (int i = 0; i < 3; i++)
        TASK_CHECK(weft_yield() == 0);
    TASK_CHECK(count == 2 * N);
    for (unsigned i = 0; i < 2 * N; i++)
        TASK_CHECK(list[i] == i % N);
    for (unsigned i = 0; i < N; i++)
        weft_release(tasks[i]);
    /* What is awaited runs at once; the others keep their order. */
    count = 0;
    for (unsigned i = 0; i < 100; i++)
        tasks[i] = weft_create_task(ordered, .number = i, .list = list, .count = &count);
    TASK_CHECK(weft_await(tasks[50]) == 0);
    for (int i = 0; i < 3; i++)
        TASK_CHECK(weft_yield() == 0);
    TASK_CHECK(count == 200 && list[0] == 50);
    for (unsigned i = 0; i < 99; i++)
        TASK_CHECK(list[1 + i] == (i < 50 ? i : i + 1));
    for (unsigned i = 0; i < 100; i++)
        weft_release(tasks[i]);
    return 0;
}
WEFT_CORO(in_order);
static void test_one_worker_runs_in_order(void **state)
{
    (void)state;
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 1), in_order), 0);
    assert_tasks_ok();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_created_tasks_are_taken),
        cmocka_unit_test(test_forked_children_are_taken),
        cmocka_unit_test(test_woken_fibers_are_taken),
        cmocka_unit_test(test_all_kinds_are_taken),
        cmocka_unit_test(test_with_the_virtual_clock),
        cmocka_unit_test(test_a_busy_worker_hides_no_stuck_one),
        cmocka_unit_test(test_what_is_only_joined_is_taken),
        cmocka_unit_test(test_a_batch_ends_with_its_child),
        cmocka_unit_test(test_yields_while_others_are_hungry),
        cmocka_unit_test(test_one_handle_several_who_wait),
        cmocka_unit_test(test_many_in_any_order),
        cmocka_unit_test(test_one_worker_runs_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
