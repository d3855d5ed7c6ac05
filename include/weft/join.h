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
 * block, latest fork first (debug builds of the library end a program that forgot one, with a sentence). A child may do
 * anything a task may (sleep, await, read a socket, fork). Inside it weft_current_task() is the counted task that forked it.
 *
 * In C on x86-64 the usual way of both calls is compiled into the program, and with it what weft/here.h says of the library.
 * Where WEFT_NO_INLINE is defined, in C++ and on other machines both are calls, and do the same. */
#ifndef WEFT_JOIN_H
#define WEFT_JOIN_H

#include <weft/here.h>
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
    ((frame)->frame_.coro = &fn##_coro_, weft_fork_here_((child), &(1 ? (frame) : (struct fn *)NULL)->frame_))
#endif
WEFT_API void weft_fork_(weft_child *child, weft_frame *frame);

/* The child's result, when it has ended: as weft_await, also on cancellation of the caller (the child is cancelled, the
 * join still waits for it). */
WEFT_API int weft_join(weft_child *child);

/* ---- internal: both calls without a call, where nothing unusual is about (weft/here.h) --------------------------------- */

/* A child's words: 0 link, 1 kind and result, 2 state, 3 frame, 4 fiber, 5 the task below it, 6 requests and flags, 7 its parent. */
#define WEFT_CHILD_KIND_ 2
#define WEFT_CHILD_NEW_ 1
#define WEFT_CHILD_STARTED_ 2

#if WEFT_INLINE_
WEFT_API int weft_join_open_(weft_child *child, int64_t bottom);
WEFT_API int weft_join_end_(weft_child *child, int rc);

WEFT_ALWAYS_ void weft_fork_here_(weft_child *child, weft_frame *frame)
{
    struct weft_here_ *here = weft_here_();
    struct weft_running_ *fiber = here->fiber;
    int64_t bottom = __atomic_load_n(&here->bottom, __ATOMIC_RELAXED);
    if (__builtin_expect(bottom >= __atomic_load_n(&here->limit, __ATOMIC_RELAXED) || fiber == NULL, 0)) {
        weft_fork_(child, frame);
        return;
    }
    child->opaque_[1] = WEFT_CHILD_KIND_;
    child->opaque_[2] = WEFT_CHILD_NEW_;
    child->opaque_[3] = (uintptr_t)frame;
    child->opaque_[4] = 0;
    child->opaque_[6] = 0;
    child->opaque_[7] = (uintptr_t)fiber->task;
    __atomic_store_n(&here->slots[bottom & here->mask], (void *)child, __ATOMIC_RELAXED);
    __atomic_store_n(&here->pushes, __atomic_load_n(&here->pushes, __ATOMIC_RELAXED) + 1, __ATOMIC_RELAXED);
    __atomic_store_n(&here->bottom, bottom + 1, __ATOMIC_RELEASE);
}

/* The child is the newest, thieves cannot have it, and there is room for it on this stack: it runs as a call. Who reads the
 * fiber's word sees a cancellation of the parent, which is the child's as well. */
WEFT_ALWAYS_ int weft_join_here_(weft_child *child)
{
    struct weft_here_ *here = weft_here_();
    struct weft_running_ *fiber = here->fiber;
    int64_t bottom = __atomic_load_n(&here->bottom, __ATOMIC_RELAXED) - 1;
    if (__builtin_expect(__atomic_load_n(&here->slots[bottom & here->mask], __ATOMIC_RELAXED) != (void *)child ||
                             fiber->unusual != 0 || weft_here_sp_() < fiber->stack_limit ||
                             (__atomic_load_n(&fiber->word, __ATOMIC_ACQUIRE) & WEFT_RUNNING_REQUEST_) != 0,
                         0))
        return weft_join(child);
    __atomic_store_n(&here->bottom, bottom, __ATOMIC_RELEASE);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    if (__builtin_expect(__atomic_load_n(&here->floor, __ATOMIC_ACQUIRE) > bottom, 0))
        return weft_join_open_(child, bottom);
    child->opaque_[5] = (uintptr_t)fiber->task;
    __atomic_store_n(&fiber->task, (void *)child, __ATOMIC_RELAXED);             /* a dump of the workers may look */
    __atomic_store_n(&child->opaque_[2], WEFT_CHILD_STARTED_, __ATOMIC_RELAXED); /* a time limit set inside may look */
    __atomic_store_n(&child->opaque_[4], (uintptr_t)fiber, __ATOMIC_RELEASE);
    weft_frame *frame = (weft_frame *)(uintptr_t)child->opaque_[3]; /* NOLINT: a word that holds a pointer */
    int rc = frame->coro->entry(frame);
    __atomic_store_n(&fiber->task, (void *)(uintptr_t)child->opaque_[5], __ATOMIC_RELAXED); /* NOLINT: as above */
    if (__builtin_expect(child->opaque_[6] != 0 || fiber->unusual != 0 ||
                             __atomic_load_n(&child->opaque_[2], __ATOMIC_RELAXED) != WEFT_CHILD_STARTED_ ||
                             (__atomic_load_n(&fiber->word, __ATOMIC_ACQUIRE) & WEFT_RUNNING_REQUEST_) != 0,
                         0))
        return weft_join_end_(child, rc);
    return rc;
}
#define weft_join(child) weft_join_here_(child)
#else
#define weft_fork_here_(child, frame) weft_fork_(child, frame)
#endif

WEFT_END_DECLS

#endif
