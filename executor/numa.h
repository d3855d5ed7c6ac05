/* SPDX-License-Identifier: Apache-2.0 */
/* executor/numa.h -- see numa.c: which NUMA node memory lies on. */
#ifndef WEFT_EXECUTOR_NUMA_H
#define WEFT_EXECUTOR_NUMA_H

#include <stddef.h>

/* Nodes are the kernel's numbers; -1: wherever. Any thread. */

/* Pages of this memory that are touched from now on come from that node, as long as it has any. Whole pages only. */
void weft__numa_bind(void *memory, size_t size, int node);
/* The same for all memory that the calling thread touches first, where nothing else is said of it; -1: as the process has it. */
void weft__numa_prefer(int node);
/* Memory aligned to a cache line, and of that node if one is named; NULL: there is none. */
void *weft__numa_alloc(size_t size, int node);
/* The same memory, larger, maybe elsewhere: what it held is at its beginning. NULL: there is none, and the old one stays. Aligned as malloc does. */
void *weft__numa_grow(void *memory, size_t size, size_t larger, int node);
/* Give it back, with the same size and node. NULL is allowed. */
void weft__numa_free(void *memory, size_t size, int node);
/* Where n pages are: the node of each, or -ENOENT (not touched yet) or another errno. 0, or -errno: the kernel does not tell. */
int weft__numa_where(void *const pages[], int nodes[], size_t n);

#endif
