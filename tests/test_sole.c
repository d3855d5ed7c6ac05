/* SPDX-License-Identifier: Apache-2.0 */
/* The only worker of the process (executor/sole.c) beside threads of the program's own, helper threads, other runtimes and forks: what a lock covers has one
 * holder at a time, each item arrives once, no wake is lost. Which way was taken is looked at where that is certain. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <weft.h>

#include "executor/runtime.h"
#include "support/check.h"
#include "support/threads.h"

enum { TASKS = 4, STRANGERS = 2 };

struct shared {
    weft_lock lock;
    unsigned long counted, inside; /* under the lock */
    bool two_inside;
    weft_queue *to, *from; /* strangers, tasks */
    unsigned rounds;       /* at most, of each stranger */
    weft_ns until;         /* and no later: on a busy machine each round lasts as long as others have the CPUs */
    _Atomic(unsigned long) made, got;
    _Atomic(unsigned) left; /* strangers at work */
};

static void hold(struct shared *s)
{
    s->two_inside |= ++s->inside != 1;
    s->counted++;
    s->inside--;
    weft_lock_release(&s->lock);
}

static void *stranger(void *argument)
{
    struct shared *s = argument;
    for (unsigned i = 0; i < s->rounds && (i == 0 || weft__monotonic() < s->until); i++) {
        long item = 1;
        while (weft_lock_try_acquire(&s->lock) != 0)
            sched_yield();
        hold(s);
        if (weft_queue_put_nowait(s->to, &item) != 0)
            abort();
        while (weft_queue_get_nowait(s->from, &item) != 0)
            sched_yield();
        s->got += (unsigned long)item;
        s->made++;
    }
    s->left--;
    return NULL;
}

struct answering {
    WEFT_FRAME;
    struct shared *s;
};
static int answering(struct answering *f)
{
    long item;
    int rc;
    while ((rc = weft_queue_get(f->s->to, &item)) == 0) {
        item++;
        if ((rc = weft_queue_put(f->s->from, &item)) < 0)
            return rc;
    }
    return rc == -ESHUTDOWN ? 0 : rc;
}
WEFT_CORO(answering);

struct counting {
    WEFT_FRAME;
    struct shared *s;
    unsigned long times;
};
static int counting(struct counting *f)
{
    for (; f->s->left != 0 || f->times < 1000; f->times++) {
        int rc = weft_lock_acquire(&f->s->lock);
        if (rc < 0)
            return rc;
        hold(f->s);
        if (f->times % 4 == 0 && (rc = weft_yield()) < 0)
            return rc;
        if (f->times % 64 == 0 && (rc = weft_sleep(1)) < 0)
            return rc;
    }
    return 0;
}
WEFT_CORO(counting);

/* A helper thread that takes part, too: its end wakes whoever awaits it. */
struct helper {
    WEFT_FRAME;
    struct shared *s;
};
static int helper(struct helper *f)
{
    while (weft_lock_try_acquire(&f->s->lock) != 0)
        sched_yield();
    hold(f->s);
    return 0;
}
WEFT_CORO(helper);

struct all {
    WEFT_FRAME;
    struct shared *s;
};
static int all(struct all *f)
{
    struct shared *s = f->s;
    pthread_t threads[STRANGERS];
    weft_task *t[TASKS], *a = weft_create_task(answering, .s = s);
    unsigned long times = 0, helpers = 0;
    s->left = STRANGERS;
    for (int i = 0; i < STRANGERS; i++)
        TASK_CHECK(pthread_create(&threads[i], NULL, stranger, s) == 0);
    for (int i = 0; i < TASKS; i++)
        t[i] = weft_create_task(counting, .s = s);
    for (unsigned i = 0; i < s->rounds / 8 && (i == 0 || weft__monotonic() < s->until); i++, helpers++)
        TASK_CHECK(weft_await_release(weft_to_thread(helper, .s = s)) == 0);
    for (int i = 0; i < TASKS; i++) {
        TASK_CHECK(weft_await(t[i]) == 0);
        times += weft_result(counting, t[i])->times;
        weft_release(t[i]);
    }
    for (int i = 0; i < STRANGERS; i++)
        pthread_join(threads[i], NULL);
    weft_queue_shutdown(s->to, false);
    TASK_CHECK(weft_await_release(a) == 0);
    TASK_CHECK(!s->two_inside && s->counted == times + helpers + s->made);
    TASK_CHECK(s->made >= STRANGERS && s->got == 2 * s->made);
    return 0;
}
WEFT_CORO(all);

static void run_all(unsigned workers, unsigned rounds)
{
    struct shared s = {.lock = WEFT_LOCK_INIT,
                       .to = weft_queue_create(sizeof(long), 0),
                       .from = weft_queue_create(sizeof(long), 0),
                       .rounds = rounds,
                       .until = weft__monotonic() + WEFT_SEC(2)};
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = workers, .pin = WEFT_PIN_NONE), all, .s = &s), 0);
    assert_tasks_ok();
    weft_queue_destroy(s.to);
    weft_queue_destroy(s.from);
}

static void set_keep(uint32_t keep, uint32_t few)
{
    weft__sole.strangers.keep = keep;
    weft__sole.strangers.few = few;
}

/* As it is; a count left behind by each stranger; none ever, so that each change of a stranger's is a barrier. */
static void test_strangers(void **state)
{
    (void)state;
    run_all(1, threads_scale(4000));
    set_keep(1, 0);
    run_all(1, threads_scale(4000));
    set_keep(0, 0);
    run_all(1, threads_scale(500));
    set_keep(WEFT__SOLE_KEEP, WEFT__SOLE_FEW);
    run_all(2, threads_scale(2000));
}

/* ---- who is sole ---- */

static bool is_sole(void)
{
    struct weft__worker *w = weft__worker_self();
    return w != NULL && w->sole == WEFT__IS_SOLE && w->rt->sole;
}
static uint32_t strangers(void)
{
    return weft__load_seq_cst(&weft__sole.strangers.count) - (weft__load_seq_cst(&weft__sole.strangers.kept) != 0);
}

#define TURNS threads_scale(2000)
struct inner {
    WEFT_FRAME;
    weft_lock *lock;
    unsigned long *value;
};
static int inner(struct inner *f)
{
    TASK_CHECK(!is_sole() && strangers() != 0);
    for (unsigned i = 0; i < TURNS; i++) {
        TASK_CHECK(weft_lock_acquire(f->lock) == 0);
        ++*f->value;
        weft_lock_release(f->lock);
    }
    return 0;
}
WEFT_CORO(inner);

struct other {
    unsigned workers;
    weft_lock lock;
    unsigned long value;
    _Atomic(int) over;
};
static void *other_runtime(void *argument)
{
    struct other *o = argument;
    int rc = weft_run_with(WEFT_OPTIONS(.workers = o->workers, .pin = WEFT_PIN_NONE), inner, .lock = &o->lock,
                           .value = &o->value);
    o->over = 1;
    return rc == 0 ? o : NULL;
}

struct outer {
    WEFT_FRAME;
};
static int outer(struct outer *f)
{
    (void)f;
    TASK_CHECK(WEFT__SOLE == is_sole());
    for (unsigned workers = 1; workers <= 3; workers++) {
        struct other o = {.workers = workers, .lock = WEFT_LOCK_INIT};
        pthread_t thread;
        void *ok = NULL;
        unsigned long own = 0;
        TASK_CHECK(pthread_create(&thread, NULL, other_runtime, &o) == 0);
        while (o.over == 0) {
            TASK_CHECK(weft_lock_acquire(&o.lock) == 0);
            o.value++;
            weft_lock_release(&o.lock);
            own++;
        }
        pthread_join(thread, &ok);
        TASK_CHECK(ok == &o && o.value == own + TURNS);
        TASK_CHECK(!WEFT__SOLE || strangers() == 0);
    }
    return 0;
}
WEFT_CORO(outer);

static void test_other_runtimes(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 1, .pin = WEFT_PIN_NONE), outer), 0);
        assert_tasks_ok();
        assert_int_equal(weft__load_seq_cst(&weft__sole.runtimes), 0);
        assert_int_equal(weft__load_seq_cst(&weft__sole.present), 0);
        assert_int_equal(strangers(), 0);
    }
}

/* Several of one worker each at the same time: at most one of them is sole, and that only as long as it is by itself. */
struct rival {
    WEFT_FRAME;
    struct shared *s;
};
static int rival(struct rival *f)
{
    for (int i = 0; i < 3000; i++) {
        if (weft_lock_acquire(&f->s->lock) < 0)
            return -1;
        hold(f->s);
        if (i % 16 == 0 && weft_yield() < 0)
            return -1;
    }
    return 0;
}
WEFT_CORO(rival);

static void be_rival(void *shared, unsigned index)
{
    struct shared *s = shared;
    for (unsigned i = 0; i < 3 + index; i++)
        if (weft_run_with(WEFT_OPTIONS(.workers = 1, .pin = WEFT_PIN_NONE), rival, .s = s) == 0)
            s->got++;
}

static void test_rivals(void **state)
{
    (void)state;
    struct shared s = {.lock = WEFT_LOCK_INIT};
    threads_run(3, be_rival, &s);
    assert_int_equal(s.got, 3 + 4 + 5);
    assert_int_equal(s.counted, (3 + 4 + 5) * 3000);
    assert_false(s.two_inside);
    assert_int_equal(strangers(), 0);
}

/* ---- fork ---- */

struct forking {
    WEFT_FRAME;
};
struct alone {
    WEFT_FRAME;
};
static int alone(struct alone *f)
{
    (void)f;
    return WEFT__SOLE == is_sole() ? 0 : 1;
}
WEFT_CORO(alone);

static int forking(struct forking *f)
{
    (void)f;
    pid_t pid = fork();
    if (pid == 0) /* a thread that is no worker, and no runtime but what it starts itself */
        _exit(weft_run_with(WEFT_OPTIONS(.workers = 1), alone) == 0 &&
                      weft_run_with(WEFT_OPTIONS(.workers = 1), alone) == 0
                  ? 7
                  : 8);
    int status = 0;
    TASK_CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 7);
    TASK_CHECK(WEFT__SOLE == is_sole());
    return 0;
}
WEFT_CORO(forking);

static void test_fork(void **state)
{
    (void)state;
    if (THREADS_SANITIZED) /* thread sanitizer lets no child of a process with threads start any */
        skip();
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 1), forking), 0);
    assert_tasks_ok();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strangers),
        cmocka_unit_test(test_other_runtimes),
        cmocka_unit_test(test_rivals),
        cmocka_unit_test(test_fork),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
