/* SPDX-License-Identifier: Apache-2.0 */
/* executor/steal.c -- taking work from others: near first, oldest first, and not too much at once.
 *
 * How much is taken decides how two workers do on small work, more than the kind of deque: a thief that takes whatever it sees makes a
 * worker that creates and awaits one task at a time many times slower, because every item then crosses between caches. So:
 * - near victims first, in tiers (topology.c), within a tier in an order drawn anew each time. From another node only when near ones have nothing:
 *   while one of them has work that lies closed, and so is asked for, NEAR_PASSES passes go no farther;
 * - of a ready queue half of all that lies there, as far as it is open, the more the farther away it is, at most MOST; of forked children the
 *   oldest; what is closed is asked for, and its owner opens the older part of it, but never its newest item (ready.c, joins.c);
 * - not from an owner whose last items were done in less time than their way took (spare.c);
 * - an inbox is claimed as a whole, since its owner may be stuck;
 * - what an owner that does not answer keeps closed is taken without leave: when, is decided in search.c.
 *
 * Threads: the thief's own worker, in its idle loop. */
#include <errno.h>

#include "executor/runtime.h"

#define MOST 128      /* items taken at once */
#define NEAR_PASSES 8 /* about so many microseconds has a near owner to answer before it is asked far away */

static const uint8_t most_at[WEFT_DISTANCES] = {32, 32, 32, 64, MOST};

/* What was taken goes to the own queue, all but the first. */
static uintptr_t keep_first(struct weft__worker *w, const uintptr_t *items, unsigned n)
{
    for (unsigned i = 1; i < n; i++) {
        int64_t place;
        if (!weft__ready_push(&w->ready, items[i], &place))
            weft__inbox_push(&w->inbox, weft__link_of_item(items[i]));
    }
    return n != 0 ? items[0] : 0;
}

/* Up to `wanted` of the oldest items. */
static unsigned take(struct weft__deque *from, uintptr_t *items, int64_t wanted)
{
    unsigned n = 0, lost = 0;
    while (n < wanted && lost < 4) {
        enum weft__steal how = weft__deque_steal(from, &items[n]);
        if (how == WEFT__STEAL_EMPTY)
            break;
        if (how == WEFT__STEAL_GOT) {
            n++;
        } else {
            lost++;
            weft__cpu_relax();
        }
    }
    return n;
}

/* *asked: it has work that lies closed, and has been asked for it. */
static uintptr_t steal_from(struct weft__worker *w, struct weft__worker *victim, int64_t most, unsigned *taken,
                            bool *asked)
{
    uintptr_t items[MOST];
    bool spared = victim == w->spare.spared;
    int64_t open = spared ? 0 : weft__deque_size(&victim->ready.shared);
    *taken = 0;
    if (open != 0) {
        int64_t wanted =
            (open + weft__ready_closed(&victim->ready) + 1) / 2; /* mostly all: its owner has opened a half */
        if (wanted > open)
            wanted = open;
        *taken = take(&victim->ready.shared, items, wanted < most ? wanted : most);
        if (*taken != 0) {
            w->stole_child = false;
            weft__spare_took(w, victim, items, *taken);
            return keep_first(w, items, *taken);
        }
    }
    int64_t closed = weft__ready_closed(&victim->ready),
            least = weft__load_relaxed(&victim->ready.least); /* relaxed: a hint */
    if (!spared && (closed > least || least == 0)) { /* who shares single items is asked for the next one, too */
        weft__ready_ask(&victim->ready);
        *asked |= closed > least;
    }
    /* The oldest child is the largest piece: one is enough for a start. */
    for (unsigned lost = 0; lost < 4 && weft__joins_open(&victim->joins) != 0; lost++) {
        if (weft__joins_steal(&victim->joins, &items[0]) == WEFT__STEAL_GOT) {
            w->stole_child = true;
            *taken = 1;
            return items[0];
        }
        weft__cpu_relax();
    }
    if (weft__joins_size(&victim->joins) >= 2) {
        weft__joins_ask(&victim->joins, 1);
        *asked = true;
    }
    struct weft__link *link = weft__inbox_claim(&victim->inbox);
    uintptr_t first = 0;
    while (link != NULL) {
        struct weft__link *next = link->next;
        int64_t place;
        if (first == 0)
            first = weft__item_of_link(link);
        else if (!weft__ready_push(&w->ready, weft__item_of_link(link), &place))
            weft__inbox_push(&w->inbox, link);
        (*taken)++;
        link = next;
    }
    return first;
}

/* One item came from `victim`, more may lie in the own queue: something that can be run, or 0. */
static uintptr_t usable(struct weft__worker *w, uintptr_t item)
{
    return weft__item_claim(item) ? item : weft__worker_pick(w);
}

/* Each of n once, in an order drawn anew each time: at, at + step, ... modulo n. */
struct order {
    unsigned n, at, step;
};

static unsigned common_divisor(unsigned a, unsigned b)
{
    while (b != 0) {
        unsigned rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static struct order draw_order(struct weft__worker *w, unsigned n)
{
    uint64_t drawn = weft__random(&w->random) >> 8;
    struct order o = {.n = n, .at = (unsigned)(drawn % n), .step = 1};
    if (n > 2) {
        o.step = 1 + (unsigned)((drawn >> 24) % (n - 1));
        while (common_divisor(n, o.step) != 1)
            o.step--; /* 1 has none */
    }
    return o;
}

static unsigned next_of(struct order *o)
{
    unsigned at = o->at;
    o->at = (at + o->step) % o->n;
    return at;
}

uintptr_t weft__worker_steal(struct weft__worker *w)
{
    struct weft_runtime *rt = w->rt;
    const struct weft__plan_worker *plan = &rt->plan->worker[w->index];
    unsigned others = rt->worker_count - 1;
    if (weft__unlikely(w->spare.loot != 0 || w->spare.spared != NULL))
        weft__spare_look(w);
    bool anywhere = rt->options.stealing == WEFT_STEAL_RANDOM, asked = false;
    for (unsigned first = 0, end; first < others; first = end) {
        if (first == plan->near && asked && !anywhere && w->near_first < NEAR_PASSES) {
            w->near_first++;
            return 0;
        }
        for (end = first + 1; end < others && (anywhere || plan->tier[end] == plan->tier[first]);)
            end++;
        struct order order = draw_order(w, end - first);
        for (unsigned i = first; i < end; i++) {
            unsigned at = first + next_of(&order), taken;
            unsigned far = plan->distance[at];
            uintptr_t item = steal_from(w, &rt->workers[plan->victims[at]], most_at[far], &taken, &asked);
            if (item == 0) {
                weft__count(&w->counters.misses[far], 1);
                continue;
            }
            weft__count(&w->counters.steals[far], 1);
            weft__count(&w->counters.stolen[far], taken);
            w->stole = true;
            w->near_first = 0;
            item = usable(w, item);
            if (item != 0)
                return item;
        }
    }
    w->near_first = 0;
    return 0;
}

uintptr_t weft__worker_raid(struct weft__worker *w, struct weft__worker *victim, unsigned far, bool ready, bool joins)
{
    uintptr_t items[MOST];
    unsigned n = ready ? weft__ready_raid(&victim->ready, items, most_at[far]) : 0;
    if (n == 0 && joins && weft__joins_raid(&victim->joins) &&
        weft__joins_steal(&victim->joins, &items[0]) == WEFT__STEAL_GOT) {
        w->stole_child = true;
        n = 1;
    }
    if (n == 0)
        return 0;
    weft__count(&w->counters.raids[far], 1);
    weft__count(&w->counters.stolen[far], n);
    w->stole = true;
    return usable(w, keep_first(w, items, n));
}
