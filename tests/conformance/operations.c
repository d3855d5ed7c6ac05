/* SPDX-License-Identifier: Apache-2.0 */
/* operations.c -- what is a step and an awaitable alike: sleep, and waiting on objects. */
#include <string.h>

#include "steps.h"

struct flow step_object(struct call *c, const json_t *step, size_t i, struct object **out)
{
    *out = object_named(c->run, argument_name(step, i));
    return *out != NULL ? NEXT : raise_code(CODE_UNSET);
}

struct flow step_object_of(struct call *c, const json_t *step, size_t i, enum object_type type, struct object **out)
{
    struct flow f = step_object(c, step, i, out);
    if (f.kind == FLOW_NEXT && (*out)->type != type)
        return unsupported(c, memory_print(&c->run->memory, "%s of %s", argument_name(step, 0), (*out)->name));
    return f;
}

struct flow object_acquire(struct call *c, struct object *o)
{
    if (o->lock != NULL)
        return flow_plain(c, weft_lock_acquire(o->lock));
    if (o->type == OBJECT_SEMAPHORE)
        return flow_plain(c, weft_semaphore_acquire(&o->semaphore));
    return unsupported(c, memory_print(&c->run->memory, "acquire of %s", o->name));
}

struct flow object_release(struct call *c, struct object *o)
{
    if (o->lock != NULL)
        return flow_of(c, weft_lock_release(o->lock), -EPERM, CODE_RUNTIME);
    if (o->type == OBJECT_SEMAPHORE)
        return flow_of(c, weft_semaphore_release(&o->semaphore), -EOVERFLOW, CODE_VALUE);
    return unsupported(c, memory_print(&c->run->memory, "release of %s", o->name));
}

static struct flow run_sleep(struct call *c, const json_t *words, struct value *out)
{
    *out = value_of_json(&c->run->memory, argument(words, 2));
    return flow_plain(c, weft_sleep(ns_of_json(argument(words, 1))));
}

static struct flow run_acquire(struct call *c, const json_t *words, struct value *out)
{
    struct object *o;
    struct flow f = step_object(c, words, 1, &o);
    *out = bool_value(true);
    return f.kind == FLOW_NEXT ? object_acquire(c, o) : f;
}

static struct flow run_event_wait(struct call *c, const json_t *words, struct value *out)
{
    struct object *o;
    struct flow f = step_object_of(c, words, 1, OBJECT_EVENT, &o);
    *out = bool_value(true);
    return f.kind == FLOW_NEXT ? flow_plain(c, weft_event_wait(&o->event)) : f;
}

static struct flow run_cond_wait(struct call *c, const json_t *words, struct value *out)
{
    struct object *o;
    struct flow f = step_object_of(c, words, 1, OBJECT_CONDITION, &o);
    *out = bool_value(true);
    return f.kind == FLOW_NEXT ? flow_of(c, weft_condition_wait(&o->condition), -EPERM, CODE_RUNTIME) : f;
}

static struct flow run_barrier_wait(struct call *c, const json_t *words, struct value *out)
{
    struct object *o;
    struct flow f = step_object_of(c, words, 1, OBJECT_BARRIER, &o);
    if (f.kind != FLOW_NEXT)
        return f;
    int rc = weft_barrier_wait(&o->barrier);
    *out = int_value(rc);
    return flow_of(c, rc, -EPIPE, CODE_BROKEN_BARRIER);
}

static struct flow run_get(struct call *c, const json_t *words, struct value *out)
{
    struct object *o;
    struct flow f = step_object_of(c, words, 1, OBJECT_QUEUE, &o);
    return f.kind == FLOW_NEXT ? flow_of(c, weft_queue_get(o->queue, out), -ESHUTDOWN, CODE_QUEUE_SHUT_DOWN) : f;
}

static struct flow run_put(struct call *c, const json_t *words, struct value *out)
{
    struct object *o;
    struct flow f = step_object_of(c, words, 1, OBJECT_QUEUE, &o);
    struct value item = value_of_json(&c->run->memory, argument(words, 2));
    *out = NULL_VALUE;
    return f.kind == FLOW_NEXT ? flow_of(c, weft_queue_put(o->queue, &item), -ESHUTDOWN, CODE_QUEUE_SHUT_DOWN) : f;
}

static struct flow run_join(struct call *c, const json_t *words, struct value *out)
{
    struct object *o;
    struct flow f = step_object_of(c, words, 1, OBJECT_QUEUE, &o);
    *out = NULL_VALUE;
    return f.kind == FLOW_NEXT ? flow_plain(c, weft_queue_join(o->queue)) : f;
}

static const struct operation operations[] = {
    {"sleep", run_sleep, 3},
    {"event_wait", run_event_wait, 2},
    {"acquire", run_acquire, 2},
    {"cond_wait", run_cond_wait, 2},
    {"barrier_wait", run_barrier_wait, 2},
    {"get", run_get, 2},
    {"put", run_put, 0},
    {"join", run_join, 0},
};

const struct operation *operation_named(const char *name)
{
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++)
        if (strcmp(operations[i].name, name) == 0)
            return &operations[i];
    return NULL;
}

struct flow step_operation(struct call *c, const json_t *step)
{
    const struct operation *operation = operation_named(argument_name(step, 0));
    struct value v = NULL_VALUE;
    struct flow f = operation->run(c, step, &v);
    return operation->result_slot != 0 ? store_if_next(c, f, step, operation->result_slot, v) : f;
}

struct flow step_yield(struct call *c, const json_t *step)
{
    (void)step;
    return flow_plain(c, weft_yield());
}
