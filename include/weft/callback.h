/* SPDX-License-Identifier: Apache-2.0 */
/* weft/callback.h -- plain functions that the runtime calls: soon, at an instant, or when a task has ended.
 *
 * A callback is written as a coroutine is (a frame, a function, WEFT_CORO) but must not wait: a call that would suspend
 * aborts with a sentence. It may create tasks, set futures, cancel, put into queues without waiting. One that has to wait, if only for a
 * lock, creates a task that does. What is to be done after a delay and has to wait then (an entry's time to live) is cheaper as such a task from the start: it
 * begins with weft_park_for (weft/park.h), and so holds no stack until it is called again. A callback belongs to no task
 * (weft_current_task() is NULL in it) and runs in the context variables of whoever registered it. A negative result goes to the
 * exception handler (weft/run.h); nothing else is disturbed.
 *
 * One that names itself (a periodic call_later) is declared, described by WEFT_CORO, then written, as in weft/join.h. With
 * WEFT_CORO_OWNING, `unstarted` is called for one that will not run.
 *
 * A handle (asyncio: Handle, TimerHandle) is a task's handle; it may be awaited, too (a negative result goes to the exception handler all the
 * same): weft_cancel keeps a callback that has not begun from running and ends it
 * there and then (false: it has begun, or is over), weft_done asks whether it has run or never will, weft_release gives the handle back,
 * which does not stop it. At the end of the run callbacks that have not begun end cancelled.
 * On one worker with WEFT_ORDER_FIFO callbacks run in asyncio's order; else in any order, on any worker. */
#ifndef WEFT_CALLBACK_H
#define WEFT_CALLBACK_H

#include <weft/run.h>
#include <weft/task.h>

WEFT_BEGIN_DECLS

typedef weft_task weft_handle;

/* Call fn soon:    weft_release(weft_call_soon(log_it, .line = l));
 * The frame is copied. One handle, to be released; NULL when memory is short (the call will not happen). Inside a task or a callback.
 * Never suspends. asyncio: loop.call_soon. */
#define weft_call_soon(...) weft__CALL_SOON(NULL, __VA_ARGS__, )
/* The same in runtime `rt`, from any thread (weft_runtime_hold keeps rt valid; NULL also when it is ending). asyncio:
 * call_soon_threadsafe. */
#define weft_call_soon_threadsafe(rt, ...) weft__CALL_SOON(rt, __VA_ARGS__, )
#define weft__CALL_SOON(rt, fn, ...) weft_call_soon_((rt), weft__FRAME(fn, __VA_ARGS__))
WEFT_API WEFT_NODISCARD weft_handle *weft_call_soon_(weft_runtime *rt, const weft_frame *frame);

/* Call fn when `delay` nanoseconds have passed (zero or less: at the next turn). Callbacks of one instant run in the order in which they
 * were set (one worker). asyncio: loop.call_later. */
#define weft_call_later(delay, ...) weft__CALL_LATER(delay, __VA_ARGS__, )
#define weft__CALL_LATER(delay, fn, ...) weft_call_later_((delay), weft__FRAME(fn, __VA_ARGS__))
WEFT_API WEFT_NODISCARD weft_handle *weft_call_later_(weft_ns delay, const weft_frame *frame);
/* The same at an instant of weft_now(). asyncio: loop.call_at. */
#define weft_call_at(instant, ...) weft__CALL_AT(instant, __VA_ARGS__, )
#define weft__CALL_AT(instant, fn, ...) weft_call_at_((instant), weft__FRAME(fn, __VA_ARGS__))
WEFT_API WEFT_NODISCARD weft_handle *weft_call_at_(weft_ns instant, const weft_frame *frame);
/* The instant a weft_call_later or weft_call_at handle was set for. asyncio: TimerHandle.when. */
WEFT_API weft_ns weft_handle_when(const weft_handle *h);

/* Call fn once, soon after task or future t has ended (also when it has ended already), never inside the call that ends it.
 * Callbacks of one t begin in the order added on one worker. One handle, to be released; NULL when memory is short, or t is another
 * runtime's and has not ended (there a task that awaits t can weft_call_soon_threadsafe). Inside a task or a callback. The frame holds what fn needs; put t into it (with weft_ref) to look at it. asyncio: add_done_callback. */
#define weft_add_done_callback(t, ...) weft__ON_DONE(t, __VA_ARGS__, )
#define weft__ON_DONE(t, fn, ...) weft_add_done_callback_((t), weft__FRAME(fn, __VA_ARGS__))
WEFT_API WEFT_NODISCARD weft_handle *weft_add_done_callback_(weft_task *t, const weft_frame *frame);
/* Take a done callback away again. True: it was still waiting for t, and will not be called. False: t has ended, the call is under
 * way or over. asyncio: remove_done_callback. */
WEFT_API bool weft_remove_done_callback(weft_task *t, weft_handle *h);

WEFT_END_DECLS

#endif
