/* SPDX-License-Identifier: Apache-2.0 */
/* executor/heap_frame.h -- a frame that the descriptor has no room for.
 *
 * It begins with a cache line, so no two of them reach into one: side by side, as malloc puts them, what a task counts in its frame would take the
 * line from the task in the next one at each step, on two workers 80 ns a time. What malloc gave stands in the word before it.
 * For address sanitizer the frame ends where the block ends instead, so that what is written beyond it is noticed.
 *
 * Any thread; whoever has the task frees it. */
#ifndef WEFT_EXECUTOR_HEAP_FRAME_H
#define WEFT_EXECUTOR_HEAP_FRAME_H

#include <stdlib.h>
#include <weft/coroutine.h>

#include "executor/base.h"
#include "executor/fiber_tools.h"

#define WEFT__FRAME_LINE 64 /* one line: pairs of them (WEFT__CACHELINE) gain nothing more here */

/* NULL: memory. */
static inline weft_frame *weft__heap_frame_get(size_t size)
{
    char *block = malloc(WEFT__FRAME_LINE + size);
    if (weft__unlikely(block == NULL))
        return NULL;
    void **frame = (void **)(void *)(block + WEFT__FRAME_LINE - (WEFT__ASAN ? 0 : (uintptr_t)block % WEFT__FRAME_LINE));
    frame[-1] = block;
    return (weft_frame *)(void *)frame;
}
static inline void weft__heap_frame_free(weft_frame *frame)
{
    if (frame != NULL)
        free(((void **)(void *)frame)[-1]);
}

#endif
