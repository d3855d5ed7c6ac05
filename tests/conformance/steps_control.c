/* SPDX-License-Identifier: Apache-2.0 */
/* steps_control.c -- steps: try, raise, return, loop, if. */
#include <string.h>

#include "steps.h"

/* ---- leaving ----------------------------------------------------------------------------------------------------- */

struct flow step_raise(struct call *c, const json_t *step)
{
    return raise_code(code_named(&c->run->codes, argument_name(step, 1)));
}

struct flow step_raise_cancelled(struct call *c, const json_t *step)
{
    (void)c;
    return (struct flow){.kind = FLOW_RAISE, .error = -ECANCELED, .message = argument_name(step, 1)};
}

struct flow step_reraise(struct call *c, const json_t *step)
{
    (void)step;
    return c->handling != NULL ? *c->handling : unsupported(c, "reraise outside a handler");
}

struct flow step_return(struct call *c, const json_t *step)
{
    const char *word = argument_name(step, 1);
    if (word != NULL && strcmp(word, "$") == 0 && json_array_size(step) > 2) {
        struct flow f = slot_read(c, argument_name(step, 2), &c->returned);
        if (f.kind != FLOW_NEXT)
            return f;
    } else {
        c->returned = value_of_json(&c->run->memory, argument(step, 1));
    }
    return (struct flow){.kind = FLOW_RETURN};
}

struct flow step_break(struct call *c, const json_t *step)
{
    (void)c;
    (void)step;
    return (struct flow){.kind = FLOW_BREAK};
}

/* ---- repeating and choosing -------------------------------------------------------------------------------------- */

struct flow step_loop(struct call *c, const json_t *step)
{
    json_int_t n = json_integer_value(argument(step, 1));
    for (json_int_t i = 0; i < n; i++) {
        struct flow f = block_run(c, argument(step, 2));
        if (f.kind == FLOW_BREAK)
            return NEXT;
        if (f.kind != FLOW_NEXT)
            return f;
    }
    return NEXT;
}

struct flow step_if(struct call *c, const json_t *step)
{
    struct value v;
    struct flow f = slot_read(c, argument_name(step, 1), &v);
    if (f.kind != FLOW_NEXT)
        return f;
    bool equal = value_equal(v, value_of_json(&c->run->memory, argument(step, 2)));
    return block_run(c, argument(step, equal ? 3 : 4));
}

/* ---- try --------------------------------------------------------------------------------------------------------- */

static bool kind_matches(struct run *run, const char *kind, const struct flow *f)
{
    bool cancelled = f->error == -ECANCELED;
    if (strcmp(kind, "All") == 0)
        return true;
    if (cancelled || strcmp(kind, "Cancelled") == 0)
        return cancelled && strcmp(kind, "Cancelled") == 0;
    if (strcmp(kind, "Any") == 0)
        return true;
    const char *name = code_name(&run->codes, f->error);
    return strcmp(kind, name != NULL ? name : "Group") == 0;
}

/* The first clause that matches; NULL: none. */
static const json_t *find_handler(struct run *run, const json_t *handlers, const struct flow *f)
{
    for (size_t i = 0; i < json_array_size(handlers); i++) {
        const json_t *handler = json_array_get(handlers, i), *kinds = json_array_get(handler, 0);
        for (size_t k = 0; k < json_array_size(kinds); k++)
            if (kind_matches(run, json_string_value(json_array_get(kinds, k)), f))
                return handler;
    }
    return NULL;
}

static struct flow handle(struct call *c, const json_t *handlers, struct flow raised)
{
    const json_t *handler = find_handler(c->run, handlers, &raised);
    if (handler == NULL)
        return raised;
    store(c, handler, 2, code_result(&c->run->codes, raised.error, raised.message));
    const struct flow *outer = c->handling;
    c->handling = &raised;
    struct flow f = block_run(c, argument(handler, 1));
    c->handling = outer;
    return f;
}

struct flow step_try(struct call *c, const json_t *step)
{
    const json_t *clauses = argument(step, 2), *last = json_object_get(clauses, "finally");
    struct flow f = block_run(c, argument(step, 1));
    if (f.kind == FLOW_RAISE)
        f = handle(c, json_object_get(clauses, "except"), f);
    else if (f.kind == FLOW_NEXT)
        f = block_run(c, json_object_get(clauses, "else"));
    if (last == NULL)
        return f;
    struct value returned = c->returned;
    struct flow after = block_run(c, last);
    /* What it raises replaces everything; a return or break only what did not raise. */
    if (after.kind == FLOW_RAISE || (after.kind != FLOW_NEXT && f.kind != FLOW_RAISE))
        return after;
    c->returned = returned;
    return f;
}
