/* SPDX-License-Identifier: Apache-2.0 */
/* items.h -- work for models of queues: items with a content that the pusher writes plainly and the taker reads, each to be taken once. */
#ifndef WEFT_TESTS_EXPLORE_ITEMS_H
#define WEFT_TESTS_EXPLORE_ITEMS_H

#include <string.h>

#include "executor/inbox.h"
#include "explore.h"

enum { ITEMS = 8 };

struct item {
    struct weft__link link;
    uintptr_t content;
    unsigned taken;
};
static struct item items[ITEMS];

static inline uintptr_t item_made(unsigned i)
{
    items[i].content = 1000 + i;
    return (uintptr_t)&items[i] | 1;
}
/* Whoever got it: its content is there, and nobody else has it (that would be a race, too). */
static inline unsigned item_taken(uintptr_t word)
{
    struct item *t = (struct item *)(word & ~(uintptr_t)1);
    unsigned i = (unsigned)(t - items);
    CHECK(i < ITEMS);
    CHECK(t->content == 1000 + i);
    CHECK(t->taken == 0);
    t->taken++;
    return i;
}
static inline void items_reset(void)
{
    memset(items, 0, sizeof items);
}
static inline void items_all_taken(unsigned n)
{
    for (unsigned i = 0; i < ITEMS; i++)
        CHECK(items[i].taken == (i < n));
}

#endif
