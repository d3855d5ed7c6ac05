/* SPDX-License-Identifier: Apache-2.0 */
/* executor/stack.h -- see stack.c: stacks in slots of large no-reserve, no-huge-page mappings, one guard each for life. */
#ifndef WEFT_EXECUTOR_STACK_H
#define WEFT_EXECUTOR_STACK_H

#include "executor/atomic.h"
#include "executor/base.h"
#include "executor/fiber_tools.h"
#include "executor/stack_space.h"

/* Slot sizes: class 0 is WEFT__STACK_SLOT, each next class is twice as large, up to 16 MiB (for WEFT_MAX_STACK). Sanitizers
 * make frames larger, so with them all slots are four times as large, for the same guarantees. */
#define WEFT__STACK_PLAIN_SLOT ((size_t)64 * 1024)
#if WEFT__FIBER_TOOLS
#define WEFT__STACK_SCALE 4
#else
#define WEFT__STACK_SCALE 1
#endif
#define WEFT__STACK_SLOT (WEFT__STACK_PLAIN_SLOT * WEFT__STACK_SCALE)
#define WEFT__STACK_CLASSES 9
#define WEFT__STACK_DEFAULT ((size_t)32 * 1024) /* guaranteed to each task */
/* At the top of each slot, above the stack, so many bytes are the owner's own: the first page that a stack touches holds them
 * too. The owner is a struct weft__fiber (fiber.c asserts that it fits). */
#define WEFT__STACK_OWNER ((size_t)320 * (1 + WEFT__FIBER_TOOLS))

struct weft__stack {
    char *base;          /* lowest usable byte, just above the guard */
    size_t size;         /* usable bytes; the owner is at base + size */
    uint32_t size_class; /* see weft__stack_class */
    uint32_t slot;       /* in its chunk */
    struct weft__stack_chunk *chunk;
    uint32_t valgrind_id;
    uint32_t home; /* the owner's to use */
};

/* Chunks of one class and node that have something to give. */
struct weft__stack_list {
    struct weft__stack_chunk *warm;  /* a free slot with its guard */
    struct weft__stack_chunk *fresh; /* a slot that never had a guard */
};

/* One per runtime. */
struct weft__stack_arena {
    uint32_t guard;     /* of the lists, and of what they lead to in the chunks */
    bool guard_install; /* the kernel has MADV_GUARD_INSTALL; else mprotect, at most ~32,600 stacks in the process */
    uint64_t protect_limit;           /* so many mprotect guards in the process */
    bool many_nodes;                  /* there are several NUMA nodes */
    struct weft__stack_chunk *chunks; /* all of this arena */
    struct weft__stack_space space;
    struct weft__stack_list lists[WEFT__STACK_CLASSES][WEFT__STACK_NODES];
    _Atomic(uint64_t) live, mapped; /* slots handed out; slots ever touched */
};

/* Least class whose slot holds `guaranteed` bytes plus the room for tasks run on their awaiter's stack. */
uint32_t weft__stack_class(size_t guaranteed);
void weft__stack_arena_init(struct weft__stack_arena *a);
/* Unmaps everything. Nobody may use the arena or run on its stacks any more. */
void weft__stack_arena_destroy(struct weft__stack_arena *a);
/* Any thread. A guarded slot. 0; -ENOMEM: address space or the kernel's limit on mappings (mprotect guards) is used up.
 * `node`: NUMA node for its memory, -1: any. */
int weft__stack_get(struct weft__stack_arena *a, uint32_t size_class, int node, struct weft__stack *out);
/* The WEFT__STACK_OWNER bytes above the stack, aligned to 64: zero at first, never unmapped or trimmed before put. */
static inline void *weft__stack_owner(const struct weft__stack *s)
{
    return s->base + s->size;
}
/* Any thread. Gives slot and memory back, the owner's too: *s must not lie in it. */
void weft__stack_put(struct weft__stack_arena *a, struct weft__stack *s);
/* Any thread. Give the memory of the stack back to the kernel, all but its top page; the slot stays, and the owner. */
void weft__stack_trim(struct weft__stack *s);
/* Calls visit for the owner of each slot in use; it may put that slot. No other thread uses the arena. */
void weft__stack_each(struct weft__stack_arena *a, void (*visit)(void *user, void *owner), void *user);
/* The same while others use it, for slots handed out before; they are not given back meanwhile. */
void weft__stack_each_live(struct weft__stack_arena *a, void (*visit)(void *user, void *owner), void *user);
/* Does the address lie in the guard of a slot in use, of any arena? Then *owner is its owner and *size the bytes above the
 * guard. Async-signal-safe. */
bool weft__stack_find_guard(uintptr_t address, void **owner, size_t *size);

/* Overflow. A SIGSEGV handler (chained to the one that was there), installed once per process at the first runtime, writes
 *   weft: stack overflow in task "Task-7" (fetch): 60 KiB of stack used up; give it more with stack_size
 * and dies of the signal. describe(owner, buf, size) must be async-signal-safe: it writes name and function, here
 * `"Task-7" (fetch)`, with a zero at the end. */
void weft__stack_overflow_install(void (*describe)(void *owner, char *buf, size_t size));
/* Each thread that runs fibers needs an alternate signal stack. A thread that has one keeps it. May nest. 0 or -ENOMEM. */
int weft__signal_stack_enter(void);
void weft__signal_stack_leave(void);

#endif
