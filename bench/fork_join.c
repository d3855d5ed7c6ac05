/* SPDX-License-Identifier: Apache-2.0 */
/* fib and skynet: trees of structured children, and of counted tasks; fib as plain calls, for what all that costs. */
#include "bench.h"
#include "fib.h"

static void run_fib(long n, struct outcome *out)
{
    struct fib warm = {.n = 20}, f = {.n = (int)n};
    (void)fib(&warm);
    bench_start(out);
    int rc = fib(&f);
    bench_stop(out);
    out->operations = fib_forks(n);
    out->wrong = rc < 0 || f.result != fib_of(n);
}

/* The same frames, and calls in place of forks. */
static __attribute__((noinline)) int fib_plain(struct fib *f)
{
    if (f->n < 2) {
        f->result = f->n;
        return 0;
    }
    struct fib a = {.n = f->n - 1}, b = {.n = f->n - 2};
    int rb = fib_plain(&b);
    int ra = fib_plain(&a);
    f->result = a.result + b.result;
    return ra < 0 ? ra : rb;
}

static void run_fib_plain(long n, struct outcome *out)
{
    struct fib warm = {.n = 20}, f = {.n = (int)n};
    (void)fib_plain(&warm);
    bench_start(out);
    int rc = fib_plain(&f);
    bench_stop(out);
    out->operations = fib_forks(n);
    out->wrong = rc < 0 || f.result != fib_of(n);
}

/* Both calls are children, as in gather(fib(n - 1), fib(n - 2)). */
struct fib_gather {
    WEFT_FRAME;
    int n;
    long result;
};
static int fib_gather(struct fib_gather *f);
WEFT_CORO(fib_gather);
static int fib_gather(struct fib_gather *f)
{
    if (f->n < 2) {
        f->result = f->n;
        return 0;
    }
    struct fib_gather a = {.n = f->n - 1}, b = {.n = f->n - 2};
    weft_child child_a, child_b;
    weft_fork(&child_a, fib_gather, &a);
    weft_fork(&child_b, fib_gather, &b);
    int rb = weft_join(&child_b);
    int ra = weft_join(&child_a);
    f->result = a.result + b.result;
    return ra < 0 ? ra : rb;
}

static void run_fib_gather(long n, struct outcome *out)
{
    struct fib_gather warm = {.n = 20}, f = {.n = (int)n};
    (void)fib_gather(&warm);
    bench_start(out);
    int rc = fib_gather(&f);
    bench_stop(out);
    out->operations = fib_forks(n);
    out->wrong = rc < 0 || f.result != fib_of(n);
}

static void run_fib_task(long n, struct outcome *out)
{
    struct fib_task warm = {.n = 16}, f = {.n = (int)n};
    (void)fib_task(&warm);
    bench_start(out);
    int rc = fib_task(&f);
    bench_stop(out);
    out->operations = fib_forks(n);
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
    bench_start(out);
    int rc = skynet(&f);
    bench_stop(out);
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
    bench_start(out);
    int rc = skynet_task(&f);
    bench_stop(out);
    out->operations = (double)n * 10 / 9;
    out->wrong = rc < 0 || f.sum != n / 2 * (n - 1);
}

const struct workload fork_join_workloads[] = {
    {.name = "fib", .what = "a forked child (fork one call, call the other, join)", .n = 32, .run = run_fib},
    {.name = "fib_plain", .what = "the same place in the tree with plain calls only", .n = 32, .run = run_fib_plain},
    {.name = "fib_gather",
     .what = "the same place in the tree; both calls forked, both joined",
     .n = 32,
     .run = run_fib_gather},
    {.name = "fib_task", .what = "a child by create_task and await, the other called", .n = 27, .run = run_fib_task},
    {.name = "skynet", .what = "a node of a tree with fan-out 10, structured", .n = 1000000, .run = run_skynet},
    {.name = "skynet_task", .what = "the same with create_task and await", .n = 1000000, .run = run_skynet_task},
    {.name = NULL},
};
