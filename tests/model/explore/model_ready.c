/* SPDX-License-Identifier: Apache-2.0 */
/* model_ready.c -- executor/ready.c: the ring under its biased lock (owner against raids, with membarrier and without), and its open part. Each item is taken
 * once, in the order it was pushed where one thread takes; nobody uses the ring beside another. */
#include "executor/ready.h"
#include "items.h"

static struct weft__ready r;
static int64_t places[ITEMS];

static void setup(void)
{
    items_reset();
    CHECK(weft__ready_init(&r, 2, -1) == 0);
}

static void push(unsigned i)
{
    CHECK(weft__ready_push(&r, item_made(i), &places[i]));
}
static void pop(void)
{
    uintptr_t word = weft__ready_pop(&r);
    if (word != 0)
        item_taken(word);
}
static void share(void)
{
    if (weft__ready_asked(&r)) {
        weft__ready_satisfied(&r);
        weft__ready_share(&r);
    }
}

static void owner(void)
{
    push(0);
    push(1);
    push(2); /* the ring grows, unless a thief was quicker */
    pop();
    pop();
}
static void owner_shares(void)
{
    push(0);
    push(1);
    share();
    push(2);
    share();
    pop();
}
static void owner_removes(void)
{
    push(0);
    push(1);
    if (weft__ready_remove_newest(&r, (uintptr_t)&items[1] | 1))
        item_taken((uintptr_t)&items[1] | 1);
    push(2);
    if (weft__ready_remove(&r, (uintptr_t)&items[0] | 1, places[0]))
        item_taken((uintptr_t)&items[0] | 1);
    pop();
}
/* A fiber that yields: in and out under one entering (fiber.c). */
static void owner_exchanges(void)
{
    push(0);
    uintptr_t mine = item_made(1);
    weft__ready_enter(&r);
    uintptr_t oldest = weft__ready_exchange(&r, mine);
    weft__ready_leave(&r);
    if (oldest != 0)
        item_taken(oldest);
    else
        item_taken(mine);
    push(2);
    pop();
}

static void raider(void)
{
    uintptr_t got[2];
    unsigned n = weft__ready_raid(&r, got, 2);
    for (unsigned i = 0, last = 0; i < n; i++) {
        unsigned at = item_taken(got[i]);
        CHECK(i == 0 || at > last);
        last = at;
    }
}
static void raider_twice(void)
{
    raider();
    raider();
}
static void thief(void)
{
    weft__ready_ask(&r);
    uintptr_t word;
    for (int i = 0; i < 2; i++)
        if (weft__deque_steal(&r.shared, &word) == WEFT__STEAL_GOT)
            item_taken(word);
}

static void finish(void)
{
    uintptr_t word;
    unsigned last = 0;
    for (bool first = true; (word = weft__ready_pop(&r)) != 0; first = false) {
        unsigned at = item_taken(word);
        CHECK(first || at > last);
        last = at;
    }
    items_all_taken(3);
    CHECK(weft__ready_size(&r) == 0 && weft__load_relaxed(&r.raided) == 0 && weft__load_relaxed(&r.inside) == 0);
    CHECK(weft__load_relaxed(&r.head) == 0 && weft__load_relaxed(&r.tail) == 0);
    weft__ready_destroy(&r);
}

int main(int argc, char **argv)
{
    static const struct explore_model models[] = {
        {.name = "ready-raid",
         .setup = setup,
         .thread = {owner, raider_twice},
         .finish = finish,
         .preemptions = 3,
         .stale = 2},
        {.name = "ready-raid-fenced",
         .setup = setup,
         .thread = {owner, raider_twice},
         .finish = finish,
         .preemptions = 3,
         .stale = 2,
         .no_membarrier = true},
        {.name = "ready-raiders",
         .setup = setup,
         .thread = {owner, raider, raider},
         .finish = finish,
         .preemptions = 2,
         .stale = 1},
        {.name = "ready-share",
         .setup = setup,
         .thread = {owner_shares, thief},
         .finish = finish,
         .preemptions = 3,
         .stale = 2},
        {.name = "ready-share-raid",
         .setup = setup,
         .thread = {owner_shares, thief, raider},
         .finish = finish,
         .preemptions = 2,
         .stale = 1},
        {.name = "ready-remove",
         .setup = setup,
         .thread = {owner_removes, raider},
         .finish = finish,
         .preemptions = 3,
         .stale = 2},
        {.name = "ready-exchange",
         .setup = setup,
         .thread = {owner_exchanges, raider},
         .finish = finish,
         .preemptions = 3,
         .stale = 2},
    };
    return explore_main(argc, argv, models, sizeof models / sizeof models[0]);
}
