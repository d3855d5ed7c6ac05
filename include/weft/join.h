/* SPDX-License-Identifier: Apache-2.0 */
/* weft/join.h -- fork and join with everything in the caller's frame: no handle, no allocation, a few nanoseconds.
 *
 *     struct fib { WEFT_FRAME; int n; long result; };
 *     static int fib(struct fib *f);           // a coroutine that names itself is declared, then described,
 *     WEFT_CORO(fib);                          // then written
 *     static int fib(struct fib *f)
 *     {
 *         if (f->n < 2)
 *             return f->result = f->n, 0;
 *         struct fib a = {.n = f->n - 1}, b = {.n = f->n - 2};
 *         weft_child child;
 *         weft_fork(&child, fib, &a);          // may run on another worker from now on
 *         int rb = fib(&b);                    // meanwhile, here
 *         int ra = weft_join(&child);          // runs it here if nobody took it, else waits for it
 *         f->result = a.result + b.result;
 *         return ra < 0 ? ra : rb;
 *     }
 *
 * Rules: every fork is joined exactly once before its frame and its child object go out of scope, on every way out of the
 * block, latest fork first (debug builds of the library end a program that forgot one, with a sentence). A child may do anything a task may (sleep, await, read a socket, fork). Inside it
 * weft_current_task() is the counted task that forked it. */
#ifndef WEFT_JOIN_H
#define WEFT_JOIN_H

#include <weft/task.h>

WEFT_BEGIN_DECLS

typedef struct weft_child {
    uint64_t opaque_[8];
} weft_child;

/* Offer a coroutine call on an existing frame to the other workers. `frame` is a struct fn *, checked by the compiler, and
 * is used in place. Only inside a task. Never suspends, never fails. */
#define weft_fork(child, fn, frame) weft__FORK(child, fn, frame)
#ifdef __cplusplus
#define weft__FORK(child, fn, frame)                                                                                   \
    ((frame)->frame_.coro = &fn##_coro_, weft_fork_((child), &static_cast<struct fn *>(frame)->frame_))
#else
#define weft__FORK(child, fn, frame)                                                                                   \
    ((frame)->frame_.coro = &fn##_coro_, weft_fork_((child), &(1 ? (frame) : (struct fn *)NULL)->frame_))
#endif
WEFT_API void weft_fork_(weft_child *child, weft_frame *frame);

/* The child's result, when it has ended: as weft_await, also on cancellation of the caller (the child is cancelled, the
 * join still waits for it). */
WEFT_API int weft_join(weft_child *child);

WEFT_END_DECLS

#endif
