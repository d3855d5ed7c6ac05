/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks, counters and percentiles for the workloads. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

double process_bytes(void)
{
    FILE *f = fopen("/proc/self/status", "r");
    char line[256];
    double kib = 0;
    long value;
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (sscanf(line, "VmRSS: %ld", &value) == 1 || sscanf(line, "VmPTE: %ld", &value) == 1)
            kib += (double)value;
    }
    if (f != NULL)
        fclose(f);
    return kib * 1024;
}

long process_mappings(void)
{
    FILE *f = fopen("/proc/self/maps", "r");
    long n = 0;
    for (int c; f != NULL && (c = fgetc(f)) != EOF;)
        n += c == '\n';
    if (f != NULL)
        fclose(f);
    return n;
}

double process_cpu(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

long process_switches(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return u.ru_nvcsw;
}

static _Thread_local char here;
__attribute__((noinline)) const void *this_thread(void)
{
    const void *p = &here;
    __asm__ volatile("" : "+r"(p)); /* not a pure function: the answer changes under a task */
    return p;
}

static void take_account(struct account *a)
{
    a->metrics.size = sizeof a->metrics;
    if (weft_runtime_current() != NULL)
        (void)weft_metrics_read(weft_runtime_current(), -1, &a->metrics);
    a->cpu = process_cpu();
    a->switches = process_switches();
}

void bench_start(struct outcome *out)
{
    if (out->why)
        take_account(&out->before);
    out->start = weft_now();
}

void bench_stop(struct outcome *out)
{
    out->elapsed = weft_now() - out->start;
    if (out->why)
        take_account(&out->after);
}

void bench_extra(struct outcome *out, const char *name, double value)
{
    if (out->extras == MAX_EXTRA)
        abort();
    out->extra[out->extras].name = name;
    out->extra[out->extras++].value = value;
}

bool bench_needs_workers(struct outcome *out, unsigned workers)
{
    out->skipped = weft_runtime_workers(weft_runtime_current()) < workers;
    return !out->skipped;
}

void bench_print_why(const char *name, const struct outcome *out)
{
    const struct weft_metrics *a = &out->before.metrics, *b = &out->after.metrics;
    uint64_t steals = 0;
    for (int i = 0; i < WEFT_DISTANCES; i++)
        steals += b->steals[i] - a->steals[i];
    const struct {
        const char *what;
        uint64_t count;
    } counts[] = {
        {"tasks", b->tasks_created - a->tasks_created},
        {"run inline", b->tasks_inlined - a->tasks_inlined},
        {"forks", b->forks - a->forks},
        {"switches", b->switches - a->switches},
        {"steals", steals},
        {"stolen", b->stolen - a->stolen},
        {"failed steals", b->steal_misses - a->steal_misses},
        {"parks", b->parks - a->parks},
        {"wakes", b->wakes - a->wakes},
        {"late wakes", b->late_wakes - a->late_wakes},
        {"timers fired", b->timers_fired - a->timers_fired},
        {"event batches", b->reactor_batches - a->reactor_batches},
        {"ticks", b->reactor_ticks - a->reactor_ticks},
        {"stacks mapped", b->stacks_mapped - a->stacks_mapped},
        {"threads' sleeps", (uint64_t)(out->after.switches - out->before.switches)},
    };
    fprintf(stderr, "%s: timed part: %.6f s, %.6f s of CPU;", name, (double)out->elapsed / 1e9,
            out->after.cpu - out->before.cpu);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        if (counts[i].count != 0)
            fprintf(stderr, " %s %llu,", counts[i].what, (unsigned long long)counts[i].count);
    }
    fprintf(stderr, " stacks live %llu, cached %llu\n", (unsigned long long)b->stacks_live,
            (unsigned long long)b->stacks_cached);
}

static int by_value(const void *a, const void *b)
{
    weft_ns x = *(const weft_ns *)a, y = *(const weft_ns *)b;
    return (x > y) - (x < y);
}

double percentile(weft_ns values[], long n, double p)
{
    if (n == 0)
        return 0;
    qsort(values, (size_t)n, sizeof *values, by_value);
    long i = (long)((double)n * p);
    return (double)values[i < n ? i : n - 1];
}
