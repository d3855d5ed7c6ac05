/* SPDX-License-Identifier: Apache-2.0 */
/* tests/test_guard.c -- executor/guard.h: one holder at a time, and nobody sleeps for ever. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "executor/atomic.h"
#include "executor/guard.h"

#define THREADS 4
#define ROUNDS 20000

static uint32_t guard;
static unsigned long plain_count; /* under guard */
static unsigned inside;           /* under guard */
static bool two_inside;           /* under guard */
static bool with_yields;

static void *count_up(void *argument)
{
    for (int i = 0; i < ROUNDS; i++) {
        if (i % 3 != 0 || !weft__guard_try_lock(&guard))
            weft__guard_lock(&guard);
        two_inside |= ++inside != 1;
        plain_count++;
        if (with_yields && i % 64 == 0)
            sched_yield(); /* lose the CPU inside */
        inside--;
        weft__guard_unlock(&guard);
    }
    return argument;
}

static void test_one_at_a_time(void **state)
{
    (void)state;
    for (int pass = 0; pass < 2; pass++) {
        with_yields = pass == 1;
        plain_count = 0;
        pthread_t threads[THREADS];
        for (int i = 0; i < THREADS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, count_up, NULL), 0);
        for (int i = 0; i < THREADS; i++)
            assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(plain_count, THREADS * ROUNDS);
        assert_false(two_inside);
        assert_int_equal(guard, 0);
    }
}

static void test_try_lock(void **state)
{
    (void)state;
    uint32_t g = 0;
    assert_true(weft__guard_try_lock(&g));
    assert_false(weft__guard_try_lock(&g));
    weft__guard_unlock(&g);
    assert_int_equal(g, 0);
    weft__guard_lock(&g);
    assert_int_equal(g, 1);
    weft__guard_unlock(&g);
}

static _Atomic(int) taken, tids[THREADS], started;

static void *take_and_leave(void *argument)
{
    int index = weft__fetch_add_relaxed(&started, 1);            /* relaxed: a number for each */
    weft__store_relaxed(&tids[index], (int)syscall(SYS_gettid)); /* relaxed: stands alone */
    weft__guard_lock(argument);
    weft__fetch_add_relaxed(&taken, 1); /* relaxed: read after the join */
    weft__guard_unlock(argument);
    return NULL;
}

static bool sleeps(int tid)
{
    char path[64], text[256];
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return false;
    size_t n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[n] = '\0';
    const char *end = strrchr(text, ')');
    return end != NULL && end[1] == ' ' && end[2] == 'S';
}

/* It is held so long that all of them sleep; after one unlock they all get it, one after the other. */
static void test_sleepers_come_back(void **state)
{
    (void)state;
    static uint32_t g;
    weft__guard_lock(&g);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_leave, &g), 0);
    for (int i = 0; i < THREADS; i++) /* relaxed, both: the loop only waits */
        while (weft__load_relaxed(&tids[i]) == 0 || !sleeps(weft__load_relaxed(&tids[i])))
            sched_yield();
    assert_int_equal(weft__load_relaxed(&taken), 0); /* relaxed: nobody can have it yet */
    weft__guard_unlock(&g);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(weft__load_relaxed(&taken), THREADS); /* relaxed: the threads are gone */
    assert_int_equal(g, 0);
}

/* ---- the bits above HELD ---- */

enum { BIT = 2, COUNT = 4 };

static void test_bits_of_the_object(void **state)
{
    (void)state;
    uint32_t g = BIT;
    assert_false(weft__guard_try_lock(&g)); /* for words without bits only */
    assert_int_equal(weft__guard_look(&g), BIT);
    assert_int_equal(weft__guard_take(&g), BIT);
    assert_int_equal(g, BIT | WEFT__GUARD_HELD);
    assert_false(weft__guard_change(&g, BIT, 0)); /* held: refused */
    weft__guard_give(&g, COUNT);
    assert_int_equal(g, COUNT);
    assert_false(weft__guard_change(&g, 0, BIT));
    assert_true(weft__guard_change(&g, COUNT, BIT));
    assert_int_equal(weft__guard_look(&g), BIT);
}

/* Some count in the bits by change, others by take and give, others under the guard beside it: nothing is lost. */
static void *count_in_bits(void *argument)
{
    bool takes = argument != NULL;
    for (int i = 0; i < ROUNDS; i++) {
        if (takes || i % 64 == 0) {
            uint32_t bits = weft__guard_take(&guard);
            two_inside |= ++inside != 1;
            plain_count++;
            if (i % 64 == 0)
                sched_yield();
            inside--;
            weft__guard_give(&guard, bits + COUNT);
        } else {
            uint32_t bits;
            do
                bits = weft__guard_look(&guard);
            while (!weft__guard_change(&guard, bits, bits + COUNT));
        }
    }
    return NULL;
}

static void test_changes_and_takes(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    plain_count = 0;
    guard = 0;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_in_bits, i % 2 ? &guard : NULL), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(guard, THREADS * ROUNDS * COUNT);
    assert_int_equal(plain_count, THREADS / 2 * (ROUNDS + (ROUNDS + 63) / 64));
    assert_false(two_inside);
    guard = 0;
}

static _Atomic(int) looker;

static void *look(void *argument)
{
    weft__store_relaxed(&looker, (int)syscall(SYS_gettid)); /* relaxed: stands alone */
    uint32_t bits = weft__guard_look(argument);
    return (void *)(uintptr_t)(bits + plain_count);
}

/* A look at a held one is answered when it has been let go of, with what was written before that. */
static void test_look_waits(void **state)
{
    (void)state;
    static uint32_t g;
    assert_int_equal(weft__guard_take(&g), 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, look, &g), 0);
    while (weft__load_relaxed(&looker) == 0 || !sleeps(weft__load_relaxed(&looker))) /* relaxed: only waits */
        sched_yield();
    plain_count = 1000;
    weft__guard_give(&g, BIT);
    void *seen = NULL;
    assert_int_equal(pthread_join(thread, &seen), 0);
    assert_int_equal((uintptr_t)seen, BIT + 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_try_lock),           cmocka_unit_test(test_one_at_a_time),
        cmocka_unit_test(test_sleepers_come_back), cmocka_unit_test(test_bits_of_the_object),
        cmocka_unit_test(test_changes_and_takes),  cmocka_unit_test(test_look_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
