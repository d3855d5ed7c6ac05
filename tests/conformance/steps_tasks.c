/* SPDX-License-Identifier: Apache-2.0 */
/* steps_tasks.c -- steps: tasks and futures. */
#include <string.h>

#include "steps.h"

static const char *base_of(const char *slot)
{
    return slot + strspn(slot, "_");
}

struct flow step_create(struct call *c, const json_t *step)
{
    const char *slot = argument_name(step, 1);
    const json_t *words = argument(step, 3);
    weft_task_options options = {.size = sizeof options, .eager = json_is_true(json_object_get(words, "eager"))};
    options.name = json_string_value(json_object_get(words, "name"));
    const char *context = json_string_value(json_object_get(words, "context"));
    if (context != NULL) {
        struct value v;
        struct flow f = slot_read(c, context, &v);
        if (f.kind != FLOW_NEXT)
            return f;
        if (v.kind != VALUE_CONTEXT)
            return unsupported(c, "a context that is none");
        options.context = v.object;
    }
    struct future *task = NULL;
    struct flow f = task_create(c, base_of(slot), awaitable_call(c->run, argument_name(step, 2)),
                                words != NULL ? &options : NULL, &task);
    return store_if_next(c, f, step, 1, object_value(VALUE_FUTURE, task));
}

struct flow step_future(struct call *c, const json_t *step)
{
    struct future *future = NULL;
    struct flow f =
        argument(step, 2) != NULL ? awaitable_future(c, argument(step, 2), &future) : future_create(c, &future);
    return store_if_next(c, f, step, 1, object_value(VALUE_FUTURE, future));
}

/* ---- waiting ----------------------------------------------------------------------------------------------------- */

/* Does awaiting it run steps right here? */
static bool runs_here(const struct awaitable *what)
{
    return what->kind == AWAIT_CALL || (what->kind == AWAIT_WAIT_FOR && runs_here(what->inner));
}

/* A step is one move until it suspends, as in asyncio: what it creates begins after that, on whatever worker. */
static struct flow await_expression(struct call *c, const json_t *expression, const json_t *step, size_t slot)
{
    struct awaitable what;
    struct value v = NULL_VALUE;
    weft_batch batch;
    weft_batch_begin(&batch);
    struct flow f = awaitable_evaluate(c, expression, true, &what);
    if (f.kind != FLOW_NEXT || runs_here(&what))
        weft_batch_end(&batch);
    if (f.kind == FLOW_NEXT)
        f = awaitable_await(c, &what, &v);
    weft_batch_end(&batch);
    return store_if_next(c, f, step, slot, v);
}

struct flow step_await(struct call *c, const json_t *step)
{
    return await_expression(c, argument(step, 1), step, 2);
}

/* As expressions, both have their words where the steps have them. */
struct flow step_gather(struct call *c, const json_t *step)
{
    return await_expression(c, step, step, 3);
}

struct flow step_wait_for(struct call *c, const json_t *step)
{
    return await_expression(c, step, step, 3);
}

static bool return_when(const char *name, enum weft_return_when *out)
{
    static const char *const names[] = {"ALL_COMPLETED", "FIRST_COMPLETED", "FIRST_EXCEPTION"};
    for (unsigned i = 0; i < 3; i++) {
        if (name != NULL && strcmp(name, names[i]) == 0) {
            *out = i;
            return true;
        }
    }
    return false;
}

/* Which of the names stand for ended ones, or for the others. */
static struct value names_that_are(struct call *c, const json_t *names, const bool done[], bool wanted)
{
    size_t n = 0, size = json_array_size(names);
    for (size_t i = 0; i < size; i++)
        n += done[i] == wanted;
    struct list *list = list_new(&c->run->memory, n);
    n = 0;
    for (size_t i = 0; i < size; i++)
        if (done[i] == wanted)
            list->items[n++] = string_value(json_string_value(json_array_get(names, i)));
    return list_value(list);
}

struct flow step_wait(struct call *c, const json_t *step)
{
    const json_t *names = argument(step, 1);
    size_t n = json_array_size(names);
    enum weft_return_when when = WEFT_ALL_COMPLETED;
    if (!return_when(argument_name(step, 2), &when))
        return unsupported(c, "wait for something else");
    struct future **futures = memory_get(&c->run->memory, (n + 1) * sizeof(futures[0]));
    for (size_t i = 0; i < n; i++) {
        struct flow f = slot_future(c, json_string_value(json_array_get(names, i)), &futures[i]);
        if (f.kind != FLOW_NEXT)
            return f;
    }
    weft_task **handles = future_handles(c->run, futures, n);
    struct flow f = flow_of(c, weft_wait(handles, n, when, ns_of_json(argument(step, 3))), -EINVAL, CODE_VALUE);
    if (f.kind != FLOW_NEXT)
        return f;
    bool *done = memory_get(&c->run->memory, n + 1);
    for (size_t i = 0; i < n; i++)
        done[i] = weft_done(handles[i]);
    struct list *both = list_new(&c->run->memory, 2);
    both->items[0] = names_that_are(c, names, done, true);
    both->items[1] = names_that_are(c, names, done, false);
    store(c, step, 4, list_value(both));
    return NEXT;
}

static struct value index_and_result(struct run *run, struct future **futures, size_t n, const weft_task *t)
{
    size_t i = 0;
    while (i < n && future_handle(futures[i]) != t)
        i++;
    struct list *list = list_new(&run->memory, 2);
    list->items[0] = int_value((int64_t)i);
    list->items[1] = i < n ? future_result(futures[i]) : string_value("weft: not one of them");
    return list_value(list);
}

struct flow step_as_completed(struct call *c, const json_t *step)
{
    struct future **futures;
    size_t n;
    struct flow f = awaitable_futures(c, argument(step, 1), &futures, &n);
    if (f.kind != FLOW_NEXT)
        return f;
    weft_as_completed *it = memory_get(&c->run->memory, sizeof *it);
    int rc = weft_as_completed_begin(it, future_handles(c->run, futures, n), n, ns_of_json(argument(step, 2)));
    f = flow_plain(c, rc);
    weft_task *t = NULL;
    while (f.kind == FLOW_NEXT && (rc = weft_as_completed_next(it, &t)) > 0) {
        store(c, step, 3, index_and_result(c->run, futures, n, t));
        f = block_run(c, argument(step, 4));
    }
    if (f.kind == FLOW_NEXT)
        f = flow_of(c, rc, -ETIMEDOUT, CODE_TIMEOUT);
    weft_as_completed_end(it);
    return f.kind == FLOW_BREAK ? NEXT : f;
}

/* ---- cancelling -------------------------------------------------------------------------------------------------- */

struct flow step_cancel(struct call *c, const json_t *step)
{
    struct future *future;
    struct flow f = slot_future(c, argument_name(step, 1), &future);
    if (f.kind != FLOW_NEXT)
        return f;
    const char *message = argument_name(step, 2);
    weft_task *t = future_handle(future);
    store(c, step, 3, bool_value(message != NULL ? weft_cancel_with(t, message) : weft_cancel(t)));
    return NEXT;
}

struct flow step_uncancel(struct call *c, const json_t *step)
{
    struct future *future;
    struct flow f = slot_future(c, argument_name(step, 1), &future);
    if (f.kind == FLOW_NEXT)
        store(c, step, 2, int_value(weft_uncancel(future_handle(future))));
    return f;
}

/* ---- results ----------------------------------------------------------------------------------------------------- */

/* The status of a slot's future; what is wrong with asking. The await of an ended one, which never suspends, tells
 * a cancellation's message; a callback cannot await. */
static struct flow status_of(struct call *c, const json_t *step, struct future **future, int *rc)
{
    struct flow f = slot_future(c, argument_name(step, 1), future);
    if (f.kind != FLOW_NEXT)
        return f;
    *rc = weft_status(future_handle(*future));
    if (*rc == -EINPROGRESS)
        return raise_code(CODE_INVALID_STATE);
    if (*rc == -ECANCELED && c->me != NULL)
        *rc = weft_await(future_handle(*future));
    return NEXT;
}

struct flow step_result(struct call *c, const json_t *step)
{
    struct future *future;
    int rc = 0;
    struct flow f = status_of(c, step, &future, &rc);
    if (f.kind == FLOW_NEXT)
        f = flow_plain(c, rc);
    return f.kind == FLOW_NEXT ? store_if_next(c, f, step, 2, future_value(future)) : f;
}

/* A gather that ended with a cancellation is not itself cancelled: that is its exception. */
struct flow step_exception(struct call *c, const json_t *step)
{
    struct future *future;
    int rc = 0;
    struct flow f = status_of(c, step, &future, &rc);
    if (f.kind == FLOW_NEXT && weft_cancelled(future_handle(future)))
        f = flow_plain(c, rc);
    const char *message = c->me != NULL && rc == -ECANCELED ? weft_cancel_message() : NULL;
    return f.kind == FLOW_NEXT
               ? store_if_next(c, f, step, 2, rc < 0 ? code_result(&c->run->codes, rc, message) : NULL_VALUE)
               : f;
}

/* Completing a task is refused as such, completing twice for the state. */
static struct flow flow_of_setting(struct call *c, int rc)
{
    return rc == -EPERM ? raise_code(CODE_RUNTIME) : flow_of(c, rc, -EALREADY, CODE_INVALID_STATE);
}

struct flow step_set_result(struct call *c, const json_t *step)
{
    struct future *future;
    struct flow f = slot_future(c, argument_name(step, 1), &future);
    if (f.kind != FLOW_NEXT)
        return f;
    return flow_of_setting(c, future_set(future, value_of_json(&c->run->memory, argument(step, 2))));
}

struct flow step_set_error(struct call *c, const json_t *step)
{
    struct future *future;
    struct flow f = slot_future(c, argument_name(step, 1), &future);
    if (f.kind != FLOW_NEXT)
        return f;
    int code = code_named(&c->run->codes, argument_name(step, 2));
    return flow_of_setting(c, weft_future_set_error(future_handle(future), code));
}

struct flow step_set_name(struct call *c, const json_t *step)
{
    struct future *future;
    struct flow f = slot_future(c, argument_name(step, 1), &future);
    return f.kind == FLOW_NEXT ? flow_plain(c, weft_task_set_name(future_handle(future), argument_name(step, 2))) : f;
}
