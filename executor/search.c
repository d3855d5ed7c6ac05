/* SPDX-License-Identifier: Apache-2.0 */
/* executor/search.c -- a worker that found nothing to take: whether it looks on for a while before it sleeps, and when it takes closed work
 * without leave.
 *
 * Where no I/O is waited for it looks around for SEARCH_TIME, once in a microsecond: the next burst of work then costs no wake. Not while
 * another one does (lookers); and after SEARCH_BACKOFF times in vain without a steal between them, only one time in 2^SEARCH_BACKOFF. If
 * others have work, but closed, before it begins or while it looks, it has asked for it (steal.c) and looks on for RAID_AGE. If that was in vain, and the
 * owner's steps are light, that one is left alone for a while (spare.c). Nor does it in the
 * place of who woke it (BESIDE in idle.c).
 *
 * Where I/O is waited for it leads the collecting instead, so that the next event, or an owner that answers, wakes it; to look on was
 * measured: it costs a server 6 % of its CPU time and triples its 99th percentile. Only who took a forked child last looks on as
 * above: such work comes back at once, and from a worker, not from outside.
 *
 * A raid takes what has lain closed for RAID_AGE with an owner that did nothing which would have made it answer: is in one and the same step,
 * and has pushed nothing (of forked children: has forked nothing). What a worker saw is noted in w->seen, and stands until it is RAID_AGE old, so
 * one that comes and goes between small pieces of work sees it too. Who sleeps with a fresh note comes back by itself, once, after GLANCE_AGE
 * (weft__worker_look_again), and once more each time the reactor thread has woken somebody for such work (rescues; tick.c). Not for each note: in a
 * guest a timer is a microsecond for each sleep, 5 to 10 % of a server's CPU time.
 *
 *   no note           work lies closed -> noted, fresh
 *   noted             younger than RAID_AGE: left as it is; else raided if its owner stood still, and then: no note, or noted anew, not
 *                     fresh unless after a rescue
 *
 * Threads: the thief's own worker, in its idle loop. */
#include <sched.h>

#include "executor/runtime.h"

#define LOOK_EVERY 24           /* pauses between two looks, about a microsecond */
#define SEARCH_TIME WEFT_US(20) /* about what two wakes cost */
#define RAID_AGE WEFT_US(50)    /* of work that is asked for and not given: thief and owner pay 16 us */
#define GLANCE_AGE WEFT_US(200) /* much longer than a step of a server */
#define SEARCH_BACKOFF 6        /* after that many searches in vain: one in 2^6 */
#define SEEN_NEAR 6             /* of WEFT__SEEN notes, where there are others farther away */

static bool has_closed(const struct weft__worker *w, const struct weft__worker *v)
{
    return (v != w->spare.spared && weft__ready_closed(&v->ready) != 0) || weft__joins_size(&v->joins) != 0;
}

static bool same_step(const struct weft__seen *seen)
{
    return weft__load_relaxed(&seen->worker->steps) == seen->steps; /* relaxed: hints, all of these */
}

/* Its owner has been in one and the same step, and has added nothing: each push and each turn would have answered. */
static bool ready_neglected(const struct weft__seen *seen)
{
    return same_step(seen) && weft__load_relaxed(&seen->worker->ready.tail) == seen->tail && /* relaxed: as above */
           weft__ready_closed(&seen->worker->ready) != 0;
}

/* Only forks answer, and an owner may be joining what it has forked, one after the other, for long: then two are enough to come for. A single
 * one is for a thief only if nothing has moved. */
static bool joins_neglected(const struct weft__seen *seen)
{
    const struct weft__joins *j = &seen->worker->joins;
    bool still = same_step(seen) && weft__load_relaxed(&j->bottom) == seen->bottom; /* relaxed: as above */
    return weft__load_relaxed(&j->pushes) == seen->forks &&                         /* relaxed: as above */
           weft__joins_size(j) >= (still ? 1 : 2);
}

/* Note those of the victims [first, end) that have closed work, until there are `most`, from a random one on: with always the same first one, what
 * another keeps closed might wait for ever. */
static void note_among(struct weft__worker *w, unsigned first, unsigned end, unsigned most)
{
    struct weft_runtime *rt = w->rt;
    const struct weft__plan_worker *plan = &rt->plan->worker[w->index];
    unsigned size = end - first;
    unsigned start = size != 0 ? (unsigned)(weft__random(&w->random) % size) : 0;
    for (unsigned i = 0; i < size && w->seen_count < most; i++) {
        unsigned at = first + (start + i) % size;
        struct weft__worker *v = &rt->workers[plan->victims[at]];
        if (has_closed(w, v))
            w->seen[w->seen_count++] = (struct weft__seen){v,
                                                           weft__load_relaxed(&v->steps),      /* relaxed: hints, all */
                                                           weft__load_relaxed(&v->ready.tail), /* relaxed: as above */
                                                           weft__load_relaxed(&v->joins.bottom), /* relaxed: as above */
                                                           weft__load_relaxed(&v->joins.pushes), /* relaxed: as above */
                                                           plan->distance[at]};
    }
}

/* Near ones first, but not so many that none from far away is among them. */
static bool note(struct weft__worker *w)
{
    unsigned others = w->rt->worker_count - 1, near = w->rt->plan->worker[w->index].near;
    w->seen_count = 0;
    note_among(w, 0, near, near < others ? SEEN_NEAR : WEFT__SEEN);
    note_among(w, near, others, WEFT__SEEN);
    return w->seen_count != 0;
}

static uintptr_t raid(struct weft__worker *w)
{
    uintptr_t item = 0;
    for (unsigned i = 0; i < w->seen_count && item == 0; i++) {
        const struct weft__seen *seen = &w->seen[i];
        item = weft__worker_raid(w, seen->worker, seen->distance, ready_neglected(seen), joins_neglected(seen));
    }
    w->seen_count = 0;
    return item;
}

/* Where the worker goes on to lead the collecting. */
static uintptr_t glance(struct weft__worker *w)
{
    weft_ns now = weft__monotonic();
    bool had = w->seen_count != 0;
    if (had && now - w->seen_at < RAID_AGE)
        return 0;
    uintptr_t item = had ? raid(w) : 0;
    if (item == 0 && note(w)) {
        w->seen_at = now;
        uint32_t rescues = weft__load_relaxed(&w->rt->idle.rescues); /* relaxed: a hint */
        w->seen_fresh = !had || rescues != w->rescues;
        w->rescues = rescues;
    }
    return item;
}

weft_ns weft__worker_look_again(struct weft__worker *w)
{
    weft_ns spared = weft__spare_until(&w->spare);
    if (w->seen_count == 0 || !w->seen_fresh)
        return spared;
    w->seen_fresh = false;
    weft_ns seen = w->seen_at + GLANCE_AGE;
    return seen < spared ? seen : spared;
}

/* Is it worth while to look around before going to sleep? Not in the place of who woke it (BESIDE). */
static bool likely_soon(struct weft__worker *w)
{
    if (weft__idle_beside(w) && !weft__idle_beside_forks(w))
        return false;
    bool stole = w->stole;
    w->stole = false;
    if (stole)
        w->vain = 0;
    return w->vain < SEARCH_BACKOFF || (++w->vain & ((1u << SEARCH_BACKOFF) - 1)) == 0;
}

static uintptr_t look_on(struct weft__worker *w, bool closed)
{
    struct weft_runtime *rt = w->rt;
    uintptr_t item = 0;
    weft_ns start = weft__monotonic();
    while (item == 0 && weft__load_relaxed(&rt->stopping) == 0) { /* relaxed: the idle loop looks again */
        for (int i = 0; i < LOOK_EVERY; i++)
            weft__cpu_relax();
        if (weft__unlikely(weft__idle_beside_forks(w)))
            sched_yield(); /* who could answer has to run for that */
        item = weft__worker_pick(w);
        if (item == 0)
            item = weft__worker_steal(w);
        weft_ns now = weft__monotonic();
        if (item != 0 || (!rt->is_virtual && weft__timers_earliest(&w->timers) <= now))
            break;
        if (!closed) {
            if (!rt->is_virtual && note(w)) { /* since then somebody has made ready what he may not come to */
                closed = true;
                start = now;
            } else if (now - start >= SEARCH_TIME) {
                break;
            }
        }
        if (closed && now - start >= RAID_AGE) {
            struct weft__seen first = w->seen[0];
            item = raid(w);
            if (item == 0)
                weft__spare_brisk(w, first.worker, weft__load_relaxed(&first.worker->steps) - first.steps, now,
                                  now - start); /* relaxed: a hint */
            break;
        }
    }
    return item;
}

uintptr_t weft__worker_search(struct weft__worker *w)
{
    struct weft_runtime *rt = w->rt;
    if (rt->worker_count == 1)
        return 0;
    if (!w->stole_child && rt->driver != NULL && rt->driver->waiting(rt))
        return glance(w);
    bool closed = note(w);
    if (!closed &&
        (rt->is_virtual || !likely_soon(w) || weft__load_relaxed(&rt->idle.lookers) != 0)) /* relaxed: a hint */
        return 0;
    weft__fetch_add_relaxed(&rt->idle.lookers, 1); /* relaxed: a hint */
    uintptr_t item = look_on(w, closed);
    weft__fetch_add_relaxed(&rt->idle.lookers, (uint32_t)-1); /* relaxed: a hint */
    if (item == 0) {
        w->vain++;
        w->stole_child = false;
    }
    w->seen_count = 0;
    return item;
}
