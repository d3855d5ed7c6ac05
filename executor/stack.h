/* SPDX-License-Identifier: Apache-2.0 */
/* executor/stack.h -- see stack.c: stacks in slots of large no-reserve, no-huge-page mappings, one guard each for life. */
#ifndef WEFT_EXECUTOR_STACK_H
#define WEFT_EXECUTOR_STACK_H

#include "executor/atomic.h"
#include "executor/base.h"

/* Slot sizes: class 0 is WEFT__STACK_SLOT, each next class is twice as large, up to 16 MiB (for WEFT_MAX_STACK). */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WEFT__STACK_SLOT ((size_t)256 * 1024)
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define WEFT__STACK_SLOT ((size_t)256 * 1024)
#endif
#endif
#ifndef WEFT__STACK_SLOT
#define WEFT__STACK_SLOT ((size_t)64 * 1024)
#endif
#define WEFT__STACK_CLASSES 9
#define WEFT__STACK_DEFAULT ((size_t)32 * 1024) /* guaranteed to each task */

struct weft__stack {
    char *base;          /* lowest usable byte, just above the guard */
    size_t size;         /* usable bytes */
    uint32_t size_class; /* see weft__stack_class */
    uint32_t slot;       /* in its chunk */
    struct weft__stack_chunk *chunk;
    uint32_t valgrind_id;
};

/* One per runtime. */
struct weft__stack_arena {
    uint32_t guard;
    struct weft__stack_chunk *chunks[WEFT__STACK_CLASSES];
    bool guard_install;             /* the kernel has MADV_GUARD_INSTALL; else mprotect, at most ~32,700 stacks */
    _Atomic(uint64_t) live, mapped; /* slots handed out; slots ever touched */
};

/* Least class whose slot holds `guaranteed` bytes plus the room for tasks run on their awaiter's stack. */
uint32_t weft__stack_class(size_t guaranteed);
void weft__stack_arena_init(struct weft__stack_arena *a);
void weft__stack_arena_destroy(struct weft__stack_arena *a); /* unmaps everything */
/* Any thread. A guarded slot. `owner` is passed to the describer on overflow. 0; -ENOMEM: address space or the kernel's
 * limit on mappings (mprotect guards) is used up. `node`: NUMA node for its memory, -1: any. */
int weft__stack_get(struct weft__stack_arena *a, uint32_t size_class, int node, void *owner, struct weft__stack *out);
/* Any thread. Gives slot and memory back. */
void weft__stack_put(struct weft__stack_arena *a, struct weft__stack *s);
/* Any thread. Give the memory of the stack back to the kernel, all but its top page; the slot stays. */
void weft__stack_trim(struct weft__stack *s);

/* Overflow. A SIGSEGV handler (chained to the one that was there), installed once per process at the first runtime, writes
 *   weft: stack overflow in task "Task-7" (fetch): 60 KiB of stack used up; give it more with stack_size
 * and dies of the signal. describe(owner, buf, size) must be async-signal-safe: it writes task name and function. */
void weft__stack_overflow_install(void (*describe)(void *owner, char *buf, size_t size));
/* Each thread that runs fibers needs an alternate signal stack. 0 or -ENOMEM. */
int weft__signal_stack_enter(void);
void weft__signal_stack_leave(void);

#endif
