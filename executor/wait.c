/* SPDX-License-Identifier: Apache-2.0 */
/* executor/wait.c -- suspending and waking: the transitions of the fiber word (table in fiber.h).
 *
 * Threads: begin, commit, abandon and yield belong to the running fiber; wake and request to anybody. The one rule for all
 * of them: whoever moves the word to WOKEN from PARKED without LOCKED makes the fiber ready, and nobody else does. */
#include <errno.h>

#include "executor/chain.h"
#include "executor/requests.h"
#include "executor/runtime.h"

/* The word of the wait with this ticket; `kept`: bits that others have set, or LOCKED. */
static inline uint64_t word_of(uint32_t ticket, uint64_t state, uint64_t reason, uint64_t kept)
{
    return (uint64_t)ticket << 32 | reason << 8 | kept | state;
}

static inline bool woken(uint64_t word, uint32_t ticket)
{
    return word >> 32 == ticket && (word & WEFT__FIBER_STATE) == WEFT__FIBER_WOKEN;
}

void weft__in_callback(const struct weft__fiber *f)
{
    const struct weft_task *t = f->task;
    while (t->below != NULL) /* a forked child may run on top */
        t = t->below;
    weft__misuse(t->frame->coro->name, "it runs as a callback and must not wait; create a task for what has to");
}

static inline void forbid_in_callback(const struct weft__fiber *f)
{
    if (weft__unlikely(f->unusual & WEFT__FIBER_CALLBACK))
        weft__in_callback(f);
}

uint32_t weft__wait_begin(struct weft__fiber *f, const struct weft__wait_kind *kind, void *object)
{
    forbid_in_callback(f);
    weft__store_relaxed(&f->wait_kind, kind); /* relaxed: FIBER-WORD publishes */
    f->wait_object = object;
    return ++f->ticket;
}

/* Not plainly parked: about to be, woken, held by a canceller, or the wait is over. */
static WEFT__NOINLINE bool wake_slow(struct weft__fiber *f, uint32_t ticket, enum weft__wake reason)
{
    uint64_t word = weft__load_acquire(&f->word); /* pairs: FIBER-WORD */
    for (;;) {
        bool parked = word >> 32 == ticket && (word & WEFT__FIBER_STATE) == WEFT__FIBER_PARKED;
        if (!parked && word >> 32 != ticket - 1)
            return false;
        uint64_t kept = word & (WEFT__FIBER_LOCKED | WEFT__FIBER_REQUEST);
        if (weft__sole_cas(&f->word, &word, word_of(ticket, WEFT__FIBER_WOKEN, reason, kept))) { /* pairs: FIBER-WORD */
            if (parked && !(kept & WEFT__FIBER_LOCKED))
                weft__make_ready(f->worker->rt, weft__item_of_fiber(f));
            return true;
        }
    }
}

bool weft__wake(struct weft__fiber *f, uint32_t ticket, enum weft__wake reason)
{
    uint64_t parked = word_of(ticket, WEFT__FIBER_PARKED, 0, 0);
    if (weft__unlikely(
            weft__load_relaxed(&f->word) != parked || /* relaxed: the swap looks again */
            !weft__sole_swap(&f->word, parked, word_of(ticket, WEFT__FIBER_WOKEN, reason, 0)))) /* pairs: FIBER-WORD */
        return wake_slow(f, ticket, reason);
    weft__make_ready(f->worker->rt, weft__item_of_fiber(f));
    return true;
}

static inline const char *asked(struct weft_task *t)
{
    struct weft__task_extra *x = weft__task_has_extra(t);
    return weft__likely(x == NULL) ? NULL : weft__load_acquire(&x->asked); /* pairs: TASK-C */
}

/* The holder of the fiber hands requests of the chain upwards to the innermost task: each one between has passed it on, and counts it. */
static void hand_up(struct weft__fiber *f)
{
    struct weft_task *innermost = f->task;
    const char *message = NULL;
    bool any = false;
    for (struct weft_task *t = innermost != NULL ? innermost->below : NULL; t != NULL; t = t->below) {
        if (weft__likely(!weft__mark_take(t)))
            continue;
        for (struct weft_task *above = innermost; above != t; above = above->below)
            if (!weft__requests_full(above))
                weft__fetch_add_acq_rel(&above->requests, 1); /* pairs: TASK-C */
        message = asked(t);
        any = true;
    }
    if (weft__likely(!any))
        return;
    if (weft__unlikely(message != NULL || weft__task_has_extra(innermost) != NULL)) {
        struct weft__task_extra *x = weft__task_extra(innermost);
        if (x != NULL)
            weft__store_relaxed(&x->asked, message); /* relaxed: the mark that follows orders */
    }
    if (weft__requests_again(innermost))
        weft__fetch_or_acq_rel(&innermost->word, WEFT__C); /* pairs: TASK-C */
}

/* The holder takes what is pending for the innermost task, the chain's included. False: nothing is. */
static bool take_mark(struct weft__fiber *f)
{
    hand_up(f);
    return f->task != NULL && weft__mark_take(f->task);
}

/* Any thread. */
static void set_request(struct weft__fiber *f, bool on)
{
    uint64_t word = weft__load_acquire(&f->word); /* pairs: FIBER-WORD */
    while (!weft__sole_cas(&f->word, &word,
                           on ? word | WEFT__FIBER_REQUEST
                              : word & ~(uint64_t)WEFT__FIBER_REQUEST)) /* pairs: FIBER-WORD */
        ;
}

/* The holder of a suspended (or about to suspend) fiber delivers a mark or passes it on. True: it was passed to a CHILD in this
 * fiber's frame, and the entry on the list has taken over LOCKED. */
static bool deliver_mark(struct weft__fiber *f, struct weft__cancel_list *list, bool locked)
{
    if (!take_mark(f))
        return false;
    struct weft_task *innermost = f->task;
    const struct weft__wait_kind *kind = weft__load_relaxed(&f->wait_kind); /* relaxed: FIBER-WORD published it */
    size_t before = list->count;
    list->message = asked(innermost);
    if (kind->cancel != NULL && kind->cancel(f, f->wait_object, list)) {
        bool child = list->count == before + 1 && !weft__task_counted(list->entries[before].task);
        if (child && locked)
            list->entries[before].unlock = f;
        return child && locked;
    }
    struct weft__task_extra *x = weft__task_has_extra(innermost);
    if (weft__unlikely(x != NULL)) /* told before the wake; if that comes late, nobody looks at it */
        weft__store_release(&x->delivered, list->message); /* pairs: FIBER-WORD */
    if (!weft__wake(f, f->ticket, WEFT__CANCELLED) && weft__requests_again(innermost)) {
        /* It has been woken otherwise: the request meets it when it resumes. */
        weft__fetch_or_acq_rel(&innermost->word, WEFT__C); /* pairs: TASK-C */
        set_request(f, true);
    }
    return false;
}

/* The holder of LOCKED works off requests that came meanwhile, then unlocks (or leaves that to an entry of the list). */
void weft__fiber_unlock(struct weft__fiber *f, struct weft__cancel_list *list)
{
    uint64_t word = weft__load_acquire(&f->word); /* pairs: FIBER-WORD */
    for (;;) {
        bool again = (word & WEFT__FIBER_REQUEST) && (word & WEFT__FIBER_STATE) == WEFT__FIBER_PARKED;
        uint64_t next = again ? word & ~(uint64_t)WEFT__FIBER_REQUEST : word & ~(uint64_t)WEFT__FIBER_LOCKED;
        if (!weft__sole_cas(&f->word, &word, next)) /* pairs: FIBER-WORD */
            continue;
        if (!again) {
            if ((word & WEFT__FIBER_STATE) == WEFT__FIBER_WOKEN)
                weft__make_ready(f->worker->rt, weft__item_of_fiber(f));
            return;
        }
        if (deliver_mark(f, list, true))
            return;
        word = weft__load_acquire(&f->word); /* pairs: FIBER-WORD */
    }
}

static void serve_and_unlock(struct weft__fiber *f, struct weft__cancel_list *list)
{
    if (!deliver_mark(f, list, true))
        weft__fiber_unlock(f, list);
}

/* The fiber slept in a chain, and is the caller's now. */
static void serve_chain(struct weft__fiber *f, struct weft__cancel_list *list)
{
    set_request(f, false);
    (void)deliver_mark(f, list, false);
    weft__make_ready(f->rt, weft__item_of_fiber(f));
}

void weft__fiber_request(struct weft__fiber *f, struct weft__cancel_list *list)
{
    if (f == weft__fiber_self()) {
        /* A task cancels one that awaits it on the same stack: its own chain. It has the mark at once, and meets it when it waits. */
        hand_up(f);
        weft__fetch_or_acq_rel(&f->word, (uint64_t)WEFT__FIBER_REQUEST); /* pairs: FIBER-WORD */
        return;
    }
    uint64_t word = weft__load_acquire(&f->word); /* pairs: FIBER-WORD */
    for (;;) {
        bool take = (word & WEFT__FIBER_STATE) == WEFT__FIBER_PARKED && !(word & WEFT__FIBER_LOCKED);
        uint64_t next = word | (uint64_t)(take ? WEFT__FIBER_LOCKED : WEFT__FIBER_REQUEST);
        if (weft__sole_cas(&f->word, &word, next)) { /* pairs: FIBER-WORD */
            if (take)
                serve_and_unlock(f, list);
            else if (weft__unlikely(weft__load_acquire(&f->chain_at) != NULL) && /* pairs: CHAIN-AT */
                     weft__chain_take(f))
                serve_chain(f, list);
            return;
        }
    }
}

/* It has been woken already, or a cancellation asked for. */
static WEFT__NOINLINE void park_slow(struct weft__fiber *f, uint32_t ticket)
{
    uint64_t word = weft__load_acquire(&f->word); /* pairs: FIBER-WORD */
    for (;;) {
        if (woken(word, ticket)) {
            weft__make_ready(f->worker->rt, weft__item_of_fiber(f));
            return;
        }
        bool requested = word & WEFT__FIBER_REQUEST;
        uint64_t next = word_of(ticket, WEFT__FIBER_PARKED, 0, requested ? WEFT__FIBER_LOCKED : 0);
        if (weft__sole_cas(&f->word, &word, next)) { /* pairs: FIBER-WORD */
            if (requested) {
                struct weft__cancel_list list;
                weft__cancel_list_init(&list);
                serve_and_unlock(f, &list);
                weft__cancel_run(&list);
            }
            return;
        }
    }
}

/* On the next context: the fiber's own is saved, others may run it from now on. */
static void commit_park(struct weft__worker *w, void *fiber)
{
    struct weft__fiber *f = fiber;
    uint32_t ticket = f->ticket;
    (void)w;
    uint64_t word = weft__load_relaxed(&f->word); /* relaxed: the swap looks again */
    if (weft__unlikely(
            word >> 32 == ticket || (word & WEFT__FIBER_REQUEST) ||
            !weft__sole_swap(&f->word, word, word_of(ticket, WEFT__FIBER_PARKED, 0, 0)))) /* pairs: FIBER-WORD */
        park_slow(f, ticket);
}

/* The running fiber works off a REQUEST of its own. True: its innermost task had C, which is taken. */
static bool take_own_mark(struct weft__fiber *f)
{
    weft__fetch_and_acq_rel(&f->word, ~(uint64_t)WEFT__FIBER_REQUEST); /* pairs: FIBER-WORD */
    return take_mark(f);
}

static inline bool meet_own_mark(struct weft__fiber *f)
{
    if (!take_own_mark(f))
        return false;
    weft__task_met(f->task, asked(f->task));
    return true;
}

static inline bool requested(struct weft__fiber *f)
{
    return (weft__load_acquire(&f->word) & WEFT__FIBER_REQUEST) != 0; /* pairs: FIBER-WORD */
}

/* Still on the own context, with the wait announced: deliver or pass on as a canceller would. */
static WEFT__NOINLINE void meet_before(struct weft__fiber *f)
{
    struct weft__cancel_list list;
    weft__cancel_list_init(&list);
    weft__fetch_and_acq_rel(&f->word, ~(uint64_t)WEFT__FIBER_REQUEST); /* pairs: FIBER-WORD */
    deliver_mark(f, &list, false); /* the fiber is here: nothing of its frame can go before the list has run */
    weft__cancel_run(&list);
}

/* It has been cancelled, or asked to be since. */
static WEFT__NOINLINE enum weft__wake meet_after(struct weft__fiber *f, enum weft__wake reason)
{
    if (reason == WEFT__CANCELLED) {
        struct weft__task_extra *x = weft__task_has_extra(f->task);
        if (x != NULL)
            x->met = weft__load_acquire(&x->delivered); /* pairs: FIBER-WORD */
        if (requested(f))
            (void)take_own_mark(f); /* one more request is met by the same cancellation, with the first one's message */
        return WEFT__CANCELLED;
    }
    return requested(f) && meet_own_mark(f) ? WEFT__CANCELLED : reason;
}

static inline enum weft__wake commit(struct weft__fiber *f)
{
    uint64_t word = weft__load_acquire(&f->word); /* pairs: FIBER-WORD */
    if (weft__unlikely(word & WEFT__FIBER_REQUEST)) {
        meet_before(f);
        word = weft__load_acquire(&f->word); /* pairs: FIBER-WORD */
    }
    if (!woken(word, f->ticket) || f->rt->fifo) /* asyncio's order: a wake always takes its turn in the queue */
        weft__fiber_switch_away(f, commit_park, f);
    word = weft__load_acquire(&f->word); /* pairs: FIBER-WORD. It stays until the next wait */
    enum weft__wake reason = (enum weft__wake)(word >> 8 & 0xff);
    weft__store_relaxed(&f->wait_kind, NULL); /* relaxed: a hint for dumps */
    f->wait_object = NULL;
    if (weft__unlikely(reason == WEFT__CANCELLED || (word & WEFT__FIBER_REQUEST)))
        return meet_after(f, reason);
    return reason;
}

static inline enum weft__wake commit_until(struct weft__fiber *f, weft_ns deadline, bool past)
{
    if (weft__unlikely(requested(f)))
        meet_before(f);
    if (past || weft__timers_set(&f->worker->timers, &f->timer, deadline) < 0)
        weft__wake(f, f->ticket, WEFT__TIMED_OUT);
    enum weft__wake reason = commit(f);
    weft__timer_cancel(&f->timer);
    return reason;
}

enum weft__wake weft__wait_commit(struct weft__fiber *f, weft_ns deadline)
{
    if (weft__likely(deadline == WEFT_FOREVER))
        return commit(f);
    return commit_until(f, deadline, !f->rt->fifo && deadline <= weft__runtime_now(f->rt));
}

enum weft__wake weft__wait_commit_future(struct weft__fiber *f, weft_ns deadline)
{
    return deadline == WEFT_FOREVER ? commit(f) : commit_until(f, deadline, false);
}

bool weft__wait_abandon(struct weft__fiber *f)
{
    uint64_t word = weft__load_acquire(&f->word); /* pairs: FIBER-WORD */
    while (!weft__cas_acq_rel(
        &f->word, &word,
        word_of(f->ticket, WEFT__FIBER_RUNNING, 0, word & WEFT__FIBER_REQUEST))) /* pairs: FIBER-WORD */
        ;
    weft__store_relaxed(&f->wait_kind, NULL); /* relaxed: a hint for dumps */
    f->wait_object = NULL;
    return woken(word, f->ticket);
}

bool weft__take_request(struct weft__fiber *f)
{
    return requested(f) && meet_own_mark(f);
}

static void timer_wakes(struct weft__timer *timer)
{
    struct weft__fiber *f = weft__container_of(timer, struct weft__fiber, timer);
    /* The ticket is read while the timer is pending: the fiber cancels the timer before it waits again. */
    weft__wake(f, f->ticket, WEFT__TIMED_OUT);
}

void weft__fiber_timer_ahead(struct weft__timer *later)
{
    if (weft__likely(later->fire == timer_wakes))
        weft__ahead_rest(weft__item_of_fiber(weft__container_of(later, struct weft__fiber, timer)));
}

void weft__fiber_timer_init(struct weft__fiber *f)
{
    weft__timer_init(&f->timer, timer_wakes);
}

struct weft__wait_node *weft__fiber_node(struct weft__fiber *f)
{
    return &f->node;
}

struct weft_runtime *weft__fiber_runtime(struct weft__fiber *f)
{
    return f->rt;
}

struct weft_task *weft__fiber_task(struct weft__fiber *f)
{
    return f->task;
}

struct weft_task *weft__fiber_counted_task(struct weft__fiber *f)
{
    struct weft_task *t = f->task;
    while (t != NULL && !weft__task_counted(t))
        t = t->parent;
    return t;
}

struct weft__timers *weft__fiber_timers(struct weft__fiber *f)
{
    return &f->worker->timers;
}
