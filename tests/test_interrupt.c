/* SPDX-License-Identifier: Apache-2.0 */
/* The option handle_sigint: what Ctrl-C does to a run (Y8). What ends the process is tried in a child of its own, forked while
 * there is no other thread. */
#include "support/io.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

static const unsigned worker_counts[] = {1, 2, 3, 8};
#define COUNTS (sizeof worker_counts / sizeof worker_counts[0])

static _Atomic(int) handled; /* by the former action */
static void count(int signo)
{
    (void)signo;
    handled++;
}

static void set_action(void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler};
    sigaction(SIGINT, &action, NULL);
}

static bool action_is(void (*handler)(int))
{
    struct sigaction now;
    return sigaction(SIGINT, NULL, &now) == 0 && now.sa_handler == handler;
}

static int press(void)
{
    return kill(getpid(), SIGINT);
}

/* The former action runs in the thread that called weft_run: wait until it has. */
static bool handled_comes_to(int n)
{
    for (int i = 0; i < 10000 && handled < n; i++)
        CHECK(weft_sleep(WEFT_MS(1)) == 0);
    return handled == n;
}

enum answer { GIVE_IN, VALUE, ERROR };
struct interrupted {
    WEFT_FRAME;
    enum answer answer;
    int tell;            /* write here when it sleeps, and somebody else presses; 0: it presses by itself */
    bool again;          /* asked by somebody else too */
    unsigned cancelling; /* results */
    int met, cleaned;
};
static int interrupted(struct interrupted *f)
{
    if (f->tell == 0)
        CHECK(press() == 0);
    else
        CHECK(write(f->tell, "b", 1) == 1);
    f->met = weft_sleep(LIMIT);
    f->cancelling = weft_cancelling(weft_current_task());
    f->cleaned = weft_sleep(WEFT_MS(2)); /* the clean-up is not disturbed */
    if (f->again)
        CHECK(weft_cancel(weft_current_task()));
    return f->answer == GIVE_IN ? f->met : f->answer == VALUE ? 7 : -EIO;
}
WEFT_CORO(interrupted);

static weft_options *options(unsigned n)
{
    static weft_options o;
    o = (weft_options){.size = sizeof o, .workers = n, .slow_task = WEFT_FOREVER, .handle_sigint = 1};
    return &o;
}

/* Main is cancelled once, cleans up, and then its answer decides; the former action never sees the signal, and is back at the end. */
static void main_is_cancelled(void **state)
{
    static const int expected[] = {[GIVE_IN] = -EINTR, [VALUE] = 7, [ERROR] = -EIO};
    (void)state;
    first_failure = NULL;
    handled = 0;
    set_action(count);
    for (size_t i = 0; i < COUNTS; i++) {
        for (enum answer answer = GIVE_IN; answer <= ERROR; answer++) {
            struct interrupted f = {.answer = answer};
            assert_int_equal(weft_run_frame(options(worker_counts[i]), interrupted, &f), expected[answer]);
            assert_int_equal(f.met, -ECANCELED);
            assert_int_equal(f.cancelling, 1);
            assert_int_equal(f.cleaned, 0);
            assert_true(action_is(count));
        }
    }
    assert_int_equal(handled, 0);
    set_action(SIG_DFL);
    const char *failure = first_failure;
    assert_null(failure);
}

/* asyncio's rule: interrupted is who ends cancelled with no other request left. */
static void others_requests_stay(void **state)
{
    (void)state;
    first_failure = NULL;
    struct interrupted f = {.answer = GIVE_IN, .again = true};
    assert_int_equal(weft_run_frame(options(2), interrupted, &f), -ECANCELED);
    struct interrupted alone = {.answer = GIVE_IN};
    assert_int_equal(weft_run_frame(options(2), interrupted, &alone), -EINTR);
    assert_true(action_is(SIG_DFL));
    const char *failure = first_failure;
    assert_null(failure);
}

/* It comes from outside, when everything sleeps. */
static void from_another_process(void **state)
{
    (void)state;
    first_failure = NULL;
    for (size_t i = 0; i < COUNTS; i++) {
        int fd[2];
        char c;
        assert_int_equal(pipe(fd), 0);
        pid_t parent = getpid(), child = fork();
        if (child == 0) {
            bool told = read(fd[0], &c, 1) == 1;
            usleep(5000);
            _exit(told && kill(parent, SIGINT) == 0 ? 0 : 1);
        }
        struct interrupted f = {.answer = GIVE_IN, .tell = fd[1]};
        assert_int_equal(weft_run_frame(options(worker_counts[i]), interrupted, &f), -EINTR);
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
        close(fd[0]);
        close(fd[1]);
    }
    const char *failure = first_failure;
    assert_null(failure);
}

/* On the virtual clock time runs while nothing comes from outside: SIGINT is noticed all the same. One that never comes keeps no program
 * alive. */
struct runs_on {
    WEFT_FRAME;
    bool presses;
};
static int runs_on(struct runs_on *f)
{
    weft_event never = WEFT_EVENT_INIT;
    if (!f->presses)
        return weft_event_wait(&never);
    CHECK(press() == 0);
    int rc = 0;
    while (rc == 0)
        rc = weft_sleep(WEFT_MS(1));
    return rc;
}
WEFT_CORO(runs_on);
static void virtual_clock(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNTS; i++) {
        weft_options *o = options(worker_counts[i]);
        o->clock = WEFT_CLOCK_VIRTUAL;
        assert_int_equal(weft_run_with(o, runs_on, .presses = true), -EINTR);
        assert_int_equal(weft_run_with(o, runs_on), -EDEADLK);
        assert_true(action_is(SIG_DFL));
    }
}

/* ---- the second one, and the ends -------------------------------------------------------------------------------- */

/* Holds its clean-up up until the former action has had the second one. */
struct hangs {
    WEFT_FRAME;
};
static int hangs(struct hangs *f)
{
    (void)f;
    CHECK(press() == 0);
    CHECK(weft_sleep(LIMIT) == -ECANCELED);
    CHECK(handled == 0);
    CHECK(press() == 0);
    CHECK(handled_comes_to(1));
    CHECK(weft_cancelling(weft_current_task()) == 1); /* not cancelled again */
    CHECK(press() == 0);
    CHECK(handled_comes_to(2));
    return -ECANCELED;
}
WEFT_CORO(hangs);
static void second_goes_to_the_former_action(void **state)
{
    (void)state;
    first_failure = NULL;
    for (size_t i = 0; i < COUNTS; i++) {
        handled = 0;
        set_action(count);
        assert_int_equal(weft_run_with(options(worker_counts[i]), hangs), -EINTR);
        assert_int_equal(handled, 2);
        assert_true(action_is(count));
    }
    set_action(SIG_DFL);
    const char *failure = first_failure;
    assert_null(failure);
}

/* When main has ended, its leftovers' clean-up is not protected any more. */
static _Atomic(bool) leftover_began; /* else it is cancelled before its first step, and does nothing at all */
struct leftover {
    WEFT_FRAME;
};
static int leftover(struct leftover *f)
{
    (void)f;
    leftover_began = true;
    CHECK(weft_sleep(LIMIT) == -ECANCELED);
    CHECK(press() == 0);
    CHECK(handled_comes_to(1));
    return -ECANCELED;
}
WEFT_CORO(leftover);
struct leaves {
    WEFT_FRAME;
};
static int leaves(struct leaves *f)
{
    (void)f;
    int rc = 0;
    leftover_began = false;
    weft_release(weft_create_task(leftover));
    while (rc == 0 && !leftover_began)
        rc = weft_sleep(WEFT_MS(1));
    return rc == 0 ? 3 : -EIO;
}
WEFT_CORO(leaves);
static void leftovers(void **state)
{
    (void)state;
    first_failure = NULL;
    for (size_t i = 0; i < COUNTS; i++) {
        handled = 0;
        set_action(count);
        assert_int_equal(weft_run_with(options(worker_counts[i]), leaves), 3);
        assert_int_equal(handled, 1);
    }
    set_action(SIG_DFL);
    const char *failure = first_failure;
    assert_null(failure);
}

/* One that meets main's end either cancels it or reaches the former action: it is never lost. */
struct ends_soon {
    WEFT_FRAME;
    unsigned turns;
    int met; /* result */
};
static int ends_soon(struct ends_soon *f)
{
    f->met = press();
    for (unsigned i = 0; f->met == 0 && i < f->turns; i++)
        f->met = weft_yield();
    return f->met;
}
WEFT_CORO(ends_soon);
static void none_is_lost(void **state)
{
    (void)state;
    set_action(count);
    for (unsigned i = 0; i < 200; i++) {
        handled = 0;
        struct ends_soon f = {.turns = i % 40};
        int rc = weft_run_frame(options(1 + i % 2), ends_soon, &f);
        if (f.met == -ECANCELED || rc == -EINTR) {
            assert_int_equal(rc, -EINTR);
        } else {
            assert_int_equal(rc, 0);
            for (int n = 0; n < 10000 && handled == 0; n++)
                usleep(1000);
            assert_int_equal(handled, 1);
        }
    }
    set_action(SIG_DFL);
}

/* ---- in children: what ends the process --------------------------------------------------------------------------- */

struct presses_twice {
    WEFT_FRAME;
};
static int presses_twice(struct presses_twice *f)
{
    (void)f;
    if (press() != 0 || weft_sleep(LIMIT) != -ECANCELED)
        return -EIO;
    return press() == 0 ? weft_sleep(LIMIT) : -EIO;
}
WEFT_CORO(presses_twice);

static void second_ends_the_process(void)
{
    (void)weft_run_with(options(2), presses_twice);
}

static void without_the_option(void)
{
    struct interrupted f = {.answer = VALUE};
    (void)weft_run_frame(NULL, interrupted, &f);
}

static void after_the_run(void)
{
    struct interrupted f = {.answer = VALUE};
    if (weft_run_frame(options(2), interrupted, &f) == 7)
        press();
}

static void the_process_ends(void **state)
{
    static void (*const deaths[])(void) = {second_ends_the_process, without_the_option, after_the_run};
    (void)state;
    for (size_t i = 0; i < sizeof deaths / sizeof deaths[0]; i++) {
        pid_t child = fork();
        if (child == 0) {
            deaths[i]();
            _exit(0);
        }
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGINT);
    }
}

/* ---- who else wants it -------------------------------------------------------------------------------------------- */

static void ignored_stays_ignored(void **state)
{
    (void)state;
    first_failure = NULL;
    set_action(SIG_IGN);
    struct ends_soon f = {.turns = 1000};
    assert_int_equal(weft_run_frame(options(2), ends_soon, &f), 0);
    assert_true(action_is(SIG_IGN));
    set_action(SIG_DFL);
}

/* A task that waits for it has it from then on, as often as it comes. */
struct asks {
    WEFT_FRAME;
};
static int asks(struct asks *f)
{
    (void)f;
    for (int i = 0; i < 3; i++) {
        weft_timeout limit;
        CHECK(weft_timeout_begin(&limit, WEFT_MS(i == 0 ? 1 : 60000)) == 0);
        if (i > 0)
            CHECK(press() == 0);
        CHECK(weft_timeout_end(&limit, weft_signal_wait((const int[]){SIGINT}, 1)) == (i == 0 ? -ETIMEDOUT : SIGINT));
    }
    CHECK(weft_cancelling(weft_current_task()) == 0);
    return 5;
}
WEFT_CORO(asks);
static void a_task_that_waits_has_it(void **state)
{
    (void)state;
    first_failure = NULL;
    for (size_t i = 0; i < COUNTS; i++) {
        assert_int_equal(weft_run_with(options(worker_counts[i]), asks), 5);
        assert_true(action_is(SIG_DFL));
    }
    const char *failure = first_failure;
    assert_null(failure);
}

/* Each run of a runner is interrupted by itself; in between the action is the former one. */
static void runner(void **state)
{
    (void)state;
    first_failure = NULL;
    weft_runner *r;
    assert_int_equal(weft_runner_open(&r, options(2)), 0);
    assert_true(action_is(SIG_DFL));
    assert_int_equal(weft_runner_run(r, interrupted, .answer = GIVE_IN), -EINTR);
    assert_true(action_is(SIG_DFL));
    assert_int_equal(weft_runner_run(r, interrupted, .answer = VALUE), 7);
    assert_int_equal(weft_runner_run(r, asks), 5);
    assert_int_equal(weft_runner_close(r), 0);
    assert_true(action_is(SIG_DFL));
    const char *failure = first_failure;
    assert_null(failure);
}

/* Kept in one run and dropped in a later one: the main tasks of that run and of all after it are cancelled as if nothing had been. */
struct drops {
    WEFT_FRAME;
    bool keeps, drops;
};
static int drops(struct drops *f)
{
    if (f->keeps) {
        CHECK(weft_signal_keep((const int[]){SIGINT}, 1) == 0);
        return 1;
    }
    CHECK(press() == 0); /* kept while nobody waits for it */
    CHECK(weft_sleep(WEFT_MS(1)) == 0);
    if (f->drops)
        CHECK(weft_signal_drop((const int[]){SIGINT}, 1) == 0);
    else
        CHECK(weft_signal_wait((const int[]){SIGINT}, 1) == SIGINT);
    return f->drops ? weft_sleep(LIMIT) : 2;
}
WEFT_CORO(drops);
static void dropped_in_a_later_run(void **state)
{
    (void)state;
    first_failure = NULL;
    for (size_t i = 0; i < COUNTS; i++) {
        weft_runner *r;
        assert_int_equal(weft_runner_open(&r, options(worker_counts[i])), 0);
        assert_int_equal(weft_runner_run(r, drops, .keeps = true), 1);
        assert_int_equal(weft_runner_run(r, drops), 2);
        assert_int_equal(weft_runner_run(r, drops, .drops = true), -EINTR);
        assert_true(action_is(SIG_DFL));
        assert_int_equal(weft_runner_run(r, interrupted, .answer = GIVE_IN), -EINTR);
        assert_int_equal(weft_runner_close(r), 0);
        assert_true(action_is(SIG_DFL));
    }
    const char *failure = first_failure;
    assert_null(failure);
}

/* The child of a fork is none of it: SIGINT has its former action there. */
struct forks {
    WEFT_FRAME;
    int status; /* result */
};
static int forks(struct forks *f)
{
    pid_t child = fork();
    if (child == 0)
        _exit(action_is(SIG_DFL) ? 0 : 1);
    CHECK(child > 0 && waitpid(child, &f->status, 0) == child);
    CHECK(press() == 0);
    return weft_sleep(LIMIT);
}
WEFT_CORO(forks);
static void child_of_a_fork(void **state)
{
    (void)state;
    first_failure = NULL;
    struct forks f = {.status = -1};
    assert_int_equal(weft_run_frame(options(2), forks, &f), -EINTR);
    assert_int_equal(f.status, 0);
    const char *failure = first_failure;
    assert_null(failure);
}

static void wrong_value(void **state)
{
    (void)state;
    weft_options *o = options(1);
    o->handle_sigint = 2;
    assert_int_equal(weft_run_with(o, asks), -EINVAL);
}

/* No descriptor is left for it: the run does not begin, and says why. */
struct never_runs {
    WEFT_FRAME;
    _Atomic(int) *ran;
};
static int never_runs(struct never_runs *f)
{
    ++*f->ran;
    return 0;
}
WEFT_CORO(never_runs);
static void no_descriptor(void **state)
{
    (void)state;
    _Atomic(int) ran = 0;
    struct rlimit before, none;
    weft_runner *r;
    assert_int_equal(weft_runner_open(&r, options(1)), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){.rlim_cur = 3, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int rc = weft_runner_run(r, never_runs, .ran = &ran);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(rc, -EMFILE);
    assert_int_equal(ran, 0);
    assert_int_equal(weft_runner_run(r, never_runs, .ran = &ran), 0);
    assert_int_equal(ran, 1);
    assert_int_equal(weft_runner_close(r), 0);
    assert_true(action_is(SIG_DFL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(main_is_cancelled),
        cmocka_unit_test(others_requests_stay),
        cmocka_unit_test(from_another_process),
        cmocka_unit_test(virtual_clock),
        cmocka_unit_test(second_goes_to_the_former_action),
        cmocka_unit_test(leftovers),
        cmocka_unit_test(none_is_lost),
        cmocka_unit_test(the_process_ends),
        cmocka_unit_test(ignored_stays_ignored),
        cmocka_unit_test(a_task_that_waits_has_it),
        cmocka_unit_test(runner),
        cmocka_unit_test(dropped_in_a_later_run),
        cmocka_unit_test(child_of_a_fork),
        cmocka_unit_test(wrong_value),
        cmocka_unit_test(no_descriptor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
