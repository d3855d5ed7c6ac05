/* SPDX-License-Identifier: Apache-2.0 */
/* objects.c -- a program's named objects. */
#include <string.h>

#include "futures.h"

struct object *object_named(struct run *run, const char *name)
{
    struct object *o = run->objects;
    while (o != NULL && (name == NULL || strcmp(o->name, name) != 0))
        o = o->next;
    return o;
}

static int by_value(const void *a, const void *b)
{
    return value_compare(a, b);
}

static int64_t number(const json_t *description, const char *field, int64_t otherwise)
{
    const json_t *json = json_object_get(description, field);
    return json_is_integer(json) ? json_integer_value(json) : otherwise;
}

static struct flow make_queue(struct call *c, struct object *o, const char *type, const json_t *description)
{
    int64_t maxsize = number(description, "maxsize", 0);
    size_t room = maxsize > 0 ? (size_t)maxsize : 0;
    o->type = OBJECT_QUEUE;
    o->bound = maxsize;
    if (strcmp(type, "lifo") == 0)
        o->queue = weft_lifo_queue_create(sizeof(struct value), room);
    else if (strcmp(type, "priority") == 0)
        o->queue = weft_priority_queue_create(sizeof(struct value), room, by_value);
    else
        o->queue = weft_queue_create(sizeof(struct value), room);
    return o->queue != NULL ? NEXT : flow_plain(c, -ENOMEM);
}

static struct flow make_condition(struct call *c, struct object *o, const json_t *description)
{
    const char *name = json_string_value(json_object_get(description, "lock"));
    const struct object *other = name != NULL ? object_named(c->run, name) : NULL;
    if (name != NULL && (other == NULL || other->lock == NULL))
        return unsupported(c, "a condition with a lock that is no earlier one");
    o->type = OBJECT_CONDITION;
    weft_lock_init(&o->own_lock);
    o->lock = other != NULL ? other->lock : &o->own_lock;
    weft_condition_init(&o->condition, o->lock);
    return NEXT;
}

static struct flow make(struct call *c, struct object *o, const char *type, const json_t *description)
{
    if (strcmp(type, "lock") == 0) {
        o->type = OBJECT_LOCK;
        o->lock = &o->own_lock;
        weft_lock_init(o->lock);
        return NEXT;
    }
    if (strcmp(type, "event") == 0) {
        o->type = OBJECT_EVENT;
        weft_event_init(&o->event);
        return NEXT;
    }
    if (strcmp(type, "condition") == 0)
        return make_condition(c, o, description);
    if (strcmp(type, "semaphore") == 0 || strcmp(type, "bounded_semaphore") == 0) {
        int64_t permits = number(description, "value", 1);
        o->type = OBJECT_SEMAPHORE;
        return flow_of(c,
                       type[0] == 'b' ? weft_bounded_semaphore_init(&o->semaphore, permits)
                                      : weft_semaphore_init(&o->semaphore, permits),
                       -EINVAL, CODE_VALUE);
    }
    if (strcmp(type, "barrier") == 0) {
        o->type = OBJECT_BARRIER;
        o->bound = number(description, "parties", 0);
        return flow_of(c, weft_barrier_init(&o->barrier, o->bound > 0 ? (uint32_t)o->bound : 0), -EINVAL, CODE_VALUE);
    }
    if (strcmp(type, "queue") == 0 || strcmp(type, "lifo") == 0 || strcmp(type, "priority") == 0)
        return make_queue(c, o, type, description);
    if (strcmp(type, "future") == 0) {
        struct future *f = NULL;
        struct flow flow = future_create(c, &f);
        o->type = OBJECT_FUTURE;
        if (flow.kind == FLOW_NEXT)
            slots_put(c->run->globals, o->name, object_value(VALUE_FUTURE, f));
        return flow;
    }
    if (strcmp(type, "contextvar") == 0) {
        o->type = OBJECT_CONTEXT_VAR;
        o->default_value = value_of_json(&c->run->memory, json_object_get(description, "default"));
        o->variable = (weft_context_var){o->name, &o->default_value};
        return NEXT;
    }
    return unsupported(c, memory_print(&c->run->memory, "object %s", type));
}

struct flow objects_make(struct call *c, bool variables)
{
    const char *name;
    json_t *description;
    json_object_foreach(json_object_get(c->run->program, "objects"), name, description)
    {
        const char *type = json_string_value(json_object_get(description, "type"));
        if (type == NULL)
            return unsupported(c, "an object without a type");
        if (variables != (strcmp(type, "contextvar") == 0))
            continue;
        struct object *o = memory_get(&c->run->memory, sizeof *o);
        o->name = name;
        struct flow f = make(c, o, type, description);
        if (f.kind != FLOW_NEXT)
            return f;
        o->next = c->run->objects;
        c->run->objects = o;
    }
    return NEXT;
}

void objects_free(struct run *run)
{
    for (struct object *o = run->objects; o != NULL; o = o->next)
        if (o->queue != NULL && !run->deadlocked) /* else tasks wait on it for ever */
            weft_queue_destroy(o->queue);
}
