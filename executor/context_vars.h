/* SPDX-License-Identifier: Apache-2.0 */
/* executor/context_vars.h -- see context_vars.c: what tasks inherit from whoever creates them. */
#ifndef WEFT_EXECUTOR_CONTEXT_VARS_H
#define WEFT_EXECUTOR_CONTEXT_VARS_H

#include <weft/context.h>

#include "executor/base.h"

struct weft_task;

/* The context of the running task, callback or helper job: NULL when it is empty, or there is none. Borrowed. */
struct weft_context *weft__context_current(void);
/* A copy of the current context for something new: *out is NULL when it is empty. 0 or -ENOMEM. */
int weft__context_inherit(struct weft_context **out);
struct weft_context *weft__context_ref(struct weft_context *c);
/* An empty one. NULL: memory. */
struct weft_context *weft__context_new(void);
/* A helper thread runs this job, in its context (NULL: ends). */
void weft__context_enter_thread(struct weft_task *job);

#endif
