/* SPDX-License-Identifier: Apache-2.0 */
/* executor/future.c -- futures that the program sets (weft/future.h). The descriptor and its states are task.c's.
 *
 * Threads: create in a task, a callback or a helper thread; set in any. A thread that is no worker is a visitor of the runtime while it
 * tells the waiters, which may be what the runtime's end is waiting for. */
#include <weft/future.h>

#include <errno.h>
#include <stdlib.h>

#include "executor/runtime.h"

static const weft_coro no_value = {NULL, sizeof(weft_frame), "future", NULL};

weft_future *weft_future_create_(const weft_coro *type)
{
    struct weft_runtime *rt = weft_runtime_current();
    if (rt == NULL)
        weft__misuse("weft_future_create", "called outside a task, a callback or a weft_to_thread function");
    if (type->size <= WEFT__INLINE_FRAME) {
        struct {
            weft_frame frame;
            char rest[WEFT__INLINE_FRAME - sizeof(weft_frame)];
        } zero = {{type}, {0}};
        return weft__future_create(rt, &zero.frame, NULL);
    }
    weft_frame *zero = calloc(1, type->size);
    if (zero == NULL)
        return NULL;
    zero->coro = type;
    weft_future *f = weft__future_create(rt, zero, NULL);
    free(zero);
    return f;
}

weft_future *weft__future_ended(int rc)
{
    weft_future *f = weft_future_create();
    if (f != NULL)
        (void)weft__future_finish(f, rc, NULL, false);
    return f;
}

weft_future *weft_future_create(void)
{
    return weft_future_create_(&no_value);
}

static int set(weft_future *f, int rc, const weft_frame *value)
{
    if (f == NULL)
        return -ENOMEM;
    if (f->kind != WEFT__KIND_FUTURE || f->future != NULL)
        return -EPERM;
    if (weft__task_state(f) == WEFT__DONE)
        return -EALREADY; /* also when its runtime is gone */
    struct weft__worker *w = weft__worker_self();
    bool foreign = w == NULL || w->rt != weft__task_rt(f);
    if (foreign && !weft__runtime_enter(weft__task_rt(f)))
        return -ESHUTDOWN;
    bool done = weft__future_finish(f, rc, value, false);
    if (foreign)
        weft__runtime_leave(weft__task_rt(f));
    return done ? 0 : -EALREADY;
}

int weft_future_set_result(weft_future *f, int rc)
{
    weft__preempt_point();
    return rc < 0 ? -EINVAL : set(f, rc, NULL);
}

int weft_future_set_value_(weft_future *f, const weft_frame *value)
{
    weft__preempt_point();
    if (f != NULL && f->kind == WEFT__KIND_FUTURE && f->future == NULL &&
        !weft__coro_is_same(f->frame->coro, value->coro))
        return -EINVAL;
    return set(f, 0, value);
}

int weft_future_set_error(weft_future *f, int error)
{
    weft__preempt_point();
    return error >= 0 ? -EINVAL : set(f, error, NULL);
}
