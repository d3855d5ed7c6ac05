/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks as asyncio has them: coroutines, create, await, sleep, outcomes, names (rules A to E and P of the semantics). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <weft.h>

#include <cmocka.h>

#include "executor/fiber_tools.h"
#include "support/check.h"

static const unsigned worker_counts[] = {1, 2, 3, 8};
#define FOR_EACH_WORKER_COUNT(w) for (size_t w##_ = 0, w = 0; w##_ < 4 && (w = worker_counts[w##_], true); w##_++)

struct add {
    WEFT_FRAME;
    int a, b;
    weft_ns pause;
    int sum;
};
static int add(struct add *f)
{
    if (f->pause > 0) {
        int rc = weft_sleep(f->pause);
        if (rc < 0)
            return rc;
    }
    f->sum = f->a + f->b;
    return 0;
}
WEFT_CORO(add);

struct ends {
    WEFT_FRAME;
    int with;
};
static int ends(struct ends *f)
{
    return f->with;
}
WEFT_CORO(ends);

/* A1, A2: run gives back what main returns. */
static void test_run_returns(void **state)
{
    (void)state;
    assert_int_equal(weft_run(ends, .with = 0), 0);
    assert_int_equal(weft_run(ends, .with = 42), 42);
    assert_int_equal(weft_run(ends, .with = -EIO), -EIO);
    assert_int_equal(weft_run(ends, .with = -ECANCELED), -ECANCELED);
}

/* The main task's frame comes back with its results. */
static void test_run_copies_the_frame_back(void **state)
{
    (void)state;
    struct add f = {.frame_ = {&add_coro_}, .a = 20, .b = 22};
    assert_int_equal(weft_run_(NULL, &f.frame_, sizeof f), 0);
    assert_int_equal(f.sum, 42);
}

/* C1, C4, D2: create, await once and again, results in the frame. */
struct create_many {
    WEFT_FRAME;
    int n;
    weft_ns pause;
};
static int create_many(struct create_many *f)
{
    weft_task **t = calloc((size_t)f->n, sizeof *t);
    for (int i = 0; i < f->n; i++)
        t[i] = weft_create_task(add, .a = i, .b = 1, .pause = i % 3 == 0 ? f->pause : 0);
    for (int i = 0; i < f->n; i++) {
        TASK_CHECK(weft_await(t[i]) == 0);
        TASK_CHECK(weft_await(t[i]) == 0);
        TASK_CHECK(weft_done(t[i]) && !weft_cancelled(t[i]) && weft_status(t[i]) == 0);
        TASK_CHECK(weft_result(add, t[i])->sum == i + 1);
        weft_release(t[i]);
    }
    free(t);
    return 0;
}
WEFT_CORO(create_many);

static void test_create_and_await(void **state)
{
    (void)state;
    FOR_EACH_WORKER_COUNT(w)
    {
        assert_int_equal(
            weft_run_with(WEFT_OPTIONS(.workers = (unsigned)w), create_many, .n = 1000, .pause = WEFT_US(50)), 0);
        assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = (unsigned)w, .inlining = WEFT_INLINING_NEVER),
                                       create_many, .n = 1000),
                         0);
    }
    assert_tasks_ok();
}

/* C3, A3: a task nobody awaits runs; one left at the end is cancelled once and waited for, clean-up included (A5). */
struct leftover {
    WEFT_FRAME;
    atomic_int *cleaned;
};
static int leftover(struct leftover *f)
{
    int rc = weft_sleep(WEFT_SEC(3600));
    TASK_CHECK(rc == -ECANCELED);
    TASK_CHECK(weft_cancelling(weft_current_task()) == 1);
    TASK_CHECK(weft_sleep(WEFT_MS(2)) == 0); /* not cancelled again */
    atomic_fetch_add(f->cleaned, 1);
    return rc;
}
WEFT_CORO(leftover);

struct leaves {
    WEFT_FRAME;
    atomic_int *cleaned;
    int n;
};
static int leaves(struct leaves *f)
{
    for (int i = 0; i < f->n; i++)
        weft_release(weft_create_task(leftover, .cleaned = f->cleaned));
    return weft_sleep(WEFT_MS(5));
}
WEFT_CORO(leaves);

static void test_leftovers_are_cancelled(void **state)
{
    (void)state;
    FOR_EACH_WORKER_COUNT(w)
    {
        atomic_int cleaned = 0;
        assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = (unsigned)w, .clock = WEFT_CLOCK_VIRTUAL), leaves,
                                       .cleaned = &cleaned, .n = 200),
                         0);
        assert_int_equal(cleaned, 200);
    }
    assert_tasks_ok();
}

/* C11: a task awaiting itself. */
struct selfish {
    WEFT_FRAME;
    int depth;
};
static int selfish(struct selfish *f)
{
    (void)f;
    return weft_await(weft_current_task());
}
WEFT_CORO(selfish);
static void test_awaiting_oneself(void **state)
{
    (void)state;
    assert_int_equal(weft_run(selfish), -EDEADLK);
}

/* C12, D8: many awaiters of one task. */
struct awaiter {
    WEFT_FRAME;
    weft_task *of;
};
static int awaiter(struct awaiter *f)
{
    return weft_await(f->of);
}
WEFT_CORO(awaiter);
struct many_awaiters {
    WEFT_FRAME;
};
static int many_awaiters(struct many_awaiters *f)
{
    (void)f;
    weft_task *one = weft_create_task(add, .a = 1, .b = 2, .pause = WEFT_MS(3)), *t[50];
    for (int i = 0; i < 50; i++)
        t[i] = weft_create_task(awaiter, .of = one);
    for (int i = 0; i < 50; i++)
        TASK_CHECK(weft_await_release(t[i]) == 0);
    weft_release(one);
    static atomic_int cleaned;
    one = weft_create_task(leftover, .cleaned = &cleaned); /* D8: cancelling one awaiter ends all */
    for (int i = 0; i < 50; i++)
        t[i] = weft_create_task(awaiter, .of = one);
    (void)weft_sleep(WEFT_MS(2));
    TASK_CHECK(weft_cancel(t[17]));
    for (int i = 0; i < 50; i++)
        TASK_CHECK(weft_await_release(t[i]) == -ECANCELED);
    TASK_CHECK(weft_cancelled(one));
    weft_release(one);
    return 0;
}
WEFT_CORO(many_awaiters);
static void test_many_awaiters(void **state) /* on the virtual clock: after a sleep all others wait */
{
    (void)state;
    FOR_EACH_WORKER_COUNT(w)
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = (unsigned)w, .clock = WEFT_CLOCK_VIRTUAL), many_awaiters),
                     0);
    assert_tasks_ok();
}

/* E4, E5: sleeps overlap; deadlines in order. On the virtual clock the elapsed time is exact. */
struct overlap {
    WEFT_FRAME;
    weft_ns elapsed;
};
static int overlap(struct overlap *f)
{
    weft_ns start = weft_now();
    weft_task *a = weft_create_task(add, .pause = WEFT_SEC(2)), *b = weft_create_task(add, .pause = WEFT_SEC(2)),
              *c = weft_create_task(add, .pause = WEFT_SEC(1));
    int rc = weft_gather(a, b, c);
    weft_release(a);
    weft_release(b);
    weft_release(c);
    f->elapsed = weft_now() - start;
    TASK_CHECK(f->elapsed == WEFT_SEC(2));
    return rc;
}
WEFT_CORO(overlap);
static void test_sleeps_overlap(void **state)
{
    (void)state;
    FOR_EACH_WORKER_COUNT(w)
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = (unsigned)w, .clock = WEFT_CLOCK_VIRTUAL), overlap), 0);
    assert_tasks_ok();
}

/* P1 to P3: names, current task, all tasks. */
static int count_task(void *user, weft_task *t)
{
    (void)t;
    ++*(int *)user;
    return 0;
}
struct named {
    WEFT_FRAME;
    weft_task **seen;
};
static int named(struct named *f)
{
    *f->seen = weft_current_task();
    return weft_sleep(WEFT_MS(1));
}
WEFT_CORO(named);
struct introspect {
    WEFT_FRAME;
};
static int introspect(struct introspect *f)
{
    (void)f;
    weft_task *seen = NULL;
    char name[32];
    weft_task *t = weft_create_task_with(WEFT_TASK_OPTIONS(.name = "fetcher"), named, .seen = &seen);
    weft_task *u = weft_create_task(named, .seen = &(weft_task *){NULL});
    TASK_CHECK(weft_task_name(t, name, sizeof name) == 7 && strcmp(name, "fetcher") == 0);
    TASK_CHECK(weft_task_name(u, name, sizeof name) >= 6 && strncmp(name, "Task-", 5) == 0);
    TASK_CHECK(weft_task_set_name(u, "other") == 0);
    TASK_CHECK(weft_task_name(u, name, 3) == 5 && strcmp(name, "ot") == 0);
    int n = 0;
    TASK_CHECK(weft_all_tasks(count_task, &n) == 0 && n == 3);
    TASK_CHECK(weft_await(t) == 0 && weft_await(u) == 0);
    TASK_CHECK(seen == t);
    weft_release(t);
    weft_release(u);
    TASK_CHECK(weft_runtime_current() != NULL && weft_current_task() != NULL);
    return 0;
}
WEFT_CORO(introspect);
static void test_introspection(void **state) /* on the virtual clock: none ends before it is awaited */
{
    (void)state;
    FOR_EACH_WORKER_COUNT(w)
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = (unsigned)w, .clock = WEFT_CLOCK_VIRTUAL), introspect), 0);
    assert_tasks_ok();
    assert_null(weft_current_task());
    assert_null(weft_runtime_current());
}

/* A recursion far deeper than one stack, by await: each level that does not fit goes to a stack of its own. */
struct deep {
    WEFT_FRAME;
    int n;
};
static int deep(struct deep *f);
WEFT_CORO(deep);
static int deep(struct deep *f)
{
    if (f->n == 0)
        return 0;
    int rc = weft_await_release(weft_create_task(deep, .n = f->n - 1));
    return rc < 0 ? rc : rc + 1;
}
static void test_deep_await(void **state)
{
    (void)state;
    FOR_EACH_WORKER_COUNT(w)
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = (unsigned)w), deep, .n = 20000), 20000);
}

/* Frames larger than what a descriptor holds. */
struct large {
    WEFT_FRAME;
    unsigned char in[3000];
    unsigned sum;
};
static int large(struct large *f)
{
    for (size_t i = 0; i < sizeof f->in; i++)
        f->sum += f->in[i];
    return 0;
}
WEFT_CORO(large);
struct large_main {
    WEFT_FRAME;
};
static int large_main(struct large_main *f)
{
    (void)f;
    for (int i = 0; i < 100; i++) {
        weft_task *t = weft_create_task(large, .in = {1, 2, 3, [2999] = 4});
        TASK_CHECK(weft_await(t) == 0);
        TASK_CHECK(weft_result(large, t)->sum == 10);
        weft_release(t);
    }
    return 0;
}
WEFT_CORO(large_main);
static void test_large_frames(void **state)
{
    (void)state;
    assert_int_equal(weft_run(large_main), 0);
    assert_tasks_ok();
}

/* No two of them have a cache line in common. */
struct medium {
    WEFT_FRAME;
    long words[6];
    long last;
};
static int medium(struct medium *f)
{
    return (int)f->last;
}
WEFT_CORO(medium);
struct medium_main {
    WEFT_FRAME;
};
static int medium_main(struct medium_main *f)
{
    (void)f;
    enum { TASKS = 64, LINE = 64 };
    weft_task *t[TASKS];
    uintptr_t from[TASKS], to[TASKS];
    for (int i = 0; i < TASKS; i++) {
        t[i] = weft_create_task(medium, .last = i);
        TASK_CHECK(weft_await(t[i]) == i);
        const struct medium *frame = weft_result(medium, t[i]);
        from[i] = (uintptr_t)frame / LINE;
        to[i] = ((uintptr_t)frame + sizeof *frame - 1) / LINE;
        for (int j = 0; j < i && !WEFT__ASAN; j++) /* there each frame ends with its block */
            TASK_CHECK(from[i] > to[j] || from[j] > to[i]);
    }
    for (int i = 0; i < TASKS; i++)
        weft_release(t[i]);
    return 0;
}
WEFT_CORO(medium_main);
static void test_frames_lie_apart(void **state)
{
    (void)state;
    assert_int_equal(weft_run(medium_main), 0);
    assert_tasks_ok();
}

/* NULL counts as a task that ended with -ENOMEM. */
struct null_main {
    WEFT_FRAME;
};
static int null_main(struct null_main *f)
{
    (void)f;
    TASK_CHECK(weft_await(NULL) == -ENOMEM && weft_await_release(NULL) == -ENOMEM);
    TASK_CHECK(weft_status(NULL) == -ENOMEM && weft_done(NULL) && !weft_cancelled(NULL) && !weft_cancel(NULL));
    weft_release(NULL);
    TASK_CHECK(weft_create_task_with(WEFT_TASK_OPTIONS(.stack_size = 2 * WEFT_MAX_STACK), ends) == NULL);
    /* Options that nobody initialised, or of a newer library; and those of an older program, which end before. */
    weft_task_options sized = {.name = "sized", .eager = true};
    static const size_t wrong[] = {0, 1, sizeof(size_t), sizeof sized + 1, SIZE_MAX};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        sized.size = wrong[i];
        TASK_CHECK(weft_create_task_with(&sized, ends) == NULL);
    }
    sized.size = offsetof(weft_task_options, eager);
    weft_task *older = weft_create_task_with(&sized, ends);
    TASK_CHECK(older != NULL && !weft_done(older)); /* not eager */
    weft_cancel(older);
    weft_release(older);
    return 0;
}
WEFT_CORO(null_main);
static void test_null_task(void **state)
{
    (void)state;
    assert_int_equal(weft_run(null_main), 0);
    assert_tasks_ok();
}

/* A large stack on request. */
struct eats {
    WEFT_FRAME;
    int kib;
};
static int eats_more(int kib)
{
    volatile char block[1024];
    block[0] = (char)kib;
    block[1023] = 1;
    return kib <= 1 ? block[1023] : eats_more(kib - 1) + (block[0] != 0 && block[1023] == 0);
}
static int eats(struct eats *f)
{
    return eats_more(f->kib);
}
WEFT_CORO(eats);
struct stack_main {
    WEFT_FRAME;
};
static int stack_main(struct stack_main *f)
{
    (void)f;
    int rc =
        weft_await_release(weft_create_task_with(WEFT_TASK_OPTIONS(.stack_size = WEFT_MAX_STACK), eats, .kib = 3000));
    TASK_CHECK(rc == 1);
    rc =
        weft_await_release(weft_create_task_with(WEFT_TASK_OPTIONS(.stack_size = (size_t)256 * 1024), eats, .kib = 90));
    TASK_CHECK(rc == 1);
    return 0;
}
WEFT_CORO(stack_main);
static void test_stack_sizes(void **state)
{
    (void)state;
    assert_int_equal(weft_run(stack_main), 0);
    assert_tasks_ok();
}

/* As in asyncio: a run's first task, the main one, is Task-1, also a runner's. */
struct names_itself {
    WEFT_FRAME;
    char name[32];
};
static int names_itself(struct names_itself *f)
{
    weft_task_name(weft_current_task(), f->name, sizeof f->name);
    return 0;
}
WEFT_CORO(names_itself);
static void test_the_main_task_is_number_one(void **state)
{
    (void)state;
    for (unsigned workers = 1; workers <= 2; workers++) {
        weft_runner *runner;
        struct names_itself f = {.name = ""}, g = f;
        assert_int_equal(weft_run_frame(WEFT_OPTIONS(.workers = workers, .debug = workers == 2), names_itself, &f), 0);
        assert_string_equal(f.name, "Task-1");
        assert_int_equal(weft_runner_open(&runner, WEFT_OPTIONS(.workers = workers, .debug = workers == 2)), 0);
        g.frame_.coro = &names_itself_coro_;
        assert_int_equal(weft_runner_run_(runner, &g.frame_, sizeof g), 0);
        assert_string_equal(g.name, "Task-1");
        assert_int_equal(weft_runner_run_(runner, &g.frame_, sizeof g), 0);
        assert_string_not_equal(g.name, "Task-1");
        assert_int_equal(weft_runner_close(runner), 0);
    }
}
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_main_task_is_number_one),
        cmocka_unit_test(test_run_returns),
        cmocka_unit_test(test_run_copies_the_frame_back),
        cmocka_unit_test(test_create_and_await),
        cmocka_unit_test(test_leftovers_are_cancelled),
        cmocka_unit_test(test_awaiting_oneself),
        cmocka_unit_test(test_many_awaiters),
        cmocka_unit_test(test_sleeps_overlap),
        cmocka_unit_test(test_introspection),
        cmocka_unit_test(test_deep_await),
        cmocka_unit_test(test_large_frames),
        cmocka_unit_test(test_frames_lie_apart),
        cmocka_unit_test(test_null_task),
        cmocka_unit_test(test_stack_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
