/* SPDX-License-Identifier: Apache-2.0 */
/* Cancelling tasks that sleep for an hour. */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "bench.h"

struct sleeper {
    WEFT_FRAME;
    atomic_long *started;
};
static int sleeper(struct sleeper *f)
{
    atomic_fetch_add(f->started, 1);
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
    atomic_long started = 0;
    weft_ns start = weft_now();
    for (long i = 0; i < n; i++)
        t[i] = weft_create_task(sleeper, .started = &started);
    while (atomic_load(&started) < n)
        out->wrong |= weft_yield() != 0;
    weft_ns created = weft_now() - start;
    out->wrong |= weft_sleep(WEFT_MS(200)) != 0; /* the last ones have come to sleep too */
    bench_start(out);
    for (long i = 0; i < n; i++)
        out->wrong |= !weft_cancel(t[i]);
    for (long i = 0; i < n; i++)
        out->wrong |= weft_await_release(t[i]) != -ECANCELED;
    bench_stop(out);
    out->operations = (double)n;
    bench_extra(out, "cancel_create", (double)created / (double)n);
    free(t);
}

const struct workload cancel_workloads[] = {
    {.name = "cancel",
     .what = "cancel a sleeping task and await it; a line for creating it until it sleeps",
     .n = 100000,
     .run = run_cancel},
    {.name = NULL},
};
