/* SPDX-License-Identifier: Apache-2.0 */
/* model_deque.c -- executor/deque.c: an owner and one or two thieves. Each item is taken once, by one who sees what its pusher wrote. */
#include "executor/deque.h"
#include "items.h"

static struct weft__deque d;

static void setup(void)
{
    items_reset();
    CHECK(weft__deque_init(&d, 2, -1) == 0);
}

static void take(uintptr_t word)
{
    if (word != 0)
        item_taken(word);
}

static void thief(void)
{
    for (int i = 0; i < 2; i++) {
        uintptr_t word;
        if (weft__deque_steal(&d, &word) == WEFT__STEAL_GOT)
            item_taken(word);
    }
}
static void thief_of_one(void)
{
    uintptr_t word;
    if (weft__deque_steal(&d, &word) == WEFT__STEAL_GOT)
        item_taken(word);
}

/* What is left is the owner's. */
static void finish(void)
{
    uintptr_t word;
    while ((word = weft__deque_pop_newest(&d)) != 0)
        item_taken(word);
    CHECK(weft__deque_size(&d) == 0);
    items_all_taken(3);
    weft__deque_destroy(&d);
}
static void finish_two(void)
{
    CHECK(weft__deque_pop_oldest(&d) == 0);
    items_all_taken(2);
    weft__deque_destroy(&d);
}

/* The third push finds the ring full, or wraps round it where a thief has just read. */
static void owner_grows(void)
{
    for (unsigned i = 0; i < 3; i++)
        CHECK(weft__deque_push(&d, item_made(i)));
    take(weft__deque_pop_newest(&d));
    take(weft__deque_pop_newest(&d));
}

/* The last item, again and again. */
static void owner_alone(void)
{
    CHECK(weft__deque_push(&d, item_made(0)));
    take(weft__deque_pop_newest(&d));
    CHECK(weft__deque_push(&d, item_made(1)));
    CHECK(weft__deque_push(&d, item_made(2)));
    take(weft__deque_pop_newest(&d));
    take(weft__deque_pop_newest(&d));
}

static void owner_oldest(void)
{
    CHECK(weft__deque_push(&d, item_made(0)));
    CHECK(weft__deque_push(&d, item_made(1)));
    take(weft__deque_pop_oldest(&d));
    CHECK(weft__deque_push(&d, item_made(2)));
    take(weft__deque_pop_oldest(&d));
    take(weft__deque_pop_newest(&d));
}

static void owner_if(void)
{
    uintptr_t first = item_made(0), second = item_made(1);
    CHECK(weft__deque_push(&d, first));
    CHECK(weft__deque_push(&d, second));
    CHECK(!weft__deque_pop_newest_if(&d, first));
    if (weft__deque_pop_newest_if(&d, second))
        item_taken(second);
    if (weft__deque_pop_newest_if(&d, first))
        item_taken(first);
}

int main(int argc, char **argv)
{
    static const struct explore_model models[] = {
        {.name = "deque-grow",
         .setup = setup,
         .thread = {owner_grows, thief},
         .finish = finish,
         .preemptions = 3,
         .stale = 2},
        {.name = "deque-last",
         .setup = setup,
         .thread = {owner_alone, thief},
         .finish = finish,
         .preemptions = 3,
         .stale = 2},
        {.name = "deque-oldest",
         .setup = setup,
         .thread = {owner_oldest, thief},
         .finish = finish,
         .preemptions = 3,
         .stale = 2},
        {.name = "deque-two-thieves",
         .setup = setup,
         .thread = {owner_grows, thief_of_one, thief_of_one},
         .finish = finish,
         .preemptions = 2,
         .stale = 1},
        {.name = "deque-if",
         .setup = setup,
         .thread = {owner_if, thief},
         .finish = finish_two,
         .preemptions = 3,
         .stale = 2},
    };
    return explore_main(argc, argv, models, sizeof models / sizeof models[0]);
}
