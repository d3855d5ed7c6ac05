/* SPDX-License-Identifier: Apache-2.0 */
/* executor/fiber_tools.h -- one facade for the tools that must be told when a thread changes its stack.
 *
 * ASan keeps the bounds of the current stack and, with detect_stack_use_after_return, a second "fake" stack: both are handed
 * over at each switch. TSan keeps clocks and a shadow of the call stack for each "TSan fiber". Both are compiled in only with
 * the sanitizer; a plain build has neither code nor data for them. Valgrind wants to know where stacks lie, else it takes a
 * switch for a giant frame: a few instructions when a stack is made, nothing at a switch (WEFT_NO_VALGRIND leaves it out).
 *
 * Who calls: context.c (weft__tools_*) and stack.c (weft__tools_stack_*), in any thread. The functions are inlined into
 * callers marked WEFT__UNINSTRUMENTED: between leave and arrive no instrumented function may be entered or left. */
#ifndef WEFT_EXECUTOR_FIBER_TOOLS_H
#define WEFT_EXECUTOR_FIBER_TOOLS_H

#include "executor/base.h"

#define WEFT__FIBER_TOOLS (WEFT__ASAN || WEFT__TSAN)

/* clang's no_sanitize("thread") still instruments entry and exit of the function; only the second attribute leaves it alone. */
#if !WEFT__FIBER_TOOLS
#define WEFT__UNINSTRUMENTED
#define WEFT__UNINSTRUMENTED_INLINE static inline
#elif defined(__clang__)
#define WEFT__UNINSTRUMENTED                                                                                           \
    __attribute__((noinline, no_sanitize("address", "thread", "undefined"), disable_sanitizer_instrumentation))
#define WEFT__UNINSTRUMENTED_INLINE                                                                                    \
    __attribute__((always_inline, no_sanitize("address", "thread", "undefined"),                                       \
                   disable_sanitizer_instrumentation)) static inline
#else
#define WEFT__UNINSTRUMENTED __attribute__((noinline, no_sanitize("address,thread,undefined")))
#define WEFT__UNINSTRUMENTED_INLINE                                                                                    \
    __attribute__((always_inline, no_sanitize("address,thread,undefined"))) static inline
#endif

#if WEFT__ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#elif WEFT__TSAN
#include <sanitizer/tsan_interface.h>
#endif

#if WEFT__FIBER_TOOLS

#define WEFT__TOOLS_MAGIC UINT64_C(0x77656674746f6f6c)
/* A context that starts over leaves the calls of its last run on the shadow call stack of its TSan fiber, which has 64 Ki
 * places. A new TSan fiber is dear (tens of microseconds), so one serves this often. */
#define WEFT__TSAN_USES 256

struct weft__fiber_tools {
    uint64_t magic; /* says that the rest is valid: the memory of a context may hold anything before its first init */
    /* ASan */
    void *fake_stack;   /* while the context does not run */
    const void *bottom; /* of a thread's own stack: known from its first switch away */
    size_t size;
    struct weft__fiber_tools *came_from; /* who switched here last */
    /* TSan */
    void *tsan;
    bool tsan_owned; /* made here, not a thread's own */
    unsigned tsan_uses;
    /* what the context calls, after the tools have been told that it runs */
    void (*entry)(void *);
    void *argument;
};

#if WEFT__ASAN
/* Take away the marks of frames that were never left. Only from the lowest one up: writing the whole shadow would give each
 * stack 32 KiB of it, where looking costs no memory. */
WEFT__UNINSTRUMENTED_INLINE void weft__tools_unpoison(void *base, size_t size)
{
    char *first = (char *)__asan_region_is_poisoned(base, size);
    if (first != NULL)
        __asan_unpoison_memory_region(first, size - (size_t)(first - (char *)base));
}
#endif

static inline bool weft__tools_valid(const struct weft__fiber_tools *t)
{
    return t->magic == (WEFT__TOOLS_MAGIC ^ (uintptr_t)t);
}

/* Free what the tools keep for a context that does not run. */
WEFT__UNINSTRUMENTED_INLINE void weft__tools_drop(struct weft__fiber_tools *t)
{
    if (!weft__tools_valid(t))
        return;
#if WEFT__ASAN
    if (t->fake_stack != NULL) {
        /* Only leaving for good frees a fake stack: step over to the dead context and leave it. */
        void *own_fake_stack = NULL;
        const void *own_bottom = NULL;
        size_t own_size = 0;
        __sanitizer_start_switch_fiber(&own_fake_stack, t->bottom, t->size);
        __sanitizer_finish_switch_fiber(t->fake_stack, &own_bottom, &own_size);
        __sanitizer_start_switch_fiber(NULL, own_bottom, own_size);
        __sanitizer_finish_switch_fiber(own_fake_stack, NULL, NULL);
    }
#elif WEFT__TSAN
    if (t->tsan_owned)
        __tsan_destroy_fiber(t->tsan);
#endif
    t->magic = 0;
}

WEFT__UNINSTRUMENTED_INLINE void weft__tools_init(struct weft__fiber_tools *t, void *base, size_t size)
{
#if WEFT__ASAN
    weft__tools_drop(t);
    weft__tools_unpoison(base, size); /* of the last run, or of another owner */
    *t = (struct weft__fiber_tools){.bottom = base, .size = size};
#elif WEFT__TSAN
    if (weft__tools_valid(t) && t->tsan_owned && t->tsan_uses < WEFT__TSAN_USES) {
        t->tsan_uses++;
    } else {
        weft__tools_drop(t);
        *t = (struct weft__fiber_tools){.tsan = __tsan_create_fiber(0), .tsan_owned = true};
    }
    (void)base;
    (void)size;
#endif
    t->magic = WEFT__TOOLS_MAGIC ^ (uintptr_t)t;
}

WEFT__UNINSTRUMENTED_INLINE void weft__tools_init_thread(struct weft__fiber_tools *t)
{
    *t = (struct weft__fiber_tools){.magic = WEFT__TOOLS_MAGIC ^ (uintptr_t)t};
#if WEFT__TSAN
    t->tsan = __tsan_get_current_fiber();
#endif
}

/* Last thing before the switch. */
WEFT__UNINSTRUMENTED_INLINE void weft__tools_leave(struct weft__fiber_tools *from, struct weft__fiber_tools *to)
{
#if WEFT__ASAN
    to->came_from = from;
    __sanitizer_start_switch_fiber(&from->fake_stack, to->bottom, to->size);
#elif WEFT__TSAN
    /* 0: what ran before on this thread happened before what runs next, which is so: data of a thread is passed on. */
    __tsan_switch_to_fiber(to->tsan, 0);
    (void)from;
#endif
}

/* First thing after the switch. */
WEFT__UNINSTRUMENTED_INLINE void weft__tools_arrive(struct weft__fiber_tools *self)
{
#if WEFT__ASAN
    void *fake_stack = self->fake_stack;
    self->fake_stack = NULL;
    __sanitizer_finish_switch_fiber(fake_stack, &self->came_from->bottom, &self->came_from->size);
#else
    (void)self;
#endif
}

#endif /* WEFT__FIBER_TOOLS */

#if defined(__has_include) && !defined(WEFT_NO_VALGRIND)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#define WEFT__VALGRIND 1
#endif
#endif
#ifndef WEFT__VALGRIND
#define WEFT__VALGRIND 0
#endif

/* A stack [base, base + size) is about to be used; the number is for _unregister. */
static inline uint32_t weft__tools_stack_register(void *base, size_t size)
{
#if WEFT__VALGRIND
    return (uint32_t)VALGRIND_STACK_REGISTER(base, (char *)base + size);
#else
    (void)base;
    (void)size;
    return 0;
#endif
}

static inline void weft__tools_stack_unregister(uint32_t id)
{
#if WEFT__VALGRIND
    VALGRIND_STACK_DEREGISTER(id);
#else
    (void)id;
#endif
}

/* The memory will be used for something else. */
static inline void weft__tools_stack_forget(void *base, size_t size)
{
#if WEFT__ASAN
    weft__tools_unpoison(base, size);
#else
    (void)base;
    (void)size;
#endif
}

#endif
