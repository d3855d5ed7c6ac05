/* SPDX-License-Identifier: Apache-2.0 */
/* internal.h -- between the parts of the explorer: explore.c (search and threads), memory.c (what a load may return, races), machine.c (kernel
 * and allocator). */
#ifndef WEFT_TESTS_EXPLORE_INTERNAL_H
#define WEFT_TESTS_EXPLORE_INTERNAL_H

#include "explore.h"

enum explore_cost { EXPLORE_PREEMPTION, EXPLORE_STALE, EXPLORE_FREE, EXPLORE_COSTS };

extern bool explore_inside;      /* an execution is under way: accesses count */
extern unsigned explore_current; /* the running thread */
extern const struct explore_model *explore_running;

_Noreturn void explore_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A decision: 0, which costs nothing, or one of n - 1 others that cost one of their kind. */
unsigned explore_choose(enum explore_cost kind, unsigned n);
/* Before an operation that others can see: somebody else may run first. */
void explore_point(void);
/* A spinning thread lets the others run until something has changed. */
void explore_yield(void);
void explore_wrote(void); /* something has changed */
void explore_moved(void); /* the running thread has made a step */

/* memory.c */
void explore_memory_reset(void);
void explore_memory_forget(void); /* nothing is known of who shares what */
bool explore_memory_grew(void);   /* in this execution: somebody uses a location who was not known to */
void explore_memory_again(void);  /* the next execution is to be like the last */
void explore_memory_fork(unsigned thread);
void explore_memory_join(unsigned thread);
void explore_memory_barrier(unsigned thread); /* it and the caller have met */
void explore_note(const char *what, const void *address, uint64_t value, const void *pc);

/* machine.c */
void explore_machine_reset(void);
bool explore_is_freed(uintptr_t address);

#endif
