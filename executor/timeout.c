/* SPDX-License-Identifier: Apache-2.0 */
/* executor/timeout.c -- time limits over blocks of code: asyncio.timeout().
 *
 * A scope is a timer that cancels its owner, the task that opened it, and at its end takes that request back: a
 * cancellation that leaves the block becomes -ETIMEDOUT when no other request is left beyond those there were at begin.
 * Those are the ones that the owner had met by then. What is pending at begin comes inside, and is met there: other workers may ask while the owner runs.
 * Both are told by one load (requests.h), and a request that the load does not show comes later. So what is met in the block is counted beyond `before`,
 * together with the limit's own or not, and what is not met in it stays pending. (order=fifo has asyncio's count: there nobody else runs meanwhile,
 * and what a task asks of itself counts as having been before.)
 *
 * Most blocks with a time limit never suspend, since what they wait for is there; and until a task suspends, its time limits need
 * not be known to anybody. So begin sets no timer and reads no clock: the scope is put on its fiber's list (fiber->scopes, the newest
 * first), and the first suspension arms what is on it (weft__scopes_arm). The deadline then counts from the clock's next tick after
 * begin, or from now if there was none (weft__stamp_instant, clock.c): never early, and late by no more than the task has computed, nor
 * by more than a tick. Where time goes in turns (order=fifo, a seed, the virtual clock) the clock costs nothing, order is everything,
 * and begin arms at once.
 *
 * A deadline that has passed already does not go through the timer: the owner is marked at once (DUE), so that the very
 * next suspension delivers it whatever the worker does meanwhile; a block without suspension takes the undelivered request
 * back at its end, and nothing has happened. Until it has been met a DUE scope counts as not expired.
 *
 * Invariants
 *   1. fire runs at most once per setting, under the timers' guard; weft__timer_cancel returns when it no longer
 *      runs. So whoever has cancelled the timer may read `state`, and free the scope.
 *   2. The owner cannot end before end: it is the one that calls it.
 *   3. Scopes are on the list of their owner's fiber from begin to end, the settled ones last. The fiber has WEFT__FIBER_SCOPE
 *      while some are not settled: that sends it to the slow ways, which settle them, so that what comes after is quick again.
 *   4. That a scope is open is seen at the end of its task by its being on the list, not settled; or `counted` in the task's flags.
 *
 * Threads: begin, end and arm belong to the owner; the others to whoever knows that the scope is open, and because those may meet the
 * owner's arm, both take the guard; fire to any worker. The block is not in the owner's frame because fire touches it while the owner sleeps: it comes from a slab.
 */
#include <errno.h>
#include <stdlib.h>
#include <weft/scope.h>

#include "executor/guard.h"
#include "executor/requests.h"
#include "executor/runtime.h"
#include "executor/sight.h"

enum scope_state {
    SCOPE_ACTIVE,  /* the timer is set, or there is no deadline */
    SCOPE_DUE,     /* the owner was marked without timer; maybe not delivered yet */
    SCOPE_EXPIRED, /* the timer has cancelled the owner */
};

/* order=fifo: a deadline that has passed is an entry in the ready queue, as asyncio's call_soon. It outlives a scope that ends first. */
struct soon {
    struct weft__entry entry;
    struct weft__scope *scope; /* NULL: not wanted any more; the one worker's own */
};

struct weft__scope {
    struct weft__scope *outer; /* on the fiber's list; the owner's */
    struct weft_task *owner;
    struct weft__timer timer;
    struct soon *soon;
    _Atomic(uint32_t) state; /* SCOPE-STATE: fire's store, then the owner's loads */
    _Atomic(uint32_t) armed; /* SCOPE-ARMED: the timer is set if it has to be; whoever did it, then the owner */
    uint32_t before;         /* the owner's requests at begin, those that it had met */
    uint32_t asked;          /* all of them (the word) just before the scope's own, when that has come */
    uint32_t guard;          /* of armed, known and deadline, before armed is set */
    uint32_t stamp;          /* when it began, if the deadline is not known */
    bool known;              /* `deadline` is an instant; else it is a duration */
    bool settled;            /* the owner has suspended since begin; its own, as the next one */
    bool counted;            /* in the owner's flags */
    weft_ns deadline;
};
_Static_assert(sizeof(struct weft__scope) <= WEFT__BLOCK, "a scope is a block");

/* What scope_ points to when there is no scope. */
static char no_memory, ended, ended_expired;

static void cancel_owner(struct weft__scope *s)
{
    struct weft__cancel_list list;
    weft__cancel_list_init(&list);
    weft__cancel_mark(s->owner, &list);
    s->asked = list.asked;
    weft__cancel_run(&list);
}

static void scope_fire(struct weft__timer *timer)
{
    struct weft__scope *s = weft__container_of(timer, struct weft__scope, timer);
    weft__store_release(&s->state, SCOPE_EXPIRED); /* pairs: SCOPE-STATE */
    cancel_owner(s);
}

static void soon_runs(struct weft__entry *entry)
{
    struct soon *soon = weft__container_of(entry, struct soon, entry);
    struct weft__scope *s = soon->scope;
    free(soon);
    if (s == NULL)
        return;
    s->soon = NULL;
    weft__store_release(&s->state, SCOPE_EXPIRED); /* pairs: SCOPE-STATE */
    cancel_owner(s);
}

static int expire_soon(struct weft__fiber *f, struct weft__scope *s)
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
static void disarm(struct weft__scope *s)
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
static struct weft__scope *scope_of(const weft_timeout *limit, const char *call)
{
    if (limit->scope_ == &no_memory)
        return NULL;
    if (is_closed(limit))
        weft__misuse(call, "the time limit is not open");
    return limit->scope_;
}

/* Arm an idle scope. 0 or -ENOMEM (it then has no deadline). */
static int scope_arm(struct weft__fiber *f, struct weft__scope *s, weft_ns deadline, weft_ns now)
{
    s->deadline = deadline;
    s->known = true;
    weft__store_release(&s->armed, 1); /* pairs: SCOPE-ARMED */
    if (deadline == WEFT_FOREVER)
        return 0;
    if (deadline <= now && f->rt->fifo)
        return expire_soon(f, s);
    if (deadline <= now && s->owner != weft__fiber_task(f)) {
        weft__store_release(&s->state, SCOPE_EXPIRED); /* pairs: SCOPE-STATE; as the timer would */
        cancel_owner(s);
        return 0;
    }
    if (deadline <= now) {
        weft__store_relaxed(&s->state, SCOPE_DUE); /* relaxed: the timer is idle, only the owner looks */
        cancel_owner(s);
        return 0;
    }
    return weft__timers_set(weft__fiber_timers(f), &s->timer, deadline);
}

/* Since the scope's own request the owner has met one. */
static bool scope_met(struct weft__scope *s)
{
    uint32_t requests = weft__load_acquire(&s->owner->requests); /* pairs: TASK-C */
    return requests / WEFT__REQUESTS_MET != s->asked / WEFT__REQUESTS_MET;
}

/* Has the owner met the request? After a DUE marking it may still have to. */
static bool scope_delivered(struct weft__fiber *f, struct weft__scope *s)
{
    uint32_t state = weft__load_acquire(&s->state); /* pairs: SCOPE-STATE */
    bool mine = s->owner == weft__fiber_task(f);
    return state == SCOPE_EXPIRED || (state == SCOPE_DUE && (!mine || scope_met(s)));
}

/* Take the scope's own request back: how many are left. If it is pending still and nobody else has asked, it is not met any more. */
static unsigned scope_take_back(struct weft__scope *s)
{
    bool pending = (s->asked & WEFT__REQUESTS_PENDING) != 0; /* before: then that stays */
    return weft__requests_take_back(s->owner, pending ? 0 : s->asked + 1 + WEFT__REQUESTS_PENDING);
}

/* Its deadline as an instant. Under the guard, or when nobody else can know the scope. */
static weft_ns scope_deadline(struct weft_runtime *rt, struct weft__scope *s)
{
    if (!s->known) {
        weft_ns began = weft__stamp_instant(rt, s->stamp);
        s->deadline = s->deadline >= WEFT_FOREVER - began ? WEFT_FOREVER : began + s->deadline;
        s->known = true;
    }
    return s->deadline;
}

/* The fiber is about to suspend: set the timers of the scopes that were opened since the last time. One that finds no memory, or is over
 * by now, expires at once, as the timer's fire would. */
void weft__scopes_arm(struct weft__fiber *f)
{
    for (struct weft__scope *s = f->scopes; s != NULL && !s->settled; s = s->outer) {
        s->settled = true;
        if (!s->counted) { /* from here on its being open is told by the task's flags */
            s->counted = true;
            weft__task_scope_opened(s->owner);
        }
        if (weft__load_acquire(&s->armed) != 0) /* pairs: SCOPE-ARMED */
            continue;                           /* at begin, or by somebody who moved the deadline */
        weft__guard_lock(&s->guard);
        if (weft__load_relaxed(&s->armed) == 0) { /* relaxed: the guard orders */
            weft_ns deadline = scope_deadline(f->rt, s);
            weft__store_release(&s->armed, 1); /* pairs: SCOPE-ARMED */
            if (deadline != WEFT_FOREVER && weft__timers_set(&f->worker->timers, &s->timer, deadline) < 0)
                scope_fire(&s->timer);
        }
        weft__guard_unlock(&s->guard);
    }
    weft__fiber_clear(f, WEFT__FIBER_SCOPE);
}

static struct weft__scope *open_scope(struct weft__fiber *f, weft_timeout *limit)
{
    struct weft__scope *s = weft__slab_get(&f->rt->blocks, &f->worker->blocks);
    limit->scope_ = &no_memory;
    if (weft__unlikely(s == NULL))
        return NULL;
    s->soon = NULL;
    weft__timer_init(&s->timer, scope_fire);
    s->owner = f->task;
    uint32_t requests = weft__load_relaxed(&s->owner->requests); /* relaxed: what the owner has met it knows */
    s->before = weft__requests_count(requests) - (!f->rt->fifo && (requests & WEFT__REQUESTS_PENDING) != 0);
    weft__store_relaxed(&s->state, SCOPE_ACTIVE); /* relaxed: not shared yet */
    weft__store_relaxed(&s->armed, 0U);           /* relaxed: not shared yet */
    s->guard = 0;
    s->settled = false;
    s->outer = f->scopes;
    f->scopes = s;
    s->counted = s->owner->kind == WEFT__KIND_CHILD; /* the inline join looks at nothing else */
    if (weft__unlikely(s->counted))
        weft__task_scope_opened(s->owner);
    weft__fiber_set(f, WEFT__FIBER_SCOPE);
    limit->scope_ = s;
    return s;
}

static void close_scope(struct weft__fiber *f, struct weft__scope *s)
{
    struct weft__scope **at = &f->scopes;
    while (*at != s)
        at = &(*at)->outer;
    *at = s->outer;
    if (s->counted)
        weft__task_scope_closed(s->owner);
    if (f->scopes == NULL || f->scopes->settled)
        weft__fiber_clear(f, WEFT__FIBER_SCOPE);
    weft__slab_put(&f->rt->blocks, &f->worker->blocks, s);
}

/* Arm at once. */
static int begin(struct weft__fiber *f, weft_timeout *limit, weft_ns deadline, weft_ns now)
{
    struct weft__scope *s = open_scope(f, limit);
    int rc = s != NULL ? scope_arm(f, s, deadline, now) : -ENOMEM;
    if (rc < 0 && s != NULL) {
        close_scope(f, s);
        limit->scope_ = &no_memory;
    }
    return rc;
}

int weft_timeout_begin(weft_timeout *limit, weft_ns duration)
{
    weft__preempt_point();
    struct weft__fiber *f = weft__fiber_require("weft_timeout_begin");
    if (weft__unlikely(f->rt->is_virtual || f->rt->in_turn || duration <= 0)) {
        weft_ns now = weft__runtime_now(f->rt);
        return begin(f, limit, weft__deadline_from(now, duration), now);
    }
    struct weft__scope *s = open_scope(f, limit);
    if (weft__unlikely(s == NULL))
        return -ENOMEM;
    s->stamp = weft__stamp(f->rt);
    s->known = false;
    s->deadline = duration;
    return 0;
}

int weft_timeout_begin_at(weft_timeout *limit, weft_ns instant)
{
    weft__preempt_point();
    struct weft__fiber *f = weft__fiber_require("weft_timeout_begin_at");
    return begin(f, limit, instant, weft__runtime_now(f->rt));
}

int weft_timeout_end(weft_timeout *limit, int rc)
{
    weft__preempt_point();
    struct weft__scope *s = scope_of(limit, "weft_timeout_end");
    struct weft__fiber *f = weft__fiber_require("weft_timeout_end");
    if (s != NULL && s->owner != f->task)
        weft__misuse("weft_timeout_end", "the time limit was opened by another task");
    limit->scope_ = &ended;
    if (s == NULL)
        return rc < 0 ? rc : -ENOMEM;
    if (weft__load_acquire(&s->armed) == 0) { /* pairs: SCOPE-ARMED */
        close_scope(f, s);
        return rc;
    }
    disarm(s);
    bool asked = weft__load_acquire(&s->state) != SCOPE_ACTIVE; /* pairs: SCOPE-STATE */
    bool expired = scope_delivered(f, s);
    if (expired)
        limit->scope_ = &ended_expired;
    if (asked && scope_take_back(s) <= s->before && expired && rc == -ECANCELED)
        rc = -ETIMEDOUT;
    close_scope(f, s);
    return rc;
}

static int reschedule(struct weft__fiber *f, weft_timeout *limit, weft_ns deadline, const char *call)
{
    if (is_closed(limit))
        return -EINVAL;
    struct weft__scope *s = scope_of(limit, call);
    if (s == NULL)
        return -ENOMEM;
    /* If it is not armed, it is from here on. */
    weft__guard_lock(&s->guard);
    weft__store_release(&s->armed, 1); /* pairs: SCOPE-ARMED */
    weft__guard_unlock(&s->guard);
    disarm(s);
    if (scope_delivered(f, s))
        return -EINVAL;
    if (weft__load_relaxed(&s->state) == SCOPE_DUE) { /* relaxed: the timer is idle, only the owner looks */
        scope_take_back(s);
        weft__store_relaxed(&s->state, SCOPE_ACTIVE); /* relaxed: as before */
    }
    return scope_arm(f, s, deadline, weft__runtime_now(f->rt));
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
    struct weft__scope *s = scope_of(limit, "weft_timeout_when");
    if (s == NULL)
        return WEFT_FOREVER;
    const struct weft_task *t = s->owner;
    while (!weft__task_counted(t))
        t = t->parent;
    weft__guard_lock(&s->guard);
    weft_ns deadline = scope_deadline(weft__task_rt(t), s);
    weft__guard_unlock(&s->guard);
    return deadline;
}

void weft__scopes_tell(struct weft__fiber *f, const struct weft_task *t, struct weft__sight *s)
{
    weft_ns first = WEFT_FOREVER;
    for (struct weft__scope *scope = f->scopes; scope != NULL; scope = scope->outer) {
        weft_ns deadline = scope->owner == t ? weft__timer_deadline(&scope->timer) : WEFT_FOREVER;
        first = deadline < first ? deadline : first;
    }
    if (first != WEFT_FOREVER)
        weft__sight_time(s, "; time limit in ", first, "");
}

bool weft_timeout_expired(const weft_timeout *limit)
{
    if (is_closed(limit))
        return limit->scope_ == &ended_expired;
    struct weft__scope *s = scope_of(limit, "weft_timeout_expired");
    return s != NULL && scope_delivered(weft__fiber_self(), s);
}

bool weft__scope_left(const struct weft__fiber *f, const struct weft_task *t)
{
    return f->scopes->owner == t; /* its chain's are below */
}
