/* SPDX-License-Identifier: Apache-2.0 */
/* sleep_mem: n tasks asleep until one common deadline: bytes each (resident and page tables), time to create, to wake. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

struct sleeper {
    WEFT_FRAME;
    weft_ns until;
    atomic_long *asleep, *early;
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
    long used = some_work((long)f->until);
    atomic_fetch_add(f->asleep, 1);
    int rc = weft_sleep_until(f->until);
    if (weft_now() < f->until)
        atomic_fetch_add(f->early, 1);
    return rc < 0 ? rc : used == 1 << 20;
}
WEFT_CORO(sleeper);

static void run_sleep_mem(long n, struct outcome *out)
{
    atomic_long asleep = 0, early = 0;
    weft_task **t = malloc((size_t)n * sizeof *t);
    if (t == NULL) {
        out->wrong = true;
        return;
    }
    memset(t, 0, (size_t)n * sizeof *t); /* its pages are not the tasks' */
    double before = process_bytes();
    weft_ns start = weft_now(), until = start + WEFT_SEC(2) + n * WEFT_US(8);
    for (long i = 0; i < n; i++) {
        t[i] = weft_create_task(sleeper, .until = until, .asleep = &asleep, .early = &early);
        if ((i & 255) == 255)
            (void)weft_yield();
    }
    while (atomic_load(&asleep) < n)
        (void)weft_yield();
    weft_ns created = weft_now();
    out->wrong = created >= until; /* too slow for the deadline: the figure would mean nothing */
    double bytes = (process_bytes() - before) / (double)n;
    fprintf(stderr, "sleep_mem: %ld mappings\n", process_mappings());
    for (long i = 0; i < n; i++)
        out->wrong |= weft_await_release(t[i]) != 0;
    weft_ns woken = weft_now();
    out->wrong |= atomic_load(&early) != 0;
    out->elapsed = created - start;
    out->operations = (double)n;
    out->extra_name[0] = "sleep_mem_bytes";
    out->extra[0] = bytes;
    out->extra_name[1] = "sleep_mem_wake";
    out->extra[1] = (double)(woken - until) / (double)n;
    free(t);
}

const struct workload memory_workloads[] = {
    {"sleep_mem", "create one of n sleeping tasks; lines for bytes each and ns each to wake", 100000, run_sleep_mem,
     NULL},
    {NULL, NULL, 0, NULL, NULL},
};
