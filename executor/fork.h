/* SPDX-License-Identifier: Apache-2.0 */
/* executor/fork.h -- see fork.c: what becomes of runtimes in the child of a fork, and what is not forked in the middle of. */
#ifndef WEFT_EXECUTOR_FORK_H
#define WEFT_EXECUTOR_FORK_H

#include <stdbool.h>

struct weft_runtime;

/* Between these two nobody forks but the caller; may nest. For what takes its time, and what other libraries do. */
void weft__fork_hold(void);
void weft__fork_let_go(void);
/* A runtime is there; is there no more. Inside. */
void weft__fork_enlist(struct weft_runtime *rt);
void weft__fork_delist(struct weft_runtime *rt);

/* For the handlers: a guard of the process that the child needs is taken before the fork, and let go after it, on both sides. */
void weft__stack_fork(bool before);   /* stack.c */
void weft__remains_fork(bool before); /* runtime.c */

#endif
