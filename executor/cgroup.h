/* SPDX-License-Identifier: Apache-2.0 */
/* executor/cgroup.h -- how much CPU time the control groups of this process leave it; for executor/machine.c. */
#ifndef WEFT_EXECUTOR_CGROUP_H
#define WEFT_EXECUTOR_CGROUP_H

/* The tightest CPU quota of the process's own group and all its visible ancestors, in CPUs' worth of time (1.5: three
 * CPUs half of the time); 0: no quota, or none that can be seen. Never fails. Any thread. `root` is put before every
 * path that is read: "" for the machine, a directory in tests. */
double weft__cgroup_quota(const char *root);

#endif
