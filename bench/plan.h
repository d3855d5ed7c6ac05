/* SPDX-License-Identifier: Apache-2.0 */
/* bench/plan.h -- weft-bench plan. */
#ifndef BENCH_PLAN_H
#define BENCH_PLAN_H

/* The command with its arguments; argv[0] is "plan". Returns the exit status. */
int bench_plan(int argc, char **argv);

#endif
