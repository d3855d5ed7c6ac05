/* SPDX-License-Identifier: Apache-2.0 */
/* block.c -- running steps one after the other, and what every step needs: words, slots, results of the library. */
#include <string.h>

#include "structured.h"

struct flow flow_of(struct call *c, int rc, int errno_value, int code)
{
    if (rc >= 0)
        return NEXT;
    if (rc == -ECANCELED)
        return (struct flow){.kind = FLOW_RAISE, .error = rc, .message = weft_cancel_message()};
    if (is_code(rc))
        return raise_code(rc);
    return raise_code(rc == errno_value ? code : code_of_library(&c->run->codes, rc));
}

int flow_leave(const struct flow *f)
{
    if (f->kind != FLOW_RAISE)
        return 0;
    if (f->error == -ECANCELED)
        weft_set_cancel_message(f->message);
    return f->error;
}

struct flow unsupported(struct call *c, const char *what)
{
    atomic_store_explicit(&c->run->unsupported, what, memory_order_release);
    return raise_code(CODE_UNSUPPORTED);
}

/* ---- time -------------------------------------------------------------------------------------------------------- */

weft_ns ns_of_json(const json_t *ms)
{
    return ms == NULL || json_is_null(ms) ? WEFT_FOREVER : WEFT_MS(json_number_value(ms));
}

int64_t ms_now(void)
{
    return weft_now() / WEFT_MS(1);
}

/* ---- slots ------------------------------------------------------------------------------------------------------- */

static struct slots *slots_of(struct call *c, const char *name)
{
    return name[0] == '_' ? c->locals : c->run->globals;
}

struct flow slot_read(struct call *c, const char *name, struct value *out)
{
    if (name != NULL && strcmp(name, "self") == 0) {
        *out = c->me != NULL ? object_value(VALUE_FUTURE, c->me) : NULL_VALUE;
        return NEXT;
    }
    return name != NULL && slots_get(slots_of(c, name), name, out) ? NEXT : raise_code(CODE_UNSET);
}

struct flow slot_future(struct call *c, const char *name, struct future **out)
{
    struct value v;
    struct flow f = slot_read(c, name, &v);
    if (f.kind == FLOW_NEXT && v.kind != VALUE_FUTURE)
        return raise_code(CODE_UNSET);
    if (f.kind == FLOW_NEXT)
        *out = v.object;
    return f;
}

void slot_write(struct call *c, const char *name, struct value v)
{
    if (name != NULL)
        slots_put(slots_of(c, name), name, v);
}

void store(struct call *c, const json_t *step, size_t i, struct value v)
{
    slot_write(c, argument_name(step, i), v);
}

struct flow store_if_next(struct call *c, struct flow f, const json_t *step, size_t i, struct value v)
{
    if (f.kind == FLOW_NEXT)
        store(c, step, i, v);
    return f;
}

/* ---- blocks ------------------------------------------------------------------------------------------------------ */

/* One step, or two that are one: *i is moved on. */
static struct flow step_run(struct call *c, const json_t *steps, size_t *i)
{
    const json_t *step = json_array_get(steps, *i);
    struct flow f;
    size_t forked = c->run->sites != NULL ? structured_run(c, steps, *i, &f) : 0;
    *i += forked != 0 ? forked : 1;
    return forked != 0 ? f : step_kind_named(argument_name(step, 0))->run(c, step);
}

/* From step i on: how many steps in a row suspend nowhere, up to and with the last `cancel` among them; 0 without one. In asyncio nothing
 * runs in between. On many workers what they wake may run before the next of them, and a second request may be merged with the first or
 * come after it (N6): other outcomes than the recorded one would be right too. So what they wake is made ready as one. Race programs
 * stay as they are: they are about just that, and report only what holds in every case. */
static size_t requests_in_a_row(struct call *c, const json_t *steps, size_t i)
{
    size_t last = 0;
    if (json_object_get(c->run->program, "race") != NULL)
        return 0;
    for (size_t n = 1;; n++) {
        const char *name = argument_name(json_array_get(steps, i + n - 1), 0);
        const struct step_kind *kind = name != NULL ? step_kind_named(name) : NULL;
        if (kind == NULL || kind->suspends)
            return last;
        if (strcmp(name, "cancel") == 0)
            last = n;
    }
}

struct flow block_run(struct call *c, const json_t *steps)
{
    size_t n = json_array_size(steps), i = 0, batch_end = 0;
    struct flow f = NEXT;
    weft_batch batch;
    while (i < n && f.kind == FLOW_NEXT) {
        size_t requests = batch_end == 0 ? requests_in_a_row(c, steps, i) : 0;
        if (requests > 1) {
            weft_batch_begin(&batch);
            batch_end = i + requests;
        }
        atomic_store_explicit(&c->run->now, weft_now(), memory_order_relaxed);
        f = step_run(c, steps, &i);
        atomic_store_explicit(&c->run->now, weft_now(), memory_order_relaxed);
        if (batch_end != 0 && (f.kind != FLOW_NEXT || i >= batch_end)) {
            weft_batch_end(&batch);
            batch_end = 0;
        }
    }
    return f;
}

struct flow coroutine_call(struct run *run, struct future *me, const char *name, struct value *result)
{
    struct call c = {.run = run, .me = me, .locals = slots_new(&run->memory)};
    const json_t *steps = json_object_get(json_object_get(run->program, "coros"), name);
    struct flow f =
        steps != NULL ? block_run(&c, steps) : unsupported(&c, memory_print(&run->memory, "coroutine %s", name));
    if (result != NULL)
        *result = f.kind == FLOW_RETURN ? c.returned : NULL_VALUE;
    return f.kind == FLOW_RAISE ? f : NEXT;
}
