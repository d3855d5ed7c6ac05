/* SPDX-License-Identifier: Apache-2.0 */
/* weft/thread.h -- the border with ordinary threads: blocking functions out, work from outside in.
 *
 * A thread that a task makes by pthread_create inherits what its worker has: all signals blocked but those that report a fault, the worker's CPUs where workers
 * are pinned, its name (weft-0). So make threads before weft_run, use weft_to_thread in their place, or set all three for the new thread
 * (pthread_attr_setaffinity_np, pthread_sigmask, pthread_setname_np). The virtual clock does not see such threads (-EDEADLK, weft/run.h). */
#ifndef WEFT_THREAD_H
#define WEFT_THREAD_H

#include <weft/run.h>
#include <weft/task.h>

WEFT_BEGIN_DECLS

/* Run a blocking function on a helper thread:    weft_task *t = weft_to_thread(resize, .path = p);
 * It is written as a coroutine is (a frame and a function), but must not suspend: no weft call that says so. Await, wait
 * for, gather the handle as any task's; its results are in its frame. Cancelling it before it began keeps it from running;
 * afterwards its awaiters go on at once with -ECANCELED, the function runs to its end and its result is dropped.
 * Returns a handle, to be released; NULL when memory is short. Helper threads come as needed, up to the option
 * max_threads, and go after some seconds without work. asyncio: to_thread. */
#define weft_to_thread(...) weft__TO_THREAD(__VA_ARGS__, )
#define weft__TO_THREAD(fn, ...) weft_to_thread_(weft__FRAME(fn, __VA_ARGS__))
WEFT_API WEFT_NODISCARD weft_task *weft_to_thread_(const weft_frame *frame);

/* Create a task in `rt` from any thread that is not one of its workers; inside a task it is the same as
 * weft_create_task. The runtime must be alive: submit from a thread that weft_run's caller joins before it returns, or
 * use weft_runtime_hold. NULL: memory is short, or the runtime is ending. asyncio: run_coroutine_threadsafe. */
#define weft_submit(rt, ...) weft__SUBMIT(rt, __VA_ARGS__, )
#define weft__SUBMIT(rt, fn, ...) weft_submit_((rt), weft__FRAME(fn, __VA_ARGS__))
WEFT_API WEFT_NODISCARD weft_task *weft_submit_(weft_runtime *rt, const weft_frame *frame);

/* Wait, in an ordinary thread, until a task has ended; as weft_await, but blocks the thread. At most `timeout`
 * nanoseconds of real time (WEFT_FOREVER: no limit): then -ETIMEDOUT, and the task runs on. -EDEADLK inside a task; -ENOMEM. The handle stays yours.
 * asyncio: result(timeout) of what run_coroutine_threadsafe returns. */
WEFT_API int weft_block_on(weft_task *t, weft_ns timeout);

/* Keep the object `rt` points to valid after its run has ended (submitting to it then gives NULL), until dropped.
 * Any thread. */
WEFT_API weft_runtime *weft_runtime_hold(weft_runtime *rt);
WEFT_API void weft_runtime_drop(weft_runtime *rt);

WEFT_END_DECLS

#endif
