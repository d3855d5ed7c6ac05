/* SPDX-License-Identifier: Apache-2.0 */
/* Creating, awaiting, yielding, cancelling tasks. */
#include <errno.h>
#include <stdlib.h>

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
        weft_ns start = weft_now();
        for (long i = 0; i < count; i++) {
            weft_task *t = weft_create_task(one, .value = i);
            if (weft_await(t) == 0)
                sum += weft_result(one, t)->value - i;
            weft_release(t);
        }
        out->elapsed = weft_now() - start;
        out->wrong |= sum != count;
    }
    out->operations = (double)n;
}

static void run_spawn_many(long n, struct outcome *out)
{
    weft_task **t = malloc((size_t)n * sizeof *t);
    for (int pass = 0; pass < 2 && t != NULL; pass++) {
        long sum = 0;
        weft_ns start = weft_now();
        for (long i = 0; i < n; i++)
            t[i] = weft_create_task(one, .value = 0);
        for (long i = 0; i < n; i++) {
            if (weft_await(t[i]) == 0)
                sum += weft_result(one, t[i])->value;
            weft_release(t[i]);
        }
        out->elapsed = weft_now() - start;
        out->wrong |= sum != n;
    }
    out->wrong |= t == NULL;
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
        weft_ns start = weft_now();
        for (long i = 0; i < n; i++)
            t[i] = weft_create_task(yielder, .times = times);
        for (long i = 0; i < n; i++)
            out->wrong |= weft_await_release(t[i]) != 0;
        out->elapsed = weft_now() - start;
    }
    out->wrong |= t == NULL;
    out->operations = (double)n * 1000;
    free(t);
}

struct sleeper {
    WEFT_FRAME;
};
static int sleeper(struct sleeper *f)
{
    (void)f;
    return weft_sleep(WEFT_SEC(3600));
}
WEFT_CORO(sleeper);

static void run_cancel(long n, struct outcome *out)
{
    weft_task **t = malloc((size_t)n * sizeof *t);
    if (t == NULL) {
        out->wrong = true;
        return;
    }
    weft_ns start = weft_now();
    for (long i = 0; i < n; i++)
        t[i] = weft_create_task(sleeper);
    out->wrong |= weft_sleep(WEFT_MS(1)) != 0;
    weft_ns created = weft_now();
    for (long i = 0; i < n; i++)
        weft_cancel(t[i]);
    for (long i = 0; i < n; i++)
        out->wrong |= weft_await_release(t[i]) != -ECANCELED;
    out->elapsed = weft_now() - created;
    out->operations = (double)n;
    out->extra_name[0] = "cancel_create";
    out->extra[0] = (double)(created - start) / (double)n;
    free(t);
}

const struct workload task_workloads[] = {
    {"spawn_join", "create a task and await it", 500000, run_spawn_join, NULL},
    {"spawn_many", "one of n tasks, all created, then all awaited", 1000000, run_spawn_many, NULL},
    {"yield", "one yield; n tasks yield 1000 times each", 1000, run_yield, NULL},
    {"cancel", "cancel a sleeping task and await it", 100000, run_cancel, NULL},
    {NULL, NULL, 0, NULL, NULL},
};
