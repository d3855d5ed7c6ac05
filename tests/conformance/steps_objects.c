/* SPDX-License-Identifier: Apache-2.0 */
/* steps_objects.c -- steps: locks, events, conditions, semaphores, barriers, queues; what is no awaitable (see
 * operations.c). */
#include "steps.h"

struct flow step_with(struct call *c, const json_t *step)
{
    struct object *o;
    struct flow f = step_object(c, step, 1, &o);
    if (f.kind == FLOW_NEXT)
        f = object_acquire(c, o);
    if (f.kind != FLOW_NEXT)
        return f;
    f = block_run(c, argument(step, 2));
    struct flow released = object_release(c, o);
    return released.kind == FLOW_NEXT ? f : released;
}

struct flow step_release(struct call *c, const json_t *step)
{
    struct object *o;
    struct flow f = step_object(c, step, 1, &o);
    return f.kind == FLOW_NEXT ? object_release(c, o) : f;
}

struct flow step_set(struct call *c, const json_t *step)
{
    struct object *o;
    struct flow f = step_object_of(c, step, 1, OBJECT_EVENT, &o);
    if (f.kind == FLOW_NEXT)
        weft_event_set(&o->event);
    return f;
}

struct flow step_clear(struct call *c, const json_t *step)
{
    struct object *o;
    struct flow f = step_object_of(c, step, 1, OBJECT_EVENT, &o);
    if (f.kind == FLOW_NEXT)
        weft_event_clear(&o->event);
    return f;
}

/* ---- conditions -------------------------------------------------------------------------------------------------- */

struct flow step_cond_wait_for(struct call *c, const json_t *step)
{
    struct object *o;
    struct flow f = step_object_of(c, step, 1, OBJECT_CONDITION, &o);
    struct value wanted = value_of_json(&c->run->memory, argument(step, 3)), v;
    while (f.kind == FLOW_NEXT) {
        f = slot_read(c, argument_name(step, 2), &v);
        if (f.kind == FLOW_NEXT && value_equal(v, wanted))
            return NEXT;
        if (f.kind == FLOW_NEXT)
            f = flow_of(c, weft_condition_wait(&o->condition), -EPERM, CODE_RUNTIME);
    }
    return f;
}

struct flow step_notify(struct call *c, const json_t *step)
{
    struct object *o;
    struct flow f = step_object_of(c, step, 1, OBJECT_CONDITION, &o);
    const json_t *n = argument(step, 2);
    if (f.kind != FLOW_NEXT)
        return f;
    return flow_of(c, weft_condition_notify(&o->condition, n != NULL ? (size_t)json_integer_value(n) : 1), -EPERM,
                   CODE_RUNTIME);
}

struct flow step_notify_all(struct call *c, const json_t *step)
{
    struct object *o;
    struct flow f = step_object_of(c, step, 1, OBJECT_CONDITION, &o);
    return f.kind == FLOW_NEXT ? flow_of(c, weft_condition_notify_all(&o->condition), -EPERM, CODE_RUNTIME) : f;
}

/* ---- barriers ---------------------------------------------------------------------------------------------------- */

struct flow step_barrier_reset(struct call *c, const json_t *step)
{
    struct object *o;
    struct flow f = step_object_of(c, step, 1, OBJECT_BARRIER, &o);
    if (f.kind == FLOW_NEXT)
        weft_barrier_reset(&o->barrier);
    return f;
}

struct flow step_barrier_abort(struct call *c, const json_t *step)
{
    struct object *o;
    struct flow f = step_object_of(c, step, 1, OBJECT_BARRIER, &o);
    if (f.kind == FLOW_NEXT)
        weft_barrier_abort(&o->barrier);
    return f;
}

/* ---- queues ------------------------------------------------------------------------------------------------------ */

struct flow step_put_nowait(struct call *c, const json_t *step)
{
    struct object *o;
    struct flow f = step_object_of(c, step, 1, OBJECT_QUEUE, &o);
    if (f.kind != FLOW_NEXT)
        return f;
    struct value item = value_of_json(&c->run->memory, argument(step, 2));
    int rc = weft_queue_put_nowait(o->queue, &item);
    return rc == -EAGAIN ? raise_code(CODE_QUEUE_FULL) : flow_of(c, rc, -ESHUTDOWN, CODE_QUEUE_SHUT_DOWN);
}

struct flow step_get_nowait(struct call *c, const json_t *step)
{
    struct object *o;
    struct flow f = step_object_of(c, step, 1, OBJECT_QUEUE, &o);
    if (f.kind != FLOW_NEXT)
        return f;
    struct value item = NULL_VALUE;
    int rc = weft_queue_get_nowait(o->queue, &item);
    f = rc == -EAGAIN ? raise_code(CODE_QUEUE_EMPTY) : flow_of(c, rc, -ESHUTDOWN, CODE_QUEUE_SHUT_DOWN);
    return store_if_next(c, f, step, 2, item);
}

struct flow step_task_done(struct call *c, const json_t *step)
{
    struct object *o;
    struct flow f = step_object_of(c, step, 1, OBJECT_QUEUE, &o);
    return f.kind == FLOW_NEXT ? flow_of(c, weft_queue_task_done(o->queue), -EINVAL, CODE_VALUE) : f;
}

struct flow step_shutdown(struct call *c, const json_t *step)
{
    struct object *o;
    struct flow f = step_object_of(c, step, 1, OBJECT_QUEUE, &o);
    if (f.kind == FLOW_NEXT)
        weft_queue_shutdown(o->queue, json_is_true(argument(step, 2)));
    return f;
}
