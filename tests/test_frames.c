/* SPDX-License-Identifier: Apache-2.0 */
/* tests/test_frames.c -- frames of every size, in descriptors of all sizes and on the heap: what is in them stays, whichever way a task goes
 * through its life and whoever gives it back, and no two of the larger ones reach into one cache line. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <weft.h>

#include <cmocka.h>

#include "executor/runtime.h"
#include "support/check.h"

#define STEP 8
#define LARGEST 512
#define SIZES (LARGEST / STEP - 1)
#define WORDS(size) ((size) / 8)

struct any {
    WEFT_FRAME;
    uint64_t word[LARGEST / 8 - 1]; /* as many as its size says; the first: how to go on */
};
enum { AT_ONCE, AFTER_A_YIELD, ASLEEP };

static int any(void *frame)
{
    struct any *f = frame;
    size_t words = WORDS(f->frame_.coro->size) - 1;
    int rc = f->word[0] % 4 == AFTER_A_YIELD ? weft_yield() : f->word[0] % 4 == ASLEEP ? weft_sleep(WEFT_SEC(1000)) : 0;
    for (size_t i = 1; i < words; i++)
        TASK_CHECK(f->word[i] == f->word[0] * (i + 1));
    f->word[words - 1]++;
    return rc;
}
static weft_coro kinds[SIZES];

static void make_kinds(void)
{
    for (size_t i = 0; i < SIZES; i++)
        kinds[i] = (weft_coro){any, (i + 2) * STEP, "any", NULL};
}

static weft_task *create(size_t kind, uint64_t seed, int way)
{
    struct any f = {.frame_ = {&kinds[kind]}};
    f.word[0] = seed * 4 + (unsigned)way;
    for (size_t i = 1; i < WORDS(kinds[kind].size) - 1; i++)
        f.word[i] = f.word[0] * (i + 1);
    return weft_create_task_(NULL, &f.frame_);
}

static void check_result(weft_task *t, size_t kind, uint64_t seed, int way)
{
    const struct any *f = weft_result_(t, &kinds[kind]);
    size_t words = WORDS(kinds[kind].size) - 1;
    uint64_t first = seed * 4 + (unsigned)way;
    for (size_t i = 0; i < words; i++)
        TASK_CHECK(f->word[i] == first * (i + 1) + (i == words - 1));
}

struct returns {
    WEFT_FRAME;
    weft_task *t;
};
/* In a helper thread: no worker's cache is at hand. */
static int returns(struct returns *f)
{
    weft_release(f->t);
    return 0;
}
WEFT_CORO(returns);

static int count_one(void *user, weft_task *t)
{
    *(size_t *)user += t->frame->coro->entry == any;
    return 0;
}

#define LEFT 3
static weft_task *kept[SIZES];
struct lives {
    WEFT_FRAME;
};
static int lives(struct lives *f)
{
    static weft_task *t[SIZES * LEFT];
    (void)f;
    for (uint64_t round = 0; round < 3; round++) {
        for (size_t k = 0; k < SIZES; k++) {
            for (int way = AT_ONCE; way <= AFTER_A_YIELD; way++) {
                weft_task *one = create(k, round + k, way);
                TASK_CHECK(weft_await(one) == 0);
                check_result(one, k, round + k, way);
                weft_release(one);
            }
        }
        for (size_t i = 0; i < SIZES * LEFT; i++)
            t[i] = create(i % SIZES, i, i < SIZES ? AT_ONCE : i < 2 * SIZES ? AFTER_A_YIELD : ASLEEP);
        size_t alive = 0;
        TASK_CHECK(weft_all_tasks(count_one, &alive) == 0 && alive >= SIZES);
        for (size_t i = 0; i < 2 * SIZES; i++) {
            TASK_CHECK(weft_await(t[i]) == 0);
            check_result(t[i], i % SIZES, i, i < SIZES ? AT_ONCE : AFTER_A_YIELD);
        }
        for (size_t i = 2 * SIZES; i < 3 * SIZES; i++) /* some have not begun */
            TASK_CHECK(weft_cancel(t[i]) && weft_await(t[i]) == -ECANCELED);
        for (size_t i = 0; i < SIZES * LEFT; i++) {
            if (round == 2 && i < SIZES)
                kept[i] = t[i];
            else if (i % 7 == 0)
                TASK_CHECK(weft_await_release(weft_to_thread(returns, .t = t[i])) == 0);
            else
                weft_release(t[i]);
        }
        for (size_t k = 0; k < SIZES; k++)
            weft_release(create(k, k, AT_ONCE)); /* ends, or is dropped, with nobody's handle */
    }
    return 0;
}
WEFT_CORO(lives);

static void test_every_size_through_its_life(void **state)
{
    (void)state;
    static const unsigned workers[] = {1, 2, 3};
    for (size_t w = 0; w < sizeof workers / sizeof *workers; w++) {
        assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = workers[w], .clock = WEFT_CLOCK_VIRTUAL), lives), 0);
        for (size_t k = 0; k < SIZES; k++) { /* the runtime is gone, but for these */
            check_result(kept[k], k, k, AT_ONCE);
            weft_release(kept[k]);
        }
    }
    assert_int_equal(atomic_load(&task_check_failures), 0);
}

struct lines {
    WEFT_FRAME;
};
static int lines(struct lines *f)
{
    enum { EACH = 100 };
    static weft_task *t[EACH];
    (void)f;
    for (size_t k = 0; k < SIZES; k++) {
        size_t size = kinds[k].size;
        for (size_t i = 0; i < EACH; i++)
            t[i] = create(k, i, AT_ONCE);
        for (size_t i = 0; i < EACH; i++) {
            uintptr_t frame = (uintptr_t)t[i]->frame;
            bool inside = frame == (uintptr_t)t[i]->inline_frame;
            TASK_CHECK((uintptr_t)t[i] % WEFT__FRAME_LINE == 0 && frame % 16 == 0);
            TASK_CHECK(inside == (t[i]->room != WEFT__ROOM_HEAP) && inside == (size <= (WEFT__ASAN ? 48 : 176)));
            TASK_CHECK(!inside || frame + size <= (uintptr_t)(t[i] + 1) + weft__task_size(t[i]) * WEFT__ROOM_STEP);
            TASK_CHECK(WEFT__ASAN || inside || frame % WEFT__FRAME_LINE == 0);
        }
        for (size_t i = 0; i < EACH; i++)
            TASK_CHECK(weft_await_release(t[i]) == 0);
    }
    return 0;
}
WEFT_CORO(lines);

static void test_lines_of_their_own(void **state)
{
    (void)state;
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 1), lines), 0);
    assert_int_equal(atomic_load(&task_check_failures), 0);
}

int main(void)
{
    make_kinds();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_size_through_its_life),
        cmocka_unit_test(test_lines_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
