/* SPDX-License-Identifier: Apache-2.0 */
/* model_guard.c -- executor/guard.h: mutual exclusion, and bits beside it that change under the guard or by one compare-and-swap. */
#include "executor/guard.h"
#include "explore.h"

enum { SET = 2 };
static uint32_t guard;
static unsigned counter, changes;

static void setup(void)
{
    guard = 0;
    counter = changes = 0;
}

static void adds(void)
{
    weft__guard_lock(&guard);
    counter++;
    weft__guard_unlock(&guard);
}
static void adds_twice(void)
{
    adds();
    adds();
}
static void tries(void)
{
    if (weft__guard_try_lock(&guard)) {
        counter++;
        weft__guard_unlock(&guard);
    } else {
        adds();
    }
}
static void finish(void)
{
    CHECK(counter == 4 && guard == 0);
}

/* The bit says that the counter is set: whoever finds it may read that without the guard. */
static void sets(void)
{
    uint32_t bits = weft__guard_take(&guard);
    counter = 7;
    changes++;
    weft__guard_give(&guard, bits | SET);
}
static void looks(void)
{
    if (weft__guard_look(&guard) & SET)
        CHECK(counter == 7);
}
static void clears(void)
{
    if (weft__guard_change(&guard, SET, WEFT__GUARD_HELD)) {
        counter = 7;
        changes++;
        weft__guard_give(&guard, SET);
    } else {
        uint32_t bits = weft__guard_take(&guard);
        changes++;
        weft__guard_give(&guard, bits);
    }
}
static void finish_bits(void)
{
    CHECK(changes == 2 && guard == SET);
}
static void finish_looks(void)
{
    CHECK(changes == 1 && guard == SET);
}

int main(int argc, char **argv)
{
    static const struct explore_model models[] = {
        {.name = "guard",
         .setup = setup,
         .thread = {adds_twice, adds, tries},
         .finish = finish,
         .preemptions = 3,
         .stale = 1},
        {.name = "guard-bits",
         .setup = setup,
         .thread = {sets, clears},
         .finish = finish_bits,
         .preemptions = 4,
         .stale = 2},
        {.name = "guard-look",
         .setup = setup,
         .thread = {sets, looks, looks},
         .finish = finish_looks,
         .preemptions = 3,
         .stale = 2},
    };
    return explore_main(argc, argv, models, sizeof models / sizeof models[0]);
}
