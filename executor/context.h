/* SPDX-License-Identifier: Apache-2.0 */
/* executor/context.h -- a saved point of execution on a stack, and the switch between two of them.
 * The assembly (context_x86_64.S, context_aarch64.S) saves what the ABI asks: callee-saved registers and the floating
 * point control state. The tools (ASan, TSan) are told of every switch in weft__context_switch. */
#ifndef WEFT_EXECUTOR_CONTEXT_H
#define WEFT_EXECUTOR_CONTEXT_H

#include "executor/base.h"
#include "executor/fiber_tools.h"

struct weft__context {
    void *sp;                      /* everything saved lies above it, on the context's own stack */
    struct weft__fiber_tools tools; /* empty in plain builds */
};

/* Prepare a context that will call entry(argument) on the stack [base, base + size) when first switched to; entry never
 * returns. Call frames end there for unwinders. May be called again on the same context to start over. */
void weft__context_init(struct weft__context *c, void *base, size_t size, void (*entry)(void *), void *argument);
/* The context of the calling thread's own stack (for the worker's loop); nothing to prepare but the tools. */
void weft__context_init_thread(struct weft__context *c);
/* The context will never be switched to again (its stack may be given to another one, or the thread ends). */
void weft__context_destroy(struct weft__context *c);

/* assembly: save here, continue there */
void weft__switch_asm(void **save_sp, void *to_sp);

/* Save the running context in *from and continue *to; returns when somebody switches back to *from, maybe in another
 * thread: nothing thread-local may be remembered across it. Not instrumented by sanitizers. */
void weft__context_switch(struct weft__context *from, struct weft__context *to);

#endif
