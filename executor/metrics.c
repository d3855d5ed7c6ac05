/* SPDX-License-Identifier: Apache-2.0 */
/* executor/metrics.c -- the runtime's account, read without stopping anybody; reports.
 *
 * Counters are written by one thread each and summed on reading. Any thread may read. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "executor/blocking.h"
#include "executor/guard.h"
#include "executor/runtime.h"
#include "executor/task_hot.h"

#define READ(field) weft__load_relaxed(&(field)) /* relaxed: statistic */

void weft__report(struct weft_runtime *rt, const char *format, ...)
{
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (rt->options.report != NULL)
        rt->options.report(rt->options.report_user, line);
    else
        fprintf(stderr, "weft: %s\n", line);
}

void weft__metrics_collected(struct weft_runtime *rt, unsigned events)
{
    struct weft__worker *w = weft__worker_self();
    if (events == 0)
        return;
    if (w != NULL && w->rt == rt) {
        weft__count(&w->counters.batches, 1);
        weft__count(&w->counters.events, events);
    } else {
        weft__fetch_add_relaxed(&rt->tick_batches, 1);     /* relaxed: statistic */
        weft__fetch_add_relaxed(&rt->tick_events, events); /* relaxed: statistic */
    }
}

void weft__metrics_accepted(struct weft_runtime *rt, bool paused)
{
    struct weft__worker *w = weft__worker_self();
    WEFT__BUG_ON(w == NULL || w->rt != rt);
    weft__count(paused ? &w->counters.accept_pauses : &w->counters.accepted, 1);
}

static void add_worker(struct weft_metrics *m, struct weft__worker *w)
{
    struct weft__counters *c = &w->counters;
    m->tasks_created += READ(c->created);
    uint64_t inlined = READ(c->inlined);
    m->tasks_finished += READ(c->finished) + inlined;
    m->tasks_inlined += inlined;
    m->forks += READ(c->forks) + READ(w->joins.pushes);
    m->task_parks += READ(c->task_parks);
    m->tasks_parked += READ(c->task_parks) - READ(c->task_unparks);
    m->switches += READ(w->steps) - READ(c->idles);
    for (int i = 0; i < WEFT_DISTANCES; i++) {
        uint64_t misses = READ(c->misses[i]), stolen = READ(c->stolen[i]);
        m->steals[i] += READ(c->steals[i]);
        m->steal_misses += misses;
        m->misses[i] += misses;
        m->stolen += stolen;
        m->migrations[i] += stolen;
        m->raids[i] += READ(c->raids[i]);
        m->wakes_sent[i] += READ(c->wakes[i]);
    }
    m->parks += READ(c->parks);
    m->wakes += READ(w->wakes);
    m->timers_fired += READ(w->timers.fired);
    m->reactor_batches += READ(c->batches);
    m->reactor_events += READ(c->events);
    m->accepted += READ(c->accepted);
    m->accept_pauses += READ(c->accept_pauses);
}

/* How near the nearest worker is whose home that is. */
static unsigned distance_of_home(const struct weft_runtime *rt, unsigned worker, int home)
{
    const struct weft__plan_worker *w = &rt->plan->worker[worker];
    for (unsigned k = 0; k + 1 < rt->worker_count; k++)
        if (rt->plan->worker[w->victims[k]].home == home)
            return w->distance[k];
    return WEFT_FAR;
}

static void add_remote_frees(struct weft_metrics *m, struct weft_runtime *rt, unsigned worker)
{
    struct weft__worker *w = &rt->workers[worker];
    const struct weft__slab_cache *caches[] = {&w->tasks[0], &w->tasks[1], &w->tasks[2], &w->blocks, &w->large_blocks};
    for (unsigned h = 0; rt->homes > 1 && h < rt->homes; h++) {
        uint64_t frees = READ(w->stacks_away[h]);
        for (unsigned i = 0; i < sizeof caches / sizeof *caches; i++)
            frees += READ(caches[i]->away[h].freed);
        if (frees != 0)
            m->remote_frees[distance_of_home(rt, worker, (int)h)] += frees;
    }
}

int weft_metrics_read(weft_runtime *rt, int worker, weft_metrics *out)
{
    if (out->size < sizeof out->size || worker >= (int)rt->worker_count)
        return -EINVAL;
    struct weft_metrics m;
    memset(&m, 0, sizeof m);
    bool foreign = weft__own_worker(rt) == NULL;
    bool alive =
        !foreign || weft__runtime_enter(rt); /* else it has ended: it may be held, but not all of it is there */
    if (worker >= 0) {
        add_worker(&m, &rt->workers[worker]);
        m.queue_delay = (uint64_t)weft__delay_of(&rt->workers[worker]);
        if (alive)
            add_remote_frees(&m, rt, (unsigned)worker);
    } else {
        for (unsigned i = 0; i < rt->worker_count; i++) {
            add_worker(&m, &rt->workers[i]);
            if (alive)
                add_remote_frees(&m, rt, i);
        }
        m.tasks_created += READ(rt->created_outside);
        m.tasks_finished += READ(rt->finished_outside);
        m.queue_delay = (uint64_t)weft_queue_delay(rt);
        m.injected = READ(rt->injected);
        m.reactor_batches += READ(rt->tick_batches);
        m.reactor_events += READ(rt->tick_events);
        m.reactor_ticks = READ(rt->ticks);
        m.slow_tasks = READ(rt->slow_tasks);
        m.late_wakes = READ(rt->late_wakes);
        m.ready_stalls = READ(rt->ready_stalls);
        m.active_workers = READ(rt->active);
        m.helper_threads = alive ? weft__blocking_threads(rt->blocking) : 0;
        m.stacks_mapped = READ(rt->arena.mapped);
        uint64_t cached = 0;
        weft__guard_lock(&rt->fiber_guard);
        for (unsigned h = 0; h < rt->homes; h++)
            for (unsigned c = 0; c < WEFT__STACK_CLASSES; c++)
                cached += READ(rt->pools[h][c].count);
        weft__guard_unlock(&rt->fiber_guard);
        for (unsigned i = 0; i < rt->worker_count; i++) {
            for (unsigned c = 0; c < WEFT__STACK_CLASSES; c++)
                cached += READ(rt->workers[i].stacks[c].count);
            cached += READ(rt->workers[i].away_count);
        }
        uint64_t made = READ(rt->arena.live);
        m.stacks_cached = cached;
        m.stacks_live = made > cached ? made - cached : 0;
    }
    if (alive && foreign)
        weft__runtime_leave(rt);
    size_t size = out->size < sizeof m ? out->size : sizeof m;
    m.size = size;
    memcpy(out, &m, size);
    return 0;
}

int weft_worker_place(weft_runtime *rt, unsigned worker, weft_place *out)
{
    if (worker >= rt->worker_count)
        return -EINVAL;
    *out = rt->workers[worker].place;
    return 0;
}

/* ---- text -------------------------------------------------------------------------------------------------------- */

static int write_all(int fd, const char *text, size_t n)
{
    while (n != 0) {
        ssize_t done = write(fd, text, n);
        if (done < 0) {
            if (errno == EINTR)
                continue;
            return -errno;
        }
        text += done;
        n -= (size_t)done;
    }
    return 0;
}

int weft__write_stream(FILE *stream, char **text, size_t *size, int fd)
{
    int failed = fclose(stream) != 0;
    int rc = failed ? -ENOMEM : write_all(fd, *text, *size);
    free(*text);
    return rc;
}

int weft_metrics_print(weft_runtime *rt, int fd)
{
    static const char *const distances[WEFT_DISTANCES] = {"same core", "same cache", "same node", "same package",
                                                          "far"};
    static const char *const pins[] = {"default", "none", "node", "core"};
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL)
        return -ENOMEM;
    weft_metrics m = {.size = sizeof m};
    weft_metrics_read(rt, -1, &m);
    fprintf(out, "workers          %u, pinned by %s; allowed CPUs %u", rt->worker_count, pins[rt->plan->pin & 3],
            rt->plan->allowed);
    if (rt->plan->quota > 0)
        fprintf(out, ", quota %.2f CPUs", rt->plan->quota);
    fprintf(out, "\n");
    for (unsigned i = 0; i < rt->worker_count; i++) {
        weft_metrics one = {.size = sizeof one};
        struct weft_place *p = &rt->workers[i].place;
        weft_metrics_read(rt, (int)i, &one);
        if (p->pinned && p->cpu >= 0)
            fprintf(out, "  worker %-4u    CPU %d, node %d (confirmed by the kernel)", i, p->cpu, p->node);
        else if (p->pinned)
            fprintf(out, "  worker %-4u    the %u CPUs of node %d (confirmed by the kernel)", i, p->cpus, p->node);
        else
            fprintf(out, "  worker %-4u    not pinned", i);
        fprintf(out, "; %llu switches, %llu parks, %llu accepted\n", (unsigned long long)one.switches,
                (unsigned long long)one.parks, (unsigned long long)one.accepted);
    }
#define LINE(name, value) fprintf(out, "%-16s %llu\n", name, (unsigned long long)(value))
    LINE("active workers", m.active_workers);
    LINE("tasks created", m.tasks_created);
    LINE("tasks finished", m.tasks_finished);
    LINE("run at once", m.tasks_inlined);
    LINE("forked children", m.forks);
    LINE("switches", m.switches);
    LINE("tasks parked", m.tasks_parked);
    LINE("times parked", m.task_parks);
    fprintf(out, "%-16s %12s %12s %12s %12s %12s %12s\n", "by distance", "steals", "raids", "tasks moved", "misses",
            "wakes", "freed there");
    for (int i = 0; i < WEFT_DISTANCES; i++)
        fprintf(out, "  %-14s %12llu %12llu %12llu %12llu %12llu %12llu\n", distances[i],
                (unsigned long long)m.steals[i], (unsigned long long)m.raids[i], (unsigned long long)m.migrations[i],
                (unsigned long long)m.misses[i], (unsigned long long)m.wakes_sent[i],
                (unsigned long long)m.remote_frees[i]);
    LINE("tasks stolen", m.stolen);
    LINE("steal misses", m.steal_misses);
    LINE("parks", m.parks);
    LINE("wakes", m.wakes);
    LINE("injected", m.injected);
    LINE("timers fired", m.timers_fired);
    fprintf(out, "reactor          %llu batches, %llu events, %llu ticks\n", (unsigned long long)m.reactor_batches,
            (unsigned long long)m.reactor_events, (unsigned long long)m.reactor_ticks);
    LINE("accepted", m.accepted);
    LINE("accept pauses", m.accept_pauses);
    LINE("queue delay us", m.queue_delay / 1000);
    LINE("slow tasks", m.slow_tasks);
    LINE("late wakes", m.late_wakes);
    LINE("ready stalls", m.ready_stalls);
    fprintf(out, "stacks           %llu in use, %llu kept warm\n", (unsigned long long)m.stacks_live,
            (unsigned long long)m.stacks_cached);
#undef LINE
    return weft__write_stream(out, &text, &size, fd);
}
