/* SPDX-License-Identifier: Apache-2.0 */
/* Runtimes: options, several of them, threads from outside, fork, the account, reports of blocked workers, the end. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <weft.h>

#include <cmocka.h>

#include "support/check.h"
#include "support/deaths.h"

struct add {
    WEFT_FRAME;
    int a, b, sum;
    weft_ns pause;
};
static int add(struct add *f)
{
    f->sum = f->a + f->b;
    return f->pause > 0 ? weft_sleep(f->pause) : 0;
}
WEFT_CORO(add);

static void test_bad_options(void **state)
{
    (void)state;
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = WEFT_MAX_WORKERS + 1), add), -EINVAL);
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.pin = 77), add), -EINVAL);
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.order = 77), add), -EINVAL);
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.clock = 77), add), -EINVAL);
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.stack_size = WEFT_MAX_STACK + 1), add), -EINVAL);
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.slow_task = -1), add), -EINVAL);
    weft_options wrong = {.size = 3};
    assert_int_equal(weft_run_with(&wrong, add), -EINVAL);
    wrong.size = sizeof wrong + 8;
    assert_int_equal(weft_run_with(&wrong, add), -EINVAL);
}

/* A10: not inside a task. */
struct nested {
    WEFT_FRAME;
};
static int nested(struct nested *f)
{
    (void)f;
    return weft_run(add);
}
WEFT_CORO(nested);
static void test_nested_run_is_refused(void **state)
{
    (void)state;
    assert_int_equal(weft_run(nested), -EBUSY);
}

/* A16: on the virtual clock a program that can never go on is told so. */
struct never {
    WEFT_FRAME;
};
static int never(struct never *f)
{
    (void)f;
    weft_event e = WEFT_EVENT_INIT;
    return weft_event_wait(&e);
}
WEFT_CORO(never);
static void test_deadlock_is_reported(void **state)
{
    (void)state;
    for (unsigned w = 1; w <= 3; w++)
        assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = w, .clock = WEFT_CLOCK_VIRTUAL), never), -EDEADLK);
}

/* In debug mode each task of such a program is named, with what it waits for. */
struct lines {
    char text[2048];
    int count;
};
static void take_line(void *user, const char *line)
{
    struct lines *l = user; /* one thread reports: all others stand still */
    size_t n = strlen(l->text);
    snprintf(l->text + n, sizeof l->text - n, "%s\n", line);
    l->count++;
}
struct stands {
    WEFT_FRAME;
    weft_lock *first, *second;
};
static int stands(struct stands *f)
{
    int rc = weft_lock_acquire(f->first);
    if (rc == 0)
        rc = weft_sleep(WEFT_MS(1));
    return rc == 0 ? weft_lock_acquire(f->second) : rc;
}
WEFT_CORO(stands);
struct stands_still {
    WEFT_FRAME;
};
static int stands_still(struct stands_still *f)
{
    (void)f;
    weft_lock a = WEFT_LOCK_INIT, b = WEFT_LOCK_INIT;
    weft_task *one = weft_create_task(stands, .first = &a, .second = &b);
    weft_task_set_name(one, "hen");
    weft_release(weft_create_task(stands, .first = &b, .second = &a));
    int rc = weft_sleep(WEFT_MS(2));      /* awaited at once it would run on this task's stack */
    return rc < 0 ? rc : weft_await(one); /* never returns: no gather, whose memory would look lost */
}
WEFT_CORO(stands_still);
static void test_deadlock_is_explained(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        struct lines l = {.count = 0};
        unsigned debug = i % 2;
        assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 1 + i / 2, .clock = WEFT_CLOCK_VIRTUAL, .debug = debug,
                                                    .slow_task = WEFT_FOREVER, .report = take_line, .report_user = &l),
                                       stands_still),
                         -EDEADLK);
        assert_int_equal(l.count, debug ? 4 : 0);
        if (debug) {
            assert_non_null(strstr(l.text, "nothing can go on: 3 tasks wait"));
            assert_non_null(strstr(l.text, "(stands_still) awaits hen#"));
            assert_non_null(strstr(l.text, " (stands) waits for lock 0x"));
            assert_non_null(strstr(l.text, ", which is held by hen#"));
            assert_non_null(strstr(l.text, ", which is held by Task-"));
            assert_non_null(strstr(l.text, " (stands); awaited by Task-"));
            assert_non_null(strstr(l.text, " (stands_still) (created at test_run+0x"));
        }
    }
}

/* A thread that waits for a task of such a program is told, too. */
static weft_task *stuck_task;
static pthread_barrier_t stuck_barrier;
static void *wait_for_stuck(void *unused)
{
    (void)unused;
    pthread_barrier_wait(&stuck_barrier);
    TASK_CHECK(weft_block_on(stuck_task, WEFT_FOREVER) == -EDEADLK);
    return NULL;
}
struct stuck_main {
    WEFT_FRAME;
};
static int stuck_main(struct stuck_main *f)
{
    (void)f;
    stuck_task = weft_create_task(never);
    pthread_barrier_wait(&stuck_barrier);
    usleep(50000);
    weft_event e = WEFT_EVENT_INIT;
    return weft_event_wait(&e);
}
WEFT_CORO(stuck_main);
static void test_threads_are_told_of_a_deadlock(void **state)
{
    (void)state;
    for (unsigned w = 1; w <= 3; w++) {
        pthread_t thread;
        pthread_barrier_init(&stuck_barrier, NULL, 2);
        assert_int_equal(pthread_create(&thread, NULL, wait_for_stuck, NULL), 0);
        assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = w, .clock = WEFT_CLOCK_VIRTUAL), stuck_main), -EDEADLK);
        pthread_join(thread, NULL);
        weft_release(stuck_task);
        pthread_barrier_destroy(&stuck_barrier);
    }
    assert_tasks_ok();
}

/* A11: one after the other, and side by side. */
static void *run_in_thread(void *argument)
{
    long n = 0;
    for (int i = 0; i < 20; i++)
        n += weft_run_with(WEFT_OPTIONS(.workers = 2), add, .a = 1, .b = 2, .pause = WEFT_US(100)) == 0;
    *(long *)argument = n;
    return NULL;
}
static void test_several_runtimes(void **state)
{
    (void)state;
    pthread_t thread[3];
    long done[3];
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, run_in_thread, &done[i]), 0);
    for (int i = 0; i < 3; i++) {
        pthread_join(thread[i], NULL);
        assert_int_equal(done[i], 20);
    }
}

/* W3: foreign threads submit, wait, cancel; a handle outlives its runtime. */
struct foreign {
    weft_runtime *rt;
    long sum;
    weft_task *kept;
};
static void *submit_from_thread(void *argument)
{
    struct foreign *f = argument;
    for (int i = 0; i < 200; i++) {
        weft_task *t = weft_submit(f->rt, add, .a = i, .b = 1, .pause = i % 10 == 0 ? WEFT_US(50) : 0);
        if (t == NULL)
            break;
        if (weft_block_on(t, WEFT_FOREVER) == 0)
            f->sum += weft_result(add, t)->sum;
        weft_release(t);
    }
    weft_task *slow = weft_submit(f->rt, add, .pause = WEFT_SEC(3600));
    TASK_CHECK(weft_block_on(slow, WEFT_MS(1)) == -ETIMEDOUT);
    TASK_CHECK(weft_cancel(slow));
    TASK_CHECK(weft_block_on(slow, WEFT_FOREVER) == -ECANCELED);
    weft_release(slow);
    f->kept = weft_submit(f->rt, add, .a = 40, .b = 2);
    TASK_CHECK(weft_block_on(f->kept, WEFT_FOREVER) == 0);
    return NULL;
}
struct host {
    WEFT_FRAME;
    struct foreign *foreign;
};
static int host(struct host *h)
{
    pthread_t thread[4];
    for (int i = 0; i < 4; i++) {
        h->foreign[i].rt = weft_runtime_current();
        TASK_CHECK(pthread_create(&thread[i], NULL, submit_from_thread, &h->foreign[i]) == 0);
    }
    for (int i = 0; i < 4; i++) {
        /* The task must not block its worker: wait for the thread by looking. */
        while (pthread_tryjoin_np(thread[i], NULL) != 0)
            TASK_CHECK(weft_sleep(WEFT_MS(1)) == 0);
    }
    TASK_CHECK(weft_block_on(weft_current_task(), 0) == -EDEADLK);
    return 0;
}
WEFT_CORO(host);
static void test_foreign_threads(void **state)
{
    (void)state;
    for (unsigned w = 1; w <= 3; w++) {
        struct foreign foreign[4];
        memset(foreign, 0, sizeof foreign);
        assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = w), host, .foreign = foreign), 0);
        for (int i = 0; i < 4; i++) {
            assert_int_equal(foreign[i].sum, 199 * 200 / 2 + 200);
            assert_int_equal(weft_result(add, foreign[i].kept)->sum, 42); /* the runtime is gone, the handle is not */
            weft_release(foreign[i].kept);
        }
    }
    assert_tasks_ok();
}

/* hold keeps the object; submitting after the end is refused. */
struct holder {
    WEFT_FRAME;
    weft_runtime **out;
};
static int holder(struct holder *h)
{
    *h->out = weft_runtime_hold(weft_runtime_current());
    return weft_sleep(WEFT_US(1));
}
WEFT_CORO(holder);
static void read_last(void *account, weft_runtime *rt)
{
    (void)weft_metrics_read(rt, -1, account);
}
static void test_hold(void **state)
{
    (void)state;
    weft_runtime *rt = NULL;
    weft_metrics last = {.size = sizeof last}, held = {.size = sizeof held};
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.at_end = read_last, .at_end_user = &last), holder, .out = &rt), 0);
    assert_null(weft_submit(rt, add));
    assert_int_equal(weft_metrics_read(rt, -1, &held), 0); /* the account is kept, too */
    assert_true(last.timers_fired != 0 && held.timers_fired == last.timers_fired);
    assert_int_equal(held.tasks_finished, last.tasks_finished);
    assert_true(weft_runtime_workers(rt) >= 1);
    weft_runtime_drop(rt);
}

/* fork: the child's copy of a running runtime is inert, and a fresh one works there. */
struct forker {
    WEFT_FRAME;
    int *status;
};
static int forker(struct forker *f)
{
    weft_runtime *rt = weft_runtime_current();
    weft_task *t = weft_create_task(add, .a = 1, .b = 2, .pause = WEFT_SEC(3600));
    pid_t pid = fork();
    if (pid == 0) {
        sigset_t mask;
        sigemptyset(&mask);
        int ok = pthread_sigmask(SIG_SETMASK, NULL, &mask) == 0 && !sigismember(&mask, SIGTERM);
        ok = ok && weft_runtime_current() == NULL && weft_submit(rt, add) == NULL && !weft_done(t);
        ok = ok && weft_run_with(WEFT_OPTIONS(.workers = 2), add, .a = 1, .b = 1, .pause = WEFT_MS(1)) == 0;
        _exit(ok ? 0 : 1);
    }
    TASK_CHECK(pid > 0);
    while (waitpid(pid, f->status, WNOHANG) == 0)
        TASK_CHECK(weft_sleep(WEFT_MS(1)) == 0);
    TASK_CHECK(weft_cancel(t));
    return weft_await_release(t) == -ECANCELED ? 0 : -EIO;
}
WEFT_CORO(forker);
static void test_fork(void **state)
{
    (void)state;
#if defined(__SANITIZE_THREAD__)
    skip();
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
    skip(); /* its runtime does not support threads after a fork of a process with threads */
#endif
#endif
    int status = -1;
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 2), forker, .status = &status), 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_tasks_ok();
}

/* A task that blocks its worker is reported with its function, once; its timers and others' go on. */
struct report {
    const char *about; /* only lines with this */
    char line[256];
    atomic_int count;
};
static void take_report(void *user, const char *line)
{
    struct report *r = user;
    if (strstr(line, r->about) == NULL)
        return;
    strncpy(r->line, line, sizeof r->line - 1);
    atomic_fetch_add(&r->count, 1);
}
struct blocks_its_worker {
    WEFT_FRAME;
    struct report *report;
};
static int blocks_its_worker(struct blocks_its_worker *f)
{
    for (int i = 0; i < 60000 && atomic_load(&f->report->count) == 0; i++)
        usleep(1000);
    usleep(150000); /* it stays blocked in the same step, and is not reported again */
    return 0;
}
WEFT_CORO(blocks_its_worker);
struct blocked_main {
    WEFT_FRAME;
    struct report *report;
};
static int blocked_main(struct blocked_main *f)
{
    weft_task *t = weft_create_task(blocks_its_worker, .report = f->report);
    int rc = weft_sleep(WEFT_MS(1));
    return rc < 0 ? rc : weft_await_release(t);
}
WEFT_CORO(blocked_main);
static void test_blocked_worker_is_reported(void **state)
{
    (void)state;
    for (unsigned w = 1; w <= 2; w++) {
        struct report r = {.about = "blocks_its_worker", .line = "", .count = 0};
        assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = w, .slow_task = WEFT_MS(50), .report = take_report,
                                                    .report_user = &r),
                                       blocked_main, .report = &r),
                         0);
        assert_int_equal(r.count, 1);
        assert_non_null(strstr(r.line, "blocks_its_worker"));
    }
}

/* X1, X2, X4: an error that nobody asked for is reported once, when the last handle goes; one that was asked for, and a
 * cancellation, are not. */
struct fails {
    WEFT_FRAME;
    int with;
};
static int fails(struct fails *f)
{
    return f->with;
}
WEFT_CORO(fails);
struct lost_main {
    WEFT_FRAME;
    struct report *report;
};
static int lost_main(struct lost_main *f)
{
    weft_task *asked[4];
    for (int i = 0; i < 4; i++)
        asked[i] = weft_create_task(fails, .with = -EIO);
    TASK_CHECK(weft_await(asked[0]) == -EIO);
    TASK_CHECK(weft_gather_settled(asked[1], asked[2]) == 2);
    while (weft_status(asked[3]) == -EINPROGRESS)
        TASK_CHECK(weft_yield() == 0);
    for (int i = 0; i < 4; i++)
        weft_release(asked[i]);
    TASK_CHECK(weft_await_release(weft_create_task(fails, .with = -ECANCELED)) == -ECANCELED);
    weft_release(weft_create_task(fails, .with = -ENOENT)); /* the one */
    for (int i = 0; i < 60000 && atomic_load(&f->report->count) == 0; i++)
        TASK_CHECK(weft_sleep(WEFT_MS(1)) == 0);
    return weft_sleep(WEFT_MS(5));
}
WEFT_CORO(lost_main);
static void test_lost_errors_are_reported(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        struct report r = {.about = "", .line = "", .count = 0};
        unsigned debug = i / 3;
        assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 1 + i % 3, .slow_task = WEFT_FOREVER,
                                                    .report = take_report, .report_user = &r, .debug = debug),
                                       lost_main, .report = &r),
                         0);
        assert_int_equal(r.count, 1);
        assert_non_null(strstr(r.line, "(fails) failed"));
        assert_int_equal(strstr(r.line, "(created at test_run+0x") != NULL, debug); /* for addr2line */
    }
    assert_tasks_ok();
}

/* A lone task behind a blocked worker is found by the tick while another worker sleeps. */
struct mark {
    WEFT_FRAME;
    atomic_int *ran;
};
static int mark(struct mark *f)
{
    atomic_store(f->ran, 1);
    return 0;
}
WEFT_CORO(mark);
struct lone_main {
    WEFT_FRAME;
};
static int lone_main(struct lone_main *f)
{
    (void)f;
    static atomic_int ran;
    atomic_store(&ran, 0);
    TASK_CHECK(weft_sleep(WEFT_MS(20)) == 0); /* the other worker sleeps by now */
    weft_task *t = weft_create_task(mark, .ran = &ran);
    for (int i = 0; i < 30000 && atomic_load(&ran) == 0; i++)
        usleep(1000); /* a long step, in which only the other worker can run it: usually 10 to 20 ms */
    TASK_CHECK(atomic_load(&ran) == 1);
    return weft_await_release(t);
}
WEFT_CORO(lone_main);
static void test_lone_task_behind_a_blocked_worker(void **state)
{
    (void)state;
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 2, .slow_task = WEFT_FOREVER), lone_main), 0);
    assert_tasks_ok();
}

/* The account adds up. */
struct account {
    weft_metrics m;
    int print_rc, dump_rc;
};
static void read_account(void *user, weft_runtime *rt)
{
    struct account *a = user;
    a->m.size = sizeof a->m;
    (void)weft_metrics_read(rt, -1, &a->m);
    weft_metrics one = {.size = sizeof one};
    TASK_CHECK(weft_metrics_read(rt, 1, &one) == 0 && weft_metrics_read(rt, 2, &one) == -EINVAL);
    weft_place place;
    TASK_CHECK(weft_worker_place(rt, 0, &place) == 0 && weft_worker_place(rt, 2, &place) == -EINVAL);
    int fds[2];
    TASK_CHECK(pipe(fds) == 0);
    a->print_rc = weft_metrics_print(rt, fds[1]);
    a->dump_rc = weft_dump_tasks(rt, fds[1]);
    if (a->dump_rc == 0)
        a->dump_rc = weft_dump_workers(rt, fds[1]);
    close(fds[0]);
    close(fds[1]);
}
/* Who asks is seen to run, and nobody else does. */
struct asker {
    WEFT_FRAME;
    char text[4096];
};
static int asker(struct asker *f)
{
    int fds[2];
    TASK_CHECK(pipe(fds) == 0 && weft_dump_workers(weft_runtime_current(), fds[1]) == 0);
    ssize_t n = read(fds[0], f->text, sizeof f->text - 1);
    f->text[n > 0 ? n : 0] = '\0';
    TASK_CHECK(weft_dump_workers(weft_runtime_current(), -1) == -EBADF);
    close(fds[0]);
    close(fds[1]);
    return 0;
}
WEFT_CORO(asker);
static void test_dump_workers(void **state)
{
    (void)state;
    struct asker f = {.text = ""};
    assert_int_equal(weft_run_frame(WEFT_OPTIONS(.workers = 3), asker, &f), 0);
    assert_tasks_ok();
    const char *runs = strstr(f.text, "runs asker() in Task-1");
    assert_non_null(runs);
    assert_non_null(strstr(runs, "; 0 ready")); /* and since when, if it was held up */
    assert_null(strstr(runs + 1, "runs "));
    assert_non_null(strstr(f.text, "worker 2"));
    assert_null(strstr(f.text, "worker 3"));
    assert_non_null(strstr(f.text, "\ninjector    empty\n"));
    assert_non_null(strstr(f.text, "\nsleepers    "));
    assert_null(strstr(f.text, "\nend ")); /* not while main runs */
}
struct hundred {
    WEFT_FRAME;
};
static int hundred(struct hundred *f)
{
    (void)f;
    for (int i = 0; i < 100; i++)
        TASK_CHECK(weft_await_release(weft_create_task(add, .a = i)) == 0);
    return 0;
}
WEFT_CORO(hundred);
static void test_account(void **state)
{
    (void)state;
    struct account a;
    memset(&a, 0, sizeof a);
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 2, .at_end = read_account, .at_end_user = &a), hundred), 0);
    assert_true(a.m.tasks_finished >= 101 && a.m.tasks_created >= 101);
    assert_true(a.m.tasks_inlined > 50 && a.m.switches >= 1);
    assert_int_equal(a.print_rc, 0);
    assert_int_equal(a.dump_rc, 0);
    assert_tasks_ok();
}

/* Misuse that cannot be an error code. */
static void await_outside(void)
{
    (void)weft_sleep(1);
}
struct wrong_result {
    WEFT_FRAME;
};
static int wrong_result(struct wrong_result *f)
{
    (void)f;
    weft_task *t = weft_create_task(add);
    (void)weft_await(t);
    return weft_result(mark, t)->ran != NULL;
}
WEFT_CORO(wrong_result);
static void take_wrong_result(void)
{
    (void)weft_run(wrong_result);
}
static void test_misuse_aborts(void **state)
{
    (void)state;
    expect_abort(await_outside, "weft_sleep");
    expect_abort(take_wrong_result, "weft: weft_result: the task runs add, not mark");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_options),
        cmocka_unit_test(test_nested_run_is_refused),
        cmocka_unit_test(test_deadlock_is_reported),
        cmocka_unit_test(test_deadlock_is_explained),
        cmocka_unit_test(test_threads_are_told_of_a_deadlock),
        cmocka_unit_test(test_several_runtimes),
        cmocka_unit_test(test_foreign_threads),
        cmocka_unit_test(test_hold),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_blocked_worker_is_reported),
        cmocka_unit_test(test_lost_errors_are_reported),
        cmocka_unit_test(test_lone_task_behind_a_blocked_worker),
        cmocka_unit_test(test_account),
        cmocka_unit_test(test_dump_workers),
        cmocka_unit_test(test_misuse_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
