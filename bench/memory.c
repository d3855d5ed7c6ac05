/* SPDX-License-Identifier: Apache-2.0 */
/* sleep_mem: n tasks asleep until one common deadline: bytes each (resident and page tables), time to create until the last
 * sleeps, time from the deadline until the last has woken. The first round takes its memory from the system; the second
 * (_warm) has it. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

struct crowd {
    long n;
    weft_ns until;
    atomic_long asleep, awake, early;
    weft_ns all_asleep, all_awake; /* when */
};

struct sleeper {
    WEFT_FRAME;
    struct crowd *crowd;
};
/* As a task of a program would: a call with a local of 512 bytes before it sleeps. */
static __attribute__((noinline)) long some_work(long n)
{
    volatile char buf[512];
    memset((char *)buf, (int)n, sizeof buf);
    return buf[n & 511];
}
static int sleeper(struct sleeper *f)
{
    struct crowd *c = f->crowd;
    long used = some_work((long)c->until);
    if (atomic_fetch_add(&c->asleep, 1) + 1 == c->n)
        c->all_asleep = weft_now();
    int rc = weft_sleep_until(c->until);
    weft_ns now = weft_now();
    if (now < c->until)
        atomic_fetch_add(&c->early, 1);
    if (atomic_fetch_add(&c->awake, 1) + 1 == c->n)
        c->all_awake = now;
    return rc < 0 ? rc : used == 1 << 20;
}
WEFT_CORO(sleeper);

static void sleep_together(weft_task *t[], long n, weft_ns until, struct crowd *c, double *bytes, struct outcome *out)
{
    *c = (struct crowd){.n = n, .until = until};
    double before = process_bytes();
    bench_start(out);
    for (long i = 0; i < n; i++) {
        t[i] = weft_create_task(sleeper, .crowd = c);
        if ((i & 255) == 255)
            (void)weft_yield();
    }
    while (atomic_load(&c->asleep) < n)
        (void)weft_yield();
    bench_stop(out);
    out->wrong |= weft_now() >= until; /* too slow for the deadline: the figures would mean nothing */
    *bytes = (process_bytes() - before) / (double)n;
    for (long i = 0; i < n; i++)
        out->wrong |= weft_await_release(t[i]) != 0;
    out->elapsed = c->all_asleep - out->start; /* written after the count: only an ended task shows it */
    out->wrong |= atomic_load(&c->early) != 0 || atomic_load(&c->awake) != n;
}

static void run_sleep_mem(long n, struct outcome *out)
{
    weft_task **t = malloc((size_t)n * sizeof *t);
    if (t == NULL) {
        out->wrong = true;
        return;
    }
    memset(t, 0, (size_t)n * sizeof *t); /* its pages are not the tasks' */
    struct crowd c;
    double bytes, unused;
    weft_ns room = WEFT_SEC(0.5) + n * WEFT_US(8);
    sleep_together(t, n, weft_now() + room, &c, &bytes, out);
    weft_ns cold = out->elapsed;
    double wake_cold = (double)(c.all_awake - c.until) / (double)n;
    sleep_together(t, n, weft_now() + WEFT_SEC(0.5) + cold * 2, &c, &unused, out);
    bench_extra(out, "sleep_mem_create_warm", (double)out->elapsed / (double)n);
    bench_extra(out, "sleep_mem_wake", wake_cold);
    bench_extra(out, "sleep_mem_wake_warm", (double)(c.all_awake - c.until) / (double)n);
    bench_extra(out, "sleep_mem_bytes", bytes);
    bench_extra(out, "sleep_mem_mappings", (double)process_mappings());
    out->name = "sleep_mem_create";
    out->elapsed = cold;
    out->operations = (double)n;
    free(t);
}

const struct workload memory_workloads[] = {
    {.name = "sleep_mem",
     .what = "create one of n tasks until it sleeps; lines for a second round, waking, bytes each",
     .n = 100000,
     .run = run_sleep_mem},
    {.name = NULL},
};
