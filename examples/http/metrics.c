/* SPDX-License-Identifier: Apache-2.0 */
/* http/metrics.c -- the runtime's account in Prometheus' text format: all together, and each worker by itself. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/exchange.h"

/* EACH worker counts it; or only the runtime as a WHOLE does. */
enum scope { EACH, WHOLE };
#define COUNTER(field, scope, help)                                                                                    \
    {                                                                                                                  \
#field, "_total", "counter", help, offsetof(weft_metrics, field), scope                                        \
    }
#define GAUGE(field, scope, help)                                                                                      \
    {                                                                                                                  \
#field, "", "gauge", help, offsetof(weft_metrics, field), scope                                                \
    }

static const struct series {
    const char *name, *suffix, *type, *help;
    size_t offset;
    enum scope scope;
} table[] = {
    COUNTER(tasks_created, EACH, "Tasks created."),
    COUNTER(tasks_finished, EACH, "Tasks ended."),
    COUNTER(tasks_inlined, EACH, "Tasks run on the stack of the task that awaited them."),
    COUNTER(forks, EACH, "Children forked."),
    COUNTER(switches, EACH, "Switches from one stack to another."),
    COUNTER(stolen, EACH, "Tasks taken from another worker."),
    COUNTER(steal_misses, EACH, "Looks at a victim that had nothing to give."),
    COUNTER(parks, EACH, "Times a worker went to sleep."),
    COUNTER(wakes, EACH, "Times a worker was woken by another thread."),
    COUNTER(injected, WHOLE, "Tasks that came from outside the workers."),
    COUNTER(timers_fired, EACH, "Timers fired."),
    COUNTER(reactor_batches, EACH, "epoll_wait calls that returned events."),
    COUNTER(reactor_events, EACH, "Events they returned."),
    COUNTER(reactor_ticks, WHOLE, "Times the reactor thread looked after the workers."),
    COUNTER(slow_tasks, WHOLE, "Steps that blocked their worker for too long."),
    COUNTER(late_wakes, WHOLE, "Ready tasks found waiting beside a sleeping worker."),
    COUNTER(accepted, EACH, "Connections accepted."),
    COUNTER(accept_pauses, EACH, "Times a connection was left waiting because the queue delay was long."),
    GAUGE(queue_delay, EACH, "Nanoseconds that a ready task waits for its turn."),
    GAUGE(stacks_live, WHOLE, "Stacks in use."),
    GAUGE(stacks_cached, WHOLE, "Stacks kept warm."),
    COUNTER(stacks_mapped, WHOLE, "Stacks mapped."),
    GAUGE(helper_threads, WHOLE, "Threads for blocking functions."),
};

static const char *const distances[WEFT_DISTANCES] = {"smt", "cache", "node", "package", "far"};

static uint64_t value(const weft_metrics *m, const struct series *s)
{
    uint64_t v;
    memcpy(&v, (const char *)m + s->offset, sizeof v);
    return v;
}

static void print_series(FILE *out, const weft_metrics *all, unsigned workers)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const struct series *s = &table[i];
        fprintf(out, "# HELP weft_%s%s %s\n# TYPE weft_%s%s %s\nweft_%s%s %llu\n", s->name, s->suffix, s->help, s->name,
                s->suffix, s->type, s->name, s->suffix, (unsigned long long)value(&all[0], s));
        if (s->scope == WHOLE) {
            continue;
        }
        fprintf(out, "# HELP weft_worker_%s%s %s\n# TYPE weft_worker_%s%s %s\n", s->name, s->suffix, s->help, s->name,
                s->suffix, s->type);
        for (unsigned w = 0; w < workers; w++) {
            fprintf(out, "weft_worker_%s%s{worker=\"%u\"} %llu\n", s->name, s->suffix, w,
                    (unsigned long long)value(&all[1 + w], s));
        }
    }
}

static void print_steals(FILE *out, const weft_metrics *all, unsigned workers)
{
    fprintf(out, "# HELP weft_steals_total Successful steals, by distance.\n# TYPE weft_steals_total counter\n");
    for (unsigned d = 0; d < WEFT_DISTANCES; d++) {
        fprintf(out, "weft_steals_total{distance=\"%s\"} %llu\n", distances[d], (unsigned long long)all[0].steals[d]);
    }
    fprintf(out, "# HELP weft_worker_steals_total Successful steals, by distance.\n"
                 "# TYPE weft_worker_steals_total counter\n");
    for (unsigned w = 0; w < workers; w++) {
        for (unsigned d = 0; d < WEFT_DISTANCES; d++) {
            fprintf(out, "weft_worker_steals_total{worker=\"%u\",distance=\"%s\"} %llu\n", w, distances[d],
                    (unsigned long long)all[1 + w].steals[d]);
        }
    }
}

int metrics_answer(struct answer *a)
{
    weft_runtime *rt = weft_runtime_current();
    unsigned workers = weft_runtime_workers(rt);
    weft_metrics *all = calloc(1 + (size_t)workers, sizeof *all); /* [0]: the sum */
    FILE *out = all != NULL ? open_memstream(&a->heap, &a->n) : NULL;
    if (out == NULL) {
        free(all);
        return -ENOMEM;
    }
    for (unsigned i = 0; i <= workers; i++) {
        all[i].size = sizeof *all;
        weft_metrics_read(rt, (int)i - 1, &all[i]);
    }
    print_series(out, all, workers);
    print_steals(out, all, workers);
    fprintf(out, "# HELP weft_workers Worker threads.\n# TYPE weft_workers gauge\nweft_workers %u\n", workers);
    fprintf(out, "# HELP http_connections Connections open.\n# TYPE http_connections gauge\nhttp_connections %zu\n",
            server_connected());
    free(all);
    if (fclose(out) != 0) {
        return -ENOMEM;
    }
    a->type = "text/plain; version=0.0.4";
    a->at = a->heap;
    return 0;
}
