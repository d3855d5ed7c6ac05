/* SPDX-License-Identifier: Apache-2.0 */
/* How long a cache line takes from one CPU to another: two threads, each bound to a CPU, hand a number to and fro in one line. The figure is
 * one way, half a round trip. Nothing of weft is in it. The answer is checked: the number counts the round trips.
 *
 * Two threads share a struct pair; `ball` is all that both write, the rest is written before the second one starts or after it has ended. */
#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "topology.h"

enum { MOST_CPUS = 160, SAMPLES = 6, MOST_SAMPLES_LARGE = 3, LARGE = 32 };

struct pair {
    _Alignas(128) _Atomic(uint64_t) ball; /* even: the first one's turn; UINT64_MAX: over */
    _Alignas(128) int cpu[2];
    int error;
};

static void *answer(void *argument)
{
    struct pair *p = argument;
    struct wb__mask before;
    p->error =
        wb__bind(&p->cpu[1], 1, &before); /* unbound it would answer as well: the first one never waits in vain */
    for (;;) {
        uint64_t ball = atomic_load_explicit(&p->ball, memory_order_acquire);
        if (ball == UINT64_MAX)
            break;
        if (ball % 2 != 0)
            atomic_store_explicit(&p->ball, ball + 1, memory_order_release);
        else
            topology_relax();
    }
    if (p->error == 0)
        wb__unbind(&before);
    return NULL;
}

/* So many round trips. Returns the nanoseconds of one way. */
static double play(struct pair *p, uint64_t trips)
{
    uint64_t first = atomic_load_explicit(&p->ball, memory_order_relaxed), ball = first;
    weft_ns start = weft_now();
    for (uint64_t i = 0; i < trips; i++) {
        atomic_store_explicit(&p->ball, ball + 1, memory_order_release);
        while ((ball = atomic_load_explicit(&p->ball, memory_order_acquire)) % 2 != 0)
            topology_relax();
    }
    weft_ns took = weft_now() - start;
    return ball == first + 2 * trips ? (double)took / (double)(2 * trips) : NAN;
}

static int measure(weft_bench *b, struct wb__figure *f, size_t row, size_t column, const int cpu[2], weft_ns slot,
                   int samples)
{
    struct pair p = {.cpu = {cpu[0], cpu[1]}};
    atomic_init(&p.ball, 0);
    struct wb__mask before;
    pthread_t other;
    int rc = wb__bind(&cpu[0], 1, &before);
    if (rc != 0)
        return rc;
    rc = -pthread_create(&other, NULL, answer, &p);
    if (rc == 0) {
        double one = play(&p, 64); /* the other one has started, and how long a sample may be */
        one = fmin(one, play(&p, 64));
        double trips = (double)slot / (double)(samples + 1) / (2 * one);
        bool right = isfinite(one);
        for (int i = 0; i < samples && right; i++) {
            double ns = play(&p, trips < 32 ? 32 : trips > 1e6 ? 1000000 : (uint64_t)trips);
            right = isfinite(ns);
            wb__sample(b, f, row, column, ns);
        }
        atomic_store_explicit(&p.ball, UINT64_MAX, memory_order_release);
        pthread_join(other, NULL);
        rc = p.error != 0 ? p.error : right ? 0 : -EIO;
    }
    wb__unbind(&before);
    return rc;
}

int topology_core_to_core(weft_bench *b, double seconds)
{
    const struct wb__machine *m = &b->machine;
    if (m->cpus < 2)
        return 0;
    size_t cpu[MOST_CPUS], n = topology_some(m, MOST_CPUS, cpu);
    if (n < m->cpus)
        wb__note(b, "missing", "some CPUs", "the core-to-core matrix is of %zu of the %zu CPUs", n, m->cpus);
    char **name = topology_cpu_names(b, cpu, n);
    struct wb__figure *f = wb__figure(
        b,
        &(struct wb__text){
            .id = "core_to_core",
            .section = "cores",
            .title = "Core to core",
            .what = "Time for one cache line from one CPU to another and its new content seen there: half a round "
                    "trip of two bound threads",
            .kind = "matrix",
            .unit = "ns",
            .row_axis = "from",
            .column_axis = "to"},
        n, name, n, name);
    wb__names_free(name, n);
    int rc = 0, samples = n > LARGE ? MOST_SAMPLES_LARGE : SAMPLES;
    weft_ns slot = WEFT_SEC(fmin(seconds / (double)(n * (n - 1)), 0.1));
    for (size_t i = 0; i < n && rc == 0; i++) {
        for (size_t j = 0; j < n && rc == 0; j++) {
            int pair[2] = {m->cpu[cpu[i]].cpu, m->cpu[cpu[j]].cpu};
            if (i != j)
                rc = measure(b, f, i, j, pair, slot, samples);
        }
        wb__progress(b, (double)(i + 1) / (double)n);
    }
    return rc;
}
