/* SPDX-License-Identifier: Apache-2.0 */
/* executor/pinned.c -- tasks that ask for a place: one worker, or the workers of one NUMA node (weft/task.h, `where`).
 *
 * What is ready and pinned lies in no ready queue, where thieves and raids could come, but in the queue of its place: a list under a guard, first in
 * first out, that only the place's members take from. It costs nothing where nobody is pinned: a task or fiber says so by a bit that is tested
 * together with that of strands, and a worker is told by a bit of its word `hurry`, which it looks at anyhow when it picks.
 *
 * Turns. A member with its bit set takes an item of a place at every second pick, as long as there are any: neither what is pinned nor the
 * rest of its ready work starves. A worker that has run dry, and every 64th pick, looks without being told.
 *
 * PINNED. The pusher adds (count, seq_cst), then looks for a sleeping member and wakes it, else sets the bit of one that is awake. A member that
 * goes to sleep sets its own bit of the sleepers (seq_cst, PARK in idle.c), then looks at the counts of its places. One of the two sees the
 * other. A member clears its bit before it looks at the counts (acq_rel, both on the same word): a bit that is set later stays.
 * Of a node whose only member that was told is stuck in a long step the others run the item when they next run dry or look around;
 * if they sleep, the reactor's tick finds it (weft__pinned_late).
 *
 * A pinned task runs on a fiber of its own, at its place, or on the stack of an awaiter that is pinned to the same place (or to a worker of it).
 * What it forks is not pinned.
 *
 * Threads: as each function says. */
#include "executor/pinned.h"

#include <errno.h>
#include <stdlib.h>

#include "executor/guard.h"
#include "executor/runtime.h"

#define WHERE_KIND UINT32_C(0xf0000000)

static int find_node(const struct weft__pinned_set *set, int node)
{
    for (unsigned k = 0; k < set->nodes; k++)
        if (set->place[set->workers + k].node == node)
            return (int)k;
    return -1;
}

int weft__pinned_init(struct weft_runtime *rt)
{
    struct weft__pinned_set *set = &rt->pinned;
    set->workers = rt->worker_count;
    set->nodes = 0;
    set->named_workers = rt->worker_count;
    set->place = aligned_alloc(WEFT__CACHELINE, 2 * (size_t)set->workers * sizeof *set->place);
    set->member = calloc(2 * (size_t)set->workers, sizeof *set->member);
    if (set->place == NULL || set->member == NULL)
        return -ENOMEM;
    memset(set->place, 0, 2 * (size_t)set->workers * sizeof *set->place);
    for (unsigned i = 0; i < set->workers; i++) {
        set->member[i] = (uint16_t)i;
        set->place[i].member = &set->member[i];
        set->place[i].members = 1;
        set->place[i].node = -1;
    }
    uint16_t *at = set->member + set->workers;
    for (unsigned i = 0; i < set->workers; i++) {
        int node = rt->plan->worker[i].node;
        if (node < 0 || find_node(set, node) >= 0)
            continue;
        struct weft__pinned *p = &set->place[set->workers + set->nodes++];
        p->node = node;
        p->member = at;
        for (unsigned j = i; j < set->workers; j++)
            if (rt->plan->worker[j].node == node)
                *at++ = (uint16_t)j;
        p->members = (unsigned)(at - p->member);
    }
    return 0;
}

void weft__pinned_destroy(struct weft_runtime *rt)
{
    free(rt->pinned.place);
    free(rt->pinned.member);
}

/* ---- which place ------------------------------------------------------------------------------------------------- */

/* The number of a place + 1, 0: anywhere, -EINVAL. */
static int resolve(const struct weft_runtime *rt, uint32_t where)
{
    const struct weft__pinned_set *set = &rt->pinned;
    uint32_t kind = where & WHERE_KIND, number = where & ~WHERE_KIND;
    int node;
    if (where == WEFT_ANYWHERE)
        return 0;
    if (kind == WEFT_ON_WORKER(0))
        return number >= set->named_workers ? -EINVAL : set->workers == 1 ? 0 : (int)number + 1;
    if (kind != WEFT_ON_NODE(0) || (node = find_node(set, (int)number)) < 0)
        return -EINVAL;
    return set->workers == 1 ? 0 : (int)set->workers + node + 1;
}

int weft__pinned_place(struct weft_runtime *rt, const struct weft_task_options *options, uint32_t *where)
{
    *where = WEFT_ANYWHERE;
    if (WEFT__TASK_HAS(options, where))
        *where = options->where;
    if (WEFT__TASK_HAS(options, with) && options->with != NULL) {
        if (*where != WEFT_ANYWHERE || weft__task_rt(options->with) != rt)
            return -EINVAL;
        *where = weft_task_where(options->with);
    }
    if (*where == WEFT_HERE) {
        struct weft__worker *w = weft__worker_self();
        if (w == NULL || w->rt != rt)
            return -EINVAL;
        *where = WEFT_ON_WORKER(w->index);
    }
    return resolve(rt, *where);
}

int weft_where_check(const weft_runtime *rt, uint32_t where)
{
    int place = where == WEFT_HERE ? 0 : resolve(rt, where);
    return place < 0 ? place : 0;
}

uint32_t weft_task_where(const weft_task *t)
{
    struct weft__task_extra *x = t != NULL ? weft__task_has_extra(t) : NULL;
    return x != NULL ? x->where : WEFT_ANYWHERE;
}

int weft_current_worker(void)
{
    struct weft__worker *w = weft__worker_self();
    return w != NULL ? (int)w->index : -1;
}

unsigned weft__pinned_of(uintptr_t item)
{
    const struct weft_task *t = NULL;
    if (item & WEFT__ITEM_FIBER) {
        const struct weft__fiber *f = (const struct weft__fiber *)(item & ~WEFT__ITEM_FIBER);
        if (!(f->unusual & WEFT__FIBER_PINNED))
            return 0;
        for (t = f->task; t->below != NULL;)
            t = t->below; /* the fiber's own; others run on top of it */
    } else {
        t = weft__item_task(item);
        if (t->kind != WEFT__KIND_TASK || !weft__task_pinned(t))
            return 0;
    }
    return weft__task_has_extra(t)->pinned;
}

bool weft__pinned_fits(const struct weft__fiber *f, const struct weft_task *t)
{
    if (!weft__task_pinned(t))
        return true;
    const struct weft__pinned_set *set = &f->rt->pinned;
    unsigned own = weft__pinned_of(weft__item_of_fiber((struct weft__fiber *)f)), its = weft__task_has_extra(t)->pinned;
    if (own == 0 || own == its)
        return own != 0;
    return own <= set->workers && its > set->workers && f->rt->plan->worker[own - 1].node == set->place[its - 1].node;
}

/* ---- the queues -------------------------------------------------------------------------------------------------- */

static void tell(struct weft_runtime *rt, unsigned worker)
{
    weft__fetch_or_acq_rel(&rt->workers[worker].hurry, (uint32_t)WEFT__HURRY_PINNED); /* pairs: PINNED */
}

/* Wake a member that sleeps, the nearest one of a worker's that asks. */
static bool wake_one(struct weft_runtime *rt, const struct weft__pinned *p, const struct weft__worker *self)
{
    if (self == NULL || p->members == 1) {
        for (unsigned i = 0; i < p->members; i++) {
            if (weft__idle_wake(rt, p->member[i]))
                return true;
        }
        return false;
    }
    const struct weft__plan_worker *plan = &rt->plan->worker[self->index];
    for (unsigned i = 0; i + 1 < rt->worker_count; i++) {
        if (rt->plan->worker[plan->victims[i]].node == p->node && weft__idle_wake(rt, plan->victims[i]))
            return true;
    }
    return false;
}

void weft__pinned_push(struct weft_runtime *rt, unsigned place, uintptr_t item)
{
    struct weft__pinned *p = &rt->pinned.place[place];
    struct weft__link *link = weft__link_of_item(item);
    struct weft__worker *self = weft__worker_self();
    if (self != NULL && self->rt != rt)
        self = NULL;
    link->next = NULL;
    weft__guard_lock(&p->guard);
    if (p->last != NULL)
        p->last->next = link;
    else
        p->first = link;
    p->last = link;
    uint32_t count = weft__load_relaxed(&p->count) + 1; /* relaxed: under the guard */
    weft__store_seq_cst(&p->count, count);              /* pairs: PINNED */
    unsigned turn = p->member[p->next++ % p->members];
    weft__guard_unlock(&p->guard);
    bool member = self != NULL &&
                  (place < rt->pinned.workers ? place == self->index : rt->plan->worker[self->index].node == p->node);
    /* A lone item of one's own place is one's own next turn. */
    if (member && (count == 1 || p->members == 1))
        tell(rt, self->index);
    else if (p->members == 1) {
        tell(rt, turn);
        (void)weft__idle_wake(rt, turn);
    } else if (!wake_one(rt, p, self))
        tell(rt, member ? self->index : turn);
}

static uintptr_t take(struct weft__pinned *p)
{
    if (weft__load_acquire(&p->count) == 0) /* pairs: PINNED */
        return 0;
    weft__guard_lock(&p->guard);
    struct weft__link *link = p->first;
    if (link != NULL) {
        p->first = link->next;
        if (p->first == NULL)
            p->last = NULL;
        weft__store_seq_cst(&p->count, weft__load_relaxed(&p->count) - 1); /* pairs: PINNED; relaxed: under the guard */
    }
    weft__guard_unlock(&p->guard);
    return link != NULL ? weft__item_of_link(link) : 0;
}

bool weft__pinned_waits(const struct weft__worker *w)
{
    return weft__load_seq_cst(&w->own_place->count) != 0 ||                           /* pairs: PINNED */
           (w->node_place != NULL && weft__load_seq_cst(&w->node_place->count) != 0); /* pairs: PINNED */
}

uintptr_t weft__pinned_take(struct weft__worker *w)
{
    if (weft__load_relaxed(&w->hurry) & WEFT__HURRY_PINNED)                /* relaxed: a hint */
        weft__fetch_and_acq_rel(&w->hurry, ~(uint32_t)WEFT__HURRY_PINNED); /* pairs: PINNED */
    if (weft__likely(!weft__pinned_waits(w)))
        return 0;
    uintptr_t item = 0;
    w->node_turn = !w->node_turn;
    for (int i = 0; i < 2 && item == 0; i++) {
        struct weft__pinned *p = w->node_turn == (i == 0) ? w->node_place : w->own_place;
        if (p != NULL)
            item = take(p);
    }
    if (weft__pinned_waits(w))
        tell(w->rt, w->index);
    return item;
}

bool weft__pinned_any(const struct weft_runtime *rt)
{
    for (unsigned i = 0; i < rt->pinned.workers + rt->pinned.nodes; i++) {
        if (weft__load_seq_cst(&rt->pinned.place[i].count) != 0) /* pairs: PINNED */
            return true;
    }
    return false;
}

bool weft__pinned_late(struct weft_runtime *rt)
{
    bool woke = false;
    for (unsigned i = rt->pinned.workers; i < rt->pinned.workers + rt->pinned.nodes; i++) {
        struct weft__pinned *p = &rt->pinned.place[i];
        if (weft__load_seq_cst(&p->count) != 0) /* pairs: PINNED */
            woke |= wake_one(rt, p, NULL);
    }
    return woke;
}
