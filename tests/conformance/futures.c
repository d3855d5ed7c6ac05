/* SPDX-License-Identifier: Apache-2.0 */
/* futures.c -- the register of a run's tasks and futures: records, identities, values, results. */
#include "futures.h"

#include <string.h>

#include "awaitables.h"

WEFT_VALUE(answer);
WEFT_CORO_DEFINE(body);

/* ---- records ----------------------------------------------------------------------------------------------------- */

struct future *future_new(struct run *run, enum future_kind kind)
{
    struct future *f = memory_get(&run->memory, sizeof *f);
    f->run = run;
    f->kind = kind;
    pthread_mutex_lock(&run->lock);
    *run->futures_end = f;
    run->futures_end = &f->next;
    pthread_mutex_unlock(&run->lock);
    return f;
}

void future_set_handle(struct future *f, weft_task *handle, bool owned)
{
    f->owned |= owned;
    atomic_store_explicit(&f->handle, handle, memory_order_release);
}

struct future *future_of_handle(struct run *run, const weft_task *handle)
{
    pthread_mutex_lock(&run->lock);
    struct future *f = run->futures;
    while (f != NULL && (future_handle(f) != handle || f->kind == FUTURE_SHIELD))
        f = f->next;
    pthread_mutex_unlock(&run->lock);
    return f;
}

static struct base_name *base_name_of(struct run *run, const char *name)
{
    struct base_name *base = run->base_names;
    while (base != NULL && strcmp(base->name, name) != 0)
        base = base->next;
    return base;
}

const char *future_identify(struct future *f)
{
    struct run *run = f->run;
    const char *name = atomic_load_explicit(&f->identity, memory_order_acquire);
    if (name != NULL || f->base == NULL)
        return name != NULL ? name : "?";
    pthread_mutex_lock(&run->lock);
    name = atomic_load_explicit(&f->identity, memory_order_relaxed);
    if (name == NULL) {
        struct base_name *base = base_name_of(run, f->base);
        if (base == NULL) {
            base = memory_get(&run->memory, sizeof *base);
            base->name = f->base;
            base->next = run->base_names;
            run->base_names = base;
        }
        f->number = ++base->count;
        name = f->number == 1 ? f->base : memory_print(&run->memory, "%s#%u", f->base, f->number);
        *run->tasks_end = f;
        run->tasks_end = &f->next_task;
        atomic_store_explicit(&f->identity, name, memory_order_release);
    }
    pthread_mutex_unlock(&run->lock);
    return name;
}

void future_forget(struct future *f)
{
    struct run *run = f->run;
    pthread_mutex_lock(&run->lock);
    struct future **at = &run->tasks;
    while (*at != f)
        at = &(*at)->next_task;
    *at = f->next_task;
    if (f->next_task == NULL)
        run->tasks_end = at;
    struct base_name *base = base_name_of(run, f->base);
    if (base->count == f->number)
        base->count--;
    pthread_mutex_unlock(&run->lock);
}

/* ---- making ------------------------------------------------------------------------------------------------------ */

struct flow future_create(struct call *c, struct future **out)
{
    weft_future *handle = weft_future_create_of(answer);
    if (handle == NULL)
        return flow_plain(c, -ENOMEM);
    *out = future_new(c->run, FUTURE_PLAIN);
    future_set_handle(*out, handle, true);
    return NEXT;
}

int future_set(struct future *f, struct value v)
{
    return weft_future_set_value(future_handle(f), answer, .value = v);
}

int body(struct body *b)
{
    struct future *me = b->task;
    if (!me->forked)
        future_set_handle(me, weft_current_task(), false);
    atomic_store_explicit(&me->runs_as, weft_current_task(), memory_order_release);
    struct call c = {.run = me->run, .me = me, .locals = slots_new(&me->run->memory)};
    struct flow f = awaitable_await(&c, b->what, &b->value);
    me->value = b->value;
    me->rc = f.kind == FLOW_RAISE ? f.error : 0;
    me->ended = true;
    return flow_leave(&f);
}

struct flow task_create(struct call *c, const char *base, const struct awaitable *what,
                        const weft_task_options *options, struct future **out)
{
    struct future *f = future_new(c->run, FUTURE_TASK);
    bool eager = options != NULL && options->eager;
    f->base = base;
    if (!eager)
        future_identify(f);
    weft_task *handle = weft_create_task_with(options, body, .task = f, .what = what);
    if (handle == NULL)
        return flow_plain(c, -ENOMEM);
    future_set_handle(f, handle, true);
    future_identify(f);
    *out = f;
    return NEXT;
}

/* ---- values and results ------------------------------------------------------------------------------------------ */

struct value future_value(struct future *f)
{
    switch (f->kind) {
    case FUTURE_TASK:
        return f->is_main ? f->value : weft_result(body, future_handle(f))->value;
    case FUTURE_PLAIN:
        return weft_result(answer, future_handle(f))->value;
    case FUTURE_GATHER:
        return gather_value(f->run, f->children, f->child_count);
    case FUTURE_SHIELD:
        break;
    }
    return future_value(f->children[0]);
}

static struct value list_of_two(struct run *run, const char *word, struct value v)
{
    struct list *list = list_new(&run->memory, 2);
    list->items[0] = string_value(word);
    list->items[1] = v;
    return list_value(list);
}

struct value future_result(struct future *f)
{
    weft_task *handle = future_handle(f);
    if (!weft_done(handle)) {
        struct list *list = list_new(&f->run->memory, 1);
        list->items[0] = string_value("pending");
        return list_value(list);
    }
    int rc = weft_cancelled(handle) ? -ECANCELED : weft_status(handle);
    return rc < 0 ? code_result(&f->run->codes, rc, NULL) : list_of_two(f->run, "ok", future_value(f));
}

struct value gather_value(struct run *run, struct future *const children[], size_t n)
{
    struct list *list = list_new(&run->memory, n);
    for (size_t i = 0; i < n; i++) {
        int rc = weft_status(future_handle(children[i]));
        list->items[i] = rc < 0 ? code_result(&run->codes, rc, NULL) : future_value(children[i]);
    }
    return list_value(list);
}

struct flow future_await(struct call *c, struct future *f, struct value *out)
{
    struct flow flow = flow_of(c, weft_await(future_handle(f)), -EDEADLK, CODE_RUNTIME);
    if (flow.kind == FLOW_NEXT)
        *out = future_value(f);
    return flow;
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

/* A task's result from what it noted: asking the library would count as looking at its error. */
static struct value noted_result(struct future *f)
{
    struct run *run = f->run;
    weft_task *handle = future_handle(f);
    bool done = f->forked ? f->ended : weft_done(handle),
         cancelled = f->forked ? f->rc == -ECANCELED : weft_cancelled(handle);
    if (!done) {
        struct list *list = list_new(&run->memory, 1);
        list->items[0] = string_value("pending");
        return list_value(list);
    }
    if (cancelled)
        return code_result(&run->codes, -ECANCELED, NULL);
    if (!f->ended || f->rc == -ECANCELED)
        return string_value(f->ended ? "weft: it returned cancelled and is not" : "weft: done before it returned");
    return f->rc < 0 ? code_result(&run->codes, f->rc, NULL) : list_of_two(run, "ok", f->value);
}

json_t *tasks_to_json(struct run *run)
{
    json_t *object = json_object();
    for (struct future *f = run->tasks; f != NULL; f = f->next_task)
        json_object_set_new(object, atomic_load(&f->identity), value_to_json(noted_result(f)));
    return object;
}

void futures_release(struct run *run)
{
    for (struct future *f = run->futures; f != NULL; f = f->next) {
        if (!f->owned)
            continue;
        run->releasing = f;
        weft_release(future_handle(f));
    }
    run->releasing = NULL;
}

json_t *unretrieved_to_json(struct run *run)
{
    json_t *array = json_array();
    for (const struct future *f = run->tasks; f != NULL; f = f->next_task)
        if (f->unretrieved)
            json_array_append_new(array, json_string(atomic_load(&f->identity)));
    return array;
}
