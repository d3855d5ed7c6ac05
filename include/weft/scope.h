/* SPDX-License-Identifier: Apache-2.0 */
/* weft/scope.h -- structured concurrency: task groups and time limits as blocks of code.
 *
 * The objects live where you put them, usually on the stack of the task that opens them; what others may touch while
 * that task sleeps is kept elsewhere. A scope is opened and closed by the same task, and scopes nest. */
#ifndef WEFT_SCOPE_H
#define WEFT_SCOPE_H

#include <weft/task.h>

WEFT_BEGIN_DECLS

/* ---- time limits ------------------------------------------------------------------------------------------------ */

typedef struct weft_timeout {
    void *scope_;
} weft_timeout;

/* Open a time limit over the code up to weft_timeout_end: `duration` from now (WEFT_FOREVER: none; zero or less: expires
 * at the first suspension). On expiry the task is cancelled once: the call it is suspended in returns -ECANCELED, and
 * weft_timeout_end turns that into -ETIMEDOUT.
 *     weft_timeout limit;
 *     weft_timeout_begin(&limit, WEFT_MS(50));
 *     rc = talk(...);
 *     rc = weft_timeout_end(&limit, rc);
 * A block that never suspends costs neither a timer nor a look at the clock; in one that computes first, the limit may come late by as
 * much, but by no more than a tick (10 ms), and never early. Where there is no memory for its timer at the first suspension, it expires there.
 * 0 or -ENOMEM (then weft_timeout_end passes that on). Only inside a task. Never suspends. asyncio: timeout(). */
WEFT_API int weft_timeout_begin(weft_timeout *limit, weft_ns duration);
/* The same with an instant of weft_now(). asyncio: timeout_at(). */
WEFT_API int weft_timeout_begin_at(weft_timeout *limit, weft_ns instant);
/* Close the scope with the block's result. Returns -ETIMEDOUT when the scope expired, rc is -ECANCELED and nobody else
 * asked for the cancellation; else rc. Exactly once for each begin, on every way out of the block. Never suspends. */
WEFT_API WEFT_NODISCARD int weft_timeout_end(weft_timeout *limit, int rc);
/* The three below may also be called by another task or a callback that knows that the scope is open.
 * Move the deadline to `duration` from now (WEFT_FOREVER: never). 0, or -EINVAL after the expiry or the end. (asyncio's
 * reschedule takes an instant: that is the next one.) */
WEFT_API int weft_timeout_reschedule(weft_timeout *limit, weft_ns duration);
/* The same to an instant of weft_now(). asyncio: reschedule. */
WEFT_API int weft_timeout_reschedule_at(weft_timeout *limit, weft_ns instant);
/* The deadline: an instant of weft_now(), or WEFT_FOREVER. Between begin and end. asyncio: when(). */
WEFT_API weft_ns weft_timeout_when(const weft_timeout *limit);
/* Has it expired? From begin on, also after the end. asyncio: expired(). */
WEFT_API bool weft_timeout_expired(const weft_timeout *limit);

/* ---- task groups ------------------------------------------------------------------------------------------------ */

typedef struct weft_group {
    void *group_;
} weft_group;

/* Open a group. 0 or -ENOMEM (then weft_group_start and weft_group_join fail with it). Only inside a task. Never
 * suspends. asyncio: async with TaskGroup(). */
WEFT_API int weft_group_begin(weft_group *g);

/* Start a coroutine as a task of the group, without a handle:    rc = weft_group_start(&g, echo, .peer = p);
 * 0; -ENOMEM; -ESHUTDOWN when the group is being aborted or has ended (the coroutine does not run); -EINVAL: task options whose
 * size or stack_size is not valid. Tasks of the group may start more. Never suspends. asyncio: TaskGroup.create_task. */
#define weft_group_start(g, ...) weft__GROUP_START(g, __VA_ARGS__, )
#define weft__GROUP_START(g, fn, ...) weft_group_start_((g), NULL, weft__FRAME(fn, __VA_ARGS__), NULL)
/* The same with a handle, to be released; *task is NULL on error. And with task options (weft/task.h). */
#define weft_group_create_task(g, task, ...) weft__GROUP_CREATE(g, task, __VA_ARGS__, )
#define weft__GROUP_CREATE(g, task, fn, ...) weft_group_start_((g), NULL, weft__FRAME(fn, __VA_ARGS__), (task))
#define weft_group_create_task_with(g, options, task, ...) weft__GROUP_WITH(g, options, task, __VA_ARGS__, )
#define weft__GROUP_WITH(g, options, task, fn, ...)                                                                    \
    weft_group_start_((g), (options), weft__FRAME(fn, __VA_ARGS__), (task))
WEFT_API WEFT_NODISCARD int weft_group_start_(weft_group *g, const weft_task_options *options, const weft_frame *frame,
                                              weft_task **task);

/* Close the group with the block's result: waits until every task of the group has ended. When rc is an error, or a task
 * fails, the rest is cancelled first; so is the block's own code while it is suspended (it sees -ECANCELED, and hands that
 * on as rc). Returns the error that came first, a task's or the block's own; else rc; -ECANCELED when the caller was
 * cancelled and nothing failed.
 * Exactly once for each begin. Suspends; repeated cancellation does not keep it from waiting for every task.
 * asyncio: the end of the `async with TaskGroup()` block. */
WEFT_API WEFT_NODISCARD int weft_group_join(weft_group *g, int rc);

/* Cancel all tasks of the group, and refuse new ones; weft_group_join then waits for them as usual. Never suspends. */
WEFT_API void weft_group_cancel(weft_group *g);

/* The errors of the group's tasks, in order of completion (after the join the block's own comes last), before weft_group_join: copies at most n of them to out and
 * returns their number. asyncio: ExceptionGroup.exceptions. */
WEFT_API size_t weft_group_errors(const weft_group *g, int out[], size_t n);
/* Have weft_group_join copy the errors: at most n to out, their number to *count (may exceed n). Before the join. */
WEFT_API void weft_group_collect_errors(weft_group *g, int out[], size_t n, size_t *count);

WEFT_END_DECLS

#endif
