/* SPDX-License-Identifier: Apache-2.0 */
/* Throughput over workers, pin policies, places and orders of stealing, of three workloads that are run as a user's would be (weft/bench.h):
 *   compute  pieces of work without memory or waiting, more than there are workers: what the machine itself gives
 *   forks    a tree of forked children with a little work in each leaf
 *   tasks    a tree of created and awaited tasks
 * Each checks its answer. */
#include <errno.h>
#include <stdlib.h>
#include <weft.h>

#include "topology.h"

/* So many dependent steps; the result depends on all of them. */
static uint64_t work(uint64_t x, int steps)
{
    for (int i = 0; i < steps; i++)
        x = x * UINT64_C(6364136223846793005) + 1442695040888963407;
    return x;
}

/* ---- compute ---- */

enum { PIECES = 2048, PIECE_STEPS = 4000 };

struct range {
    WEFT_FRAME;
    int from, to;
    uint64_t sum;
};
static int range(struct range *f);
WEFT_CORO(range);
static int range(struct range *f)
{
    if (f->to - f->from == 1) {
        f->sum = work((uint64_t)f->from, PIECE_STEPS);
        return 0;
    }
    int middle = (f->from + f->to) / 2;
    struct range a = {.from = f->from, .to = middle}, b = {.from = middle, .to = f->to};
    weft_child child;
    weft_fork(&child, range, &a);
    int rb = range(&b), ra = weft_join(&child);
    f->sum = a.sum + b.sum;
    return ra < 0 ? ra : rb;
}

struct compute {
    WEFT_FRAME;
    uint64_t expected;
};
static int compute(struct compute *f)
{
    struct range all = {.from = 0, .to = PIECES};
    int rc = range(&all);
    return rc < 0 ? rc : all.sum == f->expected ? 0 : -EIO;
}
WEFT_CORO(compute);

/* ---- forks, tasks ---- */

enum { FORK_DEPTH = 17, TASK_DEPTH = 13, LEAF_STEPS = 20 };

struct forks {
    WEFT_FRAME;
    int depth;
    uint64_t seed, sum;
};
static int forks(struct forks *f);
WEFT_CORO(forks);
static int forks(struct forks *f)
{
    if (f->depth == 0) {
        f->sum = work(f->seed, LEAF_STEPS);
        return 0;
    }
    struct forks a = {.depth = f->depth - 1, .seed = 2 * f->seed}, b = {.depth = f->depth - 1, .seed = 2 * f->seed + 1};
    weft_child child;
    weft_fork(&child, forks, &a);
    int rb = forks(&b), ra = weft_join(&child);
    f->sum = a.sum + b.sum;
    return ra < 0 ? ra : rb;
}

struct tree {
    WEFT_FRAME;
    int depth;
    uint64_t seed, sum;
};
static int tree(struct tree *f);
WEFT_CORO(tree);
static int tree(struct tree *f)
{
    if (f->depth == 0) {
        f->sum = work(f->seed, LEAF_STEPS);
        return 0;
    }
    weft_task *t[2];
    int rc = 0;
    for (unsigned i = 0; i < 2; i++)
        t[i] = weft_create_task(tree, .depth = f->depth - 1, .seed = 2 * f->seed + i);
    for (int i = 0; i < 2; i++) {
        int ended = weft_await(t[i]);
        if (ended == 0)
            f->sum += weft_result(tree, t[i])->sum;
        rc = ended < 0 ? ended : rc;
        weft_release(t[i]);
    }
    return rc;
}

struct both {
    WEFT_FRAME;
    bool tasks;
    uint64_t expected;
};
static int both(struct both *f)
{
    struct forks by_forks = {.depth = FORK_DEPTH, .seed = 1};
    struct tree by_tasks = {.depth = TASK_DEPTH, .seed = 1};
    int rc = f->tasks ? tree(&by_tasks) : forks(&by_forks);
    uint64_t sum = f->tasks ? by_tasks.sum : by_forks.sum;
    return rc < 0 ? rc : sum == f->expected ? 0 : -EIO;
}
WEFT_CORO(both);

static uint64_t leaves(uint64_t depth)
{
    uint64_t sum = 0;
    for (uint64_t i = UINT64_C(1) << depth; i < UINT64_C(2) << depth; i++)
        sum += work(i, LEAF_STEPS);
    return sum;
}

int topology_scaling(weft_bench *b, double seconds)
{
    uint64_t expected = 0;
    for (uint64_t i = 0; i < PIECES; i++)
        expected += work(i, PIECE_STEPS);
    double third = b->share / 3;
    b->share = 0; /* what was announced as one part is three */
    wb__part(b, "compute", third);
    int rc = weft_bench_run(b,
                            WEFT_BENCH_WORKLOAD(.name = "compute", .what = "a piece of 4000 dependent multiplications",
                                                .operations = PIECES, .sweeps = WEFT_BENCH_WORKERS | WEFT_BENCH_PINS,
                                                .seconds = seconds / 4),
                            compute, .expected = expected);
    wb__part(b, "forks", third);
    if (rc == 0)
        rc = weft_bench_run(b,
                            WEFT_BENCH_WORKLOAD(.name = "forks", .what = "a forked child",
                                                .operations = (1 << FORK_DEPTH) - 1, .seconds = seconds * 3 / 8),
                            both, .tasks = false, .expected = leaves(FORK_DEPTH));
    wb__part(b, "tasks", third);
    if (rc == 0)
        rc = weft_bench_run(b,
                            WEFT_BENCH_WORKLOAD(.name = "tasks", .what = "a created and awaited task",
                                                .operations = (2 << TASK_DEPTH) - 2, .seconds = seconds * 3 / 8),
                            both, .tasks = true, .expected = leaves(TASK_DEPTH));
    return rc;
}
