/* SPDX-License-Identifier: Apache-2.0 */
/* executor/blocking.h -- see blocking.c: the helper threads behind weft_to_thread, one pool per runtime. */
#ifndef WEFT_EXECUTOR_BLOCKING_H
#define WEFT_EXECUTOR_BLOCKING_H

#include "executor/base.h"

struct weft_runtime;
struct weft__blocking;

/* At most this many helper threads when the options do not say. */
#define WEFT__HELPERS_DEFAULT 64u

/* A pool without threads. `max_threads` 0: the default. NULL when memory is short. */
struct weft__blocking *weft__blocking_create(struct weft_runtime *rt, unsigned max_threads);
/* Jobs not begun end cancelled, running ones are waited for, all threads are joined. Not from a helper thread; once,
 * when no task can call weft_to_thread any more. The pool itself lives on until destroy (metrics read it). */
void weft__blocking_stop(struct weft__blocking *b);
/* After stop. NULL is allowed. */
void weft__blocking_destroy(struct weft__blocking *b);

/* Jobs queued or running, also those whose task was cancelled meanwhile: the virtual clock stands while there are any.
 * When it falls, weft__runtime_work_done follows. Any thread. */
unsigned weft__blocking_busy(const struct weft__blocking *b);
/* Busy jobs in the low half, jobs ever submitted in the high half: who finds it the same twice, with a low half of 0,
 * knows that no helper did anything in between. Any thread. */
uint64_t weft__blocking_state(const struct weft__blocking *b);
/* Helper threads now. Any thread. */
unsigned weft__blocking_threads(const struct weft__blocking *b);

#endif
