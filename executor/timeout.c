/* SPDX-License-Identifier: Apache-2.0 */
/* executor/timeout.c -- time limits over blocks of code: asyncio.timeout().
 *
 * A scope is a timer that cancels its owner, the task that opened it, and at its end takes that request back: a
 * cancellation that leaves the block becomes -ETIMEDOUT when no other request is left beyond those there were at begin.
 *
 * A deadline that has passed already does not go through the timer: the owner is marked at once (DUE), so that the very
 * next suspension delivers it whatever the worker does meanwhile; a block without suspension takes the undelivered mark
 * back at its end, and nothing has happened. As long as the mark is pending a DUE scope counts as not expired.
 *
 * Invariants
 *   1. fire runs at most once per setting, under the timers' guard; weft__timer_cancel returns when it no longer
 *      runs. So whoever has cancelled the timer may read `state`, and free the scope.
 *   2. The owner cannot end before end: it is the one that calls it.
 *
 * Threads: begin and end belong to the owner; the others to whoever knows that the scope is open; fire to any worker. The block is on the heap because fire touches it while
 * the owner sleeps. */
#include <errno.h>
#include <stdlib.h>
#include <weft/scope.h>

#include "executor/runtime.h"

enum scope_state {
    SCOPE_ACTIVE,  /* the timer is set, or there is no deadline */
    SCOPE_DUE,     /* the owner was marked without timer; maybe not delivered yet */
    SCOPE_EXPIRED, /* the timer has cancelled the owner */
};

/* order=fifo: a deadline that has passed is an entry in the ready queue, as asyncio's call_soon. It outlives a scope that ends first. */
struct soon {
    struct weft__entry entry;
    struct scope *scope; /* NULL: not wanted any more; the one worker's own */
};

struct scope {
    struct weft__timer timer;
    struct soon *soon;
    struct weft_task *owner;
    _Atomic(uint32_t) state; /* SCOPE-STATE: fire's store, then the owner's loads */
    uint32_t before;         /* the owner's requests at begin */
    weft_ns deadline;
    bool pending_before; /* when it became DUE: was another request on its way? */
};

/* What scope_ points to when there is no scope. */
static char no_memory, ended, ended_expired;

static void cancel_owner(struct scope *s)
{
    struct weft__cancel_list list;
    weft__cancel_list_init(&list);
    weft__cancel_mark(s->owner, &list);
    weft__cancel_run(&list);
}

static void scope_fire(struct weft__timer *timer)
{
    struct scope *s = weft__container_of(timer, struct scope, timer);
    weft__store_release(&s->state, SCOPE_EXPIRED); /* pairs: SCOPE-STATE */
    cancel_owner(s);
}

static void soon_runs(struct weft__entry *entry)
{
    struct soon *soon = weft__container_of(entry, struct soon, entry);
    struct scope *s = soon->scope;
    free(soon);
    if (s == NULL)
        return;
    s->soon = NULL;
    weft__store_release(&s->state, SCOPE_EXPIRED); /* pairs: SCOPE-STATE */
    cancel_owner(s);
}

static int expire_soon(struct weft__fiber *f, struct scope *s)
{
    struct soon *soon = malloc(sizeof *soon);
    if (soon == NULL)
        return -ENOMEM;
    *soon = (struct soon){.entry = {.kind = WEFT__KIND_ENTRY, .run = soon_runs}, .scope = s};
    s->soon = soon;
    weft__make_ready(f->rt, weft__item_of_entry(&soon->entry));
    return 0;
}

/* From here on the scope does not expire any more. */
static void disarm(struct scope *s)
{
    weft__timer_cancel(&s->timer);
    if (s->soon != NULL)
        s->soon->scope = NULL;
    s->soon = NULL;
}

static bool is_closed(const weft_timeout *limit)
{
    return limit->scope_ == NULL || limit->scope_ == &ended || limit->scope_ == &ended_expired;
}

/* The scope behind a handle; NULL when there was no memory for one. Any other use outside begin and end aborts. */
static struct scope *scope_of(const weft_timeout *limit, const char *call)
{
    if (limit->scope_ == &no_memory)
        return NULL;
    if (is_closed(limit))
        weft__misuse(call, "the time limit is not open");
    return limit->scope_;
}

/* Arm an idle scope. 0 or -ENOMEM (it then has no deadline). */
static int scope_arm(struct weft__fiber *f, struct scope *s, weft_ns deadline)
{
    s->deadline = deadline;
    if (deadline == WEFT_FOREVER)
        return 0;
    if (deadline <= weft__runtime_now(f->rt) && f->rt->fifo)
        return expire_soon(f, s);
    if (deadline <= weft__runtime_now(f->rt) && s->owner != weft__fiber_task(f)) {
        weft__store_release(&s->state, SCOPE_EXPIRED); /* pairs: SCOPE-STATE; as the timer would */
        cancel_owner(s);
        return 0;
    }
    if (deadline <= weft__runtime_now(f->rt)) {
        weft__store_relaxed(&s->state, SCOPE_DUE); /* relaxed: the timer is idle, only the owner looks */
        s->pending_before = weft__cancel_pending(f);
        cancel_owner(s);
        return 0;
    }
    return weft__timers_set(weft__fiber_timers(f), &s->timer, deadline);
}

/* Has the request reached the owner? After a DUE marking it may still be on its way. */
static bool scope_delivered(struct weft__fiber *f, struct scope *s)
{
    uint32_t state = weft__load_acquire(&s->state); /* pairs: SCOPE-STATE */
    bool mine = s->owner == weft__fiber_task(f);
    return state == SCOPE_EXPIRED || (state == SCOPE_DUE && (!mine || !weft__cancel_pending(f)));
}

/* Take a DUE marking back that was not delivered. With older requests left (a time limit inside a clean-up) uncancel
 * leaves the mark alone; but if nothing was pending before, the mark is this scope's, or that of a request that came
 * meanwhile: that one is counted before it marks, so either it is seen here or it marks afterwards. */
static void scope_take_back(struct scope *s)
{
    struct weft_task *t = s->owner;
    unsigned left = weft__uncancel(t);
    if (left == 0 || left != s->before || s->pending_before)
        return;
    weft__fetch_and_acq_rel(&t->word, ~(uint64_t)WEFT__C);   /* pairs: TASK-C */
    if (weft__load_acquire(&t->requests) != left)            /* pairs: TASK-C */
        weft__fetch_or_acq_rel(&t->word, (uint64_t)WEFT__C); /* pairs: TASK-C */
}

static int begin(struct weft__fiber *f, weft_timeout *limit, weft_ns deadline)
{
    struct scope *s = malloc(sizeof *s);
    limit->scope_ = &no_memory;
    if (s == NULL)
        return -ENOMEM;
    s->soon = NULL;
    weft__timer_init(&s->timer, scope_fire);
    s->owner = weft__fiber_task(f);
    s->before = weft__load_relaxed(&s->owner->requests); /* relaxed: a count; what it leads to is ordered by the word */
    weft__store_relaxed(&s->state, SCOPE_ACTIVE);        /* relaxed: not shared yet */
    int rc = scope_arm(f, s, deadline);
    if (rc < 0) {
        free(s);
        return rc;
    }
    limit->scope_ = s;
    weft__task_scope_opened(s->owner);
    return 0;
}

int weft_timeout_begin(weft_timeout *limit, weft_ns duration)
{
    weft__preempt_point();
    struct weft__fiber *f = weft__fiber_require("weft_timeout_begin");
    return begin(f, limit, weft__deadline_after(weft__fiber_runtime(f), duration));
}

int weft_timeout_begin_at(weft_timeout *limit, weft_ns instant)
{
    weft__preempt_point();
    return begin(weft__fiber_require("weft_timeout_begin_at"), limit, instant);
}

int weft_timeout_end(weft_timeout *limit, int rc)
{
    weft__preempt_point();
    struct scope *s = scope_of(limit, "weft_timeout_end");
    if (s != NULL && s->owner != weft__fiber_task(weft__fiber_require("weft_timeout_end")))
        weft__misuse("weft_timeout_end", "the time limit was opened by another task");
    limit->scope_ = &ended;
    if (s == NULL)
        return rc < 0 ? rc : -ENOMEM;
    disarm(s);
    bool asked = weft__load_acquire(&s->state) != SCOPE_ACTIVE; /* pairs: SCOPE-STATE */
    if (scope_delivered(weft__fiber_self(), s))
        limit->scope_ = &ended_expired;
    if (asked && limit->scope_ == &ended)
        scope_take_back(s);
    else if (asked && weft__uncancel(s->owner) <= s->before && rc == -ECANCELED)
        rc = -ETIMEDOUT;
    weft__task_scope_closed(s->owner);
    free(s);
    return rc;
}

static int reschedule(struct weft__fiber *f, weft_timeout *limit, weft_ns deadline, const char *call)
{
    if (is_closed(limit))
        return -EINVAL;
    struct scope *s = scope_of(limit, call);
    if (s == NULL)
        return -ENOMEM;
    disarm(s);
    if (scope_delivered(f, s))
        return -EINVAL;
    if (weft__load_relaxed(&s->state) == SCOPE_DUE) { /* relaxed: the timer is idle, only the owner looks */
        scope_take_back(s);
        weft__store_relaxed(&s->state, SCOPE_ACTIVE); /* relaxed: as before */
    }
    return scope_arm(f, s, deadline);
}

int weft_timeout_reschedule(weft_timeout *limit, weft_ns duration)
{
    struct weft__fiber *f = weft__fiber_require("weft_timeout_reschedule");
    return reschedule(f, limit, weft__deadline_after(f->rt, duration), "weft_timeout_reschedule");
}

int weft_timeout_reschedule_at(weft_timeout *limit, weft_ns instant)
{
    return reschedule(weft__fiber_require("weft_timeout_reschedule_at"), limit, instant, "weft_timeout_reschedule_at");
}

weft_ns weft_timeout_when(const weft_timeout *limit)
{
    struct scope *s = scope_of(limit, "weft_timeout_when");
    return s != NULL ? s->deadline : WEFT_FOREVER;
}

bool weft_timeout_expired(const weft_timeout *limit)
{
    if (is_closed(limit))
        return limit->scope_ == &ended_expired;
    struct scope *s = scope_of(limit, "weft_timeout_expired");
    return s != NULL && scope_delivered(weft__fiber_self(), s);
}
