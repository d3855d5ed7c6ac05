/* SPDX-License-Identifier: Apache-2.0 */
/* executor/steal.c -- taking work from others: near first, oldest first, and not too eagerly.
 *
 * Pacing decides how two workers do on small work, more than the kind of deque: a thief that takes whatever it sees makes a
 * worker that creates and awaits one task at a time many times slower, because every item then crosses between caches. So:
 * - of two or more ready items half is taken, at most MOST;
 * - a single item is taken only when it is still the same one after LONE_AGE: its owner is then busy with something longer;
 * - an inbox is claimed as a whole, since its owner may be stuck.
 *
 * Threads: the thief's own worker, in its idle loop. */
#include <errno.h>

#include "executor/runtime.h"

#define MOST 32
#define LONE_AGE WEFT_US(1)

/* Take up to half of what the victim has; all but the last go to the own queue, the last is returned. */
static uintptr_t take_half(struct weft__worker *w, struct weft__deque *from, struct weft__deque *to, int64_t size,
                           unsigned *taken)
{
    int64_t wanted = size / 2 > 0 ? size / 2 : 1;
    if (wanted > MOST)
        wanted = MOST;
    uintptr_t last = 0;
    unsigned lost = 0;
    *taken = 0;
    while (*taken < wanted && lost < 4) {
        uintptr_t item;
        enum weft__steal how = weft__deque_steal(from, &item);
        if (how == WEFT__STEAL_EMPTY)
            break;
        if (how == WEFT__STEAL_LOST) {
            lost++;
            weft__cpu_relax();
            continue;
        }
        if (last != 0 && !weft__deque_push(to, last))
            weft__inbox_push(&w->inbox, weft__link_of_item(last));
        last = item;
        (*taken)++;
    }
    return last;
}

/* Is the victim's only item still the same after a moment? */
static bool aged(struct weft__deque *d)
{
    uint64_t pushes = weft__load_relaxed(&d->pushes); /* relaxed: a hint, the steal itself decides */
    weft_ns until = weft__monotonic() + LONE_AGE;
    do {
        for (int i = 0; i < 8; i++)
            weft__cpu_relax();
        if (weft__deque_size(d) != 1 || weft__load_relaxed(&d->pushes) != pushes) /* relaxed: a hint */
            return false;
    } while (weft__monotonic() < until);
    return true;
}

static uintptr_t steal_from(struct weft__worker *w, struct weft__worker *victim, unsigned *taken)
{
    *taken = 0;
    int64_t size = weft__deque_size(&victim->ready);
    if (size >= 2 || (size == 1 && aged(&victim->ready))) {
        uintptr_t item = take_half(w, &victim->ready, &w->ready, size, taken);
        if (item != 0)
            return item;
    }
    size = weft__deque_size(&victim->joins);
    if (size >= 2 || (size == 1 && aged(&victim->joins))) {
        /* Children go to the own ready queue: they are the oldest, so the largest pieces; one is enough for a start. */
        uintptr_t item = take_half(w, &victim->joins, &w->joins, 1, taken);
        if (item != 0)
            return item;
    }
    struct weft__link *link = weft__inbox_claim(&victim->inbox);
    uintptr_t first = 0;
    while (link != NULL) {
        struct weft__link *next = link->next;
        if (first == 0)
            first = weft__item_of_link(link);
        else if (!weft__deque_push(&w->ready, weft__item_of_link(link)))
            weft__inbox_push(&w->inbox, link);
        (*taken)++;
        link = next;
    }
    return first;
}

uintptr_t weft__worker_steal(struct weft__worker *w)
{
    struct weft_runtime *rt = w->rt;
    unsigned others = rt->worker_count - 1;
    const struct weft__plan_worker *plan = &rt->plan->worker[w->index];
    for (unsigned first = 0; first < others;) {
        /* One tier: the victims at the same distance, from a random one on. */
        unsigned end = first + 1;
        while (end < others && plan->distance[end] == plan->distance[first])
            end++;
        unsigned n = end - first, start = (unsigned)(weft__random(&w->random) % n);
        for (unsigned i = 0; i < n; i++) {
            unsigned at = first + (start + i) % n, taken;
            uintptr_t item = steal_from(w, &rt->workers[plan->victims[at]], &taken);
            if (item == 0) {
                weft__count(&w->counters.misses, 1);
                continue;
            }
            weft__count(&w->counters.steals[plan->distance[at]], 1);
            weft__count(&w->counters.stolen, taken);
            if (weft__item_claim(item))
                return item;
            item = weft__worker_pick(w);
            if (item != 0)
                return item;
        }
        first = end;
    }
    return 0;
}
