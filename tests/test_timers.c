/* SPDX-License-Identifier: Apache-2.0 */
/* tests/test_timers.c -- the timer heap in one thread: order, limits, a model, short memory. test_timers_race.c has the
 * threads. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "executor/timers.h"
#include "tests/support/threads.h"

/* ---- one thread ---- */

#define ALARMS 300U

struct alarm {
    struct weft__timer timer;
    unsigned id;
};

static unsigned fired_log[ALARMS], fired_count;

static void log_fire(struct weft__timer *timer)
{
    fired_log[fired_count++] = weft__container_of(timer, struct alarm, timer)->id;
}

static void alarm_init(struct alarm *a, unsigned id)
{
    a->id = id;
    weft__timer_init(&a->timer, log_fire);
}

static void test_empty(void **state)
{
    (void)state;
    struct weft__timers ts;
    struct alarm a;
    weft__timers_init(&ts);
    alarm_init(&a, 0);
    assert_int_equal(weft__timers_earliest(&ts), WEFT_FOREVER);
    assert_int_equal(weft__timers_fire(&ts, 1000, 10, false), 0);
    assert_false(weft__timer_cancel(&a.timer)); /* never set: has no home even */
    weft__timers_destroy(&ts);
}

static void test_ties_fire_in_the_order_of_setting(void **state)
{
    (void)state;
    struct weft__timers ts;
    struct alarm alarms[50];
    weft__timers_init(&ts);
    fired_count = 0;
    for (unsigned i = 0; i < 50; i++) {
        alarm_init(&alarms[i], i);
        assert_int_equal(weft__timers_set(&ts, &alarms[i].timer, i % 2 ? 100 : 50), 0);
    }
    /* Set again, it counts as set last. */
    assert_true(weft__timer_cancel(&alarms[0].timer));
    assert_int_equal(weft__timers_set(&ts, &alarms[0].timer, 50), 0);
    assert_int_equal(weft__timers_earliest(&ts), 50);
    assert_int_equal(weft__timers_fire(&ts, 49, 100, false), 0);
    assert_int_equal(weft__timers_fire(&ts, 100, 100, false), 50);
    for (unsigned i = 0; i < 24; i++)
        assert_int_equal(fired_log[i], 2 * i + 2);
    assert_int_equal(fired_log[24], 0);
    for (unsigned i = 0; i < 25; i++)
        assert_int_equal(fired_log[25 + i], 2 * i + 1);
    assert_int_equal(weft__load_relaxed(&ts.fired), 50);
    assert_int_equal(weft__timers_earliest(&ts), WEFT_FOREVER);
    weft__timers_destroy(&ts);
}

static void test_limit_and_try_only(void **state)
{
    (void)state;
    struct weft__timers ts;
    struct alarm alarms[5];
    weft__timers_init(&ts);
    fired_count = 0;
    for (unsigned i = 0; i < 5; i++) {
        alarm_init(&alarms[i], i);
        assert_int_equal(weft__timers_set(&ts, &alarms[i].timer, 10 * (weft_ns)i), 0);
    }
    assert_int_equal(weft__timers_fire(&ts, 100, 0, false), 0);
    assert_int_equal(weft__timers_fire(&ts, 100, 2, false), 2);
    assert_int_equal(weft__timers_earliest(&ts), 20);
    ts.guard = 1; /* as if another thread were at it */
    assert_int_equal(weft__timers_fire(&ts, 100, 2, true), 0);
    ts.guard = 0;
    assert_int_equal(weft__timers_fire(&ts, 100, 9, true), 3);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(fired_log[i], i);
    weft__timers_destroy(&ts);
}

static void test_extreme_deadlines(void **state)
{
    (void)state;
    struct weft__timers ts;
    struct alarm alarms[3];
    weft__timers_init(&ts);
    fired_count = 0;
    for (unsigned i = 0; i < 3; i++)
        alarm_init(&alarms[i], i);
    assert_int_equal(weft__timers_set(&ts, &alarms[0].timer, WEFT_FOREVER), 0);
    assert_int_equal(weft__timers_earliest(&ts), WEFT_FOREVER);
    assert_int_equal(weft__timers_set(&ts, &alarms[1].timer, WEFT_FOREVER - 1), 0);
    assert_int_equal(weft__timers_set(&ts, &alarms[2].timer, INT64_MIN), 0);
    assert_int_equal(weft__timers_earliest(&ts), INT64_MIN);
    assert_int_equal(weft__timers_fire(&ts, 0, 9, false), 1);
    assert_int_equal(fired_log[0], 2);
    assert_true(weft__timer_cancel(&alarms[0].timer));
    assert_true(weft__timer_cancel(&alarms[1].timer));
    weft__timers_destroy(&ts);
}

/* The model: an array of what is pending, searched from end to end. */
struct model {
    struct weft__timers heaps[2];
    struct alarm alarms[ALARMS];
    struct {
        bool pending;
        unsigned heap;
        weft_ns deadline;
        uint64_t order;
    } pending[ALARMS];
    uint64_t order;
};

static unsigned model_first(const struct model *m, unsigned heap)
{
    unsigned best = ALARMS;
    for (unsigned i = 0; i < ALARMS; i++) {
        if (!m->pending[i].pending || m->pending[i].heap != heap)
            continue;
        if (best == ALARMS || m->pending[i].deadline < m->pending[best].deadline ||
            (m->pending[i].deadline == m->pending[best].deadline && m->pending[i].order < m->pending[best].order))
            best = i;
    }
    return best;
}

static void model_fire(struct model *m, unsigned heap, weft_ns now, unsigned limit)
{
    fired_count = 0;
    unsigned fired = weft__timers_fire(&m->heaps[heap], now, limit, false);
    assert_int_equal(fired, fired_count);
    for (unsigned i = 0; i < fired; i++) {
        unsigned first = model_first(m, heap);
        assert_int_equal(fired_log[i], first);
        assert_true(m->pending[first].deadline <= now);
        m->pending[first].pending = false;
    }
    unsigned next = model_first(m, heap);
    assert_true(fired == limit || next == ALARMS || m->pending[next].deadline > now);
}

static void model_run(uint64_t seed, unsigned steps)
{
    static struct model m;
    memset(&m, 0, sizeof m);
    weft__timers_init(&m.heaps[0]);
    weft__timers_init(&m.heaps[1]);
    for (unsigned i = 0; i < ALARMS; i++)
        alarm_init(&m.alarms[i], i);
    weft_ns now = 0;
    for (unsigned step = 0; step < steps; step++) {
        uint64_t r = weft__random(&seed) >> 16;
        unsigned id = (unsigned)(r % ALARMS), heap = (unsigned)(r >> 10) & 1, what = (unsigned)(r >> 11) % 16;
        if (what < 9 && !m.pending[id].pending) {
            weft_ns deadline = now + (weft_ns)(weft__random(&seed) % (step % 1000 < 500 ? 40 : 4000));
            assert_int_equal(weft__timers_set(&m.heaps[heap], &m.alarms[id].timer, deadline), 0);
            m.pending[id].pending = true;
            m.pending[id].heap = heap;
            m.pending[id].deadline = deadline;
            m.pending[id].order = m.order++;
        } else if (what < 14) {
            assert_int_equal(weft__timer_cancel(&m.alarms[id].timer), m.pending[id].pending);
            m.pending[id].pending = false;
        } else {
            now += (weft_ns)(weft__random(&seed) % 50);
            model_fire(&m, heap, now, 1 + (unsigned)(r >> 20) % 8);
        }
        for (unsigned h = 0; h < 2; h++) {
            unsigned first = model_first(&m, h);
            assert_int_equal(weft__timers_earliest(&m.heaps[h]),
                             first == ALARMS ? WEFT_FOREVER : m.pending[first].deadline);
        }
    }
    for (unsigned h = 0; h < 2; h++) {
        model_fire(&m, h, WEFT_FOREVER - 1, ALARMS);
        assert_int_equal(m.heaps[h].count, 0);
        weft__timers_destroy(&m.heaps[h]);
    }
}

static void test_random_against_a_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++)
        model_run(seed, threads_scale(20000));
}

static void quiet_fire(struct weft__timer *timer)
{
    (void)timer;
}

static int set_until_full(void)
{
    static struct weft__timers ts;
    weft__timers_init(&ts);
    struct weft__timer *timers = calloc(1 << 20, sizeof *timers);
    if (!timers)
        return 1;
    unsigned set = 0;
    for (;; set++) {
        if (set == 1 << 20)
            return 2;
        weft__timer_init(&timers[set], quiet_fire);
        int rc = weft__timers_set(&ts, &timers[set], 1000 - (weft_ns)set);
        if (rc == -ENOMEM)
            break;
        if (rc != 0)
            return 3;
    }
    /* The one that failed is idle, the others are as they were, and there is room again after a cancel. */
    if (set < 64 || weft__timer_cancel(&timers[set]) || weft__timers_earliest(&ts) != 1001 - (weft_ns)set)
        return 4;
    if (!weft__timer_cancel(&timers[7]) || weft__timers_set(&ts, &timers[set], 5) != 0)
        return 5;
    return weft__timers_fire(&ts, 1000, UINT32_MAX, false) == set ? 0 : 6;
}

static void test_short_memory_refuses(void **state)
{
    (void)state;
    if (threads_cannot_starve())
        skip();
    /* The timers, and a heap of half of them but not of all: growing needs old and new where realloc cannot extend. */
    assert_int_equal(
        threads_run_starved(((size_t)1 << 20) * sizeof(struct weft__timer) + ((size_t)12 << 20), set_until_full), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_ties_fire_in_the_order_of_setting),
        cmocka_unit_test(test_limit_and_try_only),
        cmocka_unit_test(test_extreme_deadlines),
        cmocka_unit_test(test_random_against_a_model),
        cmocka_unit_test(test_short_memory_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
