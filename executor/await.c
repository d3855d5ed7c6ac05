/* SPDX-License-Identifier: Apache-2.0 */
/* executor/await.c -- creating, awaiting, sleeping; and running at once what is awaited and has not started.
 *
 * An awaited, unstarted task may run right on its awaiter's stack, as a plain call, because the awaiter can only go on after
 * it has ended anyhow (also when cancelled: the request goes to the child first). Await stays a suspension point. The
 * conditions (weft_await): default order; its stack class is not larger and enough stack is left for its guarantee; no request is pending for
 * the awaiter's chain; the claim succeeded; and it is nobody else's turn: after each WEFT__INLINE_LIMIT in a row the worker looks at timers, I/O and
 * its inbox, and if the oldest ready item is a fiber, that gets its turn. Unstarted tasks wait longer (they are mostly the brothers of what
 * runs, and to start one takes a stack): ROUNDS_LIMIT times as many, or until two looks after the reactor's tick has found one and the same step under way.
 * What is awaited and is itself the oldest ready item, with no forked child waiting, passes nobody over: that may go on for ever, with a look each
 * WEFT__INLINE_LIMIT times.
 *
 * Such a task costs no locked instruction: it is claimed, and ends, alone (alone.c). Its entry is the newest of the ready queue's closed part,
 * mostly, and taken out by plain stores; the reference that it ran with stays OWED (task.h) until the awaiter gives back its handle, and both go in one.
 *
 * Structured children (weft_fork, weft_join) live in the parent's frame. The right to run one belongs to whoever takes its
 * entry from a join stack, so an entry never outlives the frame. The parent takes its child back if it is the newest entry of
 * the worker it is on now; else it waits for whoever runs it. A join always ends before its frame. The usual way of both calls is
 * inline in weft/join.h, without a locked instruction; here is what that leaves over, and the whole for programs that call.
 *
 * Threads: the calling task's. */
#include <errno.h>
#include <sched.h>
#include <string.h>

#include "executor/fiber_run.h"
#include "executor/requests.h"
#include "executor/sight.h"
#include "executor/taken.h"
#include "executor/task_hot.h"

#define ROUNDS_LIMIT 64 /* so many times that, while only unstarted tasks wait */
#define HURRIED                                                                                                        \
    2 /* looks are left when the tick has come: the one that is awaited just now may be one that a thief had */

/* ---- waiting for a task ------------------------------------------------------------------------------------------ */

static bool cancel_awaited(struct weft__fiber *f, void *object, struct weft__cancel_list *list)
{
    (void)f;
    return weft__cancel_pass(object, list);
}

static void tell_awaited(struct weft__fiber *f, void *object, struct weft__sight *s)
{
    (void)f;
    weft__sight_say(s, "awaits ");
    weft__sight_task(s, object);
}

static const struct weft__wait_kind await_task = {"task", cancel_awaited, tell_awaited};

static void awaited_ended(struct weft__waiter *waiter, struct weft_task *t)
{
    struct weft__await *a = weft__container_of(waiter, struct weft__await, waiter);
    struct weft__fiber *f = a->fiber;
    uint32_t ticket = a->ticket;
    (void)t;
    weft__store_release(&a->fired, 1); /* pairs: AWAIT-FIRED; the node is not touched after this */
    weft__wake(f, ticket, WEFT__WOKEN);
}

/* What the awaiter gets of an ended task; the message of a cancellation comes along. */
static inline int outcome(struct weft__fiber *f, struct weft_task *t)
{
    int rc = weft__task_rc(t);
    if (weft__unlikely(rc == -ECANCELED))
        weft__task_met(f->task, weft__task_counted(t) ? weft__task_take_message(t) : NULL);
    return rc;
}

static inline int take_outcome(struct weft__fiber *f, struct weft_task *t)
{
    if (weft__task_rc(t) < 0)
        weft__task_set_retrieved(t);
    return outcome(f, t);
}

static inline __attribute__((always_inline)) enum weft__wake suspend(struct weft__fiber *f, struct weft_task *t,
                                                                     const struct weft__wait_kind *kind, void *object,
                                                                     weft_ns deadline)
{
    struct weft__await *a = &f->await;
    a->waiter.fire = awaited_ended;
    a->fiber = f;
    weft__store_relaxed(&a->fired, 0); /* relaxed: add_waiter publishes */
    a->ticket = weft__wait_begin(f, kind, object);
    bool added = weft__task_add_waiter(t, &a->waiter);
    if (!added)
        weft__wake(f, a->ticket, WEFT__WOKEN);
    enum weft__wake how = weft__wait_commit(f, deadline);
    if (weft__unlikely(how != WEFT__WOKEN)) {
        /* The task had ended already when the request came (or awaits this one in a circle). */
        if (!added || weft__task_remove_waiter(t, &a->waiter))
            return how;
        for (unsigned turns = 0; weft__load_acquire(&a->fired) == 0; turns++) { /* pairs: AWAIT-FIRED */
            if (turns < 128)
                weft__cpu_relax();
            else
                sched_yield();
        }
    }
    return how;
}

int weft__await_suspended(struct weft__fiber *f, struct weft_task *t)
{
    return suspend(f, t, &await_task, t, WEFT_FOREVER) == WEFT__CANCELLED ? -ECANCELED : outcome(f, t);
}

enum weft__wake weft__await_as(struct weft__fiber *f, struct weft_task *t, const struct weft__wait_kind *kind,
                               void *object, weft_ns deadline)
{
    return suspend(f, t, kind, object, deadline);
}

static bool in_chain(struct weft__fiber *f, const struct weft_task *t)
{
    for (const struct weft_task *at = f->task; at != NULL; at = at->below) {
        if (at == t)
            return true;
    }
    return false;
}

static inline bool stack_fits(struct weft__fiber *f, uint32_t stack_class)
{
    return stack_class <= f->stack.size_class && weft__fiber_stack_left(f) >= WEFT__STACK_SLOT / 2 << stack_class;
}

/* On a strand's fiber only tasks of that strand run, and the other way round. */
static inline bool same_strand(const struct weft__fiber *f, struct weft_task *t)
{
    return (f->unusual & WEFT__FIBER_STRAND ? f->strand : NULL) == weft__task_strand(t);
}

static inline bool no_request(struct weft__fiber *f)
{
    return !(weft__load_acquire(&f->word) & WEFT__FIBER_REQUEST); /* pairs: FIBER-WORD */
}

/* Waiting is out of the question, or must not be done here. 1: go on. */
static WEFT__NOINLINE int await_unusual(struct weft__fiber *f, struct weft_task *t)
{
    if (weft__task_rt(t) != f->rt)
        return -EXDEV; /* runtimes end at different times: a thread (weft_to_thread) may weft_block_on it */
    if (f->unusual & WEFT__FIBER_CALLBACK)
        return weft__yield(f); /* aborts: a callback must not wait */
    if (weft__task_state(t) == WEFT__STARTED && in_chain(f, t)) {
        int rc = f->rt->fifo ? weft__yield(f) : 0;
        return rc < 0 ? rc : -EDEADLK;
    }
    return 1;
}

/* After many in a row: may it go on like this, or is it somebody else's turn? */
static WEFT__NOINLINE bool turn_is_left(struct weft__fiber *f, struct weft_task *t)
{
    struct weft__worker *w = f->worker;
    if (f->inlined < WEFT__INLINE_LIMIT)
        return true;
    bool hurry = weft__load_relaxed(&w->hurry) != 0; /* relaxed: a hint */
    /* Forked children are not in the queue: they have their turn by a suspension. */
    bool next = !w->in_turn && weft__joins_size(&w->joins) == 0 && weft__worker_is_next(w, weft__item_of_task(t));
    /* A run in turn draws who is next, and a look around would not be drawn: there it is always time. */
    unsigned rounds = next ? 0 : f->inlined_rounds + 1U; /* if it is next, all that was older has had its turn */
    if (hurry && !next && rounds < ROUNDS_LIMIT - HURRIED)
        rounds = ROUNDS_LIMIT - HURRIED;
    f->inlined_rounds = (uint8_t)rounds;
    if (w->in_turn || rounds >= ROUNDS_LIMIT || !weft__worker_look_around(w))
        return false;
    weft__count(&w->steps, next); /* a turn was given */
    f->inlined = 0;
    return true;
}

/* What a task that ended while the awaiter went on leaves to him; a request that came meanwhile is met. */
static WEFT__NOINLINE int await_end(struct weft__fiber *f, struct weft_task *t)
{
    int rc = weft__task_rc(t) < 0 ? take_outcome(f, t) : weft__task_rc(t);
    return !no_request(f) && weft__take_request(f) ? -ECANCELED : rc;
}

static WEFT__NOINLINE int await_elsewhere(struct weft__fiber *f, struct weft_task *t)
{
    if (weft__task_state(t) != WEFT__NEW && turn_is_left(f, t) && weft__taken_ends(f, t))
        return await_end(f, t);
    if (weft__unlikely(weft__fetch_add_relaxed(&t->refs, 1) == 0)) /* relaxed: held already by the caller's handle */
        weft__task_over_released(t);
    int rc = weft__await_suspended(f, t);
    if (rc < 0)
        weft__task_set_retrieved(t);
    weft__task_unref(t);
    return rc;
}

static WEFT__NOINLINE int await_end_slowly(struct weft__fiber *f, struct weft_task *t, int rc)
{
    if (weft__task_visible(t))
        weft__count(&f->worker->counters.finished, (uint64_t)-1); /* it is counted as inlined */
    weft__task_finish_awaited(t, rc);
    return await_end(f, t);
}

/* Run a task that this call has claimed on top of the caller's. The reference it ran with is given back. */
static inline __attribute__((always_inline)) int run_here(struct weft__fiber *f, struct weft__worker *w,
                                                          struct weft_task *t, bool whole)
{
    f->inlined++;
    int rc = weft__fiber_run_inline(f, w, t, whole);
    w = f->worker; /* read anew: the fiber may have moved */
    weft__count(&w->counters.inlined, 1);
    if (weft__unlikely(!weft__task_finish_alone(w, t, rc)))
        return await_end_slowly(f, t, rc);
    return weft__likely(no_request(f)) ? rc : await_end(f, t);
}

/* It has not started: run it right here, unless somebody else gets it first. The caller's handle keeps t valid until this returns. The run uses
 * up a reference: that of the queue's entry, if it can be had. */
static WEFT__NOINLINE int await_here_slowly(struct weft__fiber *f, struct weft_task *t)
{
    if (weft__taken_back(f->worker, t))
        return run_here(f, f->worker, t, false);
    bool entry = weft__taken_entry(f->worker, t);
    int claimed = entry ? weft__task_claim(t) : weft__task_claim_strange(t);
    if (weft__unlikely(claimed == 0)) {
        if (entry)
            weft__task_unref(t);
        return await_elsewhere(f, t);
    }
    if (!entry)
        weft__fetch_add_relaxed(&t->refs, 1); /* relaxed: held already */
    if (claimed < 0) {
        weft__task_met_unstarted(t);
        if (!weft__task_owns(t)) {
            weft__task_finish(t, -ECANCELED);
            return await_end(f, t);
        }
    }
    return run_here(f, f->worker, t, true);
}

/* Take an unstarted task out of the closed part of the calling worker's queue, where it is mostly the newest, and claim it. False: it is not
 * there, not this worker's creation, or not alone; nothing is done. */
static inline bool claim_here(struct weft__worker *w, struct weft_task *t)
{
    struct weft__ready *ready = &w->ready;
    uintptr_t item = weft__item_of_task(t);
    weft__ready_enter(ready);
    bool claimed = weft__load_relaxed(&t->fiber) == weft__task_home(w) &&                /* relaxed: its own mark */
                   weft__alone_inside(w) && weft__load_relaxed(&t->word) == WEFT__NEW && /* relaxed: alone */
                   (weft__ready_take_newest(ready, item) || weft__ready_take_oldest(ready, item) ||
                    weft__ready_take(ready, item, weft__task_place(ready, t)));
    if (weft__likely(claimed))
        weft__store_release(&t->word, WEFT__STARTED | WEFT__PLAIN); /* pairs: TASK-NEW */
    weft__ready_leave(ready);
    return claimed;
}

/* All that the first lines of weft_await do not decide. */
static WEFT__NOINLINE int await_slowly(struct weft__fiber *f, struct weft_task *t)
{
    weft__preempt_point();
    if (weft__unlikely(f->unusual & WEFT__FIBER_SCOPE))
        weft__scopes_arm(f); /* then the next one is quick again */
    if (t == NULL)
        return -ENOMEM;
    uint64_t state = weft__task_state(t);
    if (state == WEFT__DONE)
        return take_outcome(f, t);
    struct weft_runtime *rt = f->rt;
    if (weft__unlikely(weft__task_rt(t) != rt || state != WEFT__NEW || (f->unusual & WEFT__FIBER_CALLBACK))) {
        int rc = await_unusual(f, t);
        if (rc <= 0)
            return rc;
    }
    if (state == WEFT__NEW && t->kind == WEFT__KIND_TASK && rt->inlining && turn_is_left(f, t) &&
        stack_fits(f, t->stack_class) && no_request(f) && same_strand(f, t) && weft__pinned_fits(f, t) &&
        (rt->seeded == NULL || weft__seeded_draw(rt->seeded, WEFT__CHOOSE_INLINE, 2) != 0)) {
        if (weft__unlikely(f->unusual & WEFT__FIBER_BATCH))
            weft__batch_close(f); /* to await is to suspend */
        return await_here_slowly(f, t);
    }
    return await_elsewhere(f, t);
}

int weft_await(weft_task *t)
{
    struct weft__fiber *f = weft__fiber_require("weft_await");
    struct weft__worker *w = f->worker;
    if (weft__likely(t != NULL && f->unusual == 0 && f->inlined < WEFT__INLINE_LIMIT && no_request(f) &&
                     weft_here_sp_() >= f->stack_limit && claim_here(w, t)))
        return run_here(f, w, t, false);
    return await_slowly(f, t);
}

int weft_await_release(weft_task *t)
{
    int rc = weft_await(t);
    weft_release(t);
    return rc;
}

/* ---- structured children ----------------------------------------------------------------------------------------- */

static inline struct weft_task *child_task(weft_child *child)
{
    return (struct weft_task *)(void *)child->opaque_;
}

void weft_fork_(weft_child *child, weft_frame *frame)
{
    weft__preempt_point();
    struct weft__fiber *f = weft__fiber_require("weft_fork");
    struct weft__worker *w = f->worker;
    struct weft_task *t = child_task(child);
    t->link.next = NULL;
    t->kind = WEFT__KIND_CHILD;
    t->rc = 0;
    t->frame = frame;
    weft__store_relaxed(&t->fiber, NULL); /* relaxed: the push publishes */
    t->below = NULL;
    weft__store_relaxed(&t->requests, 0); /* relaxed: the push publishes */
    t->flags = 0;
    t->open = 0;
    t->parent = f->task;
    weft__store_relaxed(&t->word, WEFT__NEW); /* relaxed: the push publishes */
#ifdef WEFT_DEBUG
    f->children++;
#endif
    if (weft__unlikely((w->in_turn && (w->rt->fifo || weft__seeded_draw(w->rt->seeded, WEFT__CHOOSE_FORK, 2) != 0)) ||
                       !weft__joins_push_slow(&w->joins, weft__item_of_task(t)))) {
        weft__count(&w->counters.forks, 1);
        weft__make_ready(w->rt, weft__item_of_task(t)); /* asyncio's order; or no memory to grow */
        return;
    }
    weft__joins_pushed(w);
}

/* Another stack for it, and this fiber waits: a recursion of any depth goes on. Or somebody else has it. */
static WEFT__NOINLINE int join_elsewhere(struct weft__fiber *f, struct weft_task *t, bool taken)
{
    if (taken)
        weft__make_ready(f->rt, weft__item_of_task(t));
    if (weft__task_state(t) == WEFT__DONE)
        return weft__task_rc(t);
    for (;;) {
        int rc = weft__await_suspended(f, t);
        if (weft__task_state(t) == WEFT__DONE)
            return rc;
        /* Only tasks that wait for each other in a circle come here: the frame must stay until the child has ended. */
    }
}

/* The child's entry was taken by the caller. */
static int join_here(struct weft__fiber *f, struct weft_task *t)
{
    if (weft__unlikely(weft__task_claim(t) < 0) && !weft__task_owns(t))
        return -ECANCELED;
    /* Nobody else can know the child: no waiter to tell, no state to publish. */
    int rc = weft__fiber_run(f, t);
    if (weft__mark_take(t) && rc >= 0)
        rc = -ECANCELED;
    return weft__unlikely(!no_request(f)) && weft__take_request(f) ? -ECANCELED : rc;
}

int(weft_join)(weft_child *child)
{
    weft__preempt_point();
    struct weft__fiber *f = weft__fiber_require("weft_join");
    struct weft_task *t = child_task(child);
#ifdef WEFT_DEBUG
    f->children--;
#endif
    if (weft__task_state(t) == WEFT__DONE) /* somebody ran it while its parent waited */
        return weft__task_rc(t);
    bool taken = weft__joins_pop(&f->worker->joins, weft__item_of_task(t)) != 0;
    if (taken && weft__likely(stack_fits(f, f->rt->stack_class) && no_request(f)))
        return join_here(f, t);
    return join_elsewhere(f, t, taken);
}

#if WEFT_INLINE_
/* The inline join has lowered bottom to the child's index, and that lies open: the rest of a pop. */
int weft_join_open_(weft_child *child, int64_t bottom)
{
    struct weft__fiber *f = weft__fiber_self();
    struct weft_task *t = child_task(child);
    if (weft__joins_pop_open(&f->worker->joins, bottom))
        return join_here(f, t);
    return join_elsewhere(f, t, false);
}

/* The inline join has run the child, and something unusual has happened. */
int weft_join_end_(weft_child *child, int rc)
{
    struct weft__fiber *f = weft__fiber_self();
    struct weft_task *t = child_task(child);
    weft__fiber_check_end(f, t, t->frame->coro);
    if (f->unusual & WEFT__FIBER_PARK_AGAIN) { /* it has waited for what it would have been parked at */
        weft__fiber_clear(f, WEFT__FIBER_PARK_AGAIN);
        if (rc == WEFT_PARK)
            rc = weft__fiber_run(f, t);
    }
    if (weft__mark_take(t) && rc >= 0)
        rc = -ECANCELED;
    return !no_request(f) && weft__take_request(f) ? -ECANCELED : rc;
}
#endif

/* ---- creating, sleeping ------------------------------------------------------------------------------------------ */

static WEFT__NOINLINE weft_task *create_unusual(struct weft__fiber *f, const weft_task_options *options,
                                                const weft_frame *frame, const void *caller)
{
    weft__preempt_point();
    if (weft__unlikely(f->unusual & WEFT__FIBER_SCOPE))
        weft__scopes_arm(f); /* as in await */
    struct weft_task *t = weft__task_create(f->rt, WEFT__KIND_TASK, frame, options);
    if (weft__likely(t != NULL)) {
        if (weft__unlikely(f->rt->options.debug != 0))
            weft__note_creation(t, caller);
        uint32_t where;
        if (weft__unlikely(options != NULL && weft__pinned_place(f->rt, options, &where) < 0))
            weft__task_refuse(t, -EINVAL);
        else if (weft__unlikely(options != NULL) && WEFT__TASK_HAS(options, eager) && options->eager)
            weft__task_start_eagerly(f, t);
        else
            weft__task_schedule(t);
    }
    return t;
}

static WEFT__NOINLINE weft_task *push_slowly(struct weft__worker *w, weft_task *t)
{
    (void)weft__worker_push(w, weft__item_of_task(t)); /* the queue grows: the place that was noted is a hint */
    return t;
}

static WEFT__NOINLINE weft_task *share(struct weft__worker *w, weft_task *t)
{
    weft__worker_share(w);
    return t;
}

weft_task *weft_create_task_(const weft_task_options *options, const weft_frame *frame)
{
    struct weft__fiber *f = weft__fiber_require("weft_create_task");
    struct weft__worker *w = f->worker;
    struct weft_task *t = NULL;
    if (weft__likely(options == NULL && f->unusual == 0 && w->hold == NULL)) /* debug: next_id in task.c */
        t = weft__task_create_plain(w, f->task, frame);
    if (weft__unlikely(t == NULL))
        return create_unusual(f, options, frame, __builtin_return_address(0));
    /* The place is a hint, for who awaits it here. Noted before anybody else can have it. */
    int64_t place = weft__load_relaxed(&w->ready.tail); /* relaxed: own */
    weft__store_relaxed(&t->place, (uint16_t)place);    /* relaxed: a hint */
    if (weft__unlikely(!weft__ready_push_quick(&w->ready, weft__item_of_task(t))))
        return push_slowly(w, t);
    return weft__likely(!weft__ready_asked(&w->ready)) ? t : share(w, t);
}

int weft_yield(void)
{
    return weft__yield(weft__fiber_require("weft_yield"));
}

static void tell_sleep(struct weft__fiber *f, void *object, struct weft__sight *s)
{
    (void)object;
    weft__sight_sleep(s, &f->timer);
}

static const struct weft__wait_kind sleeping = {"sleep", NULL, tell_sleep};

/* There was no memory for the timer. It waits on this stack then, until it has fired or is taken back. */
static WEFT__NOINLINE int sleep_without_memory(struct weft__fiber *f, weft_ns instant)
{
    struct weft__timer_spare spare;
    weft__wait_begin(f, &sleeping, NULL);
    weft__timers_set_spare(&f->worker->timers, &f->timer, &spare, instant);
    enum weft__wake reason = weft__wait_commit(f, WEFT_FOREVER);
    weft__timer_cancel(&f->timer);
    return reason == WEFT__CANCELLED ? -ECANCELED : 0;
}

/* The instant is to come. A timer that could not be set for want of memory counts as expired at once. */
static int sleep_until(struct weft__fiber *f, weft_ns instant)
{
    weft__wait_begin(f, &sleeping, NULL);
    if (weft__wait_commit_future(f, instant) == WEFT__CANCELLED)
        return -ECANCELED;
    if (weft__likely(!f->timer.refused) || weft__runtime_now(f->rt) >= instant)
        return 0;
    return sleep_without_memory(f, instant);
}

int weft_sleep_until(weft_ns instant)
{
    struct weft__fiber *f = weft__fiber_require("weft_sleep_until");
    return instant <= weft__runtime_now(f->rt) ? weft__yield(f) : sleep_until(f, instant);
}

int weft_sleep(weft_ns duration)
{
    struct weft__fiber *f = weft__fiber_require("weft_sleep");
    return duration <= 0 ? weft__yield(f) : sleep_until(f, weft__deadline_after(f->rt, duration));
}
