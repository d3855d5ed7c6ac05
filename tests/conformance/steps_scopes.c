/* SPDX-License-Identifier: Apache-2.0 */
/* steps_scopes.c -- steps: time limits and task groups. */
#include <string.h>

#include "steps.h"

/* ---- time limits ------------------------------------------------------------------------------------------------- */

static struct flow limited_block(struct call *c, const json_t *step, struct scope *scope, int rc)
{
    if (rc < 0)
        return flow_plain(c, rc);
    scope->owner = c->me;
    store(c, step, 3, object_value(VALUE_SCOPE, scope));
    struct flow f = block_run(c, argument(step, 2));
    int inside = flow_leave(&f);
    rc = weft_timeout_end(&scope->limit, inside);
    return rc == inside ? f : flow_of(c, rc, -ETIMEDOUT, CODE_TIMEOUT);
}

struct flow step_timeout(struct call *c, const json_t *step)
{
    struct scope *scope = memory_get(&c->run->memory, sizeof *scope);
    return limited_block(c, step, scope, weft_timeout_begin(&scope->limit, ns_of_json(argument(step, 1))));
}

struct flow step_timeout_at(struct call *c, const json_t *step)
{
    struct scope *scope = memory_get(&c->run->memory, sizeof *scope);
    return limited_block(c, step, scope, weft_timeout_begin_at(&scope->limit, ns_of_json(argument(step, 1))));
}

struct flow slot_scope(struct call *c, const char *name, struct scope **out)
{
    struct value v;
    struct flow f = slot_read(c, name, &v);
    if (f.kind != FLOW_NEXT)
        return f;
    *out = v.object;
    return v.kind == VALUE_SCOPE && (*out)->owner == c->me ? NEXT : unsupported(c, "a time limit that is no own one");
}

struct flow step_reschedule(struct call *c, const json_t *step)
{
    struct scope *scope;
    struct flow f = slot_scope(c, argument_name(step, 1), &scope);
    if (f.kind != FLOW_NEXT)
        return f;
    return flow_of(c, weft_timeout_reschedule(&scope->limit, ns_of_json(argument(step, 2))), -EINVAL, CODE_RUNTIME);
}

/* ---- task groups ------------------------------------------------------------------------------------------------- */

#define MOST_ERRORS 256

struct group {
    weft_group group;
    size_t error_count;
    int errors[MOST_ERRORS];
};

struct flow step_taskgroup(struct call *c, const json_t *step)
{
    struct group *g = memory_get(&c->run->memory, sizeof *g);
    int rc = weft_group_begin(&g->group);
    if (rc < 0)
        return flow_plain(c, rc);
    store(c, step, 1, object_value(VALUE_GROUP, g));
    struct flow f = block_run(c, argument(step, 2));
    int inside = flow_leave(&f);
    weft_group_collect_errors(&g->group, g->errors, MOST_ERRORS, &g->error_count);
    rc = weft_group_join(&g->group, inside);
    if (g->error_count > MOST_ERRORS)
        return unsupported(c, "that many errors in a group");
    if (g->error_count != 0)
        return raise_code(code_of_group(&c->run->codes, g->errors, g->error_count));
    return rc >= 0 && f.kind != FLOW_RAISE ? f : flow_plain(c, rc);
}

struct flow step_tg_create(struct call *c, const json_t *step)
{
    const char *slot = argument_name(step, 2);
    struct value v;
    struct flow f = slot_read(c, argument_name(step, 1), &v);
    if (f.kind != FLOW_NEXT)
        return f;
    if (v.kind != VALUE_GROUP)
        return unsupported(c, "tg_create in what is no group");
    struct future *task = future_new(c->run, FUTURE_TASK);
    task->base = slot + strspn(slot, "_");
    future_identify(task);
    weft_task *handle;
    int rc = weft_group_create_task(&((struct group *)v.object)->group, &handle, body, .task = task,
                                    .what = awaitable_call(c->run, argument_name(step, 3)));
    if (rc < 0) {
        future_forget(task);
        return flow_of(c, rc, -ESHUTDOWN, CODE_RUNTIME);
    }
    future_set_handle(task, handle, true);
    store(c, step, 2, object_value(VALUE_FUTURE, task));
    return NEXT;
}
