/* SPDX-License-Identifier: Apache-2.0 */
/* executor/wait_each.c -- waiting for all of several tasks where a watch (watch.c) could not be had: for one after the other, which needs no memory.
 *
 * The fiber is the waiter, as in an await, of the first task that has not ended, then of the next; what ends meanwhile is found ended when its
 * turn comes. Only who waits for all can do with that: the first failure, or the first of several, is seen too late.
 *
 * Invariants
 *   1. The list of tasks and `struct each` lie in frames of the waiting task. A canceller and a dump read them while they hold the fiber LOCKED, so
 *      that it cannot run, and at no other time: what they put on a list are the tasks, referenced.
 *   2. A request that finds the fiber waiting is passed on by who brings it. One that finds it between two waits is found by the next of them, or
 *      by the end of the last (CANCELLED), and passed on by the fiber itself. None is lost, none is passed on twice.
 *
 * With order=fifo the fiber goes on with the turn of the last task's end, without the one that asyncio's callback takes.
 *
 * Threads: the running task's; cancel and tell: who holds the fiber. */
#include "executor/chain.h"
#include "executor/runtime.h"
#include "executor/watch.h"

struct each {
    weft_task *const *tasks;
    size_t n;
    bool requested; /* a cancellation has been passed on */
};

/* False: all have ended, or none of the others takes it. */
static bool pass_on(struct each *e, struct weft__cancel_list *list)
{
    if (weft__chain_is_over(e->tasks, e->n, false) || !weft__chain_pass_on(e->tasks, e->n, list))
        return false;
    e->requested = true;
    return true;
}

static bool cancel_each(struct weft__fiber *f, void *object, struct weft__cancel_list *list)
{
    (void)f;
    return pass_on(object, list);
}

static struct weft_task *task_at(const void *object, size_t i)
{
    return ((const struct each *)object)->tasks[i];
}

static void tell_each(struct weft__fiber *f, void *object, struct weft__sight *s)
{
    weft__watch_tell_tasks(f, s, task_at, object, ((struct each *)object)->n);
}

static const struct weft__wait_kind gather_each = {.name = "gather", .cancel = cancel_each, .tell = tell_each};
static const struct weft__wait_kind wait_each = {.name = "wait", .tell = tell_each};

/* A request has ended a wait, or come after its end: is there anybody to hand it on to? */
static bool met_is_passed_on(struct each *e)
{
    struct weft__cancel_list list;
    weft__cancel_list_init(&list);
    list.message = weft_cancel_message();
    bool passed_on = pass_on(e, &list);
    weft__cancel_run(&list);
    return passed_on;
}

struct weft__watched weft__wait_each(struct weft__fiber *f, weft_task *const tasks[], size_t n, bool passes_on,
                                     weft_ns deadline, bool at_once, bool requested)
{
    struct each e = {tasks, n, requested};
    struct weft__watched result = {.how = WEFT__WOKEN};
    bool waited = false;
    for (size_t i = 0; i < n && result.how == WEFT__WOKEN; i++) {
        while (!weft__watch_is_done(tasks[i])) {
            waited = true;
            result.how = weft__await_as(f, tasks[i], passes_on ? &gather_each : &wait_each, &e, deadline);
            if (result.how == WEFT__TIMED_OUT ||
                (result.how == WEFT__CANCELLED && !(passes_on && met_is_passed_on(&e))))
                break;
            result.how = WEFT__WOKEN;
        }
    }
    if (!waited && !at_once && weft__yield(f) < 0)
        result.how = WEFT__CANCELLED;
    result.requested = e.requested;
    return result;
}
