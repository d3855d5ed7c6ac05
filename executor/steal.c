/* SPDX-License-Identifier: Apache-2.0 */
/* executor/steal.c -- taking work from others: near first, oldest first, and not too eagerly.
 *
 * Pacing decides how two workers do on small work, more than the kind of deque: a thief that takes whatever it sees makes a
 * worker that creates and awaits one task at a time many times slower, because every item then crosses between caches. So:
 * - of what lies open in a ready queue half is taken, at most MOST, of forked children the oldest; what is closed is asked for, and its
 *   owner opens the older part of it, but never its newest item (ready.c, joins.c);
 * - an inbox is claimed as a whole, since its owner may be stuck;
 * - a worker that runs dry looks around for SEARCH_TIME before it sleeps, once in a microsecond: the next burst of work then
 *   costs no wake. Not while another one does (lookers); and after SEARCH_BACKOFF times in vain without a steal between them, only one
 *   time in 2^SEARCH_BACKOFF; and not where I/O is waited for: it leads the collecting instead;
 * - who sees that others have work, but closed, asks and looks on for RAID_AGE. What then still lies closed with an owner that did nothing
 *   which would have made it answer (is in one and the same step; of forked children: forks nothing), is taken without leave.
 *
 * Threads: the thief's own worker, in its idle loop. */
#include <errno.h>

#include "executor/runtime.h"

#define MOST 32
#define LOOK_EVERY 24           /* pauses between two looks, about a microsecond */
#define SEARCH_TIME WEFT_US(20) /* about what two wakes cost */
#define RAID_AGE WEFT_US(50)    /* of work that is asked for and not given: thief and owner pay 16 us */
#define SEEN 8                  /* workers with closed work that one search looks at */
#define SEARCH_BACKOFF 6        /* after that many searches in vain: one in 2^6 */

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

static uintptr_t steal_from(struct weft__worker *w, struct weft__worker *victim, unsigned *taken)
{
    uintptr_t items[MOST];
    int64_t open = weft__deque_size(&victim->ready.shared);
    *taken = 0;
    if (open != 0) {
        int64_t wanted = (open + 1) / 2;
        *taken = take(&victim->ready.shared, items, wanted < MOST ? wanted : MOST);
        if (*taken != 0)
            return keep_first(w, items, *taken);
    }
    if (weft__ready_closed(&victim->ready) >= 2)
        weft__ready_ask(&victim->ready);
    /* The oldest child is the largest piece: one is enough for a start. */
    for (unsigned lost = 0; lost < 4 && weft__joins_open(&victim->joins) != 0; lost++) {
        if (weft__joins_steal(&victim->joins, &items[0]) == WEFT__STEAL_GOT) {
            *taken = 1;
            return items[0];
        }
        weft__cpu_relax();
    }
    if (weft__joins_size(&victim->joins) >= 2)
        weft__joins_ask(&victim->joins, 1);
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
            w->stole = true;
            item = usable(w, item);
            if (item != 0)
                return item;
        }
        first = end;
    }
    return 0;
}

/* ---- searching --------------------------------------------------------------------------------------------------- */

struct seen { /* a worker that has closed work, as it was when the search began */
    struct weft__worker *worker;
    uint64_t steps;
    int64_t tail, bottom;
    uint64_t forks;
};

static bool has_closed(const struct weft__worker *v)
{
    return weft__ready_closed(&v->ready) != 0 || weft__joins_size(&v->joins) != 0;
}

static bool same_step(const struct seen *seen)
{
    return weft__load_relaxed(&seen->worker->steps) == seen->steps; /* relaxed: hints, all of these */
}

/* Its owner has been in one and the same step, and has added nothing: each push and each turn would have answered. */
static bool ready_neglected(const struct seen *seen)
{
    return same_step(seen) && weft__load_relaxed(&seen->worker->ready.tail) == seen->tail && /* relaxed: as above */
           weft__ready_closed(&seen->worker->ready) != 0;
}

/* Only forks answer, and an owner may be joining what it has forked, one after the other, for long: then two are enough to come for. A single
 * one is for a thief only if nothing has moved. */
static bool joins_neglected(const struct seen *seen)
{
    const struct weft__joins *j = &seen->worker->joins;
    bool still = same_step(seen) && weft__load_relaxed(&j->bottom) == seen->bottom; /* relaxed: as above */
    return weft__load_relaxed(&j->pushes) == seen->forks &&                         /* relaxed: as above */
           weft__joins_size(j) >= (still ? 1 : 2);
}

/* Workers with closed work, from a random one on: with always the same first one, what another keeps closed might wait for ever. */
static unsigned closed_work(struct weft__worker *w, struct seen *seen)
{
    struct weft_runtime *rt = w->rt;
    const struct weft__plan_worker *plan = &rt->plan->worker[w->index];
    unsigned others = rt->worker_count - 1, n = 0;
    unsigned start = (unsigned)(weft__random(&w->random) % others);
    for (unsigned i = 0; i < others && n < SEEN; i++) {
        struct weft__worker *v = &rt->workers[plan->victims[(start + i) % others]];
        if (has_closed(v))
            seen[n++] = (struct seen){v, weft__load_relaxed(&v->steps),      /* relaxed: hints, all */
                                      weft__load_relaxed(&v->ready.tail),    /* relaxed: as above */
                                      weft__load_relaxed(&v->joins.bottom),  /* relaxed: as above */
                                      weft__load_relaxed(&v->joins.pushes)}; /* relaxed: as above */
    }
    return n;
}

static uintptr_t raid(struct weft__worker *w, const struct seen *seen)
{
    struct weft__worker *victim = seen->worker;
    uintptr_t items[MOST];
    unsigned n = ready_neglected(seen) ? weft__ready_raid(&victim->ready, items, MOST) : 0;
    if (n == 0 && joins_neglected(seen) && weft__joins_raid(&victim->joins) &&
        weft__joins_steal(&victim->joins, &items[0]) == WEFT__STEAL_GOT)
        n = 1;
    if (n == 0)
        return 0;
    weft__count(&w->counters.raids, 1);
    weft__count(&w->counters.stolen, n);
    w->stole = true;
    return usable(w, keep_first(w, items, n));
}

/* Is it worth while to look around before going to sleep? */
static bool likely_soon(struct weft__worker *w)
{
    bool stole = w->stole;
    w->stole = false;
    if (stole)
        w->vain = 0;
    return w->vain < SEARCH_BACKOFF || (++w->vain & ((1u << SEARCH_BACKOFF) - 1)) == 0;
}

uintptr_t weft__worker_search(struct weft__worker *w)
{
    struct weft_runtime *rt = w->rt;
    if (rt->worker_count == 1)
        return 0;
    struct seen seen[SEEN];
    unsigned closed = closed_work(w, seen);
    /* Where I/O is waited for, to lead the collecting is the better use of the time. */
    if (closed == 0 && (rt->is_virtual || (rt->driver != NULL && rt->driver->waiting(rt)) || !likely_soon(w) ||
                        weft__load_relaxed(&rt->idle.lookers) != 0)) /* relaxed: a hint */
        return 0;
    weft__fetch_add_relaxed(&rt->idle.lookers, 1); /* relaxed: a hint */
    uintptr_t item = 0;
    weft_ns start = weft__monotonic();
    while (item == 0 && weft__load_relaxed(&rt->stopping) == 0) { /* relaxed: the idle loop looks again */
        for (int i = 0; i < LOOK_EVERY; i++)
            weft__cpu_relax();
        item = weft__worker_pick(w);
        if (item == 0)
            item = weft__worker_steal(w);
        weft_ns now = weft__monotonic();
        if (item != 0 || (closed == 0 && now - start >= SEARCH_TIME) ||
            (!rt->is_virtual && weft__timers_earliest(&w->timers) <= now))
            break;
        if (closed != 0 && now - start >= RAID_AGE) {
            for (unsigned i = 0; i < closed && item == 0; i++)
                item = raid(w, &seen[i]);
            break;
        }
    }
    weft__fetch_add_relaxed(&rt->idle.lookers, (uint32_t)-1); /* relaxed: a hint */
    if (item == 0)
        w->vain++;
    return item;
}
