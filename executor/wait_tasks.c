/* SPDX-License-Identifier: Apache-2.0 */
/* executor/wait_tasks.c -- asyncio.wait: until some or all of the tasks have ended, or a time has passed.
 *
 * A watch (watch.c) with the rule of `when`. With order=fifo what has ended already takes asyncio's turn through the ready queue; else it
 * is a plain turn of the scheduler: in both the others run and a cancellation has its chance.
 *
 * Threads: the running task's. */
#include <errno.h>
#include <weft/gather.h>

#include "executor/runtime.h"
#include "executor/watch.h"

static const struct weft__wait_kind wait_wait = {.name = "wait", .tell = weft__watch_tell};

static bool meets(enum weft__watch_rule rule, int rc)
{
    return rule == WEFT__UNTIL_ANY || (rule == WEFT__UNTIL_ERROR && rc < 0 && rc != -ECANCELED);
}

/* How many have ended; `look`: those outcomes count as looked at. */
static size_t count_done(weft_task *const tasks[], size_t n, enum weft__watch_rule rule, bool *met)
{
    size_t done = 0;
    for (size_t i = 0; i < n; i++) {
        if (!weft__watch_is_done(tasks[i]))
            continue;
        done++;
        *met |= meets(rule, weft__watch_outcome(tasks[i]));
        if (rule == WEFT__UNTIL_ERROR && tasks[i] != NULL) /* had to look whether it failed */
            weft__task_set_retrieved(tasks[i]);
    }
    return done;
}

int weft_wait(weft_task *const tasks[], size_t n, enum weft_return_when when, weft_ns timeout)
{
    weft__preempt_point();
    struct weft__fiber *f = weft__fiber_require("weft_wait");
    if (n == 0 || when < WEFT_ALL_COMPLETED || when > WEFT_FIRST_EXCEPTION)
        return -EINVAL;
    enum weft__watch_rule rule = when == WEFT_FIRST_COMPLETED   ? WEFT__UNTIL_ANY
                                 : when == WEFT_FIRST_EXCEPTION ? WEFT__UNTIL_ERROR
                                                                : WEFT__UNTIL_ALL;
    size_t own = 0;
    for (size_t i = 0; i < n; i++) {
        if (weft__watch_is_done(tasks[i]))
            continue;
        if (weft__task_rt(tasks[i]) != f->rt)
            return -EXDEV;
        own += weft__watch_is_own(f, tasks[i]);
    }
    bool met = false;
    size_t done = count_done(tasks, n, rule, &met);
    /* The caller's own tasks cannot end while it waits: where each one has to, or no other is left to end it sooner. */
    if (timeout == WEFT_FOREVER && own != 0 && !met && (rule == WEFT__UNTIL_ALL || done + own == n))
        return -EDEADLK;
    if ((met || done == n || timeout <= 0) && !f->rt->fifo) {
        int rc = weft__yield(f);
        if (rc < 0)
            return rc;
    } else {
        weft_ns deadline = weft__deadline_after(f->rt, timeout);
        struct weft__watched result = weft__watch_wait(f, tasks, n, rule, &wait_wait, deadline, false, false, false);
        if (result.how == 0) /* the first of several is seen by a watch only */
            return -ENOMEM;
        if (result.how == WEFT__CANCELLED)
            return -ECANCELED;
    }
    return (int)count_done(tasks, n, rule, &met);
}
