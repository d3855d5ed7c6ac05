/* SPDX-License-Identifier: Apache-2.0 */
/* model_inbox.c -- executor/inbox.c: any number of pushers and claimers. Each item is claimed once, in its pusher's order; and who pushes and then looks for a
 * sleeper, against who announces its sleep and then looks into the inbox: one sees the other (INBOX-PARK). */
#include "items.h"

static struct weft__inbox box;
static _Atomic(uint32_t) sleeps;
static bool saw_sleeper, saw_item;

static void setup(void)
{
    items_reset();
    weft__inbox_init(&box);
    weft__store_relaxed(&sleeps, 0);
    saw_sleeper = saw_item = false;
}

static void push(unsigned i)
{
    (void)item_made(i);
    weft__inbox_push(&box, &items[i].link);
}

/* Pushed by one thread: claimed in that order. */
static void claim(void)
{
    unsigned last[2] = {0, 0};
    for (struct weft__link *link = weft__inbox_claim(&box), *next; link != NULL; link = next) {
        next = link->next;
        unsigned at = item_taken((uintptr_t)weft__container_of(link, struct item, link));
        unsigned pusher = at >= 2;
        CHECK(at >= last[pusher]);
        last[pusher] = at;
    }
}

static void pusher_single(void)
{
    push(0);
    push(1);
}
static void pusher_list(void)
{
    (void)item_made(2);
    (void)item_made(3);
    items[2].link.next = &items[3].link;
    weft__inbox_push_list(&box, &items[2].link, &items[3].link);
}
static void finish(void)
{
    claim();
    CHECK(weft__inbox_empty(&box));
    items_all_taken(4);
}

static void submits(void)
{
    push(0);
    saw_sleeper = weft__load_seq_cst(&sleeps) != 0;
}
static void parks(void)
{
    weft__fetch_add_seq_cst(&sleeps, 1);
    saw_item = !weft__inbox_empty(&box);
}
static void finish_one_sees(void)
{
    CHECK(saw_sleeper || saw_item);
}

int main(int argc, char **argv)
{
    static const struct explore_model models[] = {
        {.name = "inbox",
         .setup = setup,
         .thread = {pusher_single, pusher_list, claim},
         .finish = finish,
         .preemptions = 4,
         .stale = 2},
        {.name = "inbox-claimers",
         .setup = setup,
         .thread = {pusher_single, pusher_list, claim, claim},
         .finish = finish,
         .preemptions = 3,
         .stale = 1},
        {.name = "inbox-park",
         .setup = setup,
         .thread = {submits, parks},
         .finish = finish_one_sees,
         .preemptions = 4,
         .stale = 4},
    };
    return explore_main(argc, argv, models, sizeof models / sizeof models[0]);
}
