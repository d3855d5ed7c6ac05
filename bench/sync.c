/* SPDX-License-Identifier: Apache-2.0 */
/* A queue with many at both ends; locks, free and contended. */
#include <errno.h>
#include <stdlib.h>

#include "bench.h"

enum { ENDS = 4 };

struct producer {
    WEFT_FRAME;
    weft_queue *q;
    long first, n;
};
static int producer(struct producer *f)
{
    for (long i = f->first; i < f->n; i += ENDS) {
        int rc = weft_queue_put(f->q, &i);
        if (rc < 0)
            return rc;
    }
    return 0;
}
WEFT_CORO(producer);

struct consumer {
    WEFT_FRAME;
    weft_queue *q;
    long taken, sum;
};
static int consumer(struct consumer *f)
{
    long item;
    int rc;
    while ((rc = weft_queue_get(f->q, &item)) == 0) {
        f->sum += item;
        f->taken++;
    }
    return rc == -ESHUTDOWN ? 0 : rc;
}
WEFT_CORO(consumer);

static void run_mpmc(long n, struct outcome *out)
{
    for (int pass = 0; pass < 2; pass++) {
        long count = pass == 0 ? n / 10 + 1 : n, sum = 0, taken = 0;
        weft_task *p[ENDS], *c[ENDS];
        bench_start(out);
        weft_queue *q = weft_queue_create(sizeof(long), 1024);
        for (int i = 0; i < ENDS; i++)
            p[i] = weft_create_task(producer, .q = q, .first = i, .n = count);
        for (int i = 0; i < ENDS; i++)
            c[i] = weft_create_task(consumer, .q = q);
        for (int i = 0; i < ENDS; i++)
            out->wrong |= weft_await_release(p[i]) != 0;
        weft_queue_shutdown(q, false);
        for (int i = 0; i < ENDS; i++) {
            out->wrong |= weft_await(c[i]) != 0;
            sum += weft_result(consumer, c[i])->sum;
            taken += weft_result(consumer, c[i])->taken;
            weft_release(c[i]);
        }
        bench_stop(out);
        weft_queue_destroy(q);
        out->wrong |= sum != count * (count - 1) / 2 || taken != count;
    }
    out->operations = (double)n;
}

struct counter {
    WEFT_FRAME;
    weft_lock *lock;
    long *value;
    int times;
    bool suspend; /* while it holds the lock */
};
static int counter(struct counter *f)
{
    for (int i = 0; i < f->times; i++) {
        int rc = weft_lock_acquire(f->lock);
        if (rc < 0)
            return rc;
        long seen = *f->value;
        if (f->suspend)
            rc = weft_yield();
        *f->value = seen + 1;
        weft_lock_release(f->lock);
        if (rc < 0)
            return rc;
    }
    return 0;
}
WEFT_CORO(counter);

static void mutex(long n, int times, bool suspend, struct outcome *out)
{
    weft_task **t = malloc((size_t)n * sizeof *t);
    for (int pass = 0; pass < 2 && t != NULL; pass++) {
        weft_lock lock = WEFT_LOCK_INIT;
        long value = 0;
        int each = pass == 0 ? times / 10 : times;
        bench_start(out);
        for (long i = 0; i < n; i++)
            t[i] = weft_create_task(counter, .lock = &lock, .value = &value, .times = each, .suspend = suspend);
        for (long i = 0; i < n; i++)
            out->wrong |= weft_await_release(t[i]) != 0;
        bench_stop(out);
        out->wrong |= value != n * each;
    }
    out->wrong |= t == NULL;
    out->operations = (double)n * times;
    free(t);
}
static void run_mutex(long n, struct outcome *out)
{
    mutex(n, 1000, false, out);
}
static void run_mutex_suspend(long n, struct outcome *out)
{
    mutex(n, 100, true, out);
}

const struct workload sync_workloads[] = {
    {.name = "mpmc", .what = "an item: 4 producers, 4 consumers, a queue of 1024", .n = 1000000, .run = run_mpmc},
    {.name = "mutex", .what = "a lock/unlock pair; n tasks do 1000 each", .n = 1000, .run = run_mutex},
    {.name = "mutex_suspend",
     .what = "the same, 100 each; the holder yields while it holds the lock",
     .n = 1000,
     .run = run_mutex_suspend},
    {.name = NULL},
};
