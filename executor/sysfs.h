/* SPDX-License-Identifier: Apache-2.0 */
/* executor/sysfs.h -- what the kernel's files tell of NUMA nodes and hwloc does not; for executor/machine.c. */
#ifndef WEFT_EXECUTOR_SYSFS_H
#define WEFT_EXECUTOR_SYSFS_H

/* `root` is put before every path: "" for the machine, a directory in tests. Any thread; reads files. */

/* The kernel's number of the node that a CPU belongs to, memory or not; -1: not told. */
int weft__sysfs_node_of_cpu(const char *root, int cpu);
/* The distance between two online nodes as the firmware tells it (10: the same one); 0: not told. */
unsigned weft__sysfs_distance(const char *root, int from, int to);

#endif
