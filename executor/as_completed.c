/* SPDX-License-Identifier: Apache-2.0 */
/* executor/as_completed.c -- asyncio.as_completed: tasks one after the other, as they end.
 *
 * A counted block on the heap: a waiter at each different task; those that have ended lie in a list in order of arrival, from which next
 * takes. A timer, if there is a limit, marks the iteration expired: what ends after that is not delivered any more, and each task left
 * gives -ETIMEDOUT.
 *
 * Invariants: left = tasks that have neither been taken nor timed out; the guard covers the list, `expired` and who waits. refs = 1 for the
 * owner + 1 for each waiter not arrived or taken out. One task iterates.
 *
 * Threads: begin, next, end: the owner. Waiters fire in whichever thread ends a task, the timer under its heap's guard (rank: that one
 * first, then this block's). */
#include <errno.h>
#include <stdlib.h>
#include <weft/gather.h>

#include "executor/guard.h"
#include "executor/runtime.h"
#include "executor/watch.h"

struct arrival {
    struct weft__waiter waiter;
    struct weft__entry entry; /* order=fifo: asyncio's callback, which takes a turn of its own */
    struct iteration *iteration;
    struct arrival *next;   /* in the list */
    struct weft_task *task; /* referenced; NULL: could not be created, or given twice */
    bool twice;
};

struct iteration {
    _Atomic(size_t) refs; /* ITERATION-REFS: each drop comes before the free */
    struct weft__timer timer;
    uint32_t guard; /* of the next seven */
    bool waiting, expired;
    uint32_t ticket;
    struct weft__fiber *fiber;
    struct arrival *first, *last;
    size_t left;    /* to be handed out, or to time out */
    size_t awaited; /* not arrived */
    size_t count;
    struct arrival arrivals[];
};

static char no_memory, foreign;

static void drop(struct iteration *it)
{
    if (weft__fetch_sub_acq_rel(&it->refs, (size_t)1) != 1) /* pairs: ITERATION-REFS (itself) */
        return;
    for (size_t i = 0; i < it->count; i++)
        if (it->arrivals[i].task != NULL)
            weft__task_unref(it->arrivals[i].task);
    free(it);
}

/* Under the guard. */
static void wake_owner(struct iteration *it)
{
    if (it->waiting) {
        it->waiting = false;
        weft__wake(it->fiber, it->ticket, WEFT__WOKEN);
    }
}

static void arrive(struct arrival *a)
{
    struct iteration *it = a->iteration;
    weft__guard_lock(&it->guard);
    if (!it->expired) {
        it->awaited--;
        a->next = NULL;
        if (it->last != NULL)
            it->last->next = a;
        else
            it->first = a;
        it->last = a;
        wake_owner(it);
    }
    weft__guard_unlock(&it->guard);
    drop(it);
}

static void entry_runs(struct weft__entry *entry)
{
    arrive(weft__container_of(entry, struct arrival, entry));
}

static void task_ended(struct weft__waiter *waiter, struct weft_task *t)
{
    struct arrival *a = weft__container_of(waiter, struct arrival, waiter);
    if (weft__unlikely(weft__task_rt(t)->fifo))
        weft__make_ready(weft__task_rt(t), weft__item_of_entry(&a->entry));
    else
        arrive(a);
}

static void limit_passed(struct weft__timer *timer)
{
    struct iteration *it = weft__container_of(timer, struct iteration, timer);
    weft__guard_lock(&it->guard);
    if (it->awaited != 0) {
        it->expired = true;
        wake_owner(it);
    }
    weft__guard_unlock(&it->guard);
}

static int by_address(const void *x, const void *y)
{
    uintptr_t a = (uintptr_t)(*(struct arrival *const *)x)->task, b = (uintptr_t)(*(struct arrival *const *)y)->task;
    if (a != b)
        return a < b ? -1 : 1;
    return *(struct arrival *const *)x < *(struct arrival *const *)y ? -1 : 1;
}

/* Mark what is given for the second time. False: memory. */
static bool find_twice(struct iteration *it)
{
    if (it->count < 2)
        return true;
    struct arrival **sorted = malloc(it->count * sizeof sorted[0]);
    if (sorted == NULL)
        return false;
    for (size_t i = 0; i < it->count; i++)
        sorted[i] = &it->arrivals[i];
    qsort(sorted, it->count, sizeof sorted[0], by_address);
    for (size_t i = 1; i < it->count; i++)
        sorted[i]->twice = sorted[i]->task != NULL && sorted[i]->task == sorted[i - 1]->task;
    free(sorted);
    return true;
}

int weft_as_completed_begin(weft_as_completed *iteration, weft_task *const tasks[], size_t n, weft_ns timeout)
{
    weft__preempt_point();
    struct weft__fiber *f = weft__fiber_require("weft_as_completed_begin");
    iteration->state_ = &foreign;
    if (weft__watch_has_foreign(f->rt, tasks, n))
        return -EXDEV;
    struct iteration *it = calloc(1, sizeof *it + n * sizeof it->arrivals[0]);
    iteration->state_ = &no_memory;
    if (it == NULL)
        return -ENOMEM;
    weft__store_relaxed(&it->refs, (size_t)1); /* relaxed: not shared yet */
    it->fiber = f;
    it->count = n;
    weft__timer_init(&it->timer, limit_passed);
    for (size_t i = 0; i < n; i++)
        it->arrivals[i] = (struct arrival){.waiter.fire = task_ended,
                                           .entry = {.kind = WEFT__KIND_ENTRY, .run = entry_runs},
                                           .iteration = it,
                                           .task = weft_ref(tasks[i])};
    if (!find_twice(it)) {
        drop(it);
        return -ENOMEM;
    }
    for (size_t i = 0; i < n; i++)
        it->awaited += !it->arrivals[i].twice;
    it->left = it->awaited;
    weft_ns deadline = weft__deadline_after(f->rt, timeout);
    weft__fetch_add_relaxed(&it->refs, it->awaited); /* relaxed: add_waiter publishes */
    for (size_t i = 0; i < n; i++) {
        struct arrival *a = &it->arrivals[i];
        if (a->twice || (a->task != NULL && weft__task_add_waiter(a->task, &a->waiter)))
            continue;
        if (f->rt->fifo)
            weft__make_ready(f->rt, weft__item_of_entry(&a->entry));
        else
            arrive(a);
    }
    iteration->state_ = it;
    /* Last, so that what has ended already is never late. */
    if (it->left != 0 && timeout != WEFT_FOREVER && weft__timers_set(&f->worker->timers, &it->timer, deadline) < 0) {
        weft_as_completed_end(iteration);
        iteration->state_ = &no_memory;
        return -ENOMEM;
    }
    return 0;
}

static void tell(struct weft__fiber *f, void *object, struct weft__sight *s)
{
    struct iteration *it = object;
    size_t left = 0, named = 0;
    (void)f;
    for (size_t i = 0; i < it->count; i++)
        left += !it->arrivals[i].twice && !weft__watch_is_done(it->arrivals[i].task);
    weft__sight_say(s, "waits for as_completed: %zu of %zu %s", left, it->count, it->count == 1 ? "task" : "tasks");
    for (size_t i = 0; i < it->count && named < WEFT__SIGHT_MOST; i++) {
        struct arrival *a = &it->arrivals[i];
        if (!a->twice && !weft__watch_is_done(a->task))
            weft__sight_one_of(s, named++, a->task);
    }
    weft_ns deadline = weft__timer_deadline(&it->timer);
    if (deadline != WEFT_FOREVER)
        weft__sight_time(s, ", at most ", deadline, " more");
}

static const struct weft__wait_kind as_completed_wait = {.name = "as_completed", .tell = tell};

/* Under the guard, which is given back while it sleeps: something arrived, or the limit passed. 0 or -ECANCELED. */
static int sleep_on(struct iteration *it, struct weft__fiber *f)
{
    while (it->first == NULL && !it->expired) {
        it->fiber = f;
        it->ticket = weft__wait_begin(f, &as_completed_wait, it);
        it->waiting = true;
        weft__guard_unlock(&it->guard);
        enum weft__wake how = weft__wait_commit(f, WEFT_FOREVER);
        weft__guard_lock(&it->guard);
        it->waiting = false;
        if (how == WEFT__CANCELLED)
            return -ECANCELED;
    }
    return 0;
}

int weft_as_completed_next(weft_as_completed *iteration, weft_task **out)
{
    weft__preempt_point();
    struct weft__fiber *f = weft__fiber_require("weft_as_completed_next");
    if (iteration->state_ == NULL)
        weft__misuse("weft_as_completed_next", "the iteration was never begun, or has ended");
    if (iteration->state_ == &no_memory || iteration->state_ == &foreign)
        return iteration->state_ == &no_memory ? -ENOMEM : -EXDEV;
    struct iteration *it = iteration->state_;
    if (it->left == 0)
        return 0;
    weft__guard_lock(&it->guard);
    int rc = sleep_on(it, f);
    struct arrival *a = it->first;
    if (rc == 0 && a != NULL) {
        it->first = a->next;
        if (it->first == NULL)
            it->last = NULL;
        rc = 1;
    } else if (rc == 0) {
        rc = -ETIMEDOUT;
    }
    if (rc != -ECANCELED)
        it->left--;
    bool all_arrived = it->awaited == 0;
    weft__guard_unlock(&it->guard);
    if (all_arrived)
        weft__timer_cancel(&it->timer); /* so that it does not keep a virtual clock going */
    if (rc > 0)
        *out = a->task;
    return rc;
}

void weft_as_completed_end(weft_as_completed *iteration)
{
    struct iteration *it = iteration->state_;
    if (it == NULL)
        weft__misuse("weft_as_completed_end", "the iteration was never begun, or has ended");
    iteration->state_ = NULL;
    if (it == (void *)&no_memory || it == (void *)&foreign)
        return;
    weft__timer_cancel(&it->timer);
    for (size_t i = 0; i < it->count; i++) {
        struct arrival *a = &it->arrivals[i];
        if (a->task != NULL && !a->twice && weft__task_remove_waiter(a->task, &a->waiter))
            drop(it);
    }
    drop(it);
}
