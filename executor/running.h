/* SPDX-License-Identifier: Apache-2.0 */
/* executor/running.h -- see running.c: which task each worker runs now, for reports. */
#ifndef WEFT_EXECUTOR_RUNNING_H
#define WEFT_EXECUTOR_RUNNING_H

#include <weft/coroutine.h>

#include "executor/base.h"

struct weft_runtime;

/* What one worker was at when it was looked at. */
struct weft__running {
    unsigned worker;           /* set by who asks */
    struct weft__fiber *fiber; /* NULL: none, it was in its idle loop */
    const weft_coro *coro;     /* the innermost function; NULL: none */
    struct weft_task *task;    /* on that fiber, referenced: the innermost that is counted; NULL: none was found */
    weft_ns
        since; /* of the real clock: when the reactor's tick first saw this step; WEFT_FOREVER: it has not seen it */
};

/* Look at n workers of rt; puts `r` in another order. Costs a look at every task's descriptor. A worker, or a thread that the end of rt waits for. */
void weft__running_look(struct weft_runtime *rt, struct weft__running *r, unsigned n);
/* Give back what it has referenced. */
void weft__running_done(struct weft__running *r, unsigned n);
/* "Task-9", or "Task-9 (session)" where another function of it runs; "" without a task. Its length. */
size_t weft__running_name(const struct weft__running *r, char *text, size_t size);

#endif
