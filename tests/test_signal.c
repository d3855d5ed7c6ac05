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

/* Kept without a wait, and given back before the end. */
static void count_up(int signo)
{
    (void)signo;
    handled = handled + 1;
}

static bool is_handler(int signo, void (*handler)(int))
{
    struct sigaction now;
    return sigaction(signo, NULL, &now) == 0 && now.sa_handler == handler;
}

static void until_handled(int times)
{
    for (int i = 0; i < 100000 && handled < times; i++)
        usleep(100);
    CHECK(handled == times);
}

TEST(kept_and_dropped)
{
    static const int none[] = {SIGKILL};
    handled = 0;
    signal(SIGUSR1, count_up);
    signal(SIGUSR2, count_up);
    CHECK(weft_signal_drop(usr, 2) == 0); /* they are not kept */
    CHECK(weft_signal_keep(usr, 1) == 0 && weft_signal_keep(usr, 1) == 0);
    CHECK(!is_handler(SIGUSR1, count_up) && is_handler(SIGUSR2, count_up));
    CHECK(kill(getpid(), SIGUSR1) == 0); /* before anybody has waited */
    CHECK(weft_signal_wait(usr, 1) == SIGUSR1 && handled == 0);
    weft_task *t = start(wait_both, NULL);
    settle();
    CHECK(weft_signal_drop(usr, 1) == -EBUSY && !is_handler(SIGUSR1, count_up));
    CHECK(weft_cancel(t) && weft_await_release(t) == -ECANCELED);
    CHECK(weft_signal_drop(usr, 2) == 0);
    CHECK(is_handler(SIGUSR1, count_up) && is_handler(SIGUSR2, count_up));
    CHECK(kill(getpid(), SIGUSR1) == 0);
    until_handled(1);
    /* One that came and nobody had is sent again; a later wait takes it over anew. */
    CHECK(weft_signal_keep(usr, 2) == 0 && kill(getpid(), SIGUSR2) == 0);
    settle();
    CHECK(handled == 1 && weft_signal_drop(usr, 2) == 0);
    until_handled(2);
    t = start(wait_usr1, NULL);
    settle();
    CHECK(kill(getpid(), SIGUSR1) == 0 && weft_await_release(t) == SIGUSR1 && handled == 2);
    CHECK(weft_signal_keep(none, 1) == -EINVAL && weft_signal_keep(usr, 0) == -EINVAL);
    CHECK(weft_signal_drop(none, 1) == -EINVAL && weft_signal_drop(usr, 0) == -EINVAL);
    CHECK(weft_signal_drop(usr, 2) == 0);
    signal(SIGUSR1, SIG_DFL);
    signal(SIGUSR2, SIG_DFL);
    return 0;
}

/* A wait takes one of those that came. The others are kept while they are not dropped, and sent again when they are. */
TEST(one_wait_takes_one)
{
    handled = 0;
    signal(SIGUSR1, count_up);
    signal(SIGUSR2, count_up);
    for (int both = 0; both < 2; both++) {
        CHECK(weft_signal_keep(usr, 2) == 0);
        CHECK(kill(getpid(), SIGUSR2) == 0 && kill(getpid(), SIGUSR1) == 0);
        CHECK(weft_signal_wait(usr, 1) == SIGUSR1);
        CHECK(weft_signal_drop(usr, both ? 2 : 1) == 0);
        if (both)
            until_handled(1);
        else
            CHECK(weft_signal_wait(usr + 1, 1) == SIGUSR2 && handled == 0);
    }
    signal(SIGUSR1, SIG_DFL);
    signal(SIGUSR2, SIG_DFL);
    return 0;
}

/* One task keeps and drops, others wait: a signal that is sent while somebody waits always reaches a waiter or, sent again, the handler. */
static int waits_often(void *unused)
{
    (void)unused;
    for (int i = 0; i < 100; i++) {
        weft_timeout limit;
        CHECK(weft_timeout_begin(&limit, WEFT_US(200)) == 0);
        int rc = weft_timeout_end(&limit, weft_signal_wait(usr, 1));
        CHECK(rc == -ETIMEDOUT || rc == SIGUSR1);
    }
    return 0;
}

TEST(drop_against_waits)
{
    handled = 0;
    signal(SIGUSR1, count_up);
    weft_task *t[2] = {start(waits_often, NULL), start(waits_often, NULL)};
    while (!weft_done(t[0]) || !weft_done(t[1])) {
        int rc = weft_signal_drop(usr, 1);
        CHECK(rc == 0 || rc == -EBUSY);
        CHECK(kill(getpid(), SIGUSR1) == 0);
        CHECK(weft_sleep(WEFT_US(50)) == 0);
    }
    CHECK(weft_await_release(t[0]) == 0 && weft_await_release(t[1]) == 0);
    CHECK(weft_signal_drop(usr, 1) == 0 && is_handler(SIGUSR1, count_up));
    t[0] = start(wait_usr1, NULL); /* and nothing of it is left that would keep a wait from being woken */
    settle();
    while (!weft_done(t[0])) {
        CHECK(kill(getpid(), SIGUSR1) == 0);
        CHECK(weft_sleep(WEFT_MS(1)) == 0);
    }
    CHECK(weft_await_release(t[0]) == SIGUSR1);
    CHECK(weft_signal_drop(usr, 1) == 0);
    signal(SIGUSR1, SIG_IGN);
    signal(SIGUSR1, SIG_DFL);
    return 0;
}

/* One whose handler the kernel has chosen just when the signal is dropped: it runs before the drop, within it, or after it. */
static void linger(int turns)
{
    for (volatile int i = 0; i < turns; i++)
        ;
}

TEST(dropped_as_it_comes)
{
    handled = 0;
    signal(SIGUSR1, count_up);
    for (int i = 0; i < 400; i++) {
        CHECK(weft_signal_keep(usr, 1) == 0);
        CHECK(kill(getpid(), SIGUSR1) == 0);
        linger(i * 371 % 40001); /* until the receiving thread has woken: some 50 us */
        CHECK(weft_signal_drop(usr, 1) == 0);
        until_handled(i + 1);
    }
    CHECK(is_handler(SIGUSR1, count_up));
    signal(SIGUSR1, SIG_DFL);
    return 0;
}

/* Its only receiver is cancelled, and the signal dropped, before it goes on: either it has had it, or the former action gets it. */
TEST(dropped_in_the_receivers_hand)
{
    handled = 0;
    signal(SIGUSR1, count_up);
    for (int i = 0; i < 300; i++) {
        int delivered = 0, before = handled;
        CHECK(weft_signal_keep(usr, 1) == 0);
        weft_task *t = start(note_usr1, &delivered);
        CHECK(weft_yield() == 0);
        CHECK(kill(getpid(), SIGUSR1) == 0);
        linger(i * 37 % 4001);
        if (i % 3 == 0)
            usleep(3000); /* a long step: meanwhile somebody else hands it over */
        weft_cancel(t);
        while (weft_signal_drop(usr, 1) == -EBUSY) /* it has not gone on yet */
            CHECK(weft_yield() == 0);
        (void)weft_await_release(t);
        if (delivered != SIGUSR1)
            until_handled(before + 1);
    }
    signal(SIGUSR1, SIG_DFL);
    return 0;
}

/* What the program itself has set for a kept signal stays when the runtime ends: so a late one does no harm. */
struct ignores {
    WEFT_FRAME;
};
static int ignores(struct ignores *i)
{
    (void)i;
    int rc = weft_signal_keep(usr, 1);
    if (rc == 0 && signal(SIGUSR1, SIG_IGN) == SIG_ERR)
        rc = -errno;
    return rc;
}
WEFT_CORO(ignores);

static void late_one_is_ignored(void **state)
{
    (void)state;
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 2), ignores), 0);
    assert_true(is_handler(SIGUSR1, SIG_IGN));
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

/* Two keep it, and one drops it unseen: the other has had its own, and gets no second. */
struct keeps_one {
    WEFT_FRAME;
    int ready, dropped;
};
static int keeps_one(struct keeps_one *k)
{
    char c;
    int rc = weft_signal_keep(usr, 2);
    CHECK(rc == 0 && write(k->ready, "r", 1) == 1);
    CHECK(weft_signal_wait(usr, 2) == SIGUSR1);
    CHECK(write(k->ready, "g", 1) == 1 && read(k->dropped, &c, 1) == 1);
    CHECK(kill(getpid(), SIGUSR2) == 0);
    return weft_signal_wait(usr, 2); /* a second SIGUSR1 came before it, and would be returned first */
}
WEFT_CORO(keeps_one);
static void *keep_one(void *frame)
{
    struct keeps_one *k = frame;
    return (void *)(intptr_t)weft_run_frame(WEFT_OPTIONS(.workers = 1, .slow_task = WEFT_FOREVER), keeps_one, k);
}

TEST(dropped_by_one_of_two)
{
    int up[2], down[2];
    char c;
    pthread_t other;
    CHECK(pipe(up) == 0 && pipe(down) == 0);
    struct keeps_one k = {.ready = up[1], .dropped = down[0]};
    CHECK(weft_signal_keep(usr, 1) == 0);
    CHECK(pthread_create(&other, NULL, keep_one, &k) == 0);
    CHECK(read(up[0], &c, 1) == 1);
    CHECK(kill(getpid(), SIGUSR1) == 0);
    CHECK(read(up[0], &c, 1) == 1); /* the other has it */
    CHECK(weft_signal_drop(usr, 1) == 0);
    CHECK(write(down[1], "d", 1) == 1);
    void *rc;
    CHECK(pthread_join(other, &rc) == 0 && (intptr_t)rc == SIGUSR2);
    for (int i = 0; i < 2; i++) {
        close(up[i]);
        close(down[i]);
    }
    return 0;
}

/* Somebody's handler that calls the one before it, which was the library's: it is the former action at the next drop, and has the signal once. */
static struct sigaction chained_to;
static _Atomic(int) chained_calls;

static void chained(int signo)
{
    if (++chained_calls < 100)
        chained_to.sa_handler(signo);
}

TEST(handler_over_ours)
{
    struct sigaction before, now, mine = {.sa_handler = chained};
    if (WEFT__TSAN) /* thread sanitizer calls handlers with all signals blocked, whatever they asked for */
        return 0;
    CHECK(sigaction(SIGUSR1, NULL, &before) == 0);
    CHECK(weft_signal_keep(usr, 1) == 0 && sigaction(SIGUSR1, &mine, &chained_to) == 0);
    CHECK(weft_signal_drop(usr, 1) == 0); /* not ours any more: it stays */
    CHECK(weft_signal_keep(usr, 1) == 0 && weft_signal_drop(usr, 1) == 0);
    CHECK(sigaction(SIGUSR1, NULL, &now) == 0 && now.sa_handler == chained);
    chained_calls = 0;
    CHECK(kill(getpid(), SIGUSR1) == 0);
    for (int i = 0; i < 1000 && chained_calls == 0; i++)
        settle();
    settle();
    CHECK(chained_calls == 1);
    CHECK(sigaction(SIGUSR1, &before, NULL) == 0);
    return 0;
}

/* One keeps a signal that came before the other began to keep it: nobody has had it, so it comes to the other when it is dropped. */
struct runs {
    WEFT_FRAME;
    enum { KEEPS, DROPS, HAS_IT } what;
};
static int runs(struct runs *r)
{
    if (r->what == KEEPS)
        return weft_signal_keep(usr, 1);
    return r->what == DROPS ? weft_signal_drop(usr, 1) : weft_signal_wait(usr, 1);
}
WEFT_CORO(runs);

static void kept_later_by_another(void **state)
{
    (void)state;
    weft_runner *first, *second;
    handled = 0;
    signal(SIGUSR1, count_up);
    assert_int_equal(weft_runner_open(&first, WEFT_OPTIONS(.workers = 1)), 0);
    assert_int_equal(weft_runner_open(&second, WEFT_OPTIONS(.workers = 1)), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(weft_runner_run(first, runs, .what = KEEPS), 0);
        kill(getpid(), SIGUSR1);
        usleep(20000); /* the receiving thread has marked it; if not, the second has it at once, which is as good */
        assert_int_equal(weft_runner_run(second, runs, .what = KEEPS), 0);
        assert_int_equal(weft_runner_run(first, runs, .what = DROPS), 0);
        assert_int_equal(weft_runner_run(second, runs, .what = HAS_IT), SIGUSR1);
        assert_int_equal(weft_runner_run(second, runs, .what = DROPS), 0);
    }
    assert_int_equal(handled, 0);
    assert_int_equal(weft_runner_close(first), 0);
    assert_int_equal(weft_runner_close(second), 0);
    signal(SIGUSR1, SIG_DFL);
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
        cmocka_unit_test(kept_and_dropped),
        cmocka_unit_test(one_wait_takes_one),
        cmocka_unit_test(drop_against_waits),
        cmocka_unit_test(dropped_as_it_comes),
        cmocka_unit_test(dropped_in_the_receivers_hand),
        cmocka_unit_test(dropped_by_one_of_two),
        cmocka_unit_test(kept_later_by_another),
        cmocka_unit_test(late_one_is_ignored),
        cmocka_unit_test(several_runtimes),
        cmocka_unit_test(handler_over_ours),
        cmocka_unit_test(forked_child),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    pthread_cancel(receiver);
    pthread_join(receiver, NULL);
    return failed;
}
