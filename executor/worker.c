/* SPDX-License-Identifier: Apache-2.0 */
/* executor/worker.c -- a worker's turn: what runs next.
 *
 * Next comes, in this order (weft__worker_pick): the oldest ready item (woken fibers and created tasks in one first-in
 * first-out queue); else the youngest forked child; else what lies in the inbox or the injector. Every 64th pick looks first
 * at due timers, I/O and the injector, and takes the oldest child before a ready item, so that nothing is passed over for
 * ever. Where steps are long, 64 of them are too many for who waits for an instant or an event: then the worker looks more often (SLOWLY_LONG), as
 * it finds out at each look by the time that has passed since the last. With nothing local the worker's idle loop steals, looks around (steal.c), then parks (idle.c).
 *
 * Whom a due timer wakes goes to the end of the queue as anybody else, unless that is very long. Then what is in it has mostly not
 * begun: to begin it all first would make every sleeper late by all of it, and each would hold a stack meanwhile. So timers fire one at
 * a time then, and whom each wakes runs at once: before tasks that have not begun in all picks but the 64th, before who has waited in half
 * of them. What has not fired yet stays where the reactor's tick finds it when this worker is stuck.
 *
 * Pushes and picks share the worker's work when somebody has asked for it (hunger in ready.c, limit in joins.c): one comparison
 * of two words of the owner's. Only who was asked looks whether somebody sleeps.
 *
 * The order is a user-visible promise only with order=fifo and one worker: then picks go in asyncio's rounds. A round is what
 * was in the queue at its beginning, followed by the timers that are due; events are collected between rounds.
 *
 * Threads: all functions belong to the worker's own thread. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "executor/chain.h"
#include "executor/numa.h"
#include "executor/strand.h"
#include "executor/task_hot.h"

#define COLLECT_AGE WEFT_US(100) /* a busy worker collects events when nobody did for so long */
#define LOOK_LATE WEFT_MS(1)     /* LOOK_AROUND picks that take longer than this are too many: */
#define LOOK_AGE WEFT_US(100)    /* then a look comes about so often, or at each pick */
#define FIRE_LIMIT 256           /* timers fired in one go */
#define LONG_QUEUE 2048          /* due timers come before a queue longer than this */

/* Where no worker is the stack of children is always full, so that the inline functions come to the library, which says what is wrong. */
static void *nothing[1];
/* Aligned as a worker: it is looked at as one (weft__worker_maybe). */
alignas(struct weft__worker) struct weft__nowhere weft__nowhere = {.here = {.limit = INT64_MIN, .slots = nothing},
                                                                   .sole = WEFT__IS_FOREIGN};
__thread struct weft_here_ *weft_here_at_ = &weft__nowhere.here;

#if !WEFT_INLINE_
WEFT__NOINLINE struct weft_here_ *weft_here_(void)
{
    __asm__ volatile("" ::: "memory"); /* neither inlined nor remembered by callers */
    return weft_here_at_;
}
#endif

void weft__worker_set_self(struct weft__worker *w)
{
    weft_here_at_ = w != NULL ? (struct weft_here_ *)(void *)w : &weft__nowhere.here;
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
        weft__strand_pass(weft__task_rt(t), weft__task_strand(t));
    if (claimed < 0) {
        weft__task_finish(t, -ECANCELED);
    } else if (counted) {
        weft__worker_self()->spare.finished--; /* it was done sooner elsewhere: it counts as done at once */
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
    uint32_t running = weft__load_relaxed(&w->callbacks);    /* relaxed: own */
    weft__store_seq_cst(&w->callbacks, running + 1);         /* pairs: CALLBACKS */
    if (weft__load_seq_cst(&weft__task_rt(t)->refused) != 0) /* pairs: CALLBACKS */
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

static inline bool claim(struct weft__worker *w, uintptr_t item)
{
    if (item & WEFT__ITEM_WAITED)
        return true;
    struct weft_task *t = (struct weft_task *)item;
    if (weft__unlikely(t->kind >= WEFT__KIND_CALLBACK))
        return claim_unusual(item);
    if (weft__likely(weft__task_claim_alone(w, t)))
        return true;
    bool counted = weft__task_counted(t); /* before somebody else has it */
    int claimed = weft__task_claim(t);
    return weft__likely(claimed > 0) || refused(t, counted, claimed);
}

bool weft__item_claim(uintptr_t item)
{
    return claim(weft__worker_self(), item);
}

bool weft__worker_fire_timers(struct weft__worker *w)
{
    if (weft__timers_earliest(&w->timers) == WEFT_FOREVER)
        return false;
    weft_ns now = weft__runtime_now(w->rt);
    weft__announce_later(w->rt);
    unsigned fired = weft__timers_fire(&w->timers, now, FIRE_LIMIT, false);
    weft__announce_now(w->rt);
    return fired != 0;
}

/* How long have the steps been since the last look? So the next one comes after a whole round of picks, or sooner. A few steps that were short (those of
 * sleepers that it woke), or a time without work (looked_at 0: not known), are not believed at once: twice as many picks, then. */
static void set_pace(struct weft__worker *w, weft_ns now)
{
    uint64_t picks = w->picks - w->looked, took = (uint64_t)(now - w->looked_at), span = WEFT__LOOK_AROUND;
    if (weft__unlikely(w->slowly & WEFT__SLOWLY_LONG))
        span = 2 * (uint64_t)w->look_span;
    if (weft__unlikely(w->looked_at != 0 && took * WEFT__LOOK_AROUND > (uint64_t)LOOK_LATE * (picks + (picks == 0)))) {
        uint64_t wanted = picks * (uint64_t)LOOK_AGE / took + 1;
        span = wanted < span ? wanted : span;
    }
    w->looked = w->picks;
    w->looked_at = now;
    if (weft__likely(span >= WEFT__LOOK_AROUND)) {
        w->slowly &= (uint8_t)~WEFT__SLOWLY_LONG;
    } else {
        w->slowly |= WEFT__SLOWLY_LONG;
        w->until_look = w->look_span = (unsigned)span;
    }
}

static WEFT__COLD void look_around(struct weft__worker *w)
{
    struct weft_runtime *rt = w->rt;
    if (weft__load_relaxed(&w->hurry) & WEFT__HURRY_TICK)                /* relaxed: a hint */
        weft__fetch_and_acq_rel(&w->hurry, ~(uint32_t)WEFT__HURRY_TICK); /* pairs: PINNED; the other bits stay */
    weft__worker_take_inboxes(w);
    if (weft__unlikely(weft__delay_wanted(&w->delay)))
        weft__delay_push(w);
    if (weft__likely(weft__ready_size(&w->ready) <= LONG_QUEUE)) {
        weft__worker_fire_timers(w);
    } else if (weft__timers_earliest(&w->timers) != WEFT_FOREVER) {
        w->due_before = weft__runtime_now(rt);
        if (weft__timers_earliest(&w->timers) <= w->due_before)
            w->slowly |= WEFT__SLOWLY_DUE; /* pick_due fires them */
        else
            w->slowly &= (uint8_t)~WEFT__SLOWLY_DUE;
    }
    if (rt->is_virtual && rt->driver == NULL)
        return;
    weft_ns now = weft__monotonic();
    if (!rt->is_virtual) /* there nothing is late while anything runs */
        set_pace(w, now);
    if (rt->driver != NULL && now - weft__load_relaxed(&rt->idle.last_collect) > COLLECT_AGE) /* relaxed: a hint */
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
        if (weft__unlikely(rt->at_round_end != NULL)) {
            struct weft__fiber *f = rt->at_round_end;
            rt->at_round_end = NULL;
            return weft__item_of_fiber(f);
        }
        if (weft__unlikely(rt->halted))
            return 0;
        weft__worker_take_inboxes(w);
        weft__try_collect(rt, (int32_t)w->index);
        if (weft__unlikely(weft__delay_wanted(&w->delay)))
            weft__delay_push(w);
        w->round_left = weft__ready_size(&w->ready);
        if (weft__timers_earliest(&w->timers) <= weft__runtime_now(rt))
            w->round_timers = weft__timers_sequence(&w->timers);
        if (w->round_left == 0 && w->round_timers == 0)
            return 0;
    }
}

/* The queue is long: fire the first timer that was due at the last look around. What it makes ready; 0: nothing, or it is the turn of the
 * queue, or no timer is left. */
static WEFT__NOINLINE uintptr_t pick_due(struct weft__worker *w)
{
    struct weft__hold hold;
    if ((weft__ready_oldest(&w->ready) & WEFT__ITEM_WAITED) &&
        (w->picks & (WEFT__LOOK_AROUND / 2))) /* many in a row: they run out of what was asked for ahead */
        return 0;
    if (weft__timers_earliest(&w->timers) > w->due_before) {
        w->slowly &= (uint8_t)~WEFT__SLOWLY_DUE;
        return 0;
    }
    weft__hold_begin(&hold);
    weft__timers_fire_next(&w->timers, w->due_before, weft__fiber_timer_ahead);
    struct weft__link *first = hold.first;
    if (first != NULL && weft__unlikely(weft__pinned_of(weft__item_of_link(first)) != 0))
        first = NULL; /* it has a place to go to, like all that is left */
    if (weft__likely(first != NULL)) {
        hold.first = first->next;
        if (first->next == NULL)
            hold.last = NULL;
    }
    weft__hold_end(&hold); /* if it was not only one, the others wait in the queue */
    return first != NULL ? weft__item_of_link(first) : 0;
}

/* It is time to look around, or somebody has said something. Of what is pinned one comes at every second pick, and at every one that looks around. */
static WEFT__COLD uintptr_t pick_rarely(struct weft__worker *w)
{
    bool round = (w->picks & (WEFT__LOOK_AROUND - 1)) == 0;
    if (round || (weft__load_relaxed(&w->hurry) & WEFT__HURRY_TICK)) { /* relaxed: a hint */
        look_around(w);
        uintptr_t item = weft__joins_pop_oldest(&w->joins);
        if (item != 0)
            return item;
    }
    w->pinned_turn = round || !w->pinned_turn;
    return w->pinned_turn ? weft__pinned_take(w) : 0;
}

/* The queue is long, or its steps are. */
static WEFT__NOINLINE uintptr_t pick_slowly(struct weft__worker *w)
{
    if ((w->slowly & WEFT__SLOWLY_LONG) && --w->until_look == 0)
        look_around(w);
    return w->slowly & WEFT__SLOWLY_DUE ? pick_due(w) : 0;
}

static uintptr_t pick_any(struct weft__worker *w)
{
    uintptr_t item = 0;
    if (weft__unlikely((++w->picks & (WEFT__LOOK_AROUND - 1)) == 0 ||
                       weft__load_relaxed(&w->hurry) != 0)) /* relaxed: a hint */
        item = pick_rarely(w);
    else if (weft__unlikely(w->slowly & (WEFT__SLOWLY_DUE | WEFT__SLOWLY_LONG)))
        item = pick_slowly(w);
    if (weft__likely(item == 0)) {
        item = weft__ready_pop(&w->ready);
        weft__look_ahead(&w->ready);
    }
    if (weft__unlikely(weft__ready_asked(&w->ready)))
        weft__worker_share(w);
    return item != 0 ? item : weft__joins_pop(&w->joins, 0);
}

uintptr_t weft__worker_pick(struct weft__worker *w)
{
    if (weft__unlikely(w->slowly & WEFT__SLOWLY_CHAIN)) {
        uintptr_t item = weft__chain_pick(w);
        if (item != 0)
            return item;
    }
    for (;;) {
        uintptr_t item;
        if (weft__unlikely(weft__load_relaxed(&w->hurry) &
                           WEFT__HURRY_ASIDE)) /* relaxed: a hint; the idle loop asks again */
            return 0;
        if (weft__unlikely(w->in_turn)) {
            item = w->rt->fifo ? pick_in_order(w) : weft__seeded_pick(w);
            if (item == 0)
                return 0;
        } else {
            item = pick_any(w);
            if (item == 0) {
                if (weft__worker_take_inboxes(w))
                    continue;
                item = weft__pinned_take(w);
                if (item == 0)
                    return 0;
            }
        }
        if (weft__likely(claim(w, item)))
            return item;
    }
}

/* What is the oldest ready item when the library's own entries before it (a probe of the delay, the rest of a chain) have been run? Else they would hide what
 * is behind them from who goes on without picking. */
static uintptr_t oldest_but_entries(struct weft__worker *w)
{
    struct weft__ready *r = &w->ready;
    for (;;) {
        uintptr_t oldest = weft__ready_oldest(r);
        if (oldest == 0 || (oldest & WEFT__ITEM_WAITED) || weft__ready_open(r))
            return oldest;
        weft__ready_enter(r);
        bool entry = weft__ready_at(r, oldest, weft__load_relaxed(&r->head)) && /* relaxed: inside */
                     weft__item_task(oldest)->kind == WEFT__KIND_ENTRY &&
                     weft__ready_take(r, oldest, weft__load_relaxed(&r->head)); /* relaxed: inside */
        weft__ready_leave(r);
        if (!entry)
            return oldest;
        (void)claim_unusual(oldest);
    }
}

bool weft__worker_look_around(struct weft__worker *w)
{
    look_around(w);
    if (weft__ready_asked(&w->ready))
        weft__worker_share(w);
    bool pinned = (weft__load_relaxed(&w->hurry) & ~(uint32_t)WEFT__HURRY_TICK) != 0; /* relaxed: a hint */
    return !pinned && !(w->slowly & WEFT__SLOWLY_DUE) && !(oldest_but_entries(w) & WEFT__ITEM_WAITED);
}

bool weft__worker_is_next(struct weft__worker *w, uintptr_t item)
{
    return oldest_but_entries(w) == item;
}

/* What pick_quick does not decide: `item` was taken from the queue, 0: it was empty. */
uintptr_t weft__worker_pick_on(struct weft__worker *w, uintptr_t item)
{
    if (weft__unlikely(weft__ready_asked(&w->ready)))
        weft__worker_share(w);
    if (item != 0 && weft__likely(claim(w, item)))
        return item;
    return weft__worker_pick(w);
}

/* Something lies open: it is older. */
uintptr_t weft__worker_pick_open(struct weft__worker *w)
{
    uintptr_t item = weft__ready_pop(&w->ready);
    weft__look_ahead(&w->ready);
    if (weft__likely((item & WEFT__ITEM_WAITED) && !weft__ready_asked(&w->ready)))
        return item;
    return weft__worker_pick_on(w, item);
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
    /* What this thread touches first (timers, buffers, what tasks allocate) comes from its node, too. */
    if (rt->bound && w->place.node >= 0)
        weft__numa_prefer(w->place.node);
    if (weft__signal_stack_enter() < 0)
        weft__report(rt, "worker %u has no alternate signal stack: a stack overflow will not be named", w->index);
    weft__context_init_thread(&w->context);
    while (weft__load_acquire(&rt->stopping) == 0) { /* pairs: STOPPING */
        if (weft__stands_aside(w)) {
            weft__stand_aside(w);
            continue;
        }
        uintptr_t item = weft__worker_pick(w);
        if (item == 0) {
            w->looked_at = 0; /* the time without work is no step */
            if (weft__unlikely(w->burst.since != 0))
                weft__burst_end(w);
            if (weft__unlikely(weft__delay_told(&w->delay)))
                weft__delay_none(w);
            if (!rt->in_turn && weft__worker_fire_timers(w))
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
    for (unsigned i = 0; i < WEFT__ROOMS; i++)
        weft__slab_cache_flush(&w->tasks[i]);
    weft__worker_set_self(NULL);
    return NULL;
}

static void free_homes(struct weft__worker *w)
{
    free(w->stacks_away);
    w->stacks_away = NULL;
    for (unsigned i = 0; i < WEFT__ROOMS; i++) {
        free(w->tasks[i].away);
        w->tasks[i].away = NULL;
    }
    free(w->blocks.away);
    free(w->large_blocks.away);
    w->blocks.away = w->large_blocks.away = NULL;
}

int weft__worker_init(struct weft__worker *w, struct weft_runtime *rt, unsigned index)
{
    memset(w, 0, sizeof *w);
    w->rt = rt;
    w->index = index;
    w->sole = rt->sole ? WEFT__IS_SOLE : WEFT__OF_SEVERAL;
    w->in_turn = rt->in_turn;
    w->slowly = rt->in_turn ? WEFT__SLOWLY_IN_TURN : 0;
    w->unusual = (uint16_t)((rt->in_turn ? WEFT__FIBER_IN_TURN : 0U) | (rt->inlining ? 0U : WEFT__FIBER_APART));
    w->random = (rt->options.seed + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ ((uint64_t)index << 32 | 1);
    if (w->random == 0)
        w->random = 1;
    w->place = (struct weft_place){.cpu = -1, .node = rt->plan->worker[index].node};
    weft__store_relaxed(&w->beside, -1); /* relaxed: nobody else knows it yet */
    weft__burst_init(&w->burst);
    w->own_place = &rt->pinned.place[index];
    for (unsigned k = 0; k < rt->pinned.nodes; k++)
        if (rt->pinned.place[rt->pinned.workers + k].node == w->place.node)
            w->node_place = &rt->pinned.place[rt->pinned.workers + k];
    int home = rt->plan->worker[index].home, node = rt->bound ? rt->plan->worker[index].node : -1;
    w->home = rt->homes > 1 && home >= 0 ? (uint32_t)home : 0;
    if (rt->homes > 1)
        w->stacks_away = calloc(rt->homes, sizeof *w->stacks_away);
    for (unsigned i = 0; i < WEFT__ROOMS; i++)
        if (weft__slab_cache_init(&w->tasks[i], &rt->tasks[i], w->home) < 0)
            goto err_homes;
    if ((rt->homes > 1 && w->stacks_away == NULL) || weft__slab_cache_init(&w->blocks, &rt->blocks, w->home) < 0 ||
        weft__slab_cache_init(&w->large_blocks, &rt->large_blocks, w->home) < 0)
        goto err_homes;
    weft__inbox_init(&w->inbox);
    weft__parker_init(&w->parker);
    weft__timers_init(&w->timers);
    weft__delay_init(&w->delay);
    if (weft__ready_init(&w->ready, 256, node) < 0)
        goto err_homes;
    if (weft__joins_init(&w->joins, 256, node) < 0)
        goto err_ready;
    w->joins.watched = weft__joins_watched(w);
    weft__joins_satisfied(&w->joins);
    return 0;
err_ready:
    weft__ready_destroy(&w->ready);
err_homes:
    free_homes(w);
    return -ENOMEM;
}

void weft__worker_destroy(struct weft__worker *w)
{
    weft__ready_destroy(&w->ready);
    weft__joins_destroy(&w->joins);
    weft__timers_destroy(&w->timers);
    free_homes(w);
}
