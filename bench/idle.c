/* SPDX-License-Identifier: Apache-2.0 */
/* What waiting costs: a runtime with nothing to do, and one with a task that sleeps 1 ms in a loop beside a bare
 * epoll_wait(1 ms) loop of one thread, in turns. The ns_per_op column holds CPU nanoseconds per second (idle) and per
 * iteration (idle_tick). */
#include <pthread.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

struct watch {
    WEFT_FRAME;
    weft_ns length, step;
    double *cpu;
    long *iterations, *switches;
};
static int watch(struct watch *f)
{
    int rc = weft_sleep(WEFT_MS(300)); /* start-up is over, everybody is parked */
    double cpu = process_cpu();
    long switches = process_switches();
    weft_ns until = weft_now() + f->length;
    for (*f->iterations = 0; rc == 0 && weft_now() < until; ++*f->iterations)
        rc = weft_sleep(f->step);
    *f->cpu += process_cpu() - cpu;
    *f->switches = process_switches() - switches;
    return rc;
}
WEFT_CORO(watch);

/* Looks from outside, so that looking is no part of what is seen. */
struct observer {
    long seconds;
    double cpu;
    long switches;
};
static void *observe(void *argument)
{
    struct observer *o = argument;
    struct timespec settle = {.tv_sec = 1, .tv_nsec = 0}, length = {.tv_sec = o->seconds, .tv_nsec = 0};
    nanosleep(&settle, NULL); /* start-up is over, everybody is parked */
    double cpu = process_cpu();
    long switches = process_switches();
    nanosleep(&length, NULL);
    o->cpu = process_cpu() - cpu;
    o->switches = process_switches() - switches - 1; /* its own sleep */
    return NULL;
}

struct sleeps {
    WEFT_FRAME;
    weft_ns length;
};
static int sleeps(struct sleeps *f)
{
    return weft_sleep(f->length);
}
WEFT_CORO(sleeps);

static void run_idle(long n, unsigned workers, struct outcome *out)
{
    struct observer observer = {.seconds = n, .cpu = 0, .switches = 0};
    pthread_t thread;
    out->wrong = pthread_create(&thread, NULL, observe, &observer) != 0;
    if (out->wrong)
        return;
    int rc = weft_run_with(WEFT_OPTIONS(.workers = workers), sleeps, .length = WEFT_SEC(n + 2));
    pthread_join(thread, NULL);
    out->wrong = rc < 0;
    out->elapsed = WEFT_SEC(n);
    out->operations = (double)n;
    bench_extra(out, "idle_cpu_ns_per_s", observer.cpu / (double)n * 1e9);
    bench_extra(out, "idle_switches", (double)observer.switches);
}

static double epoll_loop(weft_ns length)
{
    int ep = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event;
    double cpu = process_cpu();
    long iterations = 0;
    for (weft_ns until = weft_now() + length; weft_now() < until; iterations++)
        (void)epoll_wait(ep, &event, 1, 1);
    cpu = process_cpu() - cpu;
    close(ep);
    return cpu / (double)iterations;
}

static void run_idle_tick(long n, unsigned workers, struct outcome *out)
{
    double weft = 0, bare = 0;
    long turns = n * 2;
    for (long i = 0; i < turns; i++) {
        double cpu = 0;
        long iterations = 1, switches;
        bare += epoll_loop(WEFT_MS(500));
        int rc = weft_run_with(WEFT_OPTIONS(.workers = workers), watch, .length = WEFT_MS(500), .step = WEFT_MS(1),
                               .cpu = &cpu, .iterations = &iterations, .switches = &switches);
        out->wrong |= rc < 0;
        weft += cpu / (double)(iterations > 0 ? iterations : 1);
    }
    out->elapsed = (weft_ns)(weft / (double)turns * 1e9);
    out->operations = 1;
    bench_extra(out, "idle_tick_bare_epoll", bare / (double)turns * 1e9);
    bench_extra(out, "idle_tick_ratio", weft / bare);
}

const struct workload idle_workloads[] = {
    {.name = "idle", .what = "n seconds of a runtime with nothing to do", .n = 10, .run_outside = run_idle},
    {.name = "idle_tick",
     .what = "CPU of one 1 ms sleep in a loop; beside it a bare epoll_wait loop",
     .n = 5,
     .run_outside = run_idle_tick},
    {.name = NULL},
};
