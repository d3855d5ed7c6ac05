/* SPDX-License-Identifier: Apache-2.0 */
/* tests/test_lock.c -- weft_lock against asyncio.Lock. The letters and numbers name the lines of behaviour (Q: Lock).
 * */
#include "tests/sync_support.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "executor/fiber.h"

/* Takes the lock, says so, gives it back. */
struct locker {
    WEFT_FRAME;
    weft_lock *lock;
    char name;
    bool took; /* result: also of a task that ends cancelled, by a request that came when it had the lock */
};

static int locker(struct locker *f)
{
    int rc = weft_lock_acquire(f->lock);
    if (rc != 0)
        return rc;
    f->took = true;
    note(f->name);
    return weft_lock_release(f->lock);
}
WEFT_CORO(locker);

/* Lockers a, b, ... that wait in this order. */
static void queue_lockers(weft_lock *lock, weft_task *tasks[], int n)
{
    for (int i = 0; i < n; i++) {
        tasks[i] = weft_create_task(locker, .lock = lock, .name = (char)('a' + i));
        settle();
    }
}

COROUTINE_TEST(free_lock)
{
    (void)frame;
    weft_lock lock = WEFT_LOCK_INIT, other;
    memset(&other, 0xff, sizeof other);
    weft_lock_init(&other); /* t uses it */
    weft_task *t = weft_create_task(locker, .lock = &other, .name = 't');
    CHECK(!weft_lock_locked(&lock)); /* Q8 */
    CHECK(weft_lock_acquire(&lock) == 0);
    CHECK(!alone() || !weft_done(t)); /* Q2: t could not run, so this task did not suspend */
    CHECK(weft_lock_locked(&lock));
    CHECK(weft_lock_try_acquire(&lock) == -EBUSY);
    CHECK(weft_lock_release(&lock) == 0);
    CHECK(weft_lock_release(&lock) == -EPERM); /* Q4 */
    CHECK(weft_lock_try_acquire(&lock) == 0);
    CHECK(weft_lock_release(&lock) == 0);
    return weft_await_release(t);
}

/* Q3 */
COROUTINE_TEST(first_come_first_served)
{
    (void)frame;
    weft_lock lock = WEFT_LOCK_INIT;
    weft_task *t[3];
    CHECK(weft_lock_acquire(&lock) == 0);
    queue_lockers(&lock, t, 3);
    CHECK(weft_lock_release(&lock) == 0);
    if (alone()) {
        CHECK(!weft_lock_locked(&lock));               /* free until the first waiter runs, */
        CHECK(weft_lock_try_acquire(&lock) == -EBUSY); /* but not to be overtaken */
        CHECK(weft_lock_release(&lock) == -EPERM);
    }
    CHECK(weft_lock_acquire(&lock) == 0);
    note('m');
    CHECK(weft_lock_release(&lock) == 0);
    for (int i = 0; i < 3; i++)
        CHECK(ended_with(t[i], 0));
    CHECK(noted("abcm"));
    return 0;
}

/* Q5: a waiter cancelled before any release, in front, in the middle and at the end */
COROUTINE_TEST(cancelled_waiter_leaves)
{
    (void)frame;
    for (int victim = 0; victim < 3; victim++) {
        static const char *const left[] = {"bc", "ac", "ab"};
        weft_lock lock = WEFT_LOCK_INIT;
        weft_task *t[3];
        CHECK(weft_lock_acquire(&lock) == 0);
        queue_lockers(&lock, t, 3);
        weft_cancel(t[victim]);
        settle();
        CHECK(weft_done(t[victim]));
        CHECK(weft_lock_locked(&lock)); /* it took nothing */
        CHECK(weft_lock_release(&lock) == 0);
        for (int i = 0; i < 3; i++)
            CHECK(ended_with(t[i], i == victim ? -ECANCELED : 0));
        CHECK(noted(left[victim]));
        CHECK(!weft_lock_locked(&lock));
    }
    return 0;
}

/* Q5: cancelled after the release had woken it, and both in the other order */
COROUTINE_TEST(wake_is_passed_on)
{
    (void)frame;
    for (int cancel_first = 0; cancel_first < 2; cancel_first++) {
        weft_lock lock = WEFT_LOCK_INIT;
        weft_task *t[3];
        CHECK(weft_lock_acquire(&lock) == 0);
        queue_lockers(&lock, t, 3);
        if (cancel_first)
            weft_cancel(t[0]);
        CHECK(weft_lock_release(&lock) == 0);
        if (!cancel_first)
            weft_cancel(t[0]);
        settle();
        int rc = weft_await(t[0]);
        bool took = weft_result(locker, t[0])->took;
        weft_release(t[0]);
        CHECK(rc == -ECANCELED || (rc == 0 && took));
        CHECK(!took || (!alone() && !cancel_first)); /* it was quicker than its cancellation */
        CHECK(ended_with(t[1], 0));
        CHECK(ended_with(t[2], 0));
        CHECK(noted(took ? "abc" : "bc"));
        CHECK(!weft_lock_locked(&lock));
    }
    return 0;
}

/* Q9; and waiters behind a cancelled one are not overtaken */
COROUTINE_TEST(only_cancelled_waiters)
{
    (void)frame;
    weft_lock lock = WEFT_LOCK_INIT;
    weft_task *t[2];
    CHECK(weft_lock_acquire(&lock) == 0);
    queue_lockers(&lock, t, 2);
    weft_cancel(t[0]);
    weft_cancel(t[1]);
    CHECK(weft_lock_release(&lock) == 0);
    CHECK(weft_lock_try_acquire(&lock) == 0);
    CHECK(ended_with(t[0], -ECANCELED));
    CHECK(ended_with(t[1], -ECANCELED));
    CHECK(weft_lock_locked(&lock));

    queue_lockers(&lock, t, 1);
    weft_cancel(t[0]);
    CHECK(weft_lock_release(&lock) == 0);
    CHECK(weft_lock_acquire(&lock) == 0);
    CHECK(!alone() || !weft_done(t[0])); /* nor has this suspended */
    CHECK(ended_with(t[0], -ECANCELED));

    queue_lockers(&lock, t, 2);
    weft_cancel(t[0]);
    CHECK(weft_lock_release(&lock) == 0);
    CHECK(!alone() || weft_lock_try_acquire(&lock) == -EBUSY);
    CHECK(weft_lock_acquire(&lock) == 0);
    note('m');
    CHECK(weft_lock_release(&lock) == 0);
    CHECK(ended_with(t[0], -ECANCELED));
    CHECK(ended_with(t[1], 0));
    CHECK(noted("bm"));
    return 0;
}

/* Q7, Q10 */
COROUTINE_TEST(time_limits)
{
    (void)frame;
    weft_lock lock = WEFT_LOCK_INIT;
    CHECK(weft_lock_acquire(&lock) == 0);
    weft_task *t = weft_create_task(locker, .lock = &lock, .name = 't');
    CHECK(weft_wait_for(t, WEFT_SEC(1)) == -ETIMEDOUT);
    weft_release(t);
    CHECK(weft_lock_locked(&lock));

    struct locker again = {.lock = &lock, .name = 'x'}; /* in this very task */
    weft_timeout limit;
    weft_timeout_begin(&limit, WEFT_SEC(1));
    CHECK(weft_timeout_end(&limit, locker(&again)) == -ETIMEDOUT);
    CHECK(weft_lock_release(&lock) == 0);
    CHECK(!weft_lock_locked(&lock));
    CHECK(noted(""));
    return 0;
}

/* ---- Q1, Q5 at random ---- */

struct contender {
    WEFT_FRAME;
    weft_lock *lock;
    long *inside, *done; /* plain: the lock is what protects them */
    uint64_t seed;
    unsigned rounds;
};

static int contender(struct contender *f)
{
    for (unsigned i = 0; i < f->rounds; i++) {
        bool tried = (weft__random(&f->seed) & 7) == 0;
        if ((tried ? weft_lock_try_acquire(f->lock) : weft_lock_acquire(f->lock)) != 0)
            continue;
        CHECK((*f->inside)++ == 0);
        if ((weft__random(&f->seed) & 1) != 0)
            weft_yield();
        ++*f->done;
        CHECK(--*f->inside == 0);
        CHECK(weft_lock_release(f->lock) == 0);
    }
    return 0;
}
WEFT_CORO(contender);

struct arena {
    weft_lock lock;
    long inside, done;
};

struct contention {
    WEFT_FRAME;
    struct arena *arena; /* others may be in it too */
    unsigned rounds, cancels;
};

static int contention(struct contention *f)
{
    enum { N = 12 };
    weft_task *t[N];
    for (uint64_t i = 0; i < N; i++)
        t[i] = weft_create_task(contender, .lock = &f->arena->lock, .inside = &f->arena->inside,
                                .done = &f->arena->done, .seed = 77 + i, .rounds = f->rounds);
    struct cancel_some cancels = {.tasks = t, .n = N, .rounds = f->cancels, .seed = 5};
    CHECK(cancel_some(&cancels) == 0);
    for (int i = 0; i < N; i++) {
        int rc = weft_await_release(t[i]);
        CHECK(rc == 0 || (rc == -ECANCELED && f->cancels != 0));
    }
    return 0;
}
WEFT_CORO(contention);

static void check_left(struct arena *a)
{
    assert_true(a->inside == 0 && a->done > 0);
    assert_int_equal(weft_lock_try_acquire(&a->lock), 0);
}

static void test_contention(void **state)
{
    (void)state;
    struct arena a = {.lock = WEFT_LOCK_INIT}, b = {.lock = WEFT_LOCK_INIT};
    RUN_ON_ALL(contention, .arena = &a, .rounds = 300);
    check_left(&a);
    RUN_ON_ALL(contention, .arena = &b, .rounds = 300, .cancels = 2000);
    check_left(&b);
}

/* ---- a lock that another worker holds for a moment ---- */

struct moments {
    WEFT_FRAME;
    weft_lock *lock;
    _Atomic(unsigned) *about; /* rounds in which the newcomer is about to acquire */
    unsigned rounds, waits;   /* acquires that suspended */
    bool holds;
};

/* One of two holds the lock, without suspending, until the other is about to acquire it, and for a moment more. */
static int moments(struct moments *f)
{
    for (unsigned i = 0; i < f->rounds; i++) {
        if (f->holds) {
            CHECK(weft_lock_acquire(f->lock) == 0);
            atomic_fetch_add(f->about, 1);
            while (atomic_load(f->about) != 3 * i + 2)
                weft__cpu_relax();
            for (int pause = 0; pause < 10; pause++)
                weft__cpu_relax();
            CHECK(weft_lock_release(f->lock) == 0);
            while (atomic_load(f->about) != 3 * i + 3)
                weft_yield();
        } else {
            while (atomic_load(f->about) != 3 * i + 1)
                weft_yield();
            uint32_t ticket = weft__fiber_self()->ticket;
            atomic_fetch_add(f->about, 1);
            CHECK(weft_lock_acquire(f->lock) == 0);
            f->waits += weft__fiber_self()->ticket != ticket;
            CHECK(weft_lock_release(f->lock) == 0);
            atomic_fetch_add(f->about, 1);
        }
    }
    return 0;
}
WEFT_CORO(moments);

struct short_holds {
    WEFT_FRAME;
    unsigned waits;
};

enum { SHORT_HOLDS = 2000 };

static int short_holds(struct short_holds *f)
{
    weft_lock lock = WEFT_LOCK_INIT;
    _Atomic(unsigned) about = 0;
    weft_task *holder = weft_create_task(moments, .lock = &lock, .about = &about, .rounds = SHORT_HOLDS, .holds = true);
    weft_task *newcomer = weft_create_task(moments, .lock = &lock, .about = &about, .rounds = SHORT_HOLDS);
    CHECK(weft_await_release(holder) == 0);
    CHECK(weft_await(newcomer) == 0);
    f->waits = weft_result(moments, newcomer)->waits;
    weft_release(newcomer);
    return 0;
}
WEFT_CORO(short_holds);

/* The newcomer gets it by looking again, if only once: a busy machine may take the CPU from the holder each time else. */
static void test_short_holds(void **state)
{
    (void)state;
    if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
        skip();
    struct short_holds f = {.waits = SHORT_HOLDS};
    for (int attempt = 0; attempt < 50 && f.waits == SHORT_HOLDS;
         attempt++) { /* there may be one CPU for all of them for a while */
        begin_run();
        assert_run(weft_run_frame(WEFT_OPTIONS(.workers = 3, .pin = WEFT_PIN_NONE), short_holds, &f), 3);
    }
    assert_true(f.waits < SHORT_HOLDS);
}

/* ---- threads and runtimes ---- */

static void *release_in_thread(void *lock)
{
    return weft_lock_release(lock) == 0 ? lock : NULL;
}

struct thread_releases {
    WEFT_FRAME;
};

static int thread_releases(struct thread_releases *f)
{
    (void)f;
    for (int i = 0; i < 20; i++) {
        weft_lock lock = WEFT_LOCK_INIT;
        pthread_t thread;
        void *ok = NULL;
        CHECK(weft_lock_acquire(&lock) == 0);
        CHECK(pthread_create(&thread, NULL, release_in_thread, &lock) == 0); /* Q4: no owner */
        CHECK(weft_lock_acquire(&lock) == 0);
        CHECK(pthread_join(thread, &ok) == 0 && ok == &lock);
    }
    return 0;
}
WEFT_CORO(thread_releases);

static void test_thread_releases(void **state)
{
    (void)state;
    RUN_REAL(1, thread_releases);
    RUN_REAL(2, thread_releases);
}

/* Each with a worker of its own, so that the kernel shuffles them. */
static void *another_runtime(void *arena)
{
    int rc = weft_run_with(WEFT_OPTIONS(.workers = 1, .pin = WEFT_PIN_NONE), contention, .arena = arena, .rounds = 500,
                           .cancels = 500);
    return rc == 0 ? arena : NULL;
}

static void test_runtimes_share_a_lock(void **state)
{
    (void)state;
    struct arena a = {.lock = WEFT_LOCK_INIT};
    pthread_t threads[4];
    begin_run();
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, another_runtime, &a), 0);
    for (int i = 0; i < 4; i++) {
        void *ok = NULL;
        assert_int_equal(pthread_join(threads[i], &ok), 0);
        assert_ptr_equal(ok, &a);
    }
    assert_run(0, 1);
    check_left(&a);
}

/* Waiting outside a task is refused with a sentence, not with a crash somewhere. */
static void test_waiting_outside_a_task(void **state)
{
    (void)state;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        weft_lock lock = WEFT_LOCK_INIT;
        if (freopen("/dev/null", "w", stderr) == NULL)
            _exit(2);
        signal(SIGABRT, SIG_DFL);
        _exit(weft_lock_acquire(&lock) != 0 || weft_lock_acquire(&lock) != 0 ? 3 : 4);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waiting_outside_a_task),
        cmocka_unit_test(test_free_lock),
        cmocka_unit_test(test_first_come_first_served),
        cmocka_unit_test(test_cancelled_waiter_leaves),
        cmocka_unit_test(test_wake_is_passed_on),
        cmocka_unit_test(test_only_cancelled_waiters),
        cmocka_unit_test(test_time_limits),
        cmocka_unit_test(test_contention),
        cmocka_unit_test(test_short_holds),
        cmocka_unit_test(test_thread_releases),
        cmocka_unit_test(test_runtimes_share_a_lock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
