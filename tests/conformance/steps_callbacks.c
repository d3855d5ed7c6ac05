/* SPDX-License-Identifier: Apache-2.0 */
/* steps_callbacks.c -- steps: callbacks of futures, soon, later. Their steps share the slots of the call that
 * registered them. */
#include "steps.h"

struct callback {
    struct callback *next;
    struct run *run;
    struct slots *locals;
    const json_t *steps;
    weft_handle *handle;
    struct future *future; /* of on_done */
};

struct callback_body {
    WEFT_FRAME;
    struct callback *callback;
};

static int callback_body(struct callback_body *b)
{
    struct callback *callback = b->callback;
    struct call c = {.run = callback->run, .locals = callback->locals};
    struct flow f = block_run(&c, callback->steps);
    return f.kind == FLOW_RAISE ? f.error : 0; /* there is no task that could keep a message */
}
WEFT_CORO(callback_body);

static struct callback *callback_new(struct call *c, const json_t *step, size_t i)
{
    struct callback *callback = memory_get(&c->run->memory, sizeof *callback);
    callback->run = c->run;
    callback->locals = c->locals;
    callback->steps = argument(step, i);
    return callback;
}

/* Keep the handle; into slot i with it. */
static struct flow registered(struct call *c, struct callback *callback, weft_handle *handle, const json_t *step,
                              size_t i)
{
    if (handle == NULL)
        return flow_plain(c, -ENOMEM);
    callback->handle = handle;
    pthread_mutex_lock(&c->run->lock);
    callback->next = c->run->callbacks;
    c->run->callbacks = callback;
    pthread_mutex_unlock(&c->run->lock);
    store(c, step, i, object_value(VALUE_HANDLE, callback));
    return NEXT;
}

void callbacks_release(struct run *run)
{
    for (struct callback *callback = run->callbacks; callback != NULL; callback = callback->next)
        weft_release(callback->handle);
}

struct flow step_on_done(struct call *c, const json_t *step)
{
    struct future *future;
    struct flow f = slot_future(c, argument_name(step, 1), &future);
    if (f.kind != FLOW_NEXT)
        return f;
    struct callback *callback = callback_new(c, step, 2);
    callback->future = future;
    return registered(c, callback, weft_add_done_callback(future_handle(future), callback_body, .callback = callback),
                      step, 3);
}

struct flow step_off_done(struct call *c, const json_t *step)
{
    struct future *future;
    struct value v = NULL_VALUE;
    struct flow f = slot_future(c, argument_name(step, 1), &future);
    if (f.kind == FLOW_NEXT)
        f = slot_read(c, argument_name(step, 2), &v);
    if (f.kind != FLOW_NEXT)
        return f;
    if (v.kind != VALUE_HANDLE)
        return unsupported(c, "off_done of what is no callback");
    const struct callback *callback = v.object;
    bool its_own = callback->future == future;
    store(c, step, 3, int_value(its_own && weft_remove_done_callback(future_handle(future), callback->handle)));
    return NEXT;
}

struct flow step_call_soon(struct call *c, const json_t *step)
{
    struct callback *callback = callback_new(c, step, 1);
    return registered(c, callback, weft_call_soon(callback_body, .callback = callback), step, 2);
}

struct flow step_call_later(struct call *c, const json_t *step)
{
    struct callback *callback = callback_new(c, step, 2);
    weft_ns delay = ns_of_json(argument(step, 1));
    return registered(c, callback, weft_call_later(delay, callback_body, .callback = callback), step, 3);
}

struct flow step_call_at(struct call *c, const json_t *step)
{
    struct callback *callback = callback_new(c, step, 2);
    weft_ns instant = ns_of_json(argument(step, 1));
    return registered(c, callback, weft_call_at(instant, callback_body, .callback = callback), step, 3);
}

struct flow step_cancel_handle(struct call *c, const json_t *step)
{
    struct value v;
    struct flow f = slot_read(c, argument_name(step, 1), &v);
    if (f.kind != FLOW_NEXT)
        return f;
    if (v.kind != VALUE_HANDLE)
        return unsupported(c, "cancel_handle of what is no handle");
    weft_cancel(((struct callback *)v.object)->handle);
    return NEXT;
}
