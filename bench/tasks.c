/* SPDX-License-Identifier: Apache-2.0 */
/* Creating, awaiting, gathering, yielding. */
#include <stdlib.h>
#include <string.h>

#include "bench.h"

struct one {
    WEFT_FRAME;
    long value;
};
static int one(struct one *f)
{
    f->value++;
    return 0;
}
WEFT_CORO(one);

static void run_spawn_join(long n, struct outcome *out)
{
    for (int pass = 0; pass < 2; pass++) {
        long count = pass == 0 ? n / 10 + 1 : n, sum = 0;
        bench_start(out);
        for (long i = 0; i < count; i++) {
            weft_task *t = weft_create_task(one, .value = i);
            if (weft_await(t) == 0)
                sum += weft_result(one, t)->value - i;
            weft_release(t);
        }
        bench_stop(out);
        out->wrong |= sum != count;
    }
    out->operations = (double)n;
}

/* The first round takes its memory from the system, the second has it. */
static void run_spawn_many(long n, struct outcome *out)
{
    weft_task **t = malloc((size_t)n * sizeof *t);
    if (t == NULL) {
        out->wrong = true;
        return;
    }
    memset(t, 1, (size_t)n * sizeof *t); /* its pages are not the tasks'; zero, it would come untouched */
    double before = process_bytes();
    for (int pass = 0; pass < 2; pass++) {
        long sum = 0;
        bench_start(out);
        for (long i = 0; i < n; i++)
            t[i] = weft_create_task(one, .value = i);
        for (long i = 0; i < n; i++) {
            if (weft_await(t[i]) == 0)
                sum += weft_result(one, t[i])->value - i;
        }
        bench_stop(out);
        out->wrong |= sum != n;
        weft_ns awaited = out->elapsed;
        double bytes = pass == 0 ? (process_bytes() - before) / (double)n : 0; /* all of them are still held */
        weft_ns again = weft_now();
        for (long i = 0; i < n; i++)
            weft_release(t[i]);
        out->elapsed = awaited + (weft_now() - again);
        if (pass == 0) {
            bench_extra(out, "spawn_many_cold", (double)out->elapsed / (double)n);
            bench_extra(out, "spawn_many_bytes", bytes);
        }
    }
    out->operations = (double)n;
    free(t);
}

struct yielder {
    WEFT_FRAME;
    int times;
};
static int yielder(struct yielder *f)
{
    for (int i = 0; i < f->times; i++) {
        int rc = weft_yield();
        if (rc < 0)
            return rc;
    }
    return 0;
}
WEFT_CORO(yielder);

static void run_yield(long n, struct outcome *out)
{
    weft_task **t = malloc((size_t)n * sizeof *t);
    for (int pass = 0; pass < 2 && t != NULL; pass++) {
        int times = pass == 0 ? 20 : 1000;
        bench_start(out);
        for (long i = 0; i < n; i++)
            t[i] = weft_create_task(yielder, .times = times);
        for (long i = 0; i < n; i++)
            out->wrong |= weft_await_release(t[i]) != 0;
        bench_stop(out);
    }
    out->wrong |= t == NULL;
    out->operations = (double)n * 1000;
    free(t);
}

/* Created, gathered by one call, looked at, released: ns a child. */
static double gather_children(long rounds, size_t children, struct outcome *out)
{
    weft_task *t[1000];
    for (int pass = 0; pass < 2; pass++) {
        long count = pass == 0 ? rounds / 10 + 1 : rounds, sum = 0;
        bench_start(out);
        for (long r = 0; r < count; r++) {
            for (size_t i = 0; i < children; i++)
                t[i] = weft_create_task(one, .value = (long)i);
            out->wrong |= weft_gather_n(t, children) != 0;
            for (size_t i = 0; i < children; i++) {
                sum += weft_result(one, t[i])->value;
                weft_release(t[i]);
            }
        }
        bench_stop(out);
        out->wrong |= sum != count * (long)(children * (children + 1) / 2);
    }
    return (double)out->elapsed / ((double)rounds * (double)children);
}

static void run_gather_early(long n, struct outcome *out)
{
    double two = gather_children(n / 2 + 1, 2, out), thousand = gather_children(n / 1000 + 1, 1000, out);
    long rounds = n / 10 + 1;
    (void)gather_children(rounds, 10, out);
    out->operations = (double)rounds * 10;
    bench_extra(out, "gather_early_2", two);
    bench_extra(out, "gather_early_1000", thousand);
}

struct napping {
    WEFT_FRAME;
    long value;
};
static int napping(struct napping *f)
{
    int rc = weft_sleep(WEFT_MS(1));
    f->value *= 2;
    return rc;
}
WEFT_CORO(napping);

static void run_fan_out_in(long n, struct outcome *out)
{
    enum { CHILDREN = 1000 };
    weft_task *t[CHILDREN];
    for (int pass = 0; pass < 2; pass++) {
        long rounds = pass == 0 ? n / 10 + 1 : n, sum = 0;
        bench_start(out);
        for (long r = 0; r < rounds; r++) {
            for (long i = 0; i < CHILDREN; i++)
                t[i] = weft_create_task(napping, .value = i);
            out->wrong |= weft_gather_n(t, CHILDREN) != 0;
            for (long i = 0; i < CHILDREN; i++) {
                sum += weft_result(napping, t[i])->value;
                weft_release(t[i]);
            }
        }
        bench_stop(out);
        out->wrong |= sum != rounds * CHILDREN * (CHILDREN - 1);
    }
    out->operations = (double)n * CHILDREN;
}

const struct workload task_workloads[] = {
    {.name = "spawn_join", .what = "create a task and await it", .n = 500000, .run = run_spawn_join},
    {.name = "spawn_many",
     .what = "one of n tasks, all created, then all awaited; lines for the first round and the bytes each",
     .n = 1000000,
     .run = run_spawn_many},
    {.name = "yield", .what = "one yield; n tasks yield 1000 times each", .n = 1000, .run = run_yield},
    {.name = "gather_early",
     .what = "a child of a gather of 10 created tasks; lines for gathers of 2 and of 1000",
     .n = 500000,
     .run = run_gather_early},
    {.name = "fan_out_in",
     .what = "a child of a gather of 1000 tasks that sleep 1 ms, the sleep included; n gathers",
     .n = 20,
     .run = run_fan_out_in},
    {.name = NULL},
};
