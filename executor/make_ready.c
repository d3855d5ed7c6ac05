/* SPDX-License-Identifier: Apache-2.0 */
/* executor/make_ready.c -- how something becomes ready: into the calling worker's own queue, the injector, or the line of its strand; held back,
 * or announced later, where many become ready at once; and what a worker does when others have asked it for work.
 *
 * Threads: make_ready, hold_begin and hold_end, item_of_link, link_of_item, strand_pass, announce_* any; the rest the worker's own. */
#include "executor/runtime.h"
#include "executor/strand.h"

/* ---- ready items ------------------------------------------------------------------------------------------------- */

uintptr_t weft__item_of_link(struct weft__link *link)
{
    /* Tasks and fibers both begin with their link and their kind. */
    struct weft_task *t = weft__container_of(link, struct weft_task, link);
    if (t->kind == WEFT__KIND_FIBER)
        return weft__item_of_fiber(weft__container_of(link, struct weft__fiber, link));
    return weft__unlikely(t->kind == WEFT__KIND_TASK && (weft__load_relaxed(&t->flags) &
                                                         WEFT__TASK_HAS_PARKED)) /* relaxed: set before it was parked */
               ? weft__item_of_parked(t)
               : weft__item_of_task(t);
}

struct weft__link *weft__link_of_item(uintptr_t item)
{
    if (item & WEFT__ITEM_FIBER)
        return &((struct weft__fiber *)(item & ~WEFT__ITEM_FIBER))->link;
    return &weft__item_task(item)->link;
}

static inline void push_ready(struct weft_runtime *rt, uintptr_t item);

/* Has it no strand and no place? */
static inline bool is_plain(uintptr_t item)
{
    if (item & WEFT__ITEM_FIBER) {
        const struct weft__fiber *f = (const struct weft__fiber *)(item & ~WEFT__ITEM_FIBER);
        return !(f->unusual & (WEFT__FIBER_STRAND | WEFT__FIBER_PINNED));
    }
    struct weft_task *t = weft__item_task(item);
    return t->kind != WEFT__KIND_TASK ||
           !(weft__load_relaxed(&t->flags) & (WEFT__TASK_STRAND | WEFT__TASK_PINNED)); /* relaxed: set once */
}

/* The strand of a ready item; NULL for most. */
static inline struct weft_strand *strand_of(uintptr_t item)
{
    if (item & WEFT__ITEM_FIBER) {
        const struct weft__fiber *f = (const struct weft__fiber *)(item & ~WEFT__ITEM_FIBER);
        return weft__likely(!(f->unusual & WEFT__FIBER_STRAND)) ? NULL : f->strand;
    }
    const struct weft_task *t = weft__item_task(item);
    return t->kind == WEFT__KIND_TASK ? weft__task_strand(t) : NULL;
}

static void push_pinned(struct weft_runtime *rt, unsigned place, uintptr_t item);

/* It has the turn of its strand, if it has one. */
static void push_any(struct weft_runtime *rt, uintptr_t item)
{
    unsigned pinned = weft__pinned_of(item);
    if (weft__likely(pinned == 0))
        push_ready(rt, item);
    else
        push_pinned(rt, pinned - 1, item);
}

static WEFT__NOINLINE void make_unusual_ready(struct weft_runtime *rt, uintptr_t item)
{
    struct weft_strand *s = strand_of(item);
    if (s == NULL || weft__strand_arrive(s, weft__link_of_item(item)))
        push_any(rt, item);
}

void weft__make_ready(struct weft_runtime *rt, uintptr_t item)
{
    if (weft__likely(is_plain(item)))
        push_ready(rt, item);
    else
        make_unusual_ready(rt, item);
}

void weft__make_due(struct weft_runtime *rt, uintptr_t item)
{
    if (rt->fifo)
        rt->workers[0].due = item; /* fired by that worker, in its round */
    else
        weft__make_ready(rt, item);
}

void weft__strand_pass(struct weft_runtime *rt, struct weft_strand *s)
{
    struct weft__link *next = s != NULL ? weft__strand_leave(s) : NULL;
    if (next != NULL)
        push_any(rt, weft__item_of_link(next));
}

/* ---- holding back ------------------------------------------------------------------------------------------------ */

static _Thread_local struct weft__hold *hold_of_thread; /* in threads that are no workers */

static WEFT__NOINLINE struct weft__hold **foreign_hold(void)
{
    __asm__ volatile("" ::: "memory"); /* see weft__worker_self */
    return &hold_of_thread;
}

static void keep(struct weft__hold *hold, uintptr_t item)
{
    struct weft__link *link = weft__link_of_item(item);
    link->next = NULL;
    if (hold->last != NULL)
        hold->last->next = link;
    else
        hold->first = link;
    hold->last = link;
}

void weft__hold_begin(struct weft__hold *hold)
{
    struct weft__worker *w = weft__worker_self();
    struct weft__hold **at = w != NULL ? &w->hold : foreign_hold();
    *hold = (struct weft__hold){.worker = w, .rt = w != NULL ? w->rt : NULL, .outermost = *at == NULL};
    if (hold->outermost)
        *at = hold;
}

void weft__hold_end(struct weft__hold *hold)
{
    if (!hold->outermost)
        return;
    struct weft__worker *w = hold->worker;
    *(w != NULL ? &w->hold : foreign_hold()) = NULL;
    bool many = w != NULL && !w->batching && hold->first != hold->last;
    if (many)
        weft__announce_later(hold->rt);
    for (struct weft__link *link = hold->first; link != NULL;) {
        struct weft__link *next = link->next;
        push_any(hold->rt, weft__item_of_link(link));
        link = next;
    }
    if (many)
        weft__announce_now(hold->rt);
}

/* ---- queues -------------------------------------------------------------------------------------- */

static inline void push_ready(struct weft_runtime *rt, uintptr_t item)
{
    struct weft__worker *w = weft__worker_maybe();
    if (weft__likely(w->rt == rt)) {
        if (weft__unlikely(w->hold != NULL)) {
            keep(w->hold, item);
            return;
        }
        (void)weft__worker_push(w, item);
        return;
    }
    struct weft__hold *hold = *foreign_hold();
    if (hold != NULL && (hold->rt == NULL || hold->rt == rt)) {
        hold->rt = rt;
        keep(hold, item);
        return;
    }
    /* A foreign thread. Until the push the item's task cannot have ended, so the runtime is there; after it, the task may run
     * and be the last of all while this thread still looks for a sleeper: it is a visitor, and the end waits for it. */
    weft__fetch_add_seq_cst(&rt->visitors, 1); /* pairs: VISIT */
    weft__inbox_push(&rt->injector, weft__link_of_item(item));
    weft__fetch_add_relaxed(&rt->injected, 1); /* relaxed: statistic */
    weft__notify(rt, NULL);
    weft__runtime_leave(rt);
}

/* As push_ready, to a place's queue. */
static void push_pinned(struct weft_runtime *rt, unsigned place, uintptr_t item)
{
    struct weft__worker *w = weft__worker_self();
    bool own = w != NULL && w->rt == rt;
    struct weft__hold *hold = own ? w->hold : *foreign_hold();
    if (hold != NULL && (own || hold->rt == NULL || hold->rt == rt)) {
        hold->rt = rt;
        keep(hold, item);
    } else if (own) {
        weft__pinned_push(rt, place, item);
    } else {
        weft__fetch_add_seq_cst(&rt->visitors, 1); /* pairs: VISIT; as above */
        weft__pinned_push(rt, place, item);
        weft__fetch_add_relaxed(&rt->injected, 1); /* relaxed: statistic */
        weft__runtime_leave(rt);
    }
}

void weft__announce_later(struct weft_runtime *rt)
{
    struct weft__worker *w = weft__worker_self();
    if (w != NULL && w->rt == rt)
        w->batching = true;
}

void weft__announce_now(struct weft_runtime *rt)
{
    struct weft__worker *w = weft__worker_self();
    if (w == NULL || w->rt != rt)
        return;
    w->batching = false;
    if (weft__ready_asked(&w->ready))
        weft__worker_share(w);
}

/* Give others a part, and wake one if somebody sleeps. Not while many are being made ready: at the end of that. */
void weft__worker_share(struct weft__worker *w)
{
    struct weft_runtime *rt = w->rt;
    if (w->batching)
        return;
    weft__ready_satisfied(&w->ready);
    int64_t open = weft__ready_share(&w->ready);
    if (weft__load_seq_cst(&rt->idle.parked) == 0) /* pairs: PARK, READY-HUNGER */
        return;
    if (open != 0)
        weft__notify(rt, w);
    weft__ready_ask(&w->ready); /* who sleeps does not ask again */
}

/* The inline fork comes to the library every time: where forks are counted or drawn, or nobody could raid. */
bool weft__joins_watched(const struct weft__worker *w)
{
#ifdef WEFT_DEBUG
    (void)w;
    return true;
#else
    return w->in_turn || w->ready.fenced;
#endif
}

void weft__joins_pushed(struct weft__worker *w)
{
    struct weft__idle *idle = &w->rt->idle;
    bool parked = weft__load_seq_cst(&idle->parked) != 0;  /* pairs: PARK, JOINS-LIMIT */
    bool looked = weft__load_relaxed(&idle->lookers) != 0; /* relaxed: a hint */
    if (weft__unlikely(w->joins.watched) && (w->in_turn || (!w->ready.fenced && !parked && !looked)))
        return;
    bool alone = parked && weft__burst_alone(w);
    if (alone && !looked)
        return;
    if (parked && !alone)
        weft__joins_ask(&w->joins, 1); /* who sleeps does not ask again */
    if (!weft__joins_share(&w->joins) || !parked || alone)
        return;
    weft__notify_of_forks(w);
    weft__burst_shared(&w->burst);
}

/* Queue the list of links that was claimed from an inbox. */
static bool take(struct weft__worker *w, struct weft__inbox *inbox)
{
    struct weft__link *link = weft__inbox_claim(inbox);
    if (link == NULL)
        return false;
    while (link != NULL) {
        struct weft__link *next = link->next;
        int64_t place;
        if (!weft__ready_push(&w->ready, weft__item_of_link(link), &place)) {
            weft__inbox_push(&w->inbox, link); /* no memory to grow: one at a time, then */
            while (next != NULL) {
                link = next;
                next = link->next;
                weft__inbox_push(&w->inbox, link);
            }
            return weft__ready_size(&w->ready) != 0;
        }
        link = next;
    }
    return true;
}

bool weft__worker_take_inboxes(struct weft__worker *w)
{
    bool any = take(w, &w->inbox);
    return take(w, &w->rt->injector) || any;
}

bool weft__worker_take_own_inbox(struct weft__worker *w)
{
    return take(w, &w->inbox);
}
