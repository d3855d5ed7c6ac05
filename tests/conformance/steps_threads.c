/* SPDX-License-Identifier: Apache-2.0 */
/* steps_threads.c -- steps: context variables, and the border with ordinary threads. */
#include "steps.h"

/* ---- context variables ------------------------------------------------------------------------------------------- */

struct token {
    weft_context_token token;
    atomic_bool used;
};

/* A copied context, to be released at the end. */
struct context_ref {
    struct context_ref *next;
    weft_context *context;
};

void contexts_release(struct run *run)
{
    for (struct context_ref *ref = run->contexts; ref != NULL; ref = ref->next)
        weft_context_release(ref->context);
}

struct flow step_ctx_set(struct call *c, const json_t *step)
{
    struct object *o;
    struct flow f = step_object_of(c, step, 1, OBJECT_CONTEXT_VAR, &o);
    if (f.kind != FLOW_NEXT)
        return f;
    struct value *v = memory_get(&c->run->memory, sizeof *v);
    struct token *token = memory_get(&c->run->memory, sizeof *token);
    *v = value_of_json(&c->run->memory, argument(step, 2));
    f = flow_plain(c, weft_context_set(&o->variable, v, &token->token));
    return store_if_next(c, f, step, 3, object_value(VALUE_TOKEN, token));
}

struct flow step_ctx_get(struct call *c, const json_t *step)
{
    struct object *o;
    struct flow f = step_object_of(c, step, 1, OBJECT_CONTEXT_VAR, &o);
    if (f.kind == FLOW_NEXT)
        store(c, step, 2, *(const struct value *)weft_context_get(&o->variable));
    return f;
}

/* That a token serves once is Python's rule: weft's is a plain struct that cannot know. */
struct flow step_ctx_reset(struct call *c, const json_t *step)
{
    struct value v;
    struct flow f = slot_read(c, argument_name(step, 2), &v);
    if (f.kind != FLOW_NEXT)
        return f;
    if (v.kind != VALUE_TOKEN)
        return unsupported(c, "ctx_reset by what is no token");
    struct token *token = v.object;
    if (atomic_exchange(&token->used, true))
        return raise_code(CODE_RUNTIME);
    return flow_plain(c, weft_context_reset(&token->token));
}

struct flow step_ctx_copy(struct call *c, const json_t *step)
{
    struct context_ref *ref = memory_get(&c->run->memory, sizeof *ref);
    ref->context = weft_context_copy();
    if (ref->context == NULL)
        return flow_plain(c, -ENOMEM);
    pthread_mutex_lock(&c->run->lock);
    ref->next = c->run->contexts;
    c->run->contexts = ref;
    pthread_mutex_unlock(&c->run->lock);
    store(c, step, 1, object_value(VALUE_CONTEXT, ref->context));
    return NEXT;
}

/* ---- helper threads ---------------------------------------------------------------------------------------------- */

struct thread_job {
    WEFT_FRAME;
    struct run *run;
    const json_t *what;
    struct value value; /* result */
};

static int thread_job(struct thread_job *job)
{
    const char *code = json_string_value(json_object_get(job->what, "raise"));
    const char *variable = json_string_value(json_object_get(job->what, "ctx"));
    if (code != NULL)
        return code_named(&job->run->codes, code);
    if (variable == NULL) {
        job->value = value_of_json(&job->run->memory, job->what);
        return 0;
    }
    const struct object *o = object_named(job->run, variable);
    if (o == NULL || o->type != OBJECT_CONTEXT_VAR)
        return CODE_UNSET;
    job->value = *(const struct value *)weft_context_get(&o->variable);
    return 0;
}
WEFT_CORO(thread_job);

struct flow step_to_thread(struct call *c, const json_t *step)
{
    weft_task *t = weft_to_thread(thread_job, .run = c->run, .what = argument(step, 1));
    struct flow f = flow_plain(c, weft_await(t));
    if (f.kind == FLOW_NEXT)
        store(c, step, 2, weft_result(thread_job, t)->value);
    weft_release(t);
    return f;
}

/* On the helper thread: hand a coroutine to the runtime as an anonymous task, and wait for it. */
struct submit_job {
    WEFT_FRAME;
    struct run *run;
    const char *coroutine;
    struct value value; /* result */
};

static int submit_job(struct submit_job *job)
{
    struct future *task = future_new(job->run, FUTURE_TASK);
    weft_task *t =
        weft_submit(weft_runtime_current(), body, .task = task, .what = awaitable_call(job->run, job->coroutine));
    int rc = weft_block_on(t, WEFT_FOREVER);
    if (rc >= 0)
        job->value = weft_result(body, t)->value;
    weft_release(t);
    return rc;
}
WEFT_CORO(submit_job);

struct flow step_run_threadsafe(struct call *c, const json_t *step)
{
    weft_task *t = weft_to_thread(submit_job, .run = c->run, .coroutine = argument_name(step, 1));
    struct flow f = flow_plain(c, weft_await(t));
    if (f.kind == FLOW_NEXT)
        store(c, step, 2, weft_result(submit_job, t)->value);
    weft_release(t);
    return f;
}
