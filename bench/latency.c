/* SPDX-License-Identifier: Apache-2.0 */
/* How soon work gets to a worker that has none: one that sleeps, one that has just ended something, from a thread outside;
 * and fork-join in bursts so short that a second worker hardly pays. Latencies are medians; the 99th percentiles beside. */
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench.h"
#include "fib.h"

struct mark {
    WEFT_FRAME;
    weft_ns *began;
    atomic_bool *ran;
};
static int mark(struct mark *f)
{
    *f->began = weft_now();
    atomic_store(f->ran, true);
    return 0;
}
WEFT_CORO(mark);

/* The creator computes on, so that only another worker can run what it created: from the creation of the first to the first
 * step of whichever begins first. A lone task is another matter than several: its creator would run it next. */
static double to_other_worker(long n, int tasks, weft_ns pause, double *p99, struct outcome *out)
{
    weft_ns *late = malloc((size_t)n * sizeof *late);
    for (long i = 0; i < n && late != NULL; i++) {
        weft_ns began[2] = {INT64_MAX, INT64_MAX};
        atomic_bool ran = false;
        weft_task *t[2] = {NULL, NULL};
        if (pause != 0)
            out->wrong |= weft_sleep(pause) != 0;
        weft_ns created = weft_now();
        for (int k = 0; k < tasks; k++)
            t[k] = weft_create_task(mark, .began = &began[k], .ran = &ran);
        while (!atomic_load(&ran))
            ;
        for (int k = 0; k < tasks; k++)
            out->wrong |= weft_await_release(t[k]) != 0;
        late[i] = (began[0] < began[1] ? began[0] : began[1]) - created;
        out->wrong |= late[i] < 0;
    }
    out->wrong |= late == NULL;
    double p50 = 0;
    if (!out->wrong) {
        *p99 = percentile(late, n, 0.99);
        p50 = percentile(late, n, 0.5);
    }
    free(late);
    return p50;
}

static void to_other_worker_rows(long n, weft_ns pause, const char *const names[3], struct outcome *out)
{
    if (!bench_needs_workers(out, 2))
        return;
    double p99 = 0, lone_p99 = 0, lone = to_other_worker(n, 1, pause, &lone_p99, out);
    bench_start(out);
    double p50 = to_other_worker(n, 2, pause, &p99, out);
    bench_stop(out);
    out->elapsed = (weft_ns)p50;
    out->operations = 1;
    bench_extra(out, names[0], p99);
    bench_extra(out, names[1], lone);
    bench_extra(out, names[2], lone_p99);
}

/* The kernel's part: the same between a task's thread and a plain one that sleeps on a futex. It is often put behind its waker, on one CPU. */
struct bare {
    _Atomic uint32_t word;
    atomic_bool ran, stop;
    weft_ns began;
};
static void *bare_sleeper(void *argument)
{
    struct bare *b = argument;
    for (uint32_t seen = 0;; seen++) {
        while (atomic_load(&b->word) == seen)
            (void)syscall(SYS_futex, &b->word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
        if (atomic_load(&b->stop))
            return NULL;
        b->began = weft_now();
        atomic_store(&b->ran, true);
    }
}
static void bare_wake(struct bare *b)
{
    atomic_fetch_add(&b->word, 1);
    (void)syscall(SYS_futex, &b->word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}
static void bare_row(long n, struct outcome *out)
{
    struct bare b = {.word = 0};
    weft_ns *late = malloc((size_t)n * sizeof *late);
    pthread_t thread;
    if (late == NULL || pthread_create(&thread, NULL, bare_sleeper, &b) != 0) {
        out->wrong = true;
        free(late);
        return;
    }
    for (long i = 0; i < n; i++) {
        out->wrong |= weft_sleep(WEFT_MS(1)) != 0;
        atomic_store(&b.ran, false);
        weft_ns start = weft_now();
        bare_wake(&b);
        while (!atomic_load(&b.ran))
            ;
        late[i] = b.began - start;
    }
    atomic_store(&b.stop, true);
    bare_wake(&b);
    pthread_join(thread, NULL);
    bench_extra(out, "wake_latency_bare", percentile(late, n, 0.5));
    bench_extra(out, "wake_latency_bare_p99", percentile(late, n, 0.99));
    free(late);
}

static void run_wake_latency(long n, struct outcome *out)
{
    static const char *const names[] = {"wake_latency_p99", "wake_latency_lone", "wake_latency_lone_p99"};
    to_other_worker_rows(n, WEFT_MS(1), names, out);
    if (!out->skipped)
        bare_row(n, out);
}
static void run_steal_latency(long n, struct outcome *out)
{
    static const char *const names[] = {"steal_latency_p99", "steal_latency_lone", "steal_latency_lone_p99"};
    to_other_worker_rows(n, 0, names, out);
}

/* ---- from a thread that is no worker, to a runtime that sleeps ---- */

struct outside {
    long n;
    weft_runtime *rt;
    weft_ns *late;
    bool wrong;
    weft_event ended;
};
static void *submit_all(void *argument)
{
    struct outside *o = argument;
    for (long i = 0; i < o->n; i++) {
        weft_ns began = 0;
        atomic_bool ran = false;
        struct timespec pause = {.tv_sec = 0, .tv_nsec = 1000000};
        nanosleep(&pause, NULL);
        weft_ns created = weft_now();
        weft_task *t = weft_submit(o->rt, mark, .began = &began, .ran = &ran);
        o->wrong |= weft_block_on(t, WEFT_FOREVER) != 0;
        weft_release(t);
        o->late[i] = began - created;
    }
    weft_event_set(&o->ended);
    return NULL;
}
static void run_submit_latency(long n, struct outcome *out)
{
    struct outside o = {.n = n, .rt = weft_runtime_current(), .late = malloc((size_t)n * sizeof *o.late)};
    weft_event_init(&o.ended);
    pthread_t thread;
    bench_start(out);
    out->wrong = o.late == NULL || pthread_create(&thread, NULL, submit_all, &o) != 0;
    if (!out->wrong) {
        out->wrong |= weft_event_wait(&o.ended) != 0;
        pthread_join(thread, NULL);
        out->wrong |= o.wrong;
    }
    bench_stop(out);
    if (!out->wrong) {
        bench_extra(out, "submit_latency_p99", percentile(o.late, n, 0.99));
        out->elapsed = (weft_ns)percentile(o.late, n, 0.5);
        out->operations = 1;
    }
    free(o.late);
}

/* ---- bursts ---- */

static double bursts(long n, int size, struct outcome *out)
{
    weft_ns busy = 0;
    for (long i = 0; i < n; i++) {
        struct fib f = {.n = size};
        out->wrong |= weft_sleep(WEFT_US(200)) != 0;
        weft_ns start = weft_now();
        int rc = fib(&f);
        busy += weft_now() - start;
        out->wrong |= rc < 0 || f.result != fib_of(size);
    }
    return (double)busy / (double)n;
}
static void run_burst(long n, struct outcome *out)
{
    (void)bursts(n / 10 + 1, 15, out);
    bench_start(out);
    double small = bursts(n, 13, out), middle = bursts(n, 15, out), large = bursts(n, 17, out);
    bench_stop(out);
    out->name = "burst_15";
    out->elapsed = (weft_ns)middle;
    out->operations = 1;
    bench_extra(out, "burst_13", small);
    bench_extra(out, "burst_17", large);
}

const struct workload latency_workloads[] = {
    {.name = "wake_latency",
     .what = "from the creation of two tasks to the first step of one, on a worker that slept; lines for a lone one",
     .n = 500,
     .run = run_wake_latency},
    {.name = "steal_latency",
     .what = "the same on a worker that has just ended such a task",
     .n = 1000,
     .run = run_steal_latency},
    {.name = "submit_latency",
     .what = "from weft_submit in another thread to the task's first step in a sleeping runtime",
     .n = 500,
     .run = run_submit_latency},
    {.name = "burst",
     .what = "fib(15) after a sleep of 200 us; lines for fib(13) and fib(17)",
     .n = 300,
     .run = run_burst},
    {.name = NULL},
};
