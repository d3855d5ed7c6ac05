/* SPDX-License-Identifier: Apache-2.0 */
/* bench/topology/topology.h -- the parts of weft-bench topology. Each is called once in every round, by the main thread, with the seconds that
 * it may take, and adds samples to its figures. 0, or a negative errno: the whole measurement ends. What a machine cannot show is a note. */
#ifndef BENCH_TOPOLOGY_TOPOLOGY_H
#define BENCH_TOPOLOGY_TOPOLOGY_H

#include "../report/report.h"
#include "commands.h"

int topology_core_to_core(weft_bench *b, double seconds);
int topology_pairs(weft_bench *b, double seconds);
int topology_memory(weft_bench *b, double seconds);
int topology_lateness(weft_bench *b, double seconds);
/* All rounds at once. */
int topology_scaling(weft_bench *b, double seconds);
/* After the last round: domains that show in the core-to-core matrix, as notes and a figure. */
void topology_domains(weft_bench *b);

/* Indices of at most `most` CPUs, evenly over packages, nodes, caches and cores; ascending. Returns their number. */
size_t topology_some(const struct wb__machine *m, size_t most, size_t out[]);
/* "CPU 3" for each of them. */
char **topology_cpu_names(const weft_bench *b, const size_t cpu[], size_t n);

static inline void topology_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#endif
