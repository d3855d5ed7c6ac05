/* SPDX-License-Identifier: Apache-2.0 */
/* sleep_mem: n tasks asleep until one common deadline: bytes each (resident and page tables), mappings that the process has more than before, time
 * to create until the last sleeps, time from the deadline until the last has woken. The first round takes its memory from the system; the second
 * (_warm) has it.
 *
 * What the first round costs is mostly the kernel's: a page for each task. So the same is done before by as many plain threads as there are workers:
 * n slots of 64 KiB, each with its guard, one page of each touched, all given back (_floor: the time for one). It is done twice, and the second
 * time counts: on a virtual machine the host may have to find the memory when it is first touched, which would be the floor's then, and not the
 * tasks'. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

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

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif
enum { SLOT = 64 * 1024, MOST_THREADS = 256 };

struct toucher {
    pthread_t thread;
    char *slots;
    long n;
};
static void *touch(void *toucher)
{
    struct toucher *t = toucher;
    for (long i = 0; i < t->n; i++) {
        char *slot = t->slots + (size_t)i * SLOT;
        (void)madvise(slot, 4096, MADV_GUARD_INSTALL); /* where the kernel has it; the slot's lowest page */
        *(volatile char *)(slot + SLOT - 1) = 1;
    }
    return NULL;
}

/* Nanoseconds for one; negative: it can't be told. */
static double touch_all(long n, unsigned threads)
{
    static struct toucher t[MOST_THREADS];
    unsigned started = 0;
    threads = threads < MOST_THREADS ? threads : MOST_THREADS;
    char *slots =
        mmap(NULL, (size_t)n * SLOT, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (slots == MAP_FAILED)
        return -1;
    (void)madvise(slots, (size_t)n * SLOT, MADV_NOHUGEPAGE);
    weft_ns start = weft_now();
    for (; started < threads; started++) {
        long from = n * (long)started / (long)threads, to = n * (long)(started + 1) / (long)threads;
        t[started].slots = slots + (size_t)from * SLOT;
        t[started].n = to - from;
        if (pthread_create(&t[started].thread, NULL, touch, &t[started]) != 0)
            break;
    }
    for (unsigned i = 0; i < started; i++)
        pthread_join(t[i].thread, NULL);
    weft_ns took = weft_now() - start;
    munmap(slots, (size_t)n * SLOT);
    return started == threads ? (double)took / (double)n : -1;
}

struct floor_of {
    WEFT_FRAME;
    long n;
    unsigned threads;
    double each; /* result */
};
/* On a helper thread: it may use all CPUs, and blocks no worker. */
static int floor_of(struct floor_of *f)
{
    (void)touch_all(f->n, f->threads);
    f->each = touch_all(f->n, f->threads);
    return 0;
}
WEFT_CORO(floor_of);

static void measure_floor(long n, struct outcome *out)
{
    weft_task *t = weft_to_thread(floor_of, .n = n, .threads = weft_runtime_workers(weft_runtime_current()));
    if (weft_await(t) != 0)
        out->wrong = true;
    else if (weft_result(floor_of, t)->each >= 0)
        bench_extra(out, "sleep_mem_floor", weft_result(floor_of, t)->each);
    weft_release(t);
}

static void sleep_together(weft_task *t[], long n, weft_ns until, struct crowd *c, double *bytes, long *mappings,
                           struct outcome *out)
{
    *c = (struct crowd){.n = n, .until = until};
    double before = process_bytes();
    long mappings_before = process_mappings();
    bench_start(out);
    for (long i = 0; i < n; i++) {
        t[i] = weft_create_task(sleeper, .crowd = c);
        if ((i & 255) == 255)
            (void)weft_yield();
    }
    while (atomic_load(&c->asleep) < n)
        (void)weft_yield();
    bench_stop(out);
    out->late |= weft_now() >= until; /* some woke while others were still to come */
    *bytes = (process_bytes() - before) / (double)n;
    *mappings = process_mappings() - mappings_before;
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
    memset(t, 1, (size_t)n * sizeof *t); /* its pages are not the tasks'; zero, it would come untouched */
    measure_floor(n, out);
    struct crowd c;
    double bytes, unused;
    long mappings, no_more;
    weft_ns room = WEFT_SEC(0.5) + n * WEFT_US(8);
    sleep_together(t, n, weft_now() + room, &c, &bytes, &mappings, out);
    weft_ns cold = out->elapsed;
    double wake_cold = (double)(c.all_awake - c.until) / (double)n;
    sleep_together(t, n, weft_now() + WEFT_SEC(0.5) + cold * 2, &c, &unused, &no_more, out);
    bench_extra(out, "sleep_mem_create_warm", (double)out->elapsed / (double)n);
    bench_extra(out, "sleep_mem_wake", wake_cold);
    bench_extra(out, "sleep_mem_wake_warm", (double)(c.all_awake - c.until) / (double)n);
    bench_extra(out, "sleep_mem_bytes", bytes);
    bench_extra(out, "sleep_mem_mappings", (double)mappings);
    out->name = "sleep_mem_create";
    out->elapsed = cold;
    out->operations = (double)n;
    free(t);
}

const struct workload memory_workloads[] = {
    {.name = "sleep_mem",
     .what = "create one of n tasks until it sleeps; lines for a second round, waking, bytes each, mappings, and the "
             "kernel's part",
     .n = 100000,
     .run = run_sleep_mem},
    {.name = NULL},
};
