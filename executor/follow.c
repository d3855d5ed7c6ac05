/* SPDX-License-Identifier: Apache-2.0 */
/* executor/follow.c -- following the CPUs that this process may use while it runs.
 *
 * A cgroup's quota, a cpuset and an affinity mask may change at any time: a container is resized, an operator calls taskset. The reactor thread, which
 * is not pinned, looks at them every PERIOD while work runs: at its own mask, which the kernel cuts to the cpuset, and at the quota of all
 * visible ancestors. Where the program has not said how many workers it wants, so many are **active**; the others stand aside, from the last one
 * down, which have the second threads of cores and the slow cores. More than at the start there never are.
 *
 * | worker       | the number falls below it                | idle loop                                | the number rises above it      |
 * | active       | ASIDE in its `hurry`: its next pick gives | runs, steals, searches, leads            | -                              |
 * |              | nothing, so it comes to the idle loop     |                                          |                                |
 * | standing aside | -                                      | hands on what it has; runs what is pinned | ASIDE cleared, woken           |
 * |              |                                           | to it; fires its timers; sleeps           |                                |
 *
 * Who stands aside sleeps apart from the others, and nobody wakes it for work that others can do (weft__park_aside in idle.c). What it has goes to the injector: ready items, forked children, its inbox. A
 * child that its parent does not find in its stack any more is waited for, as one that was stolen.
 *
 * Threads: look the reactor thread's; stand_aside the worker's own. */
#define _GNU_SOURCE
#include <sched.h>

#include "executor/cgroup.h"
#include "executor/runtime.h"

#define PERIOD WEFT_MS(500)

/* CPUs that this process may use at once by now. */
static unsigned allowance(void)
{
    size_t size = 0;
    int rc = 0;
    cpu_set_t *mask = weft__machine_own_mask(&size, &rc);
    unsigned cpus = mask != NULL ? (unsigned)CPU_COUNT_S(size, mask) : WEFT_MAX_WORKERS;
    if (mask != NULL)
        CPU_FREE(mask);
    double quota = weft__cgroup_quota("");
    if (quota > 0 && quota < (double)cpus) {
        cpus = (unsigned)quota;
        cpus += cpus < quota;
    }
    return cpus > 0 ? cpus : 1;
}

void weft__follow_look(struct weft_runtime *rt, weft_ns now)
{
    if (!rt->follows || now - rt->followed < PERIOD)
        return;
    rt->followed = now;
    unsigned wanted = allowance(), before = weft__load_relaxed(&rt->active); /* relaxed: its own */
    wanted = wanted < rt->worker_count ? wanted : rt->worker_count;
    if (wanted == before)
        return;
    weft__store_seq_cst(&rt->active, wanted); /* pairs: ACTIVE */
    for (unsigned i = wanted; i < before; i++) {
        weft__fetch_or_acq_rel(&rt->workers[i].hurry, (uint32_t)WEFT__HURRY_ASIDE); /* pairs: ACTIVE */
        (void)weft__idle_wake(rt, i); /* it may lead the collecting, or sleep as one that can be woken for work */
    }
    for (unsigned i = before; i < wanted; i++) {
        weft__fetch_and_acq_rel(&rt->workers[i].hurry, ~(uint32_t)WEFT__HURRY_ASIDE); /* pairs: ACTIVE */
        (void)weft__idle_wake(rt, i);
    }
}

/* Everything that others can do. */
static void hand_on(struct weft__worker *w)
{
    struct weft_runtime *rt = w->rt;
    uintptr_t item;
    bool any = false;
    (void)weft__worker_take_own_inbox(w);
    while ((item = weft__ready_pop(&w->ready)) != 0 || (item = weft__joins_pop_oldest(&w->joins)) != 0) {
        weft__inbox_push(&rt->injector, weft__link_of_item(item));
        any = true;
    }
    if (any)
        weft__notify(rt, NULL);
}

void weft__stand_aside(struct weft__worker *w)
{
    weft__search_ended(w); /* others may be waiting for it to find something */
    (void)weft__worker_fire_timers(w);
    hand_on(w);
    uintptr_t item = weft__pinned_take(w);
    while (item != 0 && !weft__item_claim(item))
        item = weft__pinned_take(w);
    if (item != 0)
        weft__worker_enter(w, item);
    else
        weft__park_aside(w);
}
