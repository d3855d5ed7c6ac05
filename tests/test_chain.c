/* SPDX-License-Identifier: Apache-2.0 */
/* A gather whose worker runs the tasks in a chain (executor/chain.h), and each way out of that. Where a test waits it waits for what must
 * happen, with a limit that only a fault reaches. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <weft.h>

#include <cmocka.h>

#include "executor/alone.h"
#include "support/check.h"
#include "support/threads.h"

enum { MOST = 1000 };

/* What the tasks of a test have done. */
static struct {
    _Atomic int ran[MOST], turn, gathered;
    weft_task *gatherer, *other;
} seen;

enum what {
    ENDS,
    FAILS,
    YIELDS,
    CANCELS_GATHERER,
    CANCELS_AND_YIELDS,
    GATHERS,
    AWAITS_OTHER,
    STAYS_UNTIL_GATHERED,
    STAYS_UNTIL_CANCELLED,
    CREATES,
    POLLS,
    GATHERS_POLLS,
    ROUNDS,
    DUMPS,
};

struct part {
    WEFT_FRAME;
    int i;
    enum what what;
    int depth;
};
static int part(struct part *f);
WEFT_CORO(part);

static uint64_t switches(void)
{
    weft_metrics m = {.size = sizeof m};
    return weft_metrics_read(weft_runtime_current(), -1, &m) == 0 ? m.switches : 0;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* A long step: until the number is reached. */
static int stay(_Atomic int *number, int n)
{
    for (double limit = seconds() + 60; atomic_load(number) < n;) {
        if (seconds() > limit)
            return -ETIME;
        sched_yield();
    }
    return 0;
}

/* Without fenv.h, which needs libm. */
#if defined(__x86_64__)
enum { NEAREST = 0, UPWARD = 0x4000, ROUNDING = 0x6000 };
static unsigned rounding(void)
{
    return __builtin_ia32_stmxcsr() & ROUNDING;
}
static void set_rounding(unsigned mode)
{
    __builtin_ia32_ldmxcsr((__builtin_ia32_stmxcsr() & ~(unsigned)ROUNDING) | mode);
}
#else
enum { NEAREST, UPWARD = NEAREST };
static unsigned rounding(void)
{
    return NEAREST;
}
static void set_rounding(unsigned mode)
{
    (void)mode;
}
#endif

/* Does a dump of the tasks say so? */
static bool dump_says(const char *what)
{
    char text[4096];
    int ends[2];
    if (pipe(ends) != 0)
        return false;
    int rc = weft_dump_tasks(weft_runtime_current(), ends[1]);
    close(ends[1]);
    ssize_t n = read(ends[0], text, sizeof text - 1);
    close(ends[0]);
    text[n > 0 ? n : 0] = '\0';
    return rc >= 0 && strstr(text, what) != NULL;
}

static int part(struct part *f)
{
    if (f->i >= 0)
        atomic_fetch_add(&seen.ran[f->i], 1);
    switch (f->what) {
    case FAILS:
        return -EIO;
    case YIELDS:
        return weft_yield();
    case CANCELS_GATHERER:
        TASK_CHECK(weft_cancel(seen.gatherer));
        return 0;
    case CANCELS_AND_YIELDS:
        TASK_CHECK(weft_cancel(seen.gatherer));
        return weft_yield();
    case GATHERS: {
        weft_task *t[3];
        for (int k = 0; k < 3; k++)
            t[k] = weft_create_task(part, .i = -1, .depth = f->depth - 1,
                                    .what = f->depth > 1         ? GATHERS
                                            : k == 1 && f->i % 2 ? YIELDS
                                                                 : ENDS);
        int rc = weft_gather_n(t, 3);
        for (int k = 0; k < 3; k++)
            weft_release(t[k]);
        return rc;
    }
    case AWAITS_OTHER:
        return weft_await(seen.other);
    case STAYS_UNTIL_GATHERED:
        return stay(&seen.gathered, 1);
    case STAYS_UNTIL_CANCELLED:
        return stay(&seen.turn, 1);
    case CREATES: {
        weft_task *t = weft_create_task(part, .i = f->i + 1, .what = ENDS);
        int rc = weft_await(t);
        weft_release(t);
        return rc;
    }
    case POLLS: /* a long step that looks whether it is to end */
        for (double limit = seconds() + 60; weft_cancelling(weft_current_task()) == 0;)
            if (seconds() > limit)
                return -ETIME;
        return stay(&seen.turn, 1); /* a request is counted before the mark is set */
    case GATHERS_POLLS: {
        weft_task *a = weft_create_task(part, .i = 8, .what = POLLS), *b = weft_create_task(part, .i = 9, .what = ENDS);
        int rc = weft_gather(a, b);
        weft_release(a);
        weft_release(b);
        return rc;
    }
    case ROUNDS: /* its own way of rounding is its own */
        TASK_CHECK(rounding() == NEAREST);
        return 0;
    case DUMPS:
        TASK_CHECK(dump_says("waits for gather"));
        return 0;
    default:
        return 0;
    }
}

static void forget(void)
{
    memset(&seen, 0, sizeof seen);
}

static int release_all(weft_task *t[], int n, int rc)
{
    for (int i = 0; i < n; i++)
        weft_release(t[i]);
    return rc;
}

/* ---- one worker: what runs when is certain ---- */

struct alone {
    WEFT_FRAME;
    int which;
    bool ticked; /* a result: after a tick others have their turn, and there are more switches */
};

static void all_end(weft_task *t[], int n)
{
    for (int i = 0; i < n; i++)
        t[i] = weft_create_task(part, .i = i, .what = ENDS);
    uint64_t before = switches();
    TASK_CHECK(weft_gather_n(t, (size_t)n) == 0);
    TASK_CHECK(switches() - before <= (uint64_t)n + 2);
    for (int i = 0; i < n; i++)
        TASK_CHECK(seen.ran[i] == 1 && weft_done(t[i]));
    (void)release_all(t, n, 0);
}

/* A task like all others, that has its turn among those of a chain. */
struct passer_by {
    WEFT_FRAME;
};
static int passer_by(struct passer_by *f)
{
    (void)f;
    int ran = 0;
    while (atomic_load(&seen.gathered) == 0 && ran >= 0) {
        atomic_fetch_add(&seen.turn, 1);
        ran = weft_yield();
    }
    return ran;
}
WEFT_CORO(passer_by);

static int one_alone(struct alone *f)
{
    weft_task *t[MOST];
    seen.gatherer = weft_current_task();
    /* The worker may have asked itself for work before it slept: the answer opens the first of these to thieves. */
    for (int i = 0; i < 4; i++)
        t[i] = weft_create_task(part, .i = -1, .what = ENDS);
    for (int i = 0; i < 4; i++)
        TASK_CHECK(weft_await_release(t[i]) == 0);
    switch (f->which) {
    case 0:
        for (int n = 1; n <= 20; n++) {
            forget();
            all_end(t, n);
        }
        for (int n = 255; n <= 513; n += n == 257 ? 254 : 1) { /* the queue is full, or nearly so */
            forget();
            all_end(t, n);
        }
        return 0;
    case 1: /* a failure ends it at once; what has not begun runs on */
        for (int i = 0; i < 4; i++)
            t[i] = weft_create_task(part, .i = i, .what = i == 1 ? FAILS : ENDS);
        TASK_CHECK(weft_gather_n(t, 4) == -EIO);
        TASK_CHECK(seen.ran[0] == 1 && seen.ran[2] == 0 && weft_status(t[1]) == -EIO);
        TASK_CHECK(weft_gather_settled_n(t, 4) == 1);
        TASK_CHECK(seen.ran[2] == 1 && seen.ran[3] == 1);
        return release_all(t, 4, 0);
    case 2: /* those that suspend are waited for */
        for (int i = 0; i < 6; i++)
            t[i] = weft_create_task(part, .i = i, .what = i % 3 == 1 ? YIELDS : ENDS);
        TASK_CHECK(weft_gather_n(t, 6) == 0);
        for (int i = 0; i < 6; i++)
            TASK_CHECK(seen.ran[i] == 1 && weft_status(t[i]) == 0);
        return release_all(t, 6, 0);
    case 3: /* a task cancels who gathers it: those that have not begun never do, and it is cancelled itself */
    case 4:
        for (int i = 0; i < 5; i++)
            t[i] = weft_create_task(part, .i = i,
                                    .what = i != 1          ? ENDS
                                            : f->which == 3 ? CANCELS_GATHERER
                                                            : CANCELS_AND_YIELDS);
        TASK_CHECK(weft_gather_n(t, 5) == -ECANCELED);
        TASK_CHECK(weft_gather_settled_n(t, 5) >= 0);
        for (int i = 0; i < 5; i++) {
            TASK_CHECK(seen.ran[i] == (i < 2));
            TASK_CHECK(weft_status(t[i]) == (i < 1 ? 0 : -ECANCELED));
        }
        TASK_CHECK(weft_uncancel(weft_current_task()) == 0);
        return release_all(t, 5, 0);
    case 5: /* chains in chains, some of which suspend */
        for (int depth = 1; depth <= 4; depth++) {
            for (int i = 0; i < 4; i++)
                t[i] = weft_create_task(part, .i = i, .what = GATHERS, .depth = depth);
            TASK_CHECK(weft_gather_n(t, 4) == 0);
            (void)release_all(t, 4, 0);
        }
        return 0;
    case 6: /* one awaits another of the chain, or what nobody has begun */
        for (int i = 0; i < 3; i++)
            t[i] = weft_create_task(part, .i = i, .what = i == 0 ? AWAITS_OTHER : ENDS);
        seen.other = t[2];
        TASK_CHECK(weft_gather_n(t, 3) == 0);
        TASK_CHECK(seen.ran[0] == 1 && seen.ran[1] == 1 && seen.ran[2] == 1);
        return release_all(t, 3, 0);
    case 7: { /* a long chain leaves others their turn */
        weft_task *p = weft_create_task(passer_by);
        TASK_CHECK(weft_yield() == 0);
        int turns = seen.turn;
        for (int i = 0; i < MOST; i++)
            t[i] = weft_create_task(part, .i = i, .what = ENDS);
        TASK_CHECK(weft_gather_n(t, MOST) == 0);
        TASK_CHECK(seen.turn > turns);
        atomic_store(&seen.gathered, 1);
        (void)release_all(t, MOST, 0);
        return weft_await_release(p);
    }
    case 8: /* given twice, NULL among them, ended before, others' */
        for (int i = 0; i < 3; i++)
            t[i] = weft_create_task(part, .i = i, .what = ENDS);
        TASK_CHECK(weft_await(t[1]) == 0);
        TASK_CHECK(weft_gather(t[0], t[1], t[0], t[2], t[2]) == 0);
        t[3] = weft_create_task(part, .i = 3, .what = ENDS);
        TASK_CHECK(weft_gather(t[3], NULL) == -ENOMEM);
        TASK_CHECK(weft_gather_settled(t[3], NULL) == 1 && seen.ran[3] == 1);
        return release_all(t, 4, 0);
    case 9: /* what a task of the chain creates comes after it, and may be run by it */
        for (int i = 0; i < 6; i += 2)
            t[i / 2] = weft_create_task(part, .i = i, .what = CREATES);
        TASK_CHECK(weft_gather_n(t, 3) == 0);
        for (int i = 0; i < 6; i++)
            TASK_CHECK(seen.ran[i] == 1);
        return release_all(t, 3, 0);
    case 10: { /* who goes through all tasks makes the worker go the locked way */
        unsigned visit = weft__stranger_begin(weft_runtime_current());
        all_end(t, 10);
        weft__stranger_end(weft_runtime_current(), visit);
        return 0;
    }
    case 11: /* somebody has asked for work: what lies open then is run like the rest */
        for (int n = 2; n <= 40; n++) {
            forget();
            weft__ready_ask(&weft__worker_self()->ready);
            all_end(t, n);
        }
        return 0;
    case 12: /* each fiber has its own way of rounding, also one that is lent */
        set_rounding(UPWARD);
        for (int i = 0; i < 3; i++)
            t[i] = weft_create_task(part, .i = i, .what = ROUNDS);
        TASK_CHECK(weft_gather_n(t, 3) == 0);
        TASK_CHECK(rounding() == UPWARD);
        set_rounding(NEAREST);
        return release_all(t, 3, 0);
    case 13: /* it is seen to wait */
        for (int i = 0; i < 2; i++)
            t[i] = weft_create_task(part, .i = i, .what = DUMPS);
        TASK_CHECK(weft_gather_n(t, 2) == 0);
        return release_all(t, 2, 0);
    default: /* all suspend, again and again: then it is left out for a while, and tried anew */
        for (int round = 0; round < 300; round++) {
            bool suspend = round < 150;
            for (int i = 0; i < 4; i++)
                t[i] = weft_create_task(part, .i = i, .what = suspend ? YIELDS : ENDS);
            TASK_CHECK(weft_gather_n(t, 4) == 0);
            (void)release_all(t, 4, 0);
        }
        return 0;
    }
}
static int alone(struct alone *f)
{
    struct weft_runtime *rt = weft_runtime_current();
    uint64_t ticks = weft__load_relaxed(&rt->ticks); /* relaxed: a statistic, as below */
    int rc = one_alone(f);
    f->ticked = weft__load_relaxed(&rt->ticks) != ticks;
    return rc;
}
WEFT_CORO(alone);

static void test_one_worker(void **state)
{
    (void)state;
    int attempts = 0;
    for (int which = 0; which <= 14; which++) {
        struct alone f = {.which = which};
        forget();
        assert_int_equal(weft_run_frame(WEFT_OPTIONS(.workers = 1, .slow_task = WEFT_FOREVER), alone, &f), 0);
        if (f.ticked && atomic_load(&task_check_failures) != 0 && ++attempts < 20) {
            atomic_store(&task_check_failures, 0);
            which--; /* once more */
            continue;
        }
        assert_tasks_ok();
    }
}

/* ---- one worker, which is in a long step, and another thread cancels who gathers ---- */

struct polled {
    WEFT_FRAME;
    bool nested;
};
static int polled(struct polled *f)
{
    weft_task *t[3];
    seen.gatherer = weft_ref(weft_current_task());
    for (int i = 0; i < 3; i++)
        t[i] = weft_create_task(part, .i = i, .what = i > 0 ? ENDS : f->nested ? GATHERS_POLLS : POLLS);
    TASK_CHECK(weft_gather_n(t, 3) == -ECANCELED);
    TASK_CHECK(weft_gather_settled_n(t, 3) == 3);
    for (int i = 0; i < 3; i++)
        TASK_CHECK(weft_status(t[i]) == -ECANCELED && seen.ran[i] == (i == 0));
    TASK_CHECK(seen.ran[9] == 0 && weft_uncancel(weft_current_task()) == 0);
    return release_all(t, 3, 0);
}
WEFT_CORO(polled);

/* The long step sees the request, however deep in gathers of gathers it is: nobody waits for its end to pass it on. */
static void *cancel_from_outside(void *nested)
{
    bool began = stay(&seen.ran[nested != NULL ? 8 : 0], 1) == 0;
    bool taken = began && weft_cancel(seen.gatherer);
    weft_release(seen.gatherer);
    atomic_store(&seen.turn, 1);
    return taken ? nested : &seen;
}

static void test_cancelled_from_outside(void **state)
{
    (void)state;
    for (unsigned round = 0; round < threads_scale(20); round++) {
        static int some;
        void *nested = round % 2 ? &some : NULL, *result;
        pthread_t thread;
        forget();
        assert_int_equal(pthread_create(&thread, NULL, cancel_from_outside, nested), 0);
        assert_int_equal(
            weft_run_with(WEFT_OPTIONS(.workers = 1, .slow_task = WEFT_FOREVER), polled, .nested = nested != NULL), 0);
        assert_int_equal(pthread_join(thread, &result), 0);
        assert_ptr_equal(result, nested);
        assert_tasks_ok();
    }
}

/* ---- several: somebody else goes on with the chain's entry ---- */

struct beside {
    WEFT_FRAME;
    int which;
};

struct canceller {
    WEFT_FRAME;
};
static int canceller(struct canceller *f)
{
    (void)f;
    int rc = stay(&seen.ran[0], 1); /* the chain's first task is in its long step */
    if (rc == 0 && !weft_cancel(seen.gatherer))
        rc = -EINVAL;
    atomic_store(&seen.turn, 1);
    return rc;
}
WEFT_CORO(canceller);

static int beside(struct beside *f)
{
    weft_task *t[4], *c = NULL;
    seen.gatherer = weft_current_task();
    switch (f->which) {
    case 0:
        /* The first one stays until the gather is over, which the second one's failure brings about: both the second and the gatherer have to
         * be taken from behind a long step. */
        for (int i = 0; i < 4; i++)
            t[i] = weft_create_task(part, .i = i, .what = i == 0 ? STAYS_UNTIL_GATHERED : i == 1 ? FAILS : ENDS);
        TASK_CHECK(weft_gather_n(t, 4) == -EIO);
        atomic_store(&seen.gathered, 1);
        TASK_CHECK(weft_gather_settled_n(t, 4) == 1);
        for (int i = 0; i < 4; i++)
            TASK_CHECK(seen.ran[i] == 1);
        break;
    default:
        /* Cancelled by another worker while the first one is in a long step: that is told, and what has not begun never does. */
        c = weft_create_task(canceller);
        TASK_CHECK(weft_yield() == 0 || true);
        for (int i = 0; i < 4; i++)
            t[i] = weft_create_task(part, .i = i, .what = i == 0 ? STAYS_UNTIL_CANCELLED : ENDS);
        TASK_CHECK(weft_gather_n(t, 4) == -ECANCELED);
        TASK_CHECK(weft_gather_settled_n(t, 4) >= 0);
        for (int i = 0; i < 4; i++)
            /* One that has begun may end before its request comes (it was taken by another worker, maybe before the gather began). */
            TASK_CHECK(weft_status(t[i]) == -ECANCELED || (seen.ran[i] && weft_status(t[i]) == 0));
        TASK_CHECK(weft_await_release(c) == 0);
        break;
    }
    return release_all(t, 4, 0);
}
WEFT_CORO(beside);

static void test_several_workers(void **state)
{
    (void)state;
    for (unsigned workers = 2; workers <= 4; workers++) {
        for (int which = 0; which < 2; which++) {
            for (unsigned round = 0; round < threads_scale(20); round++) {
                forget();
                assert_int_equal(
                    weft_run_with(WEFT_OPTIONS(.workers = workers, .slow_task = WEFT_FOREVER), beside, .which = which),
                    0);
                assert_tasks_ok();
            }
        }
    }
}

/* Trees of gathers whose leaves end, yield or fail, on several workers that steal from each other: each outcome is what it must be. */
struct tree {
    WEFT_FRAME;
    unsigned depth, seed;
    long leaves; /* a result */
};
static int tree(struct tree *f);
WEFT_CORO(tree);
static int tree(struct tree *f)
{
    if (f->depth == 0) {
        f->leaves = 1;
        if (f->seed % 5 == 0 && weft_yield() < 0)
            return -ECANCELED;
        return f->seed % 64 == 7 ? -EIO : 0;
    }
    weft_task *t[8];
    size_t n = 1 + f->seed % 8;
    for (size_t i = 0; i < n; i++)
        t[i] = weft_create_task(tree, .depth = f->depth - 1, .seed = f->seed * 31 + (unsigned)i * 17 + 3);
    int rc = f->seed & 16 ? weft_gather_n(t, n) : 0;
    int failed = weft_gather_settled_n(t, n);
    TASK_CHECK(failed >= 0 && (!(f->seed & 16) || (rc < 0) == (failed > 0)));
    for (size_t i = 0; i < n; i++) {
        TASK_CHECK(weft_done(t[i]));
        if (weft_status(t[i]) == 0)
            f->leaves += weft_result(tree, t[i])->leaves;
        weft_release(t[i]);
    }
    return 0;
}

struct forest {
    WEFT_FRAME;
    unsigned n;
    long leaves;
};
static int forest(struct forest *f)
{
    for (unsigned i = 0; i < f->n; i++) {
        weft_task *t = weft_create_task(tree, .depth = 4, .seed = i * 13 + 5);
        TASK_CHECK(weft_await(t) == 0);
        f->leaves += weft_result(tree, t)->leaves;
        weft_release(t);
    }
    return 0;
}
WEFT_CORO(forest);

struct planted {
    WEFT_FRAME;
    unsigned n;
    long *leaves;
};
static int planted(struct planted *f)
{
    weft_task *t = weft_create_task(forest, .n = f->n);
    int rc = weft_await(t);
    *f->leaves = weft_result(forest, t)->leaves;
    weft_release(t);
    return rc;
}
WEFT_CORO(planted);

static void test_trees(void **state)
{
    (void)state;
    long first = 0;
    for (unsigned workers = 1; workers <= 4; workers++) {
        long leaves = 0;
        assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = workers, .slow_task = WEFT_FOREVER), planted,
                                       .n = threads_scale(60), .leaves = &leaves),
                         0);
        assert_tasks_ok();
        if (workers == 1)
            first = leaves;
        assert_true(leaves > 0);
        assert_int_equal(leaves, first);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_worker),
        cmocka_unit_test(test_cancelled_from_outside),
        cmocka_unit_test(test_several_workers),
        cmocka_unit_test(test_trees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
