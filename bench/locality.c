/* SPDX-License-Identifier: Apache-2.0 */
/* locality: work that belongs to a node. On each NUMA node that is a worker's home a producer creates tasks that read the node's own data,
 * in batches, and waits for each batch; idle workers take of that what they like. Besides the time the lines say how many in a hundred tasks ran
 * on the node of their data, and how many in a thousand were moved, by distance. `--stealing random` against the default shows what it is worth
 * to look near first. On one node all is local. */
#include <stdlib.h>
#include <string.h>

#include "bench.h"

enum { MOST_NODES = 64, BATCH = 256, BLOCK = 4096, BLOCKS = 64 };

struct node {
    int node;
    unsigned char *data; /* BLOCKS of BLOCK */
    _Alignas(128) _Atomic(long) local, remote;
};

struct reader {
    WEFT_FRAME;
    struct node *home;
    const unsigned char *block;
};
/* Looks at its block a few times, with a turn for others between. */
static int reader(struct reader *f)
{
    weft_place place;
    unsigned sum = 0;
    for (int pass = 0; pass < 4; pass++) {
        for (int i = 0; i < BLOCK; i++)
            sum += f->block[i];
        if (pass == 1 && weft_yield() < 0)
            return -1;
    }
    (void)weft_worker_place(weft_runtime_current(), (unsigned)weft_current_worker(), &place);
    if (place.node == f->home->node)
        f->home->local++;
    else
        f->home->remote++;
    return (int)sum;
}
WEFT_CORO(reader);

struct producer {
    WEFT_FRAME;
    struct node *home;
    long tasks, sum;
};
static int producer(struct producer *f)
{
    struct node *home = f->home;
    home->data = malloc((size_t)BLOCKS * BLOCK);
    if (home->data == NULL)
        return -1;
    memset(home->data, 3, (size_t)BLOCKS * BLOCK); /* here, so they are this node's pages */
    weft_task **t = calloc(BATCH, sizeof(weft_task *));
    for (long left = f->tasks; t != NULL && left > 0; left -= BATCH) {
        int n = left < BATCH ? (int)left : BATCH;
        for (int i = 0; i < n; i++)
            t[i] = weft_create_task(reader, .home = home, .block = home->data + (size_t)(i % BLOCKS) * BLOCK);
        for (int i = 0; i < n; i++)
            f->sum += weft_await_release(t[i]);
    }
    free(t);
    free(home->data);
    return 0;
}
WEFT_CORO(producer);

static void run(long n, struct outcome *out)
{
    weft_runtime *rt = weft_runtime_current();
    struct node *nodes = aligned_alloc(128, MOST_NODES * sizeof *nodes);
    unsigned count = 0;
    for (unsigned i = 0; nodes != NULL && i < weft_runtime_workers(rt); i++) {
        weft_place place;
        unsigned k = 0;
        (void)weft_worker_place(rt, i, &place);
        while (k < count && nodes[k].node != place.node)
            k++;
        if (k == count && count < MOST_NODES)
            nodes[count++] = (struct node){.node = place.node};
    }
    weft_metrics before = {.size = sizeof before}, after = before;
    weft_task *t[MOST_NODES];
    (void)weft_metrics_read(rt, -1, &before);
    bench_start(out);
    for (unsigned k = 0; k < count; k++)
        t[k] = weft_create_task_with(
            WEFT_TASK_OPTIONS(.where = nodes[k].node >= 0 ? WEFT_ON_NODE(nodes[k].node) : WEFT_ANYWHERE), producer,
            .home = &nodes[k], .tasks = n);
    long sum = 0, local = 0, remote = 0;
    for (unsigned k = 0; k < count; k++) {
        out->wrong |= weft_await(t[k]) != 0;
        sum += out->wrong ? 0 : weft_result(producer, t[k])->sum;
        weft_release(t[k]);
        local += nodes[k].local;
        remote += nodes[k].remote;
    }
    bench_stop(out);
    (void)weft_metrics_read(rt, -1, &after);
    long tasks = n * (long)count;
    out->operations = (double)tasks;
    out->wrong |= count == 0 || sum != tasks * BLOCK * 4 * 3 || local + remote != tasks;
    static const char *const names[WEFT_DISTANCES] = {"locality_moved_smt", "locality_moved_cache",
                                                      "locality_moved_node", "locality_moved_package",
                                                      "locality_moved_far"};
    bench_extra(out, "locality_local_percent", 100.0 * (double)local / (double)tasks);
    for (int d = 0; d < WEFT_DISTANCES; d++)
        bench_extra(out, names[d], 1000.0 * (double)(after.migrations[d] - before.migrations[d]) / (double)tasks);
    free(nodes);
}

const struct workload locality_workloads[] = {
    {"locality", "a task that reads 4 KiB of its node's data; n on each node", 20000, run, NULL},
    {NULL, NULL, 0, NULL, NULL},
};
