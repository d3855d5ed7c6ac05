/* SPDX-License-Identifier: Apache-2.0 */
/* executor/worker.c -- a worker's turn: what runs next.
 *
 * Next comes, in this order (weft__worker_pick): the oldest ready item (woken fibers and created tasks in one first-in
 * first-out queue); else the youngest forked child; else what lies in the inbox or the injector. Every 64th pick looks first
 * at due timers, I/O and the injector, and takes the oldest child before a ready item, so that nothing is passed over for
 * ever. With nothing local the worker's idle loop steals, then parks (idle.c).
 *
 * The order is a user-visible promise only with order=fifo and one worker: then picks go in asyncio's rounds. A round is what
 * was in the queue at its beginning, followed by the timers that are due; events are collected between rounds.
 *
 * Threads: all functions belong to the worker's own thread but make_ready, item_of_link, link_of_item. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "executor/runtime.h"
#include "executor/strand.h"

#define COLLECT_AGE WEFT_US(100) /* a busy worker collects events when nobody did for so long */
#define FIRE_LIMIT 256           /* timers fired in one go */

/* Where no worker is the deque of children is always full, so that the inline functions come to the library, which says what is wrong. */
static void *nothing[1];
struct weft_here_ weft__nowhere = {.limit = INT64_MIN, .slots = nothing};
__thread struct weft_here_ *weft_here_at_ = &weft__nowhere;

#if !WEFT_INLINE_
WEFT__NOINLINE struct weft_here_ *weft_here_(void)
{
    __asm__ volatile("" ::: "memory"); /* neither inlined nor remembered by callers */
    return weft_here_at_;
}
#endif

void weft__worker_set_self(struct weft__worker *w)
{
    weft_here_at_ = w != NULL ? (struct weft_here_ *)(void *)w : &weft__nowhere;
}

/* ---- ready items ------------------------------------------------------------------------------------------------- */

uintptr_t weft__item_of_link(struct weft__link *link)
{
    /* Tasks and fibers both begin with their link and their kind. */
    struct weft_task *t = weft__container_of(link, struct weft_task, link);
    if (t->kind == WEFT__KIND_FIBER)
        return weft__item_of_fiber(weft__container_of(link, struct weft__fiber, link));
    return weft__item_of_task(t);
}

struct weft__link *weft__link_of_item(uintptr_t item)
{
    if (item & WEFT__ITEM_FIBER)
        return &((struct weft__fiber *)(item & ~WEFT__ITEM_FIBER))->link;
    return &((struct weft_task *)item)->link;
}

static inline void push_ready(struct weft_runtime *rt, uintptr_t item);

/* The strand of a ready item; NULL for most. */
static inline struct weft_strand *strand_of(uintptr_t item)
{
    if (item & WEFT__ITEM_FIBER) {
        const struct weft__fiber *f = (const struct weft__fiber *)(item & ~WEFT__ITEM_FIBER);
        return weft__likely(!(f->unusual & WEFT__FIBER_STRAND)) ? NULL : f->strand;
    }
    const struct weft_task *t = (const struct weft_task *)item;
    return t->kind == WEFT__KIND_TASK ? weft__task_strand(t) : NULL;
}

void weft__make_ready(struct weft_runtime *rt, uintptr_t item)
{
    struct weft_strand *s = strand_of(item);
    if (weft__likely(s == NULL) || weft__strand_arrive(s, weft__link_of_item(item)))
        push_ready(rt, item);
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
        push_ready(rt, weft__item_of_link(next));
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
        push_ready(hold->rt, weft__item_of_link(link));
        link = next;
    }
    if (many)
        weft__announce_now(hold->rt);
}

/* ---- ready items, continued -------------------------------------------------------------------------------------- */

static inline void push_ready(struct weft_runtime *rt, uintptr_t item)
{
    struct weft__worker *w = weft__worker_self();
    if (weft__likely(w != NULL && w->rt == rt)) {
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
static bool joins_watched(const struct weft__worker *w)
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
    bool parked = weft__load_seq_cst(&idle->parked) != 0; /* pairs: PARK, JOINS-LIMIT */
    if (weft__unlikely(w->joins.watched)) {
        if (w->in_turn ||
            (!w->ready.fenced && !parked && weft__load_relaxed(&idle->lookers) == 0)) /* relaxed: a hint */
            return;
    } else if (parked) {
        weft__joins_ask(&w->joins, 1); /* who sleeps does not ask again */
    }
    if (weft__joins_share(&w->joins) && parked)
        weft__notify(w->rt, w);
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

/* ---- the turn ---------------------------------------------------------------------------------------------------- */

/* What was picked will not run, unless there is something to run in its place: true. */
static WEFT__NOINLINE bool refused(struct weft_task *t, bool counted, int claimed)
{
    /* Cancelled before it began, or somebody else has claimed it and has a reference of its own: this one is the entry's. */
    if (claimed < 0 && counted)
        weft__task_met_unstarted(t);
    if (claimed < 0 && weft__task_owns(t))
        return true;
    if (counted)
        weft__strand_pass(t->rt, weft__task_strand(t));
    if (claimed < 0) {
        weft__task_finish(t, -ECANCELED);
    } else if (counted) {
        weft__task_unref(t);
    }
    return false;
}

void weft__callback_left(struct weft__worker *w)
{
    uint32_t running = weft__load_relaxed(&w->callbacks); /* relaxed: own */
    weft__store_release(&w->callbacks, running - 1);      /* pairs: CALLBACKS */
}

/* At the end of the run callbacks begin no more; the root waits for those that have: what they create, it finds. */
static bool claim_callback(struct weft_task *t)
{
    struct weft__worker *w = weft__worker_self();
    uint32_t running = weft__load_relaxed(&w->callbacks); /* relaxed: own */
    weft__store_seq_cst(&w->callbacks, running + 1);      /* pairs: CALLBACKS */
    if (weft__load_seq_cst(&t->rt->refused) != 0)         /* pairs: CALLBACKS */
        weft__callback_drop(t);
    else if (weft__task_claim(t) != 0)
        return true;
    else
        weft__task_unref(t); /* cancelled */
    weft__callback_left(w);
    return false;
}

static WEFT__NOINLINE bool claim_unusual(uintptr_t item)
{
    struct weft_task *t = (struct weft_task *)item;
    if (t->kind == WEFT__KIND_CALLBACK)
        return claim_callback(t);
    struct weft__entry *entry = (struct weft__entry *)item;
    entry->run(entry);
    return false;
}

static inline bool claim(uintptr_t item)
{
    if (item & WEFT__ITEM_FIBER)
        return true;
    struct weft_task *t = (struct weft_task *)item;
    if (weft__unlikely(t->kind >= WEFT__KIND_CALLBACK))
        return claim_unusual(item);
    bool counted = weft__task_counted(t); /* before somebody else has it */
    int claimed = weft__task_claim(t);
    return weft__likely(claimed > 0) || refused(t, counted, claimed);
}

bool weft__item_claim(uintptr_t item)
{
    return claim(item);
}

static bool fire_timers(struct weft__worker *w)
{
    if (weft__timers_earliest(&w->timers) == WEFT_FOREVER)
        return false;
    weft_ns now = weft__runtime_now(w->rt);
    weft__announce_later(w->rt);
    unsigned fired = weft__timers_fire(&w->timers, now, FIRE_LIMIT, false);
    weft__announce_now(w->rt);
    return fired != 0;
}

static WEFT__COLD void look_around(struct weft__worker *w)
{
    struct weft_runtime *rt = w->rt;
    weft__store_relaxed(&w->hurry, 0); /* relaxed: a hint */
    weft__worker_take_inboxes(w);
    fire_timers(w);
    if (rt->driver != NULL &&
        weft__monotonic() - weft__load_relaxed(&rt->idle.last_collect) > COLLECT_AGE) /* relaxed: a hint */
        weft__try_collect(rt, (int32_t)w->index);
}

/* order=fifo: the next item in asyncio's order; 0: nothing is ready, and no timer is due. A round is what is in the queue at its
 * beginning, then the timers that are due then (a timer that fires is an entry of its own, in place). */
static uintptr_t pick_in_order(struct weft__worker *w)
{
    struct weft_runtime *rt = w->rt;
    for (;;) {
        if (w->round_left > 0) {
            uintptr_t item = weft__ready_pop(&w->ready);
            w->round_left = item != 0 ? w->round_left - 1 : 0;
            if (item != 0)
                return item;
        }
        if (w->round_timers != 0) {
            if (weft__timers_fire_one(&w->timers, weft__runtime_now(rt), w->round_timers)) {
                uintptr_t item = w->due;
                w->due = 0;
                if (item != 0)
                    return item;
                continue;
            }
            w->round_timers = 0;
        }
        if (weft__unlikely(rt->round_ends != 0) && --rt->round_ends == 0)
            return weft__item_of_fiber(rt->at_round_end);
        if (weft__unlikely(rt->halted))
            return 0;
        weft__worker_take_inboxes(w);
        weft__try_collect(rt, (int32_t)w->index);
        w->round_left = weft__ready_size(&w->ready);
        if (weft__timers_earliest(&w->timers) <= weft__runtime_now(rt))
            w->round_timers = weft__timers_sequence(&w->timers);
        if (w->round_left == 0 && w->round_timers == 0 && rt->round_ends == 0)
            return 0;
    }
}

static uintptr_t pick_any(struct weft__worker *w)
{
    uintptr_t item = 0;
    if (weft__unlikely((++w->picks & (WEFT__LOOK_AROUND - 1)) == 0 ||
                       weft__load_relaxed(&w->hurry) != 0)) { /* relaxed: a hint */
        look_around(w);
        item = weft__joins_pop_oldest(&w->joins);
    }
    if (weft__likely(item == 0))
        item = weft__ready_pop(&w->ready);
    if (weft__unlikely(weft__ready_asked(&w->ready)))
        weft__worker_share(w);
    return item != 0 ? item : weft__joins_pop(&w->joins, 0);
}

uintptr_t weft__worker_pick(struct weft__worker *w)
{
    for (;;) {
        uintptr_t item;
        if (weft__unlikely(w->in_turn)) {
            item = w->rt->fifo ? pick_in_order(w) : weft__seeded_pick(w);
            if (item == 0)
                return 0;
        } else {
            item = pick_any(w);
            if (item == 0) {
                if (!weft__worker_take_inboxes(w))
                    return 0;
                continue;
            }
        }
        if (weft__likely(claim(item)))
            return item;
    }
}

bool weft__worker_look_around(struct weft__worker *w)
{
    look_around(w);
    if (weft__ready_asked(&w->ready))
        weft__worker_share(w);
    return !(weft__ready_oldest(&w->ready) & WEFT__ITEM_FIBER);
}

/* What pick_quick does not decide: `item` was taken from the queue, 0: it was empty. */
uintptr_t weft__worker_pick_on(struct weft__worker *w, uintptr_t item)
{
    if (weft__unlikely(weft__ready_asked(&w->ready)))
        weft__worker_share(w);
    if (item != 0 && weft__likely(claim(item)))
        return item;
    return weft__worker_pick(w);
}

void *weft__worker_main(void *worker)
{
    struct weft__worker *w = worker;
    struct weft_runtime *rt = w->rt;
    weft__worker_set_self(w);
    weft__store_relaxed(&w->tid, gettid()); /* relaxed: a hint for reports */
    char name[16];
    snprintf(name, sizeof name, "weft-%u", w->index);
    prctl(PR_SET_NAME, name);
    w->pin_error = weft__topology_pin(rt->plan, w->index, &w->place);
    if (w->pin_error < 0)
        weft__report(rt, "worker %u could not be pinned: %s; it runs where the kernel puts it", w->index,
                     weft_strerror(w->pin_error));
    if (weft__signal_stack_enter() < 0)
        weft__report(rt, "worker %u has no alternate signal stack: a stack overflow will not be named", w->index);
    weft__context_init_thread(&w->context);
    while (weft__load_acquire(&rt->stopping) == 0) { /* pairs: STOPPING */
        uintptr_t item = weft__worker_pick(w);
        if (item == 0) {
            if (!rt->in_turn && fire_timers(w))
                continue;
            item = weft__worker_steal(w);
            if (item == 0)
                item = weft__worker_search(w);
        }
        if (item != 0) {
            weft__search_ended(w);
            weft__worker_enter(w, item);
        } else {
            weft__park(w);
        }
    }
    weft__context_destroy(&w->context);
    weft__signal_stack_leave();
    weft__slab_cache_flush(&w->tasks);
    weft__worker_set_self(NULL);
    return NULL;
}

int weft__worker_init(struct weft__worker *w, struct weft_runtime *rt, unsigned index)
{
    memset(w, 0, sizeof *w);
    w->rt = rt;
    w->index = index;
    w->in_turn = rt->in_turn;
    w->unusual = (uint16_t)((rt->in_turn ? WEFT__FIBER_IN_TURN : 0U) | (rt->inlining ? 0U : WEFT__FIBER_APART));
    w->random = (rt->options.seed + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ ((uint64_t)index << 32 | 1);
    if (w->random == 0)
        w->random = 1;
    w->place = (struct weft_place){.cpu = -1, .node = rt->plan->worker[index].node};
    w->tasks.slab = &rt->tasks;
    weft__inbox_init(&w->inbox);
    weft__parker_init(&w->parker);
    weft__timers_init(&w->timers);
    if (weft__ready_init(&w->ready, 256) < 0)
        return -ENOMEM;
    if (weft__joins_init(&w->joins, 256) < 0) {
        weft__ready_destroy(&w->ready);
        return -ENOMEM;
    }
    w->joins.watched = joins_watched(w);
    weft__joins_satisfied(&w->joins);
    return 0;
}

void weft__worker_destroy(struct weft__worker *w)
{
    weft__ready_destroy(&w->ready);
    weft__joins_destroy(&w->joins);
    weft__timers_destroy(&w->timers);
}
