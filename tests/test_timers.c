/* SPDX-License-Identifier: Apache-2.0 */
/* tests/test_timers.c -- timers in one thread: order, limits, a model, short memory. test_timers_race.c has the
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

static unsigned ahead_seen;

static void note_ahead(struct weft__timer *later)
{
    /* Pending: not one that has fired, nor a gap. */
    ahead_seen += weft__load_relaxed(&later->index) < WEFT__TIMER_IDLE - 1;
    assert_true(weft__load_relaxed(&later->index) < WEFT__TIMER_IDLE - 1);
}

/* One at a time: the same order out of two runs, the heap and the list, with gaps, and not before its time. */
static void test_fire_next(void **state)
{
    (void)state;
    struct weft__timers ts;
    struct alarm alarms[90];
    weft__timers_init(&ts);
    fired_count = ahead_seen = 0;
    assert_false(weft__timers_fire_next(&ts, 1000, note_ahead));
    struct weft__timer_spare spares[90];
    for (unsigned kind = 0; kind < 3; kind++) { /* two durations, and some that come in the wrong order */
        for (unsigned i = kind; i < 90; i += 3) {
            weft_ns deadline = kind == 2 ? 900 - 10 * i : 100 * kind + i;
            alarm_init(&alarms[i], i);
            if (i % 4 == 3) /* as without memory */
                weft__timers_set_spare(&ts, &alarms[i].timer, &spares[i], deadline);
            else
                assert_int_equal(weft__timers_set(&ts, &alarms[i].timer, deadline), 0);
        }
    }
    for (unsigned i = 0; i < 90; i += 5)
        assert_true(weft__timer_cancel(&alarms[i].timer));
    assert_false(weft__timers_fire_next(&ts, 0, note_ahead));
    weft_ns last = 0;
    for (unsigned left = 72; left != 0; left--) {
        weft_ns due = weft__timers_earliest(&ts);
        assert_true(due >= last && due != WEFT_FOREVER);
        assert_false(weft__timers_fire_next(&ts, due - 1, note_ahead));
        assert_true(weft__timers_fire_next(&ts, due, note_ahead));
        assert_int_equal(fired_count, 73 - left);
        unsigned id = fired_log[fired_count - 1];
        assert_true(id % 5 != 0);
        assert_int_equal(due, id % 3 == 2 ? 900 - 10 * id : 100 * (id % 3) + id);
        last = due;
    }
    assert_int_equal(weft__timers_earliest(&ts), WEFT_FOREVER);
    assert_false(weft__timers_fire_next(&ts, 1000, note_ahead));
    assert_true(ahead_seen != 0);
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
    struct weft__timer_spare spares[ALARMS];
    struct {
        bool pending;
        unsigned heap;
        weft_ns deadline;
        uint64_t order;
    } pending[ALARMS];
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

/* The n-th that is due and older than `before` fires alone, or the last if there are not so many. */
static void model_fire_one(struct model *m, unsigned heap, weft_ns now, uint64_t before, unsigned n, bool by_number)
{
    unsigned expected = ALARMS;
    for (unsigned i = 0; i < ALARMS; i++) {
        if (m->pending[i].heap == heap && m->pending[i].order >= before)
            m->pending[i].heap += 2;
    }
    for (unsigned i = 0; i <= n; i++) {
        unsigned next = model_first(m, heap);
        if (next == ALARMS || m->pending[next].deadline > now)
            break;
        expected = next;
        m->pending[next].heap += 2;
    }
    for (unsigned i = 0; i < ALARMS; i++)
        m->pending[i].heap &= 1;
    fired_count = 0;
    bool fired = by_number ? weft__timers_fire_nth(&m->heaps[heap], now, n)
                           : weft__timers_fire_one(&m->heaps[heap], now, before);
    assert_int_equal(fired, expected < ALARMS);
    assert_int_equal(fired_count, fired);
    if (fired) {
        assert_int_equal(fired_log[0], expected);
        m->pending[expected].pending = false;
    }
}

/* As programs set them: few durations, seldom another one, now and then the past. */
static weft_ns model_deadline(uint64_t *seed, unsigned step, weft_ns now)
{
    static const weft_ns durations[] = {10, 1000, 30, 30, 5000, 200};
    uint64_t r = weft__random(seed) >> 32;
    if (step % 2000 < 1000)
        return now + durations[r % 6] - (r % 97 == 0 ? 2000 : 0);
    return now + (weft_ns)(r % (step % 1000 < 500 ? 40 : 4000));
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
            weft_ns deadline = model_deadline(&seed, step, now);
            m.pending[id].order = weft__timers_sequence(&m.heaps[heap]);
            if (r >> 40 & 7)
                assert_int_equal(weft__timers_set(&m.heaps[heap], &m.alarms[id].timer, deadline), 0);
            else
                weft__timers_set_spare(&m.heaps[heap], &m.alarms[id].timer, &m.spares[id], deadline);
            m.pending[id].pending = true;
            m.pending[id].heap = heap;
            m.pending[id].deadline = deadline;
        } else if (what < 14) {
            assert_int_equal(weft__timer_cancel(&m.alarms[id].timer), m.pending[id].pending);
            m.pending[id].pending = false;
        } else {
            now += (weft_ns)(weft__random(&seed) % 50);
            uint64_t count = weft__timers_sequence(&m.heaps[heap]), newest = r >> 24 & 31;
            if (r >> 30 & 1)
                model_fire(&m, heap, now, 1 + (unsigned)(r >> 20) % 8);
            else if (r >> 31 & 1)
                model_fire_one(&m, heap, now, count > newest ? count - newest : 0, 0, false);
            else
                model_fire_one(&m, heap, now, UINT64_MAX, (unsigned)(r >> 32) % 8, true);
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

/* A run that grows while its front moves and gaps open: rings wrap, double and are squeezed; what is left fires in order. */
static void grow_with_gaps(unsigned keep_one_in, unsigned fire_each)
{
    enum { MANY = 6000 };
    static struct alarm many[MANY];
    static unsigned log[MANY];
    struct weft__timers ts;
    unsigned live = 0, count = 0, expected = 0;
    weft__timers_init(&ts);
    for (unsigned i = 0; i < MANY; i++) {
        alarm_init(&many[i], i);
        assert_int_equal(weft__timers_set(&ts, &many[i].timer, (weft_ns)(i / 2)), 0);
        if (i >= 10 && (i - 10) % keep_one_in != 0 && weft__timer_cancel(&many[i - 10].timer))
            live--, expected--;
        live++, expected++;
        fired_count = 0;
        if (fire_each != 0 && i % fire_each == 0 && weft__timers_fire(&ts, i / 4, 1, false)) {
            log[count++] = fired_log[0];
            live--;
        }
        assert_int_equal(ts.count, live);
    }
    fired_count = 0;
    while (weft__timers_fire(&ts, MANY, ALARMS / 2, false)) {
        for (unsigned i = 0; i < fired_count; i++)
            log[count++] = fired_log[i];
        fired_count = 0;
    }
    for (unsigned i = 1; i < count; i++)
        assert_true(log[i] > log[i - 1]);
    assert_int_equal(count, expected);
    assert_int_equal(ts.count, 0);
    assert_int_equal(ts.heap_capacity, 0); /* all of that was one run's */
    assert_true(ts.runs[0].capacity <= 2 * MANY && ts.runs[1].capacity == 0);
    if (keep_one_in > 100)
        assert_true(ts.runs[0].capacity < 512); /* gaps take no room for long */
    weft__timers_destroy(&ts);
}

static void test_runs_grow_with_gaps(void **state)
{
    (void)state;
    static const unsigned kept[] = {1, 2, 3, 7, 400};
    for (unsigned k = 0; k < sizeof kept / sizeof kept[0]; k++) {
        grow_with_gaps(kept[k], 0);
        grow_with_gaps(kept[k], 3);
        grow_with_gaps(kept[k], 8);
    }
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
    struct weft__timer_spare spare; /* who brings its own is not refused */
    weft__timers_set_spare(&ts, &timers[set], &spare, 3 - (weft_ns)set);
    if (weft__timers_earliest(&ts) != 3 - (weft_ns)set || !weft__timer_cancel(&timers[set]) ||
        weft__timers_earliest(&ts) != 1001 - (weft_ns)set)
        return 7;
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
        cmocka_unit_test(test_fire_next),
        cmocka_unit_test(test_ties_fire_in_the_order_of_setting),
        cmocka_unit_test(test_limit_and_try_only),
        cmocka_unit_test(test_extreme_deadlines),
        cmocka_unit_test(test_random_against_a_model),
        cmocka_unit_test(test_runs_grow_with_gaps),
        cmocka_unit_test(test_short_memory_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
