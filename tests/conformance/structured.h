/* SPDX-License-Identifier: Apache-2.0 */
/* structured.h -- --joins structured: forks and joins instead of tasks, where that is the same. */
#ifndef CONFORMANCE_STRUCTURED_H
#define CONFORMANCE_STRUCTURED_H

#include "awaitables.h"

/* Find the steps to be run so; before the run. */
void structured_find(struct run *run);
/* Run the step i of a block so, with the one after it if they are a pair: how many steps were run, 0 when it is none
 * of these. */
size_t structured_run(struct call *c, const json_t *steps, size_t i, struct flow *f);

#endif
