/* SPDX-License-Identifier: Apache-2.0 */
/* bench/topology/commands.h -- weft-bench topology and weft-bench compare, with their arguments; argv[0] is the command. They return the exit
 * status: 0, 1 (it failed), 2 (usage). Main thread. Without jansson (absent.c) they say what is missing. */
#ifndef BENCH_TOPOLOGY_COMMANDS_H
#define BENCH_TOPOLOGY_COMMANDS_H

#include <stdio.h>

int topology_command(int argc, char **argv);
int compare_command(int argc, char **argv);
void topology_usage(FILE *to);

#endif
