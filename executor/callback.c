/* SPDX-License-Identifier: Apache-2.0 */
/* executor/callback.c -- functions called soon, at an instant, or when a task has ended (weft/callback.h).
 *
 * A callback is a task descriptor of kind CALLBACK: it goes through the ready queues and runs on a fiber as a task does, but belongs to
 * no task and must not wait. What it waits for before it is ready (a timer, the end of a task) lies in its extra:
 *
 * | armed | the instant comes / the task ends | cancelled or removed                     | the run ends   |
 * | yes   | armed = no, into a ready queue    | claimed, disarmed, ends unrun            | ends unrun     |
 * | no    | -                                 | claimed, ends unrun; its entry is void   | ends unrun     |
 *
 * The claim decides between those who run it and those who cancel it. The runtime's reference goes with it: from being armed to the queue's
 * entry, to the run; a canceller that claimed it ends it with a reference of its own.
 *
 * Threads: creating belongs to tasks and callbacks (threadsafe: any); firing to whoever fires timers or ends tasks. */
#include <weft/callback.h>

#include <errno.h>
#include <stdlib.h>

#include "executor/runtime.h"

struct callback {
    struct weft__task_extra extra; /* first: the descriptor knows and frees it by this */
    struct weft__timer timer;
    struct weft__waiter waiter;
    struct weft_task *call;   /* the callback itself */
    struct weft_task *target; /* whose end is waited for; not referenced: it tells before it goes */
    weft_ns when;
    _Atomic(uint32_t) armed; /* CALLBACK-ARMED: whoever takes it from 1 to 0 has the runtime's reference */
};

static struct callback *callback_of(const struct weft_task *call)
{
    struct weft__task_extra *x = weft__task_has_extra(call);
    return x != NULL &&
                   (weft__load_relaxed(&((struct weft_task *)call)->flags) & WEFT__TASK_ARMED) /* relaxed: set once */
               ? weft__container_of(x, struct callback, extra)
               : NULL;
}

static bool disarm(struct callback *c)
{
    return weft__exchange_acq_rel(&c->armed, 0) != 0; /* pairs: CALLBACK-ARMED (itself) */
}

/* It was claimed, and will not run. Takes a reference. */
static void end_unrun(struct weft_task *call)
{
    if (call->frame->coro->unstarted != NULL)
        call->frame->coro->unstarted(call->frame);
    weft__task_finish(call, -ECANCELED);
}

/* End a callback that will not run; takes the runtime's reference. False: somebody else has claimed it. */
static bool drop(struct weft_task *call)
{
    bool claimed = weft__task_claim(call) != 0;
    if (claimed)
        end_unrun(call);
    else
        weft__task_unref(call);
    return claimed;
}

static void timer_fires(struct weft__timer *timer)
{
    struct callback *c = weft__container_of(timer, struct callback, timer);
    if (disarm(c))
        weft__make_due(weft__task_rt(c->call), weft__item_of_task(c->call));
}

static void target_ended(struct weft__waiter *waiter, struct weft_task *target)
{
    struct callback *c = weft__container_of(waiter, struct callback, waiter);
    bool ended = weft__task_state(target) == WEFT__DONE; /* else a future that was released unset */
    if (!disarm(c))
        return;
    if (ended)
        weft__task_schedule(c->call);
    else
        (void)drop(c->call);
}

static struct weft_task *create(struct weft_runtime *rt, const weft_frame *frame)
{
    return weft__task_create(rt, WEFT__KIND_CALLBACK, frame, NULL);
}

/* A callback with room for what it waits for. */
static struct callback *create_armed(struct weft_runtime *rt, const weft_frame *frame)
{
    struct callback *c = calloc(1, sizeof *c);
    struct weft_task *call = c != NULL ? create(rt, frame) : NULL;
    if (call == NULL) {
        free(c);
        return NULL;
    }
    c->call = call;
    c->when = weft__runtime_now(rt);
    weft__timer_init(&c->timer, timer_fires);
    c->waiter.fire = target_ended;
    weft__store_relaxed(&c->armed, 1);                                /* relaxed: published by what it is armed with */
    weft__fetch_or_acq_rel(&call->flags, (uint16_t)WEFT__TASK_ARMED); /* pairs: TASK-REFS */
    struct weft__task_extra *inherited = weft__task_has_extra(call);  /* who walks the slab never looks into it */
    if (inherited != NULL)
        c->extra = *inherited;
    c->extra.rt = rt;
    weft__store_release(&call->side, (uintptr_t)&c->extra + 1); /* pairs: TASK-EXTRA */
    free(inherited);
    return c;
}

weft_handle *weft_call_soon_(weft_runtime *rt, const weft_frame *frame)
{
    weft__preempt_point();
    struct weft__fiber *f = weft__fiber_self();
    struct weft_task *call = NULL;
    if (rt == NULL && f == NULL)
        weft__misuse("weft_call_soon",
                     "called outside a task or callback; other threads use weft_call_soon_threadsafe");
    if (rt == NULL || (f != NULL && f->rt == rt)) {
        call = create(f->rt, frame);
        if (call != NULL)
            weft__task_schedule(call);
        return call;
    }
    if (!weft__submission_begin(rt))
        return NULL;
    call = create(rt, frame);
    if (call != NULL)
        weft__task_schedule(call);
    weft__submission_end(rt);
    return call;
}

static weft_handle *call_at(const char *name, weft_ns instant, const weft_frame *frame)
{
    struct weft__fiber *f = weft__fiber_require(name);
    struct callback *c = create_armed(f->rt, frame);
    if (c == NULL)
        return NULL;
    struct weft_task *call = c->call;
    c->when = instant;
    if (instant <= weft__runtime_now(f->rt) && !f->rt->fifo) {
        weft__store_relaxed(&c->armed, 0); /* relaxed: not shared yet */
        weft__task_schedule(call);
    } else if (weft__timers_set(&f->worker->timers, &c->timer, instant) < 0) {
        weft__store_relaxed(&c->armed, 0); /* relaxed: not shared yet */
        (void)drop(call);
        weft_release(call);
        return NULL;
    }
    return call;
}

weft_handle *weft_call_later_(weft_ns delay, const weft_frame *frame)
{
    struct weft__fiber *f = weft__fiber_require("weft_call_later");
    return call_at("weft_call_later", weft__deadline_after(f->rt, delay), frame);
}

weft_handle *weft_call_at_(weft_ns instant, const weft_frame *frame)
{
    return call_at("weft_call_at", instant, frame);
}

weft_ns weft_handle_when(const weft_handle *h)
{
    struct callback *c = h != NULL && h->kind == WEFT__KIND_CALLBACK ? callback_of(h) : NULL;
    return c != NULL ? c->when : 0;
}

weft_handle *weft_add_done_callback_(weft_task *t, const weft_frame *frame)
{
    weft__preempt_point();
    struct weft__fiber *f = weft__fiber_require("weft_add_done_callback");
    if (weft__unlikely(t != NULL && weft__task_rt(t) != f->rt && weft__task_state(t) != WEFT__DONE))
        return NULL;
    struct callback *c = create_armed(f->rt, frame);
    if (c == NULL)
        return NULL;
    struct weft_task *call = c->call;
    c->target = t;
    weft_ref(call); /* the target may end, and the callback with it, before this call returns */
    if ((t == NULL || !weft__task_add_waiter(t, &c->waiter)) && disarm(c))
        weft__task_schedule(call);
    weft_release(call);
    return call;
}

/* Stop waiting. True: what was waited for will not make it ready, and the runtime's reference is the caller's. */
static bool let_go(struct callback *c)
{
    if (weft__timer_cancel(&c->timer))
        return disarm(c);
    /* As long as it is armed its target has not told it, so that is still the same one; referenced, it remains so. */
    struct weft_task *target = c->target;
    if (target == NULL || !weft__task_try_ref(target))
        return false;
    bool removed = weft__load_acquire(&c->armed) != 0 && /* pairs: CALLBACK-ARMED */
                   weft__task_remove_waiter(target, &c->waiter);
    weft__task_unref(target);
    return removed && disarm(c);
}

bool weft_remove_done_callback(weft_task *t, weft_handle *h)
{
    weft__preempt_point();
    struct callback *c = h != NULL && h->kind == WEFT__KIND_CALLBACK ? callback_of(h) : NULL;
    return c != NULL && t != NULL && c->target == t && let_go(c) && drop(h);
}

bool weft__callback_mark(struct weft_task *call)
{
    if (weft__task_claim(call) == 0)
        return false;
    weft__fetch_add_relaxed(&call->refs, 1); /* relaxed: the caller holds one */
    return true;
}

void weft__callback_end(struct weft_task *call)
{
    struct callback *c = callback_of(call);
    if (c != NULL && let_go(c))
        weft__task_unref(call);
    end_unrun(call);
}

void weft__callback_drop(struct weft_task *call)
{
    (void)drop(call);
}

void weft__callback_free(struct weft_task *call)
{
    weft__timer_cancel(&callback_of(call)->timer); /* who fired it may not have left it yet */
}

void weft__callback_failed(struct weft_task *call, int rc)
{
    weft__task_set_retrieved(call);
    weft__exception(weft__task_rt(call), WEFT_CALLBACK_FAILED, call, rc);
}

void weft__callback_end_of_run(struct weft_task *call)
{
    if (call->kind != WEFT__KIND_CALLBACK || weft__task_state(call) != WEFT__NEW)
        return;
    struct callback *c = callback_of(call);
    if (c != NULL && let_go(c))
        (void)drop(call);
}
