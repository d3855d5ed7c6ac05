/* SPDX-License-Identifier: Apache-2.0 */
/* executor/context.h -- a saved point of execution on a stack, and the switch between two of them.
 * The assembly (context_x86_64.S, context_aarch64.S) saves what the ABI asks: callee-saved registers and the floating
 * point control state. The C++ runtime's per-thread account of exceptions in flight goes with the context, if there is a
 * C++ runtime. The tools (ASan, TSan) are told of every switch. */
#ifndef WEFT_EXECUTOR_CONTEXT_H
#define WEFT_EXECUTOR_CONTEXT_H

#include "executor/base.h"
#include "executor/fiber_tools.h"

struct weft__context {
    void *sp;          /* everything saved lies above it, on the context's own stack */
    void *caught;      /* C++: the exceptions being handled, */
    unsigned uncaught; /* and the number of those being thrown, */
    bool exceptions;   /* if there are any; all three only while the context does not run */
#if WEFT__FIBER_TOOLS
    struct weft__fiber_tools tools;
#endif
};

/* Prepare a context that will call entry(argument) on the stack [base, base + size) when first switched to; entry never
 * returns. Call frames end there for unwinders. It starts with the floating point control state of the ABI (round to
 * nearest, nothing trapped, no flush to zero), whatever the thread that prepares it has: which thread that is, is chance.
 * May be called again on the same context, when it does not run, to start over; *c need not be cleared the first time.
 * The address of *c must not change. */
void weft__context_init(struct weft__context *c, void *base, size_t size, void (*entry)(void *), void *argument);
/* The context of the calling thread's own stack (for the worker's loop); nothing to prepare but the tools. */
void weft__context_init_thread(struct weft__context *c);
/* The context will never be switched to again (its stack may be given to another one, or the thread ends). */
void weft__context_destroy(struct weft__context *c);

/* assembly: save here, continue there */
void weft__switch_asm(void **save_sp, void *to_sp);

/* The same, but where to continue is call(argument), on the stack of a context that does not run, beside what that has saved. If it returns, what was
 * saved here is used up: whoever has switched there meanwhile must see to it that it never does. */
#if defined(__x86_64__) && !WEFT__FIBER_TOOLS
#define WEFT__CONTEXT_LENDS 1
void weft__lend_asm(void **save_sp, void *onto_sp, void (*call)(void *), void *argument);
#else
#define WEFT__CONTEXT_LENDS 0
#endif

/* The C++ runtime's; absent in a C program. */
void *__cxa_get_globals(void) __attribute__((weak));
/* Move the calling thread's account of exceptions into *c; the thread has none then. And back. */
void weft__context_take_exceptions(struct weft__context *c);
void weft__context_give_exceptions(struct weft__context *c);

/* Save the running context in *from and continue *to; returns when somebody switches back to *from, maybe in another
 * thread: nothing thread-local may be remembered across it. Not instrumented by sanitizers. */
#if WEFT__FIBER_TOOLS
void weft__context_switch(struct weft__context *from, struct weft__context *to);
#define weft__context_switch_plain weft__context_switch
#else
/* Where the process is known to have no C++ runtime. */
static inline void weft__context_switch_plain(struct weft__context *from, const struct weft__context *to)
{
    weft__switch_asm(&from->sp, to->sp);
}
/* Inline, so that the only return between two contexts is the one in the assembly: each further one is mispredicted. */
static inline void weft__context_switch(struct weft__context *from, struct weft__context *to)
{
    if (__cxa_get_globals != NULL)
        weft__context_take_exceptions(from);
    weft__switch_asm(&from->sp, to->sp);
    if (weft__unlikely(from->exceptions))
        weft__context_give_exceptions(from);
}
#endif

#if WEFT__CONTEXT_LENDS
static inline void weft__context_lend(struct weft__context *from, const struct weft__context *onto,
                                      void (*call)(void *), void *argument)
{
    if (__cxa_get_globals != NULL)
        weft__context_take_exceptions(from);
    weft__lend_asm(&from->sp, onto->sp, call, argument);
    if (weft__unlikely(from->exceptions))
        weft__context_give_exceptions(from);
}
#endif

#endif
