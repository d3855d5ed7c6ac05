/* SPDX-License-Identifier: Apache-2.0 */
/* awaitables.c -- what stands where something is awaited: evaluated first, awaited later. */
#include "awaitables.h"

#include <string.h>

const struct awaitable *awaitable_call(struct run *run, const char *coroutine)
{
    struct awaitable *what = memory_get(&run->memory, sizeof *what);
    what->kind = AWAIT_CALL;
    what->name = coroutine[0] == '@' ? coroutine + 1 : coroutine;
    return what;
}

weft_task **future_handles(struct run *run, struct future *const futures[], size_t n)
{
    weft_task **handles = memory_get(&run->memory, (n + 1) * sizeof(handles[0]));
    for (size_t i = 0; i < n; i++)
        handles[i] = future_handle(futures[i]);
    return handles;
}

/* ---- evaluating -------------------------------------------------------------------------------------------------- */

static struct flow gather_future(struct call *c, const struct awaitable *what, struct future **out)
{
    struct future *f = future_new(c->run, FUTURE_GATHER);
    f->children = what->children;
    f->child_count = what->child_count;
    f->return_exceptions = what->return_exceptions;
    weft_future *handle =
        weft_gather_future(future_handles(c->run, f->children, f->child_count), f->child_count, f->return_exceptions);
    if (handle == NULL)
        return flow_plain(c, -ENOMEM);
    future_set_handle(f, handle, true);
    *out = f;
    return NEXT;
}

static struct flow shield_future(struct call *c, struct future *inner, struct future **out)
{
    struct future *f = future_new(c->run, FUTURE_SHIELD);
    f->children = memory_get(&c->run->memory, sizeof(f->children[0]));
    f->children[0] = inner;
    weft_future *handle = weft_shield_future(future_handle(inner));
    if (handle == NULL)
        return flow_plain(c, -ENOMEM);
    future_set_handle(f, handle, true);
    *out = handle == future_handle(inner) ? inner : f; /* of an ended one: itself */
    return NEXT;
}

static struct flow evaluate_name(struct call *c, const char *name, struct awaitable *out)
{
    if (name[0] == '@') {
        out->kind = AWAIT_CALL;
        out->name = name + 1;
        return NEXT;
    }
    out->kind = AWAIT_FUTURE;
    return slot_future(c, name, &out->future);
}

struct flow awaitable_evaluate(struct call *c, const json_t *expression, bool direct, struct awaitable *out)
{
    *out = (struct awaitable){.expression = expression};
    if (json_is_string(expression))
        return evaluate_name(c, json_string_value(expression), out);
    const char *name = argument_name(expression, 0);
    if (name == NULL)
        return unsupported(c, "an awaitable without a name");
    out->name = name;
    if (strcmp(name, "gather") == 0) {
        struct flow f = awaitable_futures(c, argument(expression, 1), &out->children, &out->child_count);
        out->kind = AWAIT_GATHER;
        out->return_exceptions = json_is_true(argument(expression, 2));
        if (f.kind == FLOW_NEXT && !direct) {
            f = gather_future(c, out, &out->future);
            out->kind = AWAIT_FUTURE;
        }
        return f;
    }
    if (strcmp(name, "shield") == 0) {
        struct flow f = awaitable_future(c, argument(expression, 1), &out->future);
        out->kind = AWAIT_SHIELD;
        if (f.kind == FLOW_NEXT && !direct) {
            f = shield_future(c, out->future, &out->future);
            out->kind = AWAIT_FUTURE;
        }
        return f;
    }
    if (strcmp(name, "wait_for") == 0) {
        struct awaitable *inner = memory_get(&c->run->memory, sizeof *inner);
        out->kind = AWAIT_WAIT_FOR;
        out->inner = inner;
        return awaitable_evaluate(c, argument(expression, 1), false, inner);
    }
    out->kind = AWAIT_OPERATION;
    out->operation = operation_named(name);
    return out->operation != NULL ? NEXT : unsupported(c, memory_print(&c->run->memory, "awaitable %s", name));
}

struct flow awaitable_future(struct call *c, const json_t *expression, struct future **out)
{
    struct awaitable *what = memory_get(&c->run->memory, sizeof *what);
    struct flow f = awaitable_evaluate(c, expression, false, what);
    if (f.kind != FLOW_NEXT)
        return f;
    if (what->kind != AWAIT_FUTURE)
        return task_create(c, what->name, what, NULL, out);
    *out = what->future;
    return NEXT;
}

struct flow awaitable_futures(struct call *c, const json_t *expressions, struct future ***out, size_t *n)
{
    *n = json_array_size(expressions);
    *out = memory_get(&c->run->memory, (*n + 1) * sizeof((*out)[0]));
    for (size_t i = 0; i < *n; i++) {
        struct flow f = awaitable_future(c, json_array_get(expressions, i), &(*out)[i]);
        if (f.kind != FLOW_NEXT)
            return f;
    }
    return NEXT;
}

/* ---- awaiting ---------------------------------------------------------------------------------------------------- */

static struct flow await_gather(struct call *c, const struct awaitable *what, struct value *out)
{
    weft_task **handles = future_handles(c->run, what->children, what->child_count);
    int rc = what->return_exceptions ? weft_gather_settled_n(handles, what->child_count)
                                     : weft_gather_n(handles, what->child_count);
    struct flow f = flow_of(c, rc, -EDEADLK, CODE_RUNTIME);
    if (f.kind == FLOW_NEXT)
        *out = gather_value(c->run, what->children, what->child_count);
    return f;
}

static struct flow await_shield(struct call *c, const struct awaitable *what, struct value *out)
{
    struct flow f = flow_of(c, weft_shield(future_handle(what->future)), -EDEADLK, CODE_RUNTIME);
    if (f.kind == FLOW_NEXT)
        *out = future_value(what->future);
    return f;
}

static struct flow await_future_for(struct call *c, struct future *future, weft_ns time, struct value *out)
{
    struct flow f = flow_of(c, weft_wait_for(future_handle(future), time), -ETIMEDOUT, CODE_TIMEOUT);
    if (f.kind == FLOW_NEXT)
        *out = future_value(future);
    return f;
}

/* A coroutine runs inside the caller's task, under a time limit. With no time left it would be made a task that is
 * cancelled before it starts; as another worker may be quicker than that, the task has nothing to start. */
static struct flow await_wait_for(struct call *c, const struct awaitable *what, struct value *out)
{
    weft_ns time = ns_of_json(argument(what->expression, 2));
    const struct awaitable *inner = what->inner;
    if (inner->kind == AWAIT_FUTURE)
        return await_future_for(c, inner->future, time, out);
    if (time <= 0) {
        static const struct awaitable nothing = {.kind = AWAIT_NOTHING};
        struct future *future = NULL;
        struct flow f = task_create(c, NULL, &nothing, NULL, &future);
        return f.kind == FLOW_NEXT ? await_future_for(c, future, time, out) : f;
    }
    weft_timeout *limit = memory_get(&c->run->memory, sizeof *limit);
    int rc = weft_timeout_begin(limit, time);
    if (rc < 0)
        return flow_plain(c, rc);
    struct flow f = awaitable_await(c, inner, out);
    int inside = flow_leave(&f);
    rc = weft_timeout_end(limit, inside);
    return rc == inside ? f : flow_of(c, rc, -ETIMEDOUT, CODE_TIMEOUT);
}

static struct flow await_nothing(struct call *c)
{
    weft_event *never = memory_get(&c->run->memory, sizeof *never);
    weft_event_init(never);
    return flow_plain(c, weft_event_wait(never));
}

struct flow awaitable_await(struct call *c, const struct awaitable *what, struct value *out)
{
    switch (what->kind) {
    case AWAIT_CALL:
        return coroutine_call(c->run, c->me, what->name, out);
    case AWAIT_FUTURE:
        return future_await(c, what->future, out);
    case AWAIT_GATHER:
        return await_gather(c, what, out);
    case AWAIT_SHIELD:
        return await_shield(c, what, out);
    case AWAIT_WAIT_FOR:
        return await_wait_for(c, what, out);
    case AWAIT_NOTHING:
        return await_nothing(c);
    case AWAIT_OPERATION:
        break;
    }
    return what->operation->run(c, what->expression, out);
}
