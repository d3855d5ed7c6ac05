/* SPDX-License-Identifier: Apache-2.0 */
/* executor/interrupt.c -- the main task, and what Ctrl-C does to it (the option handle_sigint).
 *
 * While a main task is under way the runtime knows it, and the driver has SIGINT; when one comes, the driver calls
 * weft__runtime_interrupt, which cancels the main task as anybody else would. If that is why it ends cancelled, the run says -EINTR instead:
 * asyncio's rule, by which the request is taken back and no other may be left.
 *
 * Invariant: main_task is set from before SIGINT is taken over until after the main task has ended; so a request meets either it, or its end,
 * and then it is refused.
 *
 * Threads: begins and ended belong to whoever runs main tasks (root.c), one at a time; interrupt to the collector. */
#include <errno.h>

#include "executor/guard.h"
#include "executor/runtime.h"

static void set_main(struct weft_runtime *rt, struct weft_task *t)
{
    weft__guard_lock(&rt->main_guard);
    rt->main_task = t;
    if (t != NULL)
        rt->interrupted = false;
    weft__guard_unlock(&rt->main_guard);
}

void weft__main_begins(struct weft_runtime *rt, struct weft_task *t)
{
    rt->main_error = 0;
    if (!rt->options.handle_sigint)
        return;
    set_main(rt, t);
    rt->main_error = rt->driver != NULL ? rt->driver->interrupts(rt, true) : -ENOTSUP;
    if (rt->main_error < 0)
        weft_cancel(t); /* it has not begun, and never does */
}

int weft__main_ended(struct weft_runtime *rt, struct weft_task *t, int rc)
{
    if (!rt->options.handle_sigint)
        return rc;
    set_main(rt, NULL);
    if (rt->main_error < 0)
        return rt->main_error;
    (void)rt->driver->interrupts(rt, false);
    return rc == -ECANCELED && rt->interrupted && weft__uncancel(t) == 0 ? -EINTR : rc;
}

bool weft__runtime_interrupt(struct weft_runtime *rt)
{
    struct weft__cancel_list list;
    weft__guard_lock(&rt->main_guard);
    struct weft_task *t = rt->main_task;
    if (t != NULL) {
        weft_ref(t);
        rt->interrupted = true; /* before the request: the task may end by it at once */
    }
    weft__guard_unlock(&rt->main_guard);
    if (t == NULL)
        return false;
    weft__cancel_list_init(&list);
    bool taken = weft__cancel_mark(t, &list);
    if (taken)
        weft__cancel_run(&list);
    weft__task_unref(t);
    return taken;
}
