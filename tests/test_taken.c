/* SPDX-License-Identifier: Apache-2.0 */
/* Awaiting what lies open to thieves, or what one of them has begun (executor/taken.c): each way, forced, and each way out of it. Where a test waits it
 * waits for what must happen, with a limit that only a fault reaches. */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <time.h>
#include <weft.h>

#include <cmocka.h>

#include "executor/taken.h"
#include "executor/task_hot.h"
#include "support/check.h"
#include "support/threads.h"

enum { MANY = 256 };

static atomic_uint ran[MANY];

struct counts {
    WEFT_FRAME;
    unsigned i;
};
static int counts(struct counts *f)
{
    atomic_fetch_add(&ran[f->i], 1);
    return (int)f->i;
}
WEFT_CORO(counts);

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* A long step: until the number is there. Who has given his CPU away gets it back after milliseconds where others want it, so first it is kept. */
static void stay(atomic_int *number, int n)
{
    for (int i = 0; i < 20000 && atomic_load(number) < n; i++)
        weft__cpu_relax();
    for (double limit = seconds() + 60; atomic_load(number) < n;) {
        if (seconds() > limit) {
            TASK_CHECK(false); /* what must happen has not */
            return;
        }
        sched_yield();
    }
}

/* ---- what lies open ---------------------------------------------------------------------------------------------- */

enum order { FORWARDS, BACKWARDS, INSIDE_OUT };

static unsigned at(enum order order, unsigned i)
{
    return order == FORWARDS ? i : order == BACKWARDS ? MANY - 1 - i : (i + MANY / 3) % MANY;
}

struct opens {
    WEFT_FRAME;
    enum order order;
    bool stranger;
};
/* False: one of them was waited for, as may be after a tick. */
static bool open_once(struct opens *f)
{
    struct weft__fiber *fiber = weft__fiber_self();
    struct weft__worker *w = fiber->worker;
    weft_task *t[MANY];
    memset(ran, 0, sizeof ran);
    unsigned visit = f->stranger ? weft__stranger_begin(w->rt) : 0; /* nobody is alone: no short way */
    for (unsigned i = 0; i < MANY; i++) {
        if (i == MANY - 1)
            weft__ready_ask(&w->ready); /* as a thief that then never comes */
        t[i] = weft_create_task(counts, .i = i);
        TASK_CHECK(t[i] != NULL);
    }
    TASK_CHECK(weft__deque_size(&w->ready.shared) >= MANY / 2 - 1);
    uint32_t ticket = fiber->ticket;
    uint64_t inlined = weft__load_relaxed(&w->counters.inlined); /* relaxed: own */
    for (unsigned i = 0; i < MANY; i++)
        TASK_CHECK(weft_await_release(t[at(f->order, i)]) == (int)at(f->order, i));
    bool at_once = fiber->ticket == ticket;
    TASK_CHECK(!at_once || weft__load_relaxed(&w->counters.inlined) - inlined == MANY); /* relaxed: own */
    /* No entry is left behind; one may be the library's own, which measures the queue's delay after a tick. */
    TASK_CHECK(f->order == INSIDE_OUT || weft__ready_size(&w->ready) <= 1);
    TASK_CHECK(weft_yield() == 0);
    TASK_CHECK(weft__ready_size(&w->ready) <= 1);
    for (unsigned i = 0; i < MANY; i++)
        TASK_CHECK(atomic_load(&ran[i]) == 1);
    if (f->stranger)
        weft__stranger_end(w->rt, visit);
    return at_once;
}
static int opens(struct opens *f)
{
    unsigned late = 0;
    while (late < 100 && !open_once(f))
        late++;
    TASK_CHECK(late < 100);
    return 0;
}
WEFT_CORO(opens);

static void test_open_tasks_are_taken_back(void **state)
{
    (void)state;
    for (int order = FORWARDS; order <= INSIDE_OUT; order++) {
        for (int stranger = 0; stranger < 2; stranger++) {
            weft_options *o = WEFT_OPTIONS(.workers = 1, .slow_task = WEFT_FOREVER);
            assert_int_equal(weft_run_with(o, opens, .order = (enum order)order, .stranger = stranger != 0), 0);
            assert_tasks_ok();
        }
    }
}

/* Who passes an older task over does so for a while only; for a shorter one when the tick has come. */
struct passes_over {
    WEFT_FRAME;
    bool hurry;
};
static int passes_over(struct passes_over *f)
{
    struct weft__worker *w = weft__fiber_self()->worker;
    enum { TASKS = 64 * 80 };
    static weft_task *t[TASKS];
    unsigned until = 0;
    memset(ran, 0, sizeof ran);
    weft_task *older = weft_create_task(counts, .i = 0);
    for (unsigned i = 0; i < TASKS; i++)
        t[i] = weft_create_task(counts, .i = 1);
    if (f->hurry)
        weft__fetch_or_acq_rel(&w->hurry, (uint32_t)WEFT__HURRY_TICK); /* pairs: PINNED; as the tick */
    for (unsigned i = 0; i < TASKS; i++) {
        TASK_CHECK(weft_await_release(t[i]) == 1);
        until += atomic_load(&ran[0]) == 0;
    }
    TASK_CHECK(until <= (f->hurry ? 64 * 4 : 64 * 66));
    TASK_CHECK(weft_await_release(older) == 0 && atomic_load(&ran[0]) == 1 && atomic_load(&ran[1]) == TASKS);
    return 0;
}
WEFT_CORO(passes_over);

static void test_older_ones_have_their_turn(void **state)
{
    (void)state;
    for (int hurry = 0; hurry < 2; hurry++) {
        weft_options *o = WEFT_OPTIONS(.workers = 1, .slow_task = WEFT_FOREVER);
        assert_int_equal(weft_run_with(o, passes_over, .hurry = hurry != 0), 0);
        assert_tasks_ok();
    }
}

/* The entry of a task that its owner runs itself counts for who took it as an item that has ended. */
struct loses {
    WEFT_FRAME;
};
static int loses(struct loses *f)
{
    (void)f;
    struct weft__worker *w = weft__fiber_self()->worker;
    memset(ran, 0, sizeof ran);
    weft_task *t = weft_create_task(counts, .i = 0);
    uint64_t finished = w->spare.finished;
    TASK_CHECK(weft__task_claim(weft_ref(t)) > 0); /* as its owner, who does not have the entry */
    TASK_CHECK(weft_yield() == 0);
    TASK_CHECK(finished - w->spare.finished == 1 && atomic_load(&ran[0]) == 0);
    weft__task_finish(t, 7);
    return weft_await_release(t) == 7 ? 0 : -EIO;
}
WEFT_CORO(loses);

static void test_what_was_claimed_back_was_light(void **state)
{
    (void)state;
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 1), loses), 0);
    assert_tasks_ok();
}

/* ---- what a thief has begun -------------------------------------------------------------------------------------- */

enum how { ENDS_SOON, STAYS, CANCELS };

static struct {
    atomic_int begun, awaited;
    struct weft__fiber *awaiter;
    weft_task *task;
} game;

struct begun {
    WEFT_FRAME;
    enum how how;
    unsigned pauses;
};
static int begun(struct begun *f)
{
    atomic_store(&game.begun, 1);
    stay(&game.awaited, 1);
    for (unsigned i = 0; i < f->pauses; i++)
        weft__cpu_relax();
    if (f->how == STAYS) { /* until he sleeps */
        double limit = seconds() + 60;
        while ((weft__load_acquire(&game.awaiter->word) & WEFT__FIBER_STATE) != WEFT__FIBER_PARKED) { /* a test */
            if (seconds() > limit)
                return -ETIME;
            sched_yield();
        }
    }
    if (f->how == CANCELS)
        TASK_CHECK(weft_cancel(game.task));
    return 3;
}
WEFT_CORO(begun);

struct awaits {
    WEFT_FRAME;
    enum how how;
    bool gathers;
    unsigned rounds;
    unsigned looks, ends; /* made, and not in vain */
};
static int awaits(struct awaits *f)
{
    struct weft__fiber *fiber = weft__fiber_self();
    for (unsigned round = 0; round < f->rounds; round++) {
        atomic_store(&game.begun, 0);
        atomic_store(&game.awaited, 0);
        game.awaiter = fiber;
        game.task = weft_current_task();
        weft_task *t[2] = {weft_create_task(begun, .how = f->how, .pauses = round % 32),
                           weft_create_task(counts, .i = 0)};
        stay(&game.begun, 1); /* a thief has it: nobody else can */
        unsigned inlined = fiber->inlined;
        uint32_t ticket = fiber->ticket;
        if (f->how == ENDS_SOON) /* on a busy machine most looks are in vain, and then few are made */
            fiber->worker->taken_vain = fiber->worker->taken_skip = 0;
        atomic_store(&game.awaited, 1);
        int rc = f->gathers ? weft_gather_n(t, 2) : weft_await(t[0]);
        bool looked = !f->gathers && fiber->inlined == inlined + 1, suspended = fiber->ticket != ticket;
        int next = weft_yield();
        int other = weft_await(t[1]);
        TASK_CHECK(other == 0 ||
                   (f->how == CANCELS && f->gathers && other == -ECANCELED)); /* a gather's request is for all */
        f->looks += looked && (!suspended || f->how == STAYS);
        f->ends += looked && !suspended;
        if (f->how == CANCELS) { /* the request is met once, wherever it came */
            TASK_CHECK(rc == -ECANCELED ? next == 0 : rc == (f->gathers ? 0 : 3) && next == -ECANCELED);
            TASK_CHECK(weft_uncancel(game.task) == 0);
        } else {
            TASK_CHECK(rc == (f->gathers ? 0 : 3) && next == 0);
            TASK_CHECK(f->how != STAYS || suspended);
        }
        weft_release(t[0]);
        weft_release(t[1]);
    }
    return 0;
}
WEFT_CORO(awaits);

static bool beside_each_other(void)
{
    cpu_set_t cpus;
    return !RUNNING_ON_VALGRIND && sched_getaffinity(0, sizeof cpus, &cpus) == 0 && CPU_COUNT(&cpus) > 1;
}

struct until_one_ended {
    WEFT_FRAME;
};
static int until_one_ended(struct until_one_ended *f)
{
    (void)f;
    struct awaits a = {.how = ENDS_SOON, .rounds = 50};
    double limit = seconds() + 60;
    do
        (void)awaits(&a);
    while (beside_each_other() && a.ends == 0 && seconds() < limit);
    TASK_CHECK(a.ends != 0 || !beside_each_other());
    return 0;
}
WEFT_CORO(until_one_ended);

static void test_what_ends_in_a_moment_is_looked_at(void **state)
{
    (void)state;
    weft_options *o = WEFT_OPTIONS(.workers = 2, .slow_task = WEFT_FOREVER);
    assert_int_equal(weft_run_with(o, until_one_ended), 0);
    assert_tasks_ok();
}

/* Looks in vain become rare. */
struct stays {
    WEFT_FRAME;
};
static int stays(struct stays *f)
{
    (void)f;
    struct awaits a = {.how = STAYS, .rounds = 100};
    (void)awaits(&a);
    TASK_CHECK(a.looks < 50 && a.ends == 0);
    return 0;
}
WEFT_CORO(stays);

static void test_what_stays_is_waited_for(void **state)
{
    (void)state;
    weft_options *o = WEFT_OPTIONS(.workers = 2, .slow_task = WEFT_FOREVER);
    assert_int_equal(weft_run_with(o, stays), 0);
    assert_tasks_ok();
    assert_int_equal(weft_run_with(o, awaits, .how = STAYS, .gathers = true, .rounds = 50), 0);
    assert_tasks_ok();
}

static void test_a_request_in_a_look_is_met_once(void **state)
{
    (void)state;
    weft_options *o = WEFT_OPTIONS(.workers = 2, .slow_task = WEFT_FOREVER);
    for (int gathers = 0; gathers < 2; gathers++) {
        assert_int_equal(
            weft_run_with(o, awaits, .how = CANCELS, .gathers = gathers != 0, .rounds = threads_scale(100)), 0);
        assert_tasks_ok();
    }
}

/* ---- thieves come again and again -------------------------------------------------------------------------------- */

struct again {
    WEFT_FRAME;
    unsigned rounds, each; /* gathered by so many; 0: awaited, one after the other */
};
static int again(struct again *f)
{
    weft__store_relaxed(&weft_runtime_current()->light, 0); /* relaxed: a test; nobody is spared */
    weft_task *t[MANY];
    for (unsigned round = 0; round < f->rounds; round++) {
        memset(ran, 0, sizeof ran);
        for (unsigned i = 0; i < MANY; i++)
            t[i] = weft_create_task(counts, .i = i);
        for (unsigned i = 0; f->each != 0 && i < MANY; i += f->each)
            TASK_CHECK(weft_gather_n(t + i, f->each) == 0);
        for (unsigned i = 0; i < MANY; i++)
            TASK_CHECK(weft_await_release(t[i]) == (int)i && atomic_load(&ran[i]) == 1);
    }
    return 0;
}
WEFT_CORO(again);

static void test_each_runs_once(void **state)
{
    (void)state;
    for (unsigned workers = 2; workers <= 4; workers++) {
        for (unsigned each = 0; each <= 8; each += 8) {
            weft_options *o = WEFT_OPTIONS(.workers = workers, .slow_task = WEFT_FOREVER);
            assert_int_equal(weft_run_with(o, again, .rounds = threads_scale(200), .each = each), 0);
            assert_tasks_ok();
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open_tasks_are_taken_back),
        cmocka_unit_test(test_older_ones_have_their_turn),
        cmocka_unit_test(test_what_was_claimed_back_was_light),
        cmocka_unit_test(test_what_ends_in_a_moment_is_looked_at),
        cmocka_unit_test(test_what_stays_is_waited_for),
        cmocka_unit_test(test_a_request_in_a_look_is_met_once),
        cmocka_unit_test(test_each_runs_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
