/* SPDX-License-Identifier: Apache-2.0 */
/* A thief that leaves alone whose items are not worth their way (executor/spare.c): what it concludes from what it took, and that an owner who is spared
 * and then gets stuck loses its items all the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <weft.h>

#include <cmocka.h>

#include "executor/runtime.h"
#include "support/check.h"
#include "support/threads.h"

enum { LIGHT = 200, LOOT = 32 };

static const struct weft__worker *somebody(int which)
{
    static struct weft__worker two[2];
    return &two[which];
}

/* It took LOOT items at `at`, and ran dry after so long with so many tasks ended. */
static void took(struct weft__spare *s, weft_ns at, weft_ns duration, unsigned ended)
{
    s->loot = LOOT;
    s->from = somebody(0);
    s->at = at;
    s->finished = 1000;
    weft__spare_judge(s, at + duration, LIGHT, 1000 + ended);
}

/* The time is over, and the next loot is heavy. */
static void took_nothing_light(struct weft__spare *s, weft_ns now)
{
    took(s, now + WEFT_SEC(1), WEFT_SEC(1), LOOT);
    assert_null(s->spared);
    assert_int_equal(s->light, 0);
}

static void test_light_loot_spares(void **state)
{
    (void)state;
    struct weft__spare s = {.loot = 0};
    weft_ns now = WEFT_SEC(1), last = 0;
    for (int i = 0; i < 12; i++) {
        took(&s, now, LIGHT * LOOT - 1, LOOT);
        assert_ptr_equal(s.spared, somebody(0));
        now += LIGHT * LOOT - 1;
        weft_ns pause = weft__spare_until(&s) - now;
        assert_true(pause == 2 * last || (i == 0 && pause == WEFT_US(50)) || (pause == last && i >= 7));
        assert_true(pause <= WEFT_US(3200));
        last = pause;
        weft__spare_judge(&s, s.until - 1, LIGHT, 5000);
        assert_ptr_equal(s.spared, somebody(0));
        now = s.until;
        weft__spare_judge(&s, now, LIGHT, 5000);
        assert_null(s.spared);
        assert_true(weft__spare_until(&s) == WEFT_FOREVER);
    }
    assert_true(last == WEFT_US(3200));
    assert_int_equal(weft__load_relaxed(&s.times), 12);
    took(&s, now + WEFT_SEC(1), 1, LOOT); /* long after: from the beginning */
    assert_true(weft__spare_until(&s) == now + WEFT_SEC(1) + 1 + WEFT_US(50));
}

static void test_heavy_loot_does_not(void **state)
{
    (void)state;
    struct weft__spare s = {.loot = 0};
    took(&s, WEFT_SEC(1), LIGHT * LOOT, LOOT); /* each took long enough */
    assert_null(s.spared);
    took(&s, WEFT_SEC(1), 1, LOOT - 1); /* one waits for something */
    assert_null(s.spared);
    for (int i = 0; i < 3; i++) {
        took(&s, WEFT_SEC(1), 1, LOOT);
        s.spared = NULL;
    }
    assert_int_equal(s.light, 3);
    took(&s, WEFT_SEC(1), WEFT_MS(1), LOOT); /* a tree's large piece */
    assert_int_equal(s.light, 0);
    assert_null(s.spared);
}

/* Who looked on for 50 us in vain, while the owner made so many steps. */
static void test_a_brisk_owner_is_spared(void **state)
{
    (void)state;
    static struct weft_runtime rt;
    static struct weft__worker thief;
    weft_ns now = WEFT_SEC(1), took = WEFT_US(50);
    uint64_t enough = (uint64_t)(took / LIGHT);
    thief.rt = &rt;
    weft__store_relaxed(&rt.light, LIGHT); /* relaxed: nobody else is here */
    weft__spare_brisk(&thief, somebody(0), enough - 1, now, took);
    assert_null(thief.spare.spared);
    weft__spare_brisk(&thief, somebody(1), enough, now, took);
    assert_ptr_equal(thief.spare.spared, somebody(1));
    assert_true(weft__spare_until(&thief.spare) == now + WEFT_US(50));
    weft__spare_brisk(&thief, somebody(1), 10 * enough, now, took);
    assert_true(weft__spare_until(&thief.spare) == now + WEFT_US(100));
    took_nothing_light(&thief.spare, now);
    rt.is_virtual = true; /* there sleeping has no end by itself */
    weft__spare_brisk(&thief, somebody(1), enough, now, took);
    assert_null(thief.spare.spared);
}

static atomic_uint ran;
struct nothing {
    WEFT_FRAME;
};
static int nothing(struct nothing *f)
{
    (void)f;
    atomic_fetch_add(&ran, 1);
    return 0;
}
WEFT_CORO(nothing);

static uint64_t times(struct weft_runtime *rt)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < rt->worker_count; i++)
        sum += weft__load_relaxed(&rt->workers[i].spare.times); /* relaxed: a test */
    return sum;
}

enum { MANY = 256, FEW = 16 };

static void make(weft_task **t, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        t[i] = weft_create_task(nothing);
        TASK_CHECK(t[i] != NULL);
    }
}

static void await_all(weft_task **t, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        TASK_CHECK(weft_await_release(t[i]) == 0);
}

struct owner {
    WEFT_FRAME;
    weft_ns light;
    unsigned rounds;
};
static int owner(struct owner *f)
{
    struct weft_runtime *rt = weft_runtime_current();
    weft_task *t[MANY];
    weft__store_relaxed(&rt->light, f->light); /* relaxed: a test */
    for (unsigned round = 0; round < f->rounds; round++) {
        uint64_t before = times(rt);
        unsigned turns = 0;
        do { /* until the thief has been here, and has had enough */
            make(t, MANY);
            await_all(t, MANY);
        } while (f->light != 0 ? times(rt) == before : ++turns < 100);
        if (f->light == 0)
            continue;
        atomic_store(&ran, 0);
        make(t, FEW);
        while (atomic_load(&ran) < FEW) /* stuck: all of them are to run elsewhere */
            weft__cpu_relax();
        await_all(t, FEW);
    }
    if (f->light == 0)
        TASK_CHECK(times(rt) == 0);
    return 0;
}
WEFT_CORO(owner);

static void test_a_stuck_owner_loses_its_items(void **state)
{
    (void)state;
    for (unsigned workers = 2; workers <= 4; workers += 2) {
        weft_options *o = WEFT_OPTIONS(.workers = workers, .slow_task = WEFT_FOREVER);
        assert_int_equal(weft_run_with(o, owner, .light = WEFT_SEC(3600), .rounds = threads_scale(20)), 0);
        assert_tasks_ok();
    }
}

static void test_nothing_is_light(void **state)
{
    (void)state;
    weft_options *o = WEFT_OPTIONS(.workers = 2, .slow_task = WEFT_FOREVER);
    assert_int_equal(weft_run_with(o, owner, .light = 0, .rounds = 3), 0);
    assert_tasks_ok();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_light_loot_spares),       cmocka_unit_test(test_heavy_loot_does_not),
        cmocka_unit_test(test_a_brisk_owner_is_spared), cmocka_unit_test(test_a_stuck_owner_loses_its_items),
        cmocka_unit_test(test_nothing_is_light),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
