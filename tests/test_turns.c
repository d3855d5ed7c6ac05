/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks that yield all the time leave their turn to timers and to what comes from outside: each way of giving way looks around now and then. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>
#include <weft.h>

#include <cmocka.h>
#include <pthread.h>

#define ENOUGH 200000000L /* yields: minutes */

struct yields {
    WEFT_FRAME;
    _Atomic(int) *stop;
};
static int yields(struct yields *f)
{
    long n = 0;
    while (atomic_load(f->stop) == 0 && n++ < ENOUGH)
        (void)weft_yield();
    return n < ENOUGH ? 0 : -1;
}
WEFT_CORO(yields);

struct stops {
    WEFT_FRAME;
    _Atomic(int) *stop;
    weft_ns after;
};
static int stops(struct stops *f)
{
    int rc = weft_sleep(f->after);
    atomic_store(f->stop, 1);
    return rc;
}
WEFT_CORO(stops);

static void *submit_from_outside(void *argument)
{
    void **pair = argument;
    weft_release(weft_submit(pair[0], stops, .stop = pair[1], .after = 0));
    return NULL;
}

/* So many tasks yield on each worker; the end comes by a timer, or from a thread outside. */
struct turns {
    WEFT_FRAME;
    int tasks;
    bool outside;
};
static int turns(struct turns *f)
{
    _Atomic(int) stop = 0;
    weft_task *t[16];
    int rc = 0;
    for (int i = 0; i < f->tasks; i++)
        t[i] = weft_create_task(yields, .stop = &stop);
    pthread_t thread;
    void *pair[] = {weft_runtime_current(), (void *)&stop};
    if (f->outside)
        pthread_create(&thread, NULL, submit_from_outside, pair);
    else
        weft_release(weft_create_task(stops, .stop = &stop, .after = WEFT_MS(2)));
    rc |= yields(&(struct yields){.stop = &stop});
    for (int i = 0; i < f->tasks; i++)
        rc |= weft_await_release(t[i]);
    if (f->outside)
        pthread_join(thread, NULL);
    return rc;
}
WEFT_CORO(turns);

static void test_yielding_tasks_leave_turns(void **state)
{
    (void)state;
    static const unsigned workers[] = {1, 2, 3, 8};
    for (size_t i = 0; i < 4; i++) {
        for (int order = 0; order < 2; order++) {
            for (int tasks = 0; tasks <= 16; tasks = tasks < 3 ? tasks + 1 : tasks + 13) {
                for (int outside = 0; outside < 2; outside++) {
                    if (order == 1 && workers[i] != 1)
                        continue;
                    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = workers[i],
                                                                .order = order ? WEFT_ORDER_FIFO : WEFT_ORDER_DEFAULT,
                                                                .slow_task = WEFT_FOREVER),
                                                   turns, .tasks = tasks, .outside = outside != 0),
                                     0);
                }
            }
        }
    }
}

/* Beside tasks whose steps are long a sleeper goes on after a few of these, not after as many as a worker makes of short ones between two looks
 * around; and so does who waits for a descriptor. Counted in steps, which only get fewer where the machine is busy. */
enum { LONG_STEPS = 4, WAITS = 12, LEARNED = 4, FEW_STEPS = 3 * LONG_STEPS };
struct beside {
    _Atomic(weft_ns) due; /* 0: nobody waits */
    _Atomic(long) after;  /* steps that began later than that */
    _Atomic(bool) stop;
    int fds[2];
    bool descriptor;
};

struct long_steps {
    WEFT_FRAME;
    struct beside *b;
};
static int long_steps(struct long_steps *f)
{
    struct beside *b = f->b;
    while (!atomic_load(&b->stop)) {
        weft_ns begun_at = weft_now(), due = atomic_load(&b->due);
        if (due != 0 && begun_at >= due && atomic_fetch_add(&b->after, 1) == 0 && b->descriptor &&
            write(b->fds[1], "x", 1) != 1)
            return -1;
        while (weft_now() < begun_at + WEFT_MS(1))
            ;
        if (weft_yield() < 0)
            return -1;
    }
    return 0;
}
WEFT_CORO(long_steps);

struct beside_long_steps {
    WEFT_FRAME;
    bool descriptor;
    long worst;
};
static int beside_long_steps(struct beside_long_steps *f)
{
    struct beside b = {.descriptor = f->descriptor};
    weft_task *t[LONG_STEPS];
    int rc = pipe(b.fds);
    for (int i = 0; i < LONG_STEPS; i++)
        t[i] = weft_create_task(long_steps, .b = &b);
    for (int i = 0; i < WAITS; i++) {
        char byte;
        weft_ns due = weft_now() + WEFT_MS(5);
        atomic_store(&b.after, 0);
        atomic_store(&b.due, due);
        rc |= b.descriptor ? weft_fd_wait(b.fds[0], WEFT_READABLE, WEFT_FOREVER) < 0 : weft_sleep_until(due);
        long after = atomic_load(&b.after);
        atomic_store(&b.due, 0);
        rc |= b.descriptor && read(b.fds[0], &byte, 1) != 1;
        if (i >= LEARNED && after > f->worst)
            f->worst = after;
    }
    atomic_store(&b.stop, true);
    for (int i = 0; i < LONG_STEPS; i++)
        rc |= weft_await_release(t[i]);
    close(b.fds[0]);
    close(b.fds[1]);
    return rc != 0 ? -1 : (int)f->worst;
}
WEFT_CORO(beside_long_steps);

static void test_long_steps_leave_turns(void **state)
{
    (void)state;
    for (int descriptor = 0; descriptor < 2; descriptor++) {
        int worst = weft_run_with(WEFT_OPTIONS(.workers = 1, .slow_task = WEFT_FOREVER), beside_long_steps,
                                  .descriptor = descriptor != 0);
        assert_in_range(worst, 0, FEW_STEPS);
    }
}

/* A sleeper whose time has come while very many tasks wait to begin: it goes on before they all have. */
enum { MANY = 20000 };
static long begun, begun_at_wake;

struct begins {
    WEFT_FRAME;
};
static int begins(struct begins *f)
{
    (void)f;
    begun++;
    for (weft_ns end = weft_now() + WEFT_US(2); weft_now() < end;)
        ;
    return 0;
}
WEFT_CORO(begins);

struct sleeps {
    WEFT_FRAME;
    weft_ns duration;
};
static int sleeps(struct sleeps *f)
{
    int rc = weft_sleep(f->duration);
    begun_at_wake = begun;
    return rc;
}
WEFT_CORO(sleeps);

/* `inlined`: the many are awaited as soon as they are there, which runs them on the awaiter's stack. */
struct overtaking {
    WEFT_FRAME;
    bool inlined;
    weft_ns duration; /* of the sleep: it is to end when the many are there, and before they have begun */
};
static int overtaking(struct overtaking *f)
{
    static weft_task *t[MANY];
    begun = 0;
    begun_at_wake = -1;
    weft_task *sleeper = weft_create_task(sleeps, .duration = f->duration);
    int rc = weft_yield(); /* it sleeps */
    for (int i = 0; i < MANY; i++)
        t[i] = weft_create_task(begins);
    if (!f->inlined)
        rc |= weft_await_release(sleeper);
    for (int i = 0; i < MANY; i++)
        rc |= weft_await_release(t[i]);
    if (f->inlined)
        rc |= weft_await_release(sleeper);
    return rc;
}
WEFT_CORO(overtaking);

static void test_sleepers_come_before_many_that_have_not_begun(void **state)
{
    (void)state;
    for (int inlined = 0; inlined < 2; inlined++) {
        bool overtook = false;
        weft_ns duration = WEFT_MS(1);
        /* Again and again: where the machine keeps the thread that ticks waiting, all may have begun before its tick. */
        for (time_t limit = time(NULL) + 60; !overtook && time(NULL) < limit;
             duration = duration < WEFT_MS(500) ? 2 * duration : WEFT_MS(1)) {
            assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 1, .slow_task = WEFT_FOREVER), overtaking,
                                           .inlined = inlined != 0, .duration = duration),
                             0);
            assert_int_equal(begun, MANY);
            overtook = begun_at_wake >= 0 && begun_at_wake < MANY / 2;
        }
        assert_true(overtook);
    }
}

/* Timers that are due all the time, in a long queue of others that yield and of some that have not begun: all of them get on. */
struct crowd {
    WEFT_FRAME;
    _Atomic(long) *begun, *yielded;
    int kind; /* 0: sleeps as short as can be, 1: yields, 2: begins */
};
enum { CROWD = 3000 };
static bool satisfied(const struct crowd *f)
{
    return atomic_load(f->begun) == CROWD && atomic_load(f->yielded) >= 4 * CROWD;
}
static int crowd(struct crowd *f)
{
    if (f->kind == 2)
        atomic_fetch_add(f->begun, 1);
    while (f->kind != 2 && !satisfied(f)) {
        int rc = f->kind == 0 ? weft_sleep(1) : weft_yield();
        if (rc < 0)
            return rc;
        if (f->kind == 1)
            atomic_fetch_add(f->yielded, 1);
    }
    return 0;
}
WEFT_CORO(crowd);

struct crowds {
    WEFT_FRAME;
};
static int crowds(struct crowds *f)
{
    (void)f;
    static weft_task *t[3 * CROWD];
    _Atomic(long) begun_ = 0, yielded = 0;
    int rc = 0;
    for (int i = 0; i < 2 * CROWD; i++)
        t[i] = weft_create_task(crowd, .begun = &begun_, .yielded = &yielded, .kind = i & 1);
    rc |= weft_yield(); /* they are all under way */
    for (int i = 0; i < CROWD; i++)
        t[2 * CROWD + i] = weft_create_task(crowd, .begun = &begun_, .yielded = &yielded, .kind = 2);
    for (int i = 0; i < 3 * CROWD; i++)
        rc |= weft_await_release(t[i]);
    return rc;
}
WEFT_CORO(crowds);

static void test_nobody_starves_by_timers(void **state)
{
    (void)state;
    for (unsigned workers = 1; workers <= 2; workers++)
        assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = workers), crowds), 0);
}

/* Very many tasks awaited in the order of their creation: each is the oldest that is ready, so to run it at once passes nobody over, however long that
 * goes on. Whoever stands among them has its turn when all before it have had theirs. */
enum { NOBODY, WAITED, UNSTARTED }; /* stands in the middle */
struct in_order {
    WEFT_FRAME;
    int who;
    long inlined, among; /* of the many; so many had begun when its turn came */
};
struct among {
    WEFT_FRAME;
    weft_event *event;
    long *among;
};
static int among(struct among *f)
{
    int rc = f->event != NULL ? weft_event_wait(f->event) : 0;
    *f->among = begun;
    return rc;
}
WEFT_CORO(among);

static int in_order(struct in_order *f)
{
    static weft_task *t[MANY];
    weft_event event;
    weft_event_init(&event);
    struct weft_metrics before = {.size = sizeof before}, after = before;
    weft_task *other = NULL;
    int rc = 0;
    begun = 0;
    if (f->who == WAITED) {
        other = weft_create_task(among, .event = &event, .among = &f->among);
        rc |= weft_yield(); /* it waits */
    }
    for (int i = 0; i < MANY; i++) {
        if (i == MANY / 2 && f->who == WAITED)
            weft_event_set(&event);
        if (i == MANY / 2 && f->who == UNSTARTED)
            other = weft_create_task(among, .among = &f->among);
        t[i] = weft_create_task(begins);
    }
    rc |= weft_metrics_read(weft_runtime_current(), -1, &before);
    for (int i = 0; i < MANY; i++)
        rc |= weft_await_release(t[i]);
    rc |= weft_metrics_read(weft_runtime_current(), -1, &after);
    f->inlined = (long)(after.tasks_inlined - before.tasks_inlined);
    return rc | (other != NULL ? weft_await_release(other) : 0);
}
WEFT_CORO(in_order);

static void test_awaiting_in_order_takes_nobodys_turn(void **state)
{
    (void)state;
    for (int who = NOBODY; who <= UNSTARTED; who++) {
        struct in_order f = {.frame_ = {&in_order_coro_}, .who = who, .among = -1};
        assert_int_equal(weft_run_frame(WEFT_OPTIONS(.workers = 1, .slow_task = WEFT_FOREVER), in_order, &f), 0);
        assert_int_equal(begun, MANY);
        if (who == NOBODY) /* they take several ticks */
            assert_int_equal(f.inlined, MANY);
        else
            assert_in_range(f.among, 1, MANY / 2 + (who == WAITED ? 1 : 64) * (64 + 1));
    }
}

/* ---- who creates and awaits, or gathers, for ever ---- */

static _Atomic(int) had_turn;

struct small {
    WEFT_FRAME;
};
static int small(struct small *f)
{
    (void)f;
    return 0;
}
WEFT_CORO(small);
struct sets {
    WEFT_FRAME;
    weft_event *event;
};
static int sets(struct sets *f)
{
    weft_event_set(f->event);
    return 0;
}
WEFT_CORO(sets);
/* What another task has forked is in no queue. */
struct forks {
    WEFT_FRAME;
};
static int forks(struct forks *f)
{
    (void)f;
    weft_event event;
    weft_child child;
    weft_event_init(&event);
    struct sets frame = {.event = &event};
    weft_fork(&child, sets, &frame);
    int rc = weft_event_wait(&event);
    atomic_store(&had_turn, 1);
    return rc | weft_join(&child);
}
WEFT_CORO(forks);
struct begun_later {
    WEFT_FRAME;
    int sleeps;
};
static int begun_later(struct begun_later *f)
{
    int rc = 0;
    for (int i = 0; i < f->sleeps; i++)
        rc |= weft_sleep(WEFT_MS(1));
    atomic_store(&had_turn, 1);
    return rc;
}
WEFT_CORO(begun_later);

enum other { FORKS, UNBEGUN, SLEEPS, OTHERS };
struct busy {
    WEFT_FRAME;
    enum other other;
    int gathered; /* 0: each task is awaited by itself */
    long rounds;
};
static int busy(struct busy *f)
{
    atomic_store(&had_turn, 0);
    weft_task *other = f->other == FORKS ? weft_create_task(forks)
                                         : weft_create_task(begun_later, .sleeps = f->other == SLEEPS ? 20 : 0);
    int rc = f->other == UNBEGUN ? 0 : weft_yield();
    for (f->rounds = 0; atomic_load(&had_turn) == 0 && f->rounds < ENOUGH / 4; f->rounds++) {
        weft_task *t[8];
        for (int i = 0; i < f->gathered; i++)
            t[i] = weft_create_task(small);
        if (f->gathered == 0)
            rc |= weft_await_release(weft_create_task(small));
        else
            rc |= weft_gather_n(t, (size_t)f->gathered);
        for (int i = 0; i < f->gathered; i++)
            weft_release(t[i]);
    }
    return rc | weft_await_release(other);
}
WEFT_CORO(busy);
static void test_awaiting_and_gathering_for_ever_leaves_turns(void **state)
{
    (void)state;
    static const int gathered[] = {0, 1, 2, 3, 8};
    for (int other = FORKS; other < OTHERS; other++) {
        for (unsigned i = 0; i < sizeof gathered / sizeof gathered[0]; i++) {
            struct busy f = {.frame_ = {&busy_coro_}, .other = (enum other)other, .gathered = gathered[i]};
            assert_int_equal(weft_run_frame(WEFT_OPTIONS(.workers = 1, .slow_task = WEFT_FOREVER), busy, &f), 0);
            if (other != SLEEPS) /* that takes as long as 20 sleeps take */
                assert_in_range(f.rounds, 0, 500000);
            assert_true(f.rounds < ENOUGH / 4);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_yielding_tasks_leave_turns),
        cmocka_unit_test(test_long_steps_leave_turns),
        cmocka_unit_test(test_sleepers_come_before_many_that_have_not_begun),
        cmocka_unit_test(test_nobody_starves_by_timers),
        cmocka_unit_test(test_awaiting_in_order_takes_nobodys_turn),
        cmocka_unit_test(test_awaiting_and_gathering_for_ever_leaves_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
