/* SPDX-License-Identifier: Apache-2.0 */
/* Queues and locks between tasks; time limits around them. */
#include <stdlib.h>

#include "bench.h"

struct player {
    WEFT_FRAME;
    weft_queue *in, *out;
    long rounds;
    weft_ns limit; /* each get under a time limit of its own */
};
static int player(struct player *f)
{
    for (long i = 0; i < f->rounds; i++) {
        long item;
        weft_timeout scope;
        if (f->limit != 0)
            (void)weft_timeout_begin(&scope, f->limit);
        int rc = weft_queue_get(f->in, &item);
        if (f->limit != 0)
            rc = weft_timeout_end(&scope, rc);
        if (rc < 0 || (rc = weft_queue_put(f->out, &item)) < 0)
            return rc;
    }
    return 0;
}
WEFT_CORO(player);

static void ping_pong(long n, weft_ns limit, struct outcome *out)
{
    weft_queue *a = weft_queue_create(sizeof(long), 1), *b = weft_queue_create(sizeof(long), 1);
    for (int pass = 0; pass < 2; pass++) {
        long rounds = pass == 0 ? n / 10 + 1 : n, item = 1;
        weft_ns start = weft_now();
        weft_task *server = weft_create_task(player, .in = a, .out = b, .rounds = rounds);
        out->wrong |= weft_queue_put(a, &item) != 0;
        weft_task *client = weft_create_task(player, .in = b, .out = a, .rounds = rounds - 1, .limit = limit);
        out->wrong |= weft_await_release(client) != 0;
        out->wrong |= weft_await_release(server) != 0;
        out->wrong |= weft_queue_get(b, &item) != 0;
        out->elapsed = weft_now() - start;
    }
    out->operations = (double)n;
    weft_queue_destroy(a);
    weft_queue_destroy(b);
}
static void run_ping_pong(long n, struct outcome *out)
{
    ping_pong(n, 0, out);
}
static void run_timeout_pend(long n, struct outcome *out)
{
    ping_pong(n, WEFT_SEC(1), out);
}

struct producer {
    WEFT_FRAME;
    weft_queue *q;
    long n;
};
static int producer(struct producer *f)
{
    for (long i = 0; i < f->n; i++) {
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
    long n, sum;
};
static int consumer(struct consumer *f)
{
    for (long i = 0, item; i < f->n; i++) {
        int rc = weft_queue_get(f->q, &item);
        if (rc < 0)
            return rc;
        f->sum += item;
    }
    return 0;
}
WEFT_CORO(consumer);

static void run_mpmc(long n, struct outcome *out)
{
    weft_queue *q = weft_queue_create(sizeof(long), 1024);
    long each = n / 4;
    weft_ns start = weft_now();
    weft_task *p[4], *c[4];
    for (int i = 0; i < 4; i++) {
        p[i] = weft_create_task(producer, .q = q, .n = each);
        c[i] = weft_create_task(consumer, .q = q, .n = each);
    }
    long sum = 0;
    for (int i = 0; i < 4; i++) {
        out->wrong |= weft_await(p[i]) != 0 || weft_await(c[i]) != 0;
        sum += weft_result(consumer, c[i])->sum;
        weft_release(p[i]);
        weft_release(c[i]);
    }
    out->elapsed = weft_now() - start;
    out->operations = (double)each * 4;
    out->wrong |= sum != 4 * (each * (each - 1) / 2);
    weft_queue_destroy(q);
}

struct counter {
    WEFT_FRAME;
    weft_lock *lock;
    long *value;
    int times;
    bool yields; /* while it has the lock */
};
static int counter(struct counter *f)
{
    for (int i = 0; i < f->times; i++) {
        int rc = weft_lock_acquire(f->lock);
        if (rc < 0)
            return rc;
        long seen = *f->value;
        if (f->yields)
            weft_yield();
        *f->value = seen + 1;
        weft_lock_release(f->lock);
    }
    return 0;
}
WEFT_CORO(counter);

static void mutex(long n, int times, bool yields, struct outcome *out)
{
    weft_lock lock = WEFT_LOCK_INIT;
    long value = 0;
    weft_task **t = malloc((size_t)n * sizeof *t);
    weft_ns start = weft_now();
    for (long i = 0; i < n && t != NULL; i++)
        t[i] = weft_create_task(counter, .lock = &lock, .value = &value, .times = times, .yields = yields);
    for (long i = 0; i < n && t != NULL; i++)
        out->wrong |= weft_await_release(t[i]) != 0;
    out->elapsed = weft_now() - start;
    out->operations = (double)n * times;
    out->wrong |= value != n * times;
    free(t);
}
static void run_mutex(long n, struct outcome *out)
{
    mutex(n, 1000, false, out);
}
static void run_mutex_held(long n, struct outcome *out)
{
    mutex(n, 100, true, out);
}

const struct workload sync_workloads[] = {
    {"ping_pong", "a round trip over two queues of capacity 1", 500000, run_ping_pong, NULL},
    {"timeout_pend", "the same, the client under a time limit", 500000, run_timeout_pend, NULL},
    {"mpmc", "an item: 4 producers, 4 consumers, a queue of 1024", 1000000, run_mpmc, NULL},
    {"mutex", "a lock/unlock pair; n tasks do 1000 each", 1000, run_mutex, NULL},
    {"mutex_held", "the same, 100 each, a yield while it is locked", 1000, run_mutex_held, NULL},
    {NULL, NULL, 0, NULL, NULL},
};
