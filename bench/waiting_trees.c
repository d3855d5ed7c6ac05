/* SPDX-License-Identifier: Apache-2.0 */
/* Trees of structured children some of which wait: what a suspension costs in the middle of fork-join, how many stacks it
 * takes, and how soon a cancelled tree has ended. */
#include <errno.h>

#include "bench.h"
#include "fib.h"

/* A node's number in the tree, mixed: what a node does is the same in every run, whoever runs it. */
static inline uint64_t mixed(uint64_t node)
{
    node *= UINT64_C(0x9e3779b97f4a7c15);
    return node ^ node >> 29;
}

/* ---- one child in a hundred suspends once, before it begins ---- */

struct tree {
    WEFT_FRAME;
    int n;
    bool forked;
    uint32_t chance; /* that a forked child suspends, of 2^32 */
    uint64_t node;
    long result, suspended;
};
static int tree(struct tree *f);
WEFT_CORO(tree);
static int tree(struct tree *f)
{
    f->suspended = 0;
    if (f->forked && (uint32_t)(mixed(f->node) >> 20) < f->chance) {
        f->suspended = 1;
        int rc = weft_yield();
        if (rc < 0)
            return rc;
    }
    if (f->n < 2) {
        f->result = f->n;
        return 0;
    }
    struct tree a = {.n = f->n - 1, .forked = true, .chance = f->chance, .node = f->node * 3 + 1},
                b = {.n = f->n - 2, .chance = f->chance, .node = f->node * 3 + 2};
    weft_child child;
    weft_fork(&child, tree, &a);
    int rb = tree(&b);
    int ra = weft_join(&child);
    f->result = a.result + b.result;
    f->suspended += a.suspended + b.suspended;
    return ra < 0 ? ra : rb;
}

/* The two trees in turn, because what a suspension costs is a small difference of two large figures. */
static void run_fib_suspend(long n, struct outcome *out)
{
    enum { TURNS = 5 };
    weft_ns without[TURNS], with[TURNS];
    long suspended = 0;
    struct tree warm = {.n = 20, .chance = UINT32_MAX / 100};
    out->wrong |= tree(&warm) < 0 || warm.result != fib_of(20);
    for (int i = 0; i < TURNS; i++) {
        struct tree none = {.n = (int)n}, some = {.n = (int)n, .chance = UINT32_MAX / 100};
        bench_start(out);
        out->wrong |= tree(&none) < 0 || none.result != fib_of(n) || none.suspended != 0;
        bench_stop(out);
        without[i] = out->elapsed;
        bench_start(out);
        out->wrong |= tree(&some) < 0 || some.result != fib_of(n);
        bench_stop(out);
        with[i] = out->elapsed;
        suspended = some.suspended;
    }
    out->operations = fib_forks(n);
    /* In a large tree the share is what was asked for. */
    out->wrong |= out->operations > 100000 && (double)suspended < 0.008 * out->operations;
    out->wrong |= out->operations > 100000 && (double)suspended > 0.012 * out->operations;
    double some = percentile(with, TURNS, 0.5), none = percentile(without, TURNS, 0.5);
    out->elapsed = (weft_ns)some;
    weft_metrics m = {.size = sizeof m};
    (void)weft_metrics_read(weft_runtime_current(), -1, &m);
    bench_extra(out, "fib_suspend_none", none / out->operations);
    bench_extra(out, "fib_suspend_ratio", some / none);
    bench_extra(out, "fib_suspend_each", (some - none) / (suspended > 0 ? (double)suspended : 1));
    bench_extra(out, "fib_suspend_stacks", (double)(m.stacks_live + m.stacks_cached));
}

/* ---- one leaf in 65,536 suspends once, and the whole may be cancelled there ---- */

struct checked {
    WEFT_FRAME;
    int n;
    uint64_t node;
    long result;
};
static int checked(struct checked *f);
WEFT_CORO(checked);
static int checked(struct checked *f)
{
    if (f->n < 2) {
        f->result = f->n;
        return mixed(f->node) >> 48 == 0 ? weft_sleep(0) : 0;
    }
    struct checked a = {.n = f->n - 1, .node = f->node * 3 + 1}, b = {.n = f->n - 2, .node = f->node * 3 + 2};
    weft_child child;
    weft_fork(&child, checked, &a);
    int rb = checked(&b);
    int ra = weft_join(&child);
    f->result = a.result + b.result;
    return ra < 0 ? ra : rb;
}

static void run_fib_check(long n, struct outcome *out)
{
    struct checked warm = {.n = 20}, f = {.n = (int)n};
    out->wrong |= checked(&warm) < 0 || warm.result != fib_of(20);
    bench_start(out);
    int rc = checked(&f);
    bench_stop(out);
    out->operations = fib_forks(n);
    out->wrong |= rc < 0 || f.result != fib_of(n);
}

/* The root is cancelled when it has had a third of the time that it needs. */
static void run_fib_check_cancel(long n, struct outcome *out)
{
    struct checked f = {.n = (int)n};
    bench_start(out);
    out->wrong |= checked(&f) < 0 || f.result != fib_of(n);
    bench_stop(out);
    weft_ns whole = out->elapsed;
    bench_start(out);
    weft_task *t = weft_create_task(checked, .n = (int)n, .node = 0);
    out->wrong |= weft_sleep(whole / 3) != 0;
    weft_ns asked = weft_now();
    bool taken = weft_cancel(t);
    int rc = weft_await(t);
    bench_stop(out);
    weft_ns ended = weft_now();
    /* A small tree may have ended first: then with the right answer. */
    if (taken)
        out->wrong |= rc != -ECANCELED || !weft_cancelled(t);
    else
        out->wrong |= rc != 0 || weft_result(checked, t)->result != fib_of(n);
    weft_release(t);
    out->elapsed = ended - asked;
    out->operations = 1;
    bench_extra(out, "fib_check_whole", (double)whole);
}

const struct workload waiting_tree_workloads[] = {
    {.name = "fib_suspend",
     .what = "a forked child, 1 % of which yield once; lines for the tree without, ns each, stacks",
     .n = 32,
     .run = run_fib_suspend},
    {.name = "fib_check", .what = "a forked child; one leaf in 65,536 does sleep(0)", .n = 32, .run = run_fib_check},
    {.name = "fib_check_cancel",
     .what = "from the cancellation of such a tree to its end; a line for the tree uncancelled",
     .n = 32,
     .run = run_fib_check_cancel},
    {.name = NULL},
};
