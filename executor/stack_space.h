/* SPDX-License-Identifier: Apache-2.0 */
/* executor/stack_space.h -- see stack_space.c: address space for the chunks of stacks, few mappings for many of them. */
#ifndef WEFT_EXECUTOR_STACK_SPACE_H
#define WEFT_EXECUTOR_STACK_SPACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WEFT__STACK_CHUNK ((size_t)64 * 1024 * 1024)
#define WEFT__STACK_NODES 256 /* NUMA nodes told apart; the last is that of "any" */

/* One per arena. */
struct weft__stack_space {
    struct weft__stack_region *regions; /* all mappings, the newest first */
    size_t chunks;                      /* given out */
    /* What is left of each node's newest: the bytes from first on. */
    struct {
        char *first;
        size_t left;
    } rest[WEFT__STACK_NODES];
};

/* Any thread; `guard` is that of the space, not held by the caller. Memory for a chunk, zero, without huge pages, of the node `which` if `bind`.
 * NULL: there is no address space, or the kernel gives no more memory. */
void *weft__stack_space_get(struct weft__stack_space *s, uint32_t *guard, unsigned which, bool bind);
/* Unmaps everything. Nobody may use the space any more. */
void weft__stack_space_end(struct weft__stack_space *s);

#endif
