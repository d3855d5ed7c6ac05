/* SPDX-License-Identifier: Apache-2.0 */
/* executor/dump.c -- what a runtime is at, as text: its workers, its end. Its tasks: dump_tasks.c.
 *
 * Nobody is stopped: each line is true at some moment of the call, and lines of different moments need not fit together. Any thread. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "executor/running.h"
#include "executor/runtime.h"
#include "executor/task_hot.h"

#define READ(field) weft__load_relaxed(&(field)) /* relaxed: only shown */

static bool bit_of(const _Atomic(uint64_t) *bits, unsigned i)
{
    return weft__load_relaxed(&bits[i >> 6]) >> (i & 63) & 1; /* relaxed: only shown */
}

/* "runs", "sleeps" ... */
static void what_worker(struct weft_runtime *rt, struct weft__worker *w, const struct weft__running *runs, FILE *out)
{
    char name[128];
    bool leads = READ(rt->idle.collector) == (int32_t)w->index;
    if (bit_of(rt->idle.bits, w->index))
        fputs(leads ? "sleeps, waits for events" : "sleeps", out);
    else if (bit_of(rt->idle.aside, w->index))
        fputs("stands aside", out);
    else if (runs->coro == NULL)
        fputs(leads ? "collects events" : "looks for work", out);
    else {
        fprintf(out, "runs %s()", runs->coro->name);
        if (weft__running_name(runs, name, sizeof name) != 0)
            fprintf(out, " in %s", name);
        weft_ns now = weft__monotonic();
        if (runs->since <= now)
            fprintf(out, ", for %.3f s", (double)(now - runs->since) / 1e9);
    }
}

static void dump(struct weft_runtime *rt, const struct weft__running *runs, FILE *out)
{
    weft_ns now = weft__runtime_now(rt);
    for (unsigned i = 0; i < rt->worker_count; i++) {
        struct weft__worker *w = &rt->workers[i];
        fprintf(out, "worker %-4u ", i);
        what_worker(rt, w, &runs[i], out);
        fprintf(out, "; %lld ready, %lld of them for others, %lld children, %u pinned%s; %llu steps",
                (long long)weft__ready_size(&w->ready), (long long)weft__deque_size(&w->ready.shared),
                (long long)weft__joins_size(&w->joins), READ(w->own_place->count),
                weft__inbox_empty(&w->inbox) ? "" : ", inbox", (unsigned long long)READ(w->steps));
        weft_ns timer = weft__timers_earliest(&w->timers);
        if (timer != WEFT_FOREVER)
            fprintf(out, "; next timer in %.3f ms", (double)(timer - now) / 1e6);
        fprintf(out, "\n");
    }
    struct weft__idle *idle = &rt->idle;
    int32_t collector = READ(idle->collector);
    fprintf(out, "injector    %s\n", weft__inbox_empty(&rt->injector) ? "empty" : "holds ready tasks");
    fprintf(out, "sleepers    %d, %d on the way, %d looking; ", (int)READ(idle->parked), (int)READ(idle->searching),
            (int)READ(idle->lookers));
    if (collector >= 0)
        fprintf(out, "worker %d collects events", (int)collector);
    else
        fprintf(out, "%s",
                collector == WEFT__COLLECTOR_REACTOR ? "the reactor thread collects events" : "nobody collects events");
    weft_ns last = READ(idle->last_collect);
    if (rt->driver == NULL)
        fprintf(out, " (no I/O)");
    else if (last != 0)
        fprintf(out, ", last %.3f ms ago%s", (double)(weft__monotonic() - last) / 1e6,
                rt->driver->waiting(rt) ? "" : " (nobody waits for I/O)");
    fprintf(out, "; %s\n", READ(idle->asleep) ? "the reactor thread sleeps" : "the reactor thread ticks");
    if (READ(rt->shut) || READ(rt->ended) || READ(rt->stopping))
        fprintf(out, "end         %s; %u threads submit, %u call\n",
                READ(rt->stopping) ? "the workers stop"
                : READ(rt->ended)  ? "the run has ended"
                                   : "no task was left",
                READ(rt->submitters), READ(rt->visitors));
}

static int by_worker(const void *a, const void *b)
{
    unsigned x = ((const struct weft__running *)a)->worker, y = ((const struct weft__running *)b)->worker;
    return (x > y) - (x < y);
}

static int look_and_dump(struct weft_runtime *rt, FILE *out)
{
    unsigned n = rt->worker_count;
    struct weft__running *runs = calloc(n, sizeof *runs);
    if (runs == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < n; i++)
        runs[i].worker = i;
    weft__running_look(rt, runs, n);
    qsort(runs, n, sizeof *runs, by_worker);
    dump(rt, runs, out);
    weft__running_done(runs, n);
    free(runs);
    return 0;
}

int weft_dump_workers(weft_runtime *rt, int fd)
{
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL)
        return -ENOMEM;
    bool foreign = weft__own_worker(rt) == NULL;
    int rc = 0;
    if (!foreign || weft__runtime_enter(rt)) { /* else it has ended: it may be held, but workers and driver are gone */
        rc = look_and_dump(rt, out);
        if (foreign)
            weft__runtime_leave(rt);
    }
    int written = weft__write_stream(out, &text, &size, fd);
    return rc != 0 ? rc : written;
}
