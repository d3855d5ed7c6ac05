/* SPDX-License-Identifier: Apache-2.0 */
/* run.c -- one execution of a program: a fresh runtime on the virtual clock, and the result object.
 *
 * Outcomes are read, and all handles given back, in the runtime's at_end: then nothing runs any more, and what
 * never ended has not yet been given up. */
#include <stdio.h>
#include <stdlib.h>

#include "steps.h"
#include "structured.h"

struct main_body {
    WEFT_FRAME;
    struct run *run;
    const char *coroutine;
    /* results */
    struct value value;
    const char *message;
    weft_ns ended_at;
};

static int main_body(struct main_body *b)
{
    struct run *run = b->run;
    struct call c = {.run = run, .locals = slots_new(&run->memory)};
    struct flow f = objects_make(&c, false);
    if (f.kind == FLOW_NEXT) {
        struct future *me = future_new(run, FUTURE_TASK);
        me->base = b->coroutine;
        me->is_main = true;
        future_set_handle(me, weft_ref(weft_current_task()), true);
        atomic_store_explicit(&me->runs_as, weft_current_task(), memory_order_release);
        future_identify(me);
        f = coroutine_call(run, me, b->coroutine, &b->value);
        me->value = b->value;
        me->rc = f.kind == FLOW_RAISE ? f.error : 0;
        me->ended = true;
    }
    b->message = f.message;
    b->ended_at = weft_now();
    return flow_leave(&f);
}
WEFT_CORO(main_body);

/* The results so far, made while the handles are still there. */
struct ending {
    struct run *run;
    json_t *tasks, *unretrieved;
};

static void at_end(void *user, weft_runtime *rt)
{
    struct ending *ending = user;
    (void)rt;
    ending->tasks = tasks_to_json(ending->run);
    callbacks_release(ending->run);
    contexts_release(ending->run);
    futures_release(ending->run);
    ending->unretrieved = unretrieved_to_json(ending->run);
}

static void run_begin(struct run *run, const json_t *program, const struct settings *settings)
{
    *run = (struct run){.settings = settings, .program = program};
    memory_begin(&run->memory);
    codes_begin(&run->codes, &run->memory);
    pthread_mutex_init(&run->lock, NULL);
    run->globals = slots_new(&run->memory);
    run->futures_end = &run->futures;
    run->tasks_end = &run->tasks;
    run->events_end = &run->events;
    run->reports_end = &run->reports;
}

static void run_end(struct run *run)
{
    objects_free(run);
    pthread_mutex_destroy(&run->lock);
    codes_end(&run->codes);
    memory_end(&run->memory, run->deadlocked);
}

static json_t *result_of_main(struct run *run, int rc, const struct main_body *b)
{
    json_t *array;
    if (run->deadlocked) {
        array = json_array();
        json_array_append_new(array, json_string("deadlock"));
    } else if (rc < 0) {
        array = value_to_json(code_result(&run->codes, rc, b->message));
    } else {
        array = json_array();
        json_array_append_new(array, json_string("ok"));
        json_array_append_new(array, value_to_json(b->value));
    }
    return array;
}

static json_t *unsupported_object(const char *name, const char *what)
{
    return json_pack("{s:s, s:s}", "name", name, "unsupported", what);
}

json_t *run_program(const json_t *program, const struct settings *settings)
{
    const char *name = json_string_value(json_object_get(program, "name"));
    const char *coroutine = json_string_value(json_object_get(program, "main"));
    struct run run;
    run_begin(&run, program, settings);
    const char *unknown = program_check(&run.memory, program);
    struct call c = {.run = &run};
    struct flow f = unknown == NULL ? objects_make(&c, true) : NEXT;
    if (unknown == NULL && f.kind == FLOW_RAISE)
        unknown = "these objects";
    json_t *result = NULL;
    if (unknown == NULL) {
        if (settings->structured)
            structured_find(&run);
        struct main_body b = {.run = &run, .coroutine = coroutine != NULL ? coroutine : "main"};
        struct ending ending = {.run = &run};
        int rc = weft_run_frame(WEFT_OPTIONS(.workers = settings->workers, .order = settings->order,
                                             .clock = WEFT_CLOCK_VIRTUAL, .inlining = settings->inlining,
                                             .sched = settings->sched, .seed = settings->seed,
                                             .stack_size = (size_t)256 * 1024, .exception_handler = report_error,
                                             .exception_user = &run, .at_end = at_end, .at_end_user = &ending),
                                main_body, &b);
        if (ending.tasks == NULL) {
            fprintf(stderr, "weft-conform: the runtime did not start: %s\n", weft_strerror(rc));
            exit(2);
        }
        run.deadlocked = rc == -EDEADLK;
        weft_ns end = run.deadlocked ? atomic_load(&run.now) : b.ended_at;
        result = json_pack("{s:s, s:o, s:I, s:o, s:o, s:o, s:o}", "name", name != NULL ? name : "", "main",
                           result_of_main(&run, rc, &b), "time", (json_int_t)(end / WEFT_MS(1)), "tasks", ending.tasks,
                           "handler", reports_to_json(&run), "unretrieved", ending.unretrieved, "trace",
                           trace_to_json(&run));
        unknown = atomic_load(&run.unsupported);
    }
    if (unknown != NULL) {
        json_decref(result);
        result = unsupported_object(name != NULL ? name : "", unknown);
    }
    run_end(&run);
    return result;
}
