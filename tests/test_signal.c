/* SPDX-License-Identifier: Apache-2.0 */
/* Signals as something to wait for. */
#include "support/io.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

static const int usr[2] = {SIGUSR1, SIGUSR2};

static int wait_usr1(void *unused)
{
    (void)unused;
    return weft_signal_wait(usr, 1);
}

static int wait_both(void *unused)
{
    (void)unused;
    return weft_signal_wait(usr, 2);
}

TEST(wakes)
{
    weft_task *t = start(wait_both, NULL);
    for (int i = 0; i < 10; i++) {
        settle();
        CHECK(!weft_done(t));
        CHECK(kill(getpid(), i % 2 == 0 ? SIGUSR1 : SIGUSR2) == 0);
        CHECK(weft_await_release(t) == (i % 2 == 0 ? SIGUSR1 : SIGUSR2));
        t = start(wait_both, NULL);
    }
    CHECK(weft_cancel(t));
    CHECK(weft_await_release(t) == -ECANCELED);
    return 0;
}

static void take_over(void)
{
    weft_timeout limit;
    CHECK(weft_timeout_begin(&limit, WEFT_MS(5)) == 0);
    CHECK(weft_timeout_end(&limit, weft_signal_wait(usr, 2)) == -ETIMEDOUT);
}

TEST(kept_while_nobody_waits)
{
    take_over();
    CHECK(kill(getpid(), SIGUSR2) == 0 && kill(getpid(), SIGUSR1) == 0);
    settle();
    CHECK(weft_signal_wait(usr, 1) == SIGUSR1);
    CHECK(weft_signal_wait(usr, 2) == SIGUSR2);
    take_over(); /* both are used up */
    return 0;
}

TEST(all_waiters_get_it)
{
    take_over();
    weft_task *a = start(wait_usr1, NULL), *b = start(wait_both, NULL), *c = start(wait_usr1, NULL);
    settle();
    CHECK(weft_cancel(c));
    CHECK(kill(getpid(), SIGUSR1) == 0);
    CHECK(weft_await_release(a) == SIGUSR1 && weft_await_release(b) == SIGUSR1);
    CHECK(weft_await_release(c) == -ECANCELED);
    take_over(); /* it was delivered: not kept */
    return 0;
}

static int note_usr1(void *delivered)
{
    int rc = weft_signal_wait(usr, 1);
    *(int *)delivered = rc;
    return rc;
}

/* Signal and cancellation meet: the signal is either delivered or kept, never lost. (A task that got it and then ends with
 * the request undelivered ends cancelled: so the wait's own result counts.) */
TEST(cancel_against_signal)
{
    take_over();
    for (int i = 0; i < 50; i++) {
        int delivered = 0;
        weft_task *t = start(note_usr1, &delivered);
        CHECK(weft_yield() == 0);
        CHECK(kill(getpid(), SIGUSR1) == 0);
        if (i % 2 == 0)
            CHECK(weft_yield() == 0);
        weft_cancel(t);
        (void)weft_await_release(t);
        CHECK(delivered == SIGUSR1 || delivered == -ECANCELED || delivered == 0);
        if (delivered != SIGUSR1)
            CHECK(weft_signal_wait(usr, 1) == SIGUSR1);
    }
    return 0;
}

TEST(arguments)
{
    static const int bad[] = {0, -1, 65, SIGKILL, SIGSTOP, SIGSEGV};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK(weft_signal_wait(&bad[i], 1) == -EINVAL);
    CHECK(weft_signal_wait(usr, 0) == -EINVAL);
    return 0;
}

/* ---- the action before and after, several runtimes, fork ---- */

static _Atomic(int) handled;
static void count(int signo)
{
    (void)signo;
    handled++;
}

struct one_wait {
    WEFT_FRAME;
    int ready; /* descriptor to write to when it waits, -1: none */
};
static int one_wait(struct one_wait *o)
{
    weft_task *t = start(wait_usr1, NULL);
    settle();
    if (o->ready >= 0)
        CHECK(write(o->ready, "r", 1) == 1);
    else
        CHECK(kill(getpid(), SIGUSR1) == 0);
    return weft_await_release(t);
}
WEFT_CORO(one_wait);

static void former_action_comes_back(void **state)
{
    (void)state;
    struct sigaction mine = {.sa_handler = count}, now;
    sigaction(SIGUSR1, &mine, NULL);
    handled = 0;
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 2), one_wait, .ready = -1), SIGUSR1);
    assert_int_equal(handled, 0);
    kill(getpid(), SIGUSR1);
    for (int i = 0; i < 10000 && handled == 0; i++)
        usleep(1000);
    assert_int_equal(handled, 1);
    sigaction(SIGUSR1, NULL, &now);
    assert_ptr_equal(now.sa_handler, count);
    signal(SIGUSR1, SIG_DFL);
}

struct foreign {
    pthread_t thread;
    int ready, rc;
};
static void *run_one(void *argument)
{
    struct foreign *f = argument;
    f->rc = weft_run_with(WEFT_OPTIONS(.workers = 1), one_wait, .ready = f->ready);
    return NULL;
}

static void several_runtimes(void **state)
{
    (void)state;
    struct foreign f[3];
    int fd[2];
    char c;
    assert_int_equal(pipe(fd), 0);
    for (int i = 0; i < 3; i++) {
        f[i].ready = fd[1];
        assert_int_equal(pthread_create(&f[i].thread, NULL, run_one, &f[i]), 0);
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(read(fd[0], &c, 1), 1);
    assert_int_equal(kill(getpid(), SIGUSR1), 0);
    for (int i = 0; i < 3; i++) {
        pthread_join(f[i].thread, NULL);
        assert_int_equal(f[i].rc, SIGUSR1);
    }
    close(fd[0]);
    close(fd[1]);
    struct sigaction now;
    sigaction(SIGUSR1, NULL, &now);
    assert_ptr_equal(now.sa_handler, SIG_DFL);
}

/* A child is not the one who waits: the signal does there what it did before. */
struct with_child {
    WEFT_FRAME;
};
static int with_child(struct with_child *w)
{
    (void)w;
    take_over();
    pid_t child = fork();
    if (child == 0) {
        sigset_t all; /* workers block signals */
        sigfillset(&all);
        sigprocmask(SIG_UNBLOCK, &all, NULL);
        raise(SIGUSR1); /* the default action ends it */
        _exit(0);
    }
    int status = 0;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR1);
    take_over(); /* nothing of it came here */
    CHECK(kill(getpid(), SIGUSR1) == 0);
    return weft_signal_wait(usr, 1);
}
WEFT_CORO(with_child);

static void forked_child(void **state)
{
    (void)state;
    first_failure = NULL;
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 2, .slow_task = WEFT_FOREVER), with_child), SIGUSR1);
    const char *failure = first_failure;
    assert_null(failure);
}

/* The thread that signals are delivered to: as good as any, and thread sanitizer runs handlers only in calls it knows. */
static void *receive(void *unused)
{
    (void)unused;
    for (;;)
        sleep(1000);
    return NULL;
}

int main(void)
{
    pthread_t receiver;
    sigset_t signals;
    if (pthread_create(&receiver, NULL, receive, NULL) != 0)
        return 1;
    sigemptyset(&signals);
    sigaddset(&signals, SIGUSR1);
    sigaddset(&signals, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wakes),
        cmocka_unit_test(kept_while_nobody_waits),
        cmocka_unit_test(all_waiters_get_it),
        cmocka_unit_test(cancel_against_signal),
        cmocka_unit_test(arguments),
        cmocka_unit_test(former_action_comes_back),
        cmocka_unit_test(several_runtimes),
        cmocka_unit_test(forked_child),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    pthread_cancel(receiver);
    pthread_join(receiver, NULL);
    return failed;
}
