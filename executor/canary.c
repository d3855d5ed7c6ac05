/* SPDX-License-Identifier: Apache-2.0 */
/* executor/canary.c -- the promise "no ready task waits 20 ms while a worker that could run it sleeps", watched while programs run.
 *
 * A stall is counted (weft_metrics.ready_stalls) when at three looks or more, over 20 ms or more,
 *   1 the same work lay in the same worker's queues, and that worker has done nothing at all meanwhile (SAME: no switch, no task created, no child
 *     forked, nothing taken);
 *   2 some worker slept, and nobody had taken its wake;
 *   3 nobody was on the way: no worker stood in its idle loop awake. One that does was woken, or is searching, and the kernel has not let it run: that
 *     is an overloaded machine, and no fault of weft's;
 *   4 the owner was not inside its queue, where it stays for nanoseconds unless the kernel has taken its CPU away; then a thief may not come in.
 * Looks at which 2 to 4 do not hold count for nothing. The tick wakes somebody at each look at which work is visible, so a lost wake alone is no
 * stall (that is late_wakes, at most a tick): a stall is a wake that did not help. Each is counted once.
 *
 * Threads: the reactor thread. All it reads of others are hints, which is enough: what is the same over 20 ms has long settled. */
#include "executor/canary.h"

#include <stdlib.h>
#include <string.h>

#include "executor/runtime.h"

#define STALL WEFT_MS(20)
#define LOOKS 3

struct state { /* SAME */
    uint64_t steps, created, forks;
    int64_t open, head, tail, children, bottom;
};

struct seen {
    struct state state;
    weft_ns since; /* of the first look that counts */
    unsigned looks;
    bool counted;
};

struct weft__canary {
    unsigned workers;
    struct seen seen[];
};

struct weft__canary *weft__canary_create(const struct weft_runtime *rt)
{
    struct weft__canary *c = calloc(1, sizeof *c + rt->worker_count * sizeof c->seen[0]);
    if (c != NULL)
        c->workers = rt->worker_count;
    return c;
}

void weft__canary_destroy(struct weft__canary *c)
{
    free(c);
}

static struct state state_of(const struct weft__worker *w)
{
    struct state s;                                       /* no padding: compared as bytes */
    s.steps = weft__load_relaxed(&w->steps);              /* relaxed: hints, all of these */
    s.created = weft__load_relaxed(&w->counters.created); /* relaxed: as above */
    s.forks = weft__load_relaxed(&w->joins.pushes);       /* relaxed: as above */
    s.open = weft__load_relaxed(&w->ready.shared.top);    /* relaxed: as above */
    s.head = weft__load_relaxed(&w->ready.head);          /* relaxed: as above */
    s.tail = weft__load_relaxed(&w->ready.tail);          /* relaxed: as above */
    s.children = weft__load_relaxed(&w->joins.top);       /* relaxed: as above */
    s.bottom = weft__load_relaxed(&w->joins.bottom);      /* relaxed: as above */
    return s;
}

/* 2 and 3 */
static bool somebody_sleeps_and_nobody_comes(struct weft_runtime *rt)
{
    bool sleeps = false;
    for (unsigned i = 0; i < rt->worker_count; i++) {
        if (weft__load_relaxed(&rt->idle.aside[i >> 6]) >> (i & 63) & 1)          /* relaxed: a hint */
            continue;                                                             /* it is not there for that work */
        bool parked = weft__load_relaxed(&rt->idle.bits[i >> 6]) >> (i & 63) & 1; /* relaxed: a hint */
        if (!parked && weft__load_relaxed(&rt->workers[i].running) == NULL)       /* relaxed: a hint */
            return false;
        sleeps |= parked;
    }
    return sleeps;
}

void weft__canary_look(struct weft__canary *c, struct weft_runtime *rt, weft_ns now)
{
    if (c == NULL)
        return;
    bool idle = somebody_sleeps_and_nobody_comes(rt);
    for (unsigned i = 0; i < c->workers; i++) {
        struct weft__worker *w = &rt->workers[i];
        struct seen *seen = &c->seen[i];
        struct state state = state_of(w);
        bool work =
            weft__ready_size(&w->ready) != 0 || weft__joins_size(&w->joins) != 0 || !weft__inbox_empty(&w->inbox);
        if (!work || memcmp(&state, &seen->state, sizeof state) != 0) {
            *seen = (struct seen){.state = state};
            continue;
        }
        if (!idle || weft__load_relaxed(&w->ready.inside) != 0) /* relaxed: a hint */
            continue;
        if (seen->looks++ == 0)
            seen->since = now;
        if (!seen->counted && seen->looks >= LOOKS && now - seen->since >= STALL) {
            seen->counted = true;
            weft__fetch_add_relaxed(&rt->ready_stalls, 1); /* relaxed: statistic */
        }
    }
}
