/* SPDX-License-Identifier: Apache-2.0 */
/* executor/spare.c -- whom a thief leaves alone for a while.
 *
 * What is stolen goes from core to core and back, some lines for each task: 100 ns and more, and its owner waits for it where it would have run it
 * as a call. Tasks that do nothing are done sooner by their owner. Nobody knows beforehand how long a task will take; so a thief looks at what became
 * of its last loot. If the tasks have all ended by the time it runs dry, in less than LIGHT each, it does not ask for more from that owner's ready
 * queue, nor take what lies open there, for PAUSE, and twice as long each time that the next loot is light again.
 *
 * | spares | runs dry, and its last loot (LEAST items or more) was | then                                                     |
 * | nobody | light: all ended, in less than LIGHT each             | spares its owner for PAUSE * 2^light; light + 1, to MOST |
 * | nobody | - ; it looked on for work that lies closed (search.c), in vain, and the owner made more than a step each LIGHT | as light |
 * | nobody | heavy: took longer, or some have not ended (they wait for something: that was a task's share that the thief has now) | light = 0 |
 * | an owner | -                                                   | the time is over, or it was woken: nobody                |
 *
 * What its owner has run itself before the thief came to begin it (taken.c) has ended, as far as that goes. Who looks on takes lines from a brisk owner, and has
 * him open items each time, most of which he takes back: that costs him up to the half of his time, for nothing.
 *
 * What has waited already counts for nothing, on either side: it is the rest of a task. Forked children and inboxes of the spared one are for the thief as ever: of a tree of children it takes the largest pieces. A tree of tasks has heavy
 * and light ones, and the first heavy one ends it. What was light long ago (FORGOTTEN) counts for nothing.
 *
 * Who goes to sleep meanwhile does not ask the spared one, and does not stay awake for its queue: so that one wakes nobody for it. The sleeper
 * comes back by itself when the time is over, at most 3.2 ms later; where the owner has got stuck meanwhile, the tick may be sooner. Not with
 * the virtual clock, where sleeping has no end by itself.
 *
 * Threads: the thief's own worker, in its idle loop; judge: who owns the struct. */
#include "executor/spare.h"

#include "executor/runtime.h"

#define LEAST 4 /* else the clock would cost more than it tells */
#define PAUSE WEFT_US(50)
#define MOST 7                /* in a row: 3.2 ms */
#define FORGOTTEN WEFT_MS(10) /* after the time was over */

void weft__spare_took(struct weft__worker *w, const struct weft__worker *victim, const uintptr_t *items, unsigned n)
{
    struct weft__spare *s = &w->spare;
    if (n < LEAST || w->rt->is_virtual || ((items[0] | items[n - 1]) & WEFT__ITEM_WAITED))
        return;
    s->loot = n;
    s->from = victim;
    s->finished = weft__load_relaxed(&w->counters.finished); /* relaxed: own */
    s->at = weft__monotonic();
}

static void spare(struct weft__spare *s, const struct weft__worker *owner, weft_ns now)
{
    if (now > s->until + FORGOTTEN)
        s->light = 0;
    s->light += s->light < MOST;
    s->spared = owner;
    s->until = now + (PAUSE << (s->light - 1));
    weft__count(&s->times, 1);
}

void weft__spare_judge(struct weft__spare *s, weft_ns now, weft_ns light, uint64_t finished)
{
    if (s->spared != NULL && now >= s->until)
        s->spared = NULL;
    if (s->loot == 0)
        return;
    bool was_light = finished - s->finished >= s->loot && now - s->at < light * (weft_ns)s->loot;
    s->loot = 0;
    if (was_light)
        spare(s, s->from, now);
    else
        s->light = 0;
}

void weft__spare_look(struct weft__worker *w)
{
    weft__spare_judge(&w->spare, weft__monotonic(), weft__load_relaxed(&w->rt->light), /* relaxed: stands for itself */
                      weft__load_relaxed(&w->counters.finished));                      /* relaxed: own */
}

void weft__spare_brisk(struct weft__worker *w, const struct weft__worker *owner, uint64_t steps, weft_ns now,
                       weft_ns took)
{
    if (!w->rt->is_virtual &&
        steps * (uint64_t)weft__load_relaxed(&w->rt->light) >= (uint64_t)took) /* relaxed: stands for itself */
        spare(&w->spare, owner, now);
}
