/* SPDX-License-Identifier: Apache-2.0 */
/* tests/test_timers_race.c -- timers between threads: set, cancel and fire against each other, at random and at the
 * moments that matter. */
#define _GNU_SOURCE /* usleep, gettid */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>

#include "executor/timers.h"
#include "tests/support/thread_sleeps.h"
#include "tests/support/threads.h"

#define HOMES 2U
#define USERS 3U

struct bell {
    struct weft__timer timer;
    uint64_t rung;      /* plain: after cancel the user may read it */
    _Atomic(bool) woke; /* as fire's wake: the user goes on while fire still runs */
};

struct tower {
    struct weft__timers homes[HOMES];
    unsigned turns; /* at most, of each */
    weft_ns until;  /* and no later: on a busy machine each turn lasts as long as others have the CPUs */
    _Atomic(unsigned) finished, faults, rings;
};

static void bell_fire(struct weft__timer *timer)
{
    struct bell *b = weft__container_of(timer, struct bell, timer);
    weft__store_release(&b->woke, true);
    for (int i = 0; i < 50; i++)
        weft__cpu_relax();
    b->rung++; /* after the wake: who does not wait for the end of fire races with this */
}

static void tower_fire(struct tower *t)
{
    weft_ns now = 0;
    uint64_t random = 99;
    while (weft__load_acquire(&t->finished) < USERS) {
        uint64_t r = weft__random(&random) >> 32;
        unsigned fired = weft__timers_fire(&t->homes[r % HOMES], now++, 1 + (unsigned)(r / 8 % 4), r & 4);
        weft__fetch_add_relaxed(&t->rings, fired);
        if (!fired)
            sched_yield();
    }
}

/* Sets its bells with some deadline, and either cancels, or waits for the wake and at once sets or cancels again. */
static void tower_body(void *shared, unsigned index)
{
    struct tower *t = shared;
    if (index >= USERS) {
        tower_fire(t);
        return;
    }
    struct bell bells[4];
    for (unsigned i = 0; i < 4; i++) {
        bells[i].rung = 0;
        weft__timer_init(&bells[i].timer, bell_fire);
    }
    uint64_t random = index + 1, expected[4] = {0};
    bool again = false; /* the same bell, whose fire may still run */
    for (unsigned turn = 0, i = 0; turn < t->turns && (turn % 16 != 15 || weft__monotonic() < t->until); turn++) {
        uint64_t r = weft__random(&random) >> 32;
        i = again ? i : (unsigned)(r >> 20) % 4;
        again = false;
        struct bell *b = &bells[i];
        weft__store_relaxed(&b->woke, false);
        if (weft__timers_set(&t->homes[r / 4 % HOMES], &b->timer, r & 16 ? 0 : (weft_ns)(turn / 4)) != 0)
            weft__fetch_add_relaxed(&t->faults, 1);
        if (r & 32) {
            for (unsigned spin = (unsigned)(r / 64 % 64); spin > 0; spin--)
                weft__cpu_relax();
        } else {
            for (unsigned spin = 1; !weft__load_acquire(&b->woke); spin++) {
                if (spin % 512) /* look closely, to meet fire while it runs */
                    weft__cpu_relax();
                else
                    sched_yield();
            }
            expected[i]++;
            again = r & 64;
            if (again)
                continue; /* set it at once, here or elsewhere */
            if (weft__timer_cancel(&b->timer) || b->rung != expected[i])
                weft__fetch_add_relaxed(&t->faults, 1);
            continue;
        }
        if (!weft__timer_cancel(&b->timer))
            expected[i]++;
        if (b->rung != expected[i] || weft__timer_cancel(&b->timer))
            weft__fetch_add_relaxed(&t->faults, 1);
    }
    for (unsigned i = 0; i < 4; i++)
        if (weft__timer_cancel(&bells[i].timer) || bells[i].rung != expected[i])
            weft__fetch_add_relaxed(&t->faults, 1);
    weft__fetch_add_acq_rel(&t->finished, 1);
}

static void test_cancel_and_set_wait_for_a_running_fire(void **state)
{
    (void)state;
    struct tower t = {.turns = threads_scale(10000), .until = weft__monotonic() + WEFT_SEC(5)};
    for (unsigned i = 0; i < HOMES; i++)
        weft__timers_init(&t.homes[i]);
    threads_run(USERS + 2, tower_body, &t); /* two threads fire */
    assert_int_equal(weft__load_relaxed(&t.faults), 0);
    uint64_t fired = 0;
    for (unsigned i = 0; i < HOMES; i++) {
        assert_int_equal(t.homes[i].count, 0);
        assert_int_equal(weft__timers_earliest(&t.homes[i]), WEFT_FOREVER);
        fired += weft__load_relaxed(&t.homes[i].fired);
        weft__timers_destroy(&t.homes[i]);
    }
    assert_int_equal(fired, weft__load_relaxed(&t.rings));
    assert_true(fired > 0);
}

/* One user sets a timer again and again, now here, now there; two others cancel it; two fire. Each setting ends
 * once. */
struct duel {
    struct weft__timers homes[HOMES];
    struct weft__timer timer;
    unsigned settings; /* at most; then: made */
    weft_ns until;     /* as above */
    _Atomic(unsigned) ended, cancelled, fired;
    _Atomic(bool) over;
};

static struct duel duel;

static void duel_fire(struct weft__timer *timer)
{
    (void)timer;
    weft__fetch_add_relaxed(&duel.fired, 1);
    weft__fetch_add_acq_rel(&duel.ended, 1);
}

static void duel_body(void *shared, unsigned index)
{
    struct duel *d = shared;
    unsigned misses = 0;
    if (index == 0) {
        unsigned i = 0;
        for (; i < d->settings && (i % 16 != 15 || weft__monotonic() < d->until); i++) {
            weft__timers_set(&d->homes[i % HOMES], &d->timer, i % 3);
            for (unsigned spin = 1; weft__load_acquire(&d->ended) <= i; spin++)
                if (spin % 64 == 0)
                    sched_yield();
        }
        d->settings = i;
        weft__store_release(&d->over, true);
    } else {
        while (!weft__load_acquire(&d->over)) {
            bool did;
            if (index <= 2) {
                did = weft__timer_cancel(&d->timer);
                if (did) {
                    weft__fetch_add_relaxed(&d->cancelled, 1);
                    weft__fetch_add_acq_rel(&d->ended, 1);
                }
            } else {
                did = weft__timers_fire(&d->homes[index % HOMES], 5, 1, false) != 0;
            }
            if (!did && ++misses % 64 == 0)
                sched_yield();
        }
    }
}

static void test_each_setting_ends_once(void **state)
{
    (void)state;
    duel.settings = threads_scale(100000);
    duel.until = weft__monotonic() + WEFT_SEC(5);
    for (unsigned i = 0; i < HOMES; i++)
        weft__timers_init(&duel.homes[i]);
    weft__timer_init(&duel.timer, duel_fire);
    threads_run(5, duel_body, &duel);
    assert_int_equal(weft__load_relaxed(&duel.ended), duel.settings);
    assert_int_equal(weft__load_relaxed(&duel.cancelled) + weft__load_relaxed(&duel.fired), duel.settings);
    for (unsigned i = 0; i < HOMES; i++) {
        assert_int_equal(duel.homes[i].count, 0);
        weft__timers_destroy(&duel.homes[i]);
    }
}

static void quiet_fire(struct weft__timer *timer)
{
    (void)timer;
}

/* The moments that chance seldom meets, made: a fire callback that goes on only when another thread waits for its home's guard, so long already
 * that it naps (the kernel says so). */
struct moment {
    struct weft__timers homes[2];
    struct weft__timer first, second, far;
    bool cancels; /* the other thread cancels `second`, else it sets it at homes[1] */
    bool result;
    bool ended; /* plain: fire's last act */
    bool saw_end;
    _Atomic(bool) go;
    _Atomic(int) tid; /* of the other thread, when it is about to do that */
};

static struct moment moment;

static void moment_wait_for_sleeper(void)
{
    weft__store_release(&moment.go, true);
    int tid; /* relaxed: this loop only waits. If the other thread never naps it does not wait, and what follows shows that */
    for (int i = 0; i < 10000 && ((tid = weft__load_relaxed(&moment.tid)) == 0 || !thread_sleeps(tid)); i++)
        usleep(100);
}

static void moment_come(struct moment *m)
{
    while (!weft__load_acquire(&m->go))
        sched_yield();
    weft__store_relaxed(&m->tid, (int)syscall(SYS_gettid)); /* relaxed: stands alone */
}

static void moment_fire(struct weft__timer *timer)
{
    (void)timer;
    moment_wait_for_sleeper();
    moment.ended = true;
}

static void moment_init(void)
{
    moment = (struct moment){.cancels = false};
    weft__timers_init(&moment.homes[0]);
    weft__timers_init(&moment.homes[1]);
    weft__timer_init(&moment.far, quiet_fire);
    assert_int_equal(weft__timers_set(&moment.homes[0], &moment.far, 1000), 0);
}

static void moment_over(void)
{
    assert_true(weft__timer_cancel(&moment.far)); /* nobody took it for another */
    for (int i = 0; i < 2; i++) {
        assert_int_equal(moment.homes[i].count, 0);
        assert_int_equal(weft__timers_earliest(&moment.homes[i]), WEFT_FOREVER);
        weft__timers_destroy(&moment.homes[i]);
    }
}

static void during_fire_body(void *shared, unsigned index)
{
    struct moment *m = shared;
    if (index == 0) {
        weft__timers_fire(&m->homes[0], 10, 9, false);
        return;
    }
    moment_come(m);
    if (m->cancels)
        m->result = weft__timer_cancel(&m->second);
    else
        m->result = weft__timers_set(&m->homes[1], &m->second, 7) == 0;
    m->saw_end = m->ended;
}

static void test_cancel_waits_for_the_end_of_fire(void **state)
{
    (void)state;
    moment_init();
    moment.cancels = true;
    weft__timer_init(&moment.second, moment_fire);
    assert_int_equal(weft__timers_set(&moment.homes[0], &moment.second, 1), 0);
    threads_run(2, during_fire_body, &moment);
    assert_true(moment.saw_end);
    assert_false(moment.result); /* it fired */
    moment_over();
}

static void test_set_waits_for_the_end_of_fire(void **state)
{
    (void)state;
    moment_init();
    weft__timer_init(&moment.second, moment_fire);
    assert_int_equal(weft__timers_set(&moment.homes[0], &moment.second, 1), 0);
    threads_run(2, during_fire_body, &moment);
    assert_true(moment.saw_end);
    assert_true(moment.result);
    assert_int_equal(moment.homes[1].count, 1);
    assert_true(weft__timer_cancel(&moment.second)); /* pending in its new home */
    moment_over();
}

static void moment_first_fire(struct weft__timer *timer)
{
    (void)timer;
    moment_wait_for_sleeper();
}

static void follow_body(void *shared, unsigned index)
{
    struct moment *m = shared;
    if (index == 0) {
        /* first: lets the canceller come to sleep on the guard; second fires; then it is set elsewhere before the
         * canceller is awake. */
        weft__timers_fire(&m->homes[0], 10, 9, false);
        weft__timers_set(&m->homes[1], &m->second, 7);
        return;
    }
    moment_come(m);
    m->result = weft__timer_cancel(&m->second);
}

static void test_cancel_follows_a_timer_to_another_heap(void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++) {
        moment_init();
        weft__timer_init(&moment.first, moment_first_fire);
        weft__timer_init(&moment.second, quiet_fire);
        assert_int_equal(weft__timers_set(&moment.homes[0], &moment.first, 1), 0);
        assert_int_equal(weft__timers_set(&moment.homes[0], &moment.second, 2), 0);
        threads_run(2, follow_body, &moment);
        /* It came too early (between fire and set), or it found the timer in its new home. */
        assert_int_equal(moment.homes[0].count, 1);
        assert_int_equal(moment.homes[1].count, !moment.result);
        assert_int_equal(weft__timer_cancel(&moment.second), !moment.result);
        moment_over();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cancel_and_set_wait_for_a_running_fire),
        cmocka_unit_test(test_each_setting_ends_once),
        cmocka_unit_test(test_cancel_waits_for_the_end_of_fire),
        cmocka_unit_test(test_set_waits_for_the_end_of_fire),
        cmocka_unit_test(test_cancel_follows_a_timer_to_another_heap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
