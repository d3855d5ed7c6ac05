/* SPDX-License-Identifier: Apache-2.0 */
/* Runners: several runs on one runtime, what they share and leave, who may use them, how they fail and end. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <weft.h>

#include <cmocka.h>

#include "support/check.h"
#include "support/strands.h"

static const unsigned numbers[] = {1, 2, 3, 8};
#define NUMBERS (sizeof numbers / sizeof numbers[0])

static weft_runner *opened(unsigned workers, enum weft_clock clock)
{
    weft_runner *r = NULL;
    assert_int_equal(weft_runner_open(&r, WEFT_OPTIONS(.workers = workers, .clock = clock, .seed = 1)), 0);
    assert_non_null(r);
    return r;
}

struct act {
    WEFT_FRAME;
    int (*fn)(struct act *f);
    int in, out;
    weft_ns now;
};
static int act(struct act *f)
{
    return f->fn(f);
}
WEFT_CORO(act);

/* Run fn as a main coroutine; `out` and `now` come back in f. */
static int run(weft_runner *r, struct act *f, int (*fn)(struct act *))
{
    f->fn = fn;
    f->frame_.coro = &act_coro_;
    return weft_runner_run_(r, &f->frame_, sizeof *f);
}

static int nothing(struct act *f)
{
    (void)f;
    return 0;
}

static int sleeps(struct act *f)
{
    int rc = weft_sleep(WEFT_MS(f->in));
    f->now = weft_now();
    return rc;
}

/* ---- results ----------------------------------------------------------------------------------------------------- */

static int doubles(struct act *f)
{
    int rc = weft_yield();
    f->out = 2 * f->in;
    return rc < 0 ? rc : f->in;
}

static int fails(struct act *f)
{
    f->out = 5;
    return -EIO;
}

static int cancels_itself(struct act *f)
{
    f->out = 6;
    weft_cancel(weft_current_task());
    return weft_sleep(WEFT_SEC(1));
}

static int returns_edeadlk(struct act *f)
{
    f->out = 7;
    return -EDEADLK;
}

static void test_results_come_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < NUMBERS; i++) {
        weft_runner *r = opened(numbers[i], WEFT_CLOCK_VIRTUAL);
        for (int k = 1; k < 20; k++) {
            struct act f = {.in = k};
            assert_int_equal(run(r, &f, doubles), k);
            assert_int_equal(f.out, 2 * k);
            assert_int_equal(run(r, &f, fails), -EIO);
            assert_int_equal(f.out, 5);
            assert_int_equal(run(r, &f, cancels_itself), -ECANCELED);
            assert_int_equal(f.out, 6);
            assert_int_equal(run(r, &f, returns_edeadlk), -EDEADLK); /* its own result, not a deadlock of the runner */
            assert_int_equal(f.out, 7);
            assert_int_equal(weft_runner_run(r, act, .fn = doubles, .in = 3), 3);
        }
        assert_int_equal(weft_runner_close(r), 0);
    }
    assert_int_equal(weft_runner_close(NULL), 0);
}

/* ---- what runs share --------------------------------------------------------------------------------------------- */

static weft_context_var var = WEFT_CONTEXT_VAR("var", (void *)"default");

static int sets_context(struct act *f)
{
    f->out = weft_context_get(&var) == (void *)(intptr_t)f->in;
    return weft_context_set(&var, (void *)(intptr_t)(f->in + 1), NULL);
}

static int child_sets_context(struct act *f)
{
    weft_task *t = weft_create_task(act, .fn = sets_context, .in = f->in);
    int rc = weft_await(t);
    f->out = weft_result(act, t)->out;
    weft_release(t);
    return rc;
}

static int default_context(struct act *f)
{
    f->out = strcmp(weft_context_get(&var), "default") == 0;
    return weft_context_set(&var, (void *)(intptr_t)1, NULL);
}

static void test_runs_share_context_variables(void **state)
{
    (void)state;
    for (size_t i = 0; i < NUMBERS; i++) {
        weft_runner *r = opened(numbers[i], WEFT_CLOCK_REAL), *other = opened(1, WEFT_CLOCK_REAL);
        struct act f = {.in = 0};
        assert_int_equal(run(r, &f, default_context), 0);
        assert_true(f.out);
        for (f.in = 1; f.in < 5; f.in++) {
            assert_int_equal(run(r, &f, sets_context), 0);
            assert_true(f.out);
        }
        assert_int_equal(run(r, &f, child_sets_context), 0); /* a task's own copy: not seen by the next main */
        assert_true(f.out);
        assert_int_equal(run(r, &f, sets_context), 0);
        assert_true(f.out);
        assert_int_equal(run(other, &f, default_context), 0); /* another runner shares nothing */
        assert_true(f.out);
        assert_int_equal(weft_runner_close(other), 0);
        assert_int_equal(weft_runner_close(r), 0);
    }
}

/* ---- what runs leave --------------------------------------------------------------------------------------------- */

static _Atomic(int) turns, cancels, ends;

static int goes_on(struct act *f)
{
    int rc;
    while ((rc = weft_sleep(WEFT_MS(f->in))) == 0)
        turns++;
    cancels += rc == -ECANCELED;
    rc = weft_sleep(WEFT_MS(1)); /* cleaning up takes time, and has it */
    TASK_CHECK(rc == 0);
    ends++;
    return -ECANCELED;
}

static int leaves_some(struct act *f)
{
    for (int i = 0; i < f->in; i++)
        weft_release(weft_create_task(act, .fn = goes_on, .in = 10));
    return 0;
}

static int sees_tasks_visit(void *count, weft_task *t)
{
    (void)t;
    ++*(int *)count;
    return 0;
}

static int counts_tasks(struct act *f)
{
    f->out = 0;
    return weft_all_tasks(sees_tasks_visit, &f->out);
}

static void test_leftovers_go_on_until_close(void **state)
{
    (void)state;
    for (size_t i = 0; i < NUMBERS; i++) {
        turns = cancels = ends = 0;
        weft_runner *r = opened(numbers[i], WEFT_CLOCK_VIRTUAL);
        struct act f = {.in = 5};
        assert_int_equal(run(r, &f, leaves_some), 0);
        assert_int_equal(run(r, &f, counts_tasks), 0);
        assert_int_equal(f.out, 6);
        assert_int_equal(turns, 0);
        f.in = 105;
        assert_int_equal(run(r, &f, sleeps), 0);
        assert_int_equal(turns, 50);
        assert_int_equal(run(r, &f, nothing), 0);
        assert_int_equal(run(r, &f, sleeps), 0);
        assert_int_equal(f.now, WEFT_MS(210));
        assert_true(turns >= 100 && turns <= 105); /* those of instant 210 race with main's own */
        assert_int_equal(cancels, 0);
        assert_int_equal(weft_runner_close(r), 0);
        assert_int_equal(cancels, 5);
        assert_int_equal(ends, 5);
    }
    assert_tasks_ok();
}

static void test_the_virtual_clock_stands_between_runs(void **state)
{
    (void)state;
    for (size_t i = 0; i < NUMBERS; i++) {
        turns = cancels = ends = 0;
        weft_runner *r = opened(numbers[i], WEFT_CLOCK_VIRTUAL);
        struct act f = {.in = 7};
        assert_int_equal(run(r, &f, leaves_some), 0);
        f.in = 33;
        assert_int_equal(run(r, &f, sleeps), 0);
        assert_int_equal(f.now, WEFT_MS(33));
        usleep(20000);
        assert_int_equal(turns, 21);
        f.in = 0;
        assert_int_equal(run(r, &f, sleeps), 0);
        assert_int_equal(f.now, WEFT_MS(33));
        assert_int_equal(weft_runner_close(r), 0);
    }
}

/* A main that ends at once, over and over: the end of one run and the beginning of the next must not be taken for a program in which
 * nothing can go on, nor may the clock move for it. */
static void test_many_short_runs_are_no_deadlock(void **state)
{
    (void)state;
    unsigned n = threads_scale(4000);
    for (size_t i = 0; i < NUMBERS; i++) {
        weft_runner *r = opened(numbers[i], WEFT_CLOCK_VIRTUAL);
        for (unsigned k = 0; k < n; k++) {
            int rc = weft_runner_run(r, act, .fn = nothing);
            if (rc != 0)
                fail_msg("%u workers: run %u: %s", numbers[i], k, weft_strerror(rc));
        }
        assert_int_equal(weft_runner_close(r), 0);
        /* The same beside a sleeper, whose instant must not come. */
        turns = cancels = ends = 0;
        r = opened(numbers[i], WEFT_CLOCK_VIRTUAL);
        struct act f = {.in = 1};
        assert_int_equal(run(r, &f, leaves_some), 0);
        for (unsigned k = 0; k < n; k++)
            assert_int_equal(weft_runner_run(r, act, .fn = nothing), 0);
        assert_int_equal(turns, 0);
        f.in = 0;
        assert_int_equal(run(r, &f, sleeps), 0);
        assert_int_equal(f.now, 0);
        assert_int_equal(weft_runner_close(r), 0);
    }
}

/* ---- who may use it ---------------------------------------------------------------------------------------------- */

static weft_runner *the_runner;

static int uses_from_a_task(struct act *f)
{
    weft_runner *fresh = (weft_runner *)f;
    TASK_CHECK(weft_runner_run(the_runner, act, .fn = nothing) == -EBUSY);
    TASK_CHECK(weft_runner_close(the_runner) == -EBUSY);
    TASK_CHECK(weft_runner_open(&fresh, NULL) == -EBUSY);
    TASK_CHECK(fresh == NULL);
    TASK_CHECK(weft_run(act, .fn = nothing) == -EBUSY);
    return 0;
}

static void test_a_task_may_not(void **state)
{
    (void)state;
    the_runner = opened(2, WEFT_CLOCK_REAL);
    assert_int_equal(weft_runner_run(the_runner, act, .fn = uses_from_a_task), 0);
    assert_int_equal(weft_run(act, .fn = uses_from_a_task), 0); /* nor one of another runtime */
    assert_int_equal(weft_runner_close(the_runner), 0);
    assert_tasks_ok();
}

static pthread_barrier_t barrier;
static weft_event gate;

static int waits_at_the_gate(struct act *f)
{
    (void)f;
    pthread_barrier_wait(&barrier);
    return weft_event_wait(&gate);
}

static void *runs_in_thread(void *result)
{
    *(int *)result = weft_runner_run(the_runner, act, .fn = waits_at_the_gate);
    return NULL;
}

static void test_one_thread_at_a_time(void **state)
{
    (void)state;
    for (size_t i = 0; i < NUMBERS; i++) {
        the_runner = opened(numbers[i], WEFT_CLOCK_REAL);
        pthread_barrier_init(&barrier, NULL, 2);
        weft_event_init(&gate);
        pthread_t thread;
        int other = 77;
        assert_int_equal(pthread_create(&thread, NULL, runs_in_thread, &other), 0);
        pthread_barrier_wait(&barrier);
        for (int k = 0; k < 10; k++)
            assert_int_equal(weft_runner_run(the_runner, act, .fn = nothing), -EBUSY);
        assert_int_equal(weft_runner_close(the_runner), -EBUSY);
        weft_event_set(&gate);
        pthread_join(thread, NULL);
        assert_int_equal(other, 0);
        assert_int_equal(weft_runner_run(the_runner, act, .fn = nothing), 0); /* and now another one may */
        assert_int_equal(weft_runner_close(the_runner), 0);
        pthread_barrier_destroy(&barrier);
    }
}

static int closes_from_a_helper(struct act *f)
{
    usleep((unsigned)f->out);
    return weft_runner_close(the_runner) == -EBUSY ? f->in : -EIO;
}

static int left_helper(struct act *f)
{
    (void)f;
    return weft_await_release(weft_to_thread(act, .fn = closes_from_a_helper, .in = 3));
}

/* A helper thread of the runner's own can't close it either: close waits for the helper. */
static int leaves_a_helper(struct act *f)
{
    (void)f;
    weft_release(weft_to_thread(act, .fn = closes_from_a_helper, .in = 3, .out = 20000));
    return 0;
}

static void test_a_helper_thread_may_not_close(void **state)
{
    (void)state;
    the_runner = opened(1, WEFT_CLOCK_REAL);
    assert_int_equal(weft_runner_run(the_runner, act, .fn = left_helper), 3);
    assert_int_equal(weft_runner_run(the_runner, act, .fn = leaves_a_helper), 0);
    usleep(60000);
    assert_int_equal(weft_runner_close(the_runner), 0);
}

/* ---- threads submit between runs --------------------------------------------------------------------------------- */

static _Atomic(int) submitted_ran;

static int submitted(struct act *f)
{
    submitted_ran++;
    return f->in;
}

static void *submits(void *rt)
{
    for (int i = 0; i < 50; i++) {
        weft_task *t = weft_submit(rt, act, .fn = submitted, .in = i);
        TASK_CHECK(t != NULL);
        TASK_CHECK(weft_block_on(t, WEFT_FOREVER) == i);
        weft_release(t);
    }
    return NULL;
}

static void test_threads_submit_between_runs(void **state)
{
    (void)state;
    for (size_t i = 0; i < NUMBERS; i++) {
        submitted_ran = 0;
        weft_runner *r = opened(numbers[i], WEFT_CLOCK_VIRTUAL);
        pthread_t thread[3];
        for (int k = 0; k < 3; k++)
            assert_int_equal(pthread_create(&thread[k], NULL, submits, weft_runner_runtime(r)), 0);
        for (int k = 0; k < 50; k++)
            assert_int_equal(weft_runner_run(r, act, .fn = nothing), 0);
        for (int k = 0; k < 3; k++)
            pthread_join(thread[k], NULL);
        assert_int_equal(submitted_ran, 150); /* ran between the runs as well as in them */
        weft_task *t = weft_submit(weft_runner_runtime(r), act, .fn = submitted, .in = 9);
        assert_int_equal(weft_block_on(t, WEFT_FOREVER), 9);
        weft_release(t);
        assert_int_equal(weft_runner_close(r), 0);
    }
    assert_tasks_ok();
}

/* A handle may outlive the runner. */
static void test_a_handle_outlives_the_runner(void **state)
{
    (void)state;
    weft_runner *r = opened(2, WEFT_CLOCK_VIRTUAL);
    weft_task *done = weft_submit(weft_runner_runtime(r), act, .fn = submitted, .in = 9);
    weft_task *sleeping = weft_submit(weft_runner_runtime(r), act, .fn = sleeps, .in = 1000);
    assert_int_equal(weft_block_on(done, WEFT_FOREVER), 9);
    assert_int_equal(weft_runner_close(r), 0);
    assert_int_equal(weft_status(done), 9);
    assert_int_equal(weft_status(sleeping), -ECANCELED);
    weft_release(done);
    weft_release(sleeping);
}

/* ---- failures ---------------------------------------------------------------------------------------------------- */

static int waits_for_ever(struct act *f)
{
    weft_event never = WEFT_EVENT_INIT;
    f->out = 1;
    return weft_event_wait(&never);
}

static void test_a_deadlock_leaves_only_close(void **state)
{
    (void)state;
    for (size_t i = 0; i < NUMBERS; i++) {
        weft_runner *r = opened(numbers[i], WEFT_CLOCK_VIRTUAL);
        weft_task *t = weft_submit(weft_runner_runtime(r), act, .fn = waits_for_ever);
        struct act f = {.in = 1};
        assert_int_equal(run(r, &f, sleeps), 0); /* one that waits for ever is no deadlock while main goes on */
        assert_int_equal(run(r, &f, waits_for_ever), -EDEADLK);
        assert_int_equal(run(r, &f, nothing), -EDEADLK);
        assert_null(weft_submit(weft_runner_runtime(r), act, .fn = nothing));
        assert_int_equal(weft_runner_close(r), 0);
        assert_int_equal(weft_status(t), -EDEADLK);
        weft_release(t);
    }
}

static void test_bad_options(void **state)
{
    (void)state;
    weft_runner *r = (weft_runner *)state;
    assert_int_equal(weft_runner_open(&r, WEFT_OPTIONS(.pin = 77)), -EINVAL);
    assert_null(r);
    assert_int_equal(weft_runner_open(&r, WEFT_OPTIONS(.sched = 77)), -EINVAL);
    assert_null(r);
}

/* In a child process: what keeps it from starting is told, and nothing is left open. */
static int without_descriptors(void)
{
    int lowest = dup(0);
    close(lowest);
    for (int extra = 0; extra < 12; extra++) {
        struct rlimit limit = {(rlim_t)(lowest + extra), (rlim_t)(lowest + 64)};
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
            return 2;
        weft_runner *r;
        int rc = weft_runner_open(&r, WEFT_OPTIONS(.workers = 2));
        if (rc == 0) {
            rc = weft_runner_run(r, act, .fn = nothing);
            return weft_runner_close(r) == 0 && rc == 0 && extra > 0 ? 0 : 3;
        }
        if (rc != -EMFILE || r != NULL)
            return 4;
        int now = dup(0);
        if (now >= 0)
            close(now);
        if (extra > 0 && now != lowest)
            return 5;
    }
    return 6;
}

static int without_threads(void)
{
    if (getuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
        return 77;
    for (rlim_t most = 1; most < 64; most++) {
        struct rlimit limit = {most, 64};
        if (setrlimit(RLIMIT_NPROC, &limit) != 0)
            return 77;
        weft_runner *r;
        int rc = weft_runner_open(&r, WEFT_OPTIONS(.workers = 4));
        if (rc == 0) {
            rc = weft_runner_run(r, act, .fn = nothing);
            return weft_runner_close(r) == 0 && rc == 0 && most > 1 ? 0 : 3;
        }
        if (rc != -EAGAIN || r != NULL)
            return 4;
    }
    return 77; /* others of that user have used them up */
}

static int exit_status(int (*body)(void))
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0)
        _exit(body());
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 100 + WTERMSIG(status);
}

static void test_open_fails_cleanly(void **state)
{
    (void)state;
    if (RUNNING_ON_VALGRIND) /* it wants descriptors and memory for itself where these runs are to have none */
        return;
    assert_int_equal(exit_status(without_descriptors), 0);
    if (threads_cannot_starve())
        return;
    int rc = exit_status(without_threads);
    assert_true(rc == 0 || rc == 77);
}

/* After fork the child's copy is inert. */
static int in_the_child(void)
{
    alarm(20);
    int rc = weft_runner_run(the_runner, act, .fn = nothing);
    if (rc != -ESHUTDOWN)
        return 1;
    if (weft_submit(weft_runner_runtime(the_runner), act, .fn = nothing) != NULL)
        return 2;
    if (weft_runner_close(the_runner) != 0)
        return 3;
    if (weft_runner_open(&the_runner, WEFT_OPTIONS(.workers = 2)) != 0)
        return 4;
    rc = weft_runner_run(the_runner, act, .fn = nothing);
    return weft_runner_close(the_runner) == 0 && rc == 0 ? 0 : 5;
}

static void test_fork_leaves_the_child_without(void **state)
{
    (void)state;
    the_runner = opened(2, WEFT_CLOCK_REAL);
    struct act f = {.in = 2};
    assert_int_equal(run(the_runner, &f, leaves_some), 0);
    if (!THREADS_SANITIZED)
        assert_int_equal(exit_status(in_the_child), 0);
    assert_int_equal(run(the_runner, &f, nothing), 0);
    assert_int_equal(weft_runner_close(the_runner), 0);
}

/* ---- many -------------------------------------------------------------------------------------------------------- */

static void test_open_run_close_many_times(void **state)
{
    (void)state;
    struct heap_rounds heap = {.rounds = 0};
    unsigned n = threads_scale(600) < 20 ? 20 : threads_scale(600);
    for (unsigned i = 0; i < n || (heap.least >= 5 * 32 && i < 20 * n); i++) { /* see heap_rounds */
        weft_runner *r = opened(numbers[i % NUMBERS], i % 3 ? WEFT_CLOCK_VIRTUAL : WEFT_CLOCK_REAL);
        struct act f = {.in = (int)(i % 5)};
        for (unsigned k = i % 4; k > 0; k--)
            assert_int_equal(run(r, &f, k % 2 ? leaves_some : doubles), k % 2 ? 0 : f.in);
        assert_int_equal(weft_runner_close(r), 0);
        if (i % 60 == 59)
            heap_round(&heap);
    }
    assert_true(heap.least <
                5 * 32); /* less than a smallest block for each run of one kind: 60 is all kinds, five times or more */
    assert_tasks_ok();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_results_come_back),
        cmocka_unit_test(test_runs_share_context_variables),
        cmocka_unit_test(test_leftovers_go_on_until_close),
        cmocka_unit_test(test_the_virtual_clock_stands_between_runs),
        cmocka_unit_test(test_many_short_runs_are_no_deadlock),
        cmocka_unit_test(test_a_task_may_not),
        cmocka_unit_test(test_one_thread_at_a_time),
        cmocka_unit_test(test_a_helper_thread_may_not_close),
        cmocka_unit_test(test_threads_submit_between_runs),
        cmocka_unit_test(test_a_handle_outlives_the_runner),
        cmocka_unit_test(test_a_deadlock_leaves_only_close),
        cmocka_unit_test(test_bad_options),
        cmocka_unit_test(test_open_fails_cleanly),
        cmocka_unit_test(test_fork_leaves_the_child_without),
        cmocka_unit_test(test_open_run_close_many_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
