/* SPDX-License-Identifier: Apache-2.0 */
/* trace.c -- the events of a run in their global order, and the errors that nobody was there to be told.
 *
 * The order is that of the run's lock. Each event also checks what the runtime says of who runs:
 * weft_current_task() must be the task whose identity is printed, and nobody in a callback; else the identity says
 * so, and the comparison fails. */
#include <stdlib.h>

#include "futures.h"

struct event {
    struct event *next;
    weft_ns time;
    const char *identity;
    struct value label, value;
    bool has_value;
};

struct error_report {
    struct error_report *next;
    bool shutdown;
    const struct future *task; /* whose final cancellation failed */
    int error;
};

const char *identity(struct call *c)
{
    weft_task *runs = weft_current_task();
    if (c->me == NULL)
        return runs == NULL ? "callback" : "callback, but in a task";
    const char *name = future_identify(c->me);
    if (runs != atomic_load_explicit(&c->me->runs_as, memory_order_acquire))
        return memory_print(&c->run->memory, "%s, but the current task is another", name);
    return name;
}

void trace(struct call *c, struct value label, const struct value *v)
{
    struct run *run = c->run;
    struct event *e = memory_get(&run->memory, sizeof *e);
    e->identity = identity(c);
    e->label = label;
    e->has_value = v != NULL;
    if (v != NULL)
        e->value = *v;
    pthread_mutex_lock(&run->lock);
    e->time = weft_now();
    *run->events_end = e;
    run->events_end = &e->next;
    pthread_mutex_unlock(&run->lock);
}

/* Program milliseconds; a fraction would be the runtime's mistake, and shows. */
static json_t *time_to_json(weft_ns time)
{
    return time % WEFT_MS(1) == 0 ? json_integer(time / WEFT_MS(1)) : json_real((double)time / WEFT_MS(1));
}

json_t *trace_to_json(struct run *run)
{
    json_t *array = json_array();
    for (const struct event *e = run->events; e != NULL; e = e->next) {
        json_t *event = json_array();
        json_array_append_new(event, time_to_json(e->time));
        json_array_append_new(event, json_string(e->identity));
        json_array_append_new(event, value_to_json(e->label));
        if (e->has_value)
            json_array_append_new(event, value_to_json(e->value));
        json_array_append_new(array, event);
    }
    return array;
}

void report_error(void *user, const weft_exception *e)
{
    struct run *run = user;
    struct future *task = e->task != NULL ? future_of_handle(run, e->task) : NULL;
    pthread_mutex_lock(&run->lock);
    if (e->kind == WEFT_NEVER_RETRIEVED) {
        if (task == NULL)
            task = run->releasing;
        if (task != NULL)
            task->unretrieved = true;
        pthread_mutex_unlock(&run->lock);
        return;
    }
    pthread_mutex_unlock(&run->lock);
    struct error_report *report = memory_get(&run->memory, sizeof *report);
    report->error = e->error;
    report->shutdown = e->kind == WEFT_SHUTDOWN_FAILED;
    report->task = task;
    pthread_mutex_lock(&run->lock);
    *run->reports_end = report;
    run->reports_end = &report->next;
    pthread_mutex_unlock(&run->lock);
}

static const char *reported_identity(const struct error_report *report)
{
    const char *name =
        report->task != NULL ? atomic_load_explicit(&report->task->identity, memory_order_acquire) : NULL;
    return name != NULL ? name : "?";
}

static void add_report(struct run *run, json_t *array, const struct error_report *report)
{
    json_t *entry = json_array();
    json_array_append_new(entry, json_string(report->shutdown ? "shutdown" : "callback"));
    if (report->shutdown)
        json_array_append_new(entry, json_string(reported_identity(report)));
    json_t *result = value_to_json(code_result(&run->codes, report->error, NULL));
    json_array_extend(entry, result);
    json_decref(result);
    json_array_append_new(array, entry);
}

/* Callbacks in the order in which they failed, then tasks in order of creation, then those without a name. */
json_t *reports_to_json(struct run *run)
{
    json_t *array = json_array();
    for (const struct error_report *report = run->reports; report != NULL; report = report->next)
        if (!report->shutdown)
            add_report(run, array, report);
    for (const struct future *task = run->tasks; task != NULL; task = task->next_task)
        for (const struct error_report *report = run->reports; report != NULL; report = report->next)
            if (report->shutdown && report->task == task)
                add_report(run, array, report);
    for (const struct error_report *report = run->reports; report != NULL; report = report->next)
        if (report->shutdown && reported_identity(report)[0] == '?')
            add_report(run, array, report);
    return array;
}
