/* SPDX-License-Identifier: Apache-2.0 */
/* steps_slots.c -- steps: tracing, slots, looking at tasks and objects. None suspends. */
#include <stdlib.h>
#include <string.h>

#include "steps.h"

struct flow step_trace(struct call *c, const json_t *step)
{
    trace(c, value_of_json(&c->run->memory, argument(step, 1)), NULL);
    return NEXT;
}

struct flow step_tracev(struct call *c, const json_t *step)
{
    struct value v;
    struct flow f = slot_read(c, argument_name(step, 2), &v);
    if (f.kind == FLOW_NEXT)
        trace(c, value_of_json(&c->run->memory, argument(step, 1)), &v);
    return f;
}

struct flow step_let(struct call *c, const json_t *step)
{
    store(c, step, 1, value_of_json(&c->run->memory, argument(step, 2)));
    return NEXT;
}

struct flow step_copy(struct call *c, const json_t *step)
{
    struct value v;
    return store_if_next(c, slot_read(c, argument_name(step, 2), &v), step, 1, v);
}

struct flow step_add(struct call *c, const json_t *step)
{
    const char *name = argument_name(step, 1);
    int rc = slots_add(name[0] == '_' ? c->locals : c->run->globals, name, json_integer_value(argument(step, 2)));
    return rc == -EINVAL ? unsupported(c, "adding to what is no number") : flow_of(c, rc, -ENOENT, CODE_UNSET);
}

struct flow step_now(struct call *c, const json_t *step)
{
    store(c, step, 1, int_value(ms_now()));
    return NEXT;
}

struct flow step_current(struct call *c, const json_t *step)
{
    store(c, step, 1, string_value(identity(c)));
    return NEXT;
}

/* ---- all_tasks --------------------------------------------------------------------------------------------------- */

struct roll {
    struct run *run;
    const char **names;
    size_t n, capacity;
};

static int call_out(void *user, weft_task *t)
{
    struct roll *roll = user;
    struct future *f = future_of_handle(roll->run, t);
    const char *name = f != NULL ? atomic_load_explicit(&f->identity, memory_order_acquire) : NULL;
    if (name == NULL)
        return 0; /* anonymous */
    if (roll->n == roll->capacity) {
        size_t capacity = roll->capacity == 0 ? 16 : 2 * roll->capacity;
        const char **names = memory_get(&roll->run->memory, capacity * sizeof(names[0]));
        for (size_t i = 0; i < roll->n; i++)
            names[i] = roll->names[i];
        roll->names = names;
        roll->capacity = capacity;
    }
    roll->names[roll->n++] = name;
    return 0;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

struct flow step_all_tasks(struct call *c, const json_t *step)
{
    struct roll roll = {.run = c->run};
    struct flow f = flow_plain(c, weft_all_tasks(call_out, &roll));
    if (f.kind != FLOW_NEXT)
        return f;
    if (roll.n != 0)
        qsort(roll.names, roll.n, sizeof(roll.names[0]), by_text);
    struct list *list = list_new(&c->run->memory, roll.n);
    for (size_t i = 0; i < roll.n; i++)
        list->items[i] = string_value(roll.names[i]);
    store(c, step, 1, list_value(list));
    return NEXT;
}

/* ---- query ------------------------------------------------------------------------------------------------------- */

static const char *task_name(struct run *run, const weft_task *t)
{
    char first[1];
    size_t length = weft_task_name(t, first, sizeof first);
    char *name = memory_get(&run->memory, length + 1);
    weft_task_name(t, name, length + 1);
    return name;
}

/* Does `what` ask for something that a task or future has? Then NEXT and the answer, or an error. */
static bool query_future(struct call *c, const char *what, const char *name, struct value *out, struct flow *flow)
{
    static const char *const known[] = {"done", "cancelled", "cancelling", "get_name", "ident"};
    size_t i = 0;
    while (i < 5 && strcmp(what, known[i]) != 0)
        i++;
    if (i == 5)
        return false;
    struct future *f = NULL;
    *flow = slot_future(c, name, &f);
    if (flow->kind != FLOW_NEXT)
        return true;
    weft_task *t = future_handle(f);
    const char *identity = atomic_load_explicit(&f->identity, memory_order_acquire);
    *out = i == 0   ? bool_value(weft_done(t))
           : i == 1 ? bool_value(weft_cancelled(t))
           : i == 2 ? int_value(weft_cancelling(t))
           : i == 3 ? string_value(task_name(c->run, t))
                    : string_value(identity != NULL ? identity : "?");
    return true;
}

static struct flow query_object(struct call *c, const char *what, struct object *o, struct value *out)
{
    int64_t size = o->type == OBJECT_QUEUE ? (int64_t)weft_queue_size(o->queue) : 0;
    if (strcmp(what, "locked") == 0 && o->type == OBJECT_SEMAPHORE)
        *out = bool_value(weft_semaphore_locked(&o->semaphore));
    else if (strcmp(what, "locked") == 0 && o->lock != NULL)
        *out = bool_value(weft_lock_locked(o->lock));
    else if (strcmp(what, "is_set") == 0 && o->type == OBJECT_EVENT)
        *out = bool_value(weft_event_is_set(&o->event));
    else if (strcmp(what, "qsize") == 0 && o->type == OBJECT_QUEUE)
        *out = int_value(size);
    else if (strcmp(what, "empty") == 0 && o->type == OBJECT_QUEUE)
        *out = bool_value(size == 0);
    else if (strcmp(what, "full") == 0 && o->type == OBJECT_QUEUE)
        *out = bool_value(o->bound > 0 && size >= o->bound);
    else if (strcmp(what, "maxsize") == 0 && o->type == OBJECT_QUEUE)
        *out = int_value(o->bound);
    else if (strcmp(what, "n_waiting") == 0 && o->type == OBJECT_BARRIER)
        *out = int_value(weft_barrier_n_waiting(&o->barrier));
    else if (strcmp(what, "broken") == 0 && o->type == OBJECT_BARRIER)
        *out = bool_value(weft_barrier_broken(&o->barrier));
    else if (strcmp(what, "parties") == 0 && o->type == OBJECT_BARRIER)
        *out = int_value(o->bound);
    else
        return unsupported(c, memory_print(&c->run->memory, "query %s of %s", what, o->name));
    return NEXT;
}

struct flow step_query(struct call *c, const json_t *step)
{
    const char *what = argument_name(step, 1), *name = argument_name(step, 2);
    struct value v = NULL_VALUE;
    struct flow f = NEXT;
    if (query_future(c, what, name, &v, &f))
        return store_if_next(c, f, step, 3, v);
    if (strcmp(what, "expired") == 0) {
        struct scope *scope;
        f = slot_scope(c, name, &scope);
        if (f.kind == FLOW_NEXT)
            v = bool_value(weft_timeout_expired(&scope->limit));
        return store_if_next(c, f, step, 3, v);
    }
    struct object *o;
    f = step_object(c, step, 2, &o);
    if (f.kind == FLOW_NEXT)
        f = query_object(c, what, o, &v);
    return store_if_next(c, f, step, 3, v);
}
