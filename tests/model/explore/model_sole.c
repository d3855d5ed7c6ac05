/* SPDX-License-Identifier: Apache-2.0 */
/* model_sole.c -- executor/sole.c with guards: thread 1 is the sole worker, the others are strangers. One holder at a time, and what it wrote is seen; bits that
 * change by one compare-and-swap; what strangers leave behind, and the tick takes away; a sole worker that comes while a stranger is at work. */
#include "executor/guard.h"
#include "explore.h"

#define MACHINE __attribute__((no_sanitize("thread"))) /* not a part of what is explored */

enum { SET = 2, TAKEN = 4 };
static struct weft__nowhere here[EXPLORE_THREADS];
static uint32_t guard;
static unsigned counter;
static bool began; /* the worker's thread */
static struct explore_sync begins;

MACHINE struct weft_here_ *weft_here_(void)
{
    return &here[explore_self()].here;
}

static void set_up(uint32_t keep, uint32_t present)
{
    for (unsigned i = 0; i < EXPLORE_THREADS; i++)
        here[i].sole = i == 1 ? WEFT__IS_SOLE : WEFT__IS_FOREIGN;
    weft__store_relaxed(&weft__sole.strangers.count, 0);
    weft__store_relaxed(&weft__sole.strangers.kept, 0);
    weft__store_relaxed(&weft__sole.present, present);
    weft__store_relaxed(&weft__sole.runtimes, present);
    weft__store_relaxed(&weft__sole.strangers.barriers, 0);
    weft__store_relaxed(&weft__sole.owner.inside, 0);
    weft__sole.strangers.keep = keep;
    weft__sole.strangers.few = 0;
    guard = 0;
    counter = 0;
    began = false;
    begins = (struct explore_sync){{0}};
}
static void setup(void)
{
    set_up(0, 1);
}
static void setup_kept(void)
{
    set_up(1, 1);
}
static void setup_none(void)
{
    set_up(0, 0);
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
static void ticks(void)
{
    weft__sole_tick();
}
static void at_rest(void)
{
    CHECK(guard == 0 && weft__load_relaxed(&weft__sole.owner.inside) == 0);
    CHECK(weft__load_relaxed(&weft__sole.strangers.count) == (weft__load_relaxed(&weft__sole.strangers.kept) != 0));
}
static void finish_four(void)
{
    CHECK(counter == 4);
    at_rest();
}
static void finish_three(void)
{
    CHECK(counter == 3);
    at_rest();
}

/* As a lock does it: taken by one change, given back by one; a bit of its own beside it is not lost. */
static void takes(void)
{
    while (!weft__guard_change(&guard, 0, TAKEN) && !weft__guard_change(&guard, SET, SET | TAKEN))
        weft__cpu_relax();
    counter++;
    while (!weft__guard_change(&guard, TAKEN, 0) && !weft__guard_change(&guard, TAKEN | SET, SET))
        weft__cpu_relax();
}
static void sets(void)
{
    uint32_t bits = weft__guard_take(&guard);
    weft__guard_give(&guard, bits | SET);
}
static void finish_bits(void)
{
    CHECK(counter == 2 && guard == SET);
}

/* The sole worker's runtime starts (thread 2) while a stranger (thread 3) is at work. Another runtime comes and goes (thread 2). */
MACHINE static bool has_begun(void *unused)
{
    (void)unused;
    return began;
}
MACHINE static void begin(void)
{
    explore_leave(&begins);
    began = true;
}
static void works(void)
{
    explore_block(has_begun, NULL);
    explore_arrive(&begins);
    adds();
}
static void starts(void)
{
    CHECK(weft__sole_comes(1));
    begin();
    weft__sole_settled();
}
static void comes_and_goes(void)
{
    CHECK(!weft__sole_comes(1));
    here[2].sole = WEFT__OF_SEVERAL;
    adds();
    weft__sole_goes(false);
}
static void finish_settled(void)
{
    CHECK(counter == 2 && weft__load_relaxed(&weft__sole.present) == 1);
    at_rest();
}
static void finish_both(void)
{
    CHECK(counter == 3 && weft__load_relaxed(&weft__sole.runtimes) == 1);
    at_rest();
}

int main(int argc, char **argv)
{
    static const struct explore_model models[] = {
        {.name = "sole-guard",
         .setup = setup,
         .thread = {adds_twice, adds, tries},
         .finish = finish_four,
         .preemptions = 2,
         .stale = 1},
        {.name = "sole-guard-two",
         .setup = setup,
         .thread = {adds_twice, adds},
         .finish = finish_three,
         .preemptions = 4,
         .stale = 2},
        {.name = "sole-guard-again",
         .setup = setup,
         .thread = {adds_twice, adds_twice},
         .finish = finish_four,
         .preemptions = 4,
         .stale = 1},
        {.name = "sole-kept",
         .setup = setup_kept,
         .thread = {adds_twice, adds, ticks},
         .finish = finish_three,
         .preemptions = 3,
         .stale = 1},
        {.name = "sole-kept-strangers",
         .setup = setup_kept,
         .thread = {adds, adds, adds, ticks},
         .finish = finish_three,
         .preemptions = 2,
         .stale = 1},
        {.name = "sole-bits",
         .setup = setup,
         .thread = {takes, takes, sets},
         .finish = finish_bits,
         .preemptions = 2,
         .stale = 1},
        {.name = "sole-settles",
         .setup = setup_none,
         .thread = {works, starts, adds},
         .finish = finish_settled,
         .preemptions = 3,
         .stale = 1},
        {.name = "sole-beside",
         .setup = setup,
         .thread = {adds, comes_and_goes, adds},
         .finish = finish_both,
         .preemptions = 3,
         .stale = 1},
    };
    return explore_main(argc, argv, models, sizeof models / sizeof models[0]);
}
