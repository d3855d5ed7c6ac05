/* SPDX-License-Identifier: Apache-2.0 */
/* weft_to_thread and its helper threads: section W of the semantics. */
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "support/actors.h"

#include "executor/blocking.h"
#include "executor/runtime.h"

/* ---- threads that can't be created ------------------------------------------------------------------------------ */

/* How many more helper threads can be created. The sanitizers have a pthread_create of their own, which must stay. */
static _Atomic(int) threads_allowed;
#if defined(__SANITIZE_ADDRESS__)
#define OWN_PTHREAD_CREATE 0
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define OWN_PTHREAD_CREATE 0
#endif
#endif
#ifndef OWN_PTHREAD_CREATE
#define OWN_PTHREAD_CREATE 1
int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*entry)(void *), void *argument)
{
    static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (real == NULL) {
        void *symbol = dlsym(RTLD_NEXT, "pthread_create");
        memcpy(&real, &symbol, sizeof real);
    }
    if (weft__fiber_self() != NULL && threads_allowed-- <= 0)
        return EAGAIN;
    return real(thread, attributes, entry, argument);
}
#endif

static int allow_threads(void **state)
{
    (void)state;
    threads_allowed = 1 << 20;
    return 0;
}

/* ---- jobs ------------------------------------------------------------------------------------------------------- */

struct job {
    WEFT_FRAME;
    sem_t *gate; /* NULL: does not block */
    int result;
    _Atomic(int) *ran;
    pthread_t thread;
    weft_runtime *rt;
    bool in_task, signals_blocked;
    char name[16];
};
static int job(struct job *j)
{
    if (j->ran != NULL)
        ++*j->ran;
    while (j->gate != NULL && sem_wait(j->gate) < 0)
        ;
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    j->signals_blocked = sigismember(&mask, SIGINT) && sigismember(&mask, SIGCHLD) && sigismember(&mask, SIGUSR1) &&
                         !sigismember(&mask, SIGSEGV);
    pthread_getname_np(pthread_self(), j->name, sizeof j->name);
    j->thread = pthread_self();
    j->rt = weft_runtime_current();
    j->in_task = weft_current_task() != NULL;
    return j->result;
}
WEFT_CORO(job);

/* W1: on a helper thread; value or error comes back, results are in the frame; the tasks go on meanwhile. */
TEST(value_and_error)
{
    sem_t gate;
    sem_init(&gate, 0, 0);
    weft_task *t = weft_to_thread(job, .gate = &gate, .result = 7);
    CHECK(!weft_done(t));
    CHECK(weft_yield() == 0);
    sem_post(&gate);
    CHECK(weft_await(t) == 7);
    const struct job *j = weft_result(job, t);
    CHECK(!pthread_equal(j->thread, pthread_self()) && strcmp(j->name, "weft-helper") == 0);
    CHECK(j->rt == weft_runtime_current() && !j->in_task && j->signals_blocked);
    weft_release(t);
    t = weft_to_thread(job, .result = -EIO);
    CHECK(weft_wait_for(t, WEFT_SEC(3600)) == -EIO);
    weft_release(t);
    weft_task *pair[2] = {weft_to_thread(job, .result = 1), weft_to_thread(job, .result = -ECANCELED)};
    CHECK(weft_gather_settled(pair[0], pair[1]) == 1 && weft_cancelled(pair[1]));
    weft_release(pair[0]);
    weft_release(pair[1]);
    sem_destroy(&gate);
    return 0;
}

/* While a helper thread is out the virtual clock stands still: the limit of an hour does not come before the job's
 * end. */
struct slow {
    WEFT_FRAME;
    int64_t before;
};
static int slow(struct slow *s)
{
    struct timespec pause = {.tv_sec = 0, .tv_nsec = 3000000};
    s->before = weft_now();
    nanosleep(&pause, NULL);
    return weft_now() == s->before ? 1 : -EIO;
}
WEFT_CORO(slow);
TEST(clock_stands_still)
{
    weft_task *sleeper = weft_create_task(actor, .id = 0, .work = 5), *t = weft_to_thread(slow);
    CHECK(weft_wait_for(t, WEFT_SEC(3600)) == 1);
    CHECK(now_ms() == 0);
    CHECK(weft_await_release(sleeper) == 0 && now_ms() == 5);
    weft_release(t);
    return 0;
}

static int awaits(void *t)
{
    return weft_await(t);
}

/* W2: cancelling the awaiter of a running job lets it go on at once; the function runs to its end, its result is
 * dropped. */
TEST(cancel_running)
{
    sem_t gate;
    _Atomic(int) ran = 0;
    sem_init(&gate, 0, 0);
    weft_task *t = weft_to_thread(job, .gate = &gate, .result = 7, .ran = &ran), *awaiter = start(awaits, t);
    while (ran == 0)
        CHECK(weft_yield() == 0);
    while (weft__task_state(awaiter) != WEFT__STARTED || weft_done(awaiter))
        CHECK(weft_yield() == 0);
    CHECK(weft_yield() == 0);
    CHECK(weft_cancel(awaiter));
    CHECK(weft_await(awaiter) == -ECANCELED);
    CHECK(weft_cancelled(t) && !weft_cancel(t));
    CHECK(weft__blocking_busy(weft__runtime_blocking(weft_runtime_current())) == 1);
    sem_post(&gate);
    while (weft__blocking_busy(weft__runtime_blocking(weft_runtime_current())) != 0)
        CHECK(weft_yield() == 0);
    CHECK(weft_cancelled(t));
    weft_release(t);
    weft_release(awaiter);
    sem_destroy(&gate);
    return 0;
}

#define BOUND 3

/* W5: at most max_threads helpers; jobs run first in first out; a queued one can be cancelled before it starts. */
static int bounded(void *unused)
{
    enum { JOBS = 10 };
    sem_t gate;
    _Atomic(int) ran = 0, never = 0;
    weft_task *t[JOBS];
    struct weft__blocking *pool = weft__runtime_blocking(weft_runtime_current());
    (void)unused;
    sem_init(&gate, 0, 0);
    for (int i = 0; i < JOBS; i++)
        t[i] = weft_to_thread(job, .gate = &gate, .result = i, .ran = i == JOBS - 1 ? &never : &ran);
    while (ran < BOUND)
        CHECK(weft_yield() == 0);
    CHECK(weft__blocking_threads(pool) == BOUND && weft__blocking_busy(pool) == JOBS && ran == BOUND);
    CHECK(weft_cancel(t[JOBS - 1]));
    CHECK(weft_cancelled(t[JOBS - 1]));
    for (int i = 0; i < JOBS; i++)
        sem_post(&gate);
    CHECK(weft_gather_settled_n(t, JOBS) == 1);
    for (int i = 0; i < JOBS - 1; i++)
        CHECK(weft_status(t[i]) == i);
    CHECK(never == 0 && ran == JOBS - 1 && weft__blocking_threads(pool) == BOUND);
    for (int i = 0; i < JOBS; i++)
        weft_release(t[i]);
    sem_destroy(&gate);
    return 0;
}
static void pool_is_bounded(void **state)
{
    (void)state;
    for (size_t i = 0; i < SETTINGS; i++) {
        struct call frame = {.frame_ = {&call_coro_}, .fn = bounded};
        setting = settings[i];
        first_failure = NULL;
        int rc = weft__run(WEFT_OPTIONS(.workers = setting.workers, .max_threads = BOUND), &frame.frame_, sizeof frame,
                           NULL);
        if (first_failure != NULL)
            fail_msg("%u workers: %s", setting.workers, first_failure);
        assert_int_equal(rc, 0);
    }
}

/* A helper that has left its function is used again: an awaiter that submits the next job needs no second one. */
TEST(helpers_are_reused)
{
    struct weft__blocking *pool = weft__runtime_blocking(weft_runtime_current());
    for (int i = 0; i < 20; i++)
        CHECK(weft_await_release(weft_to_thread(job, .result = i)) == i);
    CHECK(weft__blocking_threads(pool) == 1);
    return 0;
}

/* A15: at the end of the run what nobody waits for is cancelled, and a running function is waited for. */
static _Atomic(int) end_ran;
static sem_t end_gate;
static int leaves_jobs(void *unused)
{
    (void)unused;
    weft_release(weft_to_thread(job, .gate = &end_gate, .ran = &end_ran));
    while (end_ran % 100 == 0) /* the job adds one, the other thread a hundred, whoever is first */
        CHECK(weft_yield() == 0);
    weft_release(weft_to_thread(job, .ran = &end_ran));
    return 4;
}
static void *opens_the_gate(void *unused)
{
    (void)unused;
    usleep(20000);
    end_ran += 100;
    sem_post(&end_gate);
    return NULL;
}
static void end_waits_for_running(void **state)
{
    (void)state;
    for (size_t i = 0; i < SETTINGS; i++) {
        pthread_t thread;
        sem_init(&end_gate, 0, 0);
        end_ran = 0;
        assert_int_equal(pthread_create(&thread, NULL, opens_the_gate, NULL), 0);
        assert_int_equal(run_with(settings[i], leaves_jobs, NULL), 4);
        assert_true(end_ran >= 101);
        pthread_join(thread, NULL);
        sem_destroy(&end_gate);
    }
}

/* Jobs from tasks on all workers at once, some cancelled at any moment: each ends exactly once, and none is lost. */
struct client {
    WEFT_FRAME;
    uint64_t seed;
    int ended;
};
static int client(struct client *c)
{
    for (int i = 0; i < 40; i++) {
        _Atomic(int) ran = 0;
        weft_task *t = weft_to_thread(job, .result = i, .ran = &ran);
        if (weft__random(&c->seed) % 2 == 0)
            CHECK(weft_yield() == 0);
        if (weft__random(&c->seed) % 3 == 0)
            weft_cancel(t);
        int rc = weft_await(t);
        CHECK(rc == i || rc == -ECANCELED);
        CHECK(weft_done(t) && weft_status(t) == rc);
        c->ended++;
        while (weft__load_acquire(&t->refs) !=
               1) /* the helper has let go: `ran` may go out of scope. pairs: TASK-REFS */
            CHECK(weft_yield() == 0);
        CHECK(ran <= 1 && (rc < 0 || ran == 1));
        weft_release(t);
    }
    return 0;
}
WEFT_CORO(client);
TEST(stampede)
{
    weft_task *t[8];
    for (unsigned i = 0; i < 8; i++)
        t[i] = weft_create_task(client, .seed = i + 1);
    CHECK(weft_gather_n(t, 8) == 0);
    for (unsigned i = 0; i < 8; i++) {
        CHECK(weft_result(client, t[i])->ended == 40);
        weft_release(t[i]);
    }
    return 0;
}

/* When no thread can be created at all, the job ends with the error; with one thread, it waits for that one. */
static int without_threads(void *unused)
{
    (void)unused;
    threads_allowed = 0;
    CHECK(weft_await_release(weft_to_thread(job, .result = 1)) == -EAGAIN);
    threads_allowed = 1;
    weft_task *t[4];
    for (int i = 0; i < 4; i++)
        t[i] = weft_to_thread(job, .result = i);
    CHECK(weft_gather_n(t, 4) == 0);
    CHECK(weft__blocking_threads(weft__runtime_blocking(weft_runtime_current())) == 1);
    for (int i = 0; i < 4; i++)
        weft_release(t[i]);
    threads_allowed = 1 << 20;
    return 0;
}
static void no_threads(void **state)
{
    if (!OWN_PTHREAD_CREATE)
        skip();
    (void)state;
    run_everywhere(without_threads);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(value_and_error),    cmocka_unit_test(clock_stands_still),
        cmocka_unit_test(cancel_running),     cmocka_unit_test(pool_is_bounded),
        cmocka_unit_test(helpers_are_reused), cmocka_unit_test(end_waits_for_running),
        cmocka_unit_test(stampede),           cmocka_unit_test(no_threads),
    };
    return cmocka_run_group_tests(tests, allow_threads, NULL);
}
