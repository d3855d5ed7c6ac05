/* SPDX-License-Identifier: Apache-2.0 */
/* Coroutines that end as they must not: in the child of a fork(), with a forked child not joined, with a handle given back that was
 * not theirs. The program is ended with a sentence; it neither hangs nor goes on with a frame that is gone. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <weft.h>

#include <cmocka.h>

#include "support/deaths.h"

/* Forks; the child of that returns at once, its parent waits for it and ends in the same way. */
static int fork_and_return(void)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        alarm(DEATH_LIMIT_S);
        return 0;
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        _exit(3);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT)
        abort();
    _exit(4); /* it ended in another way */
}

struct forks {
    WEFT_FRAME;
};
static int forks(struct forks *f)
{
    (void)f;
    return fork_and_return();
}
WEFT_CORO(forks);

/* The task that forks runs on the stack of the one that awaits it. */
struct awaits_forks {
    WEFT_FRAME;
};
static int awaits_forks(struct awaits_forks *f)
{
    (void)f;
    return weft_await_release(weft_create_task(forks));
}
WEFT_CORO(awaits_forks);

/* So does the structured child. */
struct joins_forks {
    WEFT_FRAME;
};
static int joins_forks(struct joins_forks *f)
{
    struct forks frame = {.frame_ = {0}};
    weft_child child;
    (void)f;
    weft_fork(&child, forks, &frame);
    return weft_join(&child);
}
WEFT_CORO(joins_forks);

struct threads_forks {
    WEFT_FRAME;
};
static int threads_forks(struct threads_forks *f)
{
    (void)f;
    return weft_await_release(weft_to_thread(forks));
}
WEFT_CORO(threads_forks);

static void return_forked(void)
{
    (void)weft_run_with(WEFT_OPTIONS(.workers = 2), forks);
}
static void return_forked_above_another(void)
{
    (void)weft_run_with(WEFT_OPTIONS(.workers = 1), awaits_forks);
}
static void return_forked_in_a_child(void)
{
    (void)weft_run_with(WEFT_OPTIONS(.workers = 1), joins_forks);
}
static void return_forked_in_a_helper(void)
{
    (void)weft_run_with(WEFT_OPTIONS(.workers = 1), threads_forks);
}

static void test_return_in_a_forked_process(void **state)
{
    (void)state;
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
    skip(); /* its runtime does not support the fork of a process with threads */
#endif
#endif
    expect_abort(return_forked, "weft: forks: the function returned in the child of a fork()");
    expect_abort(return_forked_above_another, "weft: forks: the function returned in the child of a fork()");
    expect_abort(return_forked_in_a_child, "weft: forks: the function returned in the child of a fork()");
    expect_abort(return_forked_in_a_helper, "weft: forks: the function returned in the child of a fork()");
}

/* ---- a forgotten join -------------------------------------------------------------------------------------------- */

struct leaf {
    WEFT_FRAME;
    int n;
};
static int leaf(struct leaf *f)
{
    return f->n;
}
WEFT_CORO(leaf);

/* Joins `joined` of three children; those of a coroutine called within are its own affair. */
struct forgets {
    WEFT_FRAME;
    int joined;
};
static int forgets(struct forgets *f)
{
    static struct leaf leaves[3]; /* they outlive the function: the mistake is to be told, not to do harm */
    static weft_child children[3];
    int sum = 0;
    for (int i = 0; i < 3; i++) {
        leaves[i] = (struct leaf){.n = i};
        weft_fork(&children[i], leaf, &leaves[i]);
    }
    for (int i = 2; i >= 3 - f->joined; i--)
        sum += weft_join(&children[i]);
    return sum;
}
WEFT_CORO(forgets);

struct creator {
    WEFT_FRAME;
    int joined;
};
static int creator(struct creator *f)
{
    struct leaf frame = {.n = 10};
    weft_child child;
    weft_fork(&child, leaf, &frame);
    int rc = weft_await_release(weft_create_task(forgets, .joined = f->joined)); /* with a child of ours open */
    return rc + weft_join(&child);
}
WEFT_CORO(creator);

static void forget_one(void)
{
    (void)weft_run_with(WEFT_OPTIONS(.workers = 1), forgets, .joined = 2);
}
static void forget_one_above_another(void)
{
    (void)weft_run_with(WEFT_OPTIONS(.workers = 1), creator, .joined = 2);
}

static void test_forgotten_join(void **state)
{
    (void)state;
    for (unsigned workers = 1; workers <= 4; workers *= 2) {
        assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = workers), forgets, .joined = 3), 3);
        assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = workers), creator, .joined = 3), 13);
    }
#ifdef WEFT_DEBUG
    expect_abort(forget_one, "weft: forgets: the coroutine returned with a forked child not joined");
    expect_abort(forget_one_above_another, "weft: forgets: the coroutine returned with a forked child not joined");
#else
    (void)forget_one;
    (void)forget_one_above_another;
#endif
}

/* ---- handles given back too often ------------------------------------------------------------------------------- */

#define TOO_OFTEN "weft: weft_release: a handle was given back more often than it was given, of "

struct rests {
    WEFT_FRAME;
};
static int rests(struct rests *f)
{
    (void)f;
    return weft_sleep(WEFT_MS(1));
}
WEFT_CORO(rests);

struct releases {
    WEFT_FRAME;
    bool begun, ended; /* before the first release */
};
static int releases(struct releases *f)
{
    weft_task *t = weft_create_task(rests);
    if (t == NULL)
        return -ENOMEM;
    (void)weft_task_set_name(t, "nurse");
    if (f->begun)
        (void)weft_yield();
    if (f->ended)
        (void)weft_await(t);
    weft_release(t);
    weft_release(t);
    return weft_sleep(WEFT_MS(10));
}
WEFT_CORO(releases);

static void release_twice(void)
{
    (void)weft_run_with(WEFT_OPTIONS(.workers = 1, .clock = WEFT_CLOCK_VIRTUAL), releases);
}
static void release_twice_begun(void)
{
    (void)weft_run_with(WEFT_OPTIONS(.workers = 1, .clock = WEFT_CLOCK_VIRTUAL), releases, .begun = true);
}
static void release_twice_ended(void)
{
    (void)weft_run_with(WEFT_OPTIONS(.workers = 1, .clock = WEFT_CLOCK_VIRTUAL), releases, .ended = true);
}

static void test_release_twice(void **state)
{
    (void)state;
    expect_abort(release_twice, TOO_OFTEN "nurse (rests)");
    expect_abort(release_twice_begun, TOO_OFTEN "nurse (rests)");
    expect_abort(release_twice_ended, TOO_OFTEN "Task-2 (rests)"); /* the first has taken its name away */
}

/* What weft_current_task returns is not the task's to give back. */
struct releases_itself {
    WEFT_FRAME;
    bool sleeps;
};
static int releases_itself(struct releases_itself *f)
{
    weft_release(weft_current_task());
    return f->sleeps ? weft_sleep(WEFT_MS(1)) : 0;
}
WEFT_CORO(releases_itself);

/* Its creator counts on its handle: awaits it from the beginning, or only when it has ended, or gives it back. */
struct counts_on_it {
    WEFT_FRAME;
    bool awaits, late;
};
static int counts_on_it(struct counts_on_it *f)
{
    weft_task *t = weft_create_task(releases_itself, .sleeps = true);
    int rc = f->late ? weft_sleep(WEFT_MS(10)) : 0;
    if (f->awaits)
        rc = weft_await(t);
    weft_release(t);
    return rc < 0 ? rc : weft_sleep(WEFT_MS(10));
}
WEFT_CORO(counts_on_it);

static void main_releases_itself(void)
{
    (void)weft_run_with(WEFT_OPTIONS(.workers = 1), releases_itself);
}
static void main_releases_itself_and_sleeps(void)
{
    (void)weft_run_with(WEFT_OPTIONS(.workers = 2), releases_itself, .sleeps = true);
}
static void runs_main_releases_itself(void)
{
    weft_runner *r;
    if (weft_runner_open(&r, WEFT_OPTIONS(.workers = 1)) == 0)
        (void)weft_runner_run(r, releases_itself);
}
static void awaited_releases_itself(void)
{
    (void)weft_run_with(WEFT_OPTIONS(.workers = 1, .clock = WEFT_CLOCK_VIRTUAL), counts_on_it, .awaits = true);
}
static void awaited_late_releases_itself(void)
{
    (void)weft_run_with(WEFT_OPTIONS(.workers = 1, .clock = WEFT_CLOCK_VIRTUAL), counts_on_it, .awaits = true,
                        .late = true);
}
static void released_releases_itself(void)
{
    (void)weft_run_with(WEFT_OPTIONS(.workers = 1, .clock = WEFT_CLOCK_VIRTUAL), counts_on_it);
}
static void released_late_releases_itself(void)
{
    (void)weft_run_with(WEFT_OPTIONS(.workers = 1, .clock = WEFT_CLOCK_VIRTUAL), counts_on_it, .late = true);
}

static void test_release_of_the_current_task(void **state)
{
    (void)state;
    expect_abort(main_releases_itself, TOO_OFTEN "Task-1 (releases_itself)");
    expect_abort(main_releases_itself_and_sleeps, TOO_OFTEN "Task-1 (releases_itself)");
    expect_abort(runs_main_releases_itself, TOO_OFTEN "Task-1 (releases_itself)");
    expect_abort(awaited_releases_itself, TOO_OFTEN "Task-2 (releases_itself)");
    expect_abort(awaited_late_releases_itself, TOO_OFTEN "Task-2 (releases_itself)");
    expect_abort(released_releases_itself, TOO_OFTEN "Task-2 (releases_itself)");
    expect_abort(released_late_releases_itself, TOO_OFTEN "Task-2 (releases_itself)");
}

/* ---- one name, two coroutines ------------------------------------------------------------------------------------ */

/* A coroutine whose function and WEFT_CORO stand in a header: another file that includes it has a description and a function of its own. */
static int leaf_elsewhere(void *frame)
{
    return leaf(frame);
}
static const weft_coro leaf_described_elsewhere = {leaf_elsewhere, sizeof(struct leaf), "leaf", NULL};
struct result_of_a_twin {
    WEFT_FRAME;
};
static int result_of_a_twin(struct result_of_a_twin *f)
{
    (void)f;
    weft_task *t = weft_create_task(leaf);
    (void)weft_await(t);
    return weft_result_(t, &leaf_described_elsewhere) != NULL;
}
WEFT_CORO(result_of_a_twin);
static void take_result_of_a_twin(void)
{
    (void)weft_run(result_of_a_twin);
}
static void test_result_of_a_twin(void **state)
{
    (void)state;
    expect_abort(take_result_of_a_twin, "weft: weft_result: the task runs leaf, described in another file: use "
                                        "WEFT_CORO_DECLARE and WEFT_CORO_DEFINE");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_return_in_a_forked_process),
        cmocka_unit_test(test_forgotten_join),
        cmocka_unit_test(test_release_twice),
        cmocka_unit_test(test_release_of_the_current_task),
        cmocka_unit_test(test_result_of_a_twin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
