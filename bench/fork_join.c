/* SPDX-License-Identifier: Apache-2.0 */
/* fib and skynet: trees of structured children, and of counted tasks. */
#include "bench.h"

static long fib_of(long n)
{
    long a = 0, b = 1;
    while (n-- > 0) {
        long c = a + b;
        a = b;
        b = c;
    }
    return a;
}

struct fib {
    WEFT_FRAME;
    int n;
    long result;
};
static int fib(struct fib *f);
WEFT_CORO(fib);
static int fib(struct fib *f)
{
    if (f->n < 2) {
        f->result = f->n;
        return 0;
    }
    struct fib a = {.n = f->n - 1}, b = {.n = f->n - 2};
    weft_child child;
    weft_fork(&child, fib, &a);
    int rb = fib(&b);
    int ra = weft_join(&child);
    f->result = a.result + b.result;
    return ra < 0 ? ra : rb;
}

static void run_fib(long n, struct outcome *out)
{
    struct fib warm = {.n = 20}, f = {.n = (int)n};
    (void)fib(&warm);
    weft_ns start = weft_now();
    int rc = fib(&f);
    out->elapsed = weft_now() - start;
    out->operations = (double)(fib_of(n + 1) - 1);
    out->wrong = rc < 0 || f.result != fib_of(n);
}

struct fib_task {
    WEFT_FRAME;
    int n;
    long result;
};
static int fib_task(struct fib_task *f);
WEFT_CORO(fib_task);
static int fib_task(struct fib_task *f)
{
    if (f->n < 2) {
        f->result = f->n;
        return 0;
    }
    weft_task *t = weft_create_task(fib_task, .n = f->n - 1);
    struct fib_task b = {.n = f->n - 2};
    int rb = fib_task(&b);
    int ra = weft_await(t);
    f->result = (ra == 0 ? weft_result(fib_task, t)->result : 0) + b.result;
    weft_release(t);
    return ra < 0 ? ra : rb;
}

static void run_fib_task(long n, struct outcome *out)
{
    struct fib_task warm = {.n = 16}, f = {.n = (int)n};
    (void)fib_task(&warm);
    weft_ns start = weft_now();
    int rc = fib_task(&f);
    out->elapsed = weft_now() - start;
    out->operations = (double)(fib_of(n + 1) - 1);
    out->wrong = rc < 0 || f.result != fib_of(n);
}

/* Ten children a node; leaves give their number; the sum is checked. */
struct skynet {
    WEFT_FRAME;
    long first, size, sum;
};
static int skynet(struct skynet *f);
WEFT_CORO(skynet);
static int skynet(struct skynet *f)
{
    if (f->size == 1) {
        f->sum = f->first;
        return 0;
    }
    struct skynet part[10];
    weft_child child[10];
    long size = f->size / 10;
    for (int i = 0; i < 10; i++) {
        part[i] = (struct skynet){.first = f->first + i * size, .size = size};
        weft_fork(&child[i], skynet, &part[i]);
    }
    int rc = 0;
    f->sum = 0;
    for (int i = 10; i-- > 0;) {
        int one = weft_join(&child[i]);
        rc = one < 0 ? one : rc;
        f->sum += part[i].sum;
    }
    return rc;
}

static void run_skynet(long n, struct outcome *out)
{
    struct skynet warm = {.size = 1000}, f = {.size = n};
    (void)skynet(&warm);
    weft_ns start = weft_now();
    int rc = skynet(&f);
    out->elapsed = weft_now() - start;
    out->operations = (double)n * 10 / 9;
    out->wrong = rc < 0 || f.sum != n / 2 * (n - 1);
}

struct skynet_task {
    WEFT_FRAME;
    long first, size, sum;
};
static int skynet_task(struct skynet_task *f);
WEFT_CORO(skynet_task);
static int skynet_task(struct skynet_task *f)
{
    if (f->size == 1) {
        f->sum = f->first;
        return 0;
    }
    weft_task *t[10];
    long size = f->size / 10;
    for (int i = 0; i < 10; i++)
        t[i] = weft_create_task(skynet_task, .first = f->first + i * size, .size = size);
    int rc = 0;
    f->sum = 0;
    for (int i = 10; i-- > 0;) {
        int one = weft_await(t[i]);
        if (one < 0)
            rc = one;
        else
            f->sum += weft_result(skynet_task, t[i])->sum;
        weft_release(t[i]);
    }
    return rc;
}

static void run_skynet_task(long n, struct outcome *out)
{
    struct skynet_task warm = {.size = 1000}, f = {.size = n};
    (void)skynet_task(&warm);
    weft_ns start = weft_now();
    int rc = skynet_task(&f);
    out->elapsed = weft_now() - start;
    out->operations = (double)n * 10 / 9;
    out->wrong = rc < 0 || f.sum != n / 2 * (n - 1);
}

const struct workload fork_join_workloads[] = {
    {"fib", "a forked child (fork one call, call the other, join)", 32, run_fib, NULL},
    {"fib_task", "the same with create_task and await", 27, run_fib_task, NULL},
    {"skynet", "a node of a tree with fan-out 10, structured", 1000000, run_skynet, NULL},
    {"skynet_task", "the same with create_task and await", 1000000, run_skynet_task, NULL},
    {NULL, NULL, 0, NULL, NULL},
};
