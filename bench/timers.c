/* SPDX-License-Identifier: Apache-2.0 */
/* Timers: limits on what is ready at once, and very many short sleeps. (A limit on what is not ready: hand_over.c.) */
#include <stdlib.h>

#include "bench.h"

static void run_timeout_ready(long n, struct outcome *out)
{
    weft_event ready = WEFT_EVENT_INIT;
    weft_event_set(&ready);
    for (int pass = 0; pass < 2; pass++) {
        long count = pass == 0 ? n / 10 + 1 : n, good = 0;
        bench_start(out);
        for (long i = 0; i < count; i++) {
            weft_timeout limit;
            (void)weft_timeout_begin(&limit, WEFT_SEC(1));
            int rc = weft_event_wait(&ready);
            good += weft_timeout_end(&limit, rc) == 0;
        }
        bench_stop(out);
        out->wrong |= good != count;
    }
    out->operations = (double)n;
}

enum { SLEEPS = 20 };

struct ticking {
    WEFT_FRAME;
    weft_ns *late; /* SLEEPS of them */
};
static int ticking(struct ticking *f)
{
    for (int i = 0; i < SLEEPS; i++) {
        weft_ns start = weft_now();
        int rc = weft_sleep(WEFT_MS(1));
        if (rc < 0)
            return rc;
        f->late[i] = weft_now() - start - WEFT_MS(1);
    }
    return 0;
}
WEFT_CORO(ticking);

static void run_timer_churn(long n, struct outcome *out)
{
    weft_task **t = malloc((size_t)n * sizeof *t);
    weft_ns *late = malloc((size_t)n * SLEEPS * sizeof *late);
    bench_start(out);
    for (long i = 0; i < n && t != NULL && late != NULL; i++)
        t[i] = weft_create_task(ticking, .late = &late[i * SLEEPS]);
    for (long i = 0; i < n && t != NULL && late != NULL; i++)
        out->wrong |= weft_await_release(t[i]) != 0;
    bench_stop(out);
    out->operations = (double)n * SLEEPS;
    out->wrong |= t == NULL || late == NULL;
    if (!out->wrong) {
        double p99 = percentile(late, n * SLEEPS, 0.99);
        out->wrong |= late[0] < 0; /* sorted now: nobody woke early */
        bench_extra(out, "timer_churn_p99", p99);
        bench_extra(out, "timer_churn_seconds", (double)out->elapsed / 1e9);
    }
    free(late);
    free(t);
}

const struct workload timer_workloads[] = {
    {.name = "timeout_ready",
     .what = "wait with a limit of 1 s for what is there already",
     .n = 1000000,
     .run = run_timeout_ready},
    {.name = "timer_churn",
     .what = "a sleep of 1 ms; n tasks sleep 20 times; lines for the 99th percentile of lateness and all seconds",
     .n = 100000,
     .run = run_timer_churn},
    {.name = NULL},
};
